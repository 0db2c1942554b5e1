"""M3U playlists with an XMLTV guide, as players read them (stb_protocols §6.1)."""

from __future__ import annotations

import re
import zlib
from datetime import datetime
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

from runtime.clock import Clock
from stb_emulator.boxes import Box
from stb_emulator.observe import Family, Offer, PlayError, Stage
from stb_emulator.observe.line import Line
from stb_emulator.portals import Guide, OpenPortal, Window

HOPS = 3
ENTRIES_MAX_COUNT = 20_000
GUIDE_MAX_BYTES = 64 * 1024 * 1024
_ATTRIBUTE = re.compile(r'([A-Za-z][A-Za-z0-9-]{0,31})="([^"]*)"')  # a bound, or a long word takes its length squared
_EXTINF = re.compile(r"#EXTINF:\s*(-?\d+(?:\.\d+)?)\s*(.*)$")


class M3uPortal:
    """No login; the playlist, then the guide that it names."""

    def __init__(self, box: Box, url: str, line: Line, clock: Clock) -> None:
        """``url``: the address of the edge, or of the playlist itself."""
        assert box.m3u is not None, "boxes are checked when they are loaded"
        self.deviations: list[str] = []
        self._face, self._line = box.m3u, line
        self._url = url if urlsplit(url).path.strip("/") else urljoin(url, box.m3u.path)
        self._guide = b""
        self.programmes: dict[str, int] = {}
        """How many programmes the guide has, by channel id."""

    async def login(self) -> None:
        """See Portal."""

    async def browse(self) -> tuple[Offer, ...]:
        """See Portal."""
        reply = await self._line.ask("GET", self._url, Stage.BROWSE, hops=HOPS)
        if reply.status != 200:
            raise PlayError(Stage.BROWSE, f"取播放列表：HTTP {reply.status}", f"HTTP {reply.status} for the playlist")
        offers, guide = parse_playlist(reply.body, reply.url)
        if self._face.guide and guide:
            answer = await self._line.ask("GET", guide, Stage.BROWSE, hops=HOPS)
            if answer.status != 200:
                raise PlayError(Stage.BROWSE, f"取节目单：HTTP {answer.status}", f"HTTP {answer.status} for the guide")
            self.programmes = parse_guide(answer.body)
            self._guide = answer.body
        return offers

    async def guide(self, window: Window) -> Guide:
        """See Guided: the XMLTV guide that the playlist names, by the ids that it gives."""
        names = {offer.item_id: offer.title for offer in await self.browse() if offer.live}
        if not self._guide:
            return {}
        begins: dict[str, list[datetime]] = {each: [] for each in names}
        for each in tree_of(self._guide).findall("programme"):
            if each.get("channel", "") in begins:
                begins[each.get("channel", "")].append(moment(each.get("start", "")))
        return {names[key]: window.starts(found) for key, found in begins.items()}

    async def resolve(self, offer: Offer) -> Offer:
        """See Portal."""
        return offer

    async def stay(self) -> None:
        """See Portal: HTTP needs no keep-alive."""

    async def logout(self) -> None:
        """See Portal."""


def parse_playlist(body: bytes, base: str) -> tuple[tuple[Offer, ...], str]:
    """Read entries in their order, and the address of the guide.

    Raises:
        PlayError: no playlist, an entry without address, or an id that comes twice.
    """
    try:
        lines = [line.strip() for line in body.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise PlayError(Stage.BROWSE, "播放列表不是 UTF-8", "the playlist is not UTF-8") from error
    if not lines or not lines[0].startswith("#EXTM3U"):
        raise PlayError(Stage.BROWSE, "不是 M3U 播放列表", "the first line is not #EXTM3U")
    head = dict(_ATTRIBUTE.findall(lines[0]))
    guide = (head.get("x-tvg-url") or head.get("url-tvg") or "").partition(",")[0]
    offers: list[Offer] = []
    entry: tuple[float, dict[str, str], str] | None = None
    for line in lines[1:]:
        if line.startswith("#EXTINF:"):
            if entry is not None:
                raise PlayError(Stage.BROWSE, f"{entry[2]} 没有地址", f"entry {entry[2]!r} has no address")
            entry = _entry(line)
        elif line and not line.startswith("#") and entry is not None:
            try:
                offers.append(_offer(entry, urljoin(base, line)))
            except ValueError as error:
                raise PlayError(
                    Stage.BROWSE, f"{entry[2]} 的地址有误", f"bad address {line[:80]!r}: {error}"
                ) from error
            entry = None
            if len(offers) > ENTRIES_MAX_COUNT:
                raise PlayError(Stage.BROWSE, "播放列表过长", f"more than {ENTRIES_MAX_COUNT} entries")
    ids = [each.item_id for each in offers]
    if len(set(ids)) != len(ids):
        twice = next(each for each in ids if ids.count(each) > 1)
        raise PlayError(Stage.BROWSE, f"播放列表中 {twice} 重复", f"{twice} is listed twice")
    try:
        return tuple(offers), urljoin(base, guide) if guide else ""
    except ValueError as error:
        raise PlayError(Stage.BROWSE, "节目单的地址有误", f"bad address {guide[:80]!r}: {error}") from error


def _entry(line: str) -> tuple[float, dict[str, str], str]:
    match = _EXTINF.match(line)
    if match is None:
        raise PlayError(Stage.BROWSE, "播放列表的一行无法解析", f"unreadable entry {line[:60]!r}")
    rest = match[2]
    end = max((found.end() for found in _ATTRIBUTE.finditer(rest)), default=0)
    return float(match[1]), dict(_ATTRIBUTE.findall(rest)), rest[end:].partition(",")[2].strip()


def _offer(entry: tuple[float, dict[str, str], str], url: str) -> Offer:
    """Make an offer; a length above 0 says that it is no channel. It is whole seconds: too coarse to be compared."""
    lasts, fields, name = entry
    path = urlsplit(url).path if url.startswith("http") else ""
    family: Family = "picture_text" if path.endswith(("/", ".html")) else "video"
    return Offer(
        item_id=fields.get("tvg-id") or url,
        title=name,
        column=fields.get("group-title", "").partition(";")[0],
        family=family,
        url=url,
        live=lasts <= 0 and family == "video",
    )


def tree_of(body: bytes) -> ElementTree.Element:
    """Unpack and read an XMLTV guide.

    Raises:
        PlayError: it is too large.
        ElementTree.ParseError: it is no XML. (``parse_guide`` says it in words.)
    """
    if body[:2] == b"\x1f\x8b":
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
        body = unpack.decompress(body, GUIDE_MAX_BYTES)
        if unpack.unconsumed_tail:
            raise PlayError(Stage.BROWSE, "节目单过大", f"a guide of more than {GUIDE_MAX_BYTES} bytes")
    return ElementTree.fromstring(body)


def parse_guide(body: bytes) -> dict[str, int]:
    """Count the programmes of an XMLTV guide by channel.

    Raises:
        PlayError: no XMLTV, a programme of an unknown channel, or one that ends before it begins.
    """
    try:
        tree = tree_of(body)
        counts = {channel.get("id", ""): 0 for channel in tree.findall("channel")}
        for each in tree.findall("programme"):
            channel, begin, end = each.get("channel", ""), moment(each.get("start", "")), moment(each.get("stop", ""))
            if channel not in counts or end <= begin:
                raise PlayError(Stage.BROWSE, "节目单有误", f"programme of {channel!r} from {begin} to {end}")
            counts[channel] += 1
    except (ElementTree.ParseError, zlib.error, ValueError, LookupError) as error:  # the last: an unknown encoding
        raise PlayError(Stage.BROWSE, "节目单无法解析", f"unreadable guide: {error}"[:160]) from error
    return counts


def moment(text: str) -> datetime:
    """Read ``YYYYMMDDhhmmss ±hhmm``; without a zone it is UTC.

    Raises:
        ValueError: anything else.
    """
    return datetime.strptime(text if " " in text else f"{text} +0000", "%Y%m%d%H%M%S %z")


PORTAL: OpenPortal = M3uPortal
