"""Channels given live in the lists of every portal: they are there, and promise nothing that they do not keep."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from edge_server.bootstrap.live import listed
from edge_server.live.plan import parse_lives
from edge_server.portal import PortalState
from edge_server.portal._ctc.channels import channel_list
from edge_server.portal.json_api import DIALECT as JSON_API
from edge_server.portal.m3u import DIALECT as M3U
from edge_server.portal.web import DIALECT as WEB
from edge_server.sessions.logins import Logins
from runtime.settings import read, setting
from tests.portal_lab import NOW, ask, view


@dataclass(frozen=True, slots=True)
class _Config:
    token: str = setting("", "A secret.", secret=True)
    other: str = setting("", "None.", secret=True)


def test_a_secret_is_used_and_not_shown() -> None:
    config, shown = read(_Config, prefix="X_", file=None, environ={"X_TOKEN": "open sesame"}, flags={})
    assert config.token == "open sesame"
    assert (shown["token"].value, shown["other"].value) == ("***", "")
    assert shown["token"].source == "environment X_TOKEN"


LIVES = listed(parse_lives("早会=whip@@239.1.1.9:5000; 讲座=rtsp://camera/x"), 7)


def test_the_json_api_names_ways_that_there_are(tmp_path: Path) -> None:
    told = json.loads(ask(JSON_API, view(tmp_path), "/api/v1/channels", channels=LIVES).body)["channels"]
    assert [(each["id"], each["number"], each["time_shift_s"]) for each in told] == [("910001", 8, 0), ("910002", 9, 0)]
    assert set(told[0]["play"]) == {"hls", "ts", "multicast"}
    assert set(told[1]["play"]) == {"hls", "ts"}


def test_playlists_offer_no_catch_up_and_no_rtsp(tmp_path: Path) -> None:
    for live in ("ts", "hls", "rtsp", "multicast"):
        text = ask(M3U, view(tmp_path), "/playlist.m3u", {"live": live, "catchup": "append"}, channels=LIVES).body
        heads = [line for line in text.decode().splitlines() if "91000" in line]
        assert len(heads) == 4 - (live == "multicast")
        assert not any("catchup" in line or line.startswith("rtsp") for line in heads), heads


def test_old_boxes_get_the_group_or_hls(tmp_path: Path) -> None:
    state = PortalState(view(tmp_path), Logins(lambda _: None), "edge:554", NOW, 5.0, channels=LIVES)
    first, second = channel_list(state, "edge:80")[:2]
    assert first.url == "igmp://239.1.1.9:5000|http://edge:80/live/910001/index.m3u8"
    assert second.url == "http://edge:80/live/910002/index.m3u8"
    assert second.others["TimeShift"] == "0"


def test_the_page_of_a_channel_plays_hls(tmp_path: Path) -> None:
    page = ask(WEB, view(tmp_path), "/channel/910002", channels=LIVES).body.decode()
    assert "/live/910002/index.m3u8" in page and "rtsp://" not in page
    assert "playseek" not in page
