"""Cards: the recipe of one object and the places of all its units, for those that have no release which tells them.

``docs/formats/sync.md`` §8. A card is named after its object, not after its own bytes, and comes from an untrusted
mirror: compare the hash of the raw recipe with the listing.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from sync import Corrupt
from sync.framing import FRAME_MAX_BYTES, read_frame, write_frame
from sync.ids import check_sha256
from sync.listing import check_format
from sync.places import Places, check_packs, check_places
from sync.recipe import RECIPE_MAX_BYTES

CARD_FORMAT = 2
CARD_MAX_BYTES = FRAME_MAX_BYTES
MAGIC = b"RMC2"
_WHAT = "card"


@dataclass(frozen=True)
class Card:
    """How to get one object without any release."""

    sha256: str
    """Of the object."""
    recipe_sha256: str
    """Of the raw recipe."""
    raw_length: int
    """Of the raw recipe, in bytes."""
    stored: bytes
    """A zstd frame of the raw recipe."""
    packs: tuple[str, ...]
    """Packs that places refer to."""
    places: Places
    """Of every unit."""


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    object: str
    recipe: str
    recipe_raw: int
    recipe_stored: int
    packs: list[str]
    places: Places


def card_path(sha256: str) -> str:
    """Return the name of the card of that object, relative to the base."""
    return f"cards/{check_sha256(sha256)[:2]}/{sha256}"


def encode_card(card: Card) -> bytes:
    """Write a card; the same bytes for the same value.

    Raises:
        Corrupt: a field out of bounds or order.
        TooLong: longer than a reader takes.
    """
    wire = _Wire(
        format=CARD_FORMAT,
        object=card.sha256,
        recipe=card.recipe_sha256,
        recipe_raw=card.raw_length,
        recipe_stored=len(card.stored),
        packs=list(card.packs),
        places=card.places,
    )
    _check(wire)
    return write_frame(MAGIC, wire, (card.stored,), _WHAT)


def decode_card(raw: bytes, *, sha256: str, recipe_sha256: str) -> Card:
    """Read the card of an object that a listing names.

    Raises:
        TooLong: it or its header exceeds its bound.
        Corrupt: not of this format, of another object or recipe, a length that does not fit, or a field out of bounds.
    """
    wire, rest = read_frame(MAGIC, raw, _Wire, _WHAT)
    _check(wire)
    if (wire.object, wire.recipe) != (sha256, recipe_sha256):
        raise Corrupt(f"the card of {sha256[:8]}… is of another object or recipe")
    if wire.recipe_stored != len(rest):
        raise Corrupt(f"a recipe of {wire.recipe_stored} bytes announced, {len(rest)} are there")
    return Card(wire.object, wire.recipe, wire.recipe_raw, bytes(rest), tuple(wire.packs), wire.places)


def _check(wire: _Wire) -> None:
    check_format(wire.format, CARD_FORMAT)
    check_sha256(wire.object)
    check_sha256(wire.recipe)
    if not 1 <= wire.recipe_raw <= RECIPE_MAX_BYTES or not 1 <= wire.recipe_stored <= CARD_MAX_BYTES:
        raise Corrupt("a card with a length out of bounds")
    check_packs(wire.packs)
    check_places(wire.places, len(wire.packs))
