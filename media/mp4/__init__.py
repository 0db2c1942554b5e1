"""An MP4 as numbers: every sample of every track, and the fragmented MP4 that can be put in front of its bytes.

`read_mp4` finds places, times and formats without touching media; `save` and `load` keep them in a small file beside
the derived ones.
"""

from __future__ import annotations

from media.mp4.model import Mp4Index, Mp4Track
from media.mp4.reading import read_mp4
from media.mp4.saved import load, save

__all__ = ["Mp4Index", "Mp4Track", "load", "read_mp4", "save"]
