"""The label of a bundle, ``bundle.json``: what is on this stick. For people and early checks; never trusted.

It is the last file that is written, so a stick without it is unfinished. ``check``, its last member, is the
hash of the label with ``check`` empty: a single wrong byte is found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from sync import Corrupt, TooLong
from sync.bundle.names import hash_in, is_pack, longest_bytes
from sync.ids import check_channel, is_sha256, sha256_hex
from sync.listing import SEQ_MAX, decode_json, read_moment

LABEL_FORMAT = 1
LABEL_MAX_BYTES = 64 * 1024 * 1024
FILES_MAX = 400_000
"""On one stick."""
PARTS_MAX = 1000
CHANNELS_MAX = 4096

_NO_CHECK = b'""}'
"""How a label ends whose ``check`` is empty."""
_HASH_DIGITS = 64
_FIXED_MOST_BYTES = 2048
_LINE_MOST_BYTES = 96
_CHANNEL_MOST_BYTES = 128

Seq = Annotated[int, Meta(ge=0, le=SEQ_MAX)]
Span = tuple[Seq, Annotated[int, Meta(ge=1, le=SEQ_MAX)]]
"""Release that an edge must hold at least (0: none), and the release that the bundle brings."""


class Listed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One file of a stick. In JSON: an array of these three fields."""

    name: str
    length_bytes: int
    sha256: str


class Elsewhere(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A pack that lies on another stick of the set. In JSON: an array of these three fields."""

    part: int
    name: str
    length_bytes: int


class Label(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``bundle.json`` says."""

    format: int
    bundle: str
    """Hash over what all sticks of the set hold together; see ``bundle_id``."""
    part: int
    """1 … parts."""
    parts: int
    area: str
    """For whom; empty = for every area."""
    issued: str
    """When this stick was written, UTC."""
    channels: Annotated[dict[str, Span], Meta(max_length=CHANNELS_MAX)]
    files: Annotated[list[Listed], Meta(max_length=FILES_MAX)]
    """Of this stick, but for the label itself; by name."""
    elsewhere: Annotated[list[Elsewhere], Meta(max_length=FILES_MAX)]
    """By name."""
    check: str = ""


class OtherFormat(Corrupt):
    """Written by another version of this program."""


class _Format(msgspec.Struct, frozen=True):
    format: int


@dataclass(frozen=True)
class Content:
    """What all sticks of a set hold together."""

    area: str
    channels: Mapping[str, tuple[int, int]]
    small: tuple[Listed, ...]
    """On every stick; without the timestamp, which is signed anew for each."""
    packs: tuple[tuple[Listed, ...], ...]
    """One entry for each stick."""


def bundle_id(content: Content) -> str:
    """Return the hash that names a set of sticks: the same for the same content, split in the same way."""
    digest = hashlib.sha256(msgspec.json.encode([content.area, sorted(content.channels.items())]))
    for files in (content.small, *content.packs):
        for file in files:
            digest.update(f"{file.name}\0{file.length_bytes}\0{file.sha256}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()


def make_label(content: Content, part: int, timestamp: Listed, issued: str) -> Label:
    """Return the label of one stick.

    Raises:
        Corrupt: too many files or sticks, or a number or name out of bounds.
    """
    elsewhere = (
        Elsewhere(number, file.name, file.length_bytes)
        for number, files in enumerate(content.packs, start=1)
        if number != part
        for file in files
    )
    label = Label(
        format=LABEL_FORMAT,
        bundle=bundle_id(content),
        part=part,
        parts=len(content.packs),
        area=content.area,
        issued=issued,
        channels=dict(sorted(content.channels.items())),
        files=sorted((*content.small, *content.packs[part - 1], timestamp), key=lambda file: file.name),
        elsewhere=sorted(elsewhere, key=lambda file: file.name),
    )
    _check(label)
    return msgspec.structs.replace(label, check=sha256_hex(msgspec.json.encode(label)))


def encode_label(label: Label) -> bytes:
    """Write a label; the same bytes for the same value."""
    return msgspec.json.encode(label)


def decode_label(raw: bytes) -> Label:
    """Read a label.

    Raises:
        TooLong: more than LABEL_MAX_BYTES.
        OtherFormat: another format.
        Corrupt: not JSON of this shape, changed since it was written, or a name, length or number out of bounds.
    """
    if len(raw) > LABEL_MAX_BYTES:
        raise TooLong(f"label of {len(raw)} bytes; at most {LABEL_MAX_BYTES}")
    if not _is_unchanged(raw):
        raise Corrupt("the label was changed since it was written, or is no label")
    if (found := decode_json(raw, _Format, "label").format) != LABEL_FORMAT:
        raise OtherFormat(f"label of format {found}; this version reads {LABEL_FORMAT}: update the software")
    label = decode_json(raw, Label, "label")
    _check(label)
    return label


def _is_unchanged(raw: bytes) -> bool:
    """Tell whether the hash at the end fits: ``check`` is the last member."""
    digest = hashlib.sha256(memoryview(raw)[: -len(_NO_CHECK) - _HASH_DIGITS])
    digest.update(_NO_CHECK)
    return raw[-len(_NO_CHECK) - _HASH_DIGITS :] == _NO_CHECK[:1] + digest.hexdigest().encode() + _NO_CHECK[1:]


def _check(label: Label) -> None:
    if not 1 <= label.part <= label.parts <= PARTS_MAX or not is_sha256(label.bundle):
        raise Corrupt(f"a label of part {label.part} of {label.parts}; at most {PARTS_MAX}")
    if label.area:
        check_channel(label.area)
    read_moment(label.issued)
    for channel, (since, seq) in label.channels.items():
        check_channel(channel)
        if since > seq:
            raise Corrupt(f"a bundle of {channel} from {since} to {seq}")
    if len(label.files) > FILES_MAX or len(label.elsewhere) > FILES_MAX or len(label.channels) > CHANNELS_MAX:
        raise Corrupt(f"more than {FILES_MAX} files or {CHANNELS_MAX} channels in one bundle")
    _check_names(file.name for file in label.files)
    _check_names(file.name for file in label.elsewhere)
    for file in label.files:
        _check_length(file.name, file.length_bytes)
        if not is_sha256(file.sha256) or hash_in(file.name) not in (None, file.sha256):
            raise Corrupt(f"{file.name} with another hash than its name tells")
    for pack in label.elsewhere:
        _check_length(pack.name, pack.length_bytes)
        if not is_pack(pack.name) or not 1 <= pack.part <= label.parts or pack.part == label.part:
            raise Corrupt(f"{pack.name} is said to lie on stick {pack.part} of {label.parts}")


def _check_names(names: Iterable[str]) -> None:
    before = ""
    for name in names:
        if name <= before:
            raise Corrupt(f"names in a label must ascend, none twice: {before[:80]!r} before {name[:80]!r}")
        before = name


def _check_length(name: str, length_bytes: int) -> None:
    most_bytes = longest_bytes(name)
    if most_bytes is None:
        raise Corrupt(f"{name[:80]!r} is not the name of a published file")
    if not 0 <= length_bytes <= most_bytes:
        raise Corrupt(f"{name} of {length_bytes} bytes; at most {most_bytes}")


def label_most_bytes(files: Iterable[Listed], channels: int) -> int:
    """Return an upper bound of the length of a label, for a set of sticks that holds these files together."""
    return _FIXED_MOST_BYTES + sum(_LINE_MOST_BYTES + len(file.name) for file in files) + channels * _CHANNEL_MOST_BYTES
