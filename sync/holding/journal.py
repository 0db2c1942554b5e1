"""Which units of an unfinished object are in its part file already.

``staging/<sha256>.units``: 32 bytes that name the cut (the hash of all unit hashes), then a big-endian u32 for each
unit that was written: its ordinal plus one, so that zeros, which a power cut may leave behind, mean nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sync.store.files import space_errors

MARK_BYTES = 32
_ENTRY_BYTES = 4


class Journal:
    """An entry is appended after the bytes of its unit were written, in the same process: ``kill -9`` keeps both.

    A power cut may keep the entry and lose the bytes; who commits an object therefore hashes all of it.
    """

    def __init__(self, path: Path, mark: bytes, units: int) -> None:
        """Open or begin the journal.

        Args:
            path: Where it lies.
            mark: MARK_BYTES that name the cut; a journal of another cut is begun anew.
            units: How many units the object has; entries beyond are litter.
        """
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.is_new: bool
        """True when there was no journal of this cut."""
        self.entries: NDArray[np.int64]
        """The ordinals that were in it, as far as they can be ordinals."""
        try:
            raw = _read_whole(self._file)
            self.is_new = raw[:MARK_BYTES] != mark
            whole = len(raw) - (len(raw) - MARK_BYTES) % _ENTRY_BYTES
            values = np.frombuffer(b"" if self.is_new else raw[MARK_BYTES:whole], dtype=">u4").astype(np.int64) - 1
            self.entries = values[(values >= 0) & (values < units)]
            self._end = whole
            if self.is_new:
                self.restart(mark)
        except BaseException:
            os.close(self._file)
            raise

    def restart(self, mark: bytes, ordinals: Sequence[int] | NDArray[np.int64] = ()) -> None:
        """Forget every entry and begin with these."""
        os.ftruncate(self._file, 0)
        self._end = 0
        self._write(mark)
        self.append(ordinals)

    def append(self, ordinals: Sequence[int] | NDArray[np.int64]) -> None:
        """Note that these units are in the part file.

        Raises:
            NoSpace: the disk is full; nothing was noted.
        """
        if len(ordinals):
            self._write((np.asarray(ordinals, dtype=np.int64) + 1).astype(">u4").tobytes())

    def sync(self) -> None:
        """Make the entries survive a power cut; call it after the same was done for the part."""
        os.fdatasync(self._file)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def remove(self) -> None:
        """Drop the file."""
        self._path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        with space_errors(self._path.parent, len(data)):
            done = 0
            while done < len(data):  # at a known place: a torn entry is written over, not continued
                done += os.pwrite(self._file, data[done:], self._end + done)
        self._end += len(data)


def _read_whole(file: int) -> bytes:
    parts: list[bytes] = []
    at = 0
    while data := os.pread(file, 1 << 20, at):
        parts.append(data)
        at += len(data)
    return b"".join(parts)
