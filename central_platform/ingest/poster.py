"""The picture that stands for a lesson in menus: about a tenth into it, not black if that can be helped."""

from __future__ import annotations

from pathlib import Path

import av
from PIL import Image

from central_platform.ingest.results import MadeFile, finished
from central_platform.ingest.targets import display_size
from media.probe import VideoFacts

WIDTH_MAX = 640
DARK_LUMA = 24
QUALITY = 82


class Poster:
    """Offered every picture, keeps one."""

    def __init__(self, facts: VideoFacts) -> None:
        """``facts`` say how long the lesson is and how to turn its pictures."""
        self._facts = facts
        self._wanted_s = facts.length_s / 10
        self._best: Image.Image | None = None
        self._settled = False

    def offer(self, frame: av.VideoFrame, time_s: float) -> None:
        """Look at a picture; cheap once one was chosen."""
        if self._settled or (self._best is not None and time_s < self._wanted_s):
            return
        picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
        bright = self._luma(picture) >= DARK_LUMA
        if self._best is None or bright:
            self._best = picture
        self._settled = bright and time_s >= self._wanted_s
        if not bright:
            self._wanted_s = time_s + 1.0  # look again a second later

    def save(self, file: Path) -> MadeFile | None:
        """Write the JPEG; None when no picture was ever offered."""
        if self._best is None:
            return None
        width, height = display_size(self._facts)
        turned = self._best.rotate(self._facts.rotation, expand=True) if self._facts.rotation else self._best
        scale = min(1.0, WIDTH_MAX / width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        turned.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(file, "JPEG", quality=QUALITY)
        return finished(file, "image/jpeg")

    @staticmethod
    def _luma(picture: Image.Image) -> float:
        small = picture.convert("L").resize((16, 16))
        return sum(small.tobytes()) / 256
