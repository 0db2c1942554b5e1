"""What is published on a channel now, read the way an edge reads it, every hash compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sync import Corrupt
from sync.head import Head, Skips, Step, decode_head, decode_skips, head_path, route
from sync.ids import check_sha256, sha256_hex
from sync.listing import Listing, listing_root
from sync.release import Release, apply_release, decode_release


@dataclass(frozen=True)
class Current:
    """The newest release of a channel."""

    head: Head
    head_sha256: str
    skips: Skips
    listing: Listing


def target_path(channel: str, sha256: str) -> str:
    """Return the name of the head with that hash, relative to the base."""
    folder, _, name = head_path(channel).rpartition("/")
    return f"targets/{folder}/{check_sha256(sha256)}.{name}"


def release_path(sha256: str) -> str:
    """Return the name of a release object, relative to the base."""
    return f"releases/{check_sha256(sha256)}"


def skips_path(sha256: str) -> str:
    """Return the name of a skip list, relative to the base."""
    return f"skips/{check_sha256(sha256)}"


def read_current(published: Path, channel: str, head_sha256: str) -> Current:
    """Read the release whose head has that hash.

    Raises:
        Corrupt: something that an edge would need is missing or damaged.
    """
    head, skips = read_head(published, channel, head_sha256)
    listing: Listing | None = None
    for step in route(0, head, skips):
        listing = apply_release(listing, read_release(published, step))
    if listing is None or listing.channel != channel or listing_root(listing) != head.root:
        raise Corrupt(f"the published listing of {channel} is not the one of its head")
    return Current(head, head_sha256, skips, listing)


def read_head(published: Path, channel: str, head_sha256: str) -> tuple[Head, Skips]:
    """Read the head with that hash, and its skip list.

    Raises:
        Corrupt: one is missing or damaged.
    """
    head = decode_head(read_hashed(published / target_path(channel, head_sha256), head_sha256))
    return head, decode_skips(read_hashed(published / skips_path(head.skips[0]), head.skips[0]))


def read_release(published: Path, step: Step) -> Release:
    """Read one release object.

    Raises:
        Corrupt: it is missing or damaged.
    """
    return decode_release(read_hashed(published / release_path(step.sha256), step.sha256))


def all_steps(head: Head, skips: Skips) -> tuple[Step, ...]:
    """Return the plain and all merged release objects that lead to the head, bases descending."""
    merged = (Step(base, sha256, length, head.seq) for base, sha256, length in skips.steps)
    return (Step(head.seq - 1, *head.release, head.seq), *merged)


def read_hashed(path: Path, sha256: str) -> bytes:
    """Read a file that has that hash.

    Raises:
        Corrupt: it is missing, or has another.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise Corrupt(f"{path} is missing") from error
    if sha256_hex(data) != sha256:
        raise Corrupt(f"{path} was damaged")
    return data
