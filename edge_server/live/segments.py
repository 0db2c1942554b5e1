"""The last segments of a channel, cut out of its stream where pictures begin (RFC 8216 §6.2.2). Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime

from edge_server.live import TICKS_PER_S
from edge_server.live.mux import Slice

SEGMENT_MIN_TICKS = 2 * TICKS_PER_S
SEGMENT_MAX_TICKS = 5 * TICKS_PER_S
"""A source whose key pictures are farther apart is cut without one."""
GAP_TICKS = TICKS_PER_S
"""No picture for so long belongs to no segment."""
TARGET_S = 6
"""Target duration, which must not change: the longest segment and the last picture's time (§6.2.1)."""
LISTED_MIN_S = 3 * TARGET_S
"""A list may not be shorter once it can be longer (§6.2.2); players begin so far before the end (§6.3.3)."""
KEPT_MAX_S = 2 * LISTED_MIN_S + 2 * TARGET_S
"""What has left the list is kept for as long as a list is, and its longest segment (§6.2.2)."""
KEPT_MAX_BYTES = 48 << 20
SEGMENT_MAX_BYTES = 131_072 * 188
"""24.6 MB, whole packets."""
_FRAME_TICKS = 3600


@dataclass(frozen=True, slots=True)
class LiveSegment:
    """One piece of the stream."""

    number: int
    duration_s: float
    data: bytes
    joins: bool
    """The source before it was another, or its clock jumped."""
    starts_at: datetime


@dataclass(slots=True)
class _Coming:
    """A segment whose end is not known."""

    number: int
    begin: int
    joins: bool
    starts_at: datetime
    end: int | None = None


class Segments:
    """Decides where to cut, and keeps what was cut."""

    def __init__(self, first_number: int) -> None:
        """Count segments from a number."""
        self.kept: deque[LiveSegment] = deque()
        self.bytes, self.kept_s = 0, 0.0
        self.joins_gone = 0
        """Joins in segments that are not kept any more (§4.3.3.3)."""
        self._number = first_number
        self._known: dict[int, _Coming] = {}
        self._last: int | None = None
        self._filling: _Coming | None = None
        self._data = bytearray()
        self.left_out_bytes = 0
        """Of segments that grew too large."""

    def picture(self, dts: int, *, key: bool, joins: bool, moment: datetime) -> int | None:
        """Tell of a picture that goes into the stream; returns the number of the segment that begins with it."""
        last, before = self._last, self._known.get(self._number - 1)
        self._last = dts
        if before is not None and last is not None:
            gap = dts - last > GAP_TICKS
            lasts = dts - before.begin
            if not (joins or gap or (key and lasts >= SEGMENT_MIN_TICKS) or lasts >= SEGMENT_MAX_TICKS):
                return None
            before.end = last + _FRAME_TICKS if gap or joins else dts
        coming = _Coming(self._number, dts, joins and before is not None, moment)
        self._known[self._number] = coming
        self._number += 1
        return coming.number

    def take(self, piece: Slice) -> None:
        """Take a slice of the stream."""
        at = 0
        for place, number in piece.cuts:
            self._data += piece.data[at:place]
            at = place
            self._close()
            self._filling = self._known[number]
            self._data.clear()
        if self._filling is not None:
            room = SEGMENT_MAX_BYTES - len(self._data)
            self.left_out_bytes += max(0, len(piece.data) - at - room)
            self._data += piece.data[at : at + room]

    def listed(self) -> tuple[LiveSegment, ...]:
        """Return the last segments, as many as a list must have."""
        found: list[LiveSegment] = []
        for each in reversed(self.kept):
            if sum(one.duration_s for one in found) >= LISTED_MIN_S:
                break
            found.append(each)
        return tuple(reversed(found))

    def end(self) -> None:
        """Keep what there is of the last one."""
        if self._filling is not None and self._filling.end is None and self._last is not None:
            self._filling.end = self._last + _FRAME_TICKS
        self._close()
        self._filling = None

    @property
    def coming(self) -> bytes:
        """What there is of the segment that is not over."""
        return bytes(self._data)

    def find(self, number: int) -> LiveSegment | None:
        """Return a segment that is kept."""
        return next((each for each in self.kept if each.number == number), None)

    def _close(self) -> None:
        done = self._filling
        if done is None or done.end is None or not self._data:
            return
        for number in [each for each in self._known if each < done.number]:
            del self._known[number]
        made = LiveSegment(
            done.number,
            min((done.end - done.begin) / TICKS_PER_S, TARGET_S),
            bytes(self._data),
            done.joins,
            done.starts_at,
        )
        self.kept.append(made)
        self.bytes += len(made.data)
        self.kept_s += made.duration_s
        while self.kept_s > KEPT_MAX_S or (self.bytes > KEPT_MAX_BYTES and len(self.kept) > 1):
            gone = self.kept.popleft()
            self.kept_s -= gone.duration_s
            self.bytes -= len(gone.data)
            self.joins_gone += gone.joins
