"""Objects as read-only files, unfinished ones beside them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from sync import Corrupt, Missing
from sync.ids import check_sha256, is_sha256, sha256_hex
from sync.manifest import Manifest
from sync.store.files import make_directory, space_errors, sync_directory

PART_SUFFIX = ".part"


class DiskObjects:
    """``objects/ab/<sha256>`` (mode 0444) and ``staging/<sha256>.part`` on the same file system."""

    def __init__(self, objects: Path, staging: Path) -> None:
        """Create both folders if need be."""
        self._objects, self._staging = objects, staging
        make_directory(objects)
        make_directory(staging)

    def path(self, sha256: str) -> Path:
        """Return where the object lies or would lie."""
        return self._objects / check_sha256(sha256)[:2] / sha256

    def has(self, sha256: str) -> bool:
        """See ObjectStore."""
        return self.path(sha256).is_file()

    def open(self, sha256: str) -> BinaryIO:
        """See ObjectStore."""
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError as error:
            raise Missing(f"no object {sha256}") from error

    def begin(self, manifest: Manifest) -> DiskIncoming:
        """See ObjectStore."""
        return DiskIncoming(manifest, self._part(manifest.sha256), self.path(manifest.sha256))

    def ids(self) -> Iterator[str]:
        """See ObjectStore."""
        for folder in sorted(self._objects.iterdir()):
            yield from sorted(entry.name for entry in folder.iterdir() if is_sha256(entry.name))

    def remove(self, sha256: str) -> None:
        """See ObjectStore."""
        self.path(sha256).unlink(missing_ok=True)

    def staged_bytes(self, sha256: str) -> int:
        """See ObjectStore."""
        try:
            return self._part(sha256).stat().st_size
        except FileNotFoundError:
            return 0

    def prune_staged(self, keep: Callable[[str], bool]) -> None:
        """See ObjectStore."""
        for entry in self._staging.iterdir():
            name = entry.name.removesuffix(PART_SUFFIX)
            if not (is_sha256(name) and keep(name)):
                entry.unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """See ObjectStore."""
        return shutil.disk_usage(self._objects).free

    def _part(self, sha256: str) -> Path:
        return self._staging / (check_sha256(sha256) + PART_SUFFIX)


class DiskIncoming:
    """See Incoming."""

    def __init__(self, manifest: Manifest, part: Path, final: Path) -> None:
        """Take up what an earlier attempt left, as far as its hashes are right."""
        self._manifest, self._part, self._final = manifest, part, final
        self._whole = hashlib.sha256()
        self._held = 0
        if part.exists():
            part.chmod(0o644)  # a commit that was cut off may have made it read-only
        self._file = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        try:
            self._resume()
        except BaseException:
            self._file.close()
            raise

    def _resume(self) -> None:
        end = 0
        for index, expected in enumerate(self._manifest.chunks):
            data = _read(self._file, self._manifest.chunk_bytes(index))
            if sha256_hex(data) != expected:
                break
            self._whole.update(data)
            self._held, end = index + 1, end + len(data)
        self._file.truncate(end)
        self._file.seek(end)

    @property
    def held_chunks(self) -> int:
        """See Incoming."""
        return self._held

    def append(self, data: bytes) -> None:
        """See Incoming. Durable when it returns, so that a power cut costs at most the chunk under way."""
        if self._held >= len(self._manifest.chunks) or sha256_hex(data) != self._manifest.chunks[self._held]:
            raise Corrupt(f"chunk {self._held} of object {self._manifest.sha256} is not the signed one")
        end = self._file.tell()
        try:
            with space_errors(self._part.parent, len(data)):
                _write(self._file, data)
                os.fdatasync(self._file.fileno())
        except BaseException:
            self._file.truncate(end)
            self._file.seek(end)
            raise
        self._whole.update(data)
        self._held += 1

    def commit(self) -> None:
        """See Incoming."""
        if self._held != len(self._manifest.chunks) or self._whole.hexdigest() != self._manifest.sha256:
            self._file.close()
            self._part.unlink(missing_ok=True)
            raise Corrupt(f"the chunks of object {self._manifest.sha256} do not make up that object")
        os.fchmod(self._file.fileno(), 0o444)
        os.fsync(self._file.fileno())
        self._file.close()
        make_directory(self._final.parent)
        self._part.replace(self._final)
        sync_directory(self._final.parent)

    def close(self) -> None:
        """See Incoming."""
        self._file.close()


def _read(file: BinaryIO, length: int) -> bytes:
    parts, left = [], length
    while left and (data := file.read(left)):
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


def _write(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
