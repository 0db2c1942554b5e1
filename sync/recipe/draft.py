"""A recipe before anything is hashed: which bytes of an object are units, and the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sync import Corrupt, TooLong
from sync.recipe.layout import lay_unordered
from sync.recipe.value import HASH_BYTES, SKELETON_MAX_BYTES, Recipe, Table

RUN_MAX_BYTES = 1 << 30
"""Longer runs are written as several: the format has 32 bits for a length."""


@dataclass(frozen=True, eq=False)
class Stream:
    """One stream of the object.

    Attributes:
        starts: file offsets of its extents in bytes, ascending.
        lengths: their lengths in bytes, none 0.
        units: lengths in bytes of its units; the same sum.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    units: NDArray[np.int64]


def draft(data: memoryview, streams: list[Stream], tables: list[Table]) -> Recipe:
    """Return the recipe with zeros for hashes.

    Args:
        data: the object.
        streams: what is in units; the rest is skeleton.
        tables: number tables with their positions in the object; those that are not wholly skeleton are left out.

    Raises:
        Corrupt: the extents or units do not add up; TooLong when too much would be skeleton.
    """
    starts, lengths, stream = _runs(streams)
    ends = starts + lengths
    if np.any(starts[1:] < ends[:-1]) or (len(starts) and (starts[0] < 0 or int(ends[-1]) > len(data))):
        raise Corrupt("extents overlap or lie outside of the object")
    skeleton_bytes = len(data) - int(lengths.sum())
    if skeleton_bytes > SKELETON_MAX_BYTES:
        raise TooLong(f"a skeleton of {skeleton_bytes:,} bytes; at most {SKELETON_MAX_BYTES:,}")
    before = np.concatenate(([0], ends))
    after = np.append(starts, len(data))
    skeleton = b"".join(data[a:b] for a, b in zip(before.tolist(), after.tolist(), strict=True) if b > a)
    run_skip = (after - before)[:-1].astype(np.uint32)
    unit_stream = np.repeat(np.arange(len(streams), dtype=np.uint8), [len(each.units) for each in streams])
    unit_length = np.concatenate([np.empty(0, np.int64), *(each.units for each in streams)]).astype(np.uint32)
    run_length = lengths.astype(np.uint32)
    play = np.argsort(lay_unordered(run_skip, stream, run_length, unit_stream, unit_length).unit_start)
    return Recipe(
        "0" * 64,
        len(data),
        skeleton,
        _in_skeleton(tables, starts, ends, lengths),
        run_skip,
        stream,
        run_length,
        unit_stream[play],
        unit_length[play],
        bytes(HASH_BYTES * len(unit_length)),
    )


def _runs(streams: list[Stream]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Return starts, lengths and streams of the runs in file order: extents that touch are one run."""
    starts = np.concatenate([np.empty(0, np.int64), *(each.starts for each in streams)])
    lengths = np.concatenate([np.empty(0, np.int64), *(each.lengths for each in streams)])
    stream = np.repeat(np.arange(len(streams), dtype=np.uint8), [len(each.starts) for each in streams])
    order = np.argsort(starts, kind="stable")
    starts, lengths, stream = starts[order], lengths[order], stream[order]
    if not len(starts):
        return starts, lengths, stream
    new = (starts[1:] != starts[:-1] + lengths[:-1]) | (stream[1:] != stream[:-1])
    first = np.concatenate(([0], np.flatnonzero(new) + 1))
    starts, lengths, stream = starts[first], np.add.reduceat(lengths, first), stream[first]
    parts = -(-lengths // RUN_MAX_BYTES)
    if np.any(parts > 1):
        part = np.arange(int(parts.sum())) - np.repeat(np.cumsum(parts) - parts, parts)
        starts, stream = np.repeat(starts, parts) + part * RUN_MAX_BYTES, np.repeat(stream, parts)
        lengths = np.minimum(np.repeat(lengths, parts) - part * RUN_MAX_BYTES, RUN_MAX_BYTES)
    return starts, lengths, stream


def _in_skeleton(
    tables: list[Table], starts: NDArray[np.int64], ends: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[Table, ...]:
    runs_before = np.concatenate(([0], np.cumsum(lengths)))
    found = []
    for table in tables:
        run = int(np.searchsorted(ends, table.position, side="right"))
        if run == len(starts) or int(starts[run]) >= table.stop:
            found.append(Table(table.position - int(runs_before[run]), table.count, table.width))
    return tuple(found)
