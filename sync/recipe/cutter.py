"""From an object to its recipe. What comes out of here was tried: it gives back the object, byte by byte."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import numpy as np

from media.payload import NotMp4
from sync import Corrupt, TooLong
from sync.recipe.assemble import assemble
from sync.recipe.chunks import cut_chunks
from sync.recipe.codec import decode_recipe, encode_recipe
from sync.recipe.draft import draft
from sync.recipe.mp4 import cut_mp4
from sync.recipe.value import OBJECT_MAX_BYTES, Recipe

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

TEXT_ENDINGS = (".html", ".htm", ".json", ".txt", ".css", ".js", ".svg", ".srt", ".vtt", ".xml", ".md", ".csv")
TEXT_MAX_BYTES = 8 << 20
"""Texts up to this length are all skeleton: a change of them is a patch of their recipe, and has no units to fetch."""
SMALL_MAX_BYTES = 4 << 10
"""So are objects of this length, whatever they are: a unit would cost as much as it saves."""

INDEX_MAX_BYTES = 1 << 20
"""Lessons of an hour and more have larger skeletons, but then they are a small part of them."""
INDEX_MAX_SHARE = 4
"""A longer skeleton of more than the object's length through this: mostly other things lie in there, cut as chunks."""


def make_recipe(data: ReadableBuffer, *, name: str = "") -> Recipe:
    """Return a recipe that was tried on the object.

    The object is read where it lies, best from a mapped file: memory is needed for the skeleton and a few units.

    Args:
        data: the whole object, at most 64 GiB, which must not change meanwhile.
        name: only its ending counts, and only for texts.

    Raises:
        AssertionError: the recipe does not give back the object: a bug here, or the object changed.
        TooLong: the object is longer than the format allows.
    """
    view = memoryview(data).cast("B")
    if len(view) > OBJECT_MAX_BYTES:
        raise TooLong(f"an object of {len(view):,} bytes; at most {OBJECT_MAX_BYTES:,}")
    if len(view) <= SMALL_MAX_BYTES or (len(view) <= TEXT_MAX_BYTES and name.lower().endswith(TEXT_ENDINGS)):
        return _tried(view, draft(view, [], []))
    try:
        blank = cut_mp4(view)
        if len(blank.skeleton) <= max(INDEX_MAX_BYTES, len(view) // INDEX_MAX_SHARE):
            return _tried(view, blank)
    except (NotMp4, Corrupt, _Differs):
        pass
    return _tried(view, cut_chunks(view))


class _Differs(AssertionError):
    """A recipe that does not give back its object."""


def _tried(data: memoryview, blank: Recipe) -> Recipe:
    """Return the recipe with its hashes, after it was written, read again and used on the object.

    Raises:
        _Differs: the object does not come out of it.
        Corrupt: it cannot be written in this format.
    """
    hashes: list[bytes] = []

    def unit(ordinal: int) -> bytes | memoryview:
        found = _gathered(data, blank, ordinal)
        if ordinal != len(hashes):
            raise _Differs("units are not used in play order")
        hashes.append(hashlib.sha256(found).digest())
        return found

    whole = hashlib.sha256()
    file = np.frombuffer(data, np.uint8)
    at = 0
    for piece in assemble(blank, unit):
        # Comparing costs a tenth of a second hash of the object, and is stronger.
        if not np.array_equal(file[at : at + len(piece)], np.frombuffer(piece, np.uint8)):
            raise _Differs(f"the recipe gives other bytes after offset {at:,}")
        whole.update(piece)
        at += len(piece)
    recipe = dataclasses.replace(blank, sha256=whole.hexdigest(), unit_hashes=b"".join(hashes))
    again = decode_recipe(encode_recipe(recipe), sha256=recipe.sha256, length_bytes=len(data))
    if at != len(data) or not same(recipe, again):
        raise _Differs("the recipe reads otherwise than it was written")
    return again


def same(one: Recipe, other: Recipe) -> bool:
    """Tell whether two recipes say the same."""
    return all(
        np.array_equal(left, right) if isinstance(left, np.ndarray) else left == right
        for left, right in (
            (getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(Recipe)
        )
    )


def _gathered(data: memoryview, recipe: Recipe, ordinal: int) -> bytes | memoryview:
    offsets, lengths = recipe.extents(ordinal)
    if len(offsets) == 1:
        return data[int(offsets[0]) : int(offsets[0] + lengths[0])]
    return b"".join(data[at : at + length] for at, length in zip(offsets.tolist(), lengths.tolist(), strict=True))
