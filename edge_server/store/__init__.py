"""What an edge holds: verified objects, the snapshots that name them, and the pointer to the active one.

Layout below the root: ``objects/ab/<sha256>`` (mode 0444), ``staging/`` (unfinished objects), ``snapshots/<seq>.json``
(the snapshot objects as published), ``current`` (which one is active), ``derived/`` (what the packager makes) and
``lock``. The only thing that ever changes in place is ``current``, by rename.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import msgspec

from sync import Corrupt, Missing
from sync.ids import is_sha256
from sync.snapshot import Snapshot, decode_snapshot, encode_snapshot
from sync.store.disk import DiskObjects
from sync.store.files import TEMPORARY_SUFFIX, locked, make_directory, write_file

POINTER_MAX_BYTES = 1024
_DERIVED_DEPTH_MAX = 4


@dataclass(frozen=True)
class StoredFile:
    """One file of the active snapshot."""

    path: str
    """Its name in the snapshot."""
    sha256: str
    length_bytes: int
    file: Path
    """Where its bytes lie; read-only."""


@dataclass(frozen=True)
class ActiveSnapshot:
    """A snapshot whose objects are all here. Frozen: sessions may keep it while a newer one becomes active."""

    seq: int
    channel: str
    issued: datetime
    files: Mapping[str, StoredFile]


@dataclass(frozen=True)
class Damage:
    """An object that is not what it should be."""

    sha256: str
    reason: Literal["altered", "unreadable", "missing"]
    names: tuple[str, ...]
    """Under which names the active snapshot offers it; none when it does not."""


class _Pointer(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    seq: int
    previous: int | None


class Store:
    """The edge's disk. Reading needs no lock; changing takes it."""

    def __init__(self, root: Path) -> None:
        """Create the folders if need be."""
        self._root = root
        self._pointer_file = root / "current"
        self._snapshots = root / "snapshots"
        self.derived_root = root / "derived"
        self.objects = DiskObjects(root / "objects", root / "staging")
        make_directory(self._snapshots)
        make_directory(self.derived_root)
        self._seen: tuple[int, int, int] | None = None
        self._active: ActiveSnapshot | None = None

    def active(self) -> ActiveSnapshot | None:
        """Return the active snapshot, None before the first; one ``stat`` unless another became active.

        Sees at once what another process activates.

        Raises:
            Corrupt: the pointer or the snapshot it names is damaged.
        """
        try:
            state = self._pointer_file.stat()
        except FileNotFoundError:
            return None
        mark = (state.st_mtime_ns, state.st_ino, state.st_size)
        if mark != self._seen:
            pointer = self._pointer()
            self._active = self.resolve(self._read_snapshot(pointer.seq)) if pointer else None
            self._seen = mark
        return self._active

    def resolve(self, snapshot: Snapshot) -> ActiveSnapshot:
        """Join a snapshot with the places of its objects, without making it active."""
        files = {
            name: StoredFile(name, each.sha256, each.length_bytes, self.objects.path(each.sha256))
            for name, each in snapshot.files.items()
        }
        return ActiveSnapshot(snapshot.seq, snapshot.channel, snapshot.issued, MappingProxyType(files))

    @contextmanager
    def lock(self) -> Iterator[Changes]:
        """Hold the store for changing it; not shared between processes, nor within one.

        Raises:
            Busy: somebody else holds it.
        """
        with locked(self._root / "lock", f"the store {self._root}"):
            yield Changes(self)

    def activate(self, snapshot: Snapshot) -> ActiveSnapshot:
        """Take the lock and see Changes.activate."""
        with self.lock() as changes:
            return changes.activate(snapshot)

    def collect(self) -> int:
        """Take the lock and see Changes.collect."""
        with self.lock() as changes:
            return changes.collect()

    def verify(self, on_object: Callable[[str], None] | None = None) -> tuple[Damage, ...]:
        """Hash every object again, and look for objects that the active snapshot names but that are not there.

        Reads the whole disk; call it in a thread. ``on_object`` is called with each id before it is read.

        Raises:
            Corrupt: the pointer or the active snapshot itself is damaged.
        """
        active = self.active()
        names: dict[str, list[str]] = {}
        for each in active.files.values() if active else ():
            names.setdefault(each.sha256, []).append(each.path)
        found = []
        for sha256 in self.objects.ids():
            if on_object:
                on_object(sha256)
            if (reason := _fault(self.objects.path(sha256), sha256)) is not None:
                found.append(Damage(sha256, reason, tuple(names.get(sha256, ()))))
        gone = [sha256 for sha256 in names if not self.objects.has(sha256)]
        found += [Damage(sha256, "missing", tuple(names[sha256])) for sha256 in gone]
        return tuple(found)

    def _pointer(self) -> _Pointer | None:
        try:
            with self._pointer_file.open("rb") as file:
                raw = file.read(POINTER_MAX_BYTES)
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(raw, type=_Pointer)
        except msgspec.MsgspecError as error:
            raise Corrupt(f"{self._pointer_file} is damaged ({error}); sync again to repair it") from error

    def _snapshot_file(self, seq: int) -> Path:
        return self._snapshots / f"{seq}.json"

    def _read_snapshot(self, seq: int) -> Snapshot:
        try:
            snapshot = decode_snapshot(self._snapshot_file(seq).read_bytes())
        except FileNotFoundError as error:
            raise Corrupt(f"{self._snapshot_file(seq)} is missing; sync again to repair it") from error
        if snapshot.seq != seq:
            raise Corrupt(f"{self._snapshot_file(seq)} holds release {snapshot.seq}")
        return snapshot


class Changes:
    """What may be done to a store while its lock is held. Made by Store.lock only."""

    def __init__(self, store: Store) -> None:
        """Use Store.lock."""
        self._store = store

    def activate(self, snapshot: Snapshot) -> ActiveSnapshot:
        """Make the snapshot the active one: durable, and seen by every process, when this returns.

        Raises:
            Missing: an object of the snapshot is not here, or has another length; nothing was changed.
            NoSpace: the disk is full; nothing was changed.
        """
        store = self._store
        active = store.resolve(snapshot)
        for each in active.files.values():
            try:
                length = each.file.stat().st_size
            except FileNotFoundError as error:
                raise Missing(f"object {each.sha256} of {each.path!r} is not in the store") from error
            if length != each.length_bytes:
                raise Missing(f"object {each.sha256} of {each.path!r} has {length} bytes, not {each.length_bytes}")
        try:
            before = store._pointer()
        except Corrupt:
            before = None
        write_file(store._snapshot_file(snapshot.seq), encode_snapshot(snapshot))
        previous = (before.previous if before.seq == snapshot.seq else before.seq) if before else None
        pointer = _Pointer(format=1, seq=snapshot.seq, previous=previous)
        write_file(store._pointer_file, msgspec.json.encode(pointer))
        return active

    def discard(self, damages: Iterable[Damage]) -> None:
        """Remove damaged objects, so that the next pull fetches them again; until then their names answer nothing."""
        for damage in damages:
            self._store.objects.remove(damage.sha256)

    def collect(self, wanted: Snapshot | None = None) -> int:
        """Remove what neither the active nor the previous snapshot names; return how many bytes of objects went.

        Goes for objects, folders of the packager that are named after an object, unfinished objects, snapshot files
        and the litter of crashes. ``wanted`` is a snapshot on its way in, whose objects, finished or not, stay too;
        without it nothing happens before the first snapshot is active.

        Raises:
            Corrupt: the pointer or a snapshot is damaged; nothing was removed.
        """
        store = self._store
        pointer = store._pointer()
        if pointer is None and wanted is None:
            return 0
        keep_seqs = {seq for seq in (pointer.seq, pointer.previous) if seq is not None} if pointer else set()
        coming = {each.sha256 for each in wanted.files.values()} if wanted else set()
        keep = coming | {each.sha256 for seq in keep_seqs for each in store._read_snapshot(seq).files.values()}
        freed = 0
        for sha256 in list(store.objects.ids()):
            if sha256 not in keep:
                freed += store.objects.path(sha256).stat().st_size
                store.objects.remove(sha256)
        store.objects.prune_staged(coming.__contains__)
        for folder in _derived(store.derived_root, 1):
            if folder.name not in keep:
                shutil.rmtree(folder)
        for file in store._snapshots.iterdir():
            if file.name not in {f"{seq}.json" for seq in keep_seqs}:
                file.unlink()
        for file in store._root.glob(f".*{TEMPORARY_SUFFIX}"):
            file.unlink()
        return freed


def _derived(folder: Path, depth: int) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            if is_sha256(entry.name):
                yield entry
            elif depth < _DERIVED_DEPTH_MAX:
                yield from _derived(entry, depth + 1)


def _fault(file: Path, sha256: str) -> Literal["altered", "unreadable"] | None:
    try:
        with file.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
    except OSError:
        return "unreadable"
    return None if digest == sha256 else "altered"
