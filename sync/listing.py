"""What a channel holds at one moment: names, the objects under them, and one hash over all of it.

``docs/formats/sync.md`` §2 (names and numbers) and §7 (listing hash). A listing never travels as such: releases change
it (``sync.release``), the head names its hash. The JSON written here is the local file of an edge or publisher.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from types import MappingProxyType
from typing import TypeVar

import msgspec

from sync import Corrupt, TooLong
from sync.ids import check_channel, check_name, check_sha256
from sync.recipe import OBJECT_MAX_BYTES

LISTING_FORMAT = 2
FILES_MAX = 400_000
PRIORITY_MAX = 3
EVICTABLE = 3
"""The priority of objects that may be evicted; all below are pinned."""
SEQ_MAX = 2**53 - 1
"""Whole numbers up to here survive every JSON reader."""
LISTING_MAX_BYTES = 256 * 1024 * 1024
"""Of the local file: FILES_MAX files with names of about 500 bytes."""

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_ROOT_FILES = 4096
"""Files hashed at a time, so that a large listing is not doubled in memory."""

_PART = r"(?!\.{1,2}(?:/|\Z))[^/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]+"
_PLAIN_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_PLAIN_NAME_MAX = 128
"""Letters that take at most NAME_MAX_BYTES in UTF-8, whatever they are."""
_HASHES = re.compile(r"[0-9a-f]{128}")

S = TypeVar("S", bound=msgspec.Struct)


class NamedFile(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One file of a listing. In JSON: an array of these five fields in this order."""

    path: str
    sha256: str
    """Of the object."""
    length_bytes: int
    """Of the object."""
    recipe_sha256: str
    """Of the raw recipe (§7)."""
    priority: int = 2
    """0 texts and catalogue, 1 pictures and subtitles, 2 lessons that must stay, 3 lessons that may be evicted."""

    @property
    def pinned(self) -> bool:
        """Whether an edge must keep it, however full the disk is."""
        return self.priority < EVICTABLE


@dataclass(frozen=True)
class Listing:
    """Everything that one channel holds after a release, under its names."""

    channel: str
    seq: int
    """1 for the first release of a channel, then one more each time."""
    issued: datetime
    """UTC, whole seconds, by the publisher's clock."""
    files: Mapping[str, NamedFile]
    """Ordered by the UTF-8 bytes of the path."""


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    channel: str
    seq: int
    issued: str
    files: list[NamedFile]


def make_listing(channel: str, seq: int, issued: datetime, files: Iterable[NamedFile]) -> Listing:
    """Check every field and put the files in order.

    Raises:
        Corrupt: a name, hash, number or count out of bounds, two files of one name, or an object with two lengths or
            two recipes.
    """
    check_channel(channel)
    if not 1 <= seq <= SEQ_MAX:
        raise Corrupt(f"seq {seq} is out of bounds")
    # The order of code points is the order of UTF-8 bytes.
    ordered = sorted(files, key=lambda file: file.path)
    check_files(ordered)
    return Listing(channel, seq, whole_second(issued), MappingProxyType({file.path: file for file in ordered}))


def listing_root(listing: Listing) -> str:
    """Return the listing hash of §7 in hexadecimal digits: what the signed head says about all files."""
    root = hashlib.sha256()
    files = iter(listing.files.values())
    while block := list(islice(files, _ROOT_FILES)):
        lines = [f"{f.path}\0{f.sha256}\0{f.length_bytes}\0{f.recipe_sha256}\0{f.priority}\n" for f in block]
        root.update("".join(lines).encode())
    return root.hexdigest()


def encode_listing(listing: Listing) -> bytes:
    """Write the local file; the same bytes for the same value."""
    wire = _Wire(
        format=LISTING_FORMAT,
        channel=listing.channel,
        seq=listing.seq,
        issued=write_moment(listing.issued),
        files=list(listing.files.values()),
    )
    return msgspec.json.encode(wire)


def decode_listing(raw: bytes) -> Listing:
    """Read the local file.

    Raises:
        TooLong: more than LISTING_MAX_BYTES.
        Corrupt: not JSON of this shape, another format, out of order, or a field out of bounds.
    """
    if len(raw) > LISTING_MAX_BYTES:
        raise TooLong(f"listing of {len(raw)} bytes; at most {LISTING_MAX_BYTES}")
    wire = decode_json(raw, _Wire, "listing")
    check_format(wire.format, LISTING_FORMAT)
    check_channel(wire.channel)
    if not 1 <= wire.seq <= SEQ_MAX:
        raise Corrupt(f"seq {wire.seq} is out of bounds")
    check_files(wire.files)
    files = {file.path: file for file in wire.files}
    return Listing(wire.channel, wire.seq, read_moment(wire.issued), MappingProxyType(files))


def check_files(files: Sequence[NamedFile]) -> None:
    """Check all fields, the order of the names, and that each object has one length and one recipe.

    Raises:
        Corrupt: as said.
    """
    if len(files) > FILES_MAX:
        raise Corrupt(f"{len(files)} files; at most {FILES_MAX}")
    shapes: dict[str, tuple[int, str]] = {}
    for file in files:
        if not _HASHES.fullmatch(file.sha256 + file.recipe_sha256) or len(file.sha256) != 64:
            check_sha256(file.sha256)
            check_sha256(file.recipe_sha256)
        if not 0 <= file.length_bytes <= OBJECT_MAX_BYTES:
            raise Corrupt(f"{file.path!r} has {file.length_bytes} bytes; at most {OBJECT_MAX_BYTES}")
        if not 0 <= file.priority <= PRIORITY_MAX:
            raise Corrupt(f"{file.path!r} has priority {file.priority}; at most {PRIORITY_MAX}")
        shape = (file.length_bytes, file.recipe_sha256)
        if shapes.setdefault(file.sha256, shape) != shape:
            raise Corrupt(f"object {file.sha256[:8]}… is described in two ways")
    check_names([file.path for file in files])


def check_names(names: Sequence[str]) -> None:
    """Check names and that they ascend by their UTF-8 bytes, none twice.

    Raises:
        Corrupt: too many, a bad name, out of order, or twice.
    """
    if len(names) > FILES_MAX:
        raise Corrupt(f"{len(names)} names; at most {FILES_MAX}")
    before = ""
    for name in names:
        if len(name) > _PLAIN_NAME_MAX or not _PLAIN_NAME.fullmatch(name):
            check_name(name)
        if name <= before:
            raise Corrupt(f"names must ascend by their bytes, none twice: {before[:80]!r} before {name[:80]!r}")
        before = name


def check_format(found: int, wanted: int) -> None:
    """Refuse a document of another format number.

    Raises:
        Corrupt: the numbers differ.
    """
    if found != wanted:
        raise Corrupt(f"format {found}; this version reads {wanted}: update the software")


def decode_json(raw: bytes | memoryview, kind: type[S], what: str) -> S:
    """Read JSON of a shape; ``what`` names it for people. Unknown members are ignored.

    Raises:
        Corrupt: not JSON, or not of this shape.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"not a {what} document: {str(error)[:200]}") from error


def whole_second(moment: datetime) -> datetime:
    """Return the moment in UTC, cut to whole seconds.

    Raises:
        Corrupt: the moment has no time zone.
    """
    if moment.utcoffset() is None:
        raise Corrupt("a time needs a time zone")
    return moment.astimezone(UTC).replace(microsecond=0)


def write_moment(moment: datetime) -> str:
    """Write a time as §2 spells it."""
    return moment.astimezone(UTC).strftime(_TIME)


def read_moment(text: str) -> datetime:
    """Read a time of §2.

    Raises:
        Corrupt: another spelling.
    """
    try:
        moment = datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise Corrupt(f"time {text[:40]!r} is not of the form 2026-01-31T23:59:59Z") from error
    if moment.strftime(_TIME) != text:
        raise Corrupt(f"time {text[:40]!r} is not of the form 2026-01-31T23:59:59Z")
    return moment
