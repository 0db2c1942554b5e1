"""A picture-text lesson: one page and its images, cleaned, light, and readable on a television."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nh3
from markdown_it import MarkdownIt

from central_platform.ingest.page_blocks import blocks_of
from central_platform.ingest.page_images import WrittenImages, write_images
from central_platform.ingest.page_screens import OLD, TELEVISION, write_screens
from central_platform.ingest.page_split import Image, split
from central_platform.ingest.refusal import RefusalReason, Refused
from central_platform.ingest.results import MadeFile, MadePage, finished

PAGE_MAX_BYTES = 300_000
"""Page and images together (requirements REQ-CON-05)."""
TEXT_MAX_BYTES = 120_000
SOURCE_MAX_BYTES = 8_000_000
"""The page as given; images may be written into it."""
IMAGES_MAX_COUNT = 40
SCREENS_MAX_COUNT = 400
"""Of one kind; TEXT_MAX_BYTES of Chinese text fill about 150 on an old box."""

_TAG_NAMES = (
    "a p br hr h1 h2 h3 h4 h5 h6 b strong i em u s sub sup small blockquote pre code ul ol li dl dt dd img div span "
    "table caption thead tbody tfoot tr th td section article figure figcaption"
)
_TAGS = set(_TAG_NAMES.split())
_DROPPED = {"script", "style", "title", "noscript", "iframe", "object", "template", "textarea", "select"}
"""Elements of which not even the text is kept."""
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
table {{ border-collapse: collapse; table-layout: fixed; width: 100%; }}
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
        Refused: NO_PAGE, EMPTY, UNREADABLE, UNSAFE_PATH, TOO_HEAVY, or, about an image, MISSING_IMAGE,
            UNREADABLE_IMAGE or REMOTE_REFERENCE.
    """
    source, body = _body(folder)
    finder = _Finder()
    finder.feed(body)
    references = list(dict.fromkeys(finder.images))
    if len(references) > IMAGES_MAX_COUNT:
        raise Refused(RefusalReason.TOO_HEAVY, f"{len(references)} images, at most {IMAGES_MAX_COUNT}")
    images = {value: _given(folder, value) for value in references}
    names = {value: f"image-{number:02d}.jpg" for number, value in enumerate(references, 1)}

    def place(tag: str, name: str, value: str) -> str | None:
        return names.get(value) if (tag, name) == ("img", "src") else value

    # The scheme "data" passes the cleaner only to be replaced by a file's name: every src is one of ours or is dropped.
    cleaned = nh3.clean(
        body,
        tags=_TAGS,
        clean_content_tags=_DROPPED,
        attributes=_ATTRIBUTES,
        attribute_filter=place,
        link_rel=None,
        url_schemes={"data"},
    )
    out = workdir / "page"
    out.mkdir(parents=True)
    page = out / "index.html"
    title = finder.title or source.stem
    page.write_text(_PAGE.format(title=html.escape(title), body=cleaned), encoding="utf-8")
    weight = page.stat().st_size
    if weight > TEXT_MAX_BYTES:
        raise Refused(RefusalReason.TOO_HEAVY, f"text of {weight} bytes, at most {TEXT_MAX_BYTES}")
    pictures = {names[value]: image for value, image in images.items()}
    written = write_images(pictures, out, PAGE_MAX_BYTES - weight, on_progress)
    screens = _write_screens(cleaned, title, written, out)
    on_progress(1.0)
    assets = tuple((name, finished(out / name, "image/jpeg")) for name in written.flowing)
    return MadePage(finished(page, "text/html"), assets, (), screens)


def _write_screens(body: str, title: str, written: WrittenImages, out: Path) -> tuple[tuple[str, MadeFile], ...]:
    """Cut the page into screens, and return their files, the larger pictures among them."""
    made = {each.name: "image/jpeg" for each in written.large.values() if each not in written.flowing.values()}
    blocks = blocks_of(body)
    for form, named in ((OLD, written.flowing), (TELEVISION, written.large)):
        shown = {key: Image(each.name, each.width_px, each.height_px, each.length_bytes) for key, each in named.items()}
        screens = split(blocks, form, shown)
        if len(screens) > SCREENS_MAX_COUNT:
            raise Refused(RefusalReason.TOO_HEAVY, f"{len(screens)} screens, at most {SCREENS_MAX_COUNT}")
        for name, text in write_screens(screens, form, title).items():
            (out / name).write_bytes(text)
            made[name] = f"text/html; charset={form.charset}"
    return tuple((name, finished(out / name, media_type)) for name, media_type in made.items())


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
    if not found[0].resolve().is_relative_to(folder.resolve()):
        raise Refused(RefusalReason.UNSAFE_PATH, found[0].name)
    if (length := found[0].stat().st_size) > SOURCE_MAX_BYTES:
        raise Refused(RefusalReason.TOO_HEAVY, f"page of {length} bytes, at most {SOURCE_MAX_BYTES}")
    raw = found[0].read_bytes()
    if not raw.strip():
        raise Refused(RefusalReason.EMPTY, found[0].name)
    text = _decoded(raw, found[0].name)
    if found[0].suffix == ".md":
        text = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    return found[0], text


def _decoded(raw: bytes, name: str) -> str:
    """Read UTF-8, UTF-16 with a byte order mark, or what Chinese editors on Windows write: GB18030."""
    marked = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    for charset in ("utf-16",) if marked else ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(charset)
        except UnicodeDecodeError:
            continue
    raise Refused(RefusalReason.UNREADABLE, f"{name} is neither UTF-8 nor GB18030")


def _given(folder: Path, value: str) -> Path | bytes:
    """Find the file that an image reference means, or the bytes that it holds itself (``data:``, RFC 2397).

    Raises:
        Refused: it is remote, leads out of the folder, or is not there.
    """
    if value.lower().startswith("data:image/"):
        try:
            return base64.b64decode(unquote(value.partition(";base64,")[2]), validate=True)
        except ValueError as error:
            raise Refused(RefusalReason.UNREADABLE_IMAGE, value[:40]) from error
    value = value.strip().replace("\\", "/")  # folders written on Windows
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise Refused(RefusalReason.REMOTE_REFERENCE, value[:120]) from error
    if parts.scheme or parts.netloc or value.startswith("//"):
        raise Refused(RefusalReason.REMOTE_REFERENCE, value[:120])
    try:
        file = (folder / unquote(parts.path)).resolve()
        found = file.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # NUL, too long a name, a ring of links
        raise Refused(RefusalReason.MISSING_IMAGE, value[:120]) from error
    if parts.path.startswith("/") or not file.is_relative_to(folder.resolve()):
        raise Refused(RefusalReason.UNSAFE_PATH, value[:120])
    if not found:
        raise Refused(RefusalReason.MISSING_IMAGE, value[:120])
    return file
