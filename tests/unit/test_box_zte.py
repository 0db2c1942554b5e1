"""The ZTE-style portal client against replies written by hand from stb_protocols §3, with every failure it knows."""

import re
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from runtime.clock import SystemClock
from stb_emulator.boxes import Box, Proof, ZteFace, load_all
from stb_emulator.observe import PlayError, Stage
from stb_emulator.portals.zte import channels, pages
from stb_emulator.seat import Seat
from tests.peers.scripted import listening
from wire.ctc import CtcError

TOKEN = "@@0123456789ABCDEF"
USER_TOKEN = "UT0001"
LOCATION = (
    "/iptvepg/function/index.jsp?loadbalanced=1&UserGroupNMB=1&EPGGroupNMB=2&UserToken={token}&UserID=edu001@itv"
    "&STBID=0010&easip=10.0.0.1&networkid=1"
)
RECORD = (
    'ChannelID="{id}",ChannelName="{name}",UserChannelID="1",ChannelURL="{url}",TimeShift="{shift}",'
    'TimeShiftLength="0",ChannelSDP="{url}",TimeShiftURL="",ChannelType="1",IsHDChannel="1",PreviewEnable="0",'
    'ChannelPurchased="1",ChannelLocked="0",ChannelLogURL="",PositionX="0",PositionY="0",BeginTime="0",Interval="0",'
    'Lasting="0",ActionType="1",FCCEnable="0",ChannelFCCIP="",ChannelFCCPort="0",ChannelFECPort="0"'
)
INFO = "jsSetChannelInfo('1','0','0','0','{id}','{name}','农业','1','0','0','0','0','0','1','','','1','0','','0','');\n"
LISTED = (
    ("7", "安全用电", "rtsp://127.0.0.1:1/vod/7.mpg", "0"),
    ("8", "图文", "http://127.0.0.1:1/lessons/8/", "0"),
    ("901", "教育频道", "igmp://239.1.1.1:5140|rtsp://127.0.0.1:1/live/901.mpg", "1"),
)
RECORDS = "".join(
    f"jsSetConfig('Channel','{RECORD.format(id=i, name=n, url=u, shift=s)}');\n{INFO.format(id=i, name=n)}"
    for i, n, u, s in LISTED
)

EARLY = "".join(
    f"iRet = Authentication.CTCSetConfig('Channel','{RECORD.format(id=i, name=n, url=u, shift=s)}');\n"
    for i, n, u, s in LISTED
)


class Portal:
    """A ZTE-style portal of a few lines; ``pages`` replaces a page by name, ``once`` does so for one request."""

    def __init__(self, charset: str = "gbk") -> None:
        self.charset = charset
        self.pages: dict[str, tuple[int, str]] = {}
        self.once: dict[str, list[str]] = {}
        self.asked: list[tuple[str, dict[str, str], dict[str, str], str]] = []

    async def __call__(self, reader, writer) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            start, *lines = head.decode().strip().split("\r\n")
            headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
            body = (await reader.readexactly(int(headers.get("content-length", "0")))).decode()
            target = urlsplit(start.split(" ")[1])
            name = target.path.rpartition("/")[2]
            query, form = (
                {k: v[0] for k, v in parse_qs(text, keep_blank_values=True).items()} for text in (target.query, body)
            )
            self.asked.append((name, query, form, headers.get("cookie", "")))
            port = writer.get_extra_info("sockname")[1]
            status, text = self.pages.get(name) or (200, self.page(name, f"http://127.0.0.1:{port}"))
            if self.once.get(name):
                status, text = 200, self.once[name].pop(0)
            extra = f"Location: {text}\r\n" if status == 302 else ""
            if name in ("auth.jsp", "GetUserToken.jsp"):
                extra += "Set-Cookie: JSESSIONID=ABC; Path=/iptvepg\r\n"
            if name == "funcportalauth.jsp" and (name not in self.pages):
                extra += f"X-Frame-UserToken: {USER_TOKEN}\r\n"
            data = text.encode(self.charset)
            kind = f"Content-Type: text/html; charset={self.charset}\r\nContent-Length: {len(data)}"
            writer.write(f"HTTP/1.1 {status} X\r\n{extra}{kind}\r\n\r\n".encode() + data)
            await writer.drain()

    def page(self, name: str, base: str) -> str:
        location = base + LOCATION.format(token=USER_TOKEN)
        accepted = (
            f"Authentication.CTCSetConfig('TokenExpiredTime','2026.12.01 08:00:00');\nwindow.location = '{location}';"
        )
        found = {
            "index.jsp": f"<form name='authform' method='post' action='{base}/iptvepg/function/funcportalauth.jsp'>"
            f'<input type="hidden" name="UserToken" value="{USER_TOKEN}"></form>',
            "getencrypttoken.jsp": f"document.authform.Authenticator.value = GetAuthInfo('{TOKEN}');",
            "auth.jsp": accepted,
            "GetUserToken.jsp": accepted,
            "funcportalauth.jsp": "<html>ok",
            "setConfig.js": "// 配置",
            "frame.jsp": "<html>框架",
            "frameset_judger.jsp": '<form name="mainWinSrcForm" action="frameset_builder.jsp">'
            '<input type="hidden" name="MAIN_WIN_SRC" value="/iptvepg/frame80/portal.jsp"></form>',
            "frameset_builder.jsp": f"<script>jsSetConfig('ChannelCount','3');\n{RECORDS}</script>",
        }
        return found.get(name, "")


def zte_box(**face: str) -> Box:
    box = load_all()["ctc_hw_old"]
    proof = Proof(
        suffix="CTC",
        key_type="0001",
        md5_hex="padded",
        random_style="padded8",
        mac_style="upper",
        pad_style="pkcs5",
    )
    table = ZteFace(**{"entry": "getencrypttoken", **face})  # type: ignore[arg-type]
    return msgspec.structs.replace(box, portal="zte", huawei=None, zte=table, proof=proof)


async def _list(portal: Portal, box: Box | None = None):
    async with listening(portal) as port:
        seat = Seat(portal_url=f"http://127.0.0.1:{port}", clock=SystemClock(), silence_s=1)
        return await seat.list(box or zte_box())


async def test_the_newer_box_walks_z1_to_z7() -> None:
    portal = Portal()
    offers = await _list(portal)
    assert [(o.item_id, o.title, o.column, o.family) for o in offers] == [
        ("7", "安全用电", "", "video"),
        ("8", "图文", "", "picture_text"),
    ], "the channel that runs by itself is no lesson"
    assert [name for name, *_ in portal.asked] == [
        "getencrypttoken.jsp",
        "auth.jsp",
        "index.jsp",
        "funcportalauth.jsp",
        "setConfig.js",
        "frame.jsp",
        "frameset_judger.jsp",
        "frameset_builder.jsp",
    ]
    first, proof, index, frame, *_, builder = portal.asked
    assert (first[1]["TerminalFlag"], first[1]["UserID"]) == ("1", "edu001@itv")
    assert proof[1] | {"ipVersion": "4", "networkid": "1"} == proof[1]
    assert set(proof[2]) == {"UserID", "Authenticator", "StbIP"}
    assert re.fullmatch("[0-9A-F]+", proof[2]["Authenticator"])
    assert index[1]["UserToken"] == USER_TOKEN and index[3] == "JSESSIONID=ABC"
    assert frame[2]["UserToken"] == USER_TOKEN and frame[2]["easip"] == "10.0.0.1"
    assert builder[2] == {
        "MAIN_WIN_SRC": "/iptvepg/frame80/portal.jsp",
        "NEED_UPDATE_STB": "1",
        "BUILD_ACTION": "FRAMESET_BUILDER",
        "hdmistatus": "undefined",
    }


async def test_the_older_door_posts_to_the_form_of_its_page() -> None:
    portal = Portal()
    form = f"<form action='GetUserToken.jsp?x=1' name='f'><input name='a' value='b'></form>CTCGetAuthInfo('{TOKEN}')"
    portal.once["index.jsp"] = [form]
    assert len(await _list(portal, zte_box(entry="index"))) == 2
    (name, query, posted, _) = portal.asked[1]
    assert (name, query, posted["a"], posted["UserID"]) == ("GetUserToken.jsp", {"x": "1"}, "b", "edu001@itv")


async def test_the_oldest_box_wants_its_channels_with_the_first_pages() -> None:
    portal, box = Portal(), zte_box(channels_at="index")
    with pytest.raises(PlayError, match="1302"):
        await _list(portal, box)
    portal.pages["index.jsp"] = (200, portal.page("index.jsp", "") + f"<script>{EARLY}</script>")
    assert [o.item_id for o in await _list(portal, box)] == ["7", "8"]


async def test_an_old_utstarcom_box_enters_by_its_own_door() -> None:
    portal = Portal()
    portal.pages["UserAuthenticationAction.do"] = (200, f"<script>CTCGetAuthInfo('{TOKEN}')</script>")
    handed_on = "top.document.location = '/iptvepg/function/index.jsp?loadbalanced=1&UserToken=UT0001'"
    portal.pages["ValidAuthenticatorAction.do"] = (200, f"document.location = '/iptvepg/function/index.jsp'; // {1}")
    portal.once["index.jsp"] = [handed_on]
    assert len(await _list(portal, zte_box(entry="iptv3a"))) == 2
    assert [name for name, *_ in portal.asked][:4] == [
        "UserAuthenticationAction.do",
        "ValidAuthenticatorAction.do",
        "index.jsp",
        "index.jsp",
    ]
    assert portal.asked[0][1] == {"UserID": "edu001@itv", "Action": "login"}


async def test_platform_2_leads_into_the_guide_by_two_settings() -> None:
    portal = Portal()
    portal.pages["auth"] = (200, f"<script>CTCGetAuthInfo('{TOKEN}')</script>")
    sets = "Authentication.CTCSetConfig('UserToken','UT0001');Authentication.CTCSetConfig('EPGDomain','{}');"
    portal.pages["uploadAuthInfo"] = (200, sets.format("/iptvepg/function/index.jsp"))
    assert len(await _list(portal, zte_box(entry="ctc2"))) == 2
    assert portal.asked[1][2]["AccessMethod"] == "dhcp"
    assert portal.asked[2][1] == {"UserToken": "UT0001", "UserID": "edu001@itv", "UserIP": "127.0.0.1"}


EXPIRED = "var weburl = '/iptvepg/function/rebuildsessionresponse.jsp?UserToken=' + usertoken + '&ismenu=0';"


async def test_an_expired_session_is_rebuilt_once_and_then_logged_in_again() -> None:
    portal = Portal()
    portal.once["frameset_judger.jsp"] = [EXPIRED]
    assert len(await _list(portal)) == 2
    rebuilt = [(n, q) for n, q, *_ in portal.asked if n.startswith("rebuild")]
    assert rebuilt == [("rebuildsessionresponse.jsp", {"UserToken": USER_TOKEN, "ismenu": "0"})]
    portal = Portal()
    portal.once["frameset_judger.jsp"] = [EXPIRED, EXPIRED]
    assert len(await _list(portal)) == 2
    assert [n for n, *_ in portal.asked].count("auth.jsp") == 2
    portal = Portal()
    portal.pages["frameset_judger.jsp"] = (200, EXPIRED)
    with pytest.raises(PlayError, match="stays expired"):
        await _list(portal)


@pytest.mark.parametrize(
    ("name", "page", "stage", "word"),
    [
        ("getencrypttoken.jsp", (200, "<html>none"), Stage.LOGIN, "no GetAuthInfo token"),
        ("getencrypttoken.jsp", (500, ""), Stage.LOGIN, "500"),
        ("getencrypttoken.jsp", (302, "http://192.0.2.9/x"), Stage.LOGIN, "192.0.2.9"),
        ("auth.jsp", (200, "<html>refused"), Stage.LOGIN, "does not lead"),
        ("auth.jsp", (302, "/iptvepg/qrcodeerror.jsp?errorcode=10005"), Stage.LOGIN, "error 10005"),
        ("auth.jsp", (200, "window.location='qrcodeerror.jsp?a=1&errorcode=7'"), Stage.LOGIN, "error 7"),
        ("index.jsp", (200, "<form name='other'></form>"), Stage.LOGIN, "no authform"),
        ("index.jsp", (200, "window.location = 'index.jsp'"), Stage.LOGIN, "hop 6"),
        ("funcportalauth.jsp", (200, "<html>"), Stage.LOGIN, "X-Frame-UserToken"),
        ("frameset_judger.jsp", (200, "<html>"), Stage.BROWSE, "mainWinSrcForm"),
        ("frameset_builder.jsp", (404, ""), Stage.BROWSE, "404"),
        ("frameset_builder.jsp", (200, "qrcodeerror.jsp?errorcode=9"), Stage.BROWSE, "error 9"),
        ("frameset_builder.jsp", (200, "jsSetConfig('Channel','x');"), Stage.BROWSE, "unreadable channel list"),
        ("frameset_builder.jsp", (200, "jsSetChannelInfo('1','2"), Stage.BROWSE, "unreadable channel list"),
    ],
)
async def test_each_failure_has_its_stage(name: str, page: tuple[int, str], stage: Stage, word: str) -> None:
    portal = Portal()
    portal.pages[name] = page
    with pytest.raises(PlayError) as caught:
        await _list(portal)
    assert caught.value.stage is stage
    assert word in caught.value.reason.en


async def test_this_box_reads_gbk_only() -> None:
    with pytest.raises(PlayError, match="charset"):
        await _list(Portal("utf-8"))
    assert len(await _list(Portal("utf-8"), zte_box(charset="guess"))) == 2


@pytest.mark.parametrize("parser", ["regex", "quote-scan"])
def test_both_parsers_read_the_written_form(parser: channels.Parser) -> None:
    listing = channels.parse(RECORDS, parser)
    assert [c.channel_id for c in listing.channels] == ["7", "8", "901"]
    assert (listing.columns["7"], listing.deviations) == ("农业", ())


@pytest.mark.parametrize(
    ("page", "word"),
    [
        (RECORDS.replace(",'');", ");"), "channel-info-places"),
        (RECORDS.replace(INFO.format(id="8", name="图文"), ""), "channel-info-missing"),
        (RECORDS + INFO.format(id="9", name="九"), "channel-info-unknown"),
        (RECORDS.replace("'安全用电'", "'别的'"), "channel-info-name"),
        (RECORDS + RECORDS, "channel-twice"),
    ],
)
def test_what_is_odd_in_the_positions_is_named(page: str, word: str) -> None:
    assert word in channels.parse(page, "quote-scan").deviations


def test_the_narrow_client_breaks_on_what_the_scanning_one_reads() -> None:
    page = RECORDS.replace("安全用电", "安全(一)用电")
    assert channels.parse(page, "quote-scan").channels[0].name == "安全(一)用电"
    assert "channel-info-missing" in channels.parse(page, "regex").deviations
    with pytest.raises(CtcError, match="is no list"):
        channels.parse("jsSetChannelInfo(1,it's);", "regex")


def test_rebuild_addresses_and_times() -> None:
    assert pages.rebuild_address("weburl='a?t='+usertoken;", "x&y") == "a?t=x%26y"
    assert pages.rebuild_address("<html>", "x") is None
    assert pages.is_time("2026.12.01 08:00:00") and not pages.is_time("2026-12-01 08:00:00")
