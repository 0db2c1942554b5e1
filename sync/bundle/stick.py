"""A folder on a removable disk, which may be hostile, full, read-only, or pulled out at any moment.

No link is followed below the root and nothing but plain files is opened, for reading or writing: a stick that comes
back from somewhere must not make us read or write elsewhere. Blocking: call it in a thread.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sync import Missing, NoSpace, SyncError, TooLong, Unreachable

PIECE_BYTES = 1024 * 1024
_TEMPORARY = "bundle.tmp"
"""In the root; there is only one at a time, and the next one takes its place."""
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ABSENT = (errno.ENOENT, errno.ENAMETOOLONG)
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)
"""Some file systems of sticks have nothing to say about a folder."""


class NotPlain(SyncError):
    """A link, pipe or device stands where a file or folder should be."""


class Stick:
    """Names are relative and separated by ``/``; they must have been checked before."""

    def __init__(self, root: Path) -> None:
        """Nothing is opened yet."""
        self.root = root
        self._unsettled: set[str] = set()

    def length(self, name: str) -> int | None:
        """Return the length of a file in bytes, None when it is not there.

        Raises:
            NotPlain: it is no plain file, or lies behind a link.
            Unreachable: the stick is gone.
        """
        folder, last = _split(name)
        try:
            with self._folder(folder) as handle:
                state = os.stat(last, dir_fd=handle, follow_symlinks=False)
        except Missing:
            return None
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise
        if not stat.S_ISREG(state.st_mode):
            raise NotPlain(f"{name} is no plain file")
        return state.st_size

    def pieces(self, name: str, most_bytes: int) -> Iterator[bytes]:
        """Yield the content of a file.

        Raises:
            Missing: it is not there.
            TooLong: it has more than ``most_bytes``; that many were yielded at most.
            NotPlain: it is no plain file.
            Unreachable: the stick is gone.
            OSError: it cannot be read.
        """
        if self.length(name) is None:
            raise Missing(f"{self.root} has no {name}")
        folder, last = _split(name)
        with self._folder(folder) as handle:
            file = os.open(last, _FILE_FLAGS, dir_fd=handle)
        try:
            left = most_bytes
            while piece := os.read(file, min(PIECE_BYTES, left + 1)):
                if len(piece) > left:
                    raise TooLong(f"{name} is longer than {most_bytes} bytes")
                left -= len(piece)
                yield piece
        finally:
            os.close(file)

    def read(self, name: str, most_bytes: int) -> bytes:
        """Return the content of a small file. Raises as ``pieces``."""
        return b"".join(self.pieces(name, most_bytes))

    def holds(self, name: str, length_bytes: int, sha256: str) -> bool:
        """Tell whether the file is there with that content; False as well when it cannot be read."""
        try:
            if self.length(name) != length_bytes:
                return False
            digest = hashlib.sha256()
            for piece in self.pieces(name, length_bytes):
                digest.update(piece)
        except (OSError, NotPlain, Missing, TooLong):
            return False
        return digest.hexdigest() == sha256

    def entries(self, folder: str, most: int) -> list[tuple[str, bool]]:
        """Return name and "is a folder" of what lies in a folder, sorted, without links and devices; empty without it.

        Raises:
            TooLong: there are more than ``most``.
            Unreachable: the stick is gone.
        """
        found = []
        try:
            with self._folder(folder) as handle, os.scandir(handle) as entries:
                for seen, entry in enumerate(entries):
                    if seen >= most:
                        raise TooLong(f"more than {most} files in {self.root / folder}")
                    if entry.is_dir(follow_symlinks=False):
                        found.append((entry.name, True))
                    elif entry.is_file(follow_symlinks=False):
                        found.append((entry.name, False))
        except (Missing, NotPlain):
            return []
        return sorted(found)

    def write(self, name: str, pieces: Iterable[bytes], length_bytes: int) -> None:
        """Put a file there in one step: temporary file, fsync, rename. The name is durable after ``settle``.

        Raises:
            NoSpace: the stick is full.
            NotPlain: a link or file stands where a folder should be.
            Unreachable: the stick is gone.
            OSError: it cannot be written to.
        """
        folder, last = _split(name)
        try:
            with self._folder("") as root, self._folder(folder, make=True) as handle:
                _remove(_TEMPORARY, root)
                file = os.open(_TEMPORARY, _NEW_FLAGS, 0o644, dir_fd=root)
                try:
                    with os.fdopen(file, "wb") as out:
                        for piece in pieces:
                            out.write(piece)
                        out.flush()
                        os.fsync(out.fileno())
                    os.rename(_TEMPORARY, last, src_dir_fd=root, dst_dir_fd=handle)
                except BaseException:
                    with suppress(OSError):
                        os.unlink(_TEMPORARY, dir_fd=root)
                    raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(length_bytes, self.free_bytes()) from error
            raise
        self._unsettled |= {folder, ""}

    def remove(self, name: str) -> None:
        """Drop a file if it is there, and folders that are empty without it. Durable after ``settle``."""
        folder, last = _split(name)
        try:
            with self._folder(folder) as handle:
                _remove(last, handle)
        except Missing:
            return
        self._unsettled.add(folder)
        while folder:
            above, last = _split(folder)
            try:
                with self._folder(above) as handle:
                    os.rmdir(last, dir_fd=handle)
            except OSError:
                return
            self._unsettled.discard(folder)
            self._unsettled.add(above)
            folder = above

    def settle(self) -> None:
        """Make everything that was written or removed so far survive a power cut, or pulling out."""
        while self._unsettled:
            with self._folder(self._unsettled.pop()) as handle:
                try:
                    os.fsync(handle)
                except OSError as error:
                    if error.errno not in _NO_FOLDER_SYNC:
                        raise

    def free_bytes(self) -> int:
        """Return how much the stick can still take."""
        disk = os.statvfs(self.root)
        return disk.f_bavail * disk.f_frsize

    def capacity_bytes(self) -> int:
        """Return how large the stick's file system is."""
        disk = os.statvfs(self.root)
        return disk.f_blocks * disk.f_frsize

    def on_disk_bytes(self, length_bytes: int) -> int:
        """Return how much of the stick a file of that length takes."""
        block = max(1, os.statvfs(self.root).f_frsize)
        return -(-length_bytes // block) * block

    @contextmanager
    def _folder(self, name: str, *, make: bool = False) -> Iterator[int]:
        try:
            handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Unreachable(f"no folder {self.root}: {error.strerror}") from error
        try:
            for part in name.split("/") if name else ():
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=handle)
                above, handle = handle, _open_folder(part, handle, self.root / name)
                os.close(above)
            yield handle
        finally:
            os.close(handle)


def _open_folder(part: str, above: int, path: Path) -> int:
    try:
        return os.open(part, _FOLDER_FLAGS, dir_fd=above)
    except OSError as error:
        if error.errno in _ABSENT:
            raise Missing(f"no folder {path}") from error
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise NotPlain(f"{part} in {path} is no folder") from error
        raise


def _remove(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _split(name: str) -> tuple[str, str]:
    folder, _, last = name.rpartition("/")
    return folder, last
