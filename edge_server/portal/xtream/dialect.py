"""The requests of Xtream clients and what is answered. Each request carries the account; nobody is remembered. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from domain.courseware import Courseware
from edge_server.linear import LinearChannel, by_id
from edge_server.linear.guide import DAYS_AHEAD, DAYS_BACK, day_of, guide_id, starting_in, write_xmltv
from edge_server.portal import PortalReply, PortalRequest, PortalState, is_usable_host, unless_known
from edge_server.portal.xtream import listing
from edge_server.sessions.accounts import Account
from edge_server.sessions.logins import LoginRefused, Refusal
from wire.catchup import CatchupError, read_moment
from wire.m3u_write import MEDIA_TYPE, Entry, write_playlist
from wire.playseek import write_playseek
from wire.xmltv_write import MEDIA_TYPE as XMLTV_TYPE

SHORT_EPG_COUNT, SHORT_EPG_MAX_COUNT = 4, 200
SHORT_EPG_SPAN = timedelta(days=2)
DURATION_MAX_MINUTES = 24 * 60
FULL_RETRY_S = 30
NEVER = "4102444800"
"""When accounts end, for clients that want a number: in 2100."""
_JSON = "application/json; charset=utf-8"
_LIVE = re.compile(r"/live/([^/]+)/([^/]+)/([0-9]{1,12})(?:\.(ts|m3u8))?", re.ASCII)
_MOVIE = re.compile(r"/(?:movie|series)/([^/]+)/([^/]+)/([0-9]{1,12})\.(mp4|m3u8|ts|mkv)", re.ASCII)
_SHIFT = re.compile(r"/timeshift/([^/]+)/([^/]+)/([0-9]{1,5})/([^/]{1,40})/([0-9]{1,12})(?:\.(ts|m3u8))?", re.ASCII)
_SHIFT_PHP = ("/streaming/timeshift.php", "/timeshift.php")
_NEVER_KEPT = (("Cache-Control", "no-store"),)
_WORDS = {
    Refusal.THROTTLED: "尝试次数过多，请稍后再试 / too many attempts; wait a minute",
    Refusal.OTHER_BOX: "此账号属于一台机顶盒，不能在这里用 / this account belongs to one box and cannot be used here",
}
_WRONG = "账号或密码不对 / wrong account or password"


class XtreamDialect:
    """See the module."""

    name = "xtream"
    prefixes = (
        "/player_api.php",
        "/get.php",
        "/xmltv.php",
        "/live/",
        "/movie/",
        "/series/",
        "/timeshift/",
        *_SHIFT_PHP,
    )

    def __init__(self) -> None:
        """Begin without a guide."""
        self._guide: tuple[tuple[object, ...], bytes] | None = None

    def reply(self, request: PortalRequest, state: PortalState) -> PortalReply:
        """See Dialect."""
        if request.method not in ("GET", "HEAD", "POST"):
            return _told(405, {"error": "方法不对 / method not allowed"}, ("Allow", "GET, HEAD, POST"))
        if not state.is_local:
            return _told(
                403, _no("此门户只对本地网段开放 / this portal is for the local network only (legacy_networks)")
            )
        if not is_usable_host(request.host):
            return _told(400, {"error": "Host 头不对 / bad Host header"})
        asked = _asked(request)
        if asked is None:
            return _told(404, {"error": "没有这个地址 / no such address"})
        user_id, password, wanted = asked
        try:
            account = state.logins.check_password(user_id, password, request.remote, state.monotonic_s)
        except LoginRefused as refused:
            throttled = refused.reason is Refusal.THROTTLED
            wait = (("Retry-After", str(int(refused.retry_after_s) + 1)),) if throttled else ()
            return _told(429 if throttled else 403, _no(_WORDS.get(refused.reason, _WRONG)), *wait)
        try:
            if wanted.kind == "xmltv":
                return unless_known(request, state, self._xmltv(state), XMLTV_TYPE)
            if wanted.kind == "playlist":
                return _playlist(account, request, state)
            if wanted.kind == "api":
                return _api(account, request, state)
            return _media(wanted, state)
        except CatchupError as error:
            return _told(400, {"error": f"时间不对 / {error}"})

    def _xmltv(self, state: PortalState) -> bytes:
        made_of = (state.channels, state.view.mark, day_of(state.now))
        if self._guide is None or self._guide[0] != made_of:
            self._guide = made_of, write_xmltv(state.channels, state.view, state.now)
        return self._guide[1]


@dataclass(frozen=True, slots=True)
class _Wanted:
    kind: str
    """``api``, ``playlist``, ``xmltv``; ``live``, ``movie``, ``shift``."""
    media_id: str = ""
    suffix: str = ""
    start: str = ""
    minutes: str = ""


_PAGES = {"/player_api.php": "api", "/get.php": "playlist", "/xmltv.php": "xmltv"}


def _asked(request: PortalRequest) -> tuple[str, str, _Wanted] | None:
    """Return the account, the password, and what is wanted; None when the address is none."""
    path = request.path
    if path in _PAGES or path in _SHIFT_PHP:
        wanted = _Wanted(_PAGES.get(path, "shift"))
        if path in _SHIFT_PHP:
            wanted = _Wanted("shift", *(_field(request, name) for name in ("stream", "extension", "start", "duration")))
        return _field(request, "username"), _field(request, "password"), wanted
    if found := _LIVE.fullmatch(path):
        return found[1], found[2], _Wanted("live", found[3], found[4] or "ts")
    if found := _MOVIE.fullmatch(path):
        return found[1], found[2], _Wanted("movie", found[3], found[4])
    if found := _SHIFT.fullmatch(path):
        return found[1], found[2], _Wanted("shift", found[5], found[6] or "ts", found[4], found[3])
    return None


def _field(request: PortalRequest, name: str) -> str:
    return request.form.get(name, request.query.get(name, ""))


def _media(wanted: _Wanted, state: PortalState) -> PortalReply:
    """Send a player on to the address that all boxes use."""
    path: str | None
    if wanted.kind == "movie":
        item = state.view.item(wanted.media_id)
        path = _lesson_path(item, wanted.suffix) if item is not None else None
    else:
        channel = by_id(state.channels, wanted.media_id)
        path = _channel_path(channel, wanted, state) if channel is not None else None
    if path is None:
        return _told(404, {"error": "没有这个节目 / no such stream"})
    prefix = state.ticket(wanted.media_id)
    if prefix is None:
        words = {"error": "观看的人太多，请稍后再试 / as many watch as may; try again later"}
        return _told(503, words, ("Retry-After", str(FULL_RETRY_S)))
    return PortalReply(302, headers=(("Location", prefix + path), *_NEVER_KEPT))


def _lesson_path(item: Courseware, suffix: str) -> str | None:
    if listing.why_not(item):
        return None
    if suffix in ("ts", "m3u8"):  # there is no transport stream in one piece over HTTP; players look at what comes
        return f"/hls/{item.item_id}/ts/master.m3u8"
    return f"/media/{item.item_id}/{listing.best_rendition(item)}.mp4"


def _channel_path(channel: LinearChannel, wanted: _Wanted, state: PortalState) -> str:
    file = f"{channel.channel_id}/index.m3u8" if wanted.suffix == "m3u8" else f"{channel.channel_id}.ts"
    if wanted.kind == "live":
        return f"/live/{file}"
    minutes = wanted.minutes
    if not re.fullmatch("[0-9]{1,5}", minutes, re.ASCII) or not 0 < int(minutes) <= DURATION_MAX_MINUTES:
        raise CatchupError(f"{minutes[:16]!r} minutes; write 1 to {DURATION_MAX_MINUTES}")
    since = read_moment(wanted.start, round(state.utc_offset.total_seconds() / 60))
    try:
        until = since + timedelta(minutes=int(minutes))
    except OverflowError as error:
        raise CatchupError("that is beyond the calendar") from error
    return f"/live/{file}?{urlencode({'playseek': write_playseek(since, until)})}"


def _api(account: Account, request: PortalRequest, state: PortalState) -> PortalReply:
    column_id = _field(request, "category_id")
    wanted: Any
    match _field(request, "action"):
        case "":
            wanted = _greeting(account, request, state)
        case "get_live_categories":
            wanted = listing.categories([(listing.LIVE_CATEGORY, "教育频道")])
        case "get_live_streams":
            wanted = listing.live_streams(state) if column_id in ("", listing.LIVE_CATEGORY) else []
        case "get_vod_categories":
            wanted = listing.categories(listing.columns(state).items())
        case "get_vod_streams":
            wanted = listing.vod_streams(state, request, column_id)
        case "get_vod_info":
            item = state.view.item(_field(request, "vod_id"))
            wanted = listing.vod_info(item, request) if item is not None and not listing.why_not(item) else None
        case "get_series_categories":
            wanted = listing.categories([(listing.SERIES_CATEGORY, "专栏")])
        case "get_series":
            wanted = listing.series(state, request) if column_id in ("", listing.SERIES_CATEGORY) else []
        case "get_series_info":
            wanted = listing.series_info(state, request, _field(request, "series_id") or _field(request, "series"))
        case "get_short_epg":
            wanted = _short_epg(request, state)
        case "get_simple_data_table" | "get_simple_date_table":  # both spellings are in the field
            wanted = _whole_epg(request, state)
        case _:
            return _told(400, {"error": "不支持的 action / unknown action"})
    if wanted is None:
        return _told(404, {"error": "没有这个节目 / no such stream"})
    return unless_known(request, state, msgspec.json.encode(wanted), _JSON)


def _greeting(account: Account, request: PortalRequest, state: PortalState) -> dict[str, Any]:
    name, _, port = request.host.rpartition(":") if not request.host.endswith("]") else (request.host, "", "")
    name, port = (name, port) if name else (request.host, "443" if request.scheme == "https" else "80")
    secure = request.scheme == "https"
    return {
        "user_info": {
            "username": account.user_id,
            "password": account.password,
            "message": "",
            "auth": 1,
            "status": "Active",
            "exp_date": NEVER,
            "is_trial": "0",
            "active_cons": "0",
            "created_at": "0",
            "max_connections": "10",
            "allowed_output_formats": ["m3u8", "ts"],
        },
        "server_info": {
            "url": name,
            "port": "80" if secure else port,
            "https_port": port if secure else "443",
            "server_protocol": request.scheme,
            "rtmp_port": "0",
            "timezone": "Asia/Shanghai" if state.utc_offset == timedelta(hours=8) else _zone(state.utc_offset),
            "timestamp_now": int(state.now.timestamp()),
            "time_now": listing.local(state.now, state),
        },
        "left_out": listing.left_out(state),
    }


def _zone(offset: timedelta) -> str:
    """Name a zone of whole hours as the time zone database does: the sign is the other way round."""
    return f"Etc/GMT{-round(offset.total_seconds() / 3600):+d}"


def _short_epg(request: PortalRequest, state: PortalState) -> dict[str, Any] | None:
    channel = by_id(state.channels, _field(request, "stream_id"))
    limit = _field(request, "limit")
    count = int(limit) if re.fullmatch("[0-9]{1,4}", limit, re.ASCII) else SHORT_EPG_COUNT
    if channel is None:
        return None
    found = channel.programmes(state.now, state.now + SHORT_EPG_SPAN)[: min(count, SHORT_EPG_MAX_COUNT)]
    return listing.programmes(channel, found, state)


def _whole_epg(request: PortalRequest, state: PortalState) -> dict[str, Any] | None:
    channel = by_id(state.channels, _field(request, "stream_id"))
    if channel is None:
        return None
    today = day_of(state.now)
    since, until = today - timedelta(days=DAYS_BACK), today + timedelta(days=DAYS_AHEAD + 1)
    return listing.programmes(channel, starting_in(channel, since, until), state, archive=True)


def _archive(channel: LinearChannel) -> dict[str, str]:
    """Say how far back a channel goes; nothing of one that does not."""
    days = -(-int(channel.time_shift_s) // 86400)
    return {"catchup": "xc", "catchup-days": str(days)} if days else {}


def _playlist(account: Account, request: PortalRequest, state: PortalState) -> PortalReply:
    """Write the playlist of an account; channels have the form of which Kodi makes catch-up addresses (``xc``)."""
    who = f"{quote(account.user_id, safe='@')}/{quote(account.password, safe='')}"
    suffix = ".m3u8" if _field(request, "output") in ("m3u8", "hls") else ""
    titles = listing.columns(state)
    entries = [
        Entry(
            each.name,
            f"{request.base}/live/{who}/{each.channel_id}{suffix}",
            {"tvg-id": guide_id(each), "tvg-chno": str(each.number), **_archive(each)},
            "教育频道",
        )
        for each in state.channels
    ]
    for item in listing.lessons(state):
        logo = {"tvg-logo": url} if (url := listing.poster(item, request)) else {}
        url = f"{request.base}/movie/{who}/{item.item_id}.mp4"
        entries.append(
            Entry(item.title, url, {"tvg-id": item.item_id, **logo}, titles[item.column_id], round(item.duration_s))
        )
    guide = f"{request.base}/xmltv.php?" + urlencode({"username": account.user_id, "password": account.password})
    return unless_known(request, state, write_playlist(entries, guide_url=guide).encode(), MEDIA_TYPE)


def _no(words: str) -> dict[str, Any]:
    return {"user_info": {"auth": 0, "status": "Disabled", "message": words}}


def _told(status: int, told: dict[str, Any], *headers: tuple[str, str]) -> PortalReply:
    return PortalReply(status, msgspec.json.encode(told), _JSON, (*headers, *_NEVER_KEPT))
