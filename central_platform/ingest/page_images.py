"""Images of a picture-text lesson: decoded, turned upright, made small enough for the whole page."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from central_platform.ingest.refusal import RefusalReason, Refused

IMAGE_PIXELS_MAX = 80_000_000
IMAGE_FILE_MAX_BYTES = 50_000_000
STEPS = ((600, 85), (600, 70), (600, 50), (480, 50), (360, 40), (240, 35))
"""(widest pixels, JPEG quality), tried in this order until the page is light enough."""
GROUND = (13, 33, 55)
"""What shines through transparent parts: the colour of the page."""


def write_images(
    images: Mapping[str, Path | bytes], out: Path, budget_bytes: int, on_progress: Callable[[float], None]
) -> tuple[str, ...]:
    """Write every image, a file or its bytes, as a JPEG of the given name into ``out``; return the names.

    Raises:
        Refused: UNREADABLE_IMAGE, or TOO_HEAVY when even the smallest step exceeds ``budget_bytes``.
    """
    pictures = {}
    for number, (name, image) in enumerate(images.items(), start=1):
        pictures[name] = _decoded(name, image)
        on_progress(0.9 * number / len(images))
    total = 0
    for width, quality in STEPS:
        made = {name: _jpeg(picture, width, quality) for name, picture in pictures.items()}
        total = sum(map(len, made.values()))
        if total <= budget_bytes:
            for name, data in made.items():
                (out / name).write_bytes(data)
            return tuple(made)
    raise Refused(RefusalReason.TOO_HEAVY, f"images of {total} bytes, at most {budget_bytes}")


def _decoded(name: str, image: Path | bytes) -> Image.Image:
    """Decode to upright RGB of at most the first step's width: full-size pictures are not kept in memory."""
    label = image.name if isinstance(image, Path) else name
    length = image.stat().st_size if isinstance(image, Path) else len(image)
    if length > IMAGE_FILE_MAX_BYTES:
        raise Refused(RefusalReason.UNREADABLE_IMAGE, f"{label}: more than {IMAGE_FILE_MAX_BYTES} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is checked here, and oddities inside do not matter
            with Image.open(image if isinstance(image, Path) else BytesIO(image)) as opened:
                if opened.width * opened.height > IMAGE_PIXELS_MAX:
                    raise Refused(RefusalReason.UNREADABLE_IMAGE, f"{label}: {opened.width}x{opened.height} pixels")
                opened.draft("RGB", (2 * STEPS[0][0], 2 * STEPS[0][0]))
                upright = ImageOps.exif_transpose(opened)
                return _narrowed(_opaque(upright), STEPS[0][0])
    except Refused:
        raise
    except Exception as error:  # Pillow raises whatever its plug-ins raise
        raise Refused(RefusalReason.UNREADABLE_IMAGE, f"{label}: {error}") from error


def _opaque(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    ground = Image.new("RGBA", layer.size, GROUND)
    return Image.alpha_composite(ground, layer).convert("RGB")


def _narrowed(picture: Image.Image, width: int) -> Image.Image:
    if picture.width <= width:
        return picture
    return picture.resize((width, max(1, round(picture.height * width / picture.width))), Image.Resampling.LANCZOS)


def _jpeg(picture: Image.Image, width: int, quality: int) -> bytes:
    held = BytesIO()
    _narrowed(picture, width).save(held, "JPEG", quality=quality, optimize=True)
    return held.getvalue()
