"""What the plane counts: plain integers in one row of memory, which processes may share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum, auto

STATUSES = (200, 206, 304, 400, 404, 408, 412, 414, 416, 431, 503)
"""Counted each by itself; all others together as 0."""


class Count(IntEnum):
    """Places in a row."""

    REQUESTS = 0
    """Answered by the plane itself."""
    BODY_BYTES = auto()
    """Handed to the kernel, heads not included."""
    ACCEPTED = auto()
    """Connections."""
    OPEN = auto()
    """Connections that are open now, those with aiohttp included."""
    REFUSED = auto()
    """Connections above the cap."""
    HANDED_OVER = auto()
    """Requests that went to aiohttp."""
    CAME_BACK = auto()
    """Connections that aiohttp gave back."""
    TIMED_OUT = auto()
    """Connections ended for silence: idle, half a head, or no byte taken."""
    GONE = auto()
    """Connections whose client left in the middle of an answer."""
    COLD_READS = auto()
    """Reads that had to wait for the disk."""
    STATUS = auto()
    """The first of the counts by status."""


COUNTS = int(Count.STATUS) + len(STATUSES) + 1
ROW_BYTES = 8 * COUNTS
PLACES = {status: Count.STATUS + place for place, status in enumerate(STATUSES)}
_OTHER = COUNTS - 1


class Counts:
    """One row. Only its process writes it; every process that shares the memory may read it."""

    def __init__(self, memory: bytearray | memoryview | None = None) -> None:
        """Use ``ROW_BYTES`` of memory, zeroed; memory of its own when none is given."""
        self.row = memoryview(bytearray(ROW_BYTES) if memory is None else memory).cast("B").cast("q")

    def status(self, status: int) -> None:
        """Count one answer."""
        self.row[PLACES.get(status, _OTHER)] += 1

    def __getitem__(self, count: Count) -> int:
        """Return one count."""
        return self.row[count]

    def statuses(self) -> Iterator[tuple[int, int]]:
        """Yield (status, answers); status 0 is all the others."""
        yield from ((status, self.row[place]) for status, place in PLACES.items())
        yield 0, self.row[_OTHER]


def total(rows: Sequence[Counts], count: Count) -> int:
    """Add one count of several processes."""
    return sum(each.row[count] for each in rows)
