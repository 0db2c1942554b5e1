"""The Stalker portal, request by request: handshake, profile, TV list, lessons, links, guide."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.courseware import Catalogue, Column, Courseware, ItemClass, MediaFamily
from edge_server.catalog import CatalogView
from edge_server.linear import LinearChannel, Slot
from edge_server.portal import Dialect, PortalReply, PortalRequest, PortalState
from edge_server.portal.stalker import DIALECT
from edge_server.sessions.accounts import Account
from edge_server.sessions.box_logins import BoxLogins
from edge_server.sessions.boxes import BoxBook
from edge_server.sessions.logins import Logins
from tests.web_lab import ISSUED, asset, rendition, view_of

MAC, OTHER = "00:1A:79:AA:BB:CC", "00:1A:79:AA:BB:DD"
HOST = "192.0.2.1:8800"
NOW = datetime(2026, 11, 24, 8, 0, 30, tzinfo=UTC)
LOAD = "/stalker_portal/server/load.php"
R12 = rendition("R12", b"x", (256, 144), ("avc1.4d400d", "mp4a.40.2"))


def lesson(item_id: str, column_id: str, title: str, **fields: Any) -> Courseware:
    base = {"item_class": ItemClass.EDUCATION, "family": MediaFamily.VIDEO, "issued_at": ISSUED, "duration_s": 245.4}
    return Courseware(item_id=item_id, column_id=column_id, title=title, **{**base, "renditions": (R12,), **fields})


CATALOGUE = Catalogue(
    columns=(
        Column(column_id="2", title="农业技术", order=2),
        Column(column_id="10", title="安全", order=1),
        Column(column_id="3", title="空", order=3),
    ),
    courseware=(
        lesson("10000003", "10", '安全 "用电" <b>', poster=asset("p.jpg", b"p", "image/jpeg")),
        lesson("10000001", "2", "春耕", summary="简介"),
        lesson(
            "10000002",
            "2",
            "图文一则",
            family=MediaFamily.PICTURE_TEXT,
            renditions=(),
            duration_s=0.0,
            page=asset("i.html", b"h", "text/html"),
        ),
        lesson("10000009", "7", "放不出", renditions=()),
    ),
)
ORDER = [each.item_id for each in CATALOGUE.courseware]
CHANNEL = LinearChannel(
    "900001",
    1,
    "教育一套",
    datetime(2026, 11, 24, 8, tzinfo=UTC),
    (Slot("10000003", "安全用电", 60.0), Slot("10000001", "春耕", 30.0)),
)


@pytest.fixture
def view(tmp_path: Path) -> CatalogView:
    return view_of(tmp_path, CATALOGUE, {})


@dataclass
class Box:
    """Asks as a box does: cookie, token, one GET after the other."""

    view: CatalogView
    boxes: BoxLogins
    mac: str = MAC
    remote: str = "192.0.2.50"
    path: str = LOAD
    token: str = ""
    host: str = HOST
    now_s: float = 0.0
    cookies: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)

    def raw(self, what: str, **query: str) -> PortalReply:
        kind, action = what.split()
        cookies = {"mac": self.mac, "stb_lang": "en", "timezone": "Asia/Shanghai", **self.cookies}
        headers = {"Range": "bytes=0-", **self.headers}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        asked = {"type": kind, "action": action, **query}
        request = PortalRequest("GET", self.path, asked, {}, headers, cookies, self.remote, self.host)
        given = PortalState(self.view, Logins(lambda _: None), "", NOW, self.now_s, boxes=self.boxes)
        return DIALECT.reply(request, replace(given, **self.state))

    def ask(self, what: str, **query: str) -> Any:
        reply = self.raw(what, **query)
        assert (reply.status, reply.media_type) == (200, "application/json; charset=utf-8")
        told = json.loads(reply.body)
        assert set(told) <= {"js", "text"}
        return told["js"]

    def log_in(self) -> Mapping[str, Any]:
        self.token = self.ask("stb handshake")["token"]
        profile = self.ask("stb get_profile", sn="", hd="1")
        assert isinstance(profile, dict)
        return profile

    def is_failed(self, what: str = "itv get_genres") -> bool:
        reply = self.raw(what)
        return (reply.status, reply.body) == (200, b"Authorization failed.")


@pytest.fixture
def box(view: CatalogView) -> Box:
    made = Box(view, BoxLogins(unregistered=True))
    assert made.log_in()["status"] == 0
    return made


def test_it_is_a_dialect() -> None:
    assert isinstance(DIALECT, Dialect)


@pytest.mark.parametrize(
    "path",
    [LOAD, "/stalker_portal/c/portal.php", "/portal.php", "/server/load.php", "/c/portal.php", "/c/server/load.php"],
)
def test_every_base_path_leads_to_the_same_portal(box: Box, path: str) -> None:
    assert path.startswith(DIALECT.prefixes)
    box.path = path
    assert box.log_in()["status"] == 0
    assert [each["id"] for each in box.ask("itv get_all_channels")["data"]] == ORDER


def test_the_pages_of_a_boxs_own_portal_lead_to_the_pages_for_people(box: Box) -> None:
    for box.path, status in (("/stalker_portal/c/", 302), ("/c/index.html", 302), ("/stalker_portal/x.php", 404)):
        assert box.raw("stb handshake").status == status


@pytest.mark.parametrize("mac", [MAC, "00%3A1A%3A79%3AAA%3ABB%3ACC", "00:1a:79:aa:bb:cc", "001a79aabbcc"])
def test_the_mac_is_read_raw_and_percent_encoded(box: Box, mac: str) -> None:
    box.mac = mac
    assert box.log_in()["mac"] == MAC


@pytest.mark.parametrize("mac", ["", "nonsense", "00:1A:79:AA:BB", "00:1A:79:AA:BB:CC:DD", "00%3A1A" * 999, "%00"])
def test_without_a_mac_there_is_no_token(box: Box, mac: str) -> None:
    box.mac = mac
    assert box.is_failed("stb handshake")


def test_without_handshake_or_profile_nothing_is_told(view: CatalogView, box: Box) -> None:
    stranger = Box(view, box.boxes, OTHER)
    for what in ("itv get_genres", "itv get_all_channels", "vod create_link", "watchdog get_events", "stb get_profile"):
        assert stranger.is_failed(what)
    stranger.token = stranger.ask("stb handshake")["token"]
    assert stranger.is_failed("itv get_genres"), "the profile comes first"
    stranger.token = box.token
    assert stranger.is_failed("itv get_genres"), "the token is another box's"


def test_a_handshake_with_a_good_token_keeps_it(box: Box) -> None:
    assert box.ask("stb handshake")["token"] == box.token


def test_a_refused_box_is_told_why_in_chinese_first(view: CatalogView, tmp_path: Path) -> None:
    book = BoxBook(tmp_path / "boxes.json")
    book.add(OTHER, "V1", NOW)
    logins = BoxLogins(book.find)
    told = Box(view, logins).log_in()
    assert told["status"] == 1 and told["msg"] == told["block_msg"]
    assert told["msg"].startswith("这台机顶盒没有登记") and MAC in told["msg"] and "not registered" in told["msg"]
    known = Box(view, logins, OTHER)
    assert (known.log_in()["status"], known.log_in()["name"]) == (0, "V1")
    book.remove(OTHER, NOW)
    assert known.is_failed()
    assert known.log_in()["msg"].startswith("这台机顶盒已停用")
    assert not known.is_failed("stb get_profile")


def test_nobody_is_served_from_outside_the_local_segment(box: Box) -> None:
    box.state = {"is_local": False}
    assert box.is_failed()
    assert box.log_in()["msg"].startswith("机顶盒只能在站点的本地网络使用")
    assert box.is_failed()
    told = json.loads(box.raw("stb do_auth", login="edu001@itv", password="123456").body)
    assert told["js"] is False and told["text"].startswith("机顶盒只能在")
    assert not box.boxes.refusals["wrong-password"]


def test_account_and_password_are_asked_for_and_guessing_is_slowed(view: CatalogView, tmp_path: Path) -> None:
    book = BoxBook(tmp_path / "boxes.json")
    book.add(MAC, "V1", NOW, account="edu001@itv")
    accounts = {"edu001@itv": Account(user_id="edu001@itv", password="123456")}
    box = Box(view, BoxLogins(book.find, accounts.get))
    assert box.log_in()["status"] == 2
    assert box.is_failed()
    tries = [json.loads(box.raw("stb do_auth", login="edu001@itv", password=f"{n}").body) for n in range(6)]
    assert [each["js"] for each in tries] == [False] * 6
    assert tries[4]["text"].startswith("账号或密码不对") and tries[5]["text"].startswith("尝试次数过多")
    assert box.ask("stb do_auth", login="edu001@itv", password="123456") is False
    box.now_s = 61.0
    assert box.ask("stb do_auth", login="edu001@itv", password="123456") is True
    assert box.ask("stb get_profile", auth_second_step="1")["status"] == 0
    assert len(box.ask("itv get_all_channels")["data"]) == 4


def test_lessons_are_channels_where_there_is_no_linear_one(box: Box) -> None:
    genres = box.ask("itv get_genres")
    assert [each["title"] for each in genres] == ["全部 / All", "安全", "农业技术", "空", "7"]
    assert "10" not in [each["id"] for each in genres], "clients ask for 10 as the adult genre, besides all channels"
    rows = box.ask("itv get_all_channels")["data"]
    assert [each["id"] for each in rows] == ORDER
    assert [each["number"] for each in rows] == ["1", "2", "3", "4"]
    assert rows[0]["name"] == '安全 "用电" <b>'
    assert rows[0]["logo"] == f"http://{HOST}/posters/10000003.jpg" and rows[1]["logo"] == ""
    assert rows[0]["cmd"] == f"ffmpeg http://{HOST}/play/hls/10000003/ts/master.m3u8"
    ids = {each["id"]: each["title"] for each in genres}
    assert [ids[each["tv_genre_id"]] for each in rows] == ["安全", "农业技术", "农业技术", "7"]


def test_linear_channels_take_the_place_of_lessons(box: Box) -> None:
    box.state = {"channels": (CHANNEL,)}
    [row] = box.ask("itv get_all_channels")["data"]
    assert (row["id"], row["name"], row["number"]) == ("900001", "教育一套", "1")
    assert row["tv_genre_id"] in [each["id"] for each in box.ask("itv get_genres")]
    made = box.ask("itv create_link", cmd=row["cmd"])
    assert (made["cmd"], made["error"]) == (f"ffmpeg http://{HOST}/live/900001/index.m3u8", "")
    box.state["ticket"] = lambda item_id: f"/t/for-{item_id}"
    made = box.ask("itv create_link", cmd=row["cmd"])
    assert made["cmd"] == f"ffmpeg http://{HOST}/t/for-900001/live/900001/index.m3u8"
    assert [each["id"] for each in box.ask("vod get_ordered_list", category="*", p="1")["data"]] == ORDER


def many(box: Box, tmp_path: Path, lessons: int = 30) -> list[str]:
    items = tuple(lesson(f"{20000000 + n}", "2", f"第{n}课") for n in range(lessons))
    box.view = view_of(tmp_path, Catalogue(columns=CATALOGUE.columns, courseware=items), {})
    return [each.item_id for each in items]


def test_the_list_follows_the_catalogue_and_the_name_that_the_box_knows_the_edge_by(box: Box, tmp_path: Path) -> None:
    first = box.ask("itv get_all_channels")
    assert box.ask("itv get_all_channels") == first
    order = many(box, tmp_path, lessons=3)
    assert [each["id"] for each in box.ask("itv get_all_channels")["data"]] == order
    box.host = "edge.lan:8800"
    assert all("//edge.lan:8800/" in each["cmd"] for each in box.ask("itv get_all_channels")["data"])
    many(box, tmp_path, lessons=0)
    assert box.ask("itv get_all_channels")["data"] == []
    assert box.ask("vod get_ordered_list", p="1")["data"] == []


@pytest.mark.parametrize("first", [0, 1])
def test_pages_count_from_0_or_1_as_the_client_does(box: Box, tmp_path: Path, first: int) -> None:
    order = many(box, tmp_path)
    box.cookies = {} if first else {"token": box.token}
    pages = [box.ask("itv get_ordered_list", genre="*", sortby="number", p=f"{first + n}") for n in range(4)]
    assert [len(each["data"]) for each in pages] == [14, 14, 2, 0]
    assert [row["id"] for each in pages for row in each["data"]] == order
    assert {(each["total_items"], each["max_page_items"]) for each in pages} == {(30, 14)}
    if first:
        assert box.ask("itv get_ordered_list", genre="*", p="0")["data"] == pages[0]["data"]


def test_one_genre_and_the_adult_one(box: Box) -> None:
    [safety] = [each["id"] for each in box.ask("itv get_genres") if each["title"] == "安全"]
    found = box.ask("itv get_ordered_list", genre=safety, fav="0", sortby="number", p="1")
    assert [each["id"] for each in found["data"]] == ["10000003"]
    none = box.ask("itv get_ordered_list", genre="10", fav="0", sortby="number", p="1")
    assert (none["total_items"], none["data"]) == (0, [])


def test_lessons_by_column(box: Box, tmp_path: Path) -> None:
    assert [(each["id"], each["title"]) for each in box.ask("vod get_categories")] == [
        ("*", "全部 / All"),
        ("10", "安全"),
        ("2", "农业技术"),
        ("3", "空"),
        ("7", "7"),
    ]
    found = box.ask("vod get_ordered_list", category="2", p="1", sortby="added", fav="0", not_ended="0")
    assert [(each["id"], each["name"], each["description"], each["time"]) for each in found["data"]] == [
        ("10000001", "春耕", "简介", "5"),
        ("10000002", "图文一则", "", "0"),
    ]
    assert box.ask("vod get_ordered_list", category="99", p="1")["data"] == []
    assert [each["id"] for each in box.ask("vod get_ordered_list", search="春")["data"]] == ["10000001"]
    assert box.ask("vod get_ordered_list", movie_id="10000001", season_id="0", episode_id="0")["data"] == []
    order = many(box, tmp_path)
    pages = [box.ask("vod get_ordered_list", category="*", p=f"{n}")["data"] for n in (1, 2, 3, 4)]
    assert [row["id"] for each in pages for row in each] == order


@pytest.mark.parametrize("kind", ["itv", "vod"])
def test_links_hold_a_ticket_of_their_own(box: Box, kind: str) -> None:
    box.state = {"ticket": lambda item_id: f"/t/for-{item_id}"}
    for row in box.ask("vod get_ordered_list", p="1")["data"][:2]:
        made = box.ask(f"{kind} create_link", cmd=row["cmd"])
        path = f"/t/for-{row['id']}/hls/{row['id']}/ts/master.m3u8"
        assert (made["cmd"], made["error"]) == (f"ffmpeg http://{HOST}{path}", "")
    page, nothing = box.ask("vod get_ordered_list", p="1")["data"][2:]
    assert box.ask(f"{kind} create_link", cmd=page["cmd"])["cmd"] == f"ffmpeg http://{HOST}/lessons/10000002/"
    assert nothing["cmd"] == ""
    box.state = {"ticket": lambda item_id: None}
    full = box.ask(f"{kind} create_link", cmd=f"ffmpeg http://{HOST}/play/hls/10000001/ts/master.m3u8")
    assert (full["cmd"], full["error"]) == ("", "limit")


@pytest.mark.parametrize(
    "cmd", ["", "ffmpeg ", "x" * 10_000, "/hls/99/x", "/live/900001.ts", "ffmpeg http://x/hls/10000009/ts/master.m3u8"]
)
def test_what_cannot_be_played_has_no_link(box: Box, cmd: str) -> None:
    made = box.ask("vod create_link", cmd=cmd)
    assert (made["cmd"], made["error"]) == ("", "nothing_to_play")


def test_the_guide_says_what_is_on(box: Box) -> None:
    assert box.ask("itv get_epg_info", period="96")["data"] == {}
    box.state = {"channels": (CHANNEL,)}
    rows = box.ask("itv get_epg_info", period="96")["data"]["900001"]
    start = int((NOW - timedelta(seconds=30)).timestamp())
    assert [(each["name"], each["start_timestamp"] - start, each["stop_timestamp"] - start) for each in rows[:3]] == [
        ("安全用电", 0, 60),
        ("春耕", 60, 90),
        ("安全用电", 90, 150),
    ]
    assert len(rows) == 5000, "bounded"
    assert len({each["id"] for each in rows}) == 5000
    assert (rows[0]["time"], rows[0]["t_time_to"]) == ("2026-11-24 16:00:00", "16:01"), "the boxes' wall clock"
    short = box.ask("itv get_short_epg", ch_id="900001", size="10")
    assert short == rows[:10]
    assert box.ask("itv get_short_epg", ch_id="1") == []


def test_the_watchdog_keeps_the_login_alive(box: Box) -> None:
    for box.now_s in range(0, 9000, 90):
        assert box.ask("watchdog get_events", init="0", cur_play_type="1", event_active_id="0")["data"]["msgs"] == 0
    box.now_s += 2701
    assert box.is_failed()


def test_unknown_actions_are_answered_in_words(box: Box) -> None:
    told = json.loads(box.raw("epg make_coffee").body)
    assert told == {"js": [], "text": "不支持的操作 / unknown type or action"}
    assert box.ask("itv set_last_id", id="1") is True
    assert box.ask("stb get_localization") == {}


@pytest.mark.parametrize(
    ("host", "port", "headers", "seen"),
    [
        ("192.0.2.1", 8800, {}, "192.0.2.1:8800"),
        ("192.0.2.1:8080", 8800, {}, "192.0.2.1:8080"),
        ("192.0.2.1", 80, {}, "192.0.2.1"),
        ("edge.example", 8800, {"X-Forwarded-For": "192.0.2.50"}, "edge.example"),
        ("[2001:db8::1]", 8800, {}, "[2001:db8::1]:8800"),
        ("[2001:db8::1]:81", 8800, {}, "[2001:db8::1]:81"),
    ],
)
def test_a_host_without_its_port_gets_it(box: Box, host: str, port: int, headers: dict[str, str], seen: str) -> None:
    asked = {"type": "vod", "action": "create_link", "cmd": "/hls/10000001/"}
    fields = {"Authorization": f"Bearer {box.token}", **headers}
    request = PortalRequest("GET", LOAD, asked, {}, fields, {"mac": MAC}, box.remote, host, port=port)
    state = PortalState(box.view, Logins(lambda _: None), "", NOW, 0.0, boxes=box.boxes)
    made = json.loads(DIALECT.reply(request, state).body)["js"]["cmd"]
    assert made == f"ffmpeg http://{seen}/hls/10000001/ts/master.m3u8"
    assert DIALECT.reply(replace(request, host='x"/'), state).status == 400
    safe = json.loads(DIALECT.reply(replace(request, port=443, scheme="https"), state).body)["js"]["cmd"]
    assert safe.startswith(f"ffmpeg https://{host}/hls/")
