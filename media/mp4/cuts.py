"""Where a video may be cut into segments, and where it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media import Unmuxable
from media.mp4.model import Mp4Track

SEGMENT_TARGET_S = 6.0
OPEN_AFTER_S = 2 * SEGMENT_TARGET_S
"""A segment this long is cut at a picture that needs earlier ones for those shown before it, if there is no better."""
_ROUNDING_S = 1e-3
NALS_LOOKED_AT_MAX = 64
"""Of one sample; parameter sets and SEI come before the slices."""


@dataclass(frozen=True, eq=False)
class Cuts:
    """The samples with which segments begin, ascending, the first one included."""

    samples: NDArray[np.int64]
    independent: bool
    """Every segment can be decoded without the one before it (RFC 8216 §4.3.5.1)."""


def cut_points(track: Mp4Track, file: NDArray[np.uint8]) -> Cuts:
    """Choose where segments begin: about every `SEGMENT_TARGET_S`, at a random access point.

    A *closed* point is an IDR or IRAP picture with nothing shown on the wrong side of it: what is decoded later is
    shown later. Where no closed point comes for `OPEN_AFTER_S`, any sync sample is taken: its leading pictures are
    then in the segment that it begins, and a player that begins there leaves them out (H.265 §C.4, RASL).

    Args:
        track: H.264 or H.265.
        file: all bytes of the file; a few of each sync sample are read.

    Raises:
        Unmuxable: no sample can be decoded by itself.
    """
    shown = track.dts + track.composition
    sync, intra = np.flatnonzero(track.sync), random_access_points(track, file)
    later = np.minimum.accumulate(shown[::-1])[::-1]
    earlier = np.maximum.accumulate(np.concatenate([shown[:1] - 1, shown[:-1]]))
    closed = intra[(later[intra] >= shown[intra]) & (earlier[intra] < shown[intra])]
    first = int(closed[0] if len(closed) and closed[0] == intra[0] else intra[0])
    chosen, independent = [first], True
    closed_times, sync_times = shown[closed] / track.timescale, np.maximum.accumulate(shown[sync]) / track.timescale
    while True:
        now = float(shown[chosen[-1]]) / track.timescale + SEGMENT_TARGET_S - _ROUNDING_S
        at = int(np.searchsorted(closed_times, now))
        best = int(closed[at]) if at < len(closed) else None
        if best is None or closed_times[at] - now > OPEN_AFTER_S - SEGMENT_TARGET_S:
            other = int(np.searchsorted(sync_times, now))
            if other < len(sync) and (best is None or sync[other] < best) and sync[other] > chosen[-1]:
                best, independent = int(sync[other]), False
        if best is None or best <= chosen[-1]:
            return Cuts(np.array(chosen, np.int64), independent)
        chosen.append(best)


def random_access_points(track: Mp4Track, file: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the sync samples that are IDR or IRAP pictures.

    Raises:
        Unmuxable: there are none.
    """
    sync = np.flatnonzero(track.sync)
    intra = sync[_intra(track, sync, file)]
    if len(intra) == 0:
        raise Unmuxable("no picture to begin with; transcode the file")
    return intra


def _intra(track: Mp4Track, samples: NDArray[np.int64], file: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which samples hold an IDR slice (H.264 type 5) or an IRAP slice (H.265 types 16 to 21)."""
    record = track.config
    place = 4 if track.codec == "h264" else 21
    length_bytes = (record[place] & 3) + 1 if len(record) > place else 4
    kinds = np.arange(256) & 31 if track.codec == "h264" else np.arange(256) >> 1 & 63
    wanted = kinds == 5 if track.codec == "h264" else (kinds >= 16) & (kinds <= 21)
    found = np.zeros(len(samples), np.bool_)
    at, end = track.offsets[samples], track.offsets[samples] + track.sizes[samples]
    row = np.arange(len(samples))
    for _ in range(NALS_LOOKED_AT_MAX):
        inside = at + length_bytes < end
        row, at, end = row[inside], at[inside], end[inside]
        if len(row) == 0:
            break
        length = np.zeros(len(row), np.int64)
        for byte in range(length_bytes):
            length = length << 8 | file[at + byte]
        hit = wanted[file[at + length_bytes]]
        found[row[hit]] = True
        row, at, end = row[~hit], (at + length_bytes + length)[~hit], end[~hit]
    return found
