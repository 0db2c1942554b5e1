"""What a recipe says: the bytes of an object that are no units, and where its units lie.

Written in ``docs/formats/sync.md`` §7.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sync.recipe.layout import Layout, lay

OBJECT_MAX_BYTES = 64 << 30
STREAMS_MAX = 64
RUNS_MAX = 1 << 22
UNITS_MAX = 1 << 20
TABLES_MAX = 1024
SKELETON_MAX_BYTES = 64 << 20
UNIT_MAX_BYTES = 8 << 20
HASH_BYTES = 32
RECIPE_MAX_BYTES = 192 << 20
"""No raw recipe within the other bounds is longer."""


@dataclass(frozen=True)
class Table:
    """A table of big-endian numbers in the skeleton that is written as first differences.

    Attributes:
        position: offset of the first number in the skeleton, in bytes.
        count: how many numbers.
        width: bytes of each number, 4 or 8.
    """

    position: int
    count: int
    width: int

    @property
    def stop(self) -> int:
        """Offset in the skeleton after the last number, in bytes."""
        return self.position + self.count * self.width


@dataclass(frozen=True, eq=False)
class Recipe:
    """How to build one object from a skeleton and units; ``docs/formats/sync.md`` §7.

    Runs are in file order; units are in play order, that is by the file offset of their first byte. The arrays are
    never written to.

    Attributes:
        sha256: hash of the object, 64 hex digits.
        length_bytes: length of the object.
        skeleton: every byte of the object that belongs to no unit, in file order, as it stands in the file.
        tables: number tables in the skeleton, ascending and apart.
        run_skip: skeleton bytes before each run.
        run_stream: stream that each run belongs to.
        run_length: bytes of each run, at least 1.
        unit_stream: stream that each unit is a slice of.
        unit_length: bytes of each unit, 1 to UNIT_MAX_BYTES.
        unit_hashes: SHA-256 of each unit, 32 bytes each, one after the other.
    """

    sha256: str
    length_bytes: int
    skeleton: bytes
    tables: tuple[Table, ...]
    run_skip: NDArray[np.uint32]
    run_stream: NDArray[np.uint8]
    run_length: NDArray[np.uint32]
    unit_stream: NDArray[np.uint8]
    unit_length: NDArray[np.uint32]
    unit_hashes: bytes

    @property
    def units(self) -> int:
        """How many units the object has."""
        return len(self.unit_length)

    @property
    def streams(self) -> int:
        """How many streams the units are slices of."""
        return int(self.unit_stream.max()) + 1 if len(self.unit_stream) else 0

    def unit_hash(self, ordinal: int) -> bytes:
        """Return the 32 bytes of the hash of the unit with this place in play order."""
        return self.unit_hashes[ordinal * HASH_BYTES : (ordinal + 1) * HASH_BYTES]

    @cached_property
    def layout(self) -> Layout:
        """Where the units lie in the file; computed once.

        Raises:
            Corrupt: the lengths do not add up, or the units are not in play order.
        """
        return lay(self.run_skip, self.run_stream, self.run_length, self.unit_stream, self.unit_length)

    def extents(self, ordinal: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where a unit lies in the file: offsets and lengths in bytes of its pieces, first byte first.

        Raises:
            IndexError: no such unit.
            Corrupt: the lengths of this recipe do not add up.
        """
        if not 0 <= ordinal < self.units:
            raise IndexError(f"unit {ordinal} of {self.units}")
        return self.layout.pieces(ordinal)

    def skeleton_extents(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the skeleton lies in the file: offsets and lengths in bytes of its pieces, first byte first."""
        skip = self.run_skip.astype(np.int64)
        length = self.run_length.astype(np.int64)
        starts = np.cumsum(skip + length) - length - skip
        tail = len(self.skeleton) - int(skip.sum())
        starts = np.append(starts, np.int64(self.length_bytes - tail))
        skip = np.append(skip, np.int64(tail))
        return starts[skip > 0], skip[skip > 0]
