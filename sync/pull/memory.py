"""What an edge remembers of a channel besides the head: the listing that it holds in full."""

from __future__ import annotations

from pathlib import Path

from sync import Corrupt
from sync.ids import check_channel
from sync.listing import LISTING_MAX_BYTES, Listing, decode_listing, encode_listing
from sync.store.files import write_file

SUFFIX = ".listing.json"


def kept_listing(trust_dir: Path, channel: str) -> Listing | None:
    """Return the listing that was pulled last, None when there is none or it is damaged: then all of it is fetched."""
    try:
        with _path(trust_dir, channel).open("rb") as file:
            listing = decode_listing(file.read(LISTING_MAX_BYTES + 1))
    except (OSError, Corrupt):
        return None
    return listing if listing.channel == channel else None


def keep_listing(trust_dir: Path, listing: Listing) -> None:
    """Remember a listing whose objects are all held; durable when this returns.

    Raises:
        NoSpace: the disk is full; the one before is still remembered.
    """
    write_file(_path(trust_dir, listing.channel), encode_listing(listing))


def _path(trust_dir: Path, channel: str) -> Path:
    return trust_dir / "channels" / f"{check_channel(channel)}{SUFFIX}"
