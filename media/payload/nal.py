"""Which bytes of H.264 and H.265 samples are coded slices (ISO/IEC 14496-15 §4.2 and §8.3; H.264 §7.4.1, H.265 §7.4.2).

A sample is a row of NAL units, each with its length in front. All samples take their first step together, then those
that are not at their end the second, and so on: so the work is done by numpy, and most videos need one or two steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.payload.boxes import NotMp4

NALS_PER_SAMPLE_MAX = 4096
"""A sample with more is taken whole. The highest levels of H.265 allow 600 slice segments."""
NALS_MAX = 1 << 23
"""Coded slices in one track."""
_BLOCK_SAMPLES = 1 << 17
"""Samples that step together: enough for numpy, little memory."""

Extents = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]
"""Positions, lengths, sample numbers."""


@dataclass(frozen=True, eq=False)
class NalCodec:
    """How samples are written: bytes of a length, and for each first byte of a NAL unit whether it is a coded slice."""

    length_bytes: int
    coded: NDArray[np.bool_]


def h264(length_bytes: int) -> NalCodec:
    """Return H.264 with lengths of that many bytes: types 1 to 5 are coded slices."""
    kinds = np.arange(256) & 31
    return NalCodec(length_bytes, (kinds >= 1) & (kinds <= 5))


def h265(length_bytes: int) -> NalCodec:
    """Return H.265 with lengths of that many bytes: types 0 to 31 are coded slices."""
    return NalCodec(length_bytes, ((np.arange(256) >> 1) & 63) < 32)


def coded_extents(
    file: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64], codec: NalCodec
) -> Extents:
    """Return the coded slices, with the lengths in front of them, merged where they touch inside a sample.

    A sample whose lengths do not add up is one extent; a sample without coded slice has none.

    Args:
        file: all bytes of the file.
        starts: positions of the samples, which must lie inside the file.
        lengths: lengths of the samples.
        codec: how to read them.

    Raises:
        NotMp4: more than `NALS_MAX` slices.
    """
    found: list[Extents] = []
    left = NALS_MAX
    for first in range(0, len(starts), _BLOCK_SAMPLES):
        block = slice(first, first + _BLOCK_SAMPLES)
        at, length, sample = _walk(file, starts[block], lengths[block], codec, left)
        left -= len(at)
        at, length, sample = _merged(at, length, sample)
        found.append((at, length, sample + np.int32(first)))
    return _joined(found)


def _walk(
    file: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64], codec: NalCodec, most: int
) -> Extents:
    """Return every coded slice of these samples, by sample and then position; samples that do not add up whole."""
    found: list[Extents] = []
    whole: list[NDArray[np.int32]] = []
    sample = np.flatnonzero(lengths).astype(np.int32)
    at, end = starts[sample], (starts + lengths)[sample]
    for _ in range(NALS_PER_SAMPLE_MAX):
        after = _after(file, at, end, codec.length_bytes)
        sound = after <= end
        if not sound.all():
            whole.append(sample[~sound])
            sample, at, end, after = sample[sound], at[sound], end[sound], after[sound]
        if sample.size == 0:
            break
        head = at + codec.length_bytes
        # A unit of no bytes has no type; where its first byte would be, the file may be at its end.
        coded = codec.coded[file[np.minimum(head, len(file) - 1)]] & (after > head)
        found.append((at[coded], (after - at)[coded], sample[coded]))
        most -= len(found[-1][0])
        if most < 0:
            raise NotMp4(f"more than {NALS_MAX} coded slices")
        on = after < end
        sample, at, end = sample[on], after[on], end[on]
    whole.append(sample)
    odd = np.concatenate(whole)
    if odd.size:
        keep = np.ones(len(starts), np.bool_)
        keep[odd] = False
        found = [(at[keep[by]], length[keep[by]], by[keep[by]]) for at, length, by in found]
        found.append((starts[odd], lengths[odd], odd))
    at, length, sample = _joined(found)
    order = np.argsort(sample, kind="stable")
    return at[order], length[order], sample[order]


def _after(
    file: NDArray[np.uint8], at: NDArray[np.int64], end: NDArray[np.int64], length_bytes: int
) -> NDArray[np.int64]:
    """Return where the NAL units end that begin there; behind ``end`` when not even their length fits in."""
    last = len(file) - 1
    length = np.zeros(len(at), np.int64)
    for byte in range(length_bytes):
        length = length << 8 | file[np.minimum(at + byte, last)]
    return at + length_bytes + length


def _merged(at: NDArray[np.int64], length: NDArray[np.int64], sample: NDArray[np.int32]) -> Extents:
    """Join neighbours of one sample that touch."""
    if at.size == 0:
        return at, length, sample
    new = (at[1:] != at[:-1] + length[:-1]) | (sample[1:] != sample[:-1])
    first = np.concatenate([[0], np.flatnonzero(new) + 1])
    return at[first], np.add.reduceat(length, first), sample[first]


def _joined(parts: list[Extents]) -> Extents:
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32)
    return (
        np.concatenate([at for at, _, _ in parts]),
        np.concatenate([length for _, length, _ in parts]),
        np.concatenate([sample for _, _, sample in parts]),
    )
