"""An app by the JSON API: what its page promises is read, what breaks the promise is told apart."""

from __future__ import annotations

import json
import time

import pytest

from runtime.clock import SystemClock
from stb_emulator.boxes import load_all
from stb_emulator.observe import Observation, PlayError, Stage
from stb_emulator.seat import Seat
from tests.peers.scripted import HttpFiles, listening, make_media

HEAD = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n"


def _json(**said: object) -> tuple[str, bytes]:
    return "application/json", json.dumps({"format": 1, **said}).encode()


def _lesson(item_id: str, **more: object) -> tuple[str, bytes]:
    return _json(lesson={"id": item_id, "title": f"课 {item_id}", "duration_s": 2.0, "new_key": 1, **more})


@pytest.fixture(scope="module")
def ts() -> bytes:
    return make_media("mpegts", 50)


@pytest.fixture
def files(ts: bytes) -> HttpFiles:
    play = {"hls_ts": "/t.m3u8", "whep": "/whep/1"}
    return HttpFiles(
        {
            "/api/v1/time": _json(unix_s=time.time(), utc="", zone_minutes=480),
            "/api/v1/columns": _json(columns=[{"id": "c", "title": "栏", "lessons": ["2", "1"]}]),
            "/api/v1/lessons/1": _lesson("1", family="video", play=play),
            "/api/v1/lessons/2": _lesson("2", family="picture_text", page="/lessons/2/"),
            "/api/v1/heartbeat": _json(interval_s=0.2, catalogue="m"),
            "/t.m3u8": ("application/vnd.apple.mpegurl", f"{HEAD}#EXTINF:2.0,\ns.ts\n#EXT-X-ENDLIST\n".encode()),
            "/s.ts": ("video/mp2t", ts),
        }
    )


async def _watch(files: HttpFiles, box: str = "android_old", item: str = "1") -> Observation:
    async with listening(files) as port:
        seat = Seat(portal_url=f"http://127.0.0.1:{port}", clock=SystemClock(), silence_s=2.0)
        return await seat.watch(load_all()[box], item)


async def test_columns_lessons_and_a_heartbeat(files: HttpFiles) -> None:
    async with listening(files) as port:
        seat = Seat(portal_url=f"http://127.0.0.1:{port}", clock=SystemClock(), silence_s=2.0)
        listed = await seat.list(load_all()["android_old"])
        assert [(o.item_id, o.title, o.column, o.family, o.announced_s) for o in listed] == [
            ("2", "课 2", "栏", "picture_text", None),
            ("1", "课 1", "栏", "video", 2.0),
        ]
        row = await seat.watch(load_all()["android_old"], "1")
        urls = {o.item_id: o.url for o in await seat.list(load_all()["whep_viewer"])}
    assert (row.ok, row.reason, row.frames) == (True, "", 50)
    assert urls == {"1": f"http://127.0.0.1:{port}/whep/1", "2": f"http://127.0.0.1:{port}/lessons/2/"}
    beats = [body for method, target, _, body in files.asked if (method, target) == ("POST", "/api/v1/heartbeat")]
    assert beats and beats[0] == b"box=1A:2B:3C:4D:5E:81&item=1".replace(b":", b"%3A")


@pytest.mark.parametrize(
    ("path", "answer", "stage", "word"),
    [
        ("time", None, Stage.LOGIN, "404"),
        ("columns", ("text/html", b"<html>"), Stage.BROWSE, "unreadable"),
        ("columns", ("application/json", b'{"format": 2, "columns": []}'), Stage.BROWSE, "format 2"),
        ("columns", _json(columns=[{"title": "a", "lessons": ["1", "1"]}]), Stage.BROWSE, "twice"),
        ("lessons/1", None, Stage.BROWSE, "404"),
        ("lessons/1", _lesson("7", family="video"), Stage.BROWSE, "got 7"),
        ("lessons/1", _lesson("1", family="video", play={"dash": "/d"}), Stage.BROWSE, "no hls_ts"),
        ("heartbeat", ("application/json", b"{}"), Stage.PLAY, "unreadable"),
    ],
)
async def test_broken_promises(
    files: HttpFiles, path: str, answer: tuple[str, bytes] | None, stage: Stage, word: str
) -> None:
    if answer is None:
        del files.files[f"/api/v1/{path}"]
    else:
        files.files[f"/api/v1/{path}"] = answer
    row = await _watch(files)
    assert (row.ok, row.stage) == (False, stage) and word in row.reason


async def test_nobody_there_is_unreachable() -> None:
    seat = Seat(portal_url="http://127.0.0.1:9", clock=SystemClock())
    with pytest.raises(PlayError):
        await seat.list(load_all()["android_ott"])
