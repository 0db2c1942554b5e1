"""The frame that release objects and cards share: a magic, a compressed JSON header, then stored bytes.

``docs/formats/sync.md`` §6 and §8. Every length is checked before anything is allocated for it. A card comes from an
untrusted mirror, so the number of JSON values is bounded before the JSON is read, and with it the memory it takes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from sync import Corrupt, TooLong
from sync.listing import decode_json
from sync.patch import expand, squeeze

FRAME_MAX_BYTES = 96 * 1024 * 1024
HEADER_MAX_BYTES = 128 * 1024 * 1024
"""Of the raw header."""
VALUES_MAX = 4 * 1024 * 1024
"""Commas in a header. A listing of FILES_MAX files has half of it."""

_HEAD = struct.Struct(">4sII")
_BEST_LEVEL, _FAST_LEVEL = 19, 3
_BEST_LEVEL_MAX_BYTES = 4 * 1024 * 1024
"""Longer headers are whole listings, mostly hashes: level 19 makes them no smaller than level 3 in 180 x the time."""

S = TypeVar("S", bound=msgspec.Struct)


def write_frame(magic: bytes, header: msgspec.Struct, stored: Iterable[bytes], what: str) -> bytes:
    """Write a frame.

    Raises:
        TooLong: a length or count that no reader would accept; ``what`` names it for people.
    """
    raw = msgspec.json.encode(header)
    if len(raw) > HEADER_MAX_BYTES:
        raise TooLong(f"the header of a {what} takes {len(raw)} bytes; at most {HEADER_MAX_BYTES}")
    if raw.count(b",") > VALUES_MAX:
        raise TooLong(f"the header of a {what} has more than {VALUES_MAX} values")
    squeezed = squeeze(raw, level=_BEST_LEVEL if len(raw) <= _BEST_LEVEL_MAX_BYTES else _FAST_LEVEL)
    frame = b"".join((_HEAD.pack(magic, len(squeezed), len(raw)), squeezed, *stored))
    if len(frame) > FRAME_MAX_BYTES:
        raise TooLong(f"{what} of {len(frame)} bytes; at most {FRAME_MAX_BYTES}")
    return frame


def read_frame(magic: bytes, raw: bytes, kind: type[S], what: str) -> tuple[S, memoryview]:
    """Return the header and the stored bytes after it.

    Raises:
        TooLong: the frame, its header or the number of values in it exceed their bounds.
        Corrupt: another magic, a length that does not fit, or not JSON of this shape.
    """
    if len(raw) > FRAME_MAX_BYTES:
        raise TooLong(f"{what} of {len(raw)} bytes; at most {FRAME_MAX_BYTES}")
    if len(raw) < _HEAD.size:
        raise Corrupt(f"a {what} of {len(raw)} bytes is too short")
    found, squeezed_length, raw_length = _HEAD.unpack_from(raw)
    if found != magic:
        raise Corrupt(f"not a {what}: it begins with {found!r}")
    if squeezed_length > len(raw) - _HEAD.size:
        raise Corrupt(f"a {what} announces more bytes than it has")
    body = memoryview(raw)[_HEAD.size :]
    header = expand(body[:squeezed_length], raw_length, most=HEADER_MAX_BYTES)
    if header.count(b",") > VALUES_MAX:
        raise TooLong(f"the header of a {what} has more than {VALUES_MAX} values")
    return decode_json(header, kind, what), body[squeezed_length:]
