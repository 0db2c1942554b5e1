"""What a channel holds at one moment, and the signed head that points to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TypeVar

import msgspec

from sync import Corrupt
from sync.ids import check_channel, check_name, check_sha256, sha256_hex
from sync.manifest import OBJECT_MAX_BYTES

SNAPSHOT_FORMAT = 1
HEAD_FORMAT = 1
FILES_MAX = 200_000
SNAPSHOT_MAX_BYTES = 96 * 1024 * 1024
HEAD_MAX_BYTES = 2048
SEQ_MAX = 2**53 - 1
"""Whole numbers up to here survive every JSON reader."""

_TIME = "%Y-%m-%dT%H:%M:%SZ"


class NamedFile(msgspec.Struct, frozen=True, array_like=True):
    """One file of a snapshot. On the wire: a JSON array of these four fields in this order."""

    path: str
    sha256: str
    length_bytes: int
    manifest_sha256: str


@dataclass(frozen=True)
class Snapshot:
    """Everything that one channel holds, under its names."""

    channel: str
    seq: int
    """1 for the first release of a channel, then one more each time."""
    issued: datetime
    """UTC, whole seconds, by the publisher's clock."""
    files: Mapping[str, NamedFile]
    """Ordered by the UTF-8 bytes of the path."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The only file of a channel that the signed metadata names. Unknown members are ignored (they are signed)."""

    format: int
    channel: str
    seq: int
    issued: str
    snapshot_sha256: str
    snapshot_length_bytes: int

    @property
    def issued_at(self) -> datetime:
        """When the publisher signed it, UTC."""
        return _moment(self.issued)


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    channel: str
    seq: int
    issued: str
    files: list[NamedFile]


W = TypeVar("W", _Wire, Head)


def make_snapshot(channel: str, seq: int, issued: datetime, files: Iterable[NamedFile]) -> Snapshot:
    """Check every field and put the files in order.

    Raises:
        Corrupt: a name, hash, length or count out of bounds, or two files of one name.
    """
    check_channel(channel)
    if not 1 <= seq <= SEQ_MAX:
        raise Corrupt(f"seq {seq} is out of bounds")
    if issued.utcoffset() is None:
        raise Corrupt("issued needs a time zone")
    ordered = sorted(files, key=_order)
    if len(ordered) > FILES_MAX:
        raise Corrupt(f"snapshot of {len(ordered)} files; at most {FILES_MAX}")
    lengths: dict[str, tuple[int, str]] = {}
    for file in ordered:
        check_name(file.path)
        check_sha256(file.sha256)
        check_sha256(file.manifest_sha256)
        if not 0 <= file.length_bytes <= OBJECT_MAX_BYTES:
            raise Corrupt(f"{file.path!r} has {file.length_bytes} bytes; at most {OBJECT_MAX_BYTES}")
        shape = (file.length_bytes, file.manifest_sha256)
        if lengths.setdefault(file.sha256, shape) != shape:
            raise Corrupt(f"object {file.sha256[:8]}… is described in two ways")
    by_path = {file.path: file for file in ordered}
    if len(by_path) != len(ordered):
        raise Corrupt("two files of one name")
    return Snapshot(channel, seq, issued.astimezone(UTC).replace(microsecond=0), MappingProxyType(by_path))


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Write the snapshot object; the same bytes for the same value."""
    wire = _Wire(
        format=SNAPSHOT_FORMAT,
        channel=snapshot.channel,
        seq=snapshot.seq,
        issued=snapshot.issued.strftime(_TIME),
        files=list(snapshot.files.values()),
    )
    return msgspec.json.encode(wire)


def decode_snapshot(raw: bytes) -> Snapshot:
    """Read a snapshot object.

    Raises:
        Corrupt: too large, not JSON of this shape, another format, out of order, or a field out of bounds.
    """
    if len(raw) > SNAPSHOT_MAX_BYTES:
        raise Corrupt(f"snapshot object of {len(raw)} bytes; at most {SNAPSHOT_MAX_BYTES}")
    wire = _decode(raw, _Wire, SNAPSHOT_FORMAT)
    snapshot = make_snapshot(wire.channel, wire.seq, _moment(wire.issued), wire.files)
    if list(snapshot.files.values()) != wire.files:
        raise Corrupt("the files of a snapshot must be ordered by the bytes of their names")
    return snapshot


def head_of(snapshot: Snapshot, encoded: bytes) -> bytes:
    """Write the head that points to the encoded snapshot object."""
    head = Head(
        format=HEAD_FORMAT,
        channel=snapshot.channel,
        seq=snapshot.seq,
        issued=snapshot.issued.strftime(_TIME),
        snapshot_sha256=sha256_hex(encoded),
        snapshot_length_bytes=len(encoded),
    )
    return msgspec.json.encode(head)


def decode_head(raw: bytes) -> Head:
    """Read a head.

    Raises:
        Corrupt: too large, not JSON of this shape, another format, or a field out of bounds.
    """
    if len(raw) > HEAD_MAX_BYTES:
        raise Corrupt(f"head of {len(raw)} bytes; at most {HEAD_MAX_BYTES}")
    head = _decode(raw, Head, HEAD_FORMAT)
    check_channel(head.channel)
    check_sha256(head.snapshot_sha256)
    _moment(head.issued)
    if not 1 <= head.seq <= SEQ_MAX or not 1 <= head.snapshot_length_bytes <= SNAPSHOT_MAX_BYTES:
        raise Corrupt("head with a number out of bounds")
    return head


def head_path(channel: str) -> str:
    """Return the name of the channel's head in the signed metadata."""
    return f"ch/{check_channel(channel)}/head.json"


def _order(file: NamedFile) -> bytes:
    return file.path.encode(errors="surrogatepass")


def _decode(raw: bytes, kind: type[W], number: int) -> W:
    try:
        value = msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"not a {kind.__name__.lstrip('_').lower()} document: {error}") from error
    if value.format != number:
        raise Corrupt(f"format {value.format}; this version reads {number}: update the software")
    return value


def _moment(text: str) -> datetime:
    try:
        moment = datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise Corrupt(f"time {text[:40]!r} is not of the form 2026-01-31T23:59:59Z") from error
    if moment.strftime(_TIME) != text:
        raise Corrupt(f"time {text[:40]!r} is not of the form 2026-01-31T23:59:59Z")
    return moment
