"""What an MP4 is once it was read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UPRIGHT = b"".join(n.to_bytes(4, "big") for n in (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000))
"""The matrix of a picture that is shown as it is stored (ISO/IEC 14496-12 §8.3.2)."""


@dataclass(frozen=True, eq=False)
class Mp4Track:
    """One track. Arrays hold one number for each sample, in decode order; times are ticks of ``timescale``."""

    track_id: int
    kind: str
    """``video``, ``audio``, ``text`` or ``other``."""
    codec: str
    """``h264 h265 aac mp2 mp3 opus`` and so on, or the four letters of the sample description."""
    codecs: str
    """RFC 6381; empty when unknown."""
    timescale: int
    """Ticks a second."""
    sample_entry: bytes
    """The sample description in use, a whole box."""
    config: bytes
    """The avcC or hvcC record, or the AudioSpecificConfig; empty when there is none."""
    width: int
    height: int
    """Of the coded picture, pixels."""
    display_width: int
    display_height: int
    """As shown, pixels are square; before the matrix turns it."""
    sample_rate_hz: int
    channels: int
    offsets: NDArray[np.int64]
    """Positions in the file, bytes."""
    sizes: NDArray[np.int64]
    dts: NDArray[np.int64]
    durations: NDArray[np.int64]
    composition: NDArray[np.int64]
    """pts = dts + composition."""
    sync: NDArray[np.bool_]
    """Decoding can begin here, as the file says."""
    shift: int
    """Time on the movie's time line = (dts + composition + shift) / timescale: what the edit list says."""
    shown_from: int
    shown_until: int
    """Ticks on the movie's time line between which the track is shown; media outside is decoded, not shown."""
    matrix: bytes = UPRIGHT
    """How the picture is turned: 36 bytes of ``tkhd``."""


def with_priming(first: int) -> int:
    """Return the sound sample to begin with, when ``first`` is the first one that is shown at all.

    A frame of AAC or MPEG audio is added to the second half of the one before (ISO/IEC 14496-3 §4.6.11, 11172-3
    §2.4.3.4): without that one, which the edit list hides, its sound would be another (``roll_distance`` -1 of
    14496-12 §10.1).
    """
    return max(0, first - 1)


@dataclass(frozen=True, eq=False)
class Mp4Index:
    """All tracks, in the order of the file."""

    tracks: tuple[Mp4Track, ...]
    file_bytes: int
    duration_s: float
    """When the last sample of sound or picture that is shown ends, on the movie's time line."""

    def first(self, kind: str) -> Mp4Track | None:
        """Return the first track of a kind that has samples."""
        return next((each for each in self.tracks if each.kind == kind and len(each.sizes)), None)
