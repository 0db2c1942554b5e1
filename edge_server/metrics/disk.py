"""How full the disk is, counted at most now and then: a store of thousands of objects costs a second of a slow disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PARTS = ("objects", "derived", "staging")
"""Folders of the edge that grow: what came, what was made of it, what is on its way in."""
COUNT_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes."""

    used: dict[str, int]
    """By part."""
    free: int


class DiskCount:
    """Counts the bytes of the parts of one edge folder. Blocks: call it in a thread, one at a time."""

    def __init__(self, root: Path) -> None:
        """Count nothing yet."""
        self._root = root
        self._used: dict[str, int] = {}
        self._again_s = float("-inf")

    def read(self, now_s: float) -> Disk:
        """Return the sizes, those of the parts not older than ``COUNT_EVERY_S``, and what is free now.

        Raises:
            OSError: the disk does not answer.
        """
        if now_s >= self._again_s:
            self._used = {part: _bytes_below(self._root / part) for part in PARTS}
            self._again_s = now_s + COUNT_EVERY_S
        state = os.statvfs(self._root)
        return Disk(self._used, state.f_bavail * state.f_frsize)


def _bytes_below(folder: Path) -> int:
    """Add up what the files below a folder occupy; one that vanishes meanwhile is left out."""
    total, folders = 0, [os.fspath(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:
            continue
    return total
