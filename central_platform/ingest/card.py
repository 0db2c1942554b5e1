"""The still picture that is shown for a lesson that is only sound."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from PIL import Image, ImageDraw

from central_platform.ingest.targets import AUDIO_HZ

SIZE = (640, 360)


def card_frames(samples: int, rate: Fraction) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yield (time, picture) for the whole length of the sound."""
    plain = av.VideoFrame.from_ndarray(np.asarray(_card()), format="rgb24").reformat(format="yuv420p").to_ndarray()
    for number in range(max(1, round(samples * rate / AUDIO_HZ))):
        yield float(number / rate), av.VideoFrame.from_ndarray(plain, format="yuv420p")


def _card() -> Image.Image:
    """Draw a loudspeaker with waves on a calm ground; no words, so that no font is needed."""
    card = Image.new("RGB", SIZE, (18, 52, 86))
    pen = ImageDraw.Draw(card)
    pen.rectangle([230, 150, 275, 210], fill=(255, 210, 87))
    pen.polygon([(275, 150), (330, 105), (330, 255), (275, 210)], fill=(255, 210, 87))
    for radius in (50, 85, 120):
        pen.arc([330 - radius, 180 - radius, 330 + radius, 180 + radius], -45, 45, fill=(244, 247, 250), width=10)
    return card
