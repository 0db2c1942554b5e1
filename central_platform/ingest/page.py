"""A picture-text lesson: one page and its images, cleaned, light, and readable on a television."""

from __future__ import annotations

import html
from collections.abc import Callable
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nh3
from markdown_it import MarkdownIt
from PIL import Image, ImageOps

from central_platform.ingest.refusal import RefusalReason, Refused
from central_platform.ingest.results import MadePage, finished

PAGE_MAX_BYTES = 300_000
"""Page and images together (requirements REQ-CON-05)."""
TEXT_MAX_BYTES = 120_000
IMAGES_MAX_COUNT = 40
IMAGE_WIDTH_MAX = 600
IMAGE_PIXELS_MAX = 80_000_000
QUALITIES = (85, 70, 55, 40, 25)

_TAG_NAMES = (
    "a p br hr h1 h2 h3 h4 h5 h6 b strong i em u s sub sup small blockquote pre code ul ol li dl dt dd img div span "
    "table caption thead tbody tfoot tr th td section article figure figcaption"
)
_TAGS = set(_TAG_NAMES.split())
_ATTRIBUTES = {"img": {"src", "alt"}, "td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan"}, "ol": {"start"}}

_PAGE = """<!doctype html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<meta name="page-view-size" content="640*530">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 0; padding: 20px; max-width: 600px; background: #0d2137; color: #f4f7fa; }}
body {{ font-size: 22px; line-height: 1.6; font-family: sans-serif; word-wrap: break-word; }}
img {{ max-width: 100%; height: auto; }}
a {{ color: #ffd257; }}
table {{ border-collapse: collapse; max-width: 100%; }}
td, th {{ border: 1px solid #a9bed2; padding: 4px 8px; }}
pre {{ white-space: pre-wrap; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def ingest_page(folder: Path, workdir: Path, on_progress: Callable[[float], None]) -> MadePage:
    """Clean the page and its images into ``workdir``/page.

    Raises:
        Refused: NO_PAGE, MISSING_IMAGE, UNREADABLE_IMAGE, REMOTE_REFERENCE, UNSAFE_PATH or TOO_HEAVY.
    """
    source, body = _body(folder)
    finder = _Finder()
    finder.feed(body)
    files = {value: _inside(folder, value) for value in finder.images}
    names = {value: f"image-{number:02d}" for number, value in enumerate(dict.fromkeys(finder.images), 1)}
    if len(names) > IMAGES_MAX_COUNT:
        raise Refused(RefusalReason.TOO_HEAVY, f"{len(names)} images, at most {IMAGES_MAX_COUNT}")
    images = {names[value]: _opened(files[value]) for value in names}
    final = {value: f"{names[value]}.{_suffix(images[names[value]])}" for value in names}

    def place(tag: str, name: str, value: str) -> str | None:
        return final.get(value) if (tag, name) == ("img", "src") else value

    cleaned = nh3.clean(body, tags=_TAGS, attributes=_ATTRIBUTES, attribute_filter=place, link_rel=None)
    out = workdir / "page"
    out.mkdir(parents=True)
    page = out / "index.html"
    page.write_text(_PAGE.format(title=html.escape(finder.title or source.stem), body=cleaned), encoding="utf-8")
    weight = page.stat().st_size
    if weight > TEXT_MAX_BYTES:
        raise Refused(RefusalReason.TOO_HEAVY, f"text of {weight} bytes, at most {TEXT_MAX_BYTES}")
    assets = []
    for value, data in zip(names, _light(list(images.values()), PAGE_MAX_BYTES - weight), strict=True):
        file = out / final[value]
        file.write_bytes(data)
        assets.append((final[value], finished(file, f"image/{'png' if file.suffix == '.png' else 'jpeg'}")))
        on_progress(len(assets) / len(names))
    on_progress(1.0)
    return MadePage(finished(page, "text/html"), tuple(assets), ())


class _Finder(HTMLParser):
    """Finds the images and the title."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []
        self.title = ""
        self._in_title = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images += [value for name, value in attrs if name == "src" and value]
        if tag in ("title", "h1") and not self.title:
            self._in_title = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._in_title:
            self._in_title = ""

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title = " ".join((self.title + data).split())


def _body(folder: Path) -> tuple[Path, str]:
    """Find and read the one page of a folder; Markdown becomes HTML."""
    index = folder / "index.html"
    found = [index] if index.is_file() else sorted(folder.glob("*.md"))
    if len(found) != 1:
        raise Refused(RefusalReason.NO_PAGE, f"{len(found)} pages found")
    raw = found[0].read_bytes()
    if not raw.strip():
        raise Refused(RefusalReason.EMPTY)
    if len(raw) > 4 * TEXT_MAX_BYTES:
        raise Refused(RefusalReason.TOO_HEAVY, f"page of {len(raw)} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("gb18030", "replace")
    if found[0].suffix == ".md":
        text = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    return found[0], text


def _inside(folder: Path, value: str) -> Path:
    """Find the file that an image reference means.

    Raises:
        Refused: it is remote, leads out of the folder, or is not there.
    """
    parts = urlsplit(value)
    if parts.scheme or parts.netloc or value.startswith("//"):
        raise Refused(RefusalReason.REMOTE_REFERENCE, value[:120])
    file = (folder / unquote(parts.path)).resolve()
    if parts.path.startswith("/") or not file.is_relative_to(folder.resolve()):
        raise Refused(RefusalReason.UNSAFE_PATH, value[:120])
    if not file.is_file():
        raise Refused(RefusalReason.MISSING_IMAGE, value[:120])
    return file


def _opened(file: Path) -> Image.Image:
    try:
        with Image.open(file) as picture:
            if picture.width * picture.height > IMAGE_PIXELS_MAX:
                raise Refused(RefusalReason.TOO_HEAVY, f"{file.name}: {picture.width}×{picture.height} pixels")
            upright = ImageOps.exif_transpose(picture)
            upright.thumbnail((IMAGE_WIDTH_MAX, 4 * IMAGE_WIDTH_MAX))
            return upright.convert(
                "RGBA" if "transparency" in picture.info or picture.mode in ("RGBA", "LA") else "RGB"
            )
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Refused(RefusalReason.UNREADABLE_IMAGE, f"{file.name}: {error}") from error


def _suffix(picture: Image.Image) -> str:
    return "png" if picture.mode == "RGBA" else "jpg"


def _light(pictures: list[Image.Image], most_bytes: int) -> list[bytes]:
    """Compress all pictures so that together they weigh at most so much: quality first, then size.

    Raises:
        Refused: TOO_HEAVY, when nothing helps.
    """
    for scale in (1.0, 0.75, 0.5, 0.35):
        for quality in QUALITIES:
            made = [_compressed(picture, scale, quality) for picture in pictures]
            if sum(map(len, made)) <= most_bytes:
                return made
    raise Refused(RefusalReason.TOO_HEAVY, f"{len(pictures)} images do not fit into {most_bytes} bytes")


def _compressed(picture: Image.Image, scale: float, quality: int) -> bytes:
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    small = picture if scale == 1.0 else picture.resize(size)
    out = BytesIO()
    if picture.mode == "RGBA":
        small.quantize(64 if quality < 70 else 256).save(out, "PNG", optimize=True)
    else:
        small.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()
