"""Composing the release objects of one channel: plain, merged and full (``docs/formats/sync.md`` §5 and §6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sync.head import reaches, skip_bases
from sync.listing import Listing, NamedFile
from sync.places import Places
from sync.publishing.cards import CardShelf
from sync.publishing.deltas import Deltas
from sync.publishing.history import HISTORY_RELEASES_MAX, Before
from sync.release import RecipeEntry, Release

PLAIN_RECIPES_MAX_BYTES = 1024 * 1024
"""Stored recipes in the release from seq - 1 to seq, the shortest first; what is beyond has its cards. Long enough for
ten lessons of 100 MB, short enough to arrive whole over a line that is cut every few MB."""
MERGED_RECIPES_MAX_BYTES = 1024 * 1024
"""Stored recipes in a merged release, the shortest first."""
MERGED_RECIPE_MAX_BYTES = 64 * 1024
"""One of them. A card for a lesson of 60 MB or more is one request beside its 15 or more, and is not written again for
each merged release of each publish."""
FULL_RECIPES_MAX_BYTES = 4 * 1024 * 1024
"""Stored recipes of a full listing, those of the shortest objects first: a new edge need not ask for the card of every
picture. The others have their cards."""
EVERY_SPAN_MAX = 8
"""Merged releases are made at every span up to this one, then at powers of two. A text that each release changes, such
as a catalogue, comes as a patch only to edges at exactly the base; a larger number helps those a few releases behind.
"""
FULL_AFTER_RELEASES = 64
"""A new full listing is made when the newest is that many releases old."""


@dataclass(frozen=True)
class Plan:
    """Which release objects there are at a seq."""

    full_seq: int
    """Of the full listing; the seq itself when a new one is due."""
    bases: tuple[int, ...]
    """Of the merged release objects, descending."""


def plan(seq: int, full_seq: int, floor: int) -> Plan:
    """Decide which release objects to make.

    Args:
        seq: Of the release.
        full_seq: Of the newest full listing there is.
        floor: Merged release objects may begin here or later.
    """
    if full_seq < floor or seq - full_seq >= FULL_AFTER_RELEASES:
        full_seq = seq
    near = (seq - span for span in range(2, EVERY_SPAN_MAX + 1))
    wanted = sorted({*near, *skip_bases(seq)}, reverse=True)
    bases = tuple(base for base in wanted if base >= max(floor, 1) and seq - base <= HISTORY_RELEASES_MAX)
    if not reaches(seq, bases, full_seq):
        bases = tuple(sorted({*bases, full_seq}, reverse=True))
    return Plan(full_seq, bases)


class Composer:
    """Composes release objects that lead to one listing."""

    def __init__(self, listing: Listing, cards: CardShelf, deltas: Deltas, relatives: Mapping[str, tuple[Before, ...]]):
        """Look at nothing yet.

        Args:
            listing: Where the releases lead.
            cards: Of all objects in the listing.
            deltas: Patches between recipes.
            relatives: By object: others in the listing before that share most of its units.
        """
        self._listing, self._cards, self._deltas, self._relatives = listing, cards, deltas, relatives
        self._holders: dict[str, list[str]] = {}

    def look(self, names: Iterable[str]) -> None:
        """Get ready to compose releases that touch only these names: find who else has the same objects."""
        files = self._listing.files
        wanted = {files[name].recipe_sha256 for name in names if name in files}
        for recipe in list(wanted):
            wanted.update(self._deltas.remembered(Before("", recipe)))
        for name, file in files.items():
            if file.recipe_sha256 in wanted:
                self._holders.setdefault(file.recipe_sha256, []).append(name)

    def plain(self, base: int, befores: Mapping[str, Before]) -> Release:
        """Compose the release object from the listing before.

        Args:
            base: Its seq; 0 when there is none.
            befores: Every touched name, and what it held in that listing.
        """
        return self._release(base, befores, PLAIN_RECIPES_MAX_BYTES, PLAIN_RECIPES_MAX_BYTES, self._relatives)

    def merged(self, base: int, befores: Mapping[str, Before]) -> Release:
        """Compose the release object from an older listing; as ``plain``."""
        return self._release(base, befores, MERGED_RECIPES_MAX_BYTES, MERGED_RECIPE_MAX_BYTES, {})

    def full(self) -> Release:
        """Compose the release object that says the whole listing."""
        add = tuple(self._listing.files.values())
        objects = {each.sha256: each for each in add}.values()
        recipes: list[tuple[NamedFile, bytes | None, str]] = []
        left = FULL_RECIPES_MAX_BYTES
        for file in sorted(objects, key=lambda each: (each.length_bytes, each.sha256)):
            left -= self._deltas.stored_length(Before(file.sha256, file.recipe_sha256))
            if left < 0:
                break
            recipes.append((file, None, ""))
        return self._with_recipes(0, (), add, recipes)

    def _release(
        self,
        base: int,
        befores: Mapping[str, Before],
        most_bytes: int,
        each_most_bytes: int,
        relatives: Mapping[str, tuple[Before, ...]],
    ) -> Release:
        if base == 0:
            return self.full()
        files = self._listing.files
        names = sorted(befores)
        remove = tuple(name for name in names if name not in files)
        add = tuple(files[name] for name in names if name in files)
        held = {before.recipe_sha256 for before in befores.values()}
        new: dict[str, list[NamedFile]] = {}
        for file in add:
            if not self._held(file.recipe_sha256, held, befores):
                new.setdefault(file.sha256, []).append(file)
        chosen = []
        for sha256, same in new.items():
            it = Before(sha256, same[0].recipe_sha256)
            remembered = (
                Before("", recipe) for recipe in self._deltas.remembered(it) if self._held(recipe, held, befores)
            )
            bases = [*(befores[file.path] for file in same), *relatives.get(sha256, ()), *remembered]
            stored, stored_base = self._deltas.smallest(it, bases)
            length = len(stored) if stored is not None else self._deltas.stored_length(it)
            chosen.append((length, same[0], stored, stored_base))
        left, recipes = most_bytes, []
        for length, file, stored, stored_base in sorted(chosen, key=lambda each: each[0]):
            left -= length
            if left < 0 or length > each_most_bytes:
                break
            recipes.append((file, stored, stored_base))
        return self._with_recipes(base, remove, add, recipes)

    def _held(self, recipe: str, held: set[str], befores: Mapping[str, Before]) -> bool:
        """Tell whether the listing at the base had the recipe: under a touched name, or one that stayed."""
        return recipe in held or any(name not in befores for name in self._holders.get(recipe, ()))

    def _with_recipes(
        self,
        base: int,
        remove: tuple[str, ...],
        add: tuple[NamedFile, ...],
        recipes: list[tuple[NamedFile, bytes | None, str]],
    ) -> Release:
        numbers: dict[str, int] = {}
        entries = []
        for file, stored, stored_base in sorted(recipes, key=lambda each: each[0].path):
            card = self._cards.card(file.sha256, file.recipe_sha256)
            for pack in card.packs:
                numbers.setdefault(pack, len(numbers))
            spans = [
                (numbers[card.packs[pack]], offset, first, count) for pack, offset, first, count in card.places.spans
            ]
            entries.append(
                RecipeEntry(
                    file.sha256,
                    file.recipe_sha256,
                    card.raw_length,
                    card.stored if stored is None else stored,
                    stored_base,
                    Places(spans, card.places.packed),
                )
            )
        listing = self._listing
        return Release(listing.channel, base, listing.seq, listing.issued, remove, add, tuple(numbers), tuple(entries))
