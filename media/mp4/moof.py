"""One movie fragment in front of bytes of a stored file (ISO/IEC 14496-12 §8.8.4 to §8.8.12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack

import numpy as np
from numpy.typing import NDArray

from media import Unmuxable
from media.mp4.writing import box

BODY_MAX_BYTES = (1 << 31) - (1 << 24)
"""Of one segment: data offsets have 32 bits with a sign."""
SYNC, NOT_SYNC = 0x0200_0000, 0x0101_0000
"""Sample flags (§8.8.3.1): depends on no other; depends on others and is no sync sample."""
_TFHD = 0x020000
"""default-base-is-moof."""
_DURATION, _FLAGS = 0x8, 0x20
_TRUN_SIZE, _TRUN_DURATION, _TRUN_FLAGS, _TRUN_COMPOSITION = 0x200, 0x100, 0x400, 0x800


@dataclass(frozen=True, eq=False)
class Run:
    """Samples of one track that a fragment holds, in decode order; ticks of the track."""

    number: int
    """Track number in the initialization segment."""
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    decode_time: int
    durations: NDArray[np.int64]
    composition: NDArray[np.int64]
    """Not negative."""
    sync: NDArray[np.bool_]


def ranges_of(runs: Sequence[Run], gap_max_bytes: int = 0) -> NDArray[np.int64]:
    """Return the rows (position, bytes) of the file that hold all samples, ascending.

    ``gap_max_bytes``: how much between two samples is sent along rather than beginning another range.
    """
    starts = np.concatenate([each.offsets for each in runs])
    stops = starts + np.concatenate([each.sizes for each in runs])
    order = np.argsort(starts, kind="stable")
    starts, stops = starts[order], np.maximum.accumulate(stops[order])
    new = np.flatnonzero(starts[1:] > stops[:-1] + gap_max_bytes) + 1
    first, last = np.concatenate([[0], new]), np.concatenate([new - 1, [len(starts) - 1]])
    return np.stack([starts[first], stops[last] - starts[first]], axis=1)


def fragment(sequence: int, runs: Sequence[Run], ranges: NDArray[np.int64]) -> bytes:
    """Return ``moof`` and the head of ``mdat``; the bytes of ``ranges`` follow in their order.

    Args:
        sequence: number of the fragment, from 1.
        runs: at least one sample each.
        ranges: rows (position, bytes), ascending, which hold all samples.

    Raises:
        Unmuxable: more than `BODY_MAX_BYTES` in one segment.
    """
    body = int(ranges[:, 1].sum())
    if body > BODY_MAX_BYTES:
        raise Unmuxable(f"a segment of {body} bytes: pictures to begin with are too far apart; transcode the file")
    before = np.cumsum(ranges[:, 1]) - ranges[:, 1]
    trafs = [_traf(run, _placed(run, ranges, before)) for run in runs]
    # Data offsets count from the moof; they are put in once its length is known.
    length = 8 + 16 + sum(len(head) for head, _, _ in trafs)
    parts = [pack(">I4sI4sII", length, b"moof", 16, b"mfhd", 0, sequence)]
    for head, places, positions in trafs:
        made = bytearray(head)
        for place, position in zip(places, positions, strict=True):
            made[place : place + 4] = pack(">I", position + length + 8)
        parts.append(bytes(made))
    return b"".join([*parts, pack(">I4s", 8 + body, b"mdat")])


def _placed(run: Run, ranges: NDArray[np.int64], before: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each sample lies in the body."""
    row = np.searchsorted(ranges[:, 0], run.offsets, side="right") - 1
    places: NDArray[np.int64] = run.offsets - ranges[row, 0] + before[row]
    return places


def _traf(run: Run, at: NDArray[np.int64]) -> tuple[bytes, list[int], list[int]]:
    """Return the box, where in it data offsets stand, and what they are from the start of the body on."""
    count = len(at)
    flags = np.where(run.sync, SYNC, NOT_SYNC)
    tfhd_flags, tfhd, trun_flags, columns = _TFHD, b"", 1 | _TRUN_SIZE, [run.sizes]
    if (run.durations == run.durations[0]).all():
        tfhd_flags, tfhd = tfhd_flags | _DURATION, pack(">I", int(run.durations[0]))
    else:
        trun_flags, columns = trun_flags | _TRUN_DURATION, [run.durations, run.sizes]
    if (flags == flags[0]).all():
        tfhd_flags, tfhd = tfhd_flags | _FLAGS, tfhd + pack(">I", int(flags[0]))
    else:
        trun_flags |= _TRUN_FLAGS
        columns.append(flags)
    if run.composition.any():
        trun_flags |= _TRUN_COMPOSITION
        columns.append(run.composition)
    words = np.stack(columns, axis=1).astype(">u4").tobytes()
    width = 4 * len(columns)
    breaks = np.flatnonzero(at[1:] != at[:-1] + run.sizes[:-1]) + 1
    firsts, lasts = [0, *breaks.tolist()], [*breaks.tolist(), count]
    parts = [
        box(b"tfhd", pack(">II", tfhd_flags, run.number), tfhd),
        pack(">I4sIQ", 20, b"tfdt", 1 << 24, run.decode_time),
    ]
    places, length = [], 8 + len(parts[0]) + len(parts[1])
    for first, last in zip(firsts, lasts, strict=True):
        places.append(length + 16)
        parts += [pack(">I4sIII", 20 + (last - first) * width, b"trun", trun_flags, last - first, 0)]
        parts += [words[first * width : last * width]]
        length += 20 + (last - first) * width
    return box(b"traf", *parts), places, at[firsts].tolist()
