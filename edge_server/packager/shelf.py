"""Finds packaged renditions for the egresses, and packages what a new snapshot brings before it becomes active."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from edge_server.catalog import CatalogView
from edge_server.packager.package import NotPackaged, Packaged, PackagingFailed, is_packaged, load, package
from edge_server.store import StoredFile
from sync.store.files import space_errors

LOADED_MAX_BYTES = 24 * 1024 * 1024
"""Indexes kept in memory; those of a 40-minute lesson take some 1.2 MB."""
DERIVED_BYTES_PER_BYTE = 1.2
"""Of an MP4: its transport stream, and a hundredth for heads and indexes (docs/adr/0010)."""

Package = Callable[[Path, str, Path], object]
"""As `edge_server.packager.package`."""
Workshop = Callable[[], AbstractContextManager[Package]]
"""Opened for one row of renditions."""
_Mark = tuple[int, int] | None


class Shelf:
    """All packaged renditions of one edge server. Egresses read; only a sync adds."""

    def __init__(self, derived_root: Path, workshop: Workshop | None = None) -> None:
        """``derived_root`` is the folder of derived files; ``workshop`` packages, in this process unless given."""
        self._root = derived_root
        self._workshop: Workshop = workshop or _here
        self._loaded: OrderedDict[str, tuple[_Mark, Packaged]] = OrderedDict()
        self._loaded_bytes = 0
        self._sound: set[str] = set()
        self.waiting = 0
        """Renditions of a coming snapshot that are not ready yet; another process's are not known here."""

    def packaged(self, stored: StoredFile) -> Packaged:
        """Return the rendition ready to play; one ``stat`` once it was loaded.

        Raises:
            NotPackaged: it was not packaged yet, or its derived files were deleted or damaged.
        """
        mark, found = self._loaded.pop(stored.sha256, (None, None))
        self._loaded_bytes -= found.held_bytes if found is not None else 0
        if found is None or mark is None or _mark(found) != mark:
            # Never seen, gone, or made again by another process: maybe with another index.
            found = load(stored.file, stored.sha256, self._root)
            mark = _mark(found)
        self._loaded[stored.sha256] = mark, found
        self._loaded_bytes += found.held_bytes
        while self._loaded_bytes > LOADED_MAX_BYTES and len(self._loaded) > 1:
            _, (_, oldest) = self._loaded.popitem(last=False)
            self._loaded_bytes -= oldest.held_bytes
        return found

    def prepare(self, view: CatalogView, on_progress: Callable[[float], None], *, active: bool = False) -> int:
        """Package every rendition of a snapshot; return how many were made.

        Before a snapshot becomes active all its indexes are read once. Of one that is ``active`` already, only what
        was deleted since, or made by another version, is made again; that costs a few ``stat`` a rendition.

        Raises:
            PackagingFailed: one is missing or cannot be packaged; the snapshot must not become active.
            sync.NoSpace: the disk is full.
            OSError: it is broken.
        """
        wanted = []
        absent = frozenset[str]().union(*(release.absent for release in view.active.releases.values()))
        for rendition in (each for item in view.listed.courseware for each in item.renditions):
            if (found := view.file(rendition.path)) is not None:
                wanted.append(found)
            elif rendition.path not in absent:
                raise PackagingFailed(f"release {view.seq} lists {rendition.path} without holding it: publish again")
        total, done, made = sum(stored.length_bytes for stored in wanted) or 1, 0, 0
        self.waiting = len(wanted)
        try:
            with self._workshop() as pack:
                for stored in wanted:
                    known = active or stored.sha256 in self._sound
                    if not (known and is_packaged(stored.sha256, self._root)):
                        made += self._make(stored, pack)
                    done += stored.length_bytes
                    self.waiting -= 1
                    on_progress(done / total)
        finally:
            self.waiting = 0
        return made

    def _make(self, stored: StoredFile, pack: Package) -> bool:
        """Package one rendition unless its derived files are there and sound; tell whether it was packaged."""
        try:
            load(stored.file, stored.sha256, self._root)
            made = False
        except NotPackaged:
            if (found := stored.file.stat().st_size) != stored.length_bytes:
                wrong = f"{found} of {stored.length_bytes} bytes are on the disk"
                raise PackagingFailed(
                    f"object {stored.sha256[:12]}…: {wrong}; run `edge-server store verify`"
                ) from None
            with space_errors(self._root, int(stored.length_bytes * DERIVED_BYTES_PER_BYTE)):
                pack(stored.file, stored.sha256, self._root)
            made = True
        self._sound.add(stored.sha256)
        return made


def _here() -> AbstractContextManager[Package]:
    return nullcontext(package)


def _mark(packaged: Packaged) -> _Mark:
    """Tell one making of the derived files from the next; None when they are gone."""
    try:
        state = packaged.ts.stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns
