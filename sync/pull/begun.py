"""Units of which a part came: kept in memory over a break, and the long ones on disk, in case the process is killed.

Nothing of this is believed: the hash of the whole unit decides. But when it does not fit, the fault may be that of the
disk or of an earlier source, so nobody is blamed and the unit is fetched anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from sync.store.files import space_errors
from sync.want import WantedUnit

SUFFIX = ".begun"
KEPT_MAX = 8
"""Units in memory; as many as there are requests at a time would do."""

Key = tuple[str, int, int]
"""Pack, offset and stored length of a unit."""


def key_of(unit: WantedUnit) -> Key:
    """Return the key of a unit."""
    return unit.pack, unit.offset, unit.stored


class Begun:
    """Kept from one pull to the next."""

    def __init__(self, folder: Path) -> None:
        """Use files in that folder; ``look`` before the first use."""
        self._folder = folder
        self._kept: dict[Key, bytes] = {}
        self._on_disk: dict[str, int] = {}
        """Bytes by name of the file."""

    def look(self) -> None:
        """Find out what an earlier process left. Reads the disk."""
        self._on_disk = {path.name: path.stat().st_size for path in self._folder.glob(f"*{SUFFIX}")}

    def knows(self, unit: WantedUnit) -> bool:
        """Tell whether a part of the unit is there."""
        return key_of(unit) in self._kept or self._path(key_of(unit)).name in self._on_disk

    def spilled_bytes(self, unit: WantedUnit) -> int:
        """Return how many bytes of the unit are on disk."""
        return self._on_disk.get(self._path(key_of(unit)).name, 0)

    def keep(self, key: Key, data: bytes) -> None:
        """Keep in memory what came so far."""
        self._kept.pop(key, None)
        self._kept[key] = data
        while len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]

    def take(self, unit: WantedUnit) -> bytes:
        """Return what is there of a unit, less than the whole. May read the disk."""
        key = key_of(unit)
        data = self._kept.pop(key, b"")
        if not data:
            try:
                data = self._path(key).read_bytes()
            except OSError:
                return b""
        return data[: unit.stored - 1]

    def write(self, key: Key, position: int, data: bytes) -> None:
        """Put bytes of a unit on disk. Does not last through a power cut.

        Raises:
            NoSpace: the disk is full.
        """
        path, end = self._path(key), position + len(data)
        with space_errors(self._folder, len(data)):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.ftruncate(file, position)
                while data:
                    done = os.pwrite(file, data, position)
                    data, position = data[done:], position + done
            finally:
                os.close(file)
        self._on_disk[path.name] = end

    def drop(self, units: Iterable[WantedUnit]) -> None:
        """Forget units that came as a whole."""
        for unit in units:
            path = self._path(key_of(unit))
            if self._on_disk.pop(path.name, None) is not None:
                path.unlink(missing_ok=True)

    def _path(self, key: Key) -> Path:
        pack, offset, stored = key
        return self._folder / f"{pack}.{offset}.{stored}{SUFFIX}"
