"""Who watches over HTTP: one table of fixed size for all worker processes, in memory that they share.

A row is taken by the number of the viewing; its place follows from the number, and a viewing that finds all its places
taken by living ones is not counted. Processes write without a lock: the worst that a race can do is to lose one row
until the viewer's next request. Pure apart from the memory.
"""

from __future__ import annotations

import struct

ROWS_MAX_COUNT = 4096
PLACES_COUNT = 8
"""Rows in which one viewing may be found."""
SILENT_S = 60.0
"""A player fetches a segment every few seconds; one that is silent for so long has gone (or is paused)."""

_ROW = struct.Struct("=QdQ")
TABLE_BYTES = ROWS_MAX_COUNT * _ROW.size


class Watching:
    """The table. Viewing numbers are random and not 0."""

    def __init__(self, memory: memoryview | bytearray, *, silent_s: float = SILENT_S) -> None:
        """Use memory of ``TABLE_BYTES``, zeroed once, shared by whoever counts.

        Raises:
            ValueError: it has another size.
        """
        self._memory = memoryview(memory).cast("B")
        self._silent_s = silent_s
        if self._memory.nbytes != TABLE_BYTES:
            raise ValueError(f"the table of viewings has {TABLE_BYTES} bytes, not {self._memory.nbytes}")

    def seen(self, viewing: int, length_bytes: int, now_s: float) -> None:
        """Note that so many bytes left for a viewing at this monotonic time."""
        if not viewing:
            return
        free = -1
        for place in range(PLACES_COUNT):
            at = (viewing + place) % ROWS_MAX_COUNT * _ROW.size
            number, seen_s, total_bytes = _ROW.unpack_from(self._memory, at)
            if number == viewing:
                _ROW.pack_into(self._memory, at, viewing, now_s, total_bytes + length_bytes & 0xFFFF_FFFF_FFFF_FFFF)
                return
            if free < 0 and (not number or now_s - seen_s >= self._silent_s):
                free = at
        if free >= 0:
            _ROW.pack_into(self._memory, free, viewing, now_s, length_bytes)

    def count(self, now_s: float) -> int:
        """Count the viewings that got something lately."""
        return sum(
            1 for number, seen_s, _ in _ROW.iter_unpack(self._memory) if number and now_s - seen_s < self._silent_s
        )

    def sent_bytes(self, viewing: int) -> int:
        """Return how many bytes of media left for a viewing; 0 when it is not in the table."""
        for place in range(PLACES_COUNT):
            number, _, total_bytes = _ROW.unpack_from(self._memory, (viewing + place) % ROWS_MAX_COUNT * _ROW.size)
            if number == viewing:
                return int(total_bytes)
        return 0
