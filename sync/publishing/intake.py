"""Taking objects in: recipe, new units into packs, card. What is published already is looked at again and used."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sync import Corrupt
from sync.card import Card, card_path, encode_card
from sync.ids import sha256_hex
from sync.patch import squeeze
from sync.places import Places, make_places
from sync.publishing.cards import CardShelf, recipe_in, spots
from sync.publishing.errors import PublishError
from sync.publishing.index import Index, Known
from sync.publishing.outbox import Outbox
from sync.publishing.packs import PackShelf, PackWriter, mapped
from sync.recipe import OBJECT_MAX_BYTES, Recipe, encode_recipe
from sync.recipe.cutter import make_recipe

RELATIVES_MAX = 3
_OTHER_ENDING = {False: ".txt", True: ".bin"}
"""Names that give the recipe of a text, and the other one."""
UNIT_LEVEL = 3
"""zstd level for units that are no media."""
UNIT_SAVING_MIN = 0.03
"""A unit is stored as a zstd frame when that saves more than this part of it."""


@dataclass(frozen=True)
class Taken:
    """An object that was taken in."""

    sha256: str
    length_bytes: int
    recipe_sha256: str
    relatives: tuple[str, ...] = ()
    """Objects that share most of its units, the nearest first; told only when it is new."""


@dataclass
class _Pending:
    """An object whose card waits until its packs have names."""

    number: int
    card: Card
    """Without places."""
    units: bytes
    """Hashes, in play order."""
    pack: list[int] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    length: list[int] = field(default_factory=list)


class Intake:
    """Takes objects in for one publish. After ``finish`` all their cards, and all they refer to, are in place."""

    def __init__(self, outbox: Outbox, index: Index, cards: CardShelf, packs: PackShelf) -> None:
        """Nothing is written yet."""
        self._outbox, self._index, self._cards, self._packs = outbox, index, cards, packs
        self._writer = PackWriter(outbox, self._packed)
        self._names: list[str | None] = []
        """Hash of each pack by its number here; None while it is being written."""
        self._numbers: dict[str, int] = {}
        self._writing: dict[int, int] = {}
        """Number here of the packs that the writer has numbered."""
        self._fresh: dict[bytes, tuple[int, int, int]] = {}
        self._fresh_in: dict[int, list[tuple[bytes, int, int, int, int]]] = {}
        self._pending: list[_Pending] = []
        self._standing: set[str] = set()
        """Objects that were taken in or looked at already."""

    def take(self, name: str, content: Path | bytes) -> Taken:
        """Take one object in; the name says only what it is called in failures, and what kind of text it may be.

        Raises:
            PublishError: the file cannot be read, or changes meanwhile.
            Corrupt: it is too long.
            NoSpace: the disk is full.
        """
        before = _state(content)
        view = memoryview(content) if isinstance(content, bytes) else _mapped(name, content)
        if len(view) > OBJECT_MAX_BYTES:
            raise Corrupt(f"{name!r} is longer than {OBJECT_MAX_BYTES} bytes")
        known = None
        if self._index.has_length(len(view)):
            known = self._index.object(sha256_hex(view))
            if known is not None and self._stands(known):
                return Taken(known.sha256, known.length_bytes, known.recipe_sha256)
        changed = f"{content!s:.80} changed while it was read for {name!r}; publish it when it is finished"
        try:
            recipe = make_recipe(view, name=name)
            raw = encode_recipe(recipe)
            if known is not None and sha256_hex(raw) != known.recipe_sha256:
                # Its card is to be mended, and is of the recipe for another ending.
                recipe = make_recipe(view, name=_OTHER_ENDING[recipe.units == 0])
                raw = encode_recipe(recipe)
            taken = self._take(view, recipe, raw)
        except AssertionError as error:
            if _state(content) != before:
                raise PublishError(changed) from error
            raise
        if _state(content) != before:
            raise PublishError(changed)
        return taken

    def finish(self) -> None:
        """Put the last pack and all cards in place; durable when this returns.

        Raises:
            NoSpace: the disk is full.
        """
        self._writer.finish()
        self._write_cards()
        self._outbox.settle()
        self._index.commit()

    def abandon(self) -> None:
        """Throw away what is not in place."""
        self._writer.abandon()

    def _stands(self, known: Known) -> bool:
        """Tell whether the card of a known object and every unit of it are there and undamaged."""
        if known.sha256 in self._standing:
            return True
        try:
            card = self._cards.card(known.sha256, known.recipe_sha256)
            recipe = recipe_in(card, known.length_bytes)
            for digest, pack, offset, stored, length in spots(card, recipe):
                self._packs.unit(pack, offset, stored, length, digest)
            self._outbox.keep(card_path(known.sha256))
        except Corrupt:
            self._cards.forget(known.sha256)
            return False
        self._standing.add(known.sha256)
        return True

    def _take(self, view: memoryview, recipe: Recipe, raw: bytes) -> Taken:
        stored = squeeze(raw)
        card = Card(recipe.sha256, sha256_hex(raw), len(raw), stored, (), Places([], []))
        number = self._index.add_object(recipe.sha256, card.recipe_sha256, recipe.length_bytes, len(raw), len(stored))
        self._standing.add(recipe.sha256)
        pending = _Pending(number, card, recipe.unit_hashes)
        relatives: Counter[int] = Counter()
        media = len(recipe.skeleton) > 0
        for ordinal, length in enumerate(recipe.unit_length.tolist()):
            digest = recipe.unit_hash(ordinal)
            spot = self._fresh.get(digest) or self._known(digest, relatives)
            if spot is None:
                data = _gathered(view, recipe, ordinal)
                spot = self._append(digest, data if media else _smaller(data), length, number)
            for column, value in zip((pending.pack, pending.offset, pending.stored), spot, strict=True):
                column.append(value)
            pending.length.append(length)
        if not self._write_card(pending):
            self._pending.append(pending)
        relatives.pop(number, None)
        nearest = (self._index.object_number(owner) for owner, _ in relatives.most_common(RELATIVES_MAX))
        return Taken(
            recipe.sha256, recipe.length_bytes, card.recipe_sha256, tuple(each.sha256 for each in nearest if each)
        )

    def _known(self, digest: bytes, relatives: Counter[int]) -> tuple[int, int, int] | None:
        spot = self._index.unit(digest)
        if spot is None or not self._packs.holds(spot.pack, spot.offset, spot.stored, spot.length, digest):
            return None
        relatives[spot.owner] += 1
        if spot.pack not in self._numbers:
            self._numbers[spot.pack] = len(self._names)
            self._names.append(spot.pack)
        return self._numbers[spot.pack], spot.offset, spot.stored

    def _append(self, digest: bytes, stored: bytes, length: int, owner: int) -> tuple[int, int, int]:
        written, offset = self._writer.append(stored)
        if written not in self._writing:
            self._writing[written] = len(self._names)
            self._names.append(None)
        pack = self._writing[written]
        self._fresh[digest] = spot = (pack, offset, len(stored))
        self._fresh_in.setdefault(pack, []).append((digest, offset, len(stored), length, owner))
        return spot

    def _packed(self, written: int, sha256: str, length_bytes: int) -> None:
        """Note that a pack is in place and durable: now the index may speak of it."""
        pack = self._writing[written]
        self._names[pack] = sha256
        self._index.add_units(
            (digest, sha256, offset, stored, length, owner)
            for digest, offset, stored, length, owner in self._fresh_in.pop(pack)
        )
        self._index.commit()
        self._write_cards()

    def _write_cards(self) -> None:
        self._pending = [each for each in self._pending if not self._write_card(each)]

    def _write_card(self, pending: _Pending) -> bool:
        """Write the card unless it has to wait for a pack."""
        numbers = list(dict.fromkeys(pending.pack))
        packs = [name for number in numbers if (name := self._names[number]) is not None]
        if len(packs) < len(numbers):
            return False
        # The same pack may have two numbers: known before, and written again with the same bytes.
        names = tuple(dict.fromkeys(packs))
        local = {number: names.index(name) for number, name in zip(numbers, packs, strict=True)}
        columns = ([local[pack] for pack in pending.pack], pending.offset, pending.stored, pending.length)
        places = make_places(*(np.array(column, np.int64) for column in columns))
        card = replace(pending.card, packs=names, places=places)
        self._outbox.put(card_path(card.sha256), encode_card(card))
        self._cards.keep(card)
        self._index.own((pending.units[at : at + 32] for at in range(0, len(pending.units), 32)), pending.number)
        return True


def _smaller(data: bytes) -> bytes:
    squeezed = squeeze(data, level=UNIT_LEVEL)
    return squeezed if len(squeezed) < len(data) * (1 - UNIT_SAVING_MIN) else data


def _gathered(view: memoryview, recipe: Recipe, ordinal: int) -> bytes:
    offsets, lengths = recipe.extents(ordinal)
    return b"".join(view[at : at + length] for at, length in zip(offsets.tolist(), lengths.tolist(), strict=True))


def _mapped(name: str, path: Path) -> memoryview:
    try:
        view = mapped(path)
    except OSError as error:
        raise PublishError(f"cannot read {path} for {name!r}: {error.strerror}") from error
    if view is None:
        raise PublishError(f"cannot read {path} for {name!r}: no such file")
    return view


def _state(content: Path | bytes) -> tuple[int, int] | None:
    if isinstance(content, bytes):
        return None
    with suppress(OSError):
        found = os.stat(content)  # noqa: PTH116
        return found.st_size, found.st_mtime_ns
    return None
