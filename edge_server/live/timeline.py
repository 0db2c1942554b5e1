"""One time line for a channel, whatever becomes of the clocks of its sources. Pure; times are 90 kHz ticks.

A sample comes at a moment of ours and says a moment of the source. The first one of a source joins both; from then on
the source's own distances count, and the join follows the source's clock, which is never quite ours, by a tick a
picture at most: 11 µs, 0.03 %, which no receiver notices.
"""

from __future__ import annotations

from edge_server.live import LEAD_S, TICKS_PER_S

LATE_MAX_TICKS = round((LEAD_S - 0.2) * TICKS_PER_S)
"""What is later could not be sent before it must be decoded."""
EARLY_MAX_TICKS = 5 * TICKS_PER_S
"""A decoder need not keep more than 10 s (ISO/IEC 13818-1 §2.4.2.6)."""
_CALM = 256
"""Pictures over which lateness is averaged."""
_NEAR_TICKS = 1800


class Timeline:
    """Maps one source's moments."""

    def __init__(self) -> None:
        """Nothing is joined yet."""
        self.jumps = 0
        """Times that a source's clock could not be followed."""
        self._offset: int | None = None
        self._late = 0.0
        self._last = -1

    def leave(self) -> None:
        """The source is gone; the next one has another clock."""
        self._offset, self._late = None, 0.0

    def picture(self, dts: int, now: int) -> tuple[int, bool]:
        """Return what to add to the source's moments from this picture on, and whether the clock jumped here.

        Args:
            dts: when the source says that the picture is decoded.
            now: when it came, on the time line.
        """
        jumped = self._offset is None
        offset = now - dts if self._offset is None else self._offset
        late = now - dts - offset
        if late > LATE_MAX_TICKS or late < -EARLY_MAX_TICKS:
            self.jumps += 1
            offset, jumped, late = now - dts, True, 0
        if jumped:
            self._late = 0.0
        self._late += (late - self._late) / _CALM
        if abs(self._late) > _NEAR_TICKS:
            offset += 1 if self._late > 0 else -1
        if dts + offset <= self._last:
            offset = self._last + 1 - dts
        self._offset, self._last = offset, dts + offset
        return offset, jumped

    def sound(self, pts: int, now: int) -> int | None:
        """Return a moment of sound on the time line; None when it belongs to no picture's time."""
        if self._offset is None:
            return None
        at = pts + self._offset
        return at if -EARLY_MAX_TICKS < at - now < EARLY_MAX_TICKS else None
