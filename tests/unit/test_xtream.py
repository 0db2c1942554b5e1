"""The Xtream dialect: accounts, lists, programmes, and media addresses that lead to those of all boxes."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from edge_server.catalog import CatalogView
from edge_server.portal import Dialect, PortalReply
from edge_server.portal.xtream import DIALECT
from edge_server.sessions.accounts import Account
from edge_server.sessions.logins import Logins
from tests import portal_lab
from tests.portal_lab import CHANNELS, NASTY, NOW, read_m3u
from tests.web_lab import PAGE, VIDEO

ME = {"username": "edu001@itv", "password": "12/34"}
ACCOUNTS = {
    "edu001@itv": Account(user_id="edu001@itv", password="12/34"),
    "plain": Account(user_id="plain", password="pw"),
    "bound": Account(user_id="bound", password="pw", stbid="0010"),
}
OTHERS = {PAGE: "no-browser", "4": "no-rendition"}


@pytest.fixture
def view(tmp_path: Path) -> CatalogView:
    return portal_lab.view(tmp_path)


def logins() -> Logins:
    return Logins(ACCOUNTS.get)


def ask(view: CatalogView, path: str, query: Mapping[str, str] | None = None, **more: Any) -> PortalReply:
    return portal_lab.ask(DIALECT, view, path, query, **{"logins": logins(), **more})


def api(view: CatalogView, action: str, **query: str) -> Any:
    reply = ask(view, "/player_api.php", {**ME, "action": action, **query})
    assert (reply.status, reply.media_type) == (200, "application/json; charset=utf-8"), reply.body
    return json.loads(reply.body)


def test_it_is_a_dialect() -> None:
    assert isinstance(DIALECT, Dialect) and DIALECT.name == "xtream"


def test_greeting(view: CatalogView) -> None:
    told = api(view, "")
    assert told["user_info"]["auth"] == 1 and told["user_info"]["username"] == "edu001@itv"
    server = told["server_info"]
    assert (server["url"], server["port"], server["server_protocol"]) == ("edge", "80", "http")
    assert (server["timezone"], server["time_now"]) == ("Asia/Shanghai", "2026-11-25 12:00:30")
    assert {each["id"]: each["reason"] for each in told["left_out"]} == OTHERS
    by_form = ask(view, "/player_api.php", method="POST", form=ME)
    assert json.loads(by_form.body)["user_info"]["auth"] == 1


@pytest.mark.parametrize(
    "who",
    [{}, {"username": "plain"}, {"username": "plain", "password": "pW"}, {"username": "x", "password": "pw"}],
)
def test_a_wrong_password_gets_nothing(view: CatalogView, who: dict[str, str]) -> None:
    for path in ("/player_api.php", "/get.php", "/xmltv.php"):
        reply = ask(view, path, who)
        told = json.loads(reply.body)
        assert (reply.status, told["user_info"]["auth"]) == (403, 0) and "wrong account" in told["user_info"]["message"]


def test_an_account_of_one_box_is_not_for_apps(view: CatalogView) -> None:
    reply = ask(view, "/player_api.php", {"username": "bound", "password": "pw"})
    assert reply.status == 403 and "one box" in reply.body.decode()


def test_who_tries_passwords_out_must_wait(view: CatalogView) -> None:
    table = logins()
    right, wrong = {"username": "plain", "password": "pw"}, {"username": "plain", "password": "x"}
    for second in range(5):
        assert ask(view, "/player_api.php", wrong, logins=table, monotonic_s=float(second)).status == 403
    for path in ("/player_api.php", "/live/plain/pw/900001.ts", "/movie/plain/pw/3.mp4"):
        reply = ask(view, path, right, logins=table, monotonic_s=10.0)
        assert reply.status == 429 and dict(reply.headers)["Retry-After"] == "51"
    assert ask(view, "/player_api.php", right, logins=table, monotonic_s=60.0).status == 200
    for second in range(100):
        assert ask(view, "/player_api.php", right, logins=table, monotonic_s=61.0 + second).status == 200


def test_only_the_local_segment_is_answered(view: CatalogView) -> None:
    reply = ask(view, "/player_api.php", ME, is_local=False)
    assert reply.status == 403 and "legacy_networks" in reply.body.decode()


def test_lists_are_those_of_the_catalogue(view: CatalogView) -> None:
    assert [(each["category_id"], each["category_name"]) for each in api(view, "get_vod_categories")] == [
        ("1", "甲"),
        ("2", "乙; <b>"),
    ]
    movies = api(view, "get_vod_streams")
    assert [(each["stream_id"], each["name"], each["category_id"]) for each in movies] == [
        (int(VIDEO), NASTY, "1"),
        (3, "课", "2"),
    ]
    assert movies[0]["stream_icon"] == f"http://edge:80/posters/{VIDEO}.jpg" and movies[1]["stream_icon"] is None
    listed = {item.item_id for item in view.catalogue.courseware}
    assert {str(each["stream_id"]) for each in movies} | OTHERS.keys() == listed
    assert [each["stream_id"] for each in api(view, "get_vod_streams", category_id="2")] == [3]
    channels = api(view, "get_live_streams")
    assert [(each["num"], each["stream_id"], each["name"]) for each in channels] == [
        (each.number, int(each.channel_id), each.name) for each in CHANNELS
    ]
    assert [(each["tv_archive"], each["tv_archive_duration"]) for each in channels] == [(1, 1), (1, 3)]
    (category,) = api(view, "get_live_categories")
    assert {each["category_id"] for each in channels} == {category["category_id"]}
    assert api(view, "get_live_streams", category_id="7") == []


def test_one_lesson(view: CatalogView) -> None:
    told = api(view, "get_vod_info", vod_id=VIDEO)
    assert (told["info"]["duration_secs"], told["info"]["duration"]) == (245, "00:04:05")
    assert (told["movie_data"]["stream_id"], told["movie_data"]["container_extension"]) == (int(VIDEO), "mp4")
    for other in (PAGE, "4", "99", "", "x"):
        assert ask(view, "/player_api.php", {**ME, "action": "get_vod_info", "vod_id": other}).status == 404


def test_a_column_is_a_series(view: CatalogView) -> None:
    assert [(each["series_id"], each["name"]) for each in api(view, "get_series")] == [(1, "甲"), (2, "乙; <b>")]
    told = api(view, "get_series_info", series_id="2")
    (episode,) = told["episodes"]["1"]
    assert (episode["id"], episode["episode_num"], told["info"]["name"]) == ("3", 1, "乙; <b>")
    assert ask(view, "/player_api.php", {**ME, "action": "get_series_info", "series_id": "9"}).status == 404
    (category,) = api(view, "get_series_categories")
    assert told["info"]["category_id"] == category["category_id"]


def test_programmes(view: CatalogView) -> None:
    now = api(view, "get_short_epg", stream_id="900001", limit="2")["epg_listings"]
    running, after = CHANNELS[0].programmes(NOW, NOW + timedelta(days=1))[:2]
    assert [b64decode(each["title"]).decode() for each in now] == [running.title, after.title]
    assert [int(each["start_timestamp"]) for each in now] == [int(each.start.timestamp()) for each in (running, after)]
    local = datetime.strptime(now[0]["start"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) - timedelta(hours=8)
    assert local == running.start.replace(microsecond=0)
    assert len(api(view, "get_short_epg", stream_id="900001")["epg_listings"]) == 4
    table = api(view, "get_simple_data_table", stream_id="900001")["epg_listings"]
    assert sum(each["now_playing"] for each in table) == 1
    kept = [int(each["start_timestamp"]) for each in table if each["has_archive"]]
    assert kept and min(kept) >= NOW.timestamp() - 7200 and max(kept) < NOW.timestamp()
    assert int(table[0]["start_timestamp"]) < NOW.timestamp() - 7 * 86400 < NOW.timestamp() + 2 * 86400
    assert ask(view, "/player_api.php", {**ME, "action": "get_short_epg", "stream_id": "1"}).status == 404


def test_an_unknown_action_is_refused(view: CatalogView) -> None:
    assert ask(view, "/player_api.php", {**ME, "action": "get_money"}).status == 400


SPAN = "?playseek=20261125020500-20261125030500"


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        ("/live/plain/pw/900001.ts", {}, "/live/900001.ts"),
        ("/live/plain/pw/900001", {}, "/live/900001.ts"),
        ("/live/plain/pw/900001.m3u8", {}, "/live/900001/index.m3u8"),
        (f"/movie/plain/pw/{VIDEO}.mp4", {}, f"/media/{VIDEO}/R40.mp4"),
        ("/series/plain/pw/3.mp4", {}, "/media/3/R12.mp4"),
        (f"/movie/plain/pw/{VIDEO}.m3u8", {}, f"/hls/{VIDEO}/ts/master.m3u8"),
        ("/timeshift/plain/pw/60/2026-11-25:10-05/900001.ts", {}, f"/live/900001.ts{SPAN}"),
        ("/timeshift/plain/pw/60/2026-11-25:10-05/900001.m3u8", {}, f"/live/900001/index.m3u8{SPAN}"),
        (
            "/streaming/timeshift.php",
            {"username": "plain", "password": "pw", "stream": "900001", "start": "2026-11-25:10-05", "duration": "60"},
            f"/live/900001.ts{SPAN}",
        ),
    ],
)
def test_media_lead_to_the_addresses_of_all_boxes(
    view: CatalogView, path: str, query: dict[str, str], target: str
) -> None:
    reply = ask(view, path, query)
    fields = dict(reply.headers)
    assert (reply.status, fields["Location"], fields["Cache-Control"]) == (302, target, "no-store")
    media_id = "900001" if "900001" in path + str(query) else target.split("/")[2]
    ticketed = ask(view, path, query, ticket=lambda given: f"/t/{given}")
    assert dict(ticketed.headers)["Location"] == f"/t/{media_id}{target}"
    assert ask(view, path, query, ticket=lambda _: None).status == 503
    assert ask(view, path.replace("/pw/", "/no/"), {**query, "password": "no"}).status == 403


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/live/plain/pw/1.ts", 404),
        ("/live/900001.ts", 404),
        ("/live/900001/index.m3u8", 404),
        (f"/movie/plain/pw/{PAGE}.mp4", 404),
        ("/movie/plain/pw/4.mp4", 404),
        ("/movie/plain/pw/99.mp4", 404),
        ("/movie/plain/pw/3.exe", 404),
        ("/timeshift/plain/pw/0/2026-11-25:10-05/900001.ts", 400),
        ("/timeshift/plain/pw/99999/2026-11-25:10-05/900001.ts", 400),
        ("/timeshift/plain/pw/60/yesterday/900001.ts", 400),
        ("/timeshift/plain/pw/60/2026-11-25:10-05/1.ts", 404),
        ("/streaming/timeshift.php", 403),
    ],
)
def test_what_is_not_there(view: CatalogView, path: str, status: int) -> None:
    assert ask(view, path).status == status


def test_the_playlist_of_an_account(view: CatalogView) -> None:
    reply = ask(view, "/get.php", {**ME, "type": "m3u_plus", "output": "ts"})
    entries = read_m3u(reply.body.decode())
    assert [each["url"] for each in entries] == [
        "http://edge:80/live/edu001@itv/12%2F34/900001",
        "http://edge:80/live/edu001@itv/12%2F34/900002",
        f"http://edge:80/movie/edu001@itv/12%2F34/{VIDEO}.mp4",
        "http://edge:80/movie/edu001@itv/12%2F34/3.mp4",
    ]
    assert [each.get("catchup") for each in entries] == ["xc", "xc", None, None]
    hls = ask(view, "/get.php", {**ME, "output": "hls"}).body.decode()
    assert read_m3u(hls)[0]["url"].endswith("/900001.m3u8")
    assert 'x-tvg-url="http://edge:80/xmltv.php?username=edu001%40itv&password=12%2F34"' in reply.body.decode()


def test_the_guide(view: CatalogView) -> None:
    root = ElementTree.fromstring(ask(view, "/xmltv.php", ME).body)
    assert [each.get("id") for each in root.findall("channel")] == ["900001.edge", "900002.edge"] and root.find(
        "programme"
    ) is not None
