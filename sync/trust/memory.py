"""What a client has learned of a channel, on disk: the anchor, the newest head, the snapshot object it points to."""

from __future__ import annotations

from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root

from sync import Corrupt, Untrusted
from sync.ids import check_channel, sha256_hex
from sync.snapshot import HEAD_MAX_BYTES, Head, decode_head
from sync.store.files import make_directory, write_file
from sync.trust import ANCHOR_NAME, ROOT_MAX_BYTES


class ChannelMemory:
    """``1.root.json`` (the anchor), ``channels/<channel>.head.json`` and ``channels/<channel>.snapshot.json``.

    The head is kept as soon as it was verified, before any object is fetched: a release that was seen once is the
    oldest that will be accepted from then on.
    """

    def __init__(self, folder: Path, channel: str, anchor: bytes | None) -> None:
        """Read what is there; keep the anchor when it is the first.

        Raises:
            Untrusted: no anchor is given or kept, or another one is kept (``no-anchor``).
        """
        make_directory(folder)
        self._head_file = folder / "channels" / f"{check_channel(channel)}.head.json"
        self._snapshot_file = folder / "channels" / f"{channel}.snapshot.json"
        self.anchor = _anchor(folder / ANCHOR_NAME, anchor)
        self.head_raw = _read(self._head_file, HEAD_MAX_BYTES) or b""
        self.head: Head | None = None
        try:
            self.head = decode_head(self.head_raw)
        except Corrupt:
            self.head_raw = b""

    def keep_head(self, raw: bytes, head: Head) -> None:
        """Remember the newest head; durable when this returns."""
        write_file(self._head_file, raw)
        self.head_raw, self.head = raw, head

    def snapshot_of(self, head: Head) -> bytes | None:
        """Return the snapshot object of that head when it is the one kept, else None."""
        raw = _read(self._snapshot_file, head.snapshot_length_bytes)
        return raw if raw is not None and sha256_hex(raw) == head.snapshot_sha256 else None

    def keep_snapshot(self, raw: bytes) -> None:
        """Remember the newest snapshot object."""
        write_file(self._snapshot_file, raw)


def _anchor(path: Path, given: bytes | None) -> bytes:
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


def _check_root(raw: bytes) -> None:
    try:
        root = Metadata[Root].from_bytes(raw)
        root.signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)
    except (RepositoryError, AttributeError) as error:
        raise Untrusted(
            "no-anchor", f"what was given as the anchor is not a publisher's root metadata: {error}"
        ) from error


def _read(path: Path, most: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        return None
