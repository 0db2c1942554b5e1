"""Linear channels for what sends by the clock: some airings as one file that nobody has written.

A window is a row of airings whose bytes are the lessons' own, stamped anew as they are read (`media.ts_join`). It has a
timeline, cuts and numbers as a file has, so that flows and chunks do not know the difference; windows are the same for
all who watch, and the first packet of one goes on where the last of the one before ended.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

from edge_server.linear.round import Round
from edge_server.pacing.chunks import Chunks, Source
from edge_server.pacing.timeline import Timeline
from edge_server.pacing.winding import Wound
from edge_server.packager import Offered
from media.ts_index import TsIndex, TsKeyframe, TsPacing
from media.ts_join import NotJoinable, Place, restamp
from media.ts_winding import Winding
from wire.mpegts import PTS_HZ, PTS_MODULO, discontinuity_preamble
from wire.playseek import Playseek

WINDOW_S = 3600.0
"""About how long a window is; its index is some 1.5 MB."""
WINDOWS_MAX_COUNT = 16
BACK = timedelta(hours=2)
"""How far back who watches live may go."""
AHEAD = timedelta(hours=3)
"""How far on, at least, a live title goes; then another one follows it."""
SPAN_MAX = timedelta(hours=6)
CATCH_UP = timedelta(days=7)

Rounds = Callable[[str], Round | None]
Look = Callable[[str, str], Offered | None]
"""Gives the packaged lesson of an item id and a version."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One airing of a window."""

    file: Path
    index: TsIndex
    place: Place
    begin_bytes: int
    shown_s: float
    """When it begins to be shown, in npt of the window."""


class Window:
    """Some airings of a channel, a playable title (``egress.rtsp.words.Title``)."""

    def __init__(
        self, round_: Round, first: int, parts: list[_Part], timeline: Timeline, key: Path, base_ticks: int = 0
    ) -> None:
        """Made by `make_window`; npt 0 is ``base_ticks`` after the first airing's beginning."""
        self.round, self.first, self.timeline, self.key = round_, first, timeline, key
        self.item_id, self.name = round_.channel.channel_id, round_.channel.name
        self._parts = parts
        self._begins = [each.begin_bytes for each in parts]
        self._shown = [each.shown_s for each in parts]
        self._base_s = base_ticks / PTS_HZ
        self.begins_ticks = parts[0].place.shown_ticks + base_ticks
        """npt 0, since the channel's epoch."""

    @property
    def following(self) -> int:
        """Number of the airing after the window."""
        return self.first + len(self._parts)

    @property
    def zero_s(self) -> float:
        """Presentation time inside the stream at npt 0, in seconds."""
        return self.begins_ticks % PTS_MODULO / PTS_HZ

    def npt_of(self, moment: datetime) -> float:
        """Return a moment as npt of the window; below 0 or above its duration outside."""
        return (self.round.ticks_of(moment) - self.begins_ticks) / PTS_HZ

    def seek(self, npt_s: float) -> tuple[float, int]:
        """Return npt and byte of the last key frame not after this second."""
        into_s = npt_s + self._base_s
        part = self._parts[max(0, bisect_right(self._shown, into_s) - 1)]
        zero_s = part.shown_s + part.place.ends.hidden_ticks / PTS_HZ
        time_s, offset_bytes = part.index.seek(into_s - zero_s)
        return max(0.0, zero_s + time_s - self._base_s), part.begin_bytes + offset_bytes

    @cached_property
    def index(self) -> TsIndex:
        """Return where the key pictures are and when, for winding: npt and bytes of the window."""
        keys: list[TsKeyframe] = []
        for part in self._parts:
            zero_s = part.shown_s + part.place.ends.hidden_ticks / PTS_HZ - self._base_s
            clocks = part.place.clock(np.array([each.pcr_27mhz for each in part.index.keyframes]))
            for each, pcr in zip(part.index.keyframes, clocks.tolist(), strict=True):
                at, time_s = part.begin_bytes + each.offset_bytes, zero_s + each.time_s
                if time_s <= 0:
                    keys.clear()  # a span begins with the last one that is not after it
                if at < self.timeline.length_bytes and time_s <= self.timeline.duration_s:
                    keys.append(msgspec.structs.replace(each, time_s=max(0.0, time_s), offset_bytes=at, pcr_27mhz=pcr))
        line = self.timeline
        return TsIndex(
            duration_s=line.duration_s,
            length_bytes=line.length_bytes,
            presentation_delay_s=line.delay_s,
            pcr_pid=self._parts[0].index.pcr_pid,
            segments=(),
            keyframes=tuple(keys),
            pacing=TsPacing(line.offset_bytes.astype("<i8").tobytes(), line.time_s.astype("<f8").tobytes()),
        )

    def begin_of(self, number: int) -> int:
        """Return the byte at which an airing of the window begins."""
        return self._begins[number - self.first]

    def preamble(self, offset_bytes: int) -> bytes:
        """Return the packets that make a jump to this byte legal; empty where nobody may jump to."""
        part = self._part(offset_bytes)
        at = offset_bytes - part.begin_bytes
        point = next((each for each in part.index.keyframes if each.offset_bytes == at), None)
        if point is None:
            return b""
        counters = {pid: cc + part.place.counters.get(pid, 0) & 15 for pid, cc in point.next_cc.items()}
        pcr = int(part.place.clock(np.array([point.pcr_27mhz]))[0])
        return discontinuity_preamble(counters, pcr_pid=part.index.pcr_pid, pcr=pcr)

    def source(self, chunks: Chunks) -> Source:
        """Open it for one flow."""
        return chunks.open(self.key, self.timeline.packets, lambda: self)

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Return bytes of one airing; each read opens the file, which may have gone (``chunks.Reader``).

        Raises:
            OSError: it cannot be read, or is no longer what it was.
        """
        part = self._part(offset_bytes)
        descriptor = os.open(part.file, os.O_RDONLY)
        try:
            data = os.pread(descriptor, length_bytes, offset_bytes - part.begin_bytes)
        finally:
            os.close(descriptor)
        try:
            return bytes(restamp(data, part.place))
        except NotJoinable as error:
            raise OSError(f"{part.file.name}: {error}") from error

    def close(self) -> None:
        """Nothing is open."""

    def _part(self, offset_bytes: int) -> _Part:
        return self._parts[bisect_right(self._begins, offset_bytes) - 1]


def make_window(
    round_: Round, first: int, count: int, look: Look, chunks: Chunks, *, span: tuple[int, int] | None = None
) -> Window | None:
    """Put airings together; None when one of their lessons is not there any more.

    Of a ``span`` (ticks since the channel's epoch) npt 0 is its beginning, and nothing is sent after its end.
    """
    parts: list[_Part] = []
    offsets, times, cuts = [], [], []
    begin, zero = 0, round_.place(first)
    for number in range(first, first + count):
        slot, place = round_.airing(number).slot, round_.place(number)
        found = look(slot.item_id, slot.version)
        if found is None:
            return None
        index = found.packaged.ts_index
        shown_s = (place.shown_ticks - zero.shown_ticks) / PTS_HZ
        parts.append(_Part(found.packaged.ts, index, place, begin, shown_s))
        own, own_s = index.pacing.offset_bytes[:-1], index.pacing.time_s[:-1]
        offsets.append(own + begin)
        times.append(place.retimed.at(own_s) + (shown_s - place.ends.delay_s + zero.ends.delay_s))
        cuts += [begin + each.offset_bytes for each in index.keyframes]
        begin += index.length_bytes
    after = round_.place(first + count)
    lasts_s = (after.shown_ticks - zero.shown_ticks) / PTS_HZ
    offsets.append(np.array([begin]))
    times.append(np.array([lasts_s - after.ends.delay_s + zero.ends.delay_s]))
    key = Path("live", round_.channel.channel_id, f"{id(round_):x}-{first}-{count}-{span}")
    timeline = Timeline(
        np.concatenate(offsets),
        np.maximum.accumulate(np.concatenate(times)),
        begin,
        lasts_s,
        zero.ends.delay_s,
        cuts=tuple(cuts),
        numbers=chunks.numbers(key),
    )
    if span is None:
        return Window(round_, first, parts, timeline, key)
    base = span[0] - zero.shown_ticks
    timeline = _until(timeline, zero.ends.delay_s + base / PTS_HZ, (span[1] - span[0]) / PTS_HZ)
    return Window(round_, first, parts, timeline, key, base)


def _until(line: Timeline, delay_s: float, duration_s: float) -> Timeline:
    """Cut a timeline at the first key frame after the end of a span."""
    after = [each for each in line.cuts if line.time_at(each) >= delay_s + duration_s]
    end = after[0] if after else line.length_bytes
    kept = int(np.searchsorted(line.offset_bytes, end))
    return replace(
        line,
        offset_bytes=np.append(line.offset_bytes[:kept], end),
        time_s=np.append(line.time_s[:kept], line.time_at(end)),
        length_bytes=end,
        duration_s=duration_s,
        delay_s=delay_s,
        cuts=tuple(each for each in line.cuts if each < end),
    )


@dataclass(frozen=True, slots=True)
class Airtime:
    """What ties a title's npt to the calendar."""

    zero: datetime
    """Moment of npt 0."""
    live_zero_s: float | None = None
    """Monotonic second at which npt 0 was on air; None for a span of the past, which plays as a lesson does."""

    def latest_s(self, now_s: float) -> float | None:
        """Return the npt that is on air at a monotonic second; None for a span."""
        return None if self.live_zero_s is None else now_s - self.live_zero_s


@dataclass(frozen=True, slots=True)
class Tuned:
    """A channel as one viewer watches it (``egress.rtsp.words.Title``)."""

    window: Window
    airtime: Airtime

    @property
    def item_id(self) -> str:
        """Id of the channel."""
        return self.window.item_id

    @property
    def name(self) -> str:
        """Name of the channel."""
        return self.window.name

    @property
    def timeline(self) -> Timeline:
        """Bytes and seconds."""
        return self.window.timeline

    @property
    def zero_s(self) -> float:
        """Presentation time inside the stream at npt 0; live, nobody may count from it: 0."""
        return self.window.zero_s if self.airtime.live_zero_s is None else 0.0

    def seek(self, npt_s: float) -> tuple[float, int]:
        """See `Window`."""
        return self.window.seek(npt_s)

    def wind(self, from_s: float, scale: float, until_s: float | None = None) -> Wound:
        """Return the key pictures from about this second on, at this speed, none after ``until_s``."""
        index = self.window.index
        if until_s is not None:
            kept = tuple(each for each in index.keyframes if each.time_s <= until_s) or index.keyframes[:1]
            index = msgspec.structs.replace(index, keyframes=kept, duration_s=min(index.duration_s, until_s))
        return Wound(Winding(index, from_s, scale))

    def preamble(self, offset_bytes: int) -> bytes:
        """See `Window`."""
        return self.window.preamble(offset_bytes)

    def source(self, chunks: Chunks) -> Source:
        """See `Window`."""
        return self.window.source(chunks)


class Windows:
    """The windows of all channels; the same object for all who watch the same."""

    def __init__(self, rounds: Rounds, look: Look, chunks: Chunks, *, window_s: float = WINDOW_S) -> None:
        """Prepare.

        Args:
            rounds: gives a channel by id.
            look: gives a lesson.
            chunks: where the windows' packets will be kept.
            window_s: about how long a window is.
        """
        self.rounds, self._look, self._chunks, self._window_s = rounds, look, chunks, window_s
        self._made: OrderedDict[Path, tuple[Round, Window]] = OrderedDict()

    def at(self, channel_id: str, moment: datetime) -> Window | None:
        """Return the window that holds a moment; None when there is none to play."""
        round_ = self.rounds(channel_id)
        return None if round_ is None else self.holding(round_, round_.number_at(round_.ticks_of(moment)))

    def holding(self, round_: Round, number: int) -> Window | None:
        """Return the window that holds an airing."""
        count = max(1, round(self._window_s / (round_.channel.round_s / len(round_.channel.slots))))
        return self._kept(round_, number // count * count, count)

    def tune(self, channel_id: str, span: Playseek | None, now: datetime, now_s: float) -> Tuned | None:
        """Return a channel for one viewer, live or a span; None when there is none, or the span is not offered.

        Live it reaches back `BACK` and on for some hours; `onward` gives what comes then.
        """
        round_ = self.rounds(channel_id)
        if round_ is None:
            return None
        if span is not None:
            until = min(span.until or span.since + SPAN_MAX, span.since + SPAN_MAX)
            if not now - CATCH_UP <= span.since < now:
                return None
            ticks = round_.ticks_of(span.since), round_.ticks_of(until)
            first = round_.number_at(ticks[0])
            count = round_.number_at(ticks[1]) - first + 1
            past = make_window(round_, first, count, self._look, self._chunks, span=ticks)
            return None if past is None else Tuned(past, Airtime(span.since))
        return self._live(round_, now, now, now_s)

    def onward(self, tuned: Tuned, now: datetime, now_s: float) -> tuple[Tuned | None, int | None]:
        """Return what goes on where a live title ends, and its byte; of a channel that has changed, what is on."""
        round_, old = self.rounds(tuned.item_id), tuned.window
        if round_ is None:
            return None, None
        if round_ is not old.round:
            return self._live(round_, now, now, now_s), None
        following = round_.airing(old.following)
        found = self._live(round_, round_.moment_of(following.begins_ticks), now, now_s)
        return found, None if found is None else found.window.begin_of(old.following)

    def _live(self, round_: Round, moment: datetime, now: datetime, now_s: float) -> Tuned | None:
        """Return the hours around a moment, from `BACK` before it to `AHEAD` after it; the same for all of an hour.

        Lessons may be as unlike as they like: an hour can have one or a hundred.
        """
        count = max(1, round(self._window_s / (round_.channel.round_s / len(round_.channel.slots))))
        first = round_.number_at(round_.ticks_of(moment - BACK)) // count * count
        last = round_.number_at(round_.ticks_of(moment + AHEAD)) // count * count + count
        window = self._kept(round_, first, last - first)
        if window is None:
            return None
        zero = round_.moment_of(window.begins_ticks)
        return Tuned(window, Airtime(zero, now_s - (now - zero).total_seconds()))

    def _kept(self, round_: Round, first: int, count: int) -> Window | None:
        key = Path(round_.channel.channel_id, f"{first}-{count}")
        made = self._made.pop(key, None)
        if made is None or made[0] is not round_:
            window = make_window(round_, first, count, self._look, self._chunks)
            if window is None:
                return None
            made = round_, window
        self._made[key] = made
        if len(self._made) > WINDOWS_MAX_COUNT:
            self._made.popitem(last=False)
        return made[1]
