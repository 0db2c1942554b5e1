"""The still picture that is shown for a lesson that is only sound."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
from PIL import Image, ImageDraw

SIZE = (640, 360)


class Card:
    """Shows one picture again and again while there is sound."""

    def __init__(self, rate: Fraction) -> None:
        """``rate`` is in pictures a second."""
        self._rate = rate
        self._shown = 0
        self._plain = (
            av.VideoFrame.from_ndarray(np.asarray(_drawn()), format="rgb24").reformat(format="yuv420p").to_ndarray()
        )

    def show(self, end_s: float, take: Callable[[av.VideoFrame, float], None]) -> None:
        """Give ``take`` the pictures (and their times) that are due before ``end_s``; at least one."""
        while self._shown == 0 or self._shown / self._rate < end_s:
            take(av.VideoFrame.from_ndarray(self._plain, format="yuv420p"), float(self._shown / self._rate))
            self._shown += 1


def _drawn() -> Image.Image:
    """Draw a loudspeaker with waves on a calm ground; no words, so that no font is needed."""
    card = Image.new("RGB", SIZE, (18, 52, 86))
    pen = ImageDraw.Draw(card)
    pen.rectangle([230, 150, 275, 210], fill=(255, 210, 87))
    pen.polygon([(275, 150), (330, 105), (330, 255), (275, 210)], fill=(255, 210, 87))
    for radius in (50, 85, 120):
        pen.arc([330 - radius, 180 - radius, 330 + radius, 180 + radius], -45, 45, fill=(244, 247, 250), width=10)
    return card
