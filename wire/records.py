r"""Records of an edge on their way home: one line each, signed, numbered, chained.

A line is 128 hexadecimal digits of an Ed25519 signature (RFC 8032), a space, and a JSON object (RFC 8259) without line
breaks. The signature covers ``DOMAIN`` and the bytes of the object as they stand. ``prev`` is the SHA-256 of the bytes
of the object before, so that nothing can be taken out or changed without a gap or a broken link (SEC-09).
A spool that is made anew takes a new random ``store`` and begins at 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta

DOMAIN = b"rural-media-edge record 1\n"
RECORD_MAX_BYTES = 64 * 1024
SIGNATURE_DIGITS = 128
KEY_BYTES = 32

EdgeName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9_-]+$")]
StoreId = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$")]
Seq = Annotated[int, Meta(ge=1, le=1 << 53)]


class RecordLineError(ValueError):
    """The bytes are no record; nothing of them can be believed."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One record, of which nothing has been checked but its shape."""

    edge: EdgeName
    store: StoreId
    seq: Seq
    at: Annotated[str, Meta(max_length=32)]
    """RFC 3339 UTC, by the edge's clock."""
    sure: bool
    """Whether the edge had reason to believe its clock."""
    station: Annotated[str, Meta(max_length=64)] = ""
    kind: Annotated[str, Meta(max_length=32)]
    body: msgspec.Raw
    prev: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")]


class Line(msgspec.Struct, frozen=True):
    """A record with what it takes to check it."""

    record: Record
    payload: bytes
    signature: bytes

    @property
    def digest(self) -> str:
        """What the next record's ``prev`` must say."""
        return hashlib.sha256(self.payload).hexdigest()

    def is_signed_by(self, key: Ed25519PublicKey) -> bool:
        """Whether this key made the signature."""
        try:
            key.verify(self.signature, DOMAIN + self.payload)
        except InvalidSignature:
            return False
        return True


def write_line(record: Record, key: Ed25519PrivateKey) -> Line:
    """Sign a record.

    Raises:
        RecordLineError: a member is out of its bounds, or it is too long.
    """
    payload = msgspec.json.encode(record)
    return read_line(key.sign(DOMAIN + payload).hex().encode() + b" " + payload)


def to_bytes(line: Line) -> bytes:
    """Write a line with its line break."""
    return line.signature.hex().encode() + b" " + line.payload + b"\n"


def read_line(raw: bytes) -> Line:
    """Read one line, with or without its line break.

    Raises:
        RecordLineError: see there.
    """
    raw = raw.removesuffix(b"\n")
    if len(raw) > RECORD_MAX_BYTES:
        raise RecordLineError(f"a record of {len(raw)} bytes; at most {RECORD_MAX_BYTES}")
    digits, space, payload = raw[:SIGNATURE_DIGITS], raw[SIGNATURE_DIGITS : SIGNATURE_DIGITS + 1], raw[129:]
    if space != b" " or digits.strip(b"0123456789abcdef"):
        raise RecordLineError("a record begins with 128 hexadecimal digits and a space")
    if b"\n" in payload:
        raise RecordLineError("a record has one line")
    try:
        record = msgspec.json.decode(payload, type=Record)
    except msgspec.MsgspecError as error:
        raise RecordLineError(f"not a record: {error}") from error
    return Line(record, payload, bytes.fromhex(digits.decode()))


def read_lines(raw: bytes) -> Iterator[Line | RecordLineError]:
    """Read line by line; a line that is none is given as its error, and the next one is read."""
    for each in raw.split(b"\n"):
        if each:
            try:
                yield read_line(each)
            except RecordLineError as error:
                yield error


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What the central platform holds of one store: the answer to a delivery."""

    edge: EdgeName
    store: StoreId
    spans: Annotated[list[tuple[Seq, Seq]], Meta(max_length=10_000)]
    """First and last numbers of what is held without a gap, ascending."""
    refused: Annotated[str, Meta(max_length=500)] = ""
    """Why nothing, or not everything, of a delivery was taken; for people."""


class HeldList(msgspec.Struct, frozen=True, kw_only=True):
    """All stores that a delivery was about."""

    format: int = 1
    held: Annotated[list[Held], Meta(max_length=1000)]


def encode_held(held: list[Held]) -> bytes:
    """Write the answer."""
    return msgspec.json.encode(HeldList(held=held))


def decode_held(raw: bytes) -> list[Held]:
    """Read the answer.

    Raises:
        RecordLineError: it is none.
    """
    try:
        found = msgspec.json.decode(raw, type=HeldList)
    except msgspec.MsgspecError as error:
        raise RecordLineError(f"not a list of what is held: {error}") from error
    if found.format != 1:
        raise RecordLineError(f"a list of what is held in format {found.format}; this version reads 1")
    return found.held
