"""Recipes as they travel in releases: whole, or as a patch against a recipe that the reader holds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from sync import Corrupt
from sync.patch import patch
from sync.publishing.cards import CardShelf, raw_recipe
from sync.publishing.history import Before
from sync.publishing.index import Index

RAW_MAX_BYTES = 32 * 1024 * 1024
"""Recipes longer than this (objects of some 10 GB) are never patched: it would take minutes."""
RAW_CACHE_MAX_BYTES = 64 * 1024 * 1024
BEST_LEVEL_MAX_BYTES = 512 * 1024
"""Longer ones (catalogues, lessons of many hours) are patched at a level that saves 2 to 15 % less and is ten times as
fast: each release makes several patches of them."""
_BEST_LEVEL, _FAST_LEVEL = 19, 9
_SHARE_MAX = 0.9
"""A patch longer than this part of the whole recipe is not worth that a reader may lack its base."""


class Deltas:
    """Makes patches between recipes, and remembers them: a merged release needs those of the releases before."""

    def __init__(self, index: Index, cards: CardShelf) -> None:
        """Nothing is made yet."""
        self._index, self._cards = index, cards
        self._raw: OrderedDict[str, bytes] = OrderedDict()
        self._raw_bytes = 0

    def stored_length(self, it: Before) -> int:
        """Return how long the recipe is as it stands in its card, in bytes.

        Raises:
            Corrupt: the card is missing or damaged.
        """
        known = self._index.object(it.sha256)
        if known is not None and known.recipe_sha256 == it.recipe_sha256:
            return known.stored_length
        return len(self._cards.card(it.sha256, it.recipe_sha256).stored)

    def smallest(self, it: Before, bases: Iterable[Before]) -> tuple[bytes | None, str]:
        """Return the shortest patch and the hash of its base; None and "" when the whole recipe is better."""
        best: bytes | None = None
        best_base = ""
        for base in dict.fromkeys(bases):
            if base.recipe_sha256 and base.recipe_sha256 != it.recipe_sha256:
                stored = self._patch(it, base)
                if stored is not None and (best is None or len(stored) < len(best)):
                    best, best_base = stored, base.recipe_sha256
        return best, best_base

    def remembered(self, it: Before) -> tuple[str, ...]:
        """Return hashes of the recipes against which there are patches of this one."""
        with self._index.reading() as database:
            rows = database.execute(
                "select base from delta where recipe = ? and stored is not null", (bytes.fromhex(it.recipe_sha256),)
            ).fetchall()
        return tuple(row[0].hex() for row in rows)

    def forget(self, recipes: Iterable[str]) -> None:
        """Drop the patches of recipes that no listing names any more."""
        with self._index.reading() as database:
            database.executemany("delete from delta where recipe = ?", ((bytes.fromhex(each),) for each in recipes))

    def _patch(self, it: Before, base: Before) -> bytes | None:
        key = (bytes.fromhex(it.recipe_sha256), bytes.fromhex(base.recipe_sha256))
        with self._index.reading() as database:
            row = database.execute("select stored from delta where recipe = ? and base = ?", key).fetchone()
        if row is not None:
            return row[0] if row[0] is None else bytes(row[0])
        if not base.sha256:
            return None  # only remembered patches have such a base
        stored: bytes | None = None
        try:
            raw, raw_base = self._raw_recipe(it), self._raw_recipe(base)
            if len(raw) + len(raw_base) <= 2 * RAW_MAX_BYTES:
                level = _BEST_LEVEL if len(raw) + len(raw_base) <= 2 * BEST_LEVEL_MAX_BYTES else _FAST_LEVEL
                stored = patch(raw, raw_base, level=level)
                if len(stored) > _SHARE_MAX * self.stored_length(it):
                    stored = None
        except Corrupt:
            return None  # the card of the base is gone: readers get the whole recipe
        with self._index.reading() as database:
            database.execute("insert into delta values (?, ?, ?)", (*key, stored))
        return stored

    def _raw_recipe(self, it: Before) -> bytes:
        raw = self._raw.get(it.recipe_sha256)
        if raw is None:
            raw = self._raw[it.recipe_sha256] = raw_recipe(self._cards.card(it.sha256, it.recipe_sha256))
            self._raw_bytes += len(raw)
            while self._raw_bytes > RAW_CACHE_MAX_BYTES and len(self._raw) > 1:
                self._raw_bytes -= len(self._raw.popitem(last=False)[1])
        self._raw.move_to_end(it.recipe_sha256)
        return raw
