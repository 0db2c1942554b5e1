"""How anything else is cut into units: where the content says so (FastCDC), without knowing what it is."""

from __future__ import annotations

import numpy as np
from pyfastcdc import FastCDC

from sync.recipe.draft import Stream, draft
from sync.recipe.value import UNITS_MAX, Recipe

CHUNK_MEAN_BYTES = 16 << 10
"""Mean length of a chunk for objects that do not get too many by it. At least a quarter, at most four times as long."""


def cut_chunks(data: memoryview) -> Recipe:
    """Return the recipe of any object that is not empty, with zeros for hashes."""
    mean = CHUNK_MEAN_BYTES
    while len(data) > mean * (UNITS_MAX // 2):
        mean *= 2
    lengths = _lengths(data, mean)
    if len(lengths) > UNITS_MAX // 2:
        # Content that asks for more cuts than chance would: now the shortest chunk is the mean of before.
        lengths = _lengths(data, 4 * mean)
    start, length = np.array([0], np.int64), np.array([len(data)], np.int64)
    return draft(data, [Stream(start, length, lengths)], [])


def _lengths(data: memoryview, mean_bytes: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    cutter = FastCDC(mean_bytes, min_size=mean_bytes // 4, max_size=4 * mean_bytes)
    return np.fromiter((chunk.length for chunk in cutter.cut_buf(data)), np.int64)
