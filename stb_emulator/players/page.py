"""A picture-text lesson on a television: the page, every picture on it, the charset, the weight (REQ-CON-05)."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import av
import av.error

from stb_emulator.observe import PlayError, Stage
from stb_emulator.observe.line import Reply
from stb_emulator.players import Playing

WEIGHT_MAX_BYTES = 300 * 1000
PICTURES_MAX_COUNT = 100
HOPS = 3
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)


class _Page(HTMLParser):
    """Collects the text, the pictures and the declared charset."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.others: list[str] = []
        self.charset = ""
        self.words = 0
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {n: v or "" for n, v in attrs}
        if tag == "img" and values.get("src"):
            self.pictures.append(values["src"])
        elif tag == "link" and "stylesheet" in values.get("rel", "").split() and values.get("href"):
            self.others.append(values["href"])
        elif tag == "meta":
            found = values.get("charset") or (_CHARSET.findall(values.get("content", "")) or [""])[0]
            self.charset = self.charset or found
        elif tag in ("script", "style", "title"):
            self._hidden += 1

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style", "title"):
            self._hidden = max(0, self._hidden - 1)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words += len("".join(data.split()))


class PagePlayer:
    """See the module."""

    async def play(self, playing: Playing) -> None:
        """See Player."""
        tally, clock = playing.decoder.tally, playing.clock
        tally.asked_at = clock.monotonic()
        tally.transport = "HTTP page"
        reply = await playing.line.ask("GET", playing.offer.url, Stage.FETCH, hops=HOPS)
        if reply.status != 200:
            raise PlayError(Stage.FETCH, f"页面 HTTP {reply.status}", f"HTTP {reply.status} for the page")
        page = read_page(reply)
        weight = len(reply.body)
        for address in dict.fromkeys(page.others):
            weight += len((await self._get(playing, reply.url, address)).body)
        pictures = [p for p in dict.fromkeys(page.pictures) if not p.startswith("data:")]
        if len(pictures) > PICTURES_MAX_COUNT:
            raise PlayError(Stage.CONTENT, "图片过多", f"{len(pictures)} pictures on one page")
        for address in pictures:
            body = (await self._get(playing, reply.url, address)).body
            weight += len(body)
            decode_picture(body, address)
            tally.pictures += 1
        # A page is there when all of it is there: text and every picture.
        tally.leg.first_picture_at = clock.monotonic()
        tally.bytes = weight
        if weight > WEIGHT_MAX_BYTES:
            raise PlayError(
                Stage.CONTENT,
                f"页面过重：{weight // 1000} KB",
                f"page and pictures weigh {weight // 1000} KB; at most {WEIGHT_MAX_BYTES // 1000}",
            )

    async def _get(self, playing: Playing, base: str, address: str) -> Reply:
        reply = await playing.line.ask("GET", urljoin(base, address), Stage.FETCH, hops=HOPS)
        if reply.status != 200:
            raise PlayError(
                Stage.FETCH,
                f"图片 {address} HTTP {reply.status}",
                f"HTTP {reply.status} for {address[:100]} on the page",
            )
        return reply


def read_page(reply: Reply) -> _Page:
    """Read a page strictly in the charset that it declares.

    Raises:
        PlayError: no HTML, no charset, a wrong one, header and meta at odds, or no text.
    """
    kind = reply.headers.get("Content-Type", "")
    if "html" not in kind.lower():
        raise PlayError(Stage.CONTENT, "不是网页", f"content type {kind[:60]!r} is not HTML")
    declared = (_CHARSET.findall(kind) or [""])[0]
    page = _Page()
    page.feed(reply.body.decode("latin-1"))
    charset = declared or page.charset
    if not charset:
        raise PlayError(Stage.CONTENT, "页面没有声明编码", "the page declares no charset")
    if declared and page.charset and _known(declared) != _known(page.charset):
        raise PlayError(Stage.CONTENT, "页面编码声明不一致", f"header says {declared}, page says {page.charset}")
    try:
        text = reply.body.decode(_known(charset))
    except (ValueError, LookupError) as error:
        raise PlayError(Stage.CONTENT, "页面编码有误", f"the page is not {charset}: {error}"[:160]) from error
    page = _Page()
    page.feed(text)
    page.close()
    if "\ufffd" in text:
        raise PlayError(Stage.CONTENT, "页面有乱码", "the page has replacement characters (U+FFFD)")
    if not page.words:
        raise PlayError(Stage.CONTENT, "页面没有文字", "there is no text on the page")
    return page


def _known(charset: str) -> str:
    """Return the codec a box uses: GBK and GB 2312 are read by their superset."""
    name = charset.lower().replace("_", "-")
    return "gb18030" if name in ("gbk", "gb2312", "gb18030") else name


def decode_picture(body: bytes, name: str) -> None:
    """Really decode one picture.

    Raises:
        PlayError: at stage decode.
    """
    try:
        with av.open(io.BytesIO(body), "r") as container:
            if not container.streams.video or next(container.decode(video=0), None) is None:
                raise PlayError(Stage.DECODE, f"图片 {name} 没有画面", f"{name[:100]}: no picture in it")
    except av.error.FFmpegError as error:
        raise PlayError(Stage.DECODE, f"图片 {name} 无法解码", f"{name[:100]}: {error.strerror}") from error


PLAYER = PagePlayer()
