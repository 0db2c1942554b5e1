"""Where the samples of one track lie by the tables of its ``stbl`` (ISO/IEC 14496-12 §8.6 and §8.7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.payload.boxes import Box, NotMp4, numbers, u32

SAMPLES_MAX = 1 << 23
"""Samples in one file, all tracks together; also chunks of one track. Ten hours of a lesson have 2.6 million."""
FAR_BYTES = 1 << 61
"""Positions beyond this are held to it: far outside of any file, and sums of them still fit in 64 bits."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples in decode order: absolute positions and lengths in bytes, and which of them are random access points."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    sync: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class OffsetTable:
    """The entries of one ``stco`` (width 4) or ``co64`` (width 8) box: absolute position in bytes, number, width."""

    position: int
    count: int
    width: int


def no_samples() -> Samples:
    """Return the value for a track that has none."""
    return Samples(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_))


def read_tables(data: memoryview, stbl: dict[bytes, Box], *, most: int, blocks: bool) -> Samples:
    """Place the samples of a track.

    Args:
        data: the file.
        stbl: the boxes of the track's ``stbl``.
        most: how many samples there may be.
        blocks: each chunk counts as one sample: for PCM, whose samples are a few bytes each.

    Raises:
        NotMp4: a table is missing, cut, contradicts another, or has too many entries.
    """
    size, count = _count(data, stbl)
    if count == 0:
        return no_samples()
    offsets = _chunk_offsets(data, stbl)
    edges = samples_before_chunks(data, stbl, len(offsets), count)
    if blocks and size:
        if len(offsets) > most or count * size > len(data):
            raise NotMp4(f"{len(offsets)} chunks of PCM with {count} samples of {size} bytes: more than there can be")
        return Samples(offsets, np.diff(edges) * size, np.ones(len(offsets), np.bool_))
    if count > most or count * size > len(data):
        raise NotMp4(f"{count} samples in one track; at most {most} in a file, or fewer if they do not fit into it")
    lengths = np.full(count, size, np.int64) if size else _sizes(data, stbl, count)
    ends = np.cumsum(lengths)
    begin = ends - lengths
    # A sample lies behind those before it in its chunk: its chunk's offset, plus what was summed up since the chunk.
    first = np.minimum(edges[:-1], count - 1)
    starts = begin + np.repeat(offsets - begin[first], np.diff(edges))
    return Samples(starts, lengths, _sync(data, stbl, count))


def offset_table(data: memoryview, stbl: dict[bytes, Box]) -> OffsetTable | None:
    """Return where the track's chunk offsets stand; None when it has none.

    Raises:
        NotMp4: they do not fit into their box.
    """
    box = stbl.get(b"co64") or stbl.get(b"stco")
    if box is None:
        return None
    width = 8 if box.kind == b"co64" else 4
    count = u32(data, box, 4)
    numbers(data, box, 8, count, f">u{width}")
    return OffsetTable(box.body + 8, count, width) if count else None


def _count(data: memoryview, stbl: dict[bytes, Box]) -> tuple[int, int]:
    """Return the size that all samples have, or 0, and how many there are."""
    box = stbl.get(b"stsz")
    if box is not None:
        return u32(data, box, 4), u32(data, box, 8)
    box = stbl.get(b"stz2")
    if box is None:
        raise NotMp4("a track without table of sample sizes")
    return 0, u32(data, box, 8)


def _sizes(data: memoryview, stbl: dict[bytes, Box], count: int) -> NDArray[np.int64]:
    box = stbl.get(b"stsz")
    if box is not None:
        return numbers(data, box, 12, count, ">u4").astype(np.int64)
    box = stbl[b"stz2"]
    bits = u32(data, box, 4) & 0xFF
    if bits == 4:
        pairs = numbers(data, box, 12, (count + 1) // 2, "u1")
        return np.stack([pairs >> 4, pairs & 15], axis=1).ravel()[:count].astype(np.int64)
    if bits not in (8, 16):
        raise NotMp4(f"sample sizes of {bits} bits")
    return numbers(data, box, 12, count, f">u{bits // 8}").astype(np.int64)


def _chunk_offsets(data: memoryview, stbl: dict[bytes, Box]) -> NDArray[np.int64]:
    table = offset_table(data, stbl)
    if table is None or table.count > SAMPLES_MAX:
        raise NotMp4("a track with samples and no or too many chunks")
    offsets = np.frombuffer(data, f">u{table.width}", table.count, table.position).astype(np.uint64)
    offsets[offsets > FAR_BYTES] = FAR_BYTES
    return offsets.astype(np.int64)


def samples_before_chunks(data: memoryview, stbl: dict[bytes, Box], chunks: int, count: int) -> NDArray[np.int64]:
    """Return for each chunk how many samples lie in those before it, and at the end the number of all samples.

    Raises:
        NotMp4: the table is missing, cut, or contradicts itself.
    """
    table = _chunk_runs(data, stbl)
    runs = len(table)
    first = table[:, 0].astype(np.int64) - 1
    if runs == 0 or first[0] != 0 or (np.diff(first) <= 0).any():
        raise NotMp4("the table of samples per chunk does not begin at 1 or does not ascend")
    lasting = np.diff(np.minimum(np.append(first, chunks), chunks))
    edges = np.zeros(chunks + 1, np.int64)
    np.cumsum(np.repeat(table[:, 1].astype(np.int64), lasting), out=edges[1:])
    if edges[-1] < count:
        raise NotMp4(f"{count} samples, but the chunks hold only {edges[-1]}")
    edges[edges > count] = count
    return edges


def descriptions(data: memoryview, stbl: dict[bytes, Box]) -> frozenset[int]:
    """Return the numbers of the sample descriptions that the chunks use, from 1.

    Raises:
        NotMp4: the table of chunks is missing or cut.
    """
    return frozenset(np.unique(_chunk_runs(data, stbl)[:, 2]).tolist())


def _chunk_runs(data: memoryview, stbl: dict[bytes, Box]) -> NDArray[np.uint32]:
    """Return runs of chunks alike: first chunk, samples in each, sample description; all from 1."""
    box = stbl.get(b"stsc")
    if box is None:
        raise NotMp4("a track without table of samples per chunk")
    runs = u32(data, box, 4)
    if runs > SAMPLES_MAX:
        raise NotMp4(f"{runs} runs of chunks")
    return numbers(data, box, 8, runs * 3, ">u4").reshape(runs, 3)


def _sync(data: memoryview, stbl: dict[bytes, Box], count: int) -> NDArray[np.bool_]:
    box = stbl.get(b"stss")
    if box is None:
        return np.ones(count, np.bool_)
    listed = numbers(data, box, 8, u32(data, box, 4), ">u4")
    sync = np.zeros(count, np.bool_)
    # Numbers of samples that are not there are left over by editors; they say nothing about those that are.
    sync[listed[(listed >= 1) & (listed <= count)].astype(np.int64) - 1] = True
    return sync
