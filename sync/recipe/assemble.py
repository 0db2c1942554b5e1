"""From units back to the object: in file order for somebody who writes a stream, or unit by unit into a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from sync import Corrupt
from sync.recipe.value import Recipe

PIECE_BYTES = 1 << 20
"""About how long the pieces are that :func:`assemble` gives; longer when a unit lies in the file in one part."""
_BLOCK_PIECES = 1 << 16
"""How many pieces are Python numbers at a time."""

Bytes = bytes | memoryview


def assemble(recipe: Recipe, unit: Callable[[int], Bytes]) -> Iterator[Bytes]:
    """Yield the whole object in file order, in pieces of about PIECE_BYTES.

    Units are asked for once each, in play order; of each stream only one is held at a time. The hashes of the units
    and of the object are for the caller to compare.

    Args:
        recipe: of the object.
        unit: returns the bytes of the unit with this ordinal.

    Raises:
        Corrupt: a unit is not as long as the recipe says, or the recipe's lengths do not add up.
    """
    gathered: list[Bytes] = []
    held_bytes = 0
    for part in _parts(recipe, unit):
        if len(part) >= PIECE_BYTES:
            if gathered:
                yield b"".join(gathered)
                gathered, held_bytes = [], 0
            yield part
            continue
        gathered.append(part)
        held_bytes += len(part)
        if held_bytes >= PIECE_BYTES:
            yield b"".join(gathered)
            gathered, held_bytes = [], 0
    if gathered:
        yield b"".join(gathered)


def scatter(recipe: Recipe, ordinal: int, data: Bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield where the parts of one unit belong: file offset in bytes and what to write there.

    Raises:
        Corrupt: the unit is not as long as the recipe says. Its hash is for the caller to compare.
        IndexError: no such unit.
    """
    offsets, lengths = recipe.extents(ordinal)
    if len(data) != recipe.unit_length[ordinal]:
        raise Corrupt(f"unit {ordinal} has {len(data):,} bytes; the recipe says {recipe.unit_length[ordinal]:,}")
    yield from _spread(offsets, lengths, memoryview(data))


def skeleton_pieces(recipe: Recipe) -> Iterator[tuple[int, memoryview]]:
    """Yield where the parts of the skeleton belong: file offset in bytes and what to write there."""
    offsets, lengths = recipe.skeleton_extents()
    yield from _spread(offsets, lengths, memoryview(recipe.skeleton))


def _spread(
    offsets: NDArray[np.int64], lengths: NDArray[np.int64], data: memoryview
) -> Iterator[tuple[int, memoryview]]:
    at = 0
    for begin in range(0, len(offsets), _BLOCK_PIECES):
        block = slice(begin, begin + _BLOCK_PIECES)
        for offset, length in zip(offsets[block].tolist(), lengths[block].tolist(), strict=True):
            yield offset, data[at : at + length]
            at += length


def _parts(recipe: Recipe, unit: Callable[[int], Bytes]) -> Iterator[Bytes]:
    layout = recipe.layout
    skeleton = memoryview(recipe.skeleton)
    # Pieces of one unit are neighbours in the layout and ascend in the file, so the owner of a piece follows from
    # where the units begin, and a unit is read front to back.
    owner = np.empty(len(layout.offset), np.uint32)
    by_first = np.argsort(layout.first)
    owner[:] = np.repeat(by_first, layout.count[by_first])
    order = np.argsort(layout.offset)
    held: list[tuple[int, memoryview, int]] = [(-1, memoryview(b""), 0)] * 256
    at = used = 0
    for begin in range(0, len(order), _BLOCK_PIECES):
        block = order[begin : begin + _BLOCK_PIECES]
        owners = owner[block]
        for offset, length, ordinal, stream in zip(
            layout.offset[block].tolist(),
            layout.length[block].tolist(),
            owners.tolist(),
            recipe.unit_stream[owners].tolist(),
            strict=True,
        ):
            if offset > at:
                yield skeleton[used : used + offset - at]
                used += offset - at
            current, data, taken = held[stream]
            if current != ordinal:
                held[stream] = (-1, memoryview(b""), 0)
                data, taken = _checked(recipe, ordinal, unit(ordinal)), 0
            yield data[taken : taken + length]
            held[stream] = (ordinal, data, taken + length)
            at = offset + length
    if used < len(skeleton):
        yield skeleton[used:]


def _checked(recipe: Recipe, ordinal: int, data: Bytes) -> memoryview:
    if len(data) != recipe.unit_length[ordinal]:
        raise Corrupt(f"unit {ordinal} has {len(data):,} bytes; the recipe says {recipe.unit_length[ordinal]:,}")
    return memoryview(data)
