"""The signed head of a channel, its skip list, and the way from what an edge holds to what the head names.

``docs/formats/sync.md`` §4 and §5. Both are small JSON documents; the head is signed, the skip list is named by its
hash in the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from sync import Corrupt, TooLong, Untrusted
from sync.ids import CHANNEL_MAX_BYTES, check_channel, check_sha256
from sync.listing import FILES_MAX, SEQ_MAX, check_format, decode_json, read_moment
from sync.release import RELEASE_MAX_BYTES

HEAD_FORMAT = 2
SKIPS_FORMAT = 2
HEAD_MAX_BYTES = 2048
SKIPS_MAX_BYTES = 16_384
STEPS_MAX = 64
"""Steps at spans 2, 4, 8, … below SEQ_MAX; no list has more."""

_AREA = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")


class NeedSkips(Exception):
    """The way starts further back than the head tells: fetch the skip list that the head names and ask again."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The only file of a channel that the signed metadata names. Unknown members are ignored (they are signed)."""

    format: int
    area: str
    """For whom; empty = for every area."""
    channel: str
    seq: int
    issued: str
    """When the publisher signed it, UTC (§2)."""
    root: str
    """Hash of the listing (``sync.listing.listing_root``)."""
    files: int
    """How many names the listing has."""
    release: tuple[str, int]
    """Hash and length in bytes of the release object from seq - 1 to seq."""
    skips: tuple[str, int]
    """Hash and length in bytes of the skip list."""


class Skips(msgspec.Struct, frozen=True, kw_only=True):
    """Ways to a release from further back. Unknown members are ignored."""

    format: int
    channel: str
    seq: int
    full: tuple[int, str, int]
    """Seq, hash and length in bytes of a release object of base 0."""
    steps: list[tuple[int, str, int]]
    """Base, hash and length in bytes of merged release objects to this seq; bases descend."""


@dataclass(frozen=True)
class Step:
    """One release object to fetch and apply."""

    base: int
    sha256: str
    length_bytes: int
    seq: int
    """Where it leads."""


def head_path(channel: str) -> str:
    """Return the name of the channel's head in the signed metadata."""
    return f"ch/{check_channel(channel)}/head.json"


def encode_head(head: Head) -> bytes:
    """Write a head; the same bytes for the same value.

    Raises:
        Corrupt: a field out of bounds.
    """
    _check_head(head)
    return msgspec.json.encode(head)


def decode_head(raw: bytes) -> Head:
    """Read a head.

    Raises:
        TooLong: more than HEAD_MAX_BYTES.
        Corrupt: not JSON of this shape, another format, or a field out of bounds.
    """
    if len(raw) > HEAD_MAX_BYTES:
        raise TooLong(f"head of {len(raw)} bytes; at most {HEAD_MAX_BYTES}")
    head = decode_json(raw, Head, "head")
    _check_head(head)
    return head


def encode_skips(skips: Skips) -> bytes:
    """Write a skip list; the same bytes for the same value.

    Raises:
        Corrupt: a field out of bounds, or steps that do not reach the full listing.
    """
    _check_skips(skips)
    return msgspec.json.encode(skips)


def decode_skips(raw: bytes) -> Skips:
    """Read a skip list.

    Bases need not lie at powers of two: what matters to a reader is that they descend and that the full listing can be
    brought to seq.

    Raises:
        TooLong: more than SKIPS_MAX_BYTES.
        Corrupt: not JSON of this shape, another format, a field out of bounds, or steps that do not reach ``full``.
    """
    if len(raw) > SKIPS_MAX_BYTES:
        raise TooLong(f"skip list of {len(raw)} bytes; at most {SKIPS_MAX_BYTES}")
    skips = decode_json(raw, Skips, "skip list")
    _check_skips(skips)
    return skips


def skip_bases(seq: int) -> tuple[int, ...]:
    """Return the bases of the steps that a publisher offers at seq: spans 2, 4, 8, … that begin at 1 or later."""
    return tuple(seq - (1 << power) for power in range(1, STEPS_MAX) if seq - (1 << power) >= 1)


def reaches(seq: int, bases: tuple[int, ...], full_seq: int) -> bool:
    """Tell whether a full listing at ``full_seq`` can be brought to seq; if not, the publisher makes a newer one."""
    return full_seq >= seq - 1 or any(base <= full_seq for base in bases)


def route(held_seq: int, head: Head, skips: Skips | None) -> tuple[Step, ...]:
    """Return the release objects that lead from the held listing to the head's, in the order to apply them.

    None when the head's seq is held already; otherwise one, or two when the listing is so old (or absent) that the
    full one is due. A full listing is never taken that is older than what is held.

    Args:
        held_seq: Of the listing that is held; 0 for nothing.
        head: As signed.
        skips: The skip list that the head names, if it was fetched.

    Raises:
        NeedSkips: the way is longer than one release and ``skips`` is None.
        Untrusted: rollback, the head is older than what is held.
        Corrupt: the skip list is not the one of this head.
    """
    if held_seq > head.seq:
        raise Untrusted("rollback", f"the head of {head.channel} has seq {head.seq}, but {held_seq} is held")
    if held_seq == head.seq:
        return ()
    plain = Step(head.seq - 1, *head.release, head.seq)
    if held_seq == head.seq - 1:
        return (plain,)
    if skips is None:
        raise NeedSkips(f"from {held_seq} to {head.seq} of {head.channel}")
    if (skips.channel, skips.seq) != (head.channel, head.seq):
        raise Corrupt(f"the skip list is of {skips.channel} {skips.seq}, the head of {head.channel} {head.seq}")
    steps = [plain, *(Step(base, sha256, length, head.seq) for base, sha256, length in skips.steps)]
    for step in steps:
        if step.base <= held_seq:
            return (step,)
    full_seq, sha256, length = skips.full
    full = Step(0, sha256, length, full_seq)
    if full_seq == head.seq:
        return (full,)
    return (full, next(step for step in steps if step.base <= full_seq))


def _check_head(head: Head) -> None:
    check_format(head.format, HEAD_FORMAT)
    check_channel(head.channel)
    if len(head.area) > CHANNEL_MAX_BYTES or not _AREA.issuperset(head.area):
        raise Corrupt(f"area {head.area[:80]!r}: use at most {CHANNEL_MAX_BYTES} of a-z 0-9 _ -")
    read_moment(head.issued)
    check_sha256(head.root)
    if not 1 <= head.seq <= SEQ_MAX or not 0 <= head.files <= FILES_MAX:
        raise Corrupt("head with a number out of bounds")
    _check_object(*head.release, RELEASE_MAX_BYTES)
    _check_object(*head.skips, SKIPS_MAX_BYTES)


def _check_skips(skips: Skips) -> None:
    check_format(skips.format, SKIPS_FORMAT)
    check_channel(skips.channel)
    full_seq, full_sha256, full_length = skips.full
    if not 1 <= skips.seq <= SEQ_MAX or not 1 <= full_seq <= skips.seq or len(skips.steps) > STEPS_MAX:
        raise Corrupt("skip list with a number out of bounds")
    _check_object(full_sha256, full_length, RELEASE_MAX_BYTES)
    above = skips.seq - 1
    for base, sha256, length in skips.steps:
        if not 1 <= base < above:
            raise Corrupt(f"the bases of a skip list must descend from seq - 2 to 1, not {base} after {above}")
        _check_object(sha256, length, RELEASE_MAX_BYTES)
        above = base
    if not reaches(skips.seq, tuple(base for base, _, _ in skips.steps), full_seq):
        raise Corrupt(f"no step of the skip list continues the full listing of seq {full_seq}")


def _check_object(sha256: str, length_bytes: int, most: int) -> None:
    check_sha256(sha256)
    if not 1 <= length_bytes <= most:
        raise Corrupt(f"object {sha256[:8]}… of {length_bytes} bytes; at most {most}")
