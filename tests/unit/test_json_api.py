"""The JSON API against its own schema, judged by the jsonschema package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edge_server.catalog import CatalogView
from edge_server.portal import Dialect, PortalReply
from edge_server.portal.json_api import DIALECT
from edge_server.sessions.presence import Presence
from tests import portal_lab
from tests.portal_lab import CHANNELS, NOW
from tests.web_lab import PAGE, VIDEO

SCHEMA = json.loads((Path(__file__).parents[2] / "edge_server/portal/json_api/schema.json").read_text())


@pytest.fixture
def view(tmp_path: Path) -> CatalogView:
    return portal_lab.view(tmp_path)


def ask(view: CatalogView, path: str, query: Mapping[str, str] | None = None, **more: Any) -> PortalReply:
    return portal_lab.ask(DIALECT, view, f"/api/v1/{path}", query, **more)


def told(kind: str, reply: PortalReply, status: int = 200) -> Any:
    """Read an answer that must be of this kind of the schema."""
    assert (reply.status, reply.media_type) == (status, "application/json; charset=utf-8"), reply.body
    read = json.loads(reply.body)
    jsonschema.Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": f"#/$defs/{kind}"}]}).validate(read)
    return read


def test_it_is_a_dialect_and_its_schema_is_one(view: CatalogView) -> None:
    assert isinstance(DIALECT, Dialect)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    reply = ask(view, "schema.json")
    assert json.loads(reply.body) == SCHEMA and reply.media_type == "application/schema+json"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"format": 1}, SCHEMA)


def test_the_catalogue_and_the_columns_list_the_same(view: CatalogView) -> None:
    catalogue, columns = told("catalogue", ask(view, "catalogue")), told("columns", ask(view, "columns"))
    assert [(each["id"], each["title"], [i["id"] for i in each["items"]]) for each in catalogue["columns"]] == [
        (each["id"], each["title"], each["lessons"]) for each in columns["columns"]
    ]
    assert [each["lessons"] for each in columns["columns"]] == [[VIDEO], [PAGE, "3", "4"]]


def test_a_lesson_with_all_its_addresses(view: CatalogView) -> None:
    lesson = told("lesson", ask(view, f"lessons/{VIDEO}"))["lesson"]
    assert lesson["duration_s"] == 245.4 and lesson["column"] == "1"
    assert lesson["play"] == {
        "progressive": f"/media/{VIDEO}/R40.mp4",
        "hls_fmp4": f"/hls/{VIDEO}/fmp4/master.m3u8",
        "hls_ts": f"/hls/{VIDEO}/ts/master.m3u8",
        "dash": f"/dash/{VIDEO}/manifest.mpd",
        "rtsp": f"rtsp://edge:554/vod/{VIDEO}.mpg",
        "whep": f"/whep/{VIDEO}",
    }
    assert [(each["name"], each["progressive"]) for each in lesson["renditions"]] == [
        ("R12", f"/media/{VIDEO}/R12.mp4"),
        ("R40", f"/media/{VIDEO}/R40.mp4"),
    ]
    page = told("lesson", ask(view, f"lessons/{PAGE}"))["lesson"]
    assert page["page"] == f"/lessons/{PAGE}/" and "play" not in page
    assert told("lesson", ask(view, "lessons/4"))["lesson"]["play"] == {}
    ticketed = told("lesson", ask(view, f"lessons/{VIDEO}", ticketed=True))["lesson"]
    web = [url for url in ticketed["play"].values() if not url.startswith("rtsp:")]
    assert all(url.startswith("/play/") for url in web)


def test_channels_and_their_programmes(view: CatalogView) -> None:
    first, second = told("channels", ask(view, "channels"))["channels"]
    assert (first["id"], first["number"], first["name"]) == ("900001", 1, "教育频道")
    assert first["play"] == {
        "hls": "/live/900001/index.m3u8",
        "ts": "/live/900001.ts",
        "rtsp": "rtsp://edge:554/live/900001.mpg",
    }
    assert second["play"]["multicast"] == "rtp://@239.1.1.2:5000"
    running, _ = CHANNELS[0].at(NOW)
    assert first["now"]["item"] == running.item_id
    since, until = "2026-11-24T00:00:00Z", str(int(NOW.timestamp()))
    read = told("programmes", ask(view, "channels/900001/programmes", {"since": since, "until": until}))
    starts = [datetime.fromisoformat(each["start"]) for each in read["programmes"]]
    expected = CHANNELS[0].programmes(datetime.fromisoformat(since), NOW)
    assert starts == [each.start.replace(microsecond=0) for each in expected] and not read["truncated"]
    today = told("programmes", ask(view, "channels/900001/programmes"))["programmes"]
    assert today[0]["item"] == running.item_id
    assert datetime.fromisoformat(today[-1]["start"]) < NOW + timedelta(days=1)


def test_no_channel_is_no_error(view: CatalogView) -> None:
    assert told("channels", ask(view, "channels", channels=()))["channels"] == []


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("lessons/99", {}, 404),
        ("lessons/", {}, 404),
        ("lessons/../catalogue", {}, 404),
        ("nothing", {}, 404),
        ("", {}, 404),
        ("channels/1/programmes", {}, 404),
        ("channels/900001/programmes", {"since": "yesterday"}, 400),
        ("channels/900001/programmes", {"since": "20261125000000", "until": "20261124000000"}, 400),
        ("channels/900001/programmes", {"since": "20251125000000"}, 200),
        ("channels/900001/programmes", {"since": "20251125000000", "until": "20261124000000"}, 400),
        ("channels/900001/programmes", {"since": "9999-12-31T23:00:00Z"}, 400),
    ],
)
def test_errors_say_what_is_wrong_in_both_languages(
    view: CatalogView, path: str, query: dict[str, str], status: int
) -> None:
    reply = ask(view, path, query)
    if status == 200:
        told("programmes", reply)
    else:
        assert " / " in told("error", reply, status)["error"]


def test_methods(view: CatalogView) -> None:
    for path, allowed in (("catalogue", "GET, HEAD"), ("heartbeat", "POST")):
        method = "GET" if allowed == "POST" else "POST"
        reply = ask(view, path, method=method)
        told("error", reply, 405)
        assert dict(reply.headers)["Allow"] == allowed


def test_the_time(view: CatalogView) -> None:
    reply = ask(view, "time")
    assert told("time", reply) == {
        "format": 1,
        "utc": "2026-11-25T04:00:30Z",
        "unix_s": NOW.timestamp(),
        "zone_minutes": 480,
    }
    assert dict(reply.headers)["Cache-Control"] == "no-store"


def test_asking_again_costs_nothing(view: CatalogView) -> None:
    for path in ("catalogue", "columns", f"lessons/{VIDEO}", "channels", "channels/900001/programmes", "schema.json"):
        first = ask(view, path)
        again = ask(view, path, headers={"If-None-Match": dict(first.headers)["ETag"]})
        assert (again.status, again.body) == (304, b""), path


def test_pages_of_others_may_not_read_it_unless_the_edge_is_told_so(view: CatalogView) -> None:
    for path, method in (("catalogue", "GET"), ("time", "GET"), ("nothing", "GET"), ("schema.json", "GET")):
        assert "Access-Control-Allow-Origin" not in dict(ask(view, path, method=method).headers)
        fields = dict(ask(view, path, method=method, api_origin="http://school.lan").headers)
        assert (fields["Access-Control-Allow-Origin"], fields["Vary"]) == ("http://school.lan", "Origin")


def test_heartbeats_count(view: CatalogView) -> None:
    presence = Presence()
    for box, item in (("a1:b2", VIDEO), ("c3", ""), ("a1:b2", "3")):
        beat = ask(view, "heartbeat", method="POST", form={"box": box, "item": item}, presence=presence)
        read = told("heartbeat", beat)
        assert read["catalogue"] == view.mark and read["interval_s"] == 300
    assert presence.count(5.0) == 2
    heard = presence.heard("a1:b2")
    assert heard is not None and (heard.item_id, heard.remote) == ("3", "127.0.0.1")
    for form in ({}, {"box": ""}, {"box": "<b>"}, {"box": "x" * 65}, {"box": "a", "item": "x"}):
        told("error", ask(view, "heartbeat", method="POST", form=form, presence=presence), 400)
    assert presence.count(5.0) == 2
