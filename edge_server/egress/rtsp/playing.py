"""From a Range header to a place in the file (reference/stb_protocols §4.7). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edge_server.egress.rtsp.words import Title
from edge_server.pacing.stream import Stream
from wire.rtsp import NptRange, NptTime, WireError, parse_range

END_MARGIN_S = 1.0
"""``npt=end-`` plays the last second: boxes that clamp do the same."""


class BadRange(ValueError):
    """To be answered 457."""


@dataclass(frozen=True, slots=True)
class Move:
    """Where to play from; seconds of the lesson."""

    start_s: float
    offset_bytes: int
    stop_s: float | None


def plan(value: str | None, title: Title, stream: Stream, now: float, *, ahead_s: float = 0.0) -> Move | None:
    """Read the Range of a PLAY; None means: go on playing as it is.

    Without a Range, and for ``now-``, playing resumes at the very byte where it stood; at the end it begins again.
    Other starts go to the last key frame not after them. The client's seconds are ``ahead_s`` more than the lesson's;
    from less than that it wants the beginning.

    Raises:
        BadRange: not npt, beyond the end, or backwards.
    """
    duration_s = title.timeline.duration_s
    try:
        wanted = NptRange("now") if value is None else parse_range(value)
    except WireError as error:
        raise BadRange(str(error)) from error
    if not isinstance(wanted, NptRange):
        raise BadRange("only npt ranges are served here")
    wanted = NptRange(_back(wanted.start, ahead_s), _back(wanted.end, ahead_s))
    stop_s = _stop(wanted, duration_s)
    start = wanted.start
    if start is None or start == "now":
        if stream.playing and stop_s is None:
            return None
        offset = stream.offset_bytes
        if offset >= title.timeline.length_bytes:
            offset = 0
        start_s = title.timeline.npt_at(offset)
    else:
        wanted_s = 0.0 if start == "beginning" else max(0.0, duration_s - END_MARGIN_S) if start == "end" else start
        if wanted_s >= duration_s:
            raise BadRange(f"{wanted_s:g} s is not before the end at {duration_s:.3f} s")
        start_s, offset = title.seek(wanted_s)
    if stop_s is not None and stop_s <= start_s:
        raise BadRange("the end is not after the start")
    return Move(start_s, offset, stop_s)


def _back(time: NptTime | None, ahead_s: float) -> NptTime | None:
    return max(0.0, time - ahead_s) if isinstance(time, float) else time


def _stop(wanted: NptRange, duration_s: float) -> float | None:
    """Return the second at which to stop; None for the end of the stream (also for a rewind, which we do not do)."""
    end = wanted.end
    if end is None or end in ("end", "beginning"):
        return None
    if isinstance(end, str):
        raise BadRange("a range cannot end now")
    if isinstance(wanted.start, float) and end <= wanted.start:
        raise BadRange("the end is not after the start")
    return None if end >= duration_s else end
