"""The publishing side: writes static files that any HTTP server, bucket or USB disk can hand out.

Order of writing: chunks, manifests, snapshot object, head, targets metadata, snapshot metadata, and ``timestamp.json``
last. Each is complete and durable before the next is begun, and only ``timestamp.json`` is ever replaced, so a crash
at any point leaves the previous release readable.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from sync import Corrupt, SyncError
from sync.chunker import CHUNK_MAX_BYTES
from sync.ids import check_name, sha256_hex
from sync.manifest import OBJECT_MAX_BYTES, Manifest, decode_manifest, encode_manifest
from sync.snapshot import (
    SNAPSHOT_MAX_BYTES,
    Head,
    NamedFile,
    Snapshot,
    decode_head,
    decode_snapshot,
    encode_snapshot,
    head_of,
    head_path,
    make_snapshot,
)
from sync.store.files import locked, make_directory, write_file
from sync.trust import ANCHOR_NAME
from sync.trust.keys import Keys
from sync.trust.signing import TIMESTAMP_NAME, Ledger


class PublishError(SyncError):
    """The publisher was asked for something that makes no sense."""


class AlreadyThere(PublishError, FileExistsError):
    """There is a publishing folder already."""


class Publisher:
    """One publishing folder: ``published/`` (static files), ``keys/`` (private) and ``publish.lock``."""

    def __init__(self, root: Path) -> None:
        """Use ``init`` or ``open``."""
        self._root = root
        self._keys = Keys(root / "keys")
        self.published = root / "published"
        self.trust_anchor = self.published / "metadata" / ANCHOR_NAME

    @classmethod
    def init(cls, root: Path, now: datetime) -> Publisher:
        """Make keys and the first metadata (no channel yet).

        Raises:
            AlreadyThere: there is a publishing folder already; it was not touched.
            Busy: another process is publishing there.
        """
        publisher = cls(root)
        make_directory(root)
        with publisher._alone():
            if publisher._metadata(TIMESTAMP_NAME).exists():
                raise AlreadyThere(f"{root} already holds a publishing folder; choose another or open this one")
            publisher._keys.generate()
            publisher._write(Ledger.first(publisher._keys, now))
        return publisher

    @classmethod
    def open(cls, root: Path) -> Publisher:
        """Open an existing publishing folder.

        Raises:
            PublishError: there is none.
        """
        publisher = cls(root)
        if not publisher._metadata(TIMESTAMP_NAME).is_file():
            raise PublishError(f"{root} holds no publishing folder; make one with init")
        return publisher

    def files(self, channel: str) -> Mapping[str, NamedFile]:
        """Return what the channel holds now, by name; empty when nothing was published on it.

        Raises:
            Corrupt: the published files were damaged.
        """
        snapshot = self.snapshot(channel)
        return snapshot.files if snapshot else {}

    def snapshot(self, channel: str) -> Snapshot | None:
        """Return the channel's newest snapshot, or None when nothing was published on it.

        Raises:
            Corrupt: the published files were damaged.
        """
        return self._newest(self._ledger(), channel)

    def publish(
        self, channel: str, *, add: Mapping[str, Path | bytes], remove: Collection[str], now: datetime
    ) -> Snapshot:
        """Publish the previous snapshot of the channel with these names added or replaced, and those removed.

        Reads and writes only what is added, besides the list of names. When nothing changes, no new release is
        made (only the freshness is renewed) and the previous snapshot is returned.

        Raises:
            PublishError: a name to remove is not there, or is to be added as well.
            Corrupt: a name, length or number of files is out of bounds, or the published files were damaged.
            Busy: another process is publishing.
            NoSpace: the disk is full. In every case the previous release stays.
        """
        head_path(channel)
        for name in add:
            check_name(name)
        with self._alone():
            ledger = self._ledger()
            previous = self._newest(ledger, channel)
            files = dict(previous.files) if previous else {}
            for name in remove:
                if name in add or name not in files:
                    raise PublishError(f"cannot remove {name!r} from {channel}: it is not there, or is also added")
                del files[name]
            for name, content in add.items():
                files[name] = self._take_in(name, content)
            seq = previous.seq + 1 if previous else 1
            snapshot = make_snapshot(channel, seq, now, files.values())
            if previous and dict(previous.files) == dict(snapshot.files):
                self._write(ledger.refreshed(self._keys, now, self._taken, sure=True))
                return previous
            encoded = encode_snapshot(snapshot)
            if len(encoded) > SNAPSHOT_MAX_BYTES:
                raise Corrupt(f"the list of names takes {len(encoded)} bytes; at most {SNAPSHOT_MAX_BYTES}")
            self._write_once(self.published / "snapshots" / sha256_hex(encoded), encoded)
            head = head_of(snapshot, encoded)
            self._write_once(self._head(channel, sha256_hex(head)), head)
            self._write(ledger.naming({head_path(channel): head}, self._keys, now, self._taken, sure=True))
        return snapshot

    def read(self, channel: str, name: str) -> bytes:
        """Put one published object together again; for small ones, it is held in memory.

        Raises:
            KeyError: the channel has no object of that name.
            Corrupt: what is published was damaged.
        """
        file = self.files(channel)[name]
        raw = _read(self.published / "manifests" / file.manifest_sha256, file.manifest_sha256)
        chunks = decode_manifest(raw, sha256=file.sha256, length_bytes=file.length_bytes).chunks
        data = b"".join(_read(self.published / "chunks" / chunk[:2] / chunk, chunk) for chunk in chunks)
        if sha256_hex(data) != file.sha256:
            raise Corrupt(f"{name!r} was damaged")
        return data

    def refresh(self, now: datetime) -> None:
        """Sign a new timestamp, and whatever else would expire before it does. Do this at least every 14 days.

        Raises:
            Busy: another process is publishing.
            Corrupt: the published metadata was damaged.
        """
        with self._alone():
            self._write(self._ledger().refreshed(self._keys, now, self._taken, sure=True))

    def _newest(self, ledger: Ledger, channel: str) -> Snapshot | None:
        target = ledger.target(head_path(channel))
        if target is None:
            return None
        head_sha256 = target.hashes["sha256"]
        head: Head = decode_head(_read(self._head(channel, head_sha256), head_sha256))
        return decode_snapshot(_read(self.published / "snapshots" / head.snapshot_sha256, head.snapshot_sha256))

    def _take_in(self, name: str, content: Path | bytes) -> NamedFile:
        whole, length, chunks = hashlib.sha256(), 0, []
        with _opened(name, content) as source:
            while data := source.read(CHUNK_MAX_BYTES):
                length += len(data)
                if length > OBJECT_MAX_BYTES:
                    raise Corrupt(f"{name!r} is longer than {OBJECT_MAX_BYTES} bytes")
                whole.update(data)
                chunk = sha256_hex(data)
                self._write_once(self.published / "chunks" / chunk[:2] / chunk, data)
                chunks.append(chunk)
        manifest = encode_manifest(Manifest(whole.hexdigest(), length, tuple(chunks)))
        self._write_once(self.published / "manifests" / sha256_hex(manifest), manifest)
        return NamedFile(name, whole.hexdigest(), length, sha256_hex(manifest))

    def _write_once(self, path: Path, data: bytes) -> None:
        """Write the file unless it is there with this content already; a damaged one is mended."""
        try:
            if path.read_bytes() == data:
                return
        except FileNotFoundError:
            pass
        write_file(path, data)

    def _write(self, ledger: Ledger) -> None:
        for name, data in ledger.files():
            self._write_once(self._metadata(name), data)

    def _ledger(self) -> Ledger:
        return Ledger.read(lambda name: self._metadata(name).read_bytes())

    def _metadata(self, name: str) -> Path:
        return self.published / "metadata" / name

    def _taken(self, name: str) -> bool:
        return self._metadata(name).exists()

    def _head(self, channel: str, sha256: str) -> Path:
        folder, _, name = head_path(channel).rpartition("/")
        return self.published / "targets" / folder / f"{sha256}.{name}"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with locked(self._root / "publish.lock", f"the publishing folder {self._root}"):
            yield


def _read(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise Corrupt(f"{path} is missing") from error
    if sha256_hex(data) != sha256:
        raise Corrupt(f"{path} was damaged")
    return data


@contextmanager
def _opened(name: str, content: Path | bytes) -> Iterator[BinaryIO]:
    if isinstance(content, bytes):
        yield io.BytesIO(content)
        return
    try:
        source = content.open("rb")
    except OSError as error:
        raise PublishError(f"cannot read {content} for {name!r}: {error.strerror}") from error
    with source:
        yield source
