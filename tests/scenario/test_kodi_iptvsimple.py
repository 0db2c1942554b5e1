"""Kodi with pvr.iptvsimple reads playlist and guide of a real edge, and plays a lesson, the channel and its past."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from fixtures.lessons import make_counted_lesson
from tests import edge_lab, kodi_lab
from tests.kodi_lab import Kodi, NotYet

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.stranger(str(kodi_lab.BINARY), "Xvfb", "pulseaudio", "ffmpeg"),
]
SECONDS, FRAME_RATE = 60, 25
SEGMENT_S = 6
CHANNEL = "900001"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[edge_lab.Running]:
    """Media by ticket only, so that every link must ask for one."""
    root = tmp_path_factory.mktemp("iptvsimple")
    make_counted_lesson(root / "long.mp4", frames=SECONDS * FRAME_RATE, title="安全用电", seed=5)
    items = edge_lab.publish(root, [root / "long.mp4"])
    (video,) = items.values()
    settings = {"EDGE_SERVER_CHANNELS": f"{CHANNEL} 教育频道={video}", "EDGE_SERVER_MEDIA_ACCESS": "ticket"}
    with edge_lab.serve(root, environment=settings) as running:
        running.videos = [video]
        yield running


@pytest.fixture(scope="module")
def kodi(edge: edge_lab.Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kodi]:
    settings = {
        "m3uPathType": "1",
        "m3uUrl": f"{edge.http}playlist.m3u?live=hls",
        "epgPathType": "1",
        "epgUrl": "",
        "catchupEnabled": "true",
    }
    with kodi_lab.running(tmp_path_factory.mktemp("kodi"), "pvr.iptvsimple", settings) as running:
        running.until(running.channels, within_s=40)
        running.close_dialogs()
        yield running


def ask(kodi: Kodi, method: str, **params: Any) -> Any:
    try:
        return kodi.ask(method, **params)
    except NotYet:
        return {}


def recordings(kodi: Kodi) -> list[dict[str, Any]]:
    """What has an end stands among the recordings, where people may wind it."""
    told = ask(kodi, "PVR.GetRecordings", properties=["title", "directory"])
    return list(told.get("recordings", []))


def test_the_channel_and_the_lessons_by_column(kodi: Kodi) -> None:
    assert [(each["channelnumber"], each["label"]) for each in kodi.channels()] == [(1, "教育频道")]
    groups = kodi.ask("PVR.GetChannelGroups", channeltype="tv")["channelgroups"]
    assert "教育频道" in {each["label"] for each in groups}
    listed = kodi.until(lambda: recordings(kodi), within_s=30)
    assert [(each["title"], each["directory"].strip("/")) for each in listed] == [("第0课", "测试专栏")], listed


def broadcasts(kodi: Kodi) -> list[dict[str, Any]]:
    told = ask(
        kodi,
        "PVR.GetBroadcasts",
        channelid=kodi.channels()[0]["channelid"],
        properties=["title", "starttime", "endtime", "isactive"],
    )
    return list(told.get("broadcasts", []))


def test_the_guide(kodi: Kodi) -> None:
    found = kodi.until(lambda: broadcasts(kodi), within_s=60)
    assert {each["title"] for each in found} == {"第0课"}
    assert sum(each["isactive"] for each in found) == 1
    starts = [each["starttime"] for each in found]
    assert starts == sorted(set(starts)) and len(found) > 1000


def advances(kodi: Kodi) -> None:
    """Pictures come, one after the other."""
    first = kodi.until(kodi.frame, within_s=40)

    def later() -> bool:
        now = kodi.frame()
        return now is not None and (now - first) % (SECONDS * FRAME_RATE) >= 2 * FRAME_RATE

    kodi.until(later, within_s=30)


def stop(kodi: Kodi) -> None:
    for each in kodi.ask("Player.GetActivePlayers"):
        kodi.ask("Player.Stop", playerid=each["playerid"])
    kodi.until(lambda: not kodi.ask("Player.GetActivePlayers"), within_s=20)


def test_a_lesson_plays_and_is_wound(kodi: Kodi) -> None:
    (lesson,) = kodi.until(lambda: recordings(kodi), within_s=30)
    kodi.ask("Player.Open", item={"recordingid": lesson["recordingid"]})
    kodi.close_dialogs()
    advances(kodi)
    for to_s in (40, 15):
        kodi.ask("Player.Seek", playerid=1, value={"time": {"minutes": 0, "seconds": to_s}})
        asked_s = time.monotonic()

        def is_there(to_s: int = to_s, asked_s: float = asked_s) -> bool:
            passed_s = time.monotonic() - asked_s
            return (frame := kodi.frame()) is not None and to_s - 3 <= frame / FRAME_RATE <= to_s + 3 + passed_s

        kodi.until(is_there, within_s=20)
    stop(kodi)


def test_the_channel_plays(kodi: Kodi) -> None:
    kodi.ask("Player.Open", item={"channelid": kodi.channels()[0]["channelid"]})
    kodi.close_dialogs()
    advances(kodi)
    stop(kodi)


def kept_broadcast(kodi: Kodi) -> int | None:
    """The number under which Kodi keeps a programme that is over; it tells nobody, but writes it down."""
    now_s = int(time.time())
    for file in (kodi.home / ".kodi" / "userdata" / "Database").glob("Epg*.db"):
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as book, suppress(sqlite3.OperationalError):
            found = book.execute(
                "SELECT idBroadcast FROM epgtags WHERE iEndTime < ? ORDER BY iStartTime DESC LIMIT 1", (now_s - 70,)
            ).fetchone()
            if found:
                return int(found[0])
    return None


def test_what_was_on_plays(kodi: Kodi) -> None:
    """By the catch-up address of that programme, and the first picture is what was on then (rounds count from 1970)."""
    number = kodi.until(lambda: kept_broadcast(kodi), within_s=90)
    asked_s = time.monotonic()
    kodi.ask("Player.Open", item={"broadcastid": number})
    kodi.close_dialogs()
    first_s = kodi.until(kodi.frame, within_s=40) / FRAME_RATE
    passed_s = time.monotonic() - asked_s
    address = re.findall(r"EPG Catchup URL: .*/catchup/900001\.m3u8\?start=(\d+)&end=(\d+)", kodi.log())[-1]
    start_s, end_s = map(int, address)
    assert start_s < end_s < time.time()
    late_s = (first_s - start_s + SEGMENT_S) % SECONDS
    assert late_s <= 2 * SEGMENT_S + passed_s, (first_s, start_s % SECONDS)
    advances(kodi)
    stop(kodi)
