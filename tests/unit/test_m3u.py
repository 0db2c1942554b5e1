"""The M3U dialect: what the playlist says, the guide, and catch-up in every player's spelling."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from edge_server.catalog import CatalogView
from edge_server.linear import LinearChannel, Slot
from edge_server.linear.guide import GUIDE_PROGRAMMES_MAX_COUNT
from edge_server.portal import Dialect, PortalReply
from edge_server.portal.m3u import DIALECT, M3uDialect
from tests import portal_lab
from tests.portal_lab import CHANNELS, NOW, read_m3u
from tests.web_lab import PAGE, VIDEO


@pytest.fixture
def view(tmp_path: Path) -> CatalogView:
    return portal_lab.view(tmp_path)


def ask(view: CatalogView, path: str, query: Mapping[str, str] | None = None, **more: Any) -> PortalReply:
    return portal_lab.ask(DIALECT, view, path, query, **more)


def playlist(view: CatalogView, **query: str) -> list[dict[str, str]]:
    reply = ask(view, "/playlist.m3u", query)
    assert (reply.status, reply.media_type) == (200, "audio/x-mpegurl; charset=utf-8")
    return read_m3u(reply.body.decode())


def test_it_is_a_dialect() -> None:
    assert isinstance(DIALECT, Dialect) and DIALECT.name == "m3u"


def test_channels_then_lessons_in_groups_by_column(view: CatalogView) -> None:
    entries = playlist(view)
    assert [(each["name"], each["tvg-chno"], each["group-title"], each["length"]) for each in entries] == [
        ("教育频道", "1", "教育频道", "-1"),
        ("农技， 频道", "2", "教育频道", "-1"),
        ("第一课 ＂安全， 用电＂ <b>& 急救", "1001", "甲", "245"),
        ("课", "1003", "乙； <b>", "3723"),
    ]
    assert [each["url"] for each in entries] == [
        "http://edge:80/live/900001.ts",
        "http://edge:80/live/900002.ts",
        f"http://edge:80/hls/{VIDEO}/ts/master.m3u8",
        "http://edge:80/hls/3/ts/master.m3u8",
    ]
    assert entries[2]["tvg-logo"] == f"http://edge:80/posters/{VIDEO}.jpg" and "tvg-logo" not in entries[3]


def test_what_a_player_cannot_show_is_left_out_with_the_reason(view: CatalogView) -> None:
    text = ask(view, "/playlist.m3u").body.decode()
    assert f"# left-out={PAGE} reason=no-browser\n# left-out=4 reason=no-rendition\n" in text
    assert text.startswith('#EXTM3U x-tvg-url="http://edge:80/epg.xml.gz" url-tvg="http://edge:80/epg.xml.gz"\n')


@pytest.mark.parametrize(
    ("query", "live", "lesson"),
    [
        ({"profile": "ts"}, "http://edge:80/live/900002.ts", "/hls/{}/ts/master.m3u8"),
        ({"profile": "fmp4"}, "http://edge:80/live/900002/index.m3u8", "/hls/{}/fmp4/master.m3u8"),
        ({"profile": "mp4"}, "http://edge:80/live/900002/index.m3u8", "/media/{}/R40.mp4"),
        ({"box": "kodi"}, "http://edge:80/live/900002.ts", "/hls/{}/ts/master.m3u8"),
        ({"box": "pc"}, "http://edge:80/live/900002/index.m3u8", "/media/{}/R40.mp4"),
        ({"live": "rtsp"}, "rtsp://edge:554/live/900002.mpg", "/hls/{}/ts/master.m3u8"),
        ({"live": "multicast"}, "rtp://@239.1.1.2:5000", "/hls/{}/ts/master.m3u8"),
    ],
)
def test_the_query_chooses(view: CatalogView, query: dict[str, str], live: str, lesson: str) -> None:
    entries = playlist(view, **query)
    assert entries[1]["url"] == live and entries[2]["url"] == "http://edge:80" + lesson.format(VIDEO)


def test_with_tickets_links_ask_for_one(view: CatalogView) -> None:
    reply = ask(view, "/playlist.m3u", ticketed=True)
    urls = [each["url"] for each in read_m3u(reply.body.decode())]
    assert urls and all(url.startswith("http://edge:80/play/") for url in urls)


@pytest.mark.parametrize("name", ["profile", "box", "live", "catchup"])
def test_an_unknown_wish_is_refused_with_what_there_is(view: CatalogView, name: str) -> None:
    reply = ask(view, "/playlist.m3u", {name: "<x>"})
    assert reply.status == 400 and b"write one of" in reply.body and reply.media_type.startswith("text/plain")


def test_asking_again_costs_nothing(view: CatalogView) -> None:
    for path in ("/playlist.m3u", "/epg.xml", "/epg.xml.gz"):
        first = ask(view, path)
        etag = dict(first.headers)["ETag"]
        again = ask(view, path, headers={"If-None-Match": etag})
        assert (again.status, again.body) == (304, b"") and first.body
    other = ask(view, "/playlist.m3u", headers={"If-None-Match": etag}, host="other")
    assert other.status == 200


def test_bad_requests(view: CatalogView) -> None:
    assert ask(view, "/playlist.m3u", method="POST").status == 405
    assert ask(view, "/playlist.m3u", host='x"\n').status == 400
    for path in ("/catchup/", "/catchup/1.ts", "/catchup/900001/x.ts", "/catchup/900001.mp4", "/catchup/../900001.ts"):
        assert ask(view, path).status == 404, path


CATCHUPS = {
    "default": ("default", "http://edge:80/catchup/900001.ts?start={utc}&end={utcend}", "/live/900001.ts"),
    "append": ("append", "?start={utc}&end={utcend}", "/catchup/900001.ts"),
    "shift": ("shift", None, "/catchup/900001.ts"),
    "flussonic": ("flussonic", None, "/catchup/900001/mpegts"),
    "vod": ("vod", "http://edge:80/catchup/900001.ts?start={utc}&end={utcend}", "/live/900001.ts"),
    "playseek": (
        "default",
        "http://edge:80/catchup/900001.ts?playseek=${(b)yyyyMMddHHmmss}-${(e)yyyyMMddHHmmss}&zoneoffset=480",
        "/live/900001.ts",
    ),
}


@pytest.mark.parametrize("mode", CATCHUPS)
def test_catchup_in_the_spelling_of_the_player(view: CatalogView, mode: str) -> None:
    named, source, url = CATCHUPS[mode]
    first, second, *lessons = playlist(view, catchup=mode)
    assert (first["catchup"], first.get("catchup-source"), first["url"]) == (named, source, f"http://edge:80{url}")
    assert (first["catchup-days"], second["catchup-days"]) == ("1", "3")
    assert not any("catchup" in each for each in lessons)


def test_no_catchup_when_none_is_wanted(view: CatalogView) -> None:
    assert not any("catchup" in each for each in playlist(view, catchup="none"))
    assert not any("catchup" in each for each in playlist(view, catchup="append", live="rtsp")[:2]), (
        "nothing to append to"
    )


START, END = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
UTC_S, END_S, NOW_S = (int(each.timestamp()) for each in (START, END, NOW))
HOUR = "playseek=20261125020030-20261125030030"
SINCE = "playseek=20261125020030-"


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        ("/catchup/900001.ts", {"start": str(UTC_S), "end": str(END_S)}, f"/live/900001.ts?{HOUR}"),
        ("/catchup/900001.m3u8", {"start": str(UTC_S), "end": str(END_S)}, f"/live/900001/index.m3u8?{HOUR}"),
        ("/catchup/900001.ts", {"utc": str(UTC_S), "lutc": str(NOW_S)}, f"/live/900001.ts?{SINCE}"),
        ("/catchup/900001.ts", {"utc": str(UTC_S)}, f"/live/900001.ts?{SINCE}"),
        ("/catchup/900001.ts", {}, "/live/900001.ts"),
        ("/catchup/900001/mpegts", {}, "/live/900001.ts"),
        ("/catchup/900001/index.m3u8", {}, "/live/900001/index.m3u8"),
        (f"/catchup/900001/timeshift_abs-{UTC_S}.ts", {}, f"/live/900001.ts?{SINCE}"),
        ("/catchup/900001/timeshift_rel-7200.m3u8", {}, f"/live/900001/index.m3u8?{SINCE}"),
        (f"/catchup/900001/archive-{UTC_S}-3600.ts", {}, f"/live/900001.ts?{HOUR}"),
        (f"/catchup/900001/index-{UTC_S}-now.m3u8", {}, f"/live/900001/index.m3u8?{SINCE}"),
        ("/catchup/900001.ts", {"playseek": "20261125020030-20261125030030"}, f"/live/900001.ts?{HOUR}"),
        (
            "/catchup/900001.ts",
            {"playseek": "20261125100030-20261125110030", "zoneoffset": "480"},
            f"/live/900001.ts?{HOUR}",
        ),
        ("/catchup/900001.ts", {"Playseek": "20261125020030GMT-20261125030030GMT"}, f"/live/900001.ts?{HOUR}"),
    ],
)
def test_every_spelling_means_the_same_span(view: CatalogView, path: str, query: dict[str, str], target: str) -> None:
    reply = ask(view, path, query)
    assert (reply.status, dict(reply.headers)["Location"]) == (302, target)
    ticketed = ask(view, path, query, ticket=lambda item_id: f"/t/{item_id}")
    assert dict(ticketed.headers)["Location"] == f"/t/900001{target}"
    assert ask(view, path, query, ticket=lambda _: None).status == 503


@pytest.mark.parametrize(
    "query",
    [
        {"start": "x"},
        {"start": str(END_S), "end": str(UTC_S)},
        {"playseek": "20261125020030"},
        {"playseek": "20261332020030-20261332020031"},
        {"playseek": "20261125020030-20261125030030", "zoneoffset": "x"},
        {"playseek": "20261125020030-20261125030030", "zoneoffset": "900"},
    ],
)
def test_a_span_that_is_none_is_refused(view: CatalogView, query: dict[str, str]) -> None:
    reply = ask(view, "/catchup/900001.ts", query)
    assert reply.status == 400 and "地址不对" in reply.body.decode()


def test_the_guide(view: CatalogView) -> None:
    plain, packed = ask(view, "/epg.xml"), ask(view, "/epg.xml.gz")
    assert gzip.decompress(packed.body) == plain.body and packed.media_type == "application/gzip"
    root = ElementTree.fromstring(plain.body)
    assert [each.get("id") for each in root.findall("channel")] == ["900001.edge", "900002.edge"]
    for channel in CHANNELS:
        shown = [each for each in root.findall("programme") if each.get("channel") == f"{channel.channel_id}.edge"]
        starts = [datetime.strptime(each.get("start", ""), "%Y%m%d%H%M%S %z") for each in shown]
        stops = [datetime.strptime(each.get("stop", ""), "%Y%m%d%H%M%S %z") for each in shown]
        assert starts == sorted(set(starts)) and all(a < b for a, b in zip(starts, stops, strict=True))
        today = NOW.replace(hour=0, minute=0, second=0)
        first, last = today - timedelta(days=7), today + timedelta(days=3)
        expected = [p for p in channel.programmes(first, last) if p.start >= first]
        assert starts == [p.start.replace(microsecond=0) for p in expected]
        for gap_start, gap_stop in zip(stops[:-1], starts[1:], strict=True):
            assert gap_start == gap_stop
    first_lesson = next(each for each in root.findall("programme") if each.get("channel") == "900001.edge")
    texts = {child.tag: child.text for each in root.findall("programme") for child in each}
    assert first_lesson.find("title") is not None and texts["category"] in ("甲", "乙; <b>")
    assert {each.findtext("desc") for each in root.findall("programme")} == {"<i>简介", None}


def test_the_guide_is_made_once_a_day(view: CatalogView) -> None:
    dialect = M3uDialect()
    first = portal_lab.ask(dialect, view, "/epg.xml").body
    assert portal_lab.ask(dialect, view, "/epg.xml", now=NOW + timedelta(hours=19)).body is first
    assert portal_lab.ask(dialect, view, "/epg.xml", now=NOW + timedelta(hours=20)).body != first
    assert portal_lab.ask(dialect, view, "/epg.xml", channels=CHANNELS[:1]).body != first


def test_many_short_lessons_make_a_shorter_guide_of_whole_days(view: CatalogView) -> None:
    short = tuple(
        LinearChannel(str(n), n, "短", datetime(2026, 1, 1, tzinfo=UTC), (Slot("3", "课", 30.0),)) for n in (1, 2)
    )
    root = ElementTree.fromstring(portal_lab.ask(M3uDialect(), view, "/epg.xml", channels=short).body)
    starts = [each.get("start", "") for each in root.findall("programme")]
    assert 0 < len(starts) <= GUIDE_PROGRAMMES_MAX_COUNT
    assert {start[:8] for start in starts} == {"20261124", "20261125", "20261126"}
    assert len(starts) == 3 * 2 * 2880


def test_no_channels_no_programmes(view: CatalogView) -> None:
    root = ElementTree.fromstring(portal_lab.ask(M3uDialect(), view, "/epg.xml", channels=()).body)
    assert root.tag == "tv" and not list(root)
