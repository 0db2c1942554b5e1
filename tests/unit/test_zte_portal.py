"""The ZTE-style portal, request by request: the same lessons in the same order as on every other box."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from domain.courseware import Catalogue
from edge_server.portal.huawei import DIALECT as HUAWEI
from edge_server.portal.zte import DIALECT
from edge_server.sessions.screens import charset_at
from tests.old_boxes import CATALOGUE, HOST, LESSONS, STBID, Asker, authenticator, view_of
from wire import ctc, zte

LIST = ["900001", "900002", *LESSONS]


@pytest.fixture
def box(tmp_path: Path) -> Asker:
    return Asker(DIALECT, view_of(tmp_path))


def z1(box: Asker, user_id: str = "edu001@itv") -> str:
    query = f"UserID={user_id}&Action=Login&TerminalFlag=1&TerminalOsType=0&STBID=&stbtype="
    return zte.parse_auth_info(box.page(f"/iptvepg/platform/getencrypttoken.jsp?{query}"))


def z2(box: Asker, user_id: str = "edu001@itv", password: str | None = None, **headers: str) -> str:
    form = {"UserID": user_id, "Authenticator": authenticator(z1(box, user_id), user_id, password)}
    url = "/iptvepg/platform/auth.jsp?easip=10.9.8.7&ipVersion=4&networkid=1"
    return box.page(url, {**form, "StbIP": "10.0.0.9"}, headers=headers)


def enter(box: Asker) -> str:
    """Z1b to Z4, as a newer box goes; returns its UserToken."""
    first = zte.parse_location(z2(box))
    second = zte.parse_location(box.page(first))
    form, _ = ctc.parse_inputs(box.page(second))
    reply = box.ask("/iptvepg/function/funcportalauth.jsp", {**form, "stbtype": "B860A", "stbinfo": "x"})
    return dict(reply.headers)["X-Frame-UserToken"]


def built(box: Asker) -> zte.BuilderPage:
    form, _ = ctc.parse_inputs(box.page("/iptvepg/function/frameset_judger.jsp", {"picturetype": "1,3,5"}))
    assert form["BUILD_ACTION"] == "FRAMESET_BUILDER" and form["NEED_UPDATE_STB"] == "1"
    return zte.parse_builder_page(box.page("/iptvepg/function/frameset_builder.jsp", form))


def guide(box: Asker, query: str) -> Any:
    return json.loads(box.page(f"/iptvepg/frame80/channel/ztedatajsp/prevueList.jsp?{query}"))


def test_every_page_is_gbk_in_header_page_and_bytes(box: Asker) -> None:
    enter(box)
    reply = box.ask("/iptvepg/function/frameset_builder.jsp", {})
    assert reply.media_type == "text/html; charset=GBK" and "安全用电".encode("gbk") in reply.body
    assert b'content="text/html; charset=GBK"' in reply.body


def test_z1_in_both_generations(box: Asker) -> None:
    old = box.page("/iptvepg/platform/index.jsp?UserID=edu001@itv&Action=Login")
    assert re.search(r"CTCGetAuthInfo\('([0-9A-F]{32})'\)", old) and "GetUserToken" in zte.parse_form_action(old)
    new = box.page("/iptvepg/platform/getencrypttoken.jsp?UserID=edu001@itv&Action=Login")
    assert re.search(r"document\.authform\.Authenticator\.value = GetAuthInfo\('(.*)'\)", new)
    assert zte.parse_form_action(new) == "/iptvepg/platform/auth.jsp"
    kind = box.page("/iptvepg/platform/index.jsp?UserID=edu002@itv")
    assert "CTCSetConfig('EncryptionType','0002')" in kind


def test_z2_says_where_and_how_long(box: Asker) -> None:
    page = z2(box)
    assert dict(box.cookies).keys() == {"JSESSIONID"}
    told = {each.key: each.value for each in ctc.parse_set_configs(page)}
    assert told["TokenExpiredTime"] == "2026.11.25 12:00:00"  # a day after noon, by the village's clock
    url = urlsplit(zte.parse_location(page))
    query = parse_qs(url.query, keep_blank_values=True)
    assert (url.netloc, url.path) == (HOST, "/iptvepg/function/index.jsp")
    assert list(query) == [
        "loadbalanced",
        "UserGroupNMB",
        "EPGGroupNMB",
        "UserToken",
        "UserID",
        "STBID",
        "easip",
        "networkid",
    ]
    assert (query["STBID"], query["easip"], query["networkid"]) == ([STBID], ["10.9.8.7"], ["1"])
    assert query["UserToken"] == [told["UserToken"]]


def test_z2_sets_the_cookie_for_its_own_folder(box: Asker) -> None:
    form = {"UserID": "edu001@itv", "Authenticator": authenticator(z1(box))}
    fields = dict(box.ask("/iptvepg/platform/auth.jsp", form).headers)
    assert re.fullmatch(r"JSESSIONID=[0-9A-F]{32}; Path=/iptvepg", fields["Set-Cookie"])


def test_other_pages_know_that_the_box_reads_gbk(box: Asker) -> None:
    enter(box)
    assert charset_at(box.logins, box.remote, 0.0) == "gbk"


def test_z4_gives_the_user_token_in_a_header(box: Asker) -> None:
    token = enter(box)
    assert token == next(iter(box.logins)).user_token
    assert "frameset_judger.jsp" in box.page("/iptvepg/function/frame.jsp")
    assert "jsSetChannelInfo" in box.page("/iptvepg/js/setConfig.js")


def test_z4_may_come_right_after_z2(box: Asker) -> None:
    query = {key: each[0] for key, each in parse_qs(urlsplit(zte.parse_location(z2(box))).query).items()}
    reply = box.ask("/iptvepg/function/funcportalauth.jsp", query)
    assert dict(reply.headers)["X-Frame-UserToken"] == query["UserToken"]


def test_z7_lists_channels_and_lessons_as_a_huawei_box_sees_them(box: Asker) -> None:
    enter(box)
    read = built(box)
    assert read.deviations == () and [each.channel_id for each in read.channels] == LIST
    other = Asker(HUAWEI, box.view)
    token = ctc.parse_token_page(other.page("/EPG/jsp/authLoginHWCTC.jsp", {"UserID": "edu001@itv"})).encrypt_token
    form = {"UserID": "edu001@itv", "Authenticator": authenticator(token)}
    other.page("/EPG/jsp/ValidAuthenticationHWCTC.jsp", form)
    theirs = ctc.parse_channel_page(other.page("/EPG/jsp/getchannellistHWCTC.jsp", {})).channels
    assert [(each.channel_id, each.user_channel_id, each.url, dict(each.others)) for each in read.channels] == [
        (each.channel_id, each.user_channel_id, each.url, dict(each.others)) for each in theirs
    ]
    assert [each.name for each in read.channels] == [each.name.replace("(", "（").replace(")", "）") for each in theirs]


def test_the_positional_values_say_what_the_record_says(box: Asker) -> None:
    enter(box)
    read = built(box)
    live, lesson = read.infos[0], read.infos[2]
    assert (live.is_igmp, live.time_shift, live.tstv_time, live.column_id) == ("1", "1", "7200", "live")
    assert (lesson.is_igmp, lesson.time_shift, lesson.column_id, lesson.user_channel_id) == ("0", "0", "1", "3")
    assert read.channels[0].url == "igmp://239.1.1.1:5000|rtsp://192.0.2.1:8554/live/900001.mpg"
    assert read.channels[1].url == "rtsp://192.0.2.1:8554/live/900002.mpg"
    codes = {each["columncode"] for each in json.loads(box.page("/iptvepg/frame1451/sdk_getcolumnlist.jsp"))["data"]}
    assert {each.column_id for each in read.infos} <= codes


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("/iptvepg/platform/auth.jsp", {"User-Agent": "ZTE B600 1.0"}),
        ("/iptvepg/platform/auth.jsp?stbtype=ZXV10B600V4", {}),
        ("/iptvepg/platform/GetUserToken.jsp", {}),
    ],
)
def test_a_b600_gets_channels_and_services_on_z2_and_z3(box: Asker, url: str, headers: dict[str, str]) -> None:
    form = {"UserID": "edu001@itv", "Authenticator": authenticator(z1(box))}
    page = box.page(url, form, headers=headers)
    assert [each.channel_id for each in ctc.parse_channel_page(page).channels] == LIST
    assert "CTCSetConfig('ServiceEntry','URL=" in page
    second = box.page(zte.parse_location(page))
    assert [each.channel_id for each in ctc.parse_channel_page(second).channels] == LIST


def test_a_newer_box_is_spared_the_list_on_z2(box: Asker) -> None:
    assert "'Channel'" not in z2(box)


def test_utstarcom_boxes_come_in_by_their_own_door(box: Asker) -> None:
    page = box.page("/iptv3a/UserAuthenticationAction.do?UserID=edu001@itv&Action=login")
    form, _ = ctc.parse_inputs(page)
    form["Authenticator"] = authenticator(zte.parse_auth_info(page))
    page = box.page(zte.parse_form_action(page), form)
    assert urlsplit(zte.parse_location(page)).path == "/iptvepg/function/index.jsp"
    assert len(ctc.parse_channel_page(box.page(zte.parse_location(page))).channels) == len(LIST)


def test_ctc_2_boxes_make_their_own_address_of_what_they_are_told(box: Asker) -> None:
    page = box.page("/auth?UserID=edu001@itv&Action=Login")
    form = {"UserID": "edu001@itv", "Authenticator": authenticator(zte.parse_auth_info(page))}
    assert zte.parse_form_action(page) == "/uploadAuthInfo"
    page = box.page("/uploadAuthInfo", {**form, "AccessMethod": "dhcp", "AccessUserName": "x"})
    told = {each.key: each.value for each in ctc.parse_set_configs(page)}
    url = f"{told['EPGDomain']}?UserToken={told['UserToken']}&UserID=edu001@itv&UserIP=10.0.0.9"
    first = box.page(url)
    second = zte.parse_location(first)
    assert "top.document.location" in first and "loadbalanced=1" in second
    assert "funcportalauth.jsp" in zte.parse_form_action(box.page(second))


def test_a_wrong_password_gets_no_token_and_an_error_page(box: Asker) -> None:
    page = z2(box, password="654321")
    assert "UserToken" not in page and zte.parse_error(page) == 2 and "账号或密码不对" in page
    assert "Wrong account or password" in box.page(zte.parse_location(page))
    assert box.cookies == {}


def test_the_sixth_try_in_a_minute_must_wait(box: Asker) -> None:
    for _ in range(5):
        z2(box, password="654321")
    assert zte.parse_error(z2(box)) == 4
    box.now_s = 61.0
    assert zte.parse_error(z2(box)) is None


def test_a_lost_cookie_is_mended_with_the_user_token(box: Asker) -> None:
    token = enter(box)
    box.cookies = {}
    lost = box.page("/iptvepg/function/frameset_builder.jsp", {})
    url = zte.parse_rebuild(lost, token)
    assert url is not None and url.startswith("/iptvepg/function/rebuildsessionresponse.jsp?UserToken=")
    box.page(url)
    assert [each.channel_id for each in built(box).channels] == LIST


def test_a_session_that_ran_out_is_rebuilt_for_a_day_and_no_longer(box: Asker) -> None:
    token = enter(box)
    first = dict(box.cookies)
    box.now_s = 2701.0
    url = zte.parse_rebuild(box.page("/iptvepg/function/frameset_judger.jsp", {}), token)
    assert url
    assert zte.parse_error(box.page(url, remote="192.0.2.99")) == 1
    box.page(url)
    assert box.cookies and box.cookies != first
    assert len(built(box).channels) == len(LIST)
    box.now_s = 86401.0
    assert zte.parse_error(box.page(url)) == 1


def test_logout_ends_the_session_and_its_token(box: Asker) -> None:
    token = enter(box)
    assert "已退出" in box.page("/iptvepg/platform/index.jsp?UserID=edu001@itv&Action=Logout")
    assert box.cookies == {} and len(box.logins) == 0
    assert zte.parse_error(box.page(f"/iptvepg/function/rebuildsessionresponse.jsp?UserToken={token}")) == 1


def test_programmes_of_a_local_day(box: Asker) -> None:
    enter(box)
    told = guide(box, "pageIndex=1&pageSize=999&isAjax=1&isJson=-1&curdate=20261124&channelID=900001")
    assert told["returncode"] == "0" and len(told["data"]) == 48
    first, last = told["data"][0], told["data"][-1]
    assert (first["begintime"], last["endtime"]) == ("2026.11.24 00:00:00", "2026.11.25 00:00:00")
    assert first["prevuename"] == "安全用电" and first["channelcode"] == "900001"
    other = box.page("/iptvepg/frame205/action/getchannelprogram.jsp?channelcode=900001&currdate=2026.11.24")
    assert json.loads(other) == told


def test_pages_of_programmes_and_channels_without_any(box: Asker) -> None:
    enter(box)
    whole = guide(box, "channelID=900002&curdate=20261124")["data"]
    assert len(whole) == 144
    parts = [guide(box, f"channelID=900002&curdate=20261124&pageSize=50&pageIndex={each}") for each in (1, 2, 3, 4)]
    assert [len(each["data"]) for each in parts] == [50, 50, 44, 0]
    assert [each for part in parts for each in part["data"]] == whole
    assert guide(box, "channelID=10000003") == {"returncode": "0", "message": "", "totalcount": "0", "data": []}
    assert guide(box, "channelID=77")["returncode"] == "1"


def test_people_see_a_page_with_the_same_lessons(box: Asker) -> None:
    enter(box)
    page = box.page("/iptvepg/frame205/portal.jsp?tempno=-1")
    assert page.index("教育频道") < page.index("安全用电") and f"http://{HOST}/lessons/10000002/" in page
    assert "<script>alert" not in page and page.count("<li>") == len(LIST)


def test_a_withdrawn_lesson_is_nowhere(box: Asker, tmp_path: Path) -> None:
    enter(box)
    left = Catalogue(columns=CATALOGUE.columns, courseware=CATALOGUE.courseware[1:])
    box.view = view_of(tmp_path, left, 8)
    assert [each.channel_id for each in built(box).channels] == ["900001", "900002", *LESSONS[1:]]


def test_an_empty_edge_is_an_empty_list(tmp_path: Path) -> None:
    box = Asker(DIALECT, view_of(tmp_path, Catalogue()), channels=())
    enter(box)
    read = built(box)
    assert (read.count, read.channels, read.infos) == (0, (), ())


def test_who_is_not_on_the_local_segment_is_refused_in_words(box: Asker) -> None:
    enter(box)
    box.more = {"is_local": False}
    for url in ("/iptvepg/platform/index.jsp?UserID=edu001@itv", "/iptvepg/function/frame.jsp", "/iptv3a/x"):
        reply = box.ask(url)
        assert reply.status == 403 and "只对本地网段开放" in reply.body.decode("gbk")


def test_every_list_refuses_who_has_not_logged_in(box: Asker) -> None:
    for url in (
        "/iptvepg/function/index.jsp?UserToken=00000000000000000000000000000001",
        "/iptvepg/function/funcportalauth.jsp",
        "/iptvepg/function/frameset_builder.jsp",
        "/iptvepg/frame1/portal.jsp",
        "/iptvepg/frame1/channel/ztedatajsp/prevueList.jsp?channelID=900001",
        "/iptvepg/frame1/sdk_getcolumnlist.jsp",
    ):
        page = box.page(url)
        assert "rebuildsessionresponse.jsp" in page and "900001" not in page and "10000003" not in page


@pytest.mark.parametrize(
    "path", ["/iptvepg/", "/iptvepg/frame/portal.jsp", "/iptvepg/frame1/nothing.jsp", "/iptv3a/x.do"]
)
def test_what_is_not_there_is_404_in_words(box: Asker, path: str) -> None:
    reply = box.ask(path)
    assert reply.status == 404 and "没有这个页面" in reply.body.decode("gbk")
