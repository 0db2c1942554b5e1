"""Whatever titles, addresses and queries come: playlists and guides can be read, and readers answer or refuse."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from edge_server.catalog import CatalogView
from edge_server.portal.json_api import DIALECT as JSON_API
from edge_server.portal.m3u import DIALECT as M3U
from edge_server.portal.xtream import DIALECT as XTREAM
from edge_server.sessions.accounts import Account
from edge_server.sessions.logins import Logins
from tests import portal_lab
from tests.portal_lab import read_m3u
from wire.catchup import CatchupError, read_moment, read_playseek
from wire.m3u_write import Entry, write_playlist
from wire.playseek import parse_playseek, write_playseek
from wire.xmltv_write import GuideChannel, GuideProgramme, write_guide

ANYTHING = st.text() | st.text(alphabet=st.characters(categories=None), max_size=30)
"""Lone surrogates and control characters among it."""
NAMES = st.text(alphabet=string.ascii_letters + string.digits + "/:.-_%?&=", min_size=1)
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
"""Bounds are naive because hypothesis wants them so; what it makes is UTC."""
LIKELY = st.text(alphabet="0123456789-:.TZ +GMTabc/_ts", max_size=30)


@cache
def view() -> CatalogView:
    return portal_lab.view(Path(mkdtemp()))


@given(st.lists(st.tuples(ANYTHING, NAMES, ANYTHING, ANYTHING, st.integers(-1, 10**6)), max_size=5), ANYTHING)
def test_any_playlist_can_be_read(entries: list[tuple[str, str, str, str, int]], remark: str) -> None:
    made = [
        Entry(name, f"http://{url}", {"tvg-id": value}, group, length) for name, url, value, group, length in entries
    ]
    read = read_m3u(write_playlist(made, guide_url="http://x/epg.xml", remarks=[remark]))
    assert [each["url"] for each in read] == [each.url for each in made]
    assert [each["length"] for each in read] == [str(each.length_s) for each in made]
    assert all(each["name"] and each["name"] == each["tvg-name"] for each in read)
    assert all('"' not in value and ";" not in each.get("group-title", "") for each in read for value in each.values())


@given(st.lists(st.tuples(ANYTHING, MOMENTS, ANYTHING, ANYTHING, ANYTHING), max_size=5))
def test_any_guide_is_xml(programmes: list[tuple[str, datetime, str, str, str]]) -> None:
    channels = [GuideChannel(each[0], (each[2], "7")) for each in programmes]
    made = [
        GuideProgramme(name, start, start + timedelta(hours=1), title, description, category)
        for name, start, title, description, category in programmes
    ]
    text = write_guide(channels, made)
    root = ElementTree.fromstring(text.encode())
    assert [each.tag for each in root] == ["channel"] * len(channels) + ["programme"] * len(made)
    for element, programme in zip(root.findall("programme"), made, strict=True):
        start = datetime.strptime(element.get("start", ""), "%Y%m%d%H%M%S %z")
        assert start == programme.start.replace(microsecond=0)


@given(LIKELY | ANYTHING, st.integers(-840, 840))
def test_a_moment_is_read_or_refused(text: str, zone: int) -> None:
    try:
        moment = read_moment(text, zone)
    except CatchupError:
        return
    assert moment.tzinfo is UTC


@given(MOMENTS, st.timedeltas(timedelta(seconds=1), timedelta(days=400)))
def test_a_span_comes_back(start: datetime, length: timedelta) -> None:
    start = start.replace(microsecond=0)
    end = (start + length).replace(microsecond=0)
    written = write_playseek(start, end)
    assert read_playseek(written) == (start, end)
    read = parse_playseek(written)
    assert (read.since, read.until) == (start, end)
    assert parse_playseek(write_playseek(start, None)).until is None


@given(
    LIKELY | ANYTHING,
    st.dictionaries(st.sampled_from(["start", "utc", "end", "lutc", "playseek", "zoneoffset"]), LIKELY),
)
def test_catchup_sends_on_or_refuses(rest: str, query: dict[str, str]) -> None:
    for path in (f"/catchup/{rest}", f"/catchup/900001{rest}", "/catchup/900001.ts"):
        reply = portal_lab.ask(M3U, view(), path, query)
        assert reply.status in (302, 400, 404)
        if reply.status == 302:
            assert dict(reply.headers)["Location"].startswith("/live/900001")


@given(st.dictionaries(st.sampled_from(["profile", "box", "live", "catchup", "x"]), ANYTHING))
def test_a_playlist_comes_or_is_refused(query: dict[str, str]) -> None:
    reply = portal_lab.ask(M3U, view(), "/playlist.m3u", query)
    assert reply.status in (200, 400)


@given(LIKELY | ANYTHING, st.dictionaries(st.sampled_from(["since", "until", "box", "item"]), LIKELY | ANYTHING))
def test_the_json_api_answers_or_refuses(rest: str, query: dict[str, str]) -> None:
    for path in (rest, f"lessons/{rest}", f"channels/900001/{rest}", "channels/900001/programmes"):
        assert portal_lab.ask(JSON_API, view(), f"/api/v1/{path}", query).status in (200, 400, 404, 405)
    assert portal_lab.ask(JSON_API, view(), "/api/v1/heartbeat", method="POST", form=query).status in (200, 400)


FIELDS = ["action", "category_id", "vod_id", "series_id", "stream_id", "limit", "stream", "start", "duration", "output"]
ACTIONS = st.sampled_from(["get_vod_info", "get_series_info", "get_short_epg", "get_vod_streams", "get_live_streams"])


@given(LIKELY | ANYTHING, st.dictionaries(st.sampled_from(FIELDS), LIKELY | ANYTHING | ACTIONS))
def test_xtream_answers_or_refuses(rest: str, query: dict[str, str]) -> None:
    me = {"username": "u", "password": "p"}
    paths = [
        f"/live/u/p/{rest}",
        f"/movie/u/p/{rest}",
        f"/timeshift/u/p/{rest}/900001.ts",
        f"/timeshift/u/p/5/{rest}/900001",
    ]
    for path in (*paths, "/player_api.php", "/get.php", "/streaming/timeshift.php"):
        table = Logins(lambda user: Account(user_id=user, password="p"))
        reply = portal_lab.ask(XTREAM, view(), path, {**query, **me}, logins=table)
        assert reply.status in (200, 302, 400, 403, 404), path


@given(ANYTHING, ANYTHING)
def test_any_name_and_password_is_refused(user: str, password: str) -> None:
    reply = portal_lab.ask(XTREAM, view(), "/player_api.php", {"username": user, "password": password})
    assert reply.status == 403
