"""One live channel: samples of a source in; stream, segments and single pictures out. Pure: time is an argument."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from edge_server.live import OFF_AIR_S, SLICE_TICKS, TICKS_PER_S, Kind, Sample
from edge_server.live.mux import LEAD_TICKS, Slice, TsMux
from edge_server.live.plan import LivePlan
from edge_server.live.segments import SEGMENT_MIN_TICKS, Segments
from edge_server.live.timeline import Timeline
from edge_server.live.track import LiveTrack
from edge_server.live.units import ParameterSets, begins_whole, has_picture, is_idr, is_referred, join, ordered, split

BEHIND_MAX_SLICES = 33
"""A program that slept longer does not make up for it at once."""
REORDER_MAX_TICKS = 2 * TICKS_PER_S
"""No picture is shown later after it was decoded, whatever its source says: others would wait for it for ever."""
SOUND_MAX_BYTES = {Kind.AAC: 8191, Kind.OPUS: 1400}
"""Of a frame: what ADTS can say, and what fits a datagram."""
Listener = Callable[[Slice | None], None]
"""Gets each slice; None when the broadcast is over."""


class Broadcast:
    """From the first picture to the end: what all who watch share."""

    def __init__(self, begin_s: float, begins: datetime) -> None:
        """Begin at a monotonic time, which is a moment."""
        self.begin_s, self._begins = begin_s, begins
        self.mux = TsMux()
        self.segments = Segments(int(begins.timestamp() * TICKS_PER_S) // SEGMENT_MIN_TICKS)
        """Numbers go on behind those of an edge that was switched off: segments are never shorter."""
        self.pictures, self.sound = LiveTrack(), LiveTrack()
        self.parameters = ParameterSets()
        self.has_sound = False
        self.reordered = False
        """Pictures that others refer to come out of order: browsers cannot show them."""
        self.ended = False
        self.ended_s = math.inf
        """When, monotonic."""
        self._shown_s = -1.0
        self._next_slice = -1

    def picture(self, units: tuple[bytes, ...], pts: int, dts: int, *, key: bool, joins: bool) -> bool:
        """Take a picture; False when it had to be left out."""
        if not self.mux.takes(key=key):
            return False
        units = self.parameters.complete(units) if key else units
        moment = self._begins + timedelta(seconds=dts / TICKS_PER_S)  # by the stream: players add lengths up
        cut = self.segments.picture(dts, key=key, joins=joins, moment=moment)
        self.mux.picture(join(units), pts, dts, key=key, cut=cut)
        time_s = pts / TICKS_PER_S
        if time_s > self._shown_s:
            self._shown_s = time_s
            self.pictures.add(time_s, key, units)
        elif is_referred(units):
            self.reordered = True
        return True

    def slices(self, now: int) -> list[Slice]:
        """Return what has become due since the last call."""
        due = now // SLICE_TICKS
        if self._next_slice < 0 or due - self._next_slice > BEHIND_MAX_SLICES:
            self._next_slice = due
        made = [self.mux.slice(number * SLICE_TICKS) for number in range(self._next_slice, due + 1)]
        self._next_slice = due + 1
        for each in made:
            self.segments.take(each)
        return made

    def end(self, now: int) -> list[Slice]:
        """Send what still waits, and close everything."""
        made = []
        while self.mux.waiting and self._next_slice * SLICE_TICKS < now + 2 * LEAD_TICKS:
            made.append(self.mux.slice(self._next_slice * SLICE_TICKS))
            self.segments.take(made[-1])
            self._next_slice += 1
        self.segments.end()
        self.pictures.end()
        self.sound.end()
        self.ended = True
        return made


class LiveChannel:
    """What a source gives and viewers take. All methods are called on one thread."""

    def __init__(self, plan: LivePlan) -> None:
        """Nothing is on."""
        self.plan = plan
        self.counters: Counter[str] = Counter()
        self.broadcast: Broadcast | None = None
        """What is on, or was on last."""
        self.refusal = ""
        """Why the last source was not taken, in words."""
        self.listeners: set[Listener] = set()
        """Of what is on; they are forgotten at the end."""
        self.standing: list[Listener] = []
        """Of all broadcasts."""
        self.want_key: Callable[[], None] = lambda: None
        """Asks the source for a key picture, where that is possible."""
        self.woken: Callable[[], None] = lambda: None
        """Called when there is something to send."""
        self._timeline = Timeline()
        self._given = False
        self._joins = True
        self._silent_since_s = 0.0
        self._session_sound = False
        self._parameters: tuple[bytes, ...] = ()
        self._sound_last = self._opus_last = -1

    @property
    def on_air(self) -> Broadcast | None:
        """The broadcast that is on."""
        return self.broadcast if self.broadcast is not None and not self.broadcast.ended else None

    @property
    def held_bytes(self) -> int:
        """Bytes that are kept for who watches; bounded by the parts they are in."""
        last = self.broadcast
        return last.segments.bytes + last.pictures.bytes + last.sound.bytes if last is not None else 0

    @property
    def is_given(self) -> bool:
        """A source is there."""
        return self._given

    def begin(self, *, sound: bool, now_s: float) -> None:
        """A source has come."""
        self.counters["sources"] += 1
        self._given, self._joins, self._session_sound = True, True, sound
        self._parameters, self.refusal = (), ""
        self._timeline.leave()
        self._silent_since_s = now_s

    def leave(self, now_s: float) -> None:
        """The source is gone, perhaps to come back."""
        if self._given:
            self._given = False
            self._silent_since_s = now_s

    def refuse(self, words: str) -> None:
        """Remember why a source was not taken."""
        self.refusal = words
        self.counters["sources refused"] += 1

    def take(self, sample: Sample, now_s: float, moment: datetime) -> None:
        """Take a sample of the source that has begun."""
        if sample.kind in (Kind.PICTURE, Kind.KEY_PICTURE):
            self._picture(sample, now_s, moment)
        elif sample.kind is Kind.PARAMETERS:
            self._parameters = split(sample.data)
        elif self.on_air is not None and not self._joins:
            self._sound(self.on_air, sample, now_s)

    def tick(self, now_s: float) -> None:
        """Send what is due, and end what is over."""
        on_air = self.on_air
        if on_air is None:
            return
        now = _ticks(on_air, now_s)
        over = not self._given and now_s - self._silent_since_s > OFF_AIR_S
        for each in on_air.end(now) if over else on_air.slices(now):
            self._tell(each)
        if over:
            on_air.ended_s = now_s
            self.counters["broadcasts ended"] += 1
            self._tell(None)
            self.listeners.clear()

    def end(self) -> None:
        """End at once."""
        if (on_air := self.on_air) is not None:
            on_air.end(0)
            self.counters["broadcasts ended"] += 1
        self._tell(None)
        self.listeners.clear()

    def _tell(self, piece: Slice | None) -> None:
        for listener in (*self.standing, *self.listeners):
            listener(piece)

    def _picture(self, sample: Sample, now_s: float, moment: datetime) -> None:
        units = ordered(split(sample.data))
        if not has_picture(units):
            self.counters["pictures empty"] += 1
            return
        key = is_idr(units) or sample.kind is Kind.KEY_PICTURE
        on_air = self.on_air
        if self._joins:
            sets = ParameterSets()
            sets.learn((*self._parameters, *units))
            if not key or not sets.known or not begins_whole(units):
                self.counters["pictures before the first key picture"] += 1
                return
            if on_air is None:
                on_air = self.broadcast = Broadcast(now_s, moment)
                self.counters["broadcasts"] += 1
                self._sound_last = self._opus_last = -1
            on_air.parameters.learn((*self._parameters, *units))
            on_air.has_sound = self._session_sound
            on_air.mux.streams(sound=self._session_sound)
        assert on_air is not None
        on_air.parameters.learn(units)
        offset, jumped = self._timeline.picture(sample.dts, _ticks(on_air, now_s))
        if jumped and not self._joins and not key:
            self._joins = True  # nobody can go on in the middle: wait for a key picture
            self._timeline.leave()
            self.want_key()
            return
        shown = min(max(sample.pts, sample.dts), sample.dts + REORDER_MAX_TICKS)
        pts, dts = shown + offset, sample.dts + offset
        taken = on_air.picture(units, pts, dts, key=key, joins=jumped)
        self._joins = False
        self.counters["pictures" if taken else "pictures left out"] += 1
        self.woken()

    def _sound(self, on_air: Broadcast, sample: Sample, now_s: float) -> None:
        at = self._timeline.sound(sample.pts, _ticks(on_air, now_s))
        if at is None or len(sample.data) > SOUND_MAX_BYTES.get(sample.kind, 0):
            self.counters["sound left out"] += 1
        elif sample.kind is Kind.AAC and at > self._sound_last:
            self._sound_last = at
            on_air.mux.sound(sample.data, at)
        elif sample.kind is Kind.OPUS and at > self._opus_last:
            self._opus_last = at
            on_air.sound.add(at / TICKS_PER_S, True, (sample.data,))


def _ticks(broadcast: Broadcast, now_s: float) -> int:
    return round((now_s - broadcast.begin_s) * TICKS_PER_S)
