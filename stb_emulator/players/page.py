"""A picture-text lesson on a television: every screen of it, every picture, the charset, the weight (REQ-CON-05)."""

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
SCREENS_MAX_COUNT = 500
HOPS = 3
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)
_PLACE = re.compile(r"第\s*(\d+)\s*页，共\s*(\d+)\s*页")


class _Page(HTMLParser):
    """Collects the text, the pictures and the declared charset."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.others: list[str] = []
        self.charset = ""
        self.text = ""
        self.next = ""
        """Where the link to the next screen leads."""
        self.stops = 0
        """Links that a remote control can go to."""
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {n: v or "" for n, v in attrs}
        if tag == "img" and values.get("src"):
            self.pictures.append(values["src"])
        elif tag == "link" and "stylesheet" in values.get("rel", "").split() and values.get("href"):
            self.others.append(values["href"])
        elif tag == "a" and values.get("href"):
            self.stops += 1
            if values.get("rel") == "next":
                self.next = values["href"]
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
            self.text += data

    @property
    def place(self) -> tuple[int, int] | None:
        """Which screen of how many it says it is."""
        found = _PLACE.search(self.text)
        return (int(found[1]), int(found[2])) if found else None


class PagePlayer:
    """See the module."""

    async def play(self, playing: Playing) -> None:
        """See Player."""
        tally, clock = playing.decoder.tally, playing.clock
        tally.asked_at = clock.monotonic()
        tally.transport = "HTTP page"
        url, seen = playing.offer.url, set[str]()
        pictures: dict[str, int] = {}
        while url:
            reply = await playing.line.ask("GET", url, Stage.FETCH, hops=HOPS)
            if reply.status != 200:
                raise PlayError(Stage.FETCH, f"页面 HTTP {reply.status}", f"HTTP {reply.status} for {url[-100:]}")
            if reply.url in seen or len(seen) >= SCREENS_MAX_COUNT:
                raise PlayError(Stage.CONTENT, "翻页没有尽头", f"the next screen leads round in a ring: {url[-100:]}")
            seen.add(reply.url)
            page = read_page(reply)
            tally.transport = f"HTTP page {page.charset.lower()}"
            check_place(page, len(seen))
            weight = await self._pictures(playing, reply, page, pictures)
            if tally.leg.first_picture_at is None:
                # A screen is there when all of it is there: text and every picture.
                tally.leg.first_picture_at = clock.monotonic()
            if weight > WEIGHT_MAX_BYTES:
                raise PlayError(
                    Stage.CONTENT,
                    f"页面过重：{weight // 1000} KB",
                    f"page and pictures weigh {weight // 1000} KB; at most {WEIGHT_MAX_BYTES // 1000}",
                )
            url = urljoin(reply.url, page.next) if page.next else ""
        tally.pictures = len(pictures)
        if page.place is not None:
            tally.transport += f", {len(seen)} screens"

    async def _pictures(self, playing: Playing, reply: Reply, page: _Page, known: dict[str, int]) -> int:
        """Fetch and decode what a screen shows; return the bytes of all of it. What was fetched before is kept."""
        weight = len(reply.body)
        playing.decoder.tally.bytes += weight
        addresses = [each for each in dict.fromkeys(page.pictures) if not each.startswith("data:")]
        if len(addresses) > PICTURES_MAX_COUNT:
            raise PlayError(Stage.CONTENT, "图片过多", f"{len(addresses)} pictures on one page")
        for address in [*dict.fromkeys(page.others), *addresses]:
            target = urljoin(reply.url, address)
            if target not in known:
                body = (await self._get(playing, reply.url, address)).body
                playing.decoder.tally.bytes += len(body)
                if address in addresses:
                    decode_picture(body, address)
                    known[target] = len(body)
                else:
                    weight += len(body)
            weight += known.get(target, 0)
        return weight

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
    page.charset = charset
    if "\ufffd" in text:
        raise PlayError(Stage.CONTENT, "页面有乱码", "the page has replacement characters (U+FFFD)")
    if not page.text.strip():
        raise PlayError(Stage.CONTENT, "页面没有文字", "there is no text on the page")
    return page


def check_place(page: _Page, number: int) -> None:
    """Compare what a screen says of its place with the screens that were walked.

    Raises:
        PlayError: it is another one, or the link to the next is missing, or too many.
    """
    if page.place is None:
        if number > 1:
            raise PlayError(Stage.CONTENT, "页面没有页码", f"screen {number} does not say which it is")
        return
    at, last = page.place
    if at != number:
        raise PlayError(Stage.CONTENT, f"页码不对：第 {at} 页", f"screen {number} says that it is screen {at}")
    if bool(page.next) != (at < last):
        words = f"screen {at} of {last} has {'a' if page.next else 'no'} next one"
        raise PlayError(Stage.CONTENT, f"第 {at} 页，共 {last} 页，翻页不对", words)
    if not page.stops:
        raise PlayError(Stage.CONTENT, "页面没有可选的链接", f"screen {at} has no link that a remote control can go to")


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
