"""When samples are decoded and shown (ISO/IEC 14496-12 §8.6.1), and what the edit list shows of them (§8.6.6)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from media import Unmuxable
from media.payload.boxes import Box, NotMp4, numbers, u32

ENTRIES_MAX = 1 << 23
"""Of one table of times."""
EDITS_MAX = 1 << 16
DURATION_MAX_TICKS = 1 << 31
"""Of one sample; writers that mean a negative duration write more."""
TICKS_MAX = 1 << 59
"""Of an edit, so that sums fit in 64 bits."""


def read_durations(data: memoryview, stbl: dict[bytes, Box], count: int) -> NDArray[np.int64]:
    """Return the duration of each of ``count`` samples; the last entry of a table that is too short goes on.

    Raises:
        NotMp4: the table is missing, cut, or says impossible things.
    """
    if count == 0:
        return np.empty(0, np.int64)
    repeats, values = _runs(data, stbl.get(b"stts"), count)
    if len(values) == 0:
        raise NotMp4("a track without table of times")
    if (values >= DURATION_MAX_TICKS).any():
        raise NotMp4("samples of negative or impossible durations")
    repeats[-1] += count - int(repeats.sum())
    return np.repeat(values, repeats)


def read_composition(data: memoryview, stbl: dict[bytes, Box], count: int) -> NDArray[np.int64]:
    """Return the composition offset of each of ``count`` samples, signed in both versions of the box.

    Raises:
        NotMp4: the table is cut.
    """
    repeats, values = _runs(data, stbl.get(b"ctts"), count)
    offsets = np.zeros(count, np.int64)
    filled = np.repeat(values.astype(np.uint32).view(np.int32), repeats)
    offsets[: len(filled)] = filled
    return offsets


def _runs(data: memoryview, box: Box | None, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how often and what, so that there are at most ``count`` values."""
    if box is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    entries = u32(data, box, 4)
    if entries > ENTRIES_MAX:
        raise NotMp4(f"a table of times with {entries} entries")
    table = numbers(data, box, 8, entries * 2, ">u4").reshape(entries, 2).astype(np.int64)
    ends = np.minimum(np.cumsum(table[:, 0]), count)
    return np.diff(ends, prepend=0), table[:, 1]


@dataclass(frozen=True, slots=True)
class Shown:
    """Where a track lies on the movie's time line, ticks of the track; as in `media.mp4.model.Mp4Track`."""

    shift: int
    shown_from: int
    shown_until: int


def read_edits(data: memoryview, elst: Box | None) -> list[tuple[int, int, int]]:
    """Return the edits: length in ticks of the movie, media time in ticks of the track (-1: empty), rate times 65536.

    Raises:
        NotMp4: the list is cut or too long.
    """
    if elst is None:
        return []
    wide, count = u32(data, elst, 0) >> 24, u32(data, elst, 4)
    if count > EDITS_MAX:
        raise NotMp4(f"an edit list of {count} entries")
    kind = ">u8,>i8,>u4" if wide else ">u4,>i4,>u4"
    return [(int(length), int(at), int(rate)) for length, at, rate in numbers(data, elst, 8, count, kind).tolist()]


def place(edits: list[tuple[int, int, int]], movie_hz: int, track_hz: int, begin: int, end: int) -> Shown:
    """Put a track on the movie's time line.

    Args:
        edits: as `read_edits` returns them.
        movie_hz: ticks a second of the movie.
        track_hz: ticks a second of the track.
        begin: when the first sample is shown, by the media alone.
        end: when the last sample shown ends, by the media alone.

    Raises:
        Unmuxable: the edit list cannot be said as one piece of the media behind a pause.
    """
    if any(length > TICKS_MAX or at > TICKS_MAX for length, at, _ in edits):
        raise Unmuxable("an edit list with impossible times; remux the file")
    silent = 0
    while edits and edits[0][1] < 0:
        silent, edits = silent + edits[0][0], edits[1:]
    while edits and edits[-1][1] < 0:
        edits = edits[:-1]
    pause = round(silent * track_hz / movie_hz)
    if pause > TICKS_MAX:
        raise Unmuxable("an edit list with impossible times; remux the file")
    if not edits:  # no edit list, or one that shows nothing at all, which no player obeys
        return Shown(pause, begin + pause, end + pause)
    if round(sum(length for length, _, _ in edits) * track_hz / movie_hz) > TICKS_MAX:
        raise Unmuxable("an edit list with impossible times; remux the file")
    slack = track_hz // movie_hz + 1  # an edit's length is rounded to the movie's ticks
    first = edits[0][1]
    for (before, at, _), (_, following, _) in pairwise(edits):
        if following < 0 or abs(at + round(before * track_hz / movie_hz) - following) > slack:
            raise Unmuxable("the edit list leaves out or repeats parts of a track; transcode the file")
    length = sum(each for each, _, _ in edits)
    if any(rate != 0x10000 for _, _, rate in edits):
        raise Unmuxable("the edit list changes the speed of a track; transcode the file")
    last = end if length == 0 else min(end, first + round(length * track_hz / movie_hz))
    return Shown(pause - first, pause, max(pause, last - first + pause))
