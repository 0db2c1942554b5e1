"""Images of a picture-text lesson: decoded, turned upright, made small enough for the whole page."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from central_platform.ingest.refusal import RefusalReason, Refused

IMAGE_PIXELS_MAX = 80_000_000
IMAGE_FILE_MAX_BYTES = 50_000_000
STEPS = ((600, 85), (600, 70), (600, 50), (480, 50), (360, 40), (240, 35))
"""(widest pixels, JPEG quality), tried in this order until the page is light enough."""
ONE_MAX_BYTES = 230_000
"""One image, so that a screen with it stays below the weight of a page."""
LARGE = (1176, 552)
"""Room for a picture on a television of 1280 by 720."""
LARGER = 1.15
"""How much wider than on the flowing page a picture must be to be stored once more."""
GOOD_QUALITY = 70
LARGE_QUALITIES = (80, 65, 50, 35)
LARGE_MAX_BYTES = 180_000
LARGE_TOTAL_MAX_BYTES = 1_500_000
"""Of all large pictures of a lesson; it goes out by satellite."""
LARGE_PREFIX = "tv-"
GROUND = (13, 33, 55)
"""What shines through transparent parts: the colour of the page."""


@dataclass(frozen=True, slots=True)
class WrittenImage:
    """One JPEG."""

    name: str
    width_px: int
    height_px: int
    length_bytes: int


@dataclass(frozen=True, slots=True)
class WrittenImages:
    """Every image, by its name in the page, as it is on each kind of page."""

    flowing: Mapping[str, WrittenImage]
    large: Mapping[str, WrittenImage]
    """For a television; the same file where the flowing page has it as good."""


def write_images(
    images: Mapping[str, Path | bytes], out: Path, budget_bytes: int, on_progress: Callable[[float], None]
) -> WrittenImages:
    """Write every image, a file or its bytes, as a JPEG of the given name into ``out``, and larger where that helps.

    Raises:
        Refused: UNREADABLE_IMAGE, or TOO_HEAVY when even the smallest step exceeds ``budget_bytes``.
    """
    pictures = {}
    for number, (name, image) in enumerate(images.items(), start=1):
        pictures[name] = _decoded(name, image)
        on_progress(0.7 * number / len(images))
    total = 0
    for width, quality in STEPS:
        made = {name: _jpeg(_narrowed(picture, width), quality) for name, picture in pictures.items()}
        total = sum(len(data) for _, data in made.values())
        if total <= budget_bytes and all(len(data) <= ONE_MAX_BYTES for _, data in made.values()):
            flowing = {name: _written(out, name, *each) for name, each in made.items()}
            return WrittenImages(flowing, _large(pictures, flowing, out, quality))
    raise Refused(RefusalReason.TOO_HEAVY, f"images of {total} bytes, at most {budget_bytes}")


def _large(
    pictures: Mapping[str, Image.Image], flowing: Mapping[str, WrittenImage], out: Path, quality: int
) -> dict[str, WrittenImage]:
    """Write those that a television can show larger, or better, than the flowing page has them."""
    found = dict(flowing)
    left = LARGE_TOTAL_MAX_BYTES
    for number, (name, picture) in enumerate(pictures.items(), start=1):
        fitting = _fitted(picture, *LARGE)
        if fitting.width < LARGER * flowing[name].width_px and quality >= GOOD_QUALITY:
            continue
        share = min(LARGE_MAX_BYTES, left // (len(pictures) - number + 1))
        for step in LARGE_QUALITIES:
            size, data = _jpeg(fitting, step)
            if len(data) <= share:
                break
        else:
            continue
        left -= len(data)
        found[name] = _written(out, f"{LARGE_PREFIX}{name}", size, data)
    return found


def _written(out: Path, name: str, size: tuple[int, int], data: bytes) -> WrittenImage:
    (out / name).write_bytes(data)
    return WrittenImage(name, *size, len(data))


def _decoded(name: str, image: Path | bytes) -> Image.Image:
    """Decode to upright RGB of at most a television's width: full-size pictures are not kept in memory."""
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
                opened.draft("RGB", (2 * LARGE[0], 2 * LARGE[0]))
                upright = ImageOps.exif_transpose(opened)
                return _narrowed(_opaque(upright), LARGE[0])
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


def _fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    return _narrowed(picture, min(width, max(1, round(picture.width * height / picture.height))))


def _jpeg(picture: Image.Image, quality: int) -> tuple[tuple[int, int], bytes]:
    held = BytesIO()
    picture.save(held, "JPEG", quality=quality, optimize=True)
    return picture.size, held.getvalue()
