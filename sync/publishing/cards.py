"""Reading published cards, and what is in them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from sync import Corrupt
from sync.card import Card, card_path, decode_card
from sync.ids import sha256_hex
from sync.listing import NamedFile
from sync.patch import expand
from sync.places import locate
from sync.publishing.packs import PackShelf
from sync.recipe import RECIPE_MAX_BYTES, Recipe, decode_recipe
from sync.recipe.assemble import assemble

CACHE_MAX_BYTES = 16 * 1024 * 1024
"""Stored recipes that are held at a time; merged releases ask for the same ones again and again."""


class CardShelf:
    """The cards of one published tree."""

    def __init__(self, published: Path) -> None:
        """Nothing is read yet."""
        self._published = published
        self._cards: OrderedDict[str, Card] = OrderedDict()
        self._cached_bytes = 0

    def card(self, sha256: str, recipe_sha256: str) -> Card:
        """Return the card of an object.

        Raises:
            Corrupt: it is missing, damaged or of another recipe.
        """
        card = self._cards.get(sha256)
        if card is None or card.recipe_sha256 != recipe_sha256:
            try:
                raw = (self._published / card_path(sha256)).read_bytes()
            except FileNotFoundError as error:
                raise Corrupt(f"the card of object {sha256} is missing") from error
            card = decode_card(raw, sha256=sha256, recipe_sha256=recipe_sha256)
            self.keep(card)
        self._cards.move_to_end(sha256)
        return card

    def keep(self, card: Card) -> None:
        """Remember a card that was just written."""
        self.forget(card.sha256)
        self._cards[card.sha256] = card
        self._cached_bytes += len(card.stored)
        while self._cached_bytes > CACHE_MAX_BYTES and len(self._cards) > 1:
            self.forget(next(iter(self._cards)))

    def forget(self, sha256: str) -> None:
        """Drop a card from memory."""
        card = self._cards.pop(sha256, None)
        self._cached_bytes -= len(card.stored) if card else 0


def raw_recipe(card: Card) -> bytes:
    """Return the raw recipe in the card.

    Raises:
        Corrupt: it was damaged.
    """
    raw = expand(card.stored, card.raw_length, most=RECIPE_MAX_BYTES)
    if sha256_hex(raw) != card.recipe_sha256:
        raise Corrupt(f"the recipe in the card of {card.sha256} was damaged")
    return raw


def recipe_in(card: Card, length_bytes: int) -> Recipe:
    """Return the recipe in the card of an object of that length.

    Raises:
        Corrupt: it was damaged.
    """
    return decode_recipe(raw_recipe(card), sha256=card.sha256, length_bytes=length_bytes)


def spots(card: Card, recipe: Recipe) -> Iterator[tuple[bytes, str, int, int, int]]:
    """Yield for each unit in play order: hash, pack, offset, stored length, length.

    Raises:
        Corrupt: the card does not tell the place of every unit.
    """
    packs, offsets, stored = locate(card.places, card.packs, recipe.unit_length)
    if (packs < 0).any():
        raise Corrupt(f"the card of {card.sha256} does not tell the place of every unit")
    rows = zip(packs.tolist(), offsets.tolist(), stored.tolist(), recipe.unit_length.tolist(), strict=True)
    for ordinal, (pack, offset, size, length) in enumerate(rows):
        yield recipe.unit_hash(ordinal), card.packs[pack], offset, size, length


def whole_object(file: NamedFile, cards: CardShelf, packs: PackShelf) -> bytes:
    """Put one object together in memory.

    Raises:
        Corrupt: something that it is made of is missing or damaged.
    """
    card = cards.card(file.sha256, file.recipe_sha256)
    recipe = recipe_in(card, file.length_bytes)
    places = list(spots(card, recipe))

    def unit(ordinal: int) -> bytes | memoryview:
        digest, pack, offset, stored, length = places[ordinal]
        return packs.unit(pack, offset, stored, length, digest)

    data = b"".join(assemble(recipe, unit))
    if sha256_hex(data) != file.sha256:
        raise Corrupt(f"object {file.sha256} was damaged")
    return data
