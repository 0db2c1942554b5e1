"""Old boxes at a serving edge: the standard library's cookies and redirects, one list for both."""

from __future__ import annotations

import http.cookiejar
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest

from tests.old_boxes import STBID
from tests.served import Served, published, serve
from wire import ctc

pytestmark = pytest.mark.timeout(90)  # 8 s on an idle machine, to publish and sync two lessons

CHANNEL = re.compile(r"SetConfig\('Channel','ChannelID=\"(\d+)\",ChannelName=\"([^\"]*)\",UserChannelID=\"(\d+)\"")


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("old-portals")
    video, page = published(root)
    with serve(root, video, page, {"EDGE_SERVER_CHANNELS": f"教育频道={video}"}) as served:
        yield served


class Browser:
    """Keeps cookies by their paths, follows redirects, runs no script."""

    def __init__(self, base: str) -> None:
        self.base = base.rstrip("/")
        self.jar = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=["127.0.0.1"]))
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))

    def ask(self, url: str, form: dict[str, str] | None = None, **fields: str) -> tuple[str, dict[str, str]]:
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        request = urllib.request.Request(urllib.parse.urljoin(self.base, url), data, fields)
        with self.opener.open(request, timeout=10) as answer:
            charset = answer.headers.get_content_charset()
            return answer.read().decode(charset), dict(answer.headers)


def authenticator(token: str) -> str:
    made = ctc.Authenticator("12345678", token, "edu001@itv", STBID, "10.0.0.9", "1A:2B:3C:4D:5E:6F")
    return ctc.encrypt(made.build(), "123456")


def zte(base: str) -> tuple[Browser, str]:
    """Z1b to Z7; returns the last page."""
    box = Browser(base)
    page, _ = box.ask("/iptvepg/platform/getencrypttoken.jsp?UserID=edu001@itv&Action=Login&TerminalFlag=1")
    token = re.search(r"GetAuthInfo\('(.*)'\)", page)
    assert token
    form = {"UserID": "edu001@itv", "Authenticator": authenticator(token[1]), "StbIP": "10.0.0.9"}
    page, _ = box.ask("/iptvepg/platform/auth.jsp?easip=10.1.1.1&ipVersion=4&networkid=1", form)
    onward = re.search(r"window\.location(?:\.href)? *= *'(.*)'", page)
    assert onward
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(onward[1]).query))
    box.ask(onward[1])
    _, fields = box.ask("/iptvepg/function/funcportalauth.jsp", {**query, "stbtype": "Z86", "drmsupplier": ""})
    assert fields["X-Frame-UserToken"] == query["UserToken"]
    form = {"MAIN_WIN_SRC": "/iptvepg/frame1442/portal.jsp?tempno=-1", "BUILD_ACTION": "FRAMESET_BUILDER"}
    page, fields = box.ask("/iptvepg/function/frameset_builder.jsp", form)
    assert fields["Content-Type"] == "text/html; charset=GBK"
    return box, page


def huawei(base: str) -> tuple[Browser, str]:
    """H1 to H5; returns the last page."""
    box = Browser(base)
    box.ask("/EDS/jsp/AuthenticationURL?UserID=edu001@itv&Action=Login")
    page, _ = box.ask("/EPG/jsp/authLoginHWCTC.jsp", {"UserID": "edu001@itv", "VIP": ""})
    form = {"UserID": "edu001@itv", "Authenticator": authenticator(ctc.parse_token_page(page).encrypt_token)}
    box.ask("/EPG/jsp/ValidAuthenticationHWCTC.jsp", form)
    return box, box.ask("/EPG/jsp/getchannellistHWCTC.jsp", {"UserToken": "", "tempKey": ""})[0]


def test_both_families_see_one_list_with_the_channel_first(edge: Served) -> None:
    box, theirs = zte(edge.http)
    guide, _ = box.ask("/iptvepg/frame80/channel/ztedatajsp/prevueList.jsp?pageIndex=1&pageSize=5&channelID=900001")
    assert json.loads(guide)["returncode"] == "0" and len(json.loads(guide)["data"]) == 5
    ours = huawei(edge.http)[1]  # the same box by another door: its first login ends
    assert "rebuildsessionresponse.jsp" in box.ask("/iptvepg/function/frame.jsp")[0]
    listed = CHANNEL.findall(theirs)
    assert listed == CHANNEL.findall(ours)
    assert [each[0] for each in listed[:1]] == ["900001"]
    assert sorted(each[0] for each in listed[1:]) == sorted([edge.video, edge.page])
    calls = re.findall(r"jsSetChannelInfo\(([^)]+)\);", theirs)
    rows = [json.loads("[" + each.replace("'", '"') + "]") for each in calls]
    assert [len(each) for each in rows] == [21] * 3 and [each[4] for each in rows] == [each[0] for each in listed]


def test_the_cookie_of_one_portal_is_not_sent_to_the_other(edge: Served) -> None:
    box, _ = zte(edge.http)
    assert {(each.name, each.path) for each in box.jar} == {("JSESSIONID", "/iptvepg")}


def test_a_box_without_its_cookie_mends_its_session(edge: Served) -> None:
    box, page = zte(edge.http)
    box.jar.clear()
    lost, _ = box.ask("/iptvepg/function/frameset_builder.jsp", {"BUILD_ACTION": "FRAMESET_BUILDER"})
    parts = re.search(r"weburl\s*=\s*'([^']*)'\s*\+\s*usertoken\s*\+\s*'([^']*)'", lost)
    assert parts and "rebuildsessionresponse.jsp" in lost
    token = re.search(r"[0-9A-F]{32}", box.ask("/iptvepg/platform/getencrypttoken.jsp?UserID=x")[0])
    assert token  # a token that nobody logged in with does not help
    box.ask(f"{parts[1]}{token[0]}{parts[2]}")
    assert not list(box.jar)
    again, page_again = zte(edge.http)
    assert CHANNEL.findall(page_again) == CHANNEL.findall(page) and list(again.jar)


@pytest.mark.parametrize("path", ["/EDS/jsp/AuthenticationURL?UserID=x", "/iptvepg/platform/index.jsp?UserID=x"])
def test_what_comes_from_elsewhere_through_a_proxy_is_refused(edge: Served, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        Browser(edge.http).ask(path, **{"X-Real-IP": "203.0.113.9"})
    with caught.value as refused:
        assert refused.code == 403 and "legacy_networks" in refused.read().decode("gb18030", "replace")
    assert Browser(edge.http).ask(path, **{"X-Real-IP": "192.168.1.9"})[0]


def test_the_setting_counts(edge: Served) -> None:
    with serve(edge.root, edge.video, edge.page, {"EDGE_SERVER_LEGACY_NETWORKS": "10.9.9.0/24"}) as elsewhere:
        with pytest.raises(urllib.error.HTTPError) as caught:
            Browser(elsewhere.http).ask("/iptvepg/platform/index.jsp?UserID=x")
        with caught.value as refused:
            assert refused.code == 403
        assert "安全用电" in Browser(elsewhere.http).ask("/")[0]  # newer boxes are not concerned
