"""A stick as a source for the client.

The sticks of one set may be written on different days, and each gets a timestamp of its day. Whoever takes in the later
one first would refuse the earlier one as a rollback, although both name the very same snapshot. Then the timestamp that
is trusted already is handed out in place of the stick's: it says the same, and the client checks it like any other.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from tuf.api.metadata import Metadata, Timestamp
from tuf.api.serialization import DeserializationError

from sync.bundle.names import TIMESTAMP
from sync.road import OPEN, Gate, Received
from sync.road.folder import FolderSource
from sync.trust import TIMESTAMP_MAX_BYTES


class StickSource(FolderSource):
    """See Source."""

    def __init__(self, root: Path, trust_dir: Path, *, gate: Gate = OPEN) -> None:
        """Read from ``root``; ``trust_dir`` is that of the Puller that will use this with ``road="bundle"``."""
        super().__init__(root, gate=gate)
        self._trusted = trust_dir / "bundle" / "timestamp.json"

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        """See Source."""
        raw = await super().fetch(name, limit_bytes=limit_bytes, received=received)
        return await asyncio.to_thread(self._newer, raw) if name == TIMESTAMP else raw

    def _newer(self, raw: bytes) -> bytes:
        """Return the timestamp that is trusted when it is newer and names the same snapshot."""
        try:
            with self._trusted.open("rb") as file:
                kept = file.read(TIMESTAMP_MAX_BYTES)
            trusted, offered = (Metadata[Timestamp].from_bytes(each).signed for each in (kept, raw))
        except (OSError, DeserializationError):
            return raw  # whatever is wrong with it, the client will say so
        same = isinstance(trusted, Timestamp) and isinstance(offered, Timestamp)
        same = same and trusted.snapshot_meta.version == offered.snapshot_meta.version
        return kept if same and trusted.version > offered.version else raw
