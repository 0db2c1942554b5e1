"""What the uplink is doing, kept in a small file so that ``edge-server sync status`` can tell, from any process."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from sync import NoSpace
from sync.store.files import write_file

FILE_MAX_BYTES = 1024 * 1024
WRITE_EVERY_S = 5.0


class ChannelStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One channel."""

    held_seq: int
    """Of the release that is offered; 0 before the first."""
    coming_seq: int
    """Of the newest release that was announced."""
    missing_bytes: int
    """Of objects, still to come or to be copied; an upper bound of what the line must carry."""
    total_bytes: int
    """Of objects that the coming release needed when it was looked at."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``uplink.json``."""

    channels: dict[str, ChannelStanding] = {}
    measured_bps: float | None = None
    """What the line really carried lately, bits of body per second."""
    at: datetime | None = None
    """When this was written."""
    succeeded_at: datetime | None = None
    """When a sync last came to its end."""
    failure: str = ""
    """Why the last sync did not; empty when it did."""

    @property
    def missing_bytes(self) -> int:
        """Of all channels."""
        return sum(each.missing_bytes for each in self.channels.values())


class StandingFile:
    """``uplink.json`` in the edge's folder."""

    def __init__(self, root: Path) -> None:
        """Nothing is read yet."""
        self._file = root / "uplink.json"
        self._written_s = float("-inf")

    def read(self) -> Standing:
        """Return what was written last; an empty standing when there is none or it is damaged."""
        try:
            return msgspec.json.decode(self._file.read_bytes()[:FILE_MAX_BYTES], type=Standing)
        except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return Standing()

    def write(self, standing: Standing) -> None:
        """Replace it, if the disk takes it: this is a note, and must not hide why a sync really failed."""
        with suppress(NoSpace, OSError):
            write_file(self._file, msgspec.json.encode(standing))

    def write_sometimes(self, standing: Standing, monotonic_s: float) -> None:
        """Replace it, at most once in WRITE_EVERY_S: progress comes often."""
        if monotonic_s - self._written_s >= WRITE_EVERY_S:
            self._written_s = monotonic_s
            self.write(standing)
