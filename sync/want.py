"""What to keep, what to fetch, in which ranges of which packs and in which order. Decides only; fetches nothing.

``docs/formats/sync.md`` §2 (priorities) and §9 (packs).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from sync import NoSpace
from sync.listing import NamedFile

RANGE_MAX_BYTES = 4 * 1024 * 1024
"""Of one request, unless one unit alone is longer."""
GAP_MAX_BYTES = 32 * 1024
"""Bytes that nobody wants are read along up to here; beyond, another request costs less."""


@dataclass(frozen=True, slots=True)
class WantedUnit:
    """A unit that is missing, and where it lies."""

    sha256: bytes
    """32 bytes; of the raw unit."""
    length: int
    """Of the raw unit, in bytes."""
    pack: str
    offset: int
    """In the pack, bytes."""
    stored: int
    """Bytes in the pack; less than ``length`` for a zstd frame."""
    priority: int
    """Of the most urgent file that it is wanted for (§2)."""
    order: int
    """Within the priority: smaller is earlier."""

    @property
    def stop(self) -> int:
        """Where it ends in the pack, bytes."""
        return self.offset + self.stored


@dataclass(frozen=True, slots=True)
class PackRange:
    """One request: bytes [start, stop) of a pack."""

    pack: str
    start: int
    stop: int
    units: tuple[WantedUnit, ...]
    """By their offset; what lies between them is not wanted."""


@dataclass(frozen=True)
class Choice:
    """Which objects an edge with a quota holds after a release. Each object is named once, by its most urgent file."""

    keep: tuple[NamedFile, ...]
    """By priority, then as they were given."""
    leave_out: tuple[NamedFile, ...]
    """Evictable objects that do not fit; those of them that are held may be evicted."""
    needed_bytes: int
    """Sum of what is kept and not yet held."""
    pinned_bytes: int
    """Sum of what must be kept."""
    kept_bytes: int
    """Sum of what is kept."""


def ranges(wanted: Iterable[WantedUnit]) -> list[PackRange]:
    """Return the requests that bring all wanted units, in the order to make them.

    A unit that is wanted several times is fetched once, for the most urgent of them. Within a priority, neighbours in a
    pack with gaps of at most GAP_MAX_BYTES are one request of at most RANGE_MAX_BYTES; requests go by the smallest
    order among their units. A less urgent unit that lies wholly within a more urgent request is taken along.

    Memory is about 0.6 KB a unit: plan a few objects at a time, not a terabyte.
    """
    once: dict[bytes, WantedUnit] = {}
    for unit in wanted:
        other = once.get(unit.sha256)
        if other is None or _urgency(unit) < _urgency(other):
            once[unit.sha256] = unit
    by_pack = sorted(once.values(), key=lambda unit: (unit.pack, unit.offset, unit.stop, unit.sha256))
    found = [each for _, units in groupby(by_pack, key=lambda unit: unit.pack) for each in _in_pack(list(units))]
    found.sort(key=lambda each: (min(map(_urgency, each.units)), each.pack, each.start))
    return found


def choose(files: Iterable[NamedFile], *, quota_bytes: int | None, held: Callable[[str], bool]) -> Choice:
    """Decide which objects of a listing (or of several) an edge holds.

    All pinned objects (some file of priority 0 to 2) are kept. Evictable ones are kept while the quota holds: first
    those that are held, because they cost no byte on the line and an edge must not swap lessons back and forth; then
    the others; both as they were given. One that does not fit is left out and smaller ones after it are still tried.

    Args:
        files: In the order of the listing.
        quota_bytes: For all objects together; None for no limit.
        held: Tells whether the whole object of a hash is there.

    Raises:
        NoSpace: the pinned objects alone exceed the quota.
    """
    urgent: dict[str, NamedFile] = {}
    for file in files:
        other = urgent.setdefault(file.sha256, file)
        if file.priority < other.priority:
            urgent[file.sha256] = file
    objects = list(urgent.values())
    here = {file.sha256 for file in objects if held(file.sha256)}
    pinned_bytes = kept_bytes = sum(file.length_bytes for file in objects if file.pinned)
    if quota_bytes is not None and pinned_bytes > quota_bytes:
        raise NoSpace(pinned_bytes, quota_bytes)
    left_out = set()
    evictable = [file for file in objects if not file.pinned]
    for file in sorted(evictable, key=lambda file: file.sha256 not in here):
        if quota_bytes is not None and kept_bytes + file.length_bytes > quota_bytes:
            left_out.add(file.sha256)
        else:
            kept_bytes += file.length_bytes
    keep = [file for file in objects if file.sha256 not in left_out]
    return Choice(
        keep=tuple(sorted(keep, key=lambda file: file.priority)),
        leave_out=tuple(file for file in objects if file.sha256 in left_out),
        needed_bytes=sum(file.length_bytes for file in keep if file.sha256 not in here),
        pinned_bytes=pinned_bytes,
        kept_bytes=kept_bytes,
    )


def _urgency(unit: WantedUnit) -> tuple[int, int]:
    return unit.priority, unit.order


def _in_pack(units: Sequence[WantedUnit]) -> list[PackRange]:
    """Cut the units of one pack, ordered by offset, into ranges."""
    offsets = [unit.offset for unit in units]
    taken = [False] * len(units)
    found = []
    for priority in sorted({unit.priority for unit in units}):
        mine = [i for i, unit in enumerate(units) if unit.priority == priority and not taken[i]]
        for start, stop in _neighbourhoods([units[i] for i in mine]):
            inside = range(bisect_left(offsets, start), bisect_left(offsets, stop))
            along = [i for i in inside if not taken[i] and units[i].stop <= stop]
            if not along:  # units that overlap (places are hints) may all lie in the ranges before
                continue
            for i in along:
                taken[i] = True
            inner = tuple(units[i] for i in along)
            found.append(PackRange(inner[0].pack, inner[0].offset, max(unit.stop for unit in inner), inner))
    return found


def _neighbourhoods(units: Sequence[WantedUnit]) -> Iterable[tuple[int, int]]:
    """Yield start and stop of each request for units ordered by offset."""
    start = stop = -1
    for unit in units:
        if start < 0:
            start, stop = unit.offset, unit.stop
        elif unit.offset - stop <= GAP_MAX_BYTES and unit.stop - start <= RANGE_MAX_BYTES:
            stop = max(stop, unit.stop)
        else:
            yield start, stop
            start, stop = unit.offset, unit.stop
    if start >= 0:
        yield start, stop
