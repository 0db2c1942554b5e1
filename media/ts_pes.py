"""Heads of PES packets, many at a time (ISO/IEC 13818-1 §2.4.3.6); `wire.mpegts.write_pes_header` writes one."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

VIDEO_STREAM_ID: Final = 0xE0
AUDIO_STREAM_ID: Final = 0xC0
_WITH_PTS_BYTES, _WITH_BOTH_BYTES = 14, 19


def pes_head_bytes(pts: Ints, dts: Ints | None = None) -> Ints:
    """Return how long the heads are; a DTS is left out when it equals the PTS."""
    both = (pts != dts) if dts is not None else np.zeros(len(pts), dtype=np.bool_)
    return np.where(both, _WITH_BOTH_BYTES, _WITH_PTS_BYTES)


def write_pes_heads(stream_id: int, pes_bytes: Ints, pts: Ints, dts: Ints | None = None) -> list[bytes]:
    """Return the heads of PES packets of these whole lengths.

    The length is written whenever it fits 16 bits; else 0, which only video may have.

    Raises:
        ValueError: a PES of sound is too long.
    """
    lengths = pes_bytes - 6
    open_ended = lengths > 0xFFFF
    if stream_id != VIDEO_STREAM_ID and np.any(open_ended):
        raise ValueError("only a video PES packet may be open")
    heads = pes_head_bytes(pts, dts)
    both = heads == _WITH_BOTH_BYTES
    rows = np.zeros((len(pts), _WITH_BOTH_BYTES), dtype=np.uint8)
    rows[:, 2] = 1
    rows[:, 3] = stream_id
    rows[:, 4:6] = _big(np.where(open_ended, 0, lengths), 2)
    rows[:, 6] = 0x84  # '10', data_alignment_indicator
    rows[:, 7] = np.where(both, 0xC0, 0x80)
    rows[:, 8] = heads - 9
    rows[:, 9:14] = _stamps(np.where(both, 3, 2), pts)
    if dts is not None:
        rows[:, 14:19] = _stamps(np.ones(len(dts), dtype=np.int64), dts)
    raw = rows.tobytes()
    begins = range(0, len(raw), _WITH_BOTH_BYTES)
    return [raw[at : at + size] for at, size in zip(begins, heads.tolist(), strict=True)]


def _stamps(prefix: Ints, ticks: Ints) -> Bytes:
    low = ticks & 0x7FFF
    return _big(
        prefix << 36 | (ticks >> 30 & 7) << 33 | 1 << 32 | (ticks >> 15 & 0x7FFF) << 17 | 1 << 16 | low << 1 | 1, 5
    )


def _big(values: Ints, count: int) -> Bytes:
    """Return the low bytes, the highest first."""
    return np.asarray(values[:, None] >> np.arange(8 * count - 8, -8, -8) & 0xFF, dtype=np.uint8)
