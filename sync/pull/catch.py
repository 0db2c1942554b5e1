"""Cutting units out of the bytes of one request as they come."""

from __future__ import annotations

from collections.abc import Callable

from sync.pull.begun import Begun, Key, key_of
from sync.want import PackRange, WantedUnit

SPILL_BYTES = 384 * 1024
"""Of a unit that is under way so much is written to the disk at a time: a process that is killed loses no more of it.
With two requests under way and what the system buffers that stays below 1 MiB."""


class Catch:
    """A sink. Of a unit that was begun by an earlier transfer only the rest is asked for."""

    def __init__(
        self,
        request: PackRange,
        first: bytes,
        begun: Begun,
        deliver: Callable[[WantedUnit, bytes], None],
        spill: Callable[[Key, int, bytes], None],
    ) -> None:
        """Prepare for one request.

        Args:
            request: What will be asked for.
            first: What is there already of the first unit.
            begun: Hears of the unit that is under way when the transfer ends.
            deliver: Gets each whole unit.
            spill: Gets, for a long unit, a position in it and the bytes from there, as they grow.
        """
        self._units = request.units
        self._begun, self._deliver, self._spill = begun, deliver, spill
        self._next = 0
        self._base = request.start
        self._buffer = bytearray(first)
        self._spilled = min(len(first), begun.spilled_bytes(request.units[0]))

    @property
    def position(self) -> int:
        """Where in the pack the next byte must come from."""
        return self._base + len(self._buffer)

    @property
    def rest(self) -> tuple[WantedUnit, ...]:
        """Units that were not delivered."""
        return self._units[self._next :]

    def __call__(self, piece: bytes) -> None:
        """See sync.road.Sink."""
        self._buffer += piece
        while self._next < len(self._units) and self._units[self._next].stop <= self.position:
            unit = self._units[self._next]
            start = unit.offset - self._base
            self._next += 1
            self._spilled = 0
            self._deliver(unit, bytes(self._buffer[start : start + unit.stored]))
        needed = self._units[self._next].offset if self._next < len(self._units) else self.position
        if needed > self._base:
            gone = min(needed - self._base, len(self._buffer))
            del self._buffer[:gone]
            self._base += gone
        if self.rest and self._base == self.rest[0].offset and len(self._buffer) - self._spilled >= SPILL_BYTES:
            self._spill(key_of(self.rest[0]), self._spilled, bytes(self._buffer[self._spilled :]))
            self._spilled = len(self._buffer)

    def put_down(self) -> None:
        """Keep what came of the unit that is under way."""
        if self.rest and self._buffer and self._base == self.rest[0].offset:
            self._begun.keep(key_of(self.rest[0]), bytes(self._buffer))
