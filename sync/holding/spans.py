"""Reading and writing the scattered bytes of units with few system calls.

The units of several streams interleave in a file: a second of pictures, then half a second of sound. Read is therefore
the whole span of neighbouring units at once, and cut in memory; written is what lies back to back at once, whichever
unit, or the skeleton, it belongs to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sync.recipe import Recipe

PIECES_AT_ONCE = 1024
"""Buffers in one ``pwritev``: what Linux allows (IOV_MAX)."""
BATCH_BYTES = 4 * 1024 * 1024
"""Units are read and written together until they have so many bytes; memory in use is a few times that."""
_SLACK_BYTES = 1024 * 1024
_SLACK_FACTOR = 2
"""A span is read in one go when it has at most payload * factor + slack bytes."""

Piece = tuple[int, memoryview]
"""File offset and bytes."""


def write_pieces(file: int, pieces: list[Piece]) -> None:
    """Write the pieces, which must not overlap; sorts the list.

    Raises:
        OSError: the system's error, ``ENOSPC`` included; some may have been written.
    """
    pieces.sort(key=_offset)
    start = end = 0
    together: list[memoryview] = []
    for offset, data in pieces:
        if together and (offset != end or len(together) == PIECES_AT_ONCE):
            _write_together(file, together, start, end)
            together = []
        if not together:
            start = end = offset
        together.append(data)
        end += len(data)
    if together:
        _write_together(file, together, start, end)


def _offset(piece: Piece) -> int:
    return piece[0]


def _write_together(file: int, buffers: list[memoryview], start: int, end: int) -> None:
    done = os.pwritev(file, buffers, start)
    if start + done == end:
        return
    rest = memoryview(b"".join(buffers))[done:]
    start += done
    while rest:
        done = os.pwrite(file, rest, start)
        rest, start = rest[done:], start + done


def batches(ordinals: Sequence[int], lengths: Sequence[int] | NDArray[np.uint32]) -> Iterator[list[int]]:
    """Cut the row of units into rows of about BATCH_BYTES; ``lengths`` by ordinal."""
    batch: list[int] = []
    held = 0
    for ordinal in ordinals:
        length = int(lengths[ordinal])
        if batch and held + length > BATCH_BYTES:
            yield batch
            batch, held = [], 0
        batch.append(ordinal)
        held += length
    if batch:
        yield batch


class UnitReader:
    """Reads units of one file by its recipe. Believes nothing: callers hash what they get."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        """Open the file.

        Raises:
            OSError: it cannot be opened.
        """
        self._recipe = recipe
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the file; may be called once."""
        os.close(self._file)

    def read(self, ordinals: Sequence[int]) -> list[bytes | None]:
        """Return the bytes of these units (about BATCH_BYTES of them at most); None where the disk does not give them.

        What is returned is what lies in the file, right or wrong.
        """
        layouts = []
        lowest, highest, payload = 1 << 62, 0, 0
        for ordinal in ordinals:
            offsets, lengths = self._recipe.extents(ordinal)
            lowest = min(lowest, int(offsets[0]))
            highest = max(highest, int(offsets[-1] + lengths[-1]))
            payload += int(lengths.sum())
            layouts.append((offsets.tolist(), lengths.tolist()))
        if highest - lowest <= payload * _SLACK_FACTOR + _SLACK_BYTES:
            try:
                span = memoryview(_read_span(self._file, lowest, highest))
                return [_gather(span, lowest, offsets, lengths) for offsets, lengths in layouts]
            except OSError:
                pass  # a bad sector somewhere: read unit by unit, so that only those who lie on it are lost
        if len(ordinals) > 1:
            return [self.read([ordinal])[0] for ordinal in ordinals]
        try:
            offsets, lengths = layouts[0]
            return [b"".join([_read_span(self._file, o, o + n) for o, n in zip(offsets, lengths, strict=True)])]
        except OSError:
            return [None]


def _gather(span: memoryview, base: int, offsets: list[int], lengths: list[int]) -> bytes:
    return b"".join([span[o - base : o - base + n] for o, n in zip(offsets, lengths, strict=True)])


def _read_span(file: int, start: int, stop: int) -> bytes:
    data = os.pread(file, stop - start, start)
    if start + len(data) == stop:
        return data
    parts = [data]
    start += len(data)
    while start < stop and (data := os.pread(file, stop - start, start)):  # a signal, or the end of a cut-off file
        parts.append(data)
        start += len(data)
    return b"".join(parts)
