"""Objects in memory: for tests and for tools that look into a snapshot without keeping it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO

from sync import Corrupt, Missing, NoSpace
from sync.ids import check_sha256, sha256_hex
from sync.manifest import Manifest


class MemoryObjects:
    """See ObjectStore; ``capacity_bytes`` bounds objects and unfinished chunks together."""

    def __init__(self, capacity_bytes: int = 256 * 1024 * 1024) -> None:
        """Begin empty."""
        self.capacity_bytes = capacity_bytes
        self.objects: dict[str, bytes] = {}
        self.staged: dict[str, list[bytes]] = {}

    def has(self, sha256: str) -> bool:
        """See ObjectStore."""
        return check_sha256(sha256) in self.objects

    def open(self, sha256: str) -> BinaryIO:
        """See ObjectStore."""
        try:
            return io.BytesIO(self.objects[check_sha256(sha256)])
        except KeyError as error:
            raise Missing(f"no object {sha256}") from error

    def begin(self, manifest: Manifest) -> MemoryIncoming:
        """See ObjectStore."""
        check_sha256(manifest.sha256)
        return MemoryIncoming(self, manifest)

    def ids(self) -> Iterator[str]:
        """See ObjectStore."""
        yield from sorted(self.objects)

    def remove(self, sha256: str) -> None:
        """See ObjectStore."""
        self.objects.pop(check_sha256(sha256), None)

    def staged_bytes(self, sha256: str) -> int:
        """See ObjectStore."""
        return sum(map(len, self.staged.get(check_sha256(sha256), ())))

    def prune_staged(self, keep: Callable[[str], bool]) -> None:
        """See ObjectStore."""
        self.staged = {sha256: chunks for sha256, chunks in self.staged.items() if keep(sha256)}

    def free_bytes(self) -> int:
        """See ObjectStore."""
        return self.capacity_bytes - sum(map(len, self.objects.values())) - sum(map(self.staged_bytes, self.staged))


class MemoryIncoming:
    """See Incoming."""

    def __init__(self, store: MemoryObjects, manifest: Manifest) -> None:
        """Take up what an earlier attempt left, as far as its hashes are right."""
        self._store, self._manifest = store, manifest
        chunks = store.staged.setdefault(manifest.sha256, [])
        good = 0
        while good < min(len(chunks), len(manifest.chunks)) and sha256_hex(chunks[good]) == manifest.chunks[good]:
            good += 1
        del chunks[good:]
        self._chunks = chunks

    @property
    def held_chunks(self) -> int:
        """See Incoming."""
        return len(self._chunks)

    def append(self, data: bytes) -> None:
        """See Incoming."""
        held = self.held_chunks
        if held >= len(self._manifest.chunks) or sha256_hex(data) != self._manifest.chunks[held]:
            raise Corrupt(f"chunk {held} of object {self._manifest.sha256} is not the signed one")
        if len(data) > (free := self._store.free_bytes()):
            raise NoSpace(len(data), free)
        self._chunks.append(data)

    def commit(self) -> None:
        """See Incoming."""
        whole = b"".join(self._chunks)
        self._store.staged.pop(self._manifest.sha256, None)
        if sha256_hex(whole) != self._manifest.sha256:
            raise Corrupt(f"the chunks of object {self._manifest.sha256} do not make up that object")
        self._store.objects[self._manifest.sha256] = whole

    def close(self) -> None:
        """See Incoming."""
