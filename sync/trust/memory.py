"""What an edge has learned, on disk: the anchor and the newest head of each channel, whatever its format.

A head that was seen once bounds what is accepted from then on: no older release of that channel, and no expiry judged
at a moment before it. Both bounds belong to an *era*, named by the keys of the timestamp and snapshot roles: when the
root replaces these, what was signed with the old ones does not count any more (as TUF does with the metadata), so a
thief who signed release 2^53 or the year 9999 does not stop an edge for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec
from tuf.api.exceptions import LengthOrHashMismatchError, RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Timestamp

from sync import Untrusted
from sync.ids import check_channel
from sync.store.files import make_directory, write_file
from sync.trust import ANCHOR_NAME, ROOT_MAX_BYTES

_HEADS = "channels"
_SUFFIX = ".head"
_HELD_MAX_BYTES = 8 * 1024


class HeadLike(Protocol):
    """What a head of any format tells."""

    @property
    def channel(self) -> str:
        """Whose head it is."""

    @property
    def seq(self) -> int:
        """Number of the release."""

    @property
    def issued(self) -> str:
        """When it was published: ``YYYY-MM-DDThh:mm:ssZ``, UTC."""


@dataclass(frozen=True)
class Remembered:
    """The newest head that was verified."""

    raw: bytes
    seq: int
    issued: datetime
    """The latest of this head and those before it in its era."""
    era: str


class _Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """First line of a kept head; the head's own bytes follow."""

    era: str
    issued: datetime
    seq: int


class ChannelMemory:
    """``1.root.json`` (the anchor) and ``channels/<channel>.head``. Losing them loses a part of rollback protection."""

    def __init__(self, folder: Path, channel: str, anchor: bytes | None) -> None:
        """Read what is there; keep the anchor when it is the first.

        Raises:
            Untrusted: no anchor is given or kept, or another one is kept (``no-anchor``).
        """
        make_directory(folder)
        self._channel = check_channel(channel)
        self._file = folder / _HEADS / f"{channel}{_SUFFIX}"
        self.anchor = keep_anchor(folder, anchor)
        self.head: Remembered | None = _remembered(self._file)

    def held(self, target: TargetFile) -> bytes | None:
        """Return the kept head when it is the one that the signed metadata names, so it need not be fetched."""
        if self.head is None:
            return None
        try:
            target.verify_length_and_hashes(self.head.raw)
        except LengthOrHashMismatchError:
            return None
        return self.head.raw

    def keep_head(self, raw: bytes, head: HeadLike, *, era: str) -> None:
        """Remember the newest head; durable when this returns. Do this before anything is fetched that it names.

        Args:
            raw: The verified bytes.
            head: The same, decoded (and thereby checked).
            era: As ``trusted_target`` gave it. The head that is kept already has to be kept again in a new era.

        Raises:
            Untrusted: it is the head of another channel, or not newer than the one that is kept (of this era).
        """
        if head.channel != self._channel:
            raise Untrusted("tampered", f"the head of {self._channel} is that of {head.channel}")
        known = self.head if self.head and self.head.era == era else None
        if known and known.raw == raw:
            return
        if known and head.seq <= known.seq:
            raise Untrusted("rollback", f"release {head.seq} of {self._channel} was offered after release {known.seq}")
        issued = datetime.fromisoformat(head.issued)
        issued = max(issued, known.issued) if known else issued
        note = msgspec.json.encode(_Note(era, issued, head.seq))
        write_file(self._file, note + b"\n" + raw)
        self.head = Remembered(raw, head.seq, issued, era)


def keep_anchor(folder: Path, given: bytes | None) -> bytes:
    """Return the anchor of that trust folder, keeping the given one when it is the first.

    Raises:
        Untrusted: none is given or kept, it is not a root, or another one is kept (``no-anchor``).
    """
    path = folder / ANCHOR_NAME
    kept = _read(path, ROOT_MAX_BYTES)
    if given is not None and kept is None:
        _check_root(given)
        write_file(path, given)
        return given
    if kept is None:
        raise Untrusted("no-anchor", f"no {ANCHOR_NAME} in {path.parent}: bring the publisher's by a safe road")
    if given is not None and given != kept:
        raise Untrusted(
            "no-anchor", f"{path} is the anchor of another publisher; remove {path.parent} if a change is meant"
        )
    return kept


def era_of(root: Root) -> str:
    """Return the name of the era: a short hash of the keys of the timestamp and snapshot roles."""
    keys = [sorted(root.roles[role].keyids) for role in (Timestamp.type, Snapshot.type)]
    return hashlib.sha256(msgspec.json.encode(keys)).hexdigest()[:16]


def floor_of(folder: Path, era: str) -> datetime | None:
    """Return the newest ``issued`` of any channel's head that was verified in that era, or None when there is none."""
    return max((each.issued for each in _all(folder) if each.era == era), default=None)


def _all(folder: Path) -> Iterator[Remembered]:
    for file in (folder / _HEADS).glob(f"*{_SUFFIX}"):
        if head := _remembered(file):
            yield head


def _remembered(path: Path) -> Remembered | None:
    """Return what is kept there; what a failing disk made unreadable counts as nothing."""
    line, _, raw = (_read(path, _HELD_MAX_BYTES) or b"").partition(b"\n")
    try:
        note = msgspec.json.decode(line, type=_Note)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Remembered(raw, note.seq, note.issued, note.era) if note.issued.tzinfo else None


def _check_root(raw: bytes) -> None:
    try:
        root = Metadata[Root].from_bytes(raw)
        root.signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)
    except (RepositoryError, AttributeError, ValueError) as error:
        raise Untrusted(
            "no-anchor", f"what was given as the anchor is not a publisher's root metadata: {error}"
        ) from error


def _read(path: Path, most: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        return None
