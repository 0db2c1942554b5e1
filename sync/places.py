"""Where units lie in packs: spans of units that are stored back to back.

``docs/formats/sync.md`` §6. Places are hints: they are checked so that nothing out of bounds is ever asked for, but
whether the right bytes lie there is told by the hash of each unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from sync import Corrupt
from sync.ids import is_sha256
from sync.recipe import UNIT_MAX_BYTES, UNITS_MAX

PACK_MAX_BYTES = 256 * 1024 * 1024
PACKS_MAX = 65_536
"""Packs that one release or card may refer to."""

Index = Annotated[int, Meta(ge=0, lt=PACKS_MAX)]
Offset = Annotated[int, Meta(ge=0, lt=PACK_MAX_BYTES)]
Ordinal = Annotated[int, Meta(ge=0, lt=UNITS_MAX)]
Count = Annotated[int, Meta(ge=1, le=UNITS_MAX)]
Stored = Annotated[int, Meta(ge=1, lt=UNIT_MAX_BYTES)]


class Places(msgspec.Struct, frozen=True):
    """Places of the units of one object; units are numbered in play order (§7)."""

    spans: list[tuple[Index, Offset, Ordinal, Count]]
    """Pack (index into the packs of the release or card), offset in bytes, first unit, number of units."""
    packed: list[tuple[Ordinal, Stored]]
    """Unit and stored bytes of those that are stored as a zstd frame."""


def check_places(places: Places, packs: int) -> None:
    """Check what can be checked before the recipe is known.

    Raises:
        Corrupt: an index of a pack that is not there, spans or packed units that do not ascend or that overlap.
    """
    after = 0
    for pack, _, first, count in places.spans:
        if pack >= packs or first < after or count > UNITS_MAX - first:
            raise Corrupt("places with spans that overlap, do not ascend or name no pack")
        after = first + count
    before = -1
    for ordinal, _ in places.packed:
        if ordinal <= before:
            raise Corrupt("places with packed units that do not ascend")
        before = ordinal


def check_packs(packs: Sequence[str]) -> None:
    """Check the hashes of packs.

    Raises:
        Corrupt: too many, one twice, or not a hash.
    """
    if len(packs) > PACKS_MAX or len(set(packs)) != len(packs) or not all(map(is_sha256, packs)):
        raise Corrupt(f"packs must be at most {PACKS_MAX} different hashes")


def locate(
    places: Places, packs: Sequence[str], unit_lengths: NDArray[Any]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Spell places out, one row for each unit.

    Args:
        places: Of the object.
        packs: Of the release or card that the places stand in.
        unit_lengths: Raw bytes of each unit, in play order.

    Returns:
        Index of the pack (-1: no place is told), offset in the pack in bytes (0 then), stored length in bytes. A unit
        is stored as a zstd frame when, and only when, its stored length is less than its raw length.

    Raises:
        Corrupt: places that do not fit these units, or reach beyond PACK_MAX_BYTES.
    """
    check_places(places, len(packs))
    units = len(unit_lengths)
    stored = np.array(unit_lengths, dtype=np.int64)
    packed = np.array(places.packed, dtype=np.int64).reshape(-1, 2)
    if np.any(packed[:, 0] >= units) or np.any(packed[:, 1] >= stored[packed[:, 0]]):
        raise Corrupt("places with a packed unit that is not there or not smaller")
    stored[packed[:, 0]] = packed[:, 1]
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(stored)))  # stored bytes before each unit
    spans = np.array(places.spans, dtype=np.int64).reshape(-1, 4)
    pack, offset, first, count = spans.T
    stop = first + count
    if np.any(stop > units) or np.any(offset + before[stop] - before[first] > PACK_MAX_BYTES):
        raise Corrupt("places with a span beyond the units or beyond the end of a pack")
    pack_of = np.full(units, -1, np.int32)
    offset_of = np.zeros(units, np.int64)
    total = int(count.sum())
    # Ordinal of every unit that has a place: the spans' runs of ordinals, one after the other.
    runs = np.cumsum(count) - count
    ordinals = np.arange(total) + np.repeat(first - runs, count)
    pack_of[ordinals] = np.repeat(pack, count)
    offset_of[ordinals] = before[ordinals] + np.repeat(offset - before[first], count)
    return pack_of, offset_of, stored


def make_places(pack_index: NDArray[Any], offset: NDArray[Any], stored: NDArray[Any], length: NDArray[Any]) -> Places:
    """Return the fewest spans for units at these places; the opposite of ``locate``.

    Args:
        pack_index: Of each unit in play order; -1 for a unit whose place is not told.
        offset: In its pack, bytes.
        stored: Bytes in the pack; less than ``length`` for a unit stored as a zstd frame, else equal.
        length: Raw bytes.
    """
    placed = np.flatnonzero(np.asarray(pack_index) >= 0)
    if not len(placed):
        return Places([], [])
    pack, start, size, raw = (np.asarray(each, dtype=np.int64)[placed] for each in (pack_index, offset, stored, length))
    follows = (np.diff(placed) == 1) & (np.diff(pack) == 0) & (start[1:] == start[:-1] + size[:-1])
    firsts = np.flatnonzero(np.concatenate((np.ones(1, bool), ~follows)))
    counts = np.diff(np.append(firsts, len(placed)))
    spans = zip(pack[firsts].tolist(), start[firsts].tolist(), placed[firsts].tolist(), counts.tolist(), strict=True)
    packed = np.flatnonzero(size != raw)
    return Places(list(spans), list(zip(placed[packed].tolist(), size[packed].tolist(), strict=True)))
