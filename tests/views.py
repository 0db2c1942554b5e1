"""Snapshots of one channel, made by hand, for tests of what looks at them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from domain.courseware import Catalogue
from edge_server.store import ActiveRelease, ActiveSnapshot, StoredFile


def snapshot_of(
    seq: int, channel: str, issued: datetime, files: Mapping[str, StoredFile], *, listing: Catalogue | None = None
) -> ActiveSnapshot:
    """One release that holds ``files``, and claims to hold whatever else the catalogue lists."""
    claimed = {path for item in (listing.courseware if listing else ()) for path in item.paths()}
    nowhere = {path: StoredFile(path, "0" * 64, 0, "/nowhere") for path in claimed}
    held = MappingProxyType({**nowhere, **files})
    return ActiveSnapshot(seq, {channel: ActiveRelease(channel, seq, issued, held, frozenset())})
