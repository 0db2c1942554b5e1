"""The web dialect: JSON for boxes, pages for people, judged by the standard library's HTML reader."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest

from domain.courseware import Catalogue, Column, Courseware, ItemClass, MediaFamily, Subtitle
from edge_server.bootstrap.http_port import dialect_for
from edge_server.catalog import EMPTY, CatalogView
from edge_server.linear import LinearChannel, Slot
from edge_server.portal import Dialect, PortalReply, PortalRequest, PortalState
from edge_server.portal.json_api import DIALECT as JSON_API
from edge_server.portal.web import DIALECT
from edge_server.portal.web.listing import FOUND_MAX_COUNT, search, shorten
from edge_server.sessions.logins import Logins
from tests.web_lab import ISSUED, PAGE, VIDEO, asset, rendition, view_of

BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/150.0 Safari/537.36"}
OLD_BOX = {"User-Agent": "webkit;Resolution(PAL,720P,1080P)"}
NASTY = '第一课 <script>alert("1")</script> & 急救'


def lesson(item_id: str, column_id: str, title: str = "课", **fields: object) -> Courseware:
    base = {"item_class": ItemClass.EDUCATION, "family": MediaFamily.VIDEO, "issued_at": ISSUED, "duration_s": 245.4}
    return Courseware(item_id=item_id, column_id=column_id, title=title, **{**base, **fields})  # type: ignore[arg-type]


R40, R12 = (rendition(name, b"x", (1280, 720), ("avc1.640028", "mp4a.40.2")) for name in ("R40", "R12"))
ZH = Subtitle(language="zh", label="中文 <i>", path="zh.vtt", sha256="0" * 64, length_bytes=9)
POSTER = asset("p.jpg", b"p", "image/jpeg")
CATALOGUE = Catalogue(
    columns=(
        Column(column_id="2", title="乙 <b>", order=2),
        Column(column_id="1", title="甲", order=1),
        Column(column_id="3", title="空", order=3),
    ),
    courseware=(
        lesson(
            VIDEO,
            "1",
            NASTY,
            renditions=(R12, R40),
            poster=asset("p.jpg", b"p", "image/jpeg"),
            subtitles=(ZH,),
            summary="<i>简介",
        ),
        lesson(PAGE, "2", family=MediaFamily.PICTURE_TEXT, duration_s=0.0, page=asset("i.html", b"h", "text/html")),
        lesson("3", "2", renditions=(R12,), duration_s=3723.0),
    ),
)


@pytest.fixture
def view(tmp_path: Path) -> CatalogView:
    return view_of(tmp_path, CATALOGUE, {})


def ask(
    view: CatalogView,
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    **more: Any,
) -> PortalReply:
    request = PortalRequest(method, path, query or {}, {}, {**BROWSER, **(headers or {})}, {}, "127.0.0.1", "edge:80")
    state = PortalState(view, Logins(lambda _: None), "edge:554", datetime(2026, 11, 25, tzinfo=UTC), 5.0, **more)
    dialect = dialect_for(path, (DIALECT, JSON_API))
    assert dialect is not None
    return dialect.reply(request, state)


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, words, and whether every tag is closed."""

    VOID = frozenset({"meta", "link", "img", "source", "track", "br", "input"})

    def __init__(self, reply: PortalReply) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.open: list[str] = []
        kind, _, charset = reply.media_type.partition("; charset=")
        assert kind == "text/html"
        self.feed(reply.body.decode(charset))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_it_is_a_dialect() -> None:
    assert isinstance(DIALECT, Dialect) and DIALECT.name == "web" and DIALECT.prefixes == ("/",)


def test_the_catalogue(view: CatalogView) -> None:
    reply = ask(view, "/api/v1/catalogue")
    assert (reply.status, reply.media_type) == (200, "application/json; charset=utf-8")
    read = json.loads(reply.body)
    assert (read["format"], read["seq"]) == (1, 7)
    assert [(column["id"], column["title"]) for column in read["columns"]] == [
        ("1", "甲"),
        ("2", "乙 <b>"),
        ("3", "空"),
    ]
    assert [[item["id"] for item in column["items"]] for column in read["columns"]] == [[VIDEO], [PAGE, "3"], []]
    assert read["columns"][0]["items"][0] == {
        "id": VIDEO,
        "title": NASTY,
        "summary": "<i>简介",
        "class": "education",
        "family": "video",
        "duration_s": 245.4,
        "issued_at": ISSUED,
        "poster": f"/posters/{VIDEO}.jpg",
        "play": {
            "progressive": f"/media/{VIDEO}/R40.mp4",
            "hls_fmp4": f"/hls/{VIDEO}/fmp4/master.m3u8",
            "hls_ts": f"/hls/{VIDEO}/ts/master.m3u8",
            "dash": f"/dash/{VIDEO}/manifest.mpd",
        },
        "subtitles": [{"language": "zh", "label": "中文 <i>", "url": f"/subtitles/{VIDEO}/zh.vtt"}],
    }
    page, small = read["columns"][1]["items"]
    assert page["page"] == f"/lessons/{PAGE}/" and "play" not in page and page["poster"] is None
    assert small["play"]["progressive"] == "/media/3/R12.mp4"


def test_every_item_of_the_catalogue_is_listed_once(view: CatalogView) -> None:
    listed = [
        item["id"] for column in json.loads(ask(view, "/api/v1/catalogue").body)["columns"] for item in column["items"]
    ]
    assert sorted(listed) == sorted(item.item_id for item in CATALOGUE.courseware)


def test_one_broken_item_does_not_take_the_others_away(tmp_path: Path) -> None:
    broken = msgspec.structs.replace(CATALOGUE, courseware=(*CATALOGUE.courseware, lesson("4", "1")))
    view = view_of(tmp_path, broken, {})
    items = json.loads(ask(view, "/api/v1/catalogue").body)["columns"][0]["items"]
    assert [item["id"] for item in items] == [VIDEO, "4"] and items[1]["play"] == {}
    assert ask(view, "/").status == 200 and ask(view, "/watch/4").status == 404


def test_asking_again_costs_nothing_until_something_changes(view: CatalogView, tmp_path: Path) -> None:
    etag = dict(ask(view, "/api/v1/catalogue").headers)["ETag"]
    for field in (etag, f"W/{etag}", "*", f'"x", {etag}'):
        reply = ask(view, "/api/v1/catalogue", headers={"If-None-Match": field})
        assert (reply.status, reply.body, dict(reply.headers)["ETag"]) == (304, b"", etag), field
    assert ask(view, "/api/v1/catalogue", headers={"If-None-Match": '"x"'}).status == 200
    assert ask(view, "/api/v1/catalogue", headers={"If-None-Match": etag.strip('"')}).status == 200
    newer = CatalogView(replace(view.active, seq=8))
    fewer = view_of(tmp_path, Catalogue(columns=CATALOGUE.columns), {})  # of another channel, say, with the same number
    for other in (newer, fewer):
        assert ask(other, "/api/v1/catalogue", headers={"If-None-Match": etag}).status == 200


def cards_of(page: Page, kind: str = "card") -> list[dict[str, str | None]]:
    return [each for each in page.all("a") if each.get("class") == kind]


def test_home_shows_a_column_with_its_words(view: CatalogView) -> None:
    page = Page(ask(view, "/"))
    cards = cards_of(page)
    assert [each["href"] for each in cards] == [f"/watch/{VIDEO}"]
    assert [each["src"] for each in page.all("img")] == [f"/posters/{VIDEO}.jpg"]
    for words in (NASTY, "甲", "乙 <b>", "空", "4:05", "课件 3 节", "2026-11-24"):
        assert words in page.words, words
    assert page.words.index("甲") < page.words.index("乙")
    assert [each for each in cards if "autofocus" in each] == cards[:1], "a remote control needs a place to begin"
    other = Page(ask(view, "/", query={"column": "2"}))
    assert [each["href"] for each in cards_of(other)] == [f"/lessons/{PAGE}/", "/watch/3"]
    assert "1:02:03" in other.words and "图文" in other.words
    assert "这个专栏还没有课件" in Page(ask(view, "/", query={"column": "3"})).words


@pytest.mark.parametrize(("headers", "size"), [(BROWSER, 8), (OLD_BOX, 6)])
def test_every_lesson_is_shown_once_and_in_order_on_the_pages_of_its_column(
    tmp_path: Path, headers: dict[str, str], size: int
) -> None:
    many = [lesson(str(100 + n), str(n % 12), f"第{n}课", renditions=(R12,)) for n in range(130)]
    columns = tuple(
        Column(column_id=str(n), title=f"专栏{n}", order=n) for n in range(11)
    )  # of the twelfth only lessons
    view = view_of(tmp_path, Catalogue(columns=columns, courseware=tuple(many)), {})
    tabs: list[str] = []
    for number in range(1, 5):
        page = Page(ask(view, "/columns", headers=headers, query={"page": str(number)}))
        hrefs = [each["href"] or "" for each in page.all("a")]
        tabs += [each for each in hrefs if each.startswith("/?column=") and each not in tabs]
    assert tabs == [f"/?column={n}" for n in range(12)]
    for n in range(12):
        found: list[str] = []
        query = {"column": str(n)}
        while True:
            page = Page(ask(view, "/", headers=headers, query=query))
            assert 0 < len(cards_of(page)) <= size
            found += [(each["href"] or "").removeprefix("/watch/") for each in cards_of(page)]
            after = [each for each in page.all("a") if each.get("rel") == "next"]
            if not after:
                break
            query = dict(parse_qsl((after[0]["href"] or "").partition("?")[2]))
        assert found == [item.item_id for item in many if item.column_id == str(n)]


def test_back_leads_to_the_card_one_came_from(tmp_path: Path) -> None:
    many = [lesson(str(100 + n), "1", renditions=(R12,)) for n in range(30)]
    columns = (Column(column_id="1", title="甲", order=1),)
    view = view_of(tmp_path, Catalogue(columns=columns, courseware=tuple(many)), {})
    (back,) = [each for each in Page(ask(view, "/watch/120")).all("a") if each.get("id") == "back"]
    page = Page(ask(view, "/", query=dict(parse_qsl((back["href"] or "").partition("?")[2]))))
    assert [each["href"] for each in cards_of(page) if "autofocus" in each] == ["/watch/120"]
    turns = {each["rel"]: each["href"] for each in Page(ask(view, "/watch/120")).all("a") if "rel" in each}
    assert turns == {"prev": "/watch/119", "next": "/watch/121"}


def test_the_language_is_chosen_and_kept(view: CatalogView) -> None:
    chosen = ask(view, "/", query={"lang": "en"})
    assert "3 lessons" in Page(chosen).words and Page(chosen).all("html") == [{"lang": "en"}]
    cookie = dict(chosen.headers)["Set-Cookie"]
    assert cookie.startswith("lang=en; Path=/;")
    request = PortalRequest("GET", "/search", {}, {}, BROWSER, {"lang": "en"}, "127.0.0.1", "edge:80")
    state = PortalState(view, Logins(lambda _: None), "edge:554", datetime(2026, 11, 25, tzinfo=UTC), 5.0)
    assert "Search lessons" in Page(DIALECT.reply(request, state)).words
    nonsense = ask(view, "/", query={"lang": "x\r\ny"})
    assert "课件 3 节" in Page(nonsense).words and "Set-Cookie" not in dict(nonsense.headers)


def test_pages_of_old_boxes_are_written_in_the_charset_that_they_declare(tmp_path: Path) -> None:
    courseware = (lesson("5", "1", "𠮷野课 €", renditions=(R12,)),)
    view = view_of(tmp_path, Catalogue(columns=CATALOGUE.columns, courseware=courseware), {})
    gbk = {**OLD_BOX, "Accept-Charset": "gb2312, gbk"}
    reply = ask(view, "/", headers=gbk)
    assert reply.media_type == "text/html; charset=gbk"
    assert b'content="text/html; charset=GBK"' in reply.body and "课件".encode("gbk") in reply.body
    assert {"name": "page-view-size", "content": "640*530"} in Page(reply).all("meta")
    assert "𠮷野课" in Page(reply).words, "what GBK lacks is a character reference"
    assert ask(view, "/", headers=OLD_BOX).media_type == "text/html; charset=utf-8"
    assert ask(view, "/", headers={"Accept-Charset": "gbk"}).media_type == "text/html; charset=utf-8", "no old box"


def test_an_old_box_is_sent_to_what_it_plays(view: CatalogView) -> None:
    for headers in (OLD_BOX, {"User-Agent": ""}):
        page = Page(ask(view, f"/watch/{VIDEO}", headers=headers))
        assert not page.all("video")
        assert f"rtsp://edge:554/vod/{VIDEO}.mpg" in [each.get("href") for each in page.all("a")]


def test_home_before_the_first_sync_says_what_to_do() -> None:
    page = Page(ask(CatalogView(EMPTY), "/"))
    assert "还没有课件" in page.words and "edge-server sync" in page.words and "节" not in page.words


def test_the_lesson_page_plays_without_script(view: CatalogView) -> None:
    page = Page(ask(view, f"/watch/{VIDEO}"))
    (video,) = page.all("video")
    assert "controls" in video and "autofocus" in video and video["poster"] == f"/posters/{VIDEO}.jpg"
    sources = [(each["src"], each["type"]) for each in page.all("source")]
    assert sources == [(f"/media/{VIDEO}/R40.mp4", "video/mp4"), (f"/media/{VIDEO}/R12.mp4", "video/mp4")]
    assert NASTY in page.words and "<i>简介" in page.words
    assert [each["href"] for each in page.all("a") if each.get("id") == "back"] == [f"/?column=1&page=1&at={VIDEO}"]
    (video,) = Page(ask(view, "/watch/3")).all("video")
    assert "poster" not in video


@pytest.mark.parametrize("headers", [BROWSER, OLD_BOX])
@pytest.mark.parametrize(
    "path", ["/", f"/watch/{VIDEO}", "/watch/none", "/search", "/channels", "/channel/900001", "/columns", "/keys"]
)
def test_pages_have_scripts_of_ours_only_and_nothing_from_elsewhere(
    view: CatalogView, path: str, headers: dict[str, str]
) -> None:
    reply = ask(view, path, headers=headers, channels=(CHANNEL,))
    page = Page(reply)
    player = [{"src": "/player.js"}] if page.all("video") else []
    assert page.all("script") == [{"src": "/keys.js"}, *player]
    assert reply.body.replace(b"rtsp://edge:554/", b"").count(b"://") == 0
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    links = [each.get("href") or each.get("src") for tag in ("a", "img", "source", "link") for each in page.all(tag)]
    assert links and all(link is not None and link.startswith(("/", "data:,", "rtsp://edge:554/")) for link in links)
    assert "script-src 'self';" in dict(reply.headers)["Content-Security-Policy"], "none that is written in a page"
    assert page.all("html") == [{"lang": "zh-CN"}]
    size = "640*530" if headers is OLD_BOX else "1280*720"
    assert {"name": "page-view-size", "content": size} in page.all("meta")
    assert sum("autofocus" in attributes for _, attributes in page.tags) == (0 if path == "/keys" else 1)
    for modern in (b"var(--", b"display: flex", b"display: grid", b"calc("):
        assert modern not in reply.body, "old boxes cannot"


CHANNEL = LinearChannel(
    "900001",
    1,
    "教育 <频道>",
    datetime(1970, 1, 1, tzinfo=UTC),
    (Slot("1", "第一课", 1000.0), Slot("2", "第二课", 800.0)),
)


def test_channels_tell_what_is_on_and_what_comes(view: CatalogView) -> None:
    assert "还没有频道" in Page(ask(view, "/channels")).words
    page = Page(ask(view, "/channels", channels=(CHANNEL,)))
    assert "/channel/900001" in [each["href"] for each in page.all("a")]
    # 2026-11-25T00:00Z is 8:00 in China, and the beginning of a round of 1800 s
    for words in ("教育 <频道>", "08:00–08:16", "第一课", "08:16 第二课"):
        assert words in page.words, words


def test_a_channel_is_watched_and_goes_back_in_time(view: CatalogView) -> None:
    page = Page(ask(view, "/channel/900001", channels=(CHANNEL,)))
    assert [each["src"] for each in page.all("video")] == ["/live/900001/index.m3u8"]
    again = [each["href"] for each in page.all("a") if "playseek" in (each["href"] or "")]
    assert again[:2] == [
        "/live/900001/index.m3u8?playseek=20261124234640-20261125000000",
        "/live/900001/index.m3u8?playseek=20261124233000-20261124234640",
    ]
    assert len(again) == 6
    given = {"ticket": lambda item_id: f"/t/{item_id}", "ticketed": True, "channels": (CHANNEL,)}
    page = Page(ask(view, "/channel/900001", **given))
    assert [each["src"] for each in page.all("video")] == ["/t/900001/live/900001/index.m3u8"]
    sent = ask(view, "/play/live/900001/index.m3u8", query={"playseek": "1-2"}, **given)
    assert dict(sent.headers)["Location"] == "/t/900001/live/900001/index.m3u8?playseek=1-2"
    assert ask(view, "/channel/900001", channels=(CHANNEL,), ticket=lambda _: None).status == 503
    assert ask(view, "/channel/7", channels=(CHANNEL,)).status == 404
    assert ask(view, f"/play/live/{VIDEO}/index.m3u8", channels=(CHANNEL,)).status == 404, "no channel"
    assert ask(view, "/play/hls/900001/ts/master.m3u8", channels=(CHANNEL,)).status == 404, "no lesson"


def found(view: CatalogView, query: str, **more: Any) -> list[str]:
    page = Page(ask(view, "/search", query={"q": query}, **more))
    return [(each["href"] or "").strip("/").split("/")[-1] for each in cards_of(page, "line")]


def test_two_chinese_characters_are_enough_to_search(tmp_path: Path) -> None:
    listed = (
        lesson("1", "1", "大棚滴灌技术", renditions=(R12,)),
        lesson("2", "1", "苹果修剪", summary="冬季滴灌要点", renditions=(R12,)),
        lesson("3", "2", "ＨＬＳ 与 Web", renditions=(R12,)),
    )
    view = view_of(tmp_path, Catalogue(columns=CATALOGUE.columns, courseware=listed), {})
    assert found(view, "滴灌") == ["1", "2"]
    assert found(view, "冬季 滴灌") == ["2"] and found(view, "滴灌 冬季 苹果") == ["2"]
    assert found(view, "hls") == ["3"] and found(view, "乙") == ["3"], "wide letters and the column's name count"
    assert found(view, "灌滴") == [] and found(view, "   ") == [] and found(view, "") == []
    assert found(view, "%B5%CE%B9%E0") == ["1", "2"], "as a box that writes GBK into addresses sends it"
    assert found(view, "100%") == []
    words = Page(ask(view, "/search", query={"q": '"><b>'})).words
    assert '"><b>' in words and "没有找到" in words


def test_a_search_is_bounded(tmp_path: Path) -> None:
    many = tuple(lesson(str(n), "1", "滴灌", renditions=(R12,)) for n in range(1000, 1500))
    view = view_of(tmp_path, Catalogue(columns=CATALOGUE.columns, courseware=many), {})
    assert len(search(view, "滴灌")) == FOUND_MAX_COUNT
    assert search(view, "滴" + "灌" * 5000) == ()
    page = Page(ask(view, "/search", query={"q": "滴灌", "page": "99999999"}))
    assert len(cards_of(page, "line")) == 6 and "第 1 / 34 页" in page.words


TITLES = ("滴灌技术", "重庆小面", "长江银行", "WEB 入门", "“三农”政策 2026")


@pytest.fixture
def spelt(tmp_path: Path) -> CatalogView:
    listed = tuple(lesson(str(n), "1", title, renditions=(R12,)) for n, title in enumerate(TITLES))
    return view_of(tmp_path, Catalogue(columns=CATALOGUE.columns, courseware=listed), {})


@pytest.mark.parametrize(
    ("letters", "ids"),
    [
        ("dg", ["0"]),
        ("DGJS", ["0"]),
        ("gjs", ["0"]),
        ("gd", []),
        ("cq", ["1"]),  # 重 is read chong or zhong, 长 chang or zhang, 行 hang or xing
        ("zq", ["1"]),
        ("cj", ["2"]),
        ("yh", ["2"]),
        ("webr", ["3"]),
        ("snzc2", ["4"]),
        ("重 qxm", ["1"]),
    ],
)
def test_titles_are_found_by_initials_of_every_reading(spelt: CatalogView, letters: str, ids: list[str]) -> None:
    assert found(spelt, letters) == ids


def pad_of(view: CatalogView, **query: str) -> tuple[dict[str, str], str]:
    """The keys that lead on, with what they look for; and where the focus begins."""
    page = Page(ask(view, "/search", query=query))
    fields = {}
    for each in page.all("a"):
        if (each.get("class") or "").startswith("key"):
            asked = dict(parse_qsl((each["href"] or "").partition("?")[2]))
            fields[asked["key"]] = asked.get("q", "")
    begins = [each.get("href") or "" for _, each in page.tags if "autofocus" in each]
    assert len(begins) == 1
    return fields, begins[0]


def test_every_key_of_the_pad_finds_something(spelt: CatalogView) -> None:
    keys, begin = pad_of(spelt)
    assert {"d", "g", "c", "z", "w", "2", "n"} <= keys.keys() and not {"v", "9", "back"} & keys.keys()
    assert begin == "/search?q=b&key=b", "the first that leads on"
    seen = {""}
    waiting = [""]
    while waiting and len(seen) < 150:
        query = waiting.pop(0)
        for letter, after in pad_of(spelt, **({"q": query} if query else {}))[0].items():
            if letter not in ("back", "clear") and after not in seen:
                assert found(spelt, after), (query, letter)
                seen.add(after)
                waiting.append(after)
    assert {"dgjs", "cqxm", "snzc"} & seen


def test_the_pad_keeps_the_focus_where_it_is_of_use(spelt: CatalogView) -> None:
    keys, begin = pad_of(spelt, q="d", key="d")
    assert keys["g"] == "dg" and keys["back"] == "" and begin == "/watch/0", "after d comes no d"
    keys, begin = pad_of(spelt, q="dg", key="back")
    assert keys["back"] == "d" and begin.endswith("q=d&key=back")
    assert pad_of(spelt, key="back")[1].startswith("/search?q="), "nothing is left to delete"
    assert pad_of(spelt, q="火箭")[1] == "/" and pad_of(spelt, q="火箭", key="x")[1].endswith("key=back")
    assert pad_of(spelt, q="滴灌")[0]["d"] == "滴灌 d", "a letter behind characters is a word of its own"


@pytest.mark.parametrize(
    ("text", "units", "short"),
    [("滴灌技术", 8, "滴灌技术"), ("滴灌技术课", 8, "滴灌技…"), ("abcdef", 5, "abc…"), ("", 4, ""), ("a滴灌", 4, "a…")],
)
def test_titles_are_cut_to_what_fits(text: str, units: int, short: str) -> None:
    assert shorten(text, units) == short


@pytest.mark.parametrize(
    "path",
    ["/watch/", f"/watch/{PAGE}", "/watch/99", f"/watch/{VIDEO}/", f"/watch/../{VIDEO}", "/none", "/api/v2/catalogue"],
)
def test_what_is_not_there_is_said_in_both_languages(view: CatalogView, path: str) -> None:
    reply = ask(view, path)
    assert reply.status == 404
    words = Page(reply).words
    assert "没有这个课件或页面" in words and "Not found" in words


def test_methods(view: CatalogView) -> None:
    for path in ("/", "/api/v1/catalogue"):
        assert ask(view, path, "HEAD").status == 200
        refused = ask(view, path, "POST")
        assert refused.status == 405 and dict(refused.headers)["Allow"] == "GET, HEAD"


def test_with_tickets_pages_carry_one_and_the_catalogue_asks_for_one(view: CatalogView) -> None:
    given = {"ticket": lambda item_id: f"/t/{item_id}", "ticketed": True}
    assert f'src="/t/{VIDEO}/media/{VIDEO}/R40.mp4"' in ask(view, f"/watch/{VIDEO}", **given).body.decode()
    listed = json.loads(ask(view, "/api/v1/catalogue", **given).body)
    play = {
        way: url
        for column in listed["columns"]
        for item in column["items"]
        for way, url in item.get("play", {}).items()
    }
    assert len(play) == 4
    for url in play.values():
        reply = ask(view, url, **given)
        fields = dict(reply.headers)
        item_id = url.split("/")[3]
        assert reply.status == 302
        assert fields["Location"] == f"/t/{item_id}{url.removeprefix('/play')}"
        assert fields["Cache-Control"] == "no-store"
    open_etag, etag = (dict(ask(view, "/api/v1/catalogue", **more).headers)["ETag"] for more in ({}, given))
    assert open_etag != etag


@pytest.mark.parametrize(
    "path", ["/hls/77/ts/master.m3u8", "/posters/1.jpg", "//evil/1/x", "/hls/3", "/hls/3/a b", "/hls/3/"]
)
def test_only_media_of_listed_items_are_sent_on(view: CatalogView, path: str) -> None:
    assert ask(view, "/play" + path).status == 404


@pytest.mark.parametrize(("asked", "kept"), [({}, ""), ({"rendition": "R12", "start": "3"}, "?rendition=R12&start=3")])
def test_an_offer_is_sent_on_with_its_body(view: CatalogView, asked: dict[str, str], kept: str) -> None:
    reply = ask(view, f"/play/whep/{VIDEO}", "POST", query=asked, ticket=lambda item_id: f"/t/{item_id}", ticketed=True)
    assert (reply.status, dict(reply.headers)["Location"]) == (307, f"/t/{VIDEO}/whep/{VIDEO}{kept}")
    assert ask(view, "/play/whep/77", "POST").status == 404
    assert ask(view, f"/play/whep/{VIDEO}", "POST", ticket=lambda item_id: None).status == 503
    assert ask(view, f"/play/whep/{VIDEO}").status == 404 and ask(view, f"/whep/{VIDEO}", "POST").status == 405


def test_a_full_house_says_so_in_both_languages(view: CatalogView) -> None:
    for path in (f"/watch/{VIDEO}", f"/play/media/{VIDEO}/R40.mp4"):
        reply = ask(view, path, ticket=lambda item_id: None, ticketed=True)
        assert reply.status == 503
        assert "请稍后再试" in reply.body.decode()
        assert "try again" in reply.body.decode()


def test_the_player_offers_the_subtitles(view: CatalogView) -> None:
    (track,) = Page(ask(view, f"/watch/{VIDEO}")).all("track")
    assert track["src"] == f"/subtitles/{VIDEO}/zh.vtt"
    assert (track["kind"], track["srclang"], track["label"]) == ("subtitles", "zh", "中文 <i>")
