"""Generic IPTV players (Kodi, VLC, apps): one M3U playlist, its XMLTV guide, and what their catch-up asks for. Pure."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from domain.courseware import Courseware, MediaFamily
from edge_server.linear import LinearChannel, by_id
from edge_server.linear.guide import day_of, guide_id, write_xmltv
from edge_server.portal import PortalReply, PortalRequest, PortalState, is_usable_host, unless_known
from wire.catchup import CatchupError, read_moment, read_playseek, span
from wire.m3u_write import MEDIA_TYPE, Entry, write_playlist
from wire.playseek import write_playseek
from wire.xmltv_write import MEDIA_TYPE as XMLTV_TYPE

PLAYLIST_PATH, GUIDE_PATH, GUIDE_GZ_PATH = "/playlist.m3u", "/epg.xml", "/epg.xml.gz"
CATCHUP_PREFIX = "/catchup/"
LESSON_NUMBERS_AFTER = 1000
"""Numbers on the remote control below are for linear channels."""
FULL_RETRY_S = 30
ZONE_MINUTES_MAX = 14 * 60
CHANNELS_GROUP = "教育频道"
_RENDITIONS = ("R40", "R12")
_PROFILES = {"ts": "/hls/{id}/ts/master.m3u8", "fmp4": "/hls/{id}/fmp4/master.m3u8", "mp4": "/media/{id}/{best}.mp4"}
_BOXES = {"old": "ts", "kodi": "ts", "new": "fmp4", "phone": "fmp4", "pc": "mp4"}
_LIVE = ("ts", "hls", "rtsp", "multicast")
_SPAN = "start={utc}&end={utcend}"
_BUTTONS = "playseek=${(b)yyyyMMddHHmmss}-${(e)yyyyMMddHHmmss}&zoneoffset={zone}"
_DAY_S = 86400
# Channel (digits), then one file: <id>.ts, <id>.m3u8, or the Flussonic spellings below <id>/.
_FILE = re.compile(CATCHUP_PREFIX + r"([0-9]{1,12})(?:/(mpegts|index)?)?(?:\.(ts|m3u8))?", re.ASCII)
_FLUSSONIC = re.compile(
    CATCHUP_PREFIX + r"([0-9]{1,12})/(timeshift_abs|timeshift_rel|archive|index|video)"
    r"-([0-9]{1,10})(?:-([0-9]{1,10}|now))?\.(ts|m3u8)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the query of a playlist chooses."""

    profile: str = "ts"
    live: str = "ts"
    catchup: str = "default"


class _Refused(ValueError):
    """The query asks for what there is not; the message says what there is."""


class M3uDialect:
    """See the module."""

    name = "m3u"
    prefixes = (PLAYLIST_PATH, GUIDE_PATH, CATCHUP_PREFIX)

    def __init__(self) -> None:
        """Begin without a guide."""
        self._guide: tuple[tuple[object, ...], bytes, bytes] | None = None

    def reply(self, request: PortalRequest, state: PortalState) -> PortalReply:
        """See Dialect."""
        if request.method not in ("GET", "HEAD"):
            return PortalReply(405, b"", headers=(("Allow", "GET, HEAD"),))
        if not is_usable_host(request.host):
            return _words(400, "Host 头不对 / bad Host header")
        try:
            if request.path == PLAYLIST_PATH:
                return _playlist(request, state, _wish(request))
            if request.path == GUIDE_PATH:
                return unless_known(request, state, self.guide(state)[0], XMLTV_TYPE)
            if request.path == GUIDE_GZ_PATH:
                return unless_known(request, state, self.guide(state)[1], "application/gzip")
            return _catchup(request, state)
        except (_Refused, CatchupError) as error:
            return _words(400, f"地址不对 / {error}")

    def guide(self, state: PortalState) -> tuple[bytes, bytes]:
        """Return the guide, plain and compressed; worked out once a day and whenever what it is made of changes."""
        made_of = (state.channels, state.view.mark, day_of(state.now))
        if self._guide is None or self._guide[0] != made_of:
            plain = write_xmltv(state.channels, state.view, state.now)
            self._guide = made_of, plain, gzip.compress(plain, 5, mtime=0)
        return self._guide[1], self._guide[2]


def _wish(request: PortalRequest) -> _Wish:
    asked = request.query
    profile = asked.get("profile") or _choose("box", asked.get("box", "old"), _BOXES)
    return _Wish(
        profile=_choose("profile", profile, {each: each for each in _PROFILES}),
        live=_choose("live", asked.get("live", "ts" if profile == "ts" else "hls"), {each: each for each in _LIVE}),
        catchup=_choose("catchup", asked.get("catchup", "default"), {each: each for each in _CATCHUPS}),
    )


def _choose(what: str, asked: str, known: dict[str, str]) -> str:
    if asked not in known:
        raise _Refused(f"{what}={asked[:32]!r}; write one of {', '.join(known)}")
    return known[asked]


def _playlist(request: PortalRequest, state: PortalState, wish: _Wish) -> PortalReply:
    lessons = tuple(_lessons(request, state, wish))
    channels = tuple(_channel(each, request, state, wish) for each in state.channels)
    remarks = [f"left-out={item.item_id} reason={reason}" for item in _items(state) if (reason := _why_not(item))]
    text = write_playlist((*channels, *lessons), guide_url=f"{request.base}{GUIDE_GZ_PATH}", remarks=remarks)
    return unless_known(request, state, text.encode(), MEDIA_TYPE)


def _items(state: PortalState) -> tuple[Courseware, ...]:
    """All lessons in the order of the catalogue, as every portal lists them."""
    return state.view.catalogue.courseware


def _why_not(item: Courseware) -> str:
    """Say why a player of this kind cannot show a lesson; empty when it can."""
    if item.family is MediaFamily.PICTURE_TEXT:
        return "no-browser"
    return "" if _best(item) else "no-rendition"


def _best(item: Courseware) -> str:
    return next((name for name in _RENDITIONS if item.rendition(name) is not None), "")


def _lessons(request: PortalRequest, state: PortalState, wish: _Wish) -> Iterator[Entry]:
    titles = {each.column_id: each.title for each in state.view.columns}
    first = max([LESSON_NUMBERS_AFTER, *(each.number for each in state.channels)]) + 1
    before = request.base + ("/play" if state.ticketed else "")
    for number, item in enumerate(_items(state), start=first):
        if _why_not(item):
            continue
        attributes = {"tvg-id": item.item_id, "tvg-chno": str(number)}
        if item.poster is not None:
            attributes["tvg-logo"] = f"{request.base}/posters/{item.item_id}.jpg"
        path = _PROFILES[wish.profile].format(id=item.item_id, best=_best(item))
        group = titles.get(item.column_id, item.column_id)
        yield Entry(item.title, before + path, attributes, group, max(0, round(item.duration_s)))


def _channel(channel: LinearChannel, request: PortalRequest, state: PortalState, wish: _Wish) -> Entry:
    attributes = {"tvg-id": guide_id(channel), "tvg-chno": str(channel.number)}
    url = _live_url(channel, request, state, wish)
    mode, source, own = _CATCHUPS[wish.catchup]
    if mode and channel.time_shift_s > 0 and (url.startswith("http") or not own):
        suffix = "m3u8" if wish.live == "hls" else "ts"
        stem = f"{request.base}{CATCHUP_PREFIX}{channel.channel_id}"
        if own:  # what a player makes out of the address, or puts behind it, is understood below /catchup/
            flussonic = "/mpegts" if suffix == "ts" else "/index.m3u8"
            url = stem + (flussonic if mode == "flussonic" else f".{suffix}")
        days = max(1, -(-int(channel.time_shift_s) // _DAY_S))
        attributes |= {"catchup": mode, "catchup-days": str(days)}
        if source:
            zone = round(state.utc_offset.total_seconds() / 60)
            attributes["catchup-source"] = source.replace("{stem}", f"{stem}.{suffix}").replace("{zone}", str(zone))
    return Entry(channel.name, url, attributes, CHANNELS_GROUP)


_CATCHUPS = {
    "none": ("", "", False),
    "default": ("default", "{stem}?" + _SPAN, False),
    "append": ("append", "?" + _SPAN, True),
    "shift": ("shift", "", True),
    "flussonic": ("flussonic", "", True),
    "vod": ("vod", "{stem}?" + _SPAN, False),
    "playseek": ("default", "{stem}?" + _BUTTONS, False),
}
"""By the word in the query: the mode that the playlist names, its source, and whether the channel's address is ours."""


def _live_url(channel: LinearChannel, request: PortalRequest, state: PortalState, wish: _Wish) -> str:
    if wish.live == "multicast" and channel.multicast:
        return f"{'rtp' if channel.rtp else 'udp'}://@{channel.multicast}"
    if wish.live == "rtsp" and channel.by_rtsp:
        return f"rtsp://{state.rtsp_authority}/live/{channel.channel_id}.mpg"
    before = request.base + ("/play" if state.ticketed else "")
    file = f"{channel.channel_id}/index.m3u8" if wish.live == "hls" else f"{channel.channel_id}.ts"
    return f"{before}/live/{file}"


def _catchup(request: PortalRequest, state: PortalState) -> PortalReply:
    """Send a player on to the channel, at the time that it asks for in its own spelling."""
    found, query, tail = _FILE.fullmatch(request.path), "", None
    if found is not None:
        channel_id, stem, suffix = found[1], found[2], found[3]
        is_ts = suffix == "ts" or stem == "mpegts"
        tail = _asked_span(request)
    elif (found := _FLUSSONIC.fullmatch(request.path)) is not None:
        channel_id, is_ts = found[1], found[5] == "ts"
        tail = _flussonic_span(found[2], int(found[3]), found[4], state.now)
    channel = by_id(state.channels, channel_id) if found is not None else None
    if channel is None:
        return _words(404, "没有这个频道 / no such channel")
    prefix = state.ticket(channel.channel_id)
    if prefix is None:
        words = "观看的人太多，请稍后再试 / as many watch as may; try again later"
        return _words(503, words, ("Retry-After", str(FULL_RETRY_S)))
    if tail is not None:
        query = "?" + urlencode({"playseek": write_playseek(*tail)})
    file = f"{channel.channel_id}.ts" if is_ts else f"{channel.channel_id}/index.m3u8"
    return PortalReply(302, headers=(("Location", f"{prefix}/live/{file}{query}"), ("Cache-Control", "no-store")))


_Span = tuple[datetime, datetime | None]


def _asked_span(request: PortalRequest) -> _Span | None:
    """Read ``start``/``end``, ``utc``/``utcend``, ``utc``/``lutc`` or ``playseek``; None for live.

    ``lutc`` is the player's own time: it names no end.
    """
    query = request.query
    zone = query.get("zoneoffset", "0")
    if not re.fullmatch(r"[+-]?[0-9]{1,3}", zone, re.ASCII) or abs(int(zone)) > ZONE_MINUTES_MAX:
        raise CatchupError(f"zoneoffset={zone[:32]!r}; write minutes ahead of UTC")
    if text := query.get("playseek") or query.get("Playseek"):
        return read_playseek(text, int(zone))
    start = query.get("start") or query.get("utc")
    if not start:
        return None
    since, end = read_moment(start, int(zone)), query.get("end") or query.get("utcend")
    return span(since, read_moment(end, int(zone))) if end else (since, None)


def _flussonic_span(kind: str, number: int, length: str | None, now: datetime) -> _Span:
    if kind == "timeshift_rel":
        return now - timedelta(seconds=number), None
    start = datetime.fromtimestamp(number, UTC)
    if kind == "timeshift_abs" or length in (None, "now"):
        return start, None
    return span(start, start + timedelta(seconds=int(length or 0)))


def _words(status: int, words: str, *headers: tuple[str, str]) -> PortalReply:
    return PortalReply(status, f"{words}\n".encode(), "text/plain; charset=utf-8", headers)


DIALECT = M3uDialect()
