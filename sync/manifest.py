"""How one object is put together from chunks.

A manifest is binary and its length follows from the object's length, so a signed object length bounds the manifest
too. The layout is in ``docs/formats/sync.md``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sync import Corrupt
from sync.chunker import CHUNK_MAX_BYTES, chunk_count, spans
from sync.ids import check_sha256, sha256_hex

OBJECT_MAX_BYTES = 64 * 1024**3
MAGIC = b"RMF1"
_HEAD = struct.Struct(">4sIQ32s")
_HASH_BYTES = 32


@dataclass(frozen=True)
class Manifest:
    """The chunks of one object, in order."""

    sha256: str
    """Of the whole object."""
    length_bytes: int
    chunks: tuple[str, ...]
    """SHA-256 of each chunk."""

    def chunk_bytes(self, index: int) -> int:
        """Return the length of that chunk."""
        return min(CHUNK_MAX_BYTES, self.length_bytes - index * CHUNK_MAX_BYTES)


def manifest_bytes(length_bytes: int) -> int:
    """Return the length of the manifest of an object of that length."""
    return _HEAD.size + _HASH_BYTES * chunk_count(length_bytes)


def implied_manifest(sha256: str, length_bytes: int) -> Manifest | None:
    """Return the manifest of an object of at most one chunk, which nobody needs to fetch; None for longer ones."""
    if length_bytes > CHUNK_MAX_BYTES:
        return None
    return Manifest(sha256, length_bytes, (sha256,) * chunk_count(length_bytes))


def encode_manifest(manifest: Manifest) -> bytes:
    """Write the manifest; the same bytes for the same value."""
    head = _HEAD.pack(MAGIC, CHUNK_MAX_BYTES, manifest.length_bytes, bytes.fromhex(manifest.sha256))
    return head + b"".join(bytes.fromhex(each) for each in manifest.chunks)


def decode_manifest(raw: bytes, *, sha256: str, length_bytes: int) -> Manifest:
    """Read the manifest of the object that a snapshot names.

    Raises:
        Corrupt: not a manifest of this format, or one of another object.
    """
    check_sha256(sha256)
    if not 0 <= length_bytes <= OBJECT_MAX_BYTES:
        raise Corrupt(f"object of {length_bytes} bytes; at most {OBJECT_MAX_BYTES}")
    if len(raw) != manifest_bytes(length_bytes):
        raise Corrupt(f"manifest of {sha256[:8]}… has {len(raw)} bytes, not {manifest_bytes(length_bytes)}")
    magic, chunk_bytes, length, whole = _HEAD.unpack_from(raw)
    if (magic, chunk_bytes, length, whole.hex()) != (MAGIC, CHUNK_MAX_BYTES, length_bytes, sha256):
        raise Corrupt(f"manifest of {sha256[:8]}… describes another object or has another format")
    hashes = raw[_HEAD.size :]
    chunks = tuple(hashes[at : at + _HASH_BYTES].hex() for at in range(0, len(hashes), _HASH_BYTES))
    return Manifest(sha256, length_bytes, chunks)


def manifest_of(data: bytes) -> Manifest:
    """Return the manifest of bytes that are at hand."""
    view = memoryview(data)
    return Manifest(sha256_hex(data), len(data), tuple(sha256_hex(view[a:b]) for a, b in spans(len(data))))
