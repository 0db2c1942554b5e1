# ruff: noqa: E501 (a request is one line here, however long)
"""Doors of the portals: a request as bytes, read as the port reads it, answered by the dialect.

Besides not failing, a reply must be short, in its charset, without a line break in a field, and without anything of the
request that could end a string or open a tag of a page: requests carry ``<zq>``, ``'zq`` and the like.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qsl

from multidict import CIMultiDict
from yarl import URL

from edge_server.bootstrap.http_port import FORM_FIELDS_MAX
from edge_server.catalog import CatalogView
from edge_server.portal import REQUEST_BODY_MAX_BYTES, Dialect, PortalRequest, PortalState
from edge_server.portal.huawei.dialect import HuaweiDialect
from edge_server.portal.json_api.dialect import JsonApiDialect
from edge_server.portal.m3u import M3uDialect
from edge_server.portal.stalker.dialect import StalkerDialect
from edge_server.portal.web.dialect import WebDialect
from edge_server.portal.xtream.dialect import XtreamDialect
from edge_server.portal.zte.dialect import ZteDialect
from edge_server.sessions.box_logins import BoxLogins
from edge_server.sessions.boxes import BoxError, normal_mac
from edge_server.sessions.logins import Attempt, Logins
from edge_server.sessions.presence import Presence
from tests import portal_lab
from tests.fuzz import Door
from tests.old_boxes import ACCOUNTS, CHANNELS, HOST, NOW, RTSP, STBID, authenticator, view_of
from wire import ctc

REPLY_MAX_BYTES = 2 << 20
STATUSES = frozenset({200, 302, 303, 304, 307, 400, 401, 403, 404, 405, 406, 410, 412, 413, 429, 501, 503})
MAC = "00:1A:79:AA:BB:CC"
BROKEN_OUT = (b"<zq>", b"'zq", b'"zq')
REMOTE = "192.0.2.50"


class NoRequest(Exception):
    """The port itself refuses it."""


@cache
def _old_view() -> CatalogView:
    return view_of(Path(tempfile.mkdtemp(prefix="fuzz-"))).read_through()


@cache
def _new_view() -> CatalogView:
    return portal_lab.view(Path(tempfile.mkdtemp(prefix="fuzz-")))


def request_of(data: bytes) -> PortalRequest:
    """Read a request as ``bootstrap.http_port.read_request`` does after aiohttp."""
    head, _, body = data.partition(b"\n\n")
    line, *fields = head.split(b"\n")
    method, _, target = line.decode("latin-1").partition(" ")
    if not target.startswith("/") or any(not 0x20 < ord(each) < 0x7F for each in target):
        raise NoRequest
    try:
        url = URL(target, encoded=True)
        query, path = dict(url.query), url.path
    except ValueError as error:
        raise NoRequest from error
    headers: CIMultiDict[str] = CIMultiDict()
    for field in fields:
        name, colon, value = field.decode("utf-8", "surrogateescape").partition(":")
        if not colon or "\r" in value or "\x00" in value:
            raise NoRequest
        headers.add(name, value.strip())
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(headers.get("Cookie", ""))
    except CookieError as error:
        raise NoRequest from error
    if len(body) > REQUEST_BODY_MAX_BYTES:
        raise NoRequest
    try:
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
    except ValueError as error:
        raise NoRequest from error
    return PortalRequest(
        method or "GET",
        path,
        query,
        form,
        headers,
        {name: each.value for name, each in cookies.items()},
        REMOTE,
        headers.get("Host", HOST),
        body,
        8800,
    )


def check(dialect: Dialect, request: PortalRequest, state: PortalState) -> None:
    """Ask, and look at what every reply must be."""
    reply = dialect.reply(request, state)
    assert reply.status in STATUSES, reply.status
    assert len(reply.body) < REPLY_MAX_BYTES, len(reply.body)
    for name, value in reply.headers:
        assert not set(name + value) & {"\r", "\n", "\x00"}, (name, value)
        value.encode()
    kind, _, charset = reply.media_type.partition("charset=")
    if charset:
        reply.body.decode("gb18030" if charset.lower() == "gbk" else charset)
    if "html" in kind or "javascript" in kind:
        assert not any(each in reply.body for each in BROKEN_OUT), "what was asked breaks out of its string or tag"


def _logins() -> Logins:
    numbers = itertools.count(1)
    return Logins(ACCOUNTS.get, token=lambda: f"{next(numbers):032X}")


def _old(dialect: Dialect, seeds: tuple[bytes, ...]) -> Door:
    seconds, view = itertools.count(), _old_view()
    logins = _logins()

    def take(data: bytes) -> None:
        nonlocal logins
        request = request_of(data)
        now_s = next(seconds) * 0.01
        if now_s % 40 < 0.01:  # the session that the seeds name
            fresh = _logins()
            challenge = fresh.issue("edu001@itv", REMOTE, now_s)
            made = authenticator(challenge.encrypt_token)
            login_all(fresh, made, now_s)
            logins = fresh
        check(dialect, request, PortalState(view, logins, RTSP, NOW, now_s, channels=CHANNELS))

    return Door(dialect.name, seeds, take, (NoRequest,), REQUEST_BODY_MAX_BYTES)


def login_all(logins: Logins, made: str, now_s: float) -> None:
    """Log the box of the seeds in; its session is then the third number."""
    logins.log_in(Attempt("edu001@itv", made, STBID, ctc.Face.CTC, REMOTE), now_s)


def _requests(cookie: str, *lines: str) -> tuple[bytes, ...]:
    made = []
    for line in lines:
        head, _, body = line.partition(" | ")
        made.append(f"{head}\nHost: {HOST}\nCookie: {cookie}\nUser-Agent: B600\n\n{body}".encode())
    return tuple(made)


_SESSION = f"JSESSIONID={3:032X}"


def _huawei() -> Door:
    answer = authenticator(f"{1:032X}")
    seeds = _requests(
        _SESSION,
        "GET /EDS/jsp/AuthenticationURL?UserID=edu001@itv&Action=Login",
        "GET /EPG/jsp/AuthenticationURL?UserID=edu003@itv&Action=Logout",
        "POST /EPG/jsp/authLoginHWCTC.jsp | UserID=edu001@itv&VIP=",
        f"POST /EPG/jsp/ValidAuthenticationHWCTC.jsp | UserID=edu001@itv&Lang=&Authenticator={answer}&STBID={STBID}&conntype=4",
        "POST /EPG/jsp/getchannellistHWCTC.jsp | conntype=&UserToken=1&tempKey=&stbid=&SupportHD=1&UserID=edu001@itv&Lang=1",
        f"GET /EPG/jsp/GetHeartBit?UserStatus=1&ChannelVer=7&STBID={STBID}&STBType=x&Version=1",
        "GET /EPG/jsp/gdhdpublic/Ver.3/common/data.jsp?Action=columnList",
        "GET /EPG/jsp/gdhdpublic/Ver.3/common/data.jsp?Action=seriesInfoById&seriseId=1",
        "GET /EPG/jsp/gdhdpublic/Ver.2/common/data.jsp?Action=vodInfoById&vodId=10000001",
        "GET /EPG/jsp/gdhdpublic/Ver.2/common/data.jsp?Action=vodIdByCode&foreignSN=10000001&contentType=0",
        "GET /EPG/jsp/gdhdpublic/Ver.2/common/data.jsp?Action=channelProgramList&channelId=900001&date=20261124",
        "GET /EPG/jsp/liveplay_30/en/getTvodData.jsp?channelId=900001",
        'POST /VSP/V3/QueryPlaybillList | {"queryChannel":{"channelIDs":["900001"]},"queryPlaybill":{"type":"0","startTime":"1795478400000","endTime":"1795564800000","count":"100","offset":"0","isFillProgram":"1"}}',
        'POST /esaas/v2/live/channel | {"timestamp":1,"areaCode":""}',
        'POST /esaas/v1/live/program | {"startTime":"20261124000000","endTime":"20261125000000","channelId":"1","payed":0}',
        "GET /UICloudAuthClient/api/authentication?UserID=edu001@itv&Action=Login",
        f"POST /UICloudAuthClient/api/authurl | UserID=edu001@itv&authenticator={answer}",
    )
    return _old(HuaweiDialect(), seeds)


def _zte() -> Door:
    answer = authenticator(f"{1:032X}")
    seeds = _requests(
        _SESSION,
        "GET /iptvepg/platform/index.jsp?UserID=edu001@itv&Action=Login",
        f"GET /iptvepg/platform/getencrypttoken.jsp?UserID=edu001@itv&Action=Login&TerminalFlag=1&TerminalOsType=0&STBID={STBID}&stbtype=B600",
        f"POST /iptvepg/platform/auth.jsp?easip=10.0.0.1&ipVersion=4&networkid=1 | UserID=edu001@itv&Authenticator={answer}&StbIP=10.0.0.9",
        f"GET /iptvepg/function/index.jsp?loadbalanced=0&UserToken={4:032X}&UserID=edu001@itv&STBID={STBID}&easip=1&networkid=1",
        f"POST /iptvepg/function/funcportalauth.jsp | UserToken={4:032X}&UserID=edu001@itv&STBID={STBID}&stbinfo=&prmid=&easip=1&networkid=1&stbtype=B600",
        "GET /iptvepg/js/setConfig.js",
        "GET /iptvepg/function/frame.jsp",
        "POST /iptvepg/function/frameset_judger.jsp | picturetype=1,3,5",
        "POST /iptvepg/function/frameset_builder.jsp | MAIN_WIN_SRC=/iptvepg/frame1/portal.jsp&NEED_UPDATE_STB=1&BUILD_ACTION=FRAMESET_BUILDER",
        f"GET /iptvepg/function/rebuildsessionresponse.jsp?UserToken={4:032X}&from=expired",
        "GET /iptvepg/platform/qrcodeerror.jsp?errorcode=2",
        "GET /iptvepg/frame1/portal.jsp",
        "GET /iptvepg/frame205/action/getchannelprogram.jsp?channelcode=900001&currdate=2026.11.24",
        "GET /iptvepg/frame80/channel/ztedatajsp/prevueList.jsp?pageIndex=1&pageSize=20&isAjax=1&isJson=-1&curdate=2026.11.24&USERID=x&channelID=900001",
        "GET /iptvepg/frame1/sdk_getcolumnlist.jsp",
        "GET /iptv3a/UserAuthenticationAction.do?UserID=edu001@itv&Action=login",
        f"POST /iptv3a/ValidAuthenticatorAction.do | UserID=edu001@itv&Authenticator={answer}",
        "GET /auth?UserID=edu001@itv&Action=Login",
        f"POST /uploadAuthInfo | UserID=edu001@itv&Authenticator={answer}&AccessMethod=dhcp&AccessUserName=x",
    )
    return _old(ZteDialect(), seeds)


def _stalker() -> Door:
    boxes, seconds, dialect, view = BoxLogins(unregistered=True), itertools.count(), StalkerDialect(), _new_view()
    token = boxes.knock(MAC, REMOTE, 0.0)
    boxes.let_in(token, 0.0)
    actions = (
        *("stb&action=handshake", "stb&action=get_profile", "stb&action=do_auth&login=a&password=b", "stb&action=log"),
        *("itv&action=get_genres", "itv&action=get_all_channels", "itv&action=get_ordered_list&genre=*&p=1"),
        *("itv&action=get_epg_info&period=24", "itv&action=get_short_epg&ch_id=900001&size=4"),
        *("itv&action=create_link&cmd=ffmpeg%20http://edge/live/900001.ts", "vod&action=get_categories"),
        *("vod&action=get_ordered_list&category=1&p=1&search=%E8%AF%BE", "vod&action=create_link&cmd=/media/1.mpg"),
        *("watchdog&action=get_events", "stb&action=get_modules"),
    )
    seeds = tuple(
        f"GET {path}?type={each}&JsHttpRequest=1-xml\nHost: {HOST}\nCookie: mac={MAC.replace(':', '%3A')}; stb_lang=zh\n"
        f"Authorization: Bearer {token.token}\n\n".encode()
        for each, path in zip(
            actions, itertools.cycle(["/portal.php", "/stalker_portal/server/load.php", "/c/portal.php"])
        )
    )

    def take(data: bytes) -> None:
        now_s = next(seconds) * 0.001
        state = PortalState(
            view, _NOBODY, RTSP, portal_lab.NOW, now_s, channels=portal_lab.CHANNELS, boxes=boxes, ticketed=True
        )
        check(dialect, request_of(data), state)

    return Door("stalker", seeds, take, (NoRequest,), REQUEST_BODY_MAX_BYTES)


_NOBODY = Logins(ACCOUNTS.get)


def _plain(dialect: Dialect, *lines: str) -> Door:
    seconds, view, presence = itertools.count(), _new_view(), Presence()
    logins = Logins(ACCOUNTS.get)
    agents = itertools.cycle(["webkit;Resolution(PAL,720P,1080P)", "Mozilla/5.0 Chrome/130", ""])
    seeds = tuple(
        f'{head}\nHost: {HOST}\nUser-Agent: {next(agents)}\nIf-None-Match: "x"\nAccept-Charset: gbk\n\n{body}'.encode()
        for head, _, body in (line.partition(" | ") for line in lines)
    )

    def take(data: bytes) -> None:
        now_s = next(seconds) * 10.0  # so that a throttled account is free again
        state = PortalState(
            view, logins, RTSP, portal_lab.NOW, now_s, channels=portal_lab.CHANNELS, presence=presence, api_origin="*"
        )
        check(dialect, request_of(data), state)

    return Door(dialect.name, seeds, take, (NoRequest,), REQUEST_BODY_MAX_BYTES)


def _xtream() -> Door:
    who = "username=edu001@itv&password=123456"
    return _plain(
        XtreamDialect(),
        f"GET /player_api.php?{who}",
        *(
            f"GET /player_api.php?{who}&action={each}"
            for each in (
                *("get_live_categories", "get_live_streams&category_id=1", "get_vod_categories", "get_vod_streams"),
                *("get_vod_info&vod_id=1", "get_series", "get_short_epg&stream_id=900001&limit=4"),
                "get_simple_data_table&stream_id=900001",
            )
        ),
        f"GET /get.php?{who}&type=m3u_plus&output=ts",
        f"GET /xmltv.php?{who}",
        "GET /live/edu001@itv/123456/900001.m3u8",
        "GET /movie/edu001@itv/123456/3.mp4",
        "GET /timeshift/edu001@itv/123456/60/2026-11-24:08-00/900001.ts",
        f"GET /streaming/timeshift.php?{who}&stream=900001&start=2026-11-24:08-00&duration=60",
        f"POST /player_api.php | {who}",
    )


def _json_api() -> Door:
    return _plain(
        JsonApiDialect(),
        *(f"GET /api/v1/{each}" for each in ("catalogue", "columns", "channels", "time", "lessons/3", "schema.json")),
        "GET /api/v1/channels/900001/programmes?since=2026-11-24T00:00:00Z&until=20261125000000",
        "POST /api/v1/heartbeat | box=00:1A:79:AA:BB:CC&item=3",
    )


def _m3u() -> Door:
    return _plain(
        M3uDialect(),
        "GET /playlist.m3u",
        "GET /playlist.m3u?output=hls&group=1&catchup=flussonic&user=a&x=%27zq",
        "GET /iptv.m3u8?format=ts",
        "GET /epg.xml",
        "GET /xmltv.xml.gz",
        "GET /catchup/900001.ts?playseek=20261124080000-20261124083000&zoneoffset=480",
        "GET /catchup/900001.m3u8?utc=1795478400&lutc=1795482000",
        "GET /catchup/900001/timeshift_abs-1795478400.ts",
        "GET /catchup/900001/timeshift_rel-3600.m3u8",
        "GET /catchup/900001/video-1795478400-3600.m3u8",
        "GET /catchup/900001/index-1795478400-now.m3u8",
    )


def _web() -> Door:
    return _plain(
        WebDialect(),
        *("GET /", "GET /columns", "GET /channels?day=2026-11-24", "GET /search?q=%E5%AE%89%E5%85%A8&p=2", "GET /keys"),
        *("GET /watch/3", "GET /channel/900001?day=1", "GET /column/1?p=1", "GET /lesson/3", "GET /page/3"),
        *(
            "GET /play/whep/3",
            "GET /play?url=/hls/3/R12/index.m3u8",
            "GET /play/live/900001.ts",
            "GET /static/portal.js",
        ),
        "POST /play/whep/3 | v=0",
    )


def _macs() -> Door:
    def take(data: bytes) -> None:
        found = normal_mac(data.decode("utf-8", "replace"))
        assert found is None or (len(found) == 17 and found.isascii())

    return Door("mac", (MAC.encode(), b"001A79AABBCC", b"00-1a-79-aa-bb-cc"), take, (BoxError,), 4096)


PORTALS: Mapping[str, Callable[[], Door]] = {
    "portal-huawei": _huawei,
    "portal-zte": _zte,
    "portal-stalker": _stalker,
    "portal-xtream": _xtream,
    "portal-json": _json_api,
    "portal-m3u": _m3u,
    "portal-web": _web,
    "mac": _macs,
}
