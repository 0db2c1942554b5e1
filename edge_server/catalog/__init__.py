"""The read-only view of one snapshot that portals and egresses ask: columns, courseware, files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Self

from domain.courseware import (
    CATALOGUE_MAX_BYTES,
    CATALOGUE_PATH,
    INDEX_CHANNEL,
    Catalogue,
    Column,
    Courseware,
    decode_catalogue,
)
from domain.village import VILLAGE_MAX_BYTES, VILLAGE_PATH, Village, VillageError, decode_village
from edge_server.store import ActiveRelease, ActiveSnapshot, Store, StoredFile
from edge_server.store.judged import JudgedTime

EMPTY = ActiveSnapshot(0, {})
"""What an edge server holds before its first sync."""
EARLIER_MAX = 4
"""Snapshots remembered besides the active one. The store keeps the objects of each channel's release before."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)


def read_catalogue(release: ActiveRelease) -> Catalogue:
    """Read the catalogue of one channel; an empty one when the channel has none.

    Raises:
        domain.courseware.CatalogueError: it cannot be read by this version.
    """
    stored = release.files.get(CATALOGUE_PATH)
    if stored is None:
        return Catalogue()
    with stored.file.open("rb") as file:
        return decode_catalogue(file.read(CATALOGUE_MAX_BYTES + 1))


@dataclass(frozen=True)
class CatalogView:
    """One snapshot as it is offered at one moment, frozen; a session keeps the view it began with.

    An item is offered when every file of it is held and neither it nor its leave to be shown off line has run out.

    Raises on first use:
        domain.courseware.CatalogueError: the catalogue of a channel cannot be read by this version.
    """

    active: ActiveSnapshot
    now: datetime = _LONG_AGO
    """The moment that decides what has expired."""
    contact: datetime = _LONG_AGO
    """When the newest metadata that was seen here was signed."""
    earlier: tuple[CatalogView, ...] = ()
    """Views of the snapshots before, newest first: somebody may be in the middle of a lesson that was replaced."""
    lab: bool = False
    """What has yet to be played on every kind of box is offered, too."""

    @property
    def seq(self) -> int:
        """Number of the snapshot; 0 before the first sync."""
        return self.active.seq

    @cached_property
    def listed(self) -> Catalogue:
        """The catalogues of all channels as one, with items that are not offered."""
        columns: dict[str, Column] = {}
        items: dict[str, Courseware] = {}
        for release in self.active.releases.values():
            read = read_catalogue(release)
            for column in read.columns:
                columns.setdefault(column.column_id, column)
            for item in read.courseware:
                items.setdefault(item.item_id, item)
        return Catalogue(columns=tuple(columns.values()), courseware=tuple(items.values()))

    @cached_property
    def village(self) -> Village:
        """Study plans and questionnaires; empty when there are none, or none that this version reads."""
        release = self.active.releases.get(INDEX_CHANNEL)
        stored = release.files.get(VILLAGE_PATH) if release else None
        if stored is None:
            return Village()
        try:
            with stored.file.open("rb") as file:
                return decode_village(file.read(VILLAGE_MAX_BYTES + 1))
        except (VillageError, OSError):
            return Village()  # lessons come first; the next release brings it again

    @cached_property
    def catalogue(self) -> Catalogue:
        """What is offered; columns in which nothing is left stay."""
        offered = tuple(item for item in self.listed.courseware if self.why_hidden(item) is None)
        return Catalogue(columns=self.listed.columns, courseware=offered)

    def why_hidden(self, item: Courseware) -> str | None:
        """Return why a listed item is not offered; None when it is offered.

        Returns:
            ``expired``; ``not_held``: files of it are not here; ``parity_missing``: it is published on trial.
        """
        if item.held and not self.lab:
            return "parity_missing"
        end = item.offered_until(self.contact)
        if end is not None and self.now >= end:
            return "expired"
        return None if item.paths() <= self.active.files.keys() else "not_held"

    @cached_property
    def mark(self) -> str:
        """16 hex digits that are another when anything that boxes are told is another."""
        told = hashlib.sha256(f"{self.seq}".encode())
        for release in self.active.releases.values():
            stored = release.files.get(CATALOGUE_PATH)
            told.update(f"|{release.channel} {release.seq} {stored.sha256 if stored else ''}".encode())
        told.update("|".join(item.item_id for item in self.catalogue.courseware).encode())
        return told.hexdigest()[:16]

    @cached_property
    def good_until(self) -> datetime:
        """When the next item expires."""
        ends = [end for item in self.listed.courseware if (end := item.offered_until(self.contact)) is not None]
        return min((end for end in ends if end > self.now), default=_NEVER)

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

    def read_through(self) -> Self:
        """Work out everything that is worked out once; a few tenths of a second for thousands of lessons.

        Raises:
            domain.courseware.CatalogueError: see the class.
        """
        _ = (
            self.active.files,
            self.active.issued,
            self.mark,
            self.good_until,
            self.columns,
            self._by_id,
            self._by_column,
            self.village,
        )
        return self

    def items_in(self, column_id: str) -> tuple[Courseware, ...]:
        """Items of one column, in catalogue order."""
        return self._by_column.get(column_id, ())

    def item(self, item_id: str) -> Courseware | None:
        """Return the item, or None when it is unknown, withdrawn or has expired."""
        return self._by_id.get(item_id)

    def file(self, path: str) -> StoredFile | None:
        """Return the stored file of that name in the snapshot, or None."""
        return self.active.files.get(path)


class CatalogReader:
    """Gives the view of the active snapshot; sees at once what another process activates."""

    def __init__(self, store: Store, time: JudgedTime, *, lab: bool = False) -> None:
        """``store`` and ``time`` are asked at each call; that costs two ``stat``. ``lab``: see `CatalogView`."""
        self._store, self._time, self._lab = store, time, lab
        self._view = CatalogView(EMPTY, lab=lab)

    def current(self) -> CatalogView:
        """Return the view; the same object until another snapshot becomes active or an item expires.

        Raises:
            sync.Corrupt: the pointer or a listing that it names is damaged.
        """
        active = self._store.active() or EMPTY
        now, contact = self._time.moments()
        kept = self._view
        if active is not kept.active:
            before = (replace(kept, earlier=()), *kept.earlier) if kept.seq else ()
            self._view = CatalogView(active, now, contact, before[:EARLIER_MAX], self._lab)
        elif self._is_over(now, contact):
            self._view = CatalogView(active, now, contact, kept.earlier, self._lab)
        return self._view

    def unread_bytes(self) -> int:
        """Return 0 while ``current`` would give the same view, else the bytes of the listings that it would look at.

        Raises:
            sync.Corrupt: the pointer is damaged.
        """
        if self._store.is_read():  # perhaps by somebody else, who has the same store and activated it
            active = self._store.active() or EMPTY
            if active is self._view.active and not self._is_over(*self._time.moments()):
                return 0
        return max(1, self._store.listings_bytes())

    def _is_over(self, now: datetime, contact: datetime) -> bool:
        """Tell whether time alone makes another view."""
        kept = self._view
        return contact != kept.contact or now < kept.now or now >= kept.good_until
