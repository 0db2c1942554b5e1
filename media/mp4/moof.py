"""One movie fragment in front of bytes of a stored file (ISO/IEC 14496-12 §8.8.4 to §8.8.12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct, pack

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
_TRUN, _TRUN_WORDS = int.from_bytes(b"trun", "big"), 5
"""The box's letters, and its fields in front of the samples: size, letters, flags, count, data offset."""


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
    trafs = [_Traf(run, _placed(run, ranges, before)) for run in runs]
    length = 24 + sum(each.length_bytes for each in trafs)
    head = pack(">I4sI4sII", length, b"moof", 16, b"mfhd", 0, sequence)
    written = (each.written(length + 8) for each in trafs)
    return b"".join([head, *written, pack(">I4s", 8 + body, b"mdat")])


_ONE = Struct(">I4s I4sII I4s I4sIIII I4sIQ I4sIIIII I4s".replace(" ", ""))


def fragment_of_one(sequence: int, size_bytes: int, decode_time: int, duration: int, composition: int) -> bytes:
    """Return the same for one sync sample of track 1, whose bytes follow: many times faster."""
    trun_flags = 1 | _TRUN_SIZE | _TRUN_COMPOSITION
    tfhd = 24, b"tfhd", _TFHD | _DURATION | _FLAGS, 1, duration, SYNC
    trun = 28, b"trun", trun_flags, 1, _ONE.size, size_bytes, composition
    traf = (_ONE.size - 32, b"traf", *tfhd, 20, b"tfdt", 1 << 24, decode_time, *trun)
    return _ONE.pack(_ONE.size - 8, b"moof", 16, b"mfhd", 0, sequence, *traf, 8 + size_bytes, b"mdat")


def _placed(run: Run, ranges: NDArray[np.int64], before: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each sample lies in the body."""
    row = np.searchsorted(ranges[:, 0], run.offsets, side="right") - 1
    places: NDArray[np.int64] = run.offsets - ranges[row, 0] + before[row]
    return places


class _Traf:
    """One ``traf``; a ``trun`` for each row of samples that lie back to back."""

    def __init__(self, run: Run, at: NDArray[np.int64]) -> None:
        """``at``: where in the body each sample lies."""
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
        heads = box(b"tfhd", pack(">II", tfhd_flags, run.number), tfhd)
        self._heads = heads + pack(">I4sIQ", 20, b"tfdt", 1 << 24, run.decode_time)
        self._columns, self._flags, self._at = columns, trun_flags, at
        self._firsts = np.concatenate([[0], np.flatnonzero(at[1:] != at[:-1] + run.sizes[:-1]) + 1])
        words = len(at) * len(columns) + _TRUN_WORDS * len(self._firsts)
        self.length_bytes = 8 + len(self._heads) + 4 * words

    def written(self, body_at: int) -> bytes:
        """Return the box; the body begins so many bytes behind the start of the ``moof``."""
        count, width, firsts = len(self._at), len(self._columns), self._firsts
        counts = np.diff(np.append(firsts, count))
        words = np.empty(count * width + _TRUN_WORDS * len(firsts), np.uint32)
        heads = firsts * width + _TRUN_WORDS * np.arange(len(firsts))
        fields = 4 * (_TRUN_WORDS + width * counts), _TRUN, self._flags, counts, self._at[firsts] + body_at
        for word, field in enumerate(fields):
            words[heads + word] = field
        places = np.arange(count) * width + _TRUN_WORDS * np.repeat(np.arange(1, len(firsts) + 1), counts)
        for column, numbers in enumerate(self._columns):
            words[places + column] = numbers
        return pack(">I4s", self.length_bytes, b"traf") + self._heads + words.astype(">u4").tobytes()
