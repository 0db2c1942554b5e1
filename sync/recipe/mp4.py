"""How an MP4 is cut into units: pictures by GOP, sounds and the rest where their own bytes say so.

Cuts depend on nothing but the payload behind and in front of them, so that the same pictures and sounds give the same
units in another file: after an edit, a remux, a trim, a join.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from media.payload import PayloadTrack, read_payload
from sync.recipe.draft import Stream, draft
from sync.recipe.value import TABLES_MAX, UNIT_MAX_BYTES, Recipe, Table

UNIT_TARGET_BYTES = 1 << 20
"""A unit ends before the sample with which it would pass this."""
GROUP_MIN_SAMPLES = 16
"""Silence is the same sample again and again: without a minimum each could become a unit of its own."""
GROUP_MAX_SAMPLES = 200
GROUP_ODDS = 36
"""Behind the minimum one sample in so many ends a group: about 50 samples in a group."""
_LOOK_BYTES = 256
"""How much of a sample decides whether it ends a group."""


def cut_mp4(data: memoryview) -> Recipe:
    """Return the recipe of an MP4, with zeros for hashes.

    Raises:
        NotMp4: cannot be read as one.
        Corrupt: passes a bound of the format.
    """
    payload = read_payload(data)
    streams = [cut_track(data, track) for track in payload.tracks if len(track.starts)]
    tables = [Table(table.position, table.count, table.width) for table in payload.offset_tables]
    return draft(data, streams, tables[:TABLES_MAX])


def cut_track(data: memoryview, track: PayloadTrack) -> Stream:
    """Cut one track that is not empty."""
    order = np.argsort(track.starts, kind="stable")
    starts, lengths, samples = track.starts[order], track.lengths[order], track.samples[order]
    first = np.concatenate(([0], np.flatnonzero(np.diff(samples)) + 1))
    # Places in the stream where a sample begins, and at last where the stream ends.
    edges = np.concatenate(([0], np.cumsum(lengths)))[np.append(first, len(lengths))]
    sync = track.sync[samples[first]]
    if track.kind == "video" and not sync.all():
        cuts = _by_size(edges, np.flatnonzero(sync))
    else:
        look = np.minimum(lengths[first], _LOOK_BYTES)
        cuts = _by_content(edges, _ends_group(data, starts[first], look))
    return Stream(starts, lengths, _no_giants(np.diff(edges[cuts])))


def _by_size(edges: NDArray[np.int64], begins: NDArray[np.int64]) -> list[int]:
    """Return the samples at which units begin, and at last the number of samples; cut at ``begins`` and by size."""
    edge = edges.tolist()
    last = len(edge) - 1
    cuts = [0]
    for stop in [*begins[begins > 0].tolist(), last]:
        _fill(edge, cuts, stop)
    return cuts


def _by_content(edges: NDArray[np.int64], ends: NDArray[np.int64]) -> list[int]:
    """As :func:`_by_size`, but groups of samples end after one of ``ends``."""
    edge, end = edges.tolist(), ends.tolist()
    last = len(edge) - 1
    cuts = [0]
    at = 0
    while at < last:
        here = bisect_left(end, at + GROUP_MIN_SAMPLES - 1)
        stop = end[here] + 1 if here < len(end) else last
        at = min(stop, at + GROUP_MAX_SAMPLES, last)
        _fill(edge, cuts, at)
    return cuts


def _fill(edge: list[int], cuts: list[int], stop: int) -> None:
    """Add cuts up to ``stop`` so that no unit of several samples passes the target."""
    at = cuts[-1]
    while edge[stop] - edge[at] > UNIT_TARGET_BYTES:
        fits = bisect_right(edge, edge[at] + UNIT_TARGET_BYTES, at, stop) - 1
        at = max(fits, at + 1)
        if at == stop:
            break
        cuts.append(at)
    cuts.append(stop)


def _ends_group(data: memoryview, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the samples whose first bytes say that a group ends with them."""
    sums = (crc32(data[at:stop]) for at, stop in zip(starts.tolist(), (starts + lengths).tolist(), strict=True))
    return np.flatnonzero(np.fromiter(sums, np.uint32, len(starts)) % GROUP_ODDS == 0)


def _no_giants(units: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cut samples that are longer than a unit may be, into parts of the target length."""
    if units.max() <= UNIT_MAX_BYTES:
        return units
    parts = np.where(units > UNIT_MAX_BYTES, -(-units // UNIT_TARGET_BYTES), 1)
    cut = np.repeat(np.where(parts > 1, UNIT_TARGET_BYTES, units), parts)
    ends = np.cumsum(parts) - 1
    cut[ends] = units - (parts - 1) * np.where(parts > 1, UNIT_TARGET_BYTES, 0)
    return cut
