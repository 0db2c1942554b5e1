import json
from urllib.parse import parse_qs, unquote_plus

import msgspec
import pytest

from runtime.clock import SystemClock
from stb_emulator.boxes import Box, load_all
from stb_emulator.boxes.charset import page_text
from stb_emulator.boxes.proof import mac_text, random_text
from stb_emulator.observe import PlayError, Stage
from stb_emulator.observe.line import Reply
from stb_emulator.portals.huawei.login import Ask, Login
from stb_emulator.seat import Seat
from tests.peers.scripted import listening
from wire.ctc import CtcError

TOKEN = "0123456789ABCDEF0123456789ABCDEF"
# stb_protocols §2.4: made with `openssl enc -des-ede3-ecb`, password 123456, key type 0001
VECTOR_0001 = (
    "E15F732488972C3AB447BDEF3ABFC7565C4B75159B03E56E9F9B1F80DBF1A61D5C4B75159B03E56ED76E38C224969075D9E661CE2AC6BF9D93180F"
    "D5FE73673157BDC82EF4FE713FB8107148D4F082C2DF99F7BE334E57195E2D6A8BF2616403EE97C3256058B7E2E4C9459436871B2C688666672AF8"
    "1DF8"
)
RECORD = (
    'ChannelID="{id}",ChannelName="{name}",UserChannelID="1",ChannelURL="{url}",TimeShift="0",TimeShiftLength="0",'
    'ChannelSDP="{url}",TimeShiftURL="",ChannelType="1",IsHDChannel="1",PreviewEnable="0",ChannelPurchased="1",'
    'ChannelLocked="0",ChannelLogURL="",PositionX="0",PositionY="0",BeginTime="0",Interval="0",Lasting="0",ActionType="1",'
    'FCCEnable="0",ChannelFCCIP="",ChannelFCCPort="0",ChannelFECPort="0"'
)


class Portal:
    """A Huawei-style portal of a few lines, from stb_protocols §2 and §12.1; ``pages`` replaces a page by name."""

    def __init__(self, face: str, charset: str = "utf-8") -> None:
        self.face, self.charset = face, charset
        self.pages: dict[str, tuple[int, str]] = {}
        self.asked: list[tuple[str, dict[str, str], str]] = []

    async def __call__(self, reader, writer) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            start, *lines = head.decode().strip().split("\r\n")
            headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
            body = (await reader.readexactly(int(headers.get("content-length", "0")))).decode()
            target = start.split(" ")[1]
            name, query = target.partition("?")[0].rpartition("/")[2], target.partition("?")[2]
            form = {k: v[0] for k, v in parse_qs(body or query, keep_blank_values=True).items()}
            self.asked.append((target.partition("?")[0], form, headers.get("cookie", "")))
            status, text = self.pages.get(name) or self.page(target, name, form, writer.get_extra_info("sockname")[1])
            extra = ""
            if status == 302:
                extra = f"Location: {text}\r\n"
            if name.startswith("authLogin"):
                extra = "Set-Cookie: JSESSIONID=0A1B2C3D4E5F60718293A4B5C6D7E8F9; Path=/EPG\r\n"
            data = text.encode(self.charset)
            kind = f"text/html; charset={self.charset}"
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(data)}\r\n\r\n".encode()
                + data
            )
            await writer.drain()

    def page(self, target: str, name: str, form: dict[str, str], port: int) -> tuple[int, str]:
        face = self.face
        if target.startswith("/EDS/"):
            return 302, f"http://127.0.0.1:{port}/EPG/jsp/AuthenticationURL?UserID={form['UserID']}&Action=Login"
        if name == "AuthenticationURL":
            return 200, "<html>login</html>"
        if name == f"authLoginHW{face}.jsp":
            return 200, f'var EncryptToken = "{TOKEN}"; document.f.userToken.value = "{TOKEN}";'
        if name == f"ValidAuthenticationHW{face}.jsp":
            if face == "CU":
                return 200, "Authentication.CUSetConfig('UserToken','UT1');Authentication.CUSetConfig('stbid','0010');"
            inputs = {"UserToken": "UT1", "tempKey": "", "stbid": form["STBID"]}
            return 200, "".join(f'<input type="hidden" name="{n}" value="{v}">' for n, v in inputs.items())
        if name == f"getchannellistHW{face}.jsp":
            records = [
                RECORD.format(id="7", name="安全用电", url="rtsp://127.0.0.1:1/vod/7.mpg"),
                RECORD.format(id="8", name="图文", url="http://127.0.0.1:1/lessons/8/"),
            ]
            live = RECORD.format(id="901", name="教育频道", url="rtsp://127.0.0.1:1/live/901.mpg")
            records.append(live.replace('TimeShift="0"', 'TimeShift="1"'))
            calls = "".join(f"iRet = Authentication.{face}SetConfig('Channel','{r}');\n" for r in records)
            return 200, f"iRet = Authentication.{face}SetConfig('ChannelCount','3');\n{calls}"
        if name == "data.jsp":
            results = {
                "columnList": [{"id": "c1", "name": "农业"}],
                "seriesInfoById": {"episodeList": [{"id": "7", "num": 1, "name": "安全用电"}, {"id": "8", "num": 2}]},
                "vodInfoById": {"mediaUrl": "http://127.0.0.1:1/lessons/8/", "name": "图文"},
            }
            return 200, json.dumps({"result": results[form["Action"]]}, ensure_ascii=False)
        if name == "GetHeartBit":
            return 200, "[HEARTBIT]\r\nUserValid=true\r\nNextCallInterval=300\r\nChannelVer=1\r\n[MESSAGE]\r\n[END]\r\n"
        return 404, ""


async def _list(portal: Portal, box: Box):
    async with listening(portal) as port:
        return await Seat(portal_url=f"http://127.0.0.1:{port}", clock=SystemClock(), silence_s=1).list(box)


CTC, CU = "ctc_hw_old", "cu_hw_old"


async def test_the_ctc_box_walks_h1_to_h8() -> None:
    portal = Portal("CTC")
    offers = await _list(portal, load_all()[CTC])
    assert [(o.item_id, o.title, o.family) for o in offers] == [
        ("7", "安全用电", "video"),
        ("8", "图文", "picture_text"),
    ]
    paths = [p for p, _, _ in portal.asked]
    assert paths == [
        "/EDS/jsp/AuthenticationURL",
        "/EPG/jsp/AuthenticationURL",
        "/EPG/jsp/authLoginHWCTC.jsp",
        "/EPG/jsp/ValidAuthenticationHWCTC.jsp",
        "/EPG/jsp/GetHeartBit",
        "/EPG/jsp/getchannellistHWCTC.jsp",
        "/EPG/jsp/AuthenticationURL",
    ]
    assert portal.asked[-1][1] == {"UserID": "edu001@itv", "Action": "Logout"}
    listing, cookie = portal.asked[5][1], portal.asked[5][2]
    # stb_protocols §2.3: tempKey of this JSESSIONID
    assert listing["tempKey"] == "87906CC46370B9F96EB2304FAA89CECE"
    assert listing["UserToken"] == "UT1"
    assert cookie == "JSESSIONID=0A1B2C3D4E5F60718293A4B5C6D7E8F9"
    proof = portal.asked[3][1]
    assert proof["STBID"].endswith(proof["mac"].replace(":", "")) and proof["IsSmartStb"] == "undefined"


async def test_the_cu_box_browses_the_template() -> None:
    portal = Portal("CU")
    async with listening(portal) as port:
        seat = Seat(portal_url=f"http://127.0.0.1:{port}", clock=SystemClock(), silence_s=1)
        offers = await seat.list(load_all()[CU])
        row = await seat.watch(load_all()[CU], "8")
    assert [(o.item_id, o.title, o.column) for o in offers] == [("7", "安全用电", "农业"), ("8", "", "农业")]
    asked = [f for p, f, _ in portal.asked if p.endswith("data.jsp")]
    assert {"Action": "seriesInfoById", "seriseId": "c1"} in asked
    assert {"Action": "vodInfoById", "vodId": "8"} in asked
    assert row.stage is Stage.FETCH, "an http address is opened as a page"


async def test_gbk_pages_are_read() -> None:
    offers = await _list(Portal("CTC", "gbk"), load_all()[CTC])
    assert offers[0].title == "安全用电"


@pytest.mark.parametrize(
    ("name", "page", "stage", "word"),
    [
        ("authLoginHWCTC.jsp", (200, "<html>unknown user"), Stage.LOGIN, "no token"),
        ("ValidAuthenticationHWCTC.jsp", (200, "<html>error"), Stage.LOGIN, "no UserToken"),
        ("ValidAuthenticationHWCTC.jsp", (500, ""), Stage.LOGIN, "500"),
        ("AuthenticationURL", (404, ""), Stage.LOGIN, "404"),
        ("AuthenticationURL", (302, "http://127.0.0.1:1/AuthenticationURL"), Stage.LOGIN, "cannot connect"),
        ("AuthenticationURL", (302, "http://192.0.2.9/x"), Stage.LOGIN, "192.0.2.9"),
        ("GetHeartBit", (200, "[HEARTBIT]\r\nUserValid=false\r\n[END]\r\n"), Stage.LOGIN, "UserValid=false"),
        ("GetHeartBit", (404, ""), Stage.LOGIN, "heartbeat"),
        ("getchannellistHWCTC.jsp", (200, "<script>resignon</script>"), Stage.BROWSE, "session is lost"),
        ("getchannellistHWCTC.jsp", (200, "nothing"), Stage.BROWSE, "unreadable channel list"),
        ("getchannellistHWCTC.jsp", (503, ""), Stage.BROWSE, "503"),
    ],
)
async def test_each_failure_has_its_stage(name: str, page: tuple[int, str], stage: Stage, word: str) -> None:
    portal = Portal("CTC")
    portal.pages[name] = page
    with pytest.raises(PlayError) as caught:
        await _list(portal, load_all()[CTC])
    assert caught.value.stage is stage
    assert word in caught.value.reason.en


async def test_the_regex_box_needs_the_fixed_order_and_the_scanning_box_does_not() -> None:
    page = "Authentication.CTCSetConfig('ChannelCount','1');Authentication.CTCSetConfig('Channel','{}');"
    swapped = 'ChannelURL="rtsp://127.0.0.1:1/a",ChannelID="7",ChannelName="x"'
    portal = Portal("CTC")
    portal.pages["getchannellistHWCTC.jsp"] = (200, page.format(swapped))
    box = load_all()[CTC]
    with pytest.raises(PlayError, match="fixed order"):
        await _list(portal, box)
    assert box.huawei
    scanning = msgspec.structs.replace(box, huawei=msgspec.structs.replace(box.huawei, parser="quote-scan"))
    assert [o.item_id for o in await _list(portal, scanning)] == ["7"]


def _at_proof(box: Box, random: int, ip: str) -> Ask:
    """Walk a login to its H4."""
    login = Login(box, "http://127.0.0.1/", random, ip)
    login.start()
    login.reply(Reply("http://127.0.0.1/EPG/jsp/AuthenticationURL", 200, {}, {}, b"<html>"))
    body = f'var EncryptToken = "{TOKEN}"; f.userToken.value = "{TOKEN}";'.encode()
    step = login.reply(Reply("http://127.0.0.1/EPG/jsp/authLoginHWCTC.jsp", 200, {}, {"JSESSIONID": "x"}, body))
    assert isinstance(step, Ask) and step.form
    return step


def test_the_authenticator_is_the_one_that_openssl_made() -> None:
    step = _at_proof(load_all()[CTC], 12345678, "10.0.0.9")
    assert step.form and step.form["Authenticator"] == VECTOR_0001
    assert unquote_plus(step.form["UserID"]) == "edu001@itv"


def _styled(**style: str) -> Box:
    box = load_all()[CTC]
    assert box.proof
    return msgspec.structs.replace(box, proof=msgspec.structs.replace(box.proof, **style))


def test_styles_of_mac_and_random() -> None:
    assert mac_text(_styled(mac_style="bare")) == "1A2B3C4D5E6F"
    assert mac_text(_styled(mac_style="lower")) == "1a:2b:3c:4d:5e:6f"
    assert random_text(_styled(random_style="padded8"), 42) == "00000042"
    assert random_text(_styled(random_style="unpadded"), 42) == "10000"
    assert random_text(_styled(random_style="constant"), 42) == "99999"


def test_the_hexadecimal_may_be_lower_case() -> None:
    step = _at_proof(_styled(hex_case="lower"), 12345678, "10.0.0.9")
    assert step.form and step.form["Authenticator"] == VECTOR_0001.lower()


def test_a_box_with_a_fixed_charset_believes_nothing_else() -> None:
    page = "安全".encode("gbk")
    assert page_text("gbk", page, "text/html; charset=UTF-8") == ("安全", [])
    assert page_text("guess", page, "text/html; charset=UTF-8") == ("安全", ["charset-untrue"])
    with pytest.raises(CtcError, match="not utf-8"):
        page_text("utf-8", page, "text/html; charset=GBK")
