"""Finding the way to an object: by the release that brought it, else by its card."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from sync import Corrupt
from sync.holding import Holding
from sync.listing import NamedFile
from sync.pull.documents import Documents
from sync.pull.ways import Way, make_way, unpack_entry
from sync.release import RecipeEntry, Release

CARDS_AHEAD = 4
"""Cards that are fetched while the objects before them are looked at."""


class Guide:
    """Knows the releases of one pull."""

    def __init__(self, documents: Documents, holding: Holding, releases: Iterable[Release]) -> None:
        """Bases of recipes come from ``holding``."""
        self._documents, self._holding = documents, holding
        self._entries: dict[str, tuple[RecipeEntry, tuple[str, ...]]] = {}
        for release in releases:
            self._entries.update((entry.sha256, (entry, release.packs)) for entry in release.recipes)
        self._ahead: dict[str, asyncio.Task[None]] = {}
        self.is_slow = False
        """Whether the last way had to be fetched."""

    async def way(self, file: NamedFile) -> Way:
        """Return the way to an object.

        Raises:
            Corrupt: neither the release nor a card gives the recipe that was signed.
            Unreachable: no card could be fetched.
        """
        self.is_slow = True
        if (task := self._ahead.pop(file.sha256, None)) is not None:
            await task
        entry, packs = self._entries.pop(file.sha256, (None, ()))
        if entry is not None and entry.recipe_sha256 == file.recipe_sha256:
            way = await asyncio.to_thread(self._way_by_entry, file, entry, packs)
            if way is not None:
                self.is_slow = False
                return way
        return await self._documents.way_by_card(file)

    def look_ahead(self, group: asyncio.TaskGroup, files: Iterable[NamedFile]) -> None:
        """Begin to fetch the cards of the next files, so that each does not cost a round trip of waiting."""
        for file in files:
            if len(self._ahead) >= CARDS_AHEAD:
                return
            if file.sha256 not in self._entries and file.sha256 not in self._ahead:
                self._ahead[file.sha256] = group.create_task(self._documents.have_card(file))

    def _way_by_entry(self, file: NamedFile, entry: RecipeEntry, packs: tuple[str, ...]) -> Way | None:
        base = None
        if entry.base and (base := self._holding.raw_recipe(entry.base)) is None:
            return None
        try:
            raw = unpack_entry(entry, base)
            return make_way(file, raw, entry.places, packs, has_card=False)
        except Corrupt:
            return None  # the card tells whether it is the release that is wrong, or the listing
