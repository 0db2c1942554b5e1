"""Where units lie in a file. All units at once in whole arrays: a lesson has tens of thousands of pieces.

A stream is the runs of that stream one after the other, and also its units one after the other. Put all streams behind
each other and both are cuts of the same line: the pieces are what lies between two neighbouring cuts of either kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sync import Corrupt


@dataclass(frozen=True, eq=False)
class Layout:
    """Pieces of all units, by stream and then by place in the stream; the pieces of one unit are neighbours.

    Attributes:
        offset: file offset of each piece in bytes.
        length: length of each piece in bytes.
        first: index of the first piece of each unit, in play order.
        count: pieces of each unit, in play order.
        run_start: file offset of each run in bytes, in file order.
    """

    offset: NDArray[np.int64]
    length: NDArray[np.uint32]
    first: NDArray[np.int64]
    count: NDArray[np.int64]
    run_start: NDArray[np.int64]

    def pieces(self, ordinal: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return file offsets and lengths in bytes of the pieces of one unit."""
        first = int(self.first[ordinal])
        stop = first + int(self.count[ordinal])
        return self.offset[first:stop], self.length[first:stop].astype(np.int64)

    @property
    def unit_start(self) -> NDArray[np.int64]:
        """File offset of the first byte of each unit."""
        return self.offset[self.first]


def run_starts(run_skip: NDArray[np.uint32], run_length: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the file offset of each run in bytes, in file order."""
    length = run_length.astype(np.int64)
    return np.cumsum(length + run_skip) - length


def lay(
    run_skip: NDArray[np.uint32],
    run_stream: NDArray[np.uint8],
    run_length: NDArray[np.uint32],
    unit_stream: NDArray[np.uint8],
    unit_length: NDArray[np.uint32],
) -> Layout:
    """Lay units over runs. Runs are in file order; the units of each stream are in their order in the stream.

    Raises:
        Corrupt: a stream whose runs and units differ in length, an empty run or unit, or units of different streams
            that are not by the file offset of their first byte.
    """
    layout = lay_unordered(run_skip, run_stream, run_length, unit_stream, unit_length)
    if np.any(np.diff(layout.unit_start) <= 0):
        raise Corrupt("the units of a recipe are not in play order")
    return layout


def lay_unordered(
    run_skip: NDArray[np.uint32],
    run_stream: NDArray[np.uint8],
    run_length: NDArray[np.uint32],
    unit_stream: NDArray[np.uint8],
    unit_length: NDArray[np.uint32],
) -> Layout:
    """Do as :func:`lay`, but let units of different streams follow each other in any order.

    Raises:
        Corrupt: a stream whose runs and units differ in length, or an empty run or unit.
    """
    if len(run_length) != len(run_skip) or len(run_length) != len(run_stream) or len(unit_stream) != len(unit_length):
        raise Corrupt("the arrays of a recipe differ in length")
    if not np.all(run_length) or not np.all(unit_length):
        raise Corrupt("a recipe has an empty run or unit")
    # bincount sums in float64: exact up to 2^53, far beyond the longest object.
    if not np.array_equal(
        np.bincount(run_stream, weights=run_length, minlength=256),
        np.bincount(unit_stream, weights=unit_length, minlength=256),
    ):
        raise Corrupt("the runs and units of a recipe do not add up")
    starts = run_starts(run_skip, run_length)
    run_order = np.argsort(run_stream, kind="stable")
    unit_order = np.argsort(unit_stream, kind="stable")
    run_cut = _cuts(run_length[run_order])
    unit_cut = _cuts(unit_length[unit_order])
    cut = _merged(run_cut, unit_cut)
    run = np.searchsorted(run_cut, cut[:-1], side="right") - 1
    offset = starts[run_order][run] + cut[:-1] - run_cut[run]
    wire_first = np.searchsorted(cut, unit_cut)
    first = np.empty(len(unit_length), np.int64)
    count = np.empty(len(unit_length), np.int64)
    first[unit_order] = wire_first[:-1]
    count[unit_order] = np.diff(wire_first)
    return Layout(offset, np.diff(cut).astype(np.uint32), first, count, starts)


def _cuts(lengths: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return 0 and the running sum of the lengths: one more than there are lengths."""
    cuts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=cuts[1:])
    return cuts


def _merged(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what is in either of two ascending arrays, once each. The stable sort sees two sorted halves."""
    both = np.sort(np.concatenate((one, other)), kind="stable")
    keep = np.ones(len(both), np.bool_)
    np.not_equal(both[1:], both[:-1], out=keep[1:])
    return both[keep]
