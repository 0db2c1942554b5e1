"""From Range and Scale to a place in the file (reference/stb_protocols §4.7). Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from edge_server.egress.rtsp.words import Title, Wound
from edge_server.pacing.joined import Airtime
from edge_server.pacing.stream import Stream
from wire.rtsp import ClockRange, NptRange, NptTime, WireError, parse_range, write_clock, write_npt

END_MARGIN_S = 1.0
"""``npt=end-`` plays the last second: boxes that clamp do the same."""
SCALE_MAX = 32.0
LIVE_MARGIN_S = 5.0
"""Who is so near to what is on now cannot go faster."""
_WHOLE_SECONDS = re.compile(r"npt=[0-9]+-[0-9]*")


class BadRange(ValueError):
    """To be answered 457."""


class NoClock(BadRange):
    """A range in absolute time, of something that has none; some families expect 455."""


@dataclass(frozen=True, slots=True)
class Move:
    """Where to play from; seconds of the lesson."""

    start_s: float
    end_s: float
    """Where it leads to."""
    offset_bytes: int
    stop_s: float | None
    """Where to stop, when not at the end."""
    wound: Wound | None = None
    """Key pictures only, at another speed; ``offset_bytes`` is one of theirs then."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session stands."""

    title: Title
    stream: Stream
    wound: Wound | None = None
    """What it is winding, or has been since it last played at the lesson's own speed."""
    npt_s: float = 0.0
    """The second that is on the screen."""
    now_s: float = 0.0
    """Monotonic."""


def speed(value: str | None) -> float:
    """Read ``Scale``: what we can do nearest to it (RFC 2326 §12.34). Absence, nonsense and slow motion are 1."""
    try:
        scale = float(value or 1)
    except ValueError:
        return 1.0
    if not math.isfinite(scale) or -0.5 < scale < 1.5:
        return 1.0
    return min(max(scale, -SCALE_MAX), SCALE_MAX)


def plan(
    value: str | None, scale: float, place: Place, *, ahead_s: float = 0.0, intolerant: Collection[str] = ()
) -> Move | None:
    """Read the Range of a PLAY; None means: go on playing as it is.

    Without a Range, and for ``now-``, playing resumes at the very byte where it stood, after winding at the picture
    that was on the screen; at the end it begins again. Other starts go to the last key frame not after them. The
    client's seconds are ``ahead_s`` more than the lesson's; from less than that it wants the beginning. With D11 among
    ``intolerant`` a range is whole seconds of npt and nothing else.

    Raises:
        BadRange: not npt, beyond the end, or backwards.
    """
    title, stream = place.title, place.stream
    duration_s = title.timeline.duration_s
    if value is not None and "D11" in intolerant and not _WHOLE_SECONDS.fullmatch(value):
        raise BadRange("only npt=N- is served here")
    try:
        wanted = NptRange("now") if value is None else parse_range(value)
    except WireError as error:
        raise BadRange(str(error)) from error
    latest_s = None
    if title.airtime is not None:
        wanted, latest_s = _aired(wanted, title.airtime, place), title.airtime.latest_s(place.now_s)
    if not isinstance(wanted, NptRange):
        raise NoClock("only npt ranges are served here")
    wanted = NptRange(_back(wanted.start, ahead_s), _back(wanted.end, ahead_s))
    start = wanted.start
    resumes = start is None or start == "now"
    if latest_s is not None and scale > 0 and _soon(start, place.npt_s) > latest_s - LIVE_MARGIN_S:
        scale = 1.0
    stop_s = _stop(wanted, duration_s) if scale > 0 else None
    if resumes and stream.playing and stop_s is None and scale == (place.wound.scale if place.wound else 1.0):
        return None
    if resumes:
        start_s = place.npt_s
    else:
        start_s = _start_s(start, duration_s)
        if start_s >= duration_s and not (scale < 0 and start_s == duration_s):
            raise BadRange(f"{start_s:g} s is not before the end at {duration_s:.3f} s")
    if scale != 1.0:
        wound = title.wind(start_s, scale, latest_s)
        return Move(wound.start_s, wound.end_s, 0, None, wound)
    if resumes and not place.wound:
        offset = 0 if stream.offset_bytes >= title.timeline.length_bytes else stream.offset_bytes
        start_s = title.timeline.npt_at(offset)
    else:
        start_s, offset = title.seek(start_s)
    if stop_s is not None and stop_s <= start_s:
        raise BadRange("the end is not after the start")
    return Move(start_s, duration_s if stop_s is None else stop_s, offset, stop_s)


def _aired(wanted: NptRange | ClockRange, air: Airtime, place: Place) -> NptRange:
    """Turn a range of a linear channel into seconds of its title.

    Live, every npt means now, whatever a player calls the beginning of what has none; but who has paused goes on.
    """
    live = air.live_zero_s is not None
    shown_s = air.latest_s(place.now_s)
    latest_s = place.title.timeline.duration_s if shown_s is None else shown_s
    if isinstance(wanted, NptRange):
        if not live:
            return wanted
        return NptRange("now") if place.stream.plays and wanted.start in (None, "now") else NptRange(latest_s)
    if isinstance(wanted.start, datetime):
        start_s = (wanted.start - air.zero).total_seconds()
        if start_s < 0:
            raise BadRange("too far back")
        return NptRange(min(start_s, latest_s))
    return NptRange(0.0 if wanted.start == "beginning" else latest_s if live else "end")


def _soon(start: NptTime | None, npt_s: float) -> float:
    return start if isinstance(start, float) else npt_s


def write_span(title: Title, start_s: float, end_s: float | None = None) -> str:
    """Write the Range of an answer: live in absolute time, else in seconds."""
    air = title.airtime
    if air is None or air.live_zero_s is None:
        return write_npt(start_s, end_s)
    return write_clock(air.zero + timedelta(seconds=start_s))


def _start_s(start: NptTime | None, duration_s: float) -> float:
    if isinstance(start, float):
        return start
    return max(0.0, duration_s - END_MARGIN_S) if start == "end" else 0.0


def _back(time: NptTime | None, ahead_s: float) -> NptTime | None:
    return max(0.0, time - ahead_s) if isinstance(time, float) else time


def _stop(wanted: NptRange, duration_s: float) -> float | None:
    """Return the second at which to stop; None for the end of the stream."""
    end = wanted.end
    if end is None or end in ("end", "beginning"):
        return None
    if isinstance(end, str):
        raise BadRange("a range cannot end now")
    if isinstance(wanted.start, float) and end <= wanted.start:
        raise BadRange("the end is not after the start")
    return None if end >= duration_s else end
