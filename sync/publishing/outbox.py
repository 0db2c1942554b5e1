"""The way into the published tree: every file is written beside it, made durable, and put in place in one step.

What a crash leaves behind lies in ``incoming/``, which no server hands out and the next publisher empties.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from sync.store.files import make_directory, space_errors, sync_directory


class Outbox:
    """Puts files into one published tree. Only the holder of the publishing lock may have one."""

    def __init__(self, published: Path, incoming: Path) -> None:
        """Empty ``incoming``, which must be on the same file system as ``published``."""
        self._published, self._incoming = published, incoming
        self._numbers = itertools.count()
        self._unsettled: set[Path] = set()
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
        """Write the file unless it is there with this very content; a damaged one is mended.

        Durable after ``settle``.

        Raises:
            NoSpace: the disk is full; what was there before is untouched.
        """
        if self._is(name, data):
            return
        temporary = self.temporary()
        try:
            with space_errors(self._incoming, len(data)), temporary.open("xb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            self.move(temporary, name)
        finally:
            temporary.unlink(missing_ok=True)

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
        """Make everything that was put or moved so far survive a power cut."""
        while self._unsettled:
            sync_directory(self._unsettled.pop())

    def _is(self, name: str, data: bytes) -> bool:
        path = self.path(name)
        try:
            return path.stat().st_size == len(data) and path.read_bytes() == data
        except FileNotFoundError:
            return False
