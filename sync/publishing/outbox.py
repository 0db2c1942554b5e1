"""The way into the published tree: every file is written beside it and put in place in one step.

What a crash leaves behind lies in ``incoming/``, which no server hands out and the next publisher empties. Files to
which nothing leads yet are made durable together, by ``settle``: waiting for the disk once for each of ten thousand
small files takes minutes.
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sync.store.files import make_directory, space_errors, sync_directory, sync_file

TOGETHER_MIN = 4
"""From so many files on they are made durable at the same time: the file system writes its journal once for several."""
TOGETHER_MAX = 16


class Outbox:
    """Puts files into one published tree. Only the holder of the publishing lock may have one."""

    def __init__(self, published: Path, incoming: Path) -> None:
        """Empty ``incoming``, which must be on the same file system as ``published``."""
        self._published, self._incoming = published, incoming
        self._numbers = itertools.count()
        self._unsettled: set[Path] = set()
        self._undurable: list[Path] = []
        make_directory(incoming)
        for left in incoming.iterdir():
            left.unlink()

    def path(self, name: str) -> Path:
        """Return where the published file of that name lies or would lie."""
        return self._published / name

    def temporary(self) -> Path:
        """Return a new path outside the published tree, from which ``move`` can take a file."""
        return self._incoming / str(next(self._numbers))

    def put(self, name: str, data: bytes) -> None:
        """Write a file to which nothing leads yet, unless it is there with this very content; a damaged one is mended.

        Durable after ``settle``; until then a power cut may leave anything under that name.

        Raises:
            NoSpace: the disk is full.
        """
        if self._is(name, data):
            self.keep(name)
            return
        self._write(name, data, durable=False)
        self._undurable.append(self.path(name))

    def replace(self, name: str, data: bytes) -> None:
        """Write a file, and let it take the place of another that may be in use.

        Durable after ``settle``; until then there is the old one or the new one.

        Raises:
            NoSpace: the disk is full; what was there before is untouched.
        """
        self._write(name, data, durable=True)

    def keep(self, name: str) -> None:
        """Count on a file that is in place, perhaps since a crash: it is durable after ``settle``."""
        self._unsettled.add(self.path(name).parent)
        self._undurable.append(self.path(name))

    def move(self, temporary: Path, name: str) -> None:
        """Put a finished and durable file in place. Durable after ``settle``.

        Raises:
            NoSpace: the disk is full.
        """
        target = self.path(name)
        with space_errors(self._incoming, 0):
            make_directory(target.parent)
            temporary.replace(target)
        self._unsettled.add(target.parent)

    def settle(self) -> None:
        """Make everything that was put, replaced, moved or kept so far survive a power cut.

        Raises:
            NoSpace: the disk is full, and only says so now.
        """
        with space_errors(self._incoming, 0):
            if len(self._undurable) < TOGETHER_MIN:
                list(map(sync_file, self._undurable))
            else:
                with ThreadPoolExecutor(TOGETHER_MAX) as pool:
                    list(pool.map(sync_file, self._undurable))
        self._undurable.clear()
        while self._unsettled:
            sync_directory(self._unsettled.pop())

    def _write(self, name: str, data: bytes, *, durable: bool) -> None:
        temporary = self.temporary()
        try:
            with space_errors(self._incoming, len(data)), temporary.open("xb") as out:
                out.write(data)
                out.flush()
                if durable:
                    os.fsync(out.fileno())
            self.move(temporary, name)
        finally:
            temporary.unlink(missing_ok=True)

    def _is(self, name: str, data: bytes) -> bool:
        path = self.path(name)
        try:
            return path.stat().st_size == len(data) and path.read_bytes() == data
        except FileNotFoundError:
            return False
