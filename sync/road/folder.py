"""Published files in a local folder: a USB stick, a mounted share, or a mirror that another program fills.

A stick is as hostile as a server: nothing outside the folder is read, and nothing that is no plain file is opened.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sync import Corrupt, Missing, TooLong, Unreachable
from sync.road import OPEN, Gate, Received, Sink, check_file_name, check_range

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ABSENT = (errno.ENOENT, errno.ENAMETOOLONG)
_SWAPPED = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO)
"""What opening says when a link or special file took the place of what was looked at a moment ago."""

PIECE_BYTES = 1024 * 1024
_CAPPED_PIECE_BYTES = 16 * 1024
"""Below a cap: what comes in one piece comes at once."""


class FolderSource:
    """See Source; ``root`` is the folder that holds ``metadata/``, ``targets/`` and the rest."""

    def __init__(self, root: Path, *, gate: Gate = OPEN) -> None:
        """Nothing is opened yet; ``gate`` is for a folder that lies at the other end of a line."""
        self._root, self._gate = root, gate

    def __str__(self) -> str:
        """Name the folder."""
        return str(self._root)

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        """See Source."""
        length = await asyncio.to_thread(self._length, check_file_name(name))
        if length > limit_bytes:
            raise TooLong(f"{name} has {length} bytes; at most {limit_bytes} are allowed or signed")
        body = bytearray()
        while len(body) <= limit_bytes:
            piece = await self._next(name, len(body), limit_bytes + 1, received)
            if not piece:
                return bytes(body)
            body += piece
        raise TooLong(f"{name} is longer than the {limit_bytes} bytes that are allowed or signed")

    async def read(self, name: str, start: int, stop: int, sink: Sink, *, received: Received | None = None) -> None:
        """See Source."""
        check_file_name(name)
        if not check_range(start, stop):
            return
        length = await asyncio.to_thread(self._length, name)
        if length <= start:
            raise Missing(f"{name} in {self._root} has no byte {start}")
        if length < stop:
            raise Corrupt(f"{name} in {self._root} has {length} bytes where {stop} are needed")
        while start < stop:
            piece = await self._next(name, start, stop, received)
            if not piece:
                raise Unreachable(f"{name} in {self._root} became shorter while it was read")
            sink(piece)
            start += len(piece)

    async def close(self) -> None:
        """See Source."""

    async def _next(self, name: str, start: int, stop: int, received: Received | None) -> bytes:
        await self._gate.ready()
        most = PIECE_BYTES if self._gate.rate_bps is None else _CAPPED_PIECE_BYTES
        piece = await asyncio.to_thread(self._piece, name, start, min(stop - start, most))
        self._gate.passed(len(piece))
        if received is not None and piece:
            received(len(piece))
        return piece

    def _length(self, name: str) -> int:
        with self._opened(name) as handle:
            return os.fstat(handle).st_size

    def _piece(self, name: str, start: int, most: int) -> bytes:
        with self._opened(name) as handle:
            return os.pread(handle, most, start)

    @contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        """Open anew for each piece: then no open file crosses from one thread to another."""
        try:
            folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Unreachable(f"no folder {self._root}: {error.strerror}") from error
        try:
            *folders, last = name.split("/")
            for part in folders:
                self._check(name, part, folder, stat.S_ISDIR)
                parent, folder = folder, os.open(part, _FOLDER_FLAGS, dir_fd=folder)
                os.close(parent)
            self._check(name, last, folder, stat.S_ISREG)
            handle = os.open(last, _FILE_FLAGS, dir_fd=folder)
            try:
                yield handle
            finally:
                os.close(handle)
        except OSError as error:
            if error.errno in _ABSENT:
                raise Missing(f"{self._root} has no {name}") from error
            if error.errno in _SWAPPED:
                raise Corrupt(f"{name} in {self._root} is no plain file") from error
            raise Unreachable(f"cannot read {name} in {self._root}: {error.strerror}") from error
        finally:
            os.close(folder)

    def _check(self, name: str, part: str, folder: int, wanted: Callable[[int], bool]) -> None:
        """Look before opening: opening a pipe or a device may hang, or do something."""
        mode = os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode
        if wanted(mode):
            return
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            raise Missing(f"{self._root} has no {name}")
        raise Corrupt(f"{part} of {name} in {self._root} is a link or a special file; only plain files are read")
