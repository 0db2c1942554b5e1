"""Inside the files: MP4, transport streams, segment indexes. Bytes in, bytes and indexes out; no network."""

from __future__ import annotations

__all__ = ["DamagedIndex", "MediaError", "Unmuxable"]


class MediaError(Exception):
    """Something is wrong with a media file or its index; the text says what, and what to do."""


class Unmuxable(MediaError):
    """The file holds nothing that can be copied into the wanted container: transcode it first."""


class DamagedIndex(MediaError, IndexError):
    """An index file is cut, changed, of another version or not an index: build it again from the media file."""
