"""Open descriptors of stored files: one a file, held while somebody is sent its bytes or it was asked for lately."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

WARM_S = 10.0
"""A piece of a file that was in memory is taken to be there for so long."""
PIECE_BITS = 21
"""Memory is looked at by pieces of 2 MiB, and a piece that is not there is read before anything of it is sent."""
PIECE_BYTES = 1 << PIECE_BITS
WARM_MAX_COUNT = 512
"""Pieces of one file that are remembered."""


class OpenFile:
    """A stored file that is open. It stays readable when its name is gone."""

    __slots__ = ("fd", "file", "size_bytes", "users", "warm")

    def __init__(self, file: Path) -> None:
        """Open it.

        Raises:
            OSError: it is gone or cannot be read.
        """
        self.fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        self.file = file
        self.size_bytes = os.fstat(self.fd).st_size
        self.users = 1
        self.warm: dict[int, float] = {}
        """Number of a piece -> monotonic time until which it is taken to be in memory."""

    def gone(self) -> bool:
        """Tell whether the file's name is gone or its length is another: what was found must be looked up again."""
        state = os.fstat(self.fd)
        return state.st_nlink == 0 or state.st_size != self.size_bytes

    def release(self) -> None:
        """Give one use back; the last one closes."""
        self.users -= 1
        if not self.users:
            os.close(self.fd)


class Leases:
    """Files by path, the longest unused given up first."""

    def __init__(self, max_count: int) -> None:
        """``max_count`` files are held for nobody in particular; what is being sent is held besides."""
        self._max_count = max_count
        self._open: OrderedDict[Path, OpenFile] = OrderedDict()
        self.given_up = 0
        """How often a file was let go of: as long as this is the same, every file that was open still is."""

    def __len__(self) -> int:
        """Count the files held."""
        return len(self._open)

    def lease(self, file: Path) -> OpenFile:
        """Return the open file with one more user, who gives it back by ``release``.

        Raises:
            OSError: it is gone or cannot be read.
        """
        found = self._open.get(file)
        if found is not None and found.gone():
            self._drop(file)
            found = None
        if found is None:
            found = self._open[file] = OpenFile(file)
            while len(self._open) > self._max_count:
                self._drop(next(iter(self._open)))
        else:
            self._open.move_to_end(file)
        found.users += 1
        return found

    def touch(self, file: Path) -> None:
        """Note that a file is still in use."""
        if file in self._open:
            self._open.move_to_end(file)

    def clear(self) -> None:
        """Let go of everything that is not being sent."""
        while self._open:
            self._drop(next(iter(self._open)))

    def _drop(self, file: Path) -> None:
        self.given_up += 1
        self._open.pop(file).release()
