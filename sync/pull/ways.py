"""How to get an object: its recipe, and where its units lie in packs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sync import Corrupt
from sync.card import decode_card
from sync.ids import sha256_hex
from sync.listing import NamedFile
from sync.patch import apply_patch, expand
from sync.places import Places, locate
from sync.recipe import RECIPE_MAX_BYTES, Recipe, decode_recipe
from sync.release import RecipeEntry


@dataclass(eq=False)
class Way:
    """A recipe, and the places of its units as a release or card tells them."""

    recipe: Recipe
    packs: Sequence[str]
    pack: NDArray[np.int32]
    """Index into ``packs`` for each unit in play order; -1: not told."""
    offset: NDArray[np.int64]
    stored: NDArray[np.int64]
    has_card: bool
    """Whether the places are those of the card: then there are no others to ask for."""

    def place(self, ordinal: int) -> tuple[str, int, int] | None:
        """Return pack, offset and stored length of a unit, None when it is not told."""
        pack = int(self.pack[ordinal])
        if pack < 0:
            return None
        return self.packs[pack], int(self.offset[ordinal]), int(self.stored[ordinal])

    def adopt(self, other: Way) -> None:
        """Take the places of another way to the same object."""
        self.packs, self.pack, self.offset, self.stored = other.packs, other.pack, other.offset, other.stored
        self.has_card = other.has_card


def make_way(file: NamedFile, raw: bytes, places: Places, packs: Sequence[str], *, has_card: bool) -> Way:
    """Join a raw recipe with places.

    Raises:
        Corrupt: not the recipe that the listing names, or it or the places make no sense.
    """
    if sha256_hex(raw) != file.recipe_sha256:
        raise Corrupt(f"the recipe of {file.path!r} is not the signed one")
    recipe = decode_recipe(raw, sha256=file.sha256, length_bytes=file.length_bytes)
    return Way(recipe, packs, *locate(places, packs, recipe.unit_length), has_card)


def unpack_entry(entry: RecipeEntry, base: bytes | None) -> bytes:
    """Return the raw recipe of an entry of a release; ``base`` is the raw base recipe, if the entry needs one.

    Raises:
        Corrupt: it cannot be unpacked.
    """
    if base is None:
        return expand(entry.stored, entry.raw_length, most=RECIPE_MAX_BYTES)
    return apply_patch(entry.stored, base, entry.raw_length, most=RECIPE_MAX_BYTES)


def way_by_card(file: NamedFile, raw: bytes) -> Way:
    """Return the way that a card tells, as it was fetched.

    Raises:
        Corrupt: not the card of that object and recipe.
    """
    card = decode_card(raw, sha256=file.sha256, recipe_sha256=file.recipe_sha256)
    recipe = expand(card.stored, card.raw_length, most=RECIPE_MAX_BYTES)
    return make_way(file, recipe, card.places, card.packs, has_card=True)
