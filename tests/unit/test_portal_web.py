"""The web dialect: JSON for boxes, pages for people, judged by the standard library's HTML reader."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.courseware import Catalogue, Column, Courseware, ItemClass, MediaFamily, Subtitle
from edge_server.bootstrap.http_port import dialect_for
from edge_server.catalog import EMPTY, CatalogView
from edge_server.portal import Dialect, PortalReply, PortalRequest, PortalState
from edge_server.portal.json_api import DIALECT as JSON_API
from edge_server.portal.web import DIALECT
from edge_server.sessions.logins import Logins
from tests.web_lab import ISSUED, PAGE, VIDEO, asset, rendition, view_of

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
    request = PortalRequest(method, path, query or {}, {}, headers or {}, {}, "127.0.0.1", "edge:80")
    state = PortalState(view, Logins(lambda _: None), "edge:554", datetime(2026, 11, 25, tzinfo=UTC), 5.0, **more)
    dialect = dialect_for(path, (DIALECT, JSON_API))
    assert dialect is not None
    return dialect.reply(request, state)


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, words, and whether every tag is closed."""

    VOID = frozenset({"meta", "link", "img", "source", "track", "br"})

    def __init__(self, reply: PortalReply) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.open: list[str] = []
        assert reply.media_type == "text/html; charset=utf-8"
        self.feed(reply.body.decode("utf-8"))
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


def test_home_shows_every_lesson_with_its_words(view: CatalogView) -> None:
    reply = ask(view, "/")
    page = Page(reply)
    cards = [each for each in page.all("a") if each.get("class") == "card"]
    assert [each["href"] for each in cards] == [f"/watch/{VIDEO}", f"/lessons/{PAGE}/", "/watch/3"]
    assert [each["src"] for each in page.all("img")] == [f"/posters/{VIDEO}.jpg"]
    for words in (NASTY, "甲", "乙 <b>", "4:05", "1:02:03", "图文", "课件 3 节", "2026-11-24", "这个专栏还没有课件"):
        assert words in page.words, words
    assert page.words.index("甲") < page.words.index("乙")
    assert [each for each in cards if "autofocus" in each] == cards[:1], "a remote control needs a place to begin"


def test_home_before_the_first_sync_says_what_to_do() -> None:
    page = Page(ask(CatalogView(EMPTY), "/"))
    assert "还没有课件" in page.words and "edge-server sync" in page.words and "节" not in page.words


def test_the_lesson_page_plays_without_script(view: CatalogView) -> None:
    page = Page(ask(view, f"/watch/{VIDEO}"))
    (video,) = page.all("video")
    assert "controls" in video and "autofocus" in video and video["poster"] == f"/posters/{VIDEO}.jpg"
    sources = [(each["src"], each["type"]) for each in page.all("source")]
    assert sources == [(f"/media/{VIDEO}/R40.mp4", "video/mp4"), (f"/media/{VIDEO}/R12.mp4", "video/mp4")]
    assert NASTY in page.words and "<i>简介" in page.words and {"href": "/"} in page.all("a")
    (video,) = Page(ask(view, "/watch/3")).all("video")
    assert "poster" not in video


@pytest.mark.parametrize("path", ["/", f"/watch/{VIDEO}", "/watch/none"])
def test_pages_have_no_script_and_nothing_from_elsewhere(view: CatalogView, path: str) -> None:
    reply = ask(view, path)
    page = Page(reply)
    assert not page.all("script") and b"://" not in reply.body.replace(b"<!doctype html>", b"")
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    links = [each.get("href") or each.get("src") for tag in ("a", "img", "source", "link") for each in page.all(tag)]
    assert links and all(link is not None and (link.startswith("/") or link == "data:,") for link in links)
    assert "script-src 'none'" in dict(reply.headers)["Content-Security-Policy"]
    assert page.all("html") == [{"lang": "zh-CN"}]
    assert {"name": "page-view-size", "content": "1280*720"} in page.all("meta")
    assert sum("autofocus" in attributes for _, attributes in page.tags) == 1
    for modern in (b"var(--", b"display: flex", b"display: grid", b"calc("):
        assert modern not in reply.body, "old boxes cannot"


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
