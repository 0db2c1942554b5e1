"""Packs: units back to back, at most PACK_MAX_BYTES, named by the hash of the whole (``docs/formats/sync.md`` §9)."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from sync import Corrupt
from sync.ids import check_sha256
from sync.patch import expand
from sync.places import PACK_MAX_BYTES
from sync.publishing.outbox import Outbox
from sync.recipe import UNIT_MAX_BYTES
from sync.store.files import space_errors

OPEN_PACKS_MAX = 32
"""Packs that are mapped at a time while units are looked at again."""
WRITE_BUFFER_BYTES = 1024 * 1024


def pack_path(sha256: str) -> str:
    """Return the name of the pack, relative to the base."""
    return f"packs/{check_sha256(sha256)[:2]}/{sha256}"


class PackWriter:
    """Writes one pack after the other; each is in place and durable before it is reported."""

    def __init__(self, outbox: Outbox, finished: Callable[[int, str, int], None]) -> None:
        """``finished`` is told the number of a pack (0, 1, …), its hash and its length in bytes."""
        self._outbox, self._finished = outbox, finished
        self._number = 0
        self._length = 0
        self._hash = hashlib.sha256()
        self._path: Path | None = None
        self._out: BinaryIO | None = None

    def append(self, stored: bytes) -> tuple[int, int]:
        """Append one unit; return the number of its pack and its offset there in bytes.

        Raises:
            NoSpace: the disk is full.
        """
        if self._length + len(stored) > PACK_MAX_BYTES:
            self.finish()
        with space_errors(self._outbox.path(""), len(stored)):
            if self._out is None:
                self._path = self._outbox.temporary()
                self._out = self._path.open("xb", buffering=WRITE_BUFFER_BYTES)
            self._out.write(stored)
        self._hash.update(stored)
        offset, self._length = self._length, self._length + len(stored)
        return self._number, offset

    def finish(self) -> None:
        """Put the current pack in place, if there is one.

        Raises:
            NoSpace: the disk is full.
        """
        if self._out is None or self._path is None:
            return
        with space_errors(self._outbox.path(""), self._length):
            self._out.flush()
            os.fsync(self._out.fileno())
            self._out.close()
        sha256 = self._hash.hexdigest()
        self._outbox.move(self._path, pack_path(sha256))
        self._outbox.settle()
        number, length = self._number, self._length
        self._number, self._length, self._hash, self._path, self._out = number + 1, 0, hashlib.sha256(), None, None
        self._finished(number, sha256, length)

    def abandon(self) -> None:
        """Throw the current pack away."""
        if self._out is not None and self._path is not None:
            with suppress(OSError):  # a full buffer on a full disk; the handle is gone all the same
                self._out.close()
            self._path.unlink(missing_ok=True)
        self._out = self._path = None


class PackShelf:
    """Reads units out of published packs."""

    def __init__(self, published: Path) -> None:
        """Nothing is opened yet."""
        self._published = published
        self._maps: OrderedDict[str, memoryview | None] = OrderedDict()

    def unit(self, pack: str, offset: int, stored: int, length: int, digest: bytes) -> bytes | memoryview:
        """Return the unit that lies there.

        Raises:
            Corrupt: there is no such pack, or other bytes lie there.
        """
        view = self._view(pack)
        if view is None or offset + stored > len(view) or length > UNIT_MAX_BYTES:
            raise Corrupt(f"pack {pack[:8]}… is missing or too short")
        data: bytes | memoryview = view[offset : offset + stored]
        if stored < length:
            data = expand(data, length, most=UNIT_MAX_BYTES)
        if hashlib.sha256(data).digest() != digest:
            raise Corrupt(f"a unit in pack {pack[:8]}… was damaged")
        return data

    def holds(self, pack: str, offset: int, stored: int, length: int, digest: bytes) -> bool:
        """Tell whether that unit lies there undamaged."""
        try:
            self.unit(pack, offset, stored, length, digest)
        except Corrupt:
            return False
        return True

    def close(self) -> None:
        """Let go of all packs."""
        self._maps.clear()

    def _view(self, pack: str) -> memoryview | None:
        if pack not in self._maps:
            while len(self._maps) >= OPEN_PACKS_MAX:
                self._maps.popitem(last=False)
            self._maps[pack] = mapped(self._published / pack_path(pack))
        self._maps.move_to_end(pack)
        return self._maps[pack]


def mapped(path: Path) -> memoryview | None:
    """Map a whole file for reading; None when it is not there. Unmapped when nothing refers to it any more."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        return None
