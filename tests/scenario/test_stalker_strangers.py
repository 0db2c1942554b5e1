"""Clients that nobody here wrote, on the Stalker portal: Kodi with pvr.stalker, and stb-reader."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import pytest
from stb_reader import AuthError, STBClient

from domain.courseware import Catalogue, Column, Courseware, ItemClass, MediaFamily
from edge_server.bootstrap.http_port import HttpPort
from edge_server.plane.lookup import Media
from edge_server.portal import PortalRequest, PortalState
from edge_server.portal.stalker import DIALECT
from edge_server.sessions.box_logins import BoxLogins
from edge_server.sessions.last_seen import read_seen
from edge_server.sessions.logins import Logins
from fixtures.lessons import make_counted_lesson
from runtime.clock import SystemClock
from tests import edge_lab, kodi_lab
from tests.served import run
from tests.web_lab import ISSUED, rendition, view_of

SECONDS, FRAME_RATE = 60, 25
KODI, READER, NOBODY = "00:1A:79:00:00:07", "00:1A:79:00:00:08", "00:1A:79:00:00:99"
STRICT = {"EDGE_SERVER_BOXES_UNREGISTERED": "false", "EDGE_SERVER_MEDIA_ACCESS": "ticket"}
PATHS = ["stalker_portal/server/load.php", "stalker_portal/c/portal.php", "portal.php", "server/load.php"]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[edge_lab.Running]:
    """A strict edge: media by ticket only, registered boxes only, one of them with an account."""
    root = tmp_path_factory.mktemp("stalker")
    long = root / "long.mp4"
    make_counted_lesson(long, frames=SECONDS * FRAME_RATE, title="安全用电", seed=5)
    make_counted_lesson(root / "short.mp4", frames=100, title="春耕备耕", seed=6)
    items = edge_lab.publish(root, [long, root / "short.mp4"])
    folder = ("--dir", str(root / "edge"), "--json")
    run("edge-server", "account", "add", "edu001@itv", "--password-stdin", *folder, given="123456\n")
    run("edge-server", "box", "add", KODI, "--station", "V-0017", "--account", "edu001@itv", *folder)
    run("edge-server", "box", "add", READER, "--station", "V-0018", *folder)
    with edge_lab.serve(root, environment=STRICT) as running:
        running.videos = list(items.values())
        yield running


def position_s(kodi: kodi_lab.Kodi) -> float | None:
    """Where the picture on the screen is in the lesson; its own number says so, not the player."""
    frame = kodi.frame()
    return None if frame is None else frame / FRAME_RATE


@pytest.mark.timeout(180)
@pytest.mark.stranger(str(kodi_lab.BINARY), "Xvfb", "pulseaudio", "ffmpeg")
def test_kodi_lists_plays_and_seeks(edge: edge_lab.Running, tmp_path: Path) -> None:
    settings = {
        "active_portal": "0",
        "mac_0": KODI,
        "server_0": f"{edge.http}stalker_portal/c/",
        "time_zone_0": "Asia/Shanghai",
        "login_0": "edu001@itv",
        "password_0": "123456",
    }
    with kodi_lab.running(tmp_path, "pvr.stalker", settings) as kodi:
        channels = kodi.until(lambda: kodi.channels(), within_s=30)
        assert [(each["channelnumber"], each["label"]) for each in channels] == [(1, "第0课"), (2, "第1课")]
        kodi.ask("Player.Open", item={"channelid": channels[0]["channelid"]})
        kodi.close_dialogs()
        first = kodi.until(lambda: position_s(kodi), within_s=30)
        kodi.until(lambda: (position_s(kodi) or 0.0) >= first + 2, within_s=20)
        assert kodi.ask("Player.GetProperties", playerid=1, properties=["canseek"])["canseek"]
        for to_s in (40, 15):
            kodi.ask("Player.Seek", playerid=1, value={"time": {"minutes": 0, "seconds": to_s}})
            asked_s = time.monotonic()

            def is_there(to_s: int = to_s, asked_s: float = asked_s) -> bool:
                passed_s = time.monotonic() - asked_s
                return (at := position_s(kodi)) is not None and to_s - 3 <= at <= to_s + 3 + passed_s

            kodi.until(is_there, within_s=10)


@pytest.mark.timeout(180)
@pytest.mark.stranger(str(kodi_lab.BINARY), "Xvfb", "pulseaudio", "ffmpeg")
def test_kodi_shows_a_linear_channel_and_its_guide(edge: edge_lab.Running, tmp_path: Path) -> None:
    shutil.copytree(edge.root / "edge", tmp_path / "edge")
    (tmp_path / "home").mkdir()
    channel = {"EDGE_SERVER_CHANNELS": f"教育频道={','.join(edge.videos)}", "EDGE_SERVER_MEDIA_ACCESS": "ticket"}
    with edge_lab.serve(tmp_path, environment=channel) as linear:
        settings = {
            "active_portal": "0",
            "mac_0": NOBODY,
            "server_0": f"{linear.http}stalker_portal/c/",
            "time_zone_0": "Asia/Shanghai",
            "guide_preference_0": "1",
        }
        with kodi_lab.running(tmp_path / "home", "pvr.stalker", settings) as kodi:
            [channel_] = kodi.until(lambda: kodi.channels(), within_s=30)
            assert (channel_["channelnumber"], channel_["label"]) == (1, "教育频道")
            kodi.ask("Player.Open", item={"channelid": channel_["channelid"]})
            kodi.close_dialogs()

            def titles() -> set[str]:
                told = kodi.ask("PVR.GetBroadcasts", channelid=channel_["channelid"], properties=["title"])
                return {each["title"] for each in told.get("broadcasts", [])}

            kodi.until(lambda: titles() == {"第0课", "第1课"}, within_s=60)
            shown: list[int] = []

            def advances() -> bool:
                if (frame := kodi.frame()) is not None and frame not in shown[-1:]:
                    shown.append(frame)
                return len(shown) >= 8

            kodi.until(advances, within_s=30)
            forward = sum(later > earlier for earlier, later in pairwise(shown))
            assert forward >= len(shown) - 2, "the lessons run forward; a new one begins once at the most"
    assert NOBODY in read_seen(tmp_path / "edge" / "boxes-seen.json")


def reader(base: str, mac: str = READER, path: str = PATHS[0]) -> STBClient:
    return STBClient(base, mac, lang="zh", timezone="Asia/Shanghai", portal_path=path)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("path", PATHS)
def test_stb_reader_lists_and_opens_the_lessons(edge: edge_lab.Running, path: str) -> None:
    client = reader(edge.http, path=path)
    client.authenticate()
    assert [each.title for each in client.live_tv.get_genres()] == ["全部 / All", "测试专栏"]
    assert [each.id for each in client.live_tv.get_all_channels()] == edge.videos
    [everything, column] = client.vod.get_categories()
    lessons = client.vod.get_content(column.id)
    assert [(each.id, each.name) for each in lessons.items] == [
        (each, f"第{n}课") for n, each in enumerate(edge.videos)
    ]
    assert client.vod.get_content(everything.id).items == lessons.items
    for channel, lesson in zip(client.live_tv.get_all_channels(), lessons.items, strict=True):
        url = client.live_tv.get_stream_url(channel.cmd)
        assert url.startswith(f"{edge.http}t/") and url.endswith(f"/hls/{lesson.id}/ts/master.m3u8")
        for _ in range(2):  # without cookie or token, as often as one likes
            playlist = edge.get(url.removeprefix(edge.http.rstrip("/"))).decode()
            assert "#EXT-X-STREAM-INF" in playlist
        assert client.vod.get_stream_url(lesson.cmd).endswith(f"/hls/{lesson.id}/ts/master.m3u8")


@pytest.mark.timeout(120)
def test_a_box_that_is_replaced_is_refused_and_its_successor_goes_on(edge: edge_lab.Running) -> None:
    folder = ("--dir", str(edge.root / "edge"), "--json")
    old, new = "00:1A:79:00:00:20", "00:1A:79:00:00:21"
    run("edge-server", "box", "add", old, "--station", "V-0020", *folder)
    before, after = reader(edge.http, old), reader(edge.http, new)
    before.authenticate()
    assert before.live_tv.get_all_channels()
    after.authenticate()
    with pytest.raises(AuthError):
        after.live_tv.get_all_channels()
    run("edge-server", "box", "replace", old, new, *folder)
    with pytest.raises(AuthError):
        before.live_tv.get_all_channels()
    after.authenticate()
    assert after.live_tv.get_all_channels()
    history = [each for each in run("edge-server", "box", "list", "--station", "V-0020", *folder) if "mac" in each]
    assert [(each["mac"], each["successor"], each["until"] is None) for each in history] == [
        (old, new, False),
        (new, None, True),
    ]
    listed = [each["mac"] for each in run("edge-server", "box", "list", *folder) if "mac" in each]
    assert old not in listed and new in listed


async def test_stb_reader_turns_all_pages(tmp_path: Path) -> None:
    items = tuple(
        Courseware(
            item_id=f"{10000000 + number}",
            title=f"第{number}课",
            item_class=ItemClass.EDUCATION,
            column_id="1",
            family=MediaFamily.VIDEO,
            issued_at=ISSUED,
            renditions=(rendition("R12", b"x", (256, 144), ("avc1.4d400d", None)),),
        )
        for number in range(33)
    )
    view = view_of(tmp_path, Catalogue(columns=(Column(column_id="1", title="安全", order=1),), courseware=items), {})
    boxes, logins, clock = BoxLogins(unregistered=True), Logins(lambda _: None), SystemClock()

    def state(_: PortalRequest) -> PortalState:
        return PortalState(view, logins, "", datetime(2026, 1, 1, tzinfo=UTC), clock.monotonic(), boxes=boxes)

    def turn(base: str) -> None:
        client = reader(base, NOBODY)
        client.authenticate()
        for ask in (client.live_tv.get_channels, client.vod.get_content):
            pages = [ask(page=number) for number in (1, 2, 3, 4)]
            assert [each.id for page in pages for each in page.items] == [each.item_id for each in items]
            assert {(page.total, page.per_page) for page in pages} == {(33, 14)}

    port = HttpPort("127.0.0.1", 0, Media(lambda path: None, lambda: view), (), (DIALECT,), state, clock)
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(port.run(ready.set))
        await ready.wait()
        try:
            await asyncio.to_thread(turn, port.address)
        finally:
            serving.cancel()


def knock(edge: edge_lab.Running, address: str, mac: str) -> Callable[[str], bytes]:
    """Log in from an address of the loopback network; return what asks one action after the other."""
    token = ""

    def ask(what: str) -> bytes:
        kind, action = what.split()
        connection = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=10, source_address=(address, 0))
        fields = {"Cookie": f"mac={quote(mac)}", "Authorization": f"Bearer {token}", "Range": "bytes=0-"}
        connection.request("GET", f"/portal.php?type={kind}&action={action}&JsHttpRequest=1-xml", headers=fields)
        answer = connection.getresponse()
        assert answer.status == 200
        body = answer.read()
        connection.close()
        return body

    token = json.loads(ask("stb handshake"))["js"]["token"]
    assert json.loads(ask("stb get_profile"))["js"]["status"] == 0
    return ask


@pytest.mark.timeout(60)
def test_a_cloned_box_is_reported_and_the_older_session_ends(edge: edge_lab.Running) -> None:
    clone = "00:1A:79:00:00:30"
    run("edge-server", "box", "add", clone, "--station", "V-0030", "--dir", str(edge.root / "edge"), "--json")
    older = knock(edge, "127.0.0.1", clone)
    assert b"total_items" in older("itv get_all_channels")
    newer = knock(edge, "127.0.0.2", clone)
    assert older("itv get_all_channels") == b"Authorization failed."
    assert b"total_items" in newer("itv get_all_channels")
    log = (edge.root / "serve.log").read_text().splitlines()
    lines = [json.loads(line) for line in log if line.startswith("{")]
    [report] = [line for line in lines if line.get("mac") == clone]
    assert report["level"] == "warning"
    assert (report["station"], report["older"], report["newer"]) == ("V-0030", "127.0.0.1", "127.0.0.2")
    assert 'edge_logins_refused_total{kind="mac",reason="cloned"} 1.0' in edge.get("/metrics").decode()
