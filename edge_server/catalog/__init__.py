"""The read-only view of one snapshot that portals and egresses ask: columns, courseware, files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from domain.courseware import CATALOGUE_MAX_BYTES, CATALOGUE_PATH, Catalogue, Column, Courseware, decode_catalogue
from edge_server.store import ActiveSnapshot, Store, StoredFile

EMPTY = ActiveSnapshot(0, "", datetime(1970, 1, 1, tzinfo=UTC), {})
"""What an edge server holds before its first sync."""


@dataclass(frozen=True)
class CatalogView:
    """One snapshot, frozen; a session keeps the view it began with.

    Raises on first use:
        domain.courseware.CatalogueError: the snapshot's catalogue cannot be read by this version.
    """

    active: ActiveSnapshot

    @property
    def seq(self) -> int:
        """Number of the snapshot; 0 before the first sync."""
        return self.active.seq

    @cached_property
    def catalogue(self) -> Catalogue:
        """The catalogue of the snapshot; empty when the snapshot has none."""
        stored = self.file(CATALOGUE_PATH)
        if stored is None:
            return Catalogue()
        with stored.file.open("rb") as file:
            return decode_catalogue(file.read(CATALOGUE_MAX_BYTES + 1))

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Columns in the order in which boxes show them."""
        return tuple(sorted(self.catalogue.columns, key=lambda column: column.order))

    @cached_property
    def _by_id(self) -> dict[str, Courseware]:
        return {item.item_id: item for item in self.catalogue.courseware}

    @cached_property
    def _by_column(self) -> dict[str, tuple[Courseware, ...]]:
        found: dict[str, list[Courseware]] = {}
        for item in self.catalogue.courseware:
            found.setdefault(item.column_id, []).append(item)
        return {column_id: tuple(items) for column_id, items in found.items()}

    def items_in(self, column_id: str) -> tuple[Courseware, ...]:
        """Items of one column, in catalogue order."""
        return self._by_column.get(column_id, ())

    def item(self, item_id: str) -> Courseware | None:
        """Return the item, or None when it is unknown or withdrawn."""
        return self._by_id.get(item_id)

    def file(self, path: str) -> StoredFile | None:
        """Return the stored file of that name in the snapshot, or None."""
        return self.active.files.get(path)


class CatalogReader:
    """Gives the view of the active snapshot; sees at once what another process activates."""

    def __init__(self, store: Store) -> None:
        """``store`` is asked at each call; that costs one ``stat``."""
        self._store = store
        self._view = CatalogView(EMPTY)

    def current(self) -> CatalogView:
        """Return the view; the same object until another snapshot becomes active.

        Raises:
            sync.Corrupt: the pointer or the snapshot it names is damaged.
        """
        active = self._store.active() or EMPTY
        if active is not self._view.active:
            self._view = CatalogView(active)
        return self._view
