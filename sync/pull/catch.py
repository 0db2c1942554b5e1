"""Cutting units out of the bytes of one request as they come."""

from __future__ import annotations

from collections.abc import Callable

from sync.want import PackRange, WantedUnit

Partials = dict[tuple[str, int, int], bytes]
"""What came of a unit when a transfer ended within it: by pack, offset and stored length."""


class Catch:
    """A sink. Of a unit that was begun by an earlier transfer only the rest is asked for."""

    def __init__(self, request: PackRange, partials: Partials, deliver: Callable[[WantedUnit, bytes], None]) -> None:
        """Take up what is in ``partials`` of the first unit; hand each whole unit to ``deliver``."""
        self._units, self._pack = request.units, request.pack
        self._partials, self._deliver = partials, deliver
        self._next = 0
        self._base = request.start
        self._buffer = bytearray(partials.pop(_key(request.units[0]), b""))

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
            self._deliver(unit, bytes(self._buffer[start : start + unit.stored]))
        needed = self._units[self._next].offset if self._next < len(self._units) else self.position
        if needed > self._base:
            gone = min(needed - self._base, len(self._buffer))
            del self._buffer[:gone]
            self._base += gone

    def put_down(self) -> None:
        """Keep what came of the unit that is under way."""
        if self.rest and self._buffer and self._base == self.rest[0].offset:
            self._partials[_key(self.rest[0])] = bytes(self._buffer)


def _key(unit: WantedUnit) -> tuple[str, int, int]:
    return unit.pack, unit.offset, unit.stored
