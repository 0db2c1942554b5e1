"""Finds packaged renditions for the egresses, and packages what a new snapshot brings before it becomes active."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from edge_server.catalog import CatalogView
from edge_server.packager.package import NotPackaged, Packaged, load, package
from edge_server.store import StoredFile

LOADED_MAX_COUNT = 512
"""Indexes kept in memory; a 40-minute lesson's two indexes take some 300 kB."""


class Shelf:
    """All packaged renditions of one edge server. Egresses read; only a sync adds."""

    def __init__(self, derived_root: Path) -> None:
        """``derived_root`` is the folder of derived files."""
        self._root = derived_root
        self._loaded: OrderedDict[str, Packaged] = OrderedDict()

    def packaged(self, stored: StoredFile) -> Packaged:
        """Return the rendition ready to play.

        Raises:
            NotPackaged: it was not packaged yet, or its derived files were deleted or damaged.
        """
        found = self._loaded.get(stored.sha256)
        if found is None or not found.ts.exists():
            found = load(stored.file, stored.sha256, self._root)
            self._loaded[stored.sha256] = found
            while len(self._loaded) > LOADED_MAX_COUNT:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(stored.sha256)
        return found

    def prepare(self, view: CatalogView, on_progress: Callable[[float], None]) -> int:
        """Package every rendition of a snapshot that is not active yet; return how many were made.

        Raises:
            PackagingFailed: one cannot be packaged; the snapshot must not become active.
            OSError: the disk is full or broken.
        """
        wanted = [
            stored
            for item in view.catalogue.courseware
            for rendition in item.renditions
            if (stored := view.file(rendition.path)) is not None
        ]
        total, done, made = sum(stored.length_bytes for stored in wanted) or 1, 0, 0
        for stored in wanted:
            try:
                load(stored.file, stored.sha256, self._root)
            except NotPackaged:
                package(stored.file, stored.sha256, self._root)
                made += 1
            done += stored.length_bytes
            on_progress(done / total)
        return made
