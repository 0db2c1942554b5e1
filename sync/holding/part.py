"""An object on its way in: filled in place, unit by unit, in any order."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sync import Corrupt, NoSpace, SyncError
from sync.holding.journal import Journal
from sync.holding.spans import Piece, UnitReader, batches, write_pieces
from sync.recipe import Recipe
from sync.store.files import make_directory, space_errors, sync_directory

PART_SUFFIX = ".part"
JOURNAL_SUFFIX = ".units"
_HASH_BYTES = 1024 * 1024
_NO_FALLOCATE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV)


class Incomplete(SyncError):
    """Not every unit is there; what is missing must be fetched (again)."""

    def __init__(self, sha256: str, missing: int) -> None:
        """``missing`` counts units."""
        super().__init__(f"object {sha256} still lacks {missing:,} units")
        self.sha256, self.missing = sha256, missing


class Seeds(Protocol):
    """Where units lie that need not be fetched."""

    def find(self, hashes: Sequence[bytes]) -> list[list[tuple[str, int]]]:
        """Return for each unit hash the held objects that have the unit, and its ordinal there."""

    def reader(self, sha256: str) -> UnitReader | None:
        """Open a held object for reading units; None when that does not work."""

    def note_damage(self, sha256: str) -> None:
        """Hear that a held object does not have the bytes that it should have."""


class Part:
    """See Holding.begin. Safe to be written to by several threads at once."""

    def __init__(
        self,
        recipe: Recipe,
        stem: Path,
        final: Path,
        *,
        before: Callable[[Recipe], None],
        after: Callable[[Recipe], None],
        recheck: bool = False,
    ) -> None:
        """Open or create ``<stem>.part`` and its journal, at full length, and take up what an earlier attempt left.

        Args:
            recipe: What the object is made of.
            stem: Path of the part without its ending.
            final: Where the object goes.
            before: Called when the object is whole, before it becomes visible.
            after: Called when it is visible.
            recheck: Believe no journal: hash what is there (a part that was a damaged object).

        Raises:
            NoSpace: the file system cannot take the whole object; nothing was left behind that was not there before.
        """
        self.recipe = recipe
        self._path, self._final = stem.with_suffix(PART_SUFFIX), final
        self._before, self._after = before, after
        self._mark = hashlib.sha256(recipe.unit_hashes).digest()
        self._have: NDArray[np.bool_] = np.zeros(recipe.units, dtype=np.bool_)
        self._lock = threading.Lock()
        self._closing = threading.Lock()
        """Held while the file is made durable: it must not be closed then, but may be written to."""
        self._closed = False
        skeleton_offsets, skeleton_lengths = recipe.skeleton_extents()
        real = skeleton_lengths > 0
        self._skeleton_offset, self._skeleton_length = skeleton_offsets[real], skeleton_lengths[real]
        self._skeleton_end = self._skeleton_offset + self._skeleton_length
        self._skeleton_position = np.cumsum(self._skeleton_length) - self._skeleton_length
        was_there = self._path.exists()
        if was_there:
            self._path.chmod(0o644)  # it was an object, or a commit that was cut off made it read-only
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _reserve(self._file, self._path, recipe.length_bytes)
            self._journal = Journal(stem.with_suffix(JOURNAL_SUFFIX), self._mark, recipe.units)
        except BaseException:
            os.close(self._file)
            if not was_there:
                self._path.unlink(missing_ok=True)
            raise
        try:
            if was_there and (recheck or self._journal.is_new):
                self.recheck()
            elif was_there:
                self._have[self._journal.entries] = True
            else:
                self._journal.restart(self._mark)
            self._write([], self._tail())
        except BaseException:
            self.close()
            raise

    @property
    def sha256(self) -> str:
        """The id of the object."""
        return self.recipe.sha256

    @property
    def path(self) -> Path:
        """Where the unfinished object lies."""
        return self._path

    @property
    def held_bytes(self) -> int:
        """How many bytes of units are there."""
        return int(self.recipe.unit_length[self._have].sum(dtype=np.int64))

    def missing(self) -> list[int]:
        """Return the ordinals of the units that are not there, in play order."""
        found: list[int] = np.flatnonzero(~self._have).tolist()
        return found

    def holds(self, ordinal: int) -> bool:
        """Tell whether the unit is there."""
        return bool(self._have[ordinal])

    def write(self, ordinal: int, data: bytes | memoryview) -> None:
        """Take in a unit.

        Raises:
            Corrupt: these are not the bytes of that unit; nothing was written.
            NoSpace: the disk is full; what was held is still held.
        """
        if hashlib.sha256(data).digest() != self.recipe.unit_hash(ordinal):
            raise Corrupt(f"unit {ordinal} of object {self.sha256} is not the signed one")
        self._put([(ordinal, memoryview(data))])

    def write_known(self, ordinal: int, data: bytes | memoryview) -> None:
        """Like ``write``, for bytes whose hash the caller has just compared with this unit's."""
        self._put([(ordinal, memoryview(data))])

    def fill_from(self, seeds: Seeds) -> int:
        """Copy every missing unit that held objects have; return how many bytes came. See ``filling``."""
        return sum(self.filling(seeds))

    def filling(self, seeds: Seeds, ordinals: Sequence[int] | None = None) -> Generator[int, None, None]:
        """Copy units from held objects, a few MiB at each step, and yield how many bytes of units were copied.

        Each unit is hashed; one that is damaged where it lies is looked for in other objects, else stays missing.

        Args:
            seeds: Where units may lie.
            ordinals: Look for these units only; None for all that are missing.

        Raises:
            NoSpace: the disk is full; what was held is still held.
        """
        missing = self.missing() if ordinals is None else ordinals
        places = seeds.find([self.recipe.unit_hash(ordinal) for ordinal in missing])
        wanted = {ordinal: list(found) for ordinal, found in zip(missing, places, strict=True) if found}
        readers: dict[str, UnitReader | None] = {}
        try:
            while wanted:
                for batch in batches(list(wanted), self.recipe.unit_length):
                    yield self._copy(batch, wanted, seeds, readers)
        finally:
            for reader in readers.values():
                if reader is not None:
                    reader.close()

    def _copy(
        self,
        batch: list[int],
        wanted: dict[int, list[tuple[str, int]]],
        seeds: Seeds,
        readers: dict[str, UnitReader | None],
    ) -> int:
        """Copy the batch from the first place of each; drop from ``wanted`` what came or has no other place."""
        by_object: dict[str, list[tuple[int, int]]] = {}
        for ordinal in batch:
            sha256, there = wanted[ordinal].pop(0)
            by_object.setdefault(sha256, []).append((ordinal, there))
        came: list[tuple[int, memoryview]] = []
        for sha256, pairs in by_object.items():
            if sha256 not in readers:
                readers[sha256] = seeds.reader(sha256)
            reader = readers[sha256]
            units = reader.read([there for _, there in pairs]) if reader else [None] * len(pairs)
            for (ordinal, _), data in zip(pairs, units, strict=True):
                if data is not None and hashlib.sha256(data).digest() == self.recipe.unit_hash(ordinal):
                    came.append((ordinal, memoryview(data)))
                else:
                    seeds.note_damage(sha256)
        self._put(came)
        for ordinal, _ in came:
            del wanted[ordinal]
        for ordinal in batch:
            if ordinal in wanted and not wanted[ordinal]:
                del wanted[ordinal]
        return sum(len(data) for _, data in came)

    def flush(self, *, durable: bool = False) -> None:
        """With ``durable`` make what was written survive a power cut; nothing happens once the part is closed.

        Raises:
            OSError: the disk fails; what is there will be hashed before it is believed again.
        """
        with self._closing:
            if durable and not self._closed:
                self._sync(os.fdatasync)
                self._journal.sync()

    def recheck(self) -> None:
        """Hash every unit that lies in the part file; those that fit are held, the others missing. Believes nothing."""
        reader = UnitReader(self._path, self.recipe)
        self._have[:] = False
        try:
            for batch in batches(range(self.recipe.units), self.recipe.unit_length):
                for ordinal, data in zip(batch, reader.read(batch), strict=True):
                    fits = data is not None and hashlib.sha256(data).digest() == self.recipe.unit_hash(ordinal)
                    self._have[ordinal] = fits
        finally:
            reader.close()
        self._write([], self._skeleton(np.arange(len(self._skeleton_offset))))
        self._journal.restart(self._mark, np.flatnonzero(self._have))

    def commit(self) -> None:
        """Hash the whole and make it visible; durable when this returns. The part is closed then.

        Raises:
            Incomplete: units are missing, or are no longer what the journal says (a power cut): these are missing now.
            Corrupt: every unit is right and the whole is not: the recipe lies. What was staged was dropped.
            NoSpace: the disk is full; what was held is still held.
        """
        if not self._have.all():
            raise Incomplete(self.sha256, len(self.missing()))
        if not self._fits():
            self.recheck()
            if not self._have.all():
                raise Incomplete(self.sha256, len(self.missing()))
            if not self._fits():
                self.drop()
                raise Corrupt(f"the units of object {self.sha256} do not make up that object")
        self._before(self.recipe)
        os.fchmod(self._file, 0o444)
        self._sync(os.fsync)
        make_directory(self._final.parent)
        self._path.replace(self._final)
        sync_directory(self._final.parent)
        self._journal.remove()
        self.close()
        self._after(self.recipe)

    def close(self) -> None:
        """Stop here; without ``commit`` what is held stays for the next attempt. May be called twice."""
        with self._closing:
            if not self._closed:
                self._closed = True
                os.close(self._file)
                self._journal.close()

    def drop(self) -> None:
        """Stop, and leave nothing behind."""
        self.close()
        self._path.unlink(missing_ok=True)
        self._journal.remove()

    def _put(self, units: Iterable[tuple[int, memoryview]]) -> None:
        """Write units with the bytes of the skeleton that stand before their runs, then note them in the journal.

        The skeleton goes along because it is everywhere: alone it would make every page of the file dirty twice.
        """
        ordinals, pieces = [], []
        for ordinal, data in units:
            ordinals.append(ordinal)
            offsets, lengths = self.recipe.extents(ordinal)
            position = 0
            for offset, length in zip(offsets.tolist(), lengths.tolist(), strict=True):
                pieces.append((offset, data[position : position + length]))
                position += length
            if len(self._skeleton_end):
                before = np.searchsorted(self._skeleton_end, offsets)
                np.minimum(before, len(self._skeleton_end) - 1, out=before)
                pieces += self._skeleton(before[self._skeleton_end[before] == offsets])
        if ordinals:
            self._write(ordinals, pieces)

    def _skeleton(self, which: NDArray[np.int64]) -> list[Piece]:
        view = memoryview(self.recipe.skeleton)
        return [
            (offset, view[position : position + length])
            for offset, position, length in zip(
                self._skeleton_offset[which].tolist(),
                self._skeleton_position[which].tolist(),
                self._skeleton_length[which].tolist(),
                strict=True,
            )
        ]

    def _tail(self) -> list[Piece]:
        """The skeleton after the last run; all of it when there are no units."""
        last = len(self._skeleton_end) - 1
        ends = last >= 0 and self._skeleton_end[last] == self.recipe.length_bytes
        return self._skeleton(np.array([last])) if ends else []

    def _write(self, ordinals: list[int], pieces: list[Piece]) -> None:
        with space_errors(self._path.parent, sum(len(data) for _, data in pieces)):
            write_pieces(self._file, pieces)
        with self._lock:
            self._journal.append(ordinals)
            self._have[ordinals] = True

    def _sync(self, sync: Callable[[int], None]) -> None:
        try:
            with space_errors(self._path.parent, self.recipe.length_bytes):
                sync(self._file)
        except OSError:
            # Linux now calls the lost pages clean, and a second fsync would succeed: believe only what the disk gives.
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)
            with suppress(OSError):
                self._journal.remove()
            raise

    def _fits(self) -> bool:
        digest, buffer, at = hashlib.sha256(), bytearray(_HASH_BYTES), 0
        view = memoryview(buffer)
        try:
            while length := os.preadv(self._file, [buffer], at):
                digest.update(view[:length])
                at += length
        except OSError:
            return False  # unreadable is as bad as wrong: the units on it will be missing
        return digest.hexdigest() == self.sha256


def _reserve(file: int, path: Path, length: int) -> None:
    """Give the file its length, and, where the file system can, its blocks."""
    state = os.fstat(file)
    if state.st_size > length:
        os.ftruncate(file, length)
    allocated = min(state.st_blocks * 512, length)
    if length == 0:
        return
    try:
        os.posix_fallocate(file, 0, length)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            os.ftruncate(file, state.st_size)
            disk = os.statvfs(path.parent)
            raise NoSpace(length - allocated, disk.f_bavail * disk.f_frsize) from error
        if error.errno not in _NO_FALLOCATE:
            raise
        os.ftruncate(file, length)
