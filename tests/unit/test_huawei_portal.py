"""The Huawei-style portal, request by request: both faces list what the catalogue holds, once and in order."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.courseware import (
    Catalogue,
)
from edge_server.catalog import CatalogView
from edge_server.portal import PortalReply, PortalRequest, PortalState
from edge_server.portal.huawei import DIALECT
from edge_server.portal.huawei.dialect import HuaweiDialect
from edge_server.sessions.logins import Logins
from tests.old_boxes import ACCOUNTS, CATALOGUE, HOST, RTSP, STBID, counted_logins, item, view_of
from wire import ctc

PASSWORDS = {user_id: each.password for user_id, each in ACCOUNTS.items()}


@dataclass
class Box:
    """A deliberately dumb box: it keeps one cookie and does what the page says."""

    view: CatalogView
    face: str = "CTC"
    user_id: str = "edu001@itv"
    dialect: HuaweiDialect = DIALECT
    cookies: dict[str, str] = field(default_factory=dict)
    now_s: float = 0.0
    remote: str = "192.0.2.50"
    logins: Logins = field(default_factory=counted_logins)
    seen: dict[str, Any] = field(default_factory=dict)
    """Further parts of the state."""

    def ask(self, url: str, form: dict[str, str] | None = None, **changes: Any) -> PortalReply:
        parts = urlsplit(url)
        query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        method = "GET" if form is None else "POST"
        request = PortalRequest(method, parts.path, query, form or {}, {}, dict(self.cookies), self.remote, HOST)
        state = PortalState(self.view, self.logins, RTSP, datetime(2026, 1, 1, tzinfo=UTC), self.now_s, **self.seen)
        reply = self.dialect.reply(replace(request, **changes), state)
        for name, value in reply.headers:
            if name == "Set-Cookie" and (match := re.fullmatch(r"JSESSIONID=([^;]*); Path=/EPG(; Max-Age=0)?", value)):
                self.cookies = {"JSESSIONID": match.group(1)} if match.group(1) else {}
        return reply

    def page(self, name: str, form: dict[str, str], **changes: Any) -> str:
        return text(self.ask(f"/EPG/jsp/{name}HW{self.face}.jsp", form, **changes))

    def token(self) -> str:
        page = self.page("authLogin", {"UserID": self.user_id, "VIP": ""})
        match = re.search(r'var EncryptToken = "([0-9A-F]{32})";', page)
        assert match
        assert f'userToken.value = "{match.group(1)}"' in page
        return match.group(1)

    def log_in(self, password: str | None = None, **how: Any) -> str:
        made = ctc.Authenticator("12345678", self.token(), self.user_id, STBID, "10.0.0.9", "1A:2B:3C:4D:5E:6F")
        text = ctc.encrypt(made.build(), password or PASSWORDS[self.user_id], **how)
        form = {"UserID": self.user_id, "Authenticator": text, "STBID": STBID, "userToken": made.encrypt_token}
        noise = {"Lang": "0", "SupportHD": "1", "conntype": "dhcp", "IsSmartStb": "undefined", "templateName": "null"}
        return self.page("ValidAuthentication", {**form, **noise})

    def channels(self, **form: str) -> str:
        return self.page("getchannellist", {"UserToken": "?", "stbid": STBID, "tempKey": "", "UserID": "", **form})

    def data(self, query: str) -> Any:
        return json.loads(self.ask(f"/EPG/jsp/gdhdpublic/Ver.3/common/data.jsp?{query}").body)


def text(reply: PortalReply) -> str:
    assert reply.status == 200
    charset = reply.media_type.partition("charset=")[2]
    return reply.body.decode(charset)


@pytest.fixture
def view(tmp_path: Path) -> CatalogView:
    return view_of(tmp_path)


@pytest.fixture(params=["CTC", "CU"])
def box(request: pytest.FixtureRequest, view: CatalogView) -> Box:
    return Box(view, request.param, "edu001@itv" if request.param == "CTC" else "edu002@itv")


def test_h1_redirects_to_the_portal_under_the_name_the_box_used(box: Box) -> None:
    reply = box.ask("/EDS/jsp/AuthenticationURL?UserID=edu001@itv&Action=Login&FCCSupport=1")
    assert reply.status == 302
    target = f"http://{HOST}/EPG/jsp/AuthenticationURL?UserID=edu001@itv&Action=Login"
    assert dict(reply.headers)["Location"] == target
    assert 'name="UserID"' in text(box.ask(target))


def test_the_whole_login_in_both_faces(box: Box) -> None:
    page = box.log_in(kind=ctc.EncryptionType(ACCOUNTS[box.user_id].encryption_type or "0001"))
    if box.face == "CTC":
        fields, deviations = ctc.parse_inputs(page)
        assert deviations == () and len(fields["UserToken"]) == 32 and fields["stbid"] == STBID
    else:
        told = {each.key: each.value for each in ctc.parse_set_configs(page) if each.face is ctc.Face.CU}
        keys = {"UserToken", "stbid", "identityEncode", "UserID", "Lang", "conntype", "SupportHD"}
        assert set(told) == keys and told["stbid"] == STBID and told["conntype"] == "dhcp"
    lines = box.channels()
    assert f"iRet = Authentication.{box.face}SetConfig('ChannelCount','4');" in lines


def test_every_face_may_use_every_account(view: CatalogView) -> None:
    for face, user_id in itertools.product(("CTC", "CU"), ACCOUNTS):
        box = Box(view, face, user_id)
        assert "UserToken" in box.log_in()
        assert len(ctc.parse_channel_page(box.channels()).channels) == 4


def test_the_announced_key_type_is_that_of_the_account(view: CatalogView) -> None:
    for user_id, kind in (("edu001@itv", "0001"), ("edu002@itv", "0002"), ("edu003@itv", "0003"), ("nobody", "0001")):
        page = Box(view, user_id=user_id).page("authLogin", {"UserID": user_id})
        assert f"Authentication.CTCSetConfig('EncryptionType','{kind}');" in page


@pytest.mark.parametrize("kind", ctc.EncryptionType)
@pytest.mark.parametrize("md5_hex", ["padded", "unpadded"])
def test_all_key_rules_open_the_door(view: CatalogView, kind: ctc.EncryptionType, md5_hex: ctc.Md5Hex) -> None:
    assert "UserToken" in Box(view, "CU", "edu002@itv").log_in(kind=kind, md5_hex=md5_hex)


def test_a_wrong_password_gets_a_page_without_user_token(box: Box) -> None:
    page = box.log_in("654321")
    assert "UserToken" not in page and "账号或密码不对" in page and "Wrong account or password" in page
    assert ctc.is_session_lost(box.channels())


def test_the_sixth_try_in_a_minute_must_wait(box: Box) -> None:
    for _ in range(5):
        box.log_in("654321")
    assert "请稍后再试" in box.log_in()
    box.now_s = 61.0
    assert "UserToken" in box.log_in()


def test_the_session_changes_at_login(box: Box) -> None:
    box.token()
    before = box.cookies["JSESSIONID"]
    box.log_in()
    after = dict(box.cookies)
    assert after["JSESSIONID"] != before
    box.cookies = {"JSESSIONID": before}
    assert ctc.is_session_lost(box.channels())


def test_parity_every_list_has_exactly_the_lessons_of_the_catalogue(box: Box) -> None:
    box.log_in()
    truth = [each.item_id for each in CATALOGUE.courseware]
    for style in ("quote-scan", "regex"):
        read = ctc.parse_channel_page(box.channels(), style)
        assert read.deviations == () and all(each.deviations == () for each in read.channels)
        assert [each.channel_id for each in read.channels] == truth
        assert [each.user_channel_id for each in read.channels] == ["1", "2", "3", "4"]
    listed = []
    for column in box.data("Action=columnList")["result"]:
        series = box.data(f"Action=seriesInfoById&seriseId={column['id']}")["result"]
        assert [each["num"] for each in series["episodeList"]] == [
            str(number) for number in range(1, len(series["episodeList"]) + 1)
        ]
        listed += [each["id"] for each in series["episodeList"]]
    assert sorted(listed) == sorted(truth)
    urls = {each.channel_id: each.url for each in read.channels}
    assert {each: box.data(f"Action=vodInfoById&vodId={each}")["result"]["mediaUrl"] for each in truth} == urls


def test_where_lessons_are_played(box: Box) -> None:
    box.log_in()
    urls = {each.channel_id: each.url for each in ctc.parse_channel_page(box.channels()).channels}
    assert urls["10000001"] == f"rtsp://{RTSP}/vod/10000001.mpg"
    assert urls["10000002"] == f"http://{HOST}/lessons/10000002/"


def test_titles_with_everything_in_them_stay_one_record_and_no_markup(box: Box) -> None:
    box.log_in()
    page = box.channels()
    assert len(re.findall(r"SetConfig\('Channel','(.*?)'\);", page)) == 4
    name = ctc.parse_channel_page(page).channels[1].name
    assert name == "张老师说:＂别’急’＂， ＜script＞alert(1)＜/script＞ ＼’); // 第1课"
    assert "<script>alert" not in page
    assert box.data("Action=vodInfoById&vodId=10000001")["result"]["name"] == name


def test_an_item_listed_twice_in_the_catalogue_is_shown_once(tmp_path: Path) -> None:
    twice = Catalogue(courseware=(item("1", "一"), item("2", "二"), item("1", "又一")))
    box = Box(view_of(tmp_path, twice))
    box.log_in()
    assert [(each.channel_id, each.name) for each in ctc.parse_channel_page(box.channels()).channels] == [
        ("1", "一"),
        ("2", "二"),
    ]


def test_an_empty_catalogue_is_an_empty_list(tmp_path: Path) -> None:
    box = Box(view_of(tmp_path, Catalogue()))
    box.log_in()
    read = ctc.parse_channel_page(box.channels())
    assert (read.count, read.channels) == (0, ())
    assert box.data("Action=columnList") == {"result": []}


def test_a_withdrawn_lesson_is_nowhere(box: Box, tmp_path: Path) -> None:
    box.log_in()
    box.view = view_of(tmp_path, Catalogue(columns=CATALOGUE.columns, courseware=CATALOGUE.courseware[1:]), 8)
    assert "10000003" not in box.channels()
    answer = box.data("Action=vodInfoById&vodId=10000003")
    assert answer["result"] == {} and "没有这个课件" in answer["message"]
    assert box.data("Action=seriesInfoById&seriseId=1")["result"]["episodeList"] == []
    assert box.data("Action=seriesInfoById&seriseId=99")["result"] == {}


@pytest.mark.parametrize("path", ["/EPG/jsp/GetHeartBit", "/EPG/jsp/gethearbit.jsp"])
def test_heartbeat(box: Box, path: str, tmp_path: Path) -> None:
    url = f"{path}?UserStatus=1&ChannelVer=1&STBID={STBID}&STBType=X&Version=1"
    assert text(box.ask(url)).startswith("[HEARTBIT]\r\nUserValid=false\r\n")
    box.log_in()
    assert text(box.ask(url)) == (
        "[HEARTBIT]\r\nUserValid=true\r\nNextCallInterval=300\r\nChannelVer=7\r\n[MESSAGE]\r\n[END]\r\n"
    )
    box.view = view_of(tmp_path, Catalogue(), 8)
    assert "ChannelVer=8\r\n" in text(box.ask(url))
    assert "UserValid=true" in text(box.ask(url, cookies={}))
    assert "UserValid=false" in text(box.ask(url, cookies={}, remote="192.0.2.99"))
    assert "UserValid=false" in text(box.ask(url, cookies={"JSESSIONID": "stolen"}))


def test_silence_ends_the_session_and_heartbeats_keep_it(box: Box) -> None:
    box.log_in()
    for _ in range(5):
        box.now_s += 2000.0
        assert "UserValid=true" in text(box.ask("/EPG/jsp/GetHeartBit"))
    box.now_s += 2701.0
    assert ctc.is_session_lost(box.channels())


@pytest.mark.parametrize("tree", ["EDS", "EPG"])
def test_logout(box: Box, tree: str) -> None:
    box.log_in()
    reply = box.ask(f"/{tree}/jsp/AuthenticationURL?UserID={box.user_id}&Action=Logout")
    if tree == "EDS":
        reply = box.ask(dict(reply.headers)["Location"])
    assert "已退出" in text(reply) and box.cookies == {}
    assert len(box.logins) == 0


def test_logout_without_a_cookie_reaches_the_same_address_only(box: Box) -> None:
    box.log_in()
    url = f"/EPG/jsp/AuthenticationURL?UserID={box.user_id}&Action=Logout"
    box.ask(url, cookies={}, remote="192.0.2.99")
    assert len(box.logins) == 1
    box.ask(url, cookies={})
    assert len(box.logins) == 0


def test_who_is_not_on_the_local_segment_is_refused_in_words(box: Box) -> None:
    box.log_in()
    box.seen = {"is_local": False}
    for url in ("/EDS/jsp/AuthenticationURL?UserID=edu001@itv&Action=Login", "/EPG/jsp/GetHeartBit", "/EPG/x"):
        reply = box.ask(url)
        assert reply.status == 403 and "只对本地网段开放" in reply.body.decode()
    assert box.ask("/EPG/jsp/authLoginHWCTC.jsp", {"UserID": "edu001@itv"}).status == 403


def test_without_login_everything_sends_the_box_back(box: Box) -> None:
    for page in (box.channels(), text(box.ask("/EPG/jsp/gdhdpublic/Ver.2/common/data.jsp?Action=columnList"))):
        assert "resignon" in page and "SessionTimeOutJump" in page and "10000001" not in page


def test_a_strict_portal_verifies_the_temp_key(view: CatalogView) -> None:
    box = Box(view, dialect=HuaweiDialect(strict_temp_key=True))
    box.token()
    first = box.cookies["JSESSIONID"]
    fields, _ = ctc.parse_inputs(box.log_in())
    assert ctc.is_session_lost(box.channels(tempKey=""))
    assert ctc.is_session_lost(box.channels(tempKey=ctc.temp_key(first)))  # of a session before the last H3
    assert not ctc.is_session_lost(box.channels(tempKey=fields["tempKey"]))
    assert not ctc.is_session_lost(box.channels(tempKey=ctc.temp_key(box.cookies["JSESSIONID"]).lower()))


def test_gbk_is_declared_in_header_and_page(view: CatalogView) -> None:
    box = Box(view, user_id="edu003@itv")
    box.log_in()
    reply = box.ask("/EPG/jsp/getchannellistHWCTC.jsp", {"UserToken": "?"})
    assert reply.media_type == "text/html; charset=GBK"
    assert 'content="text/html; charset=GBK"' in reply.body.decode("gbk") and "安全用电" in reply.body.decode("gbk")
    assert ctc.decode_page(reply.body, reply.media_type)[1] == ()


def test_what_a_box_sends_cannot_break_a_page(box: Box) -> None:
    evil = "\"><script>alert(1)</script>'"
    for reply in (
        box.ask("/EPG/jsp/AuthenticationURL?Action=Login", {"UserID": evil}),
        box.ask(f"/EPG/jsp/authLoginHW{box.face}.jsp", {"UserID": evil}),
        box.ask(f"/EPG/jsp/ValidAuthenticationHW{box.face}.jsp", {"UserID": evil, "conntype": evil, "Lang": evil}),
        box.ask("/EDS/jsp/AuthenticationURL", {"UserID": evil + "\r\nX: y"}),
    ):
        assert b"alert" not in reply.body
        assert all("\r" not in value and "\n" not in value and "<" not in value for _, value in reply.headers)


@pytest.mark.parametrize("host", ["", "a b", "evil.example/path", 'x"y', "x\r\ny", "x:999999"])
def test_a_host_header_that_cannot_stand_in_a_url_is_refused(box: Box, host: str) -> None:
    assert box.ask("/EDS/jsp/AuthenticationURL?UserID=a&Action=Login", host=host).status == 400


@pytest.mark.parametrize("path", ["/EPG/", "/EDS/jsp/x", "/EPG/jsp/authLoginHWXX.jsp", "/EPG/jsp/../x", "/EPG/jsp/é"])
def test_unknown_pages_are_404(box: Box, path: str) -> None:
    reply = box.ask("/EPG/", path=path)
    assert reply.status == 404 and "没有这个页面" in reply.body.decode()


def test_an_unknown_action_says_so(box: Box) -> None:
    box.log_in()
    reply = box.ask("/EPG/jsp/gdhdpublic/Ver.3/common/data.jsp?Action=formatDisk")
    assert reply.status == 400 and "unknown Action" in json.loads(reply.body)["message"]


@pytest.fixture(scope="module")
def shared_view(tmp_path_factory: pytest.TempPathFactory) -> CatalogView:
    return view_of(tmp_path_factory.mktemp("view"))


PAGES = [
    "/EDS/jsp/AuthenticationURL",
    "/EPG/jsp/AuthenticationURL",
    "/EPG/jsp/GetHeartBit",
    "/EPG/jsp/gdhdpublic/Ver.3/common/data.jsp",
    *(
        f"/EPG/jsp/{page}HW{face}.jsp"
        for page in ("authLogin", "ValidAuthentication", "getchannellist")
        for face in ("CTC", "CU")
    ),
]
FIELDS = st.dictionaries(
    st.sampled_from(["UserID", "Action", "Authenticator", "STBID", "tempKey", "Lang", "conntype", "seriseId", "vodId"]),
    st.text(max_size=80)
    | st.sampled_from(["edu001@itv", "Login", "Logout", "vodInfoById", "seriesInfoById", "AA" * 8]),
)


@given(path=st.sampled_from(PAGES) | st.text(max_size=40), form=FIELDS, query=FIELDS, logged_in=st.booleans())
def test_no_request_makes_the_portal_fail(
    shared_view: CatalogView, path: str, form: dict[str, str], query: dict[str, str], logged_in: bool
) -> None:
    box = Box(shared_view)
    if logged_in:
        box.log_in()
    reply = box.ask("/", form, path=path, query=query)
    assert reply.status in (200, 302, 400, 404)
    for name, value in reply.headers:
        assert value.isprintable() and name.isprintable()
    if path == "/EPG/jsp/ValidAuthenticationHWCTC.jsp":
        assert b"UserToken" not in reply.body
