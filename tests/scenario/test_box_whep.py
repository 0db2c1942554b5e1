"""Our viewer by WebRTC: on a server of aiortc's, and refusals told apart."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aioice.ice
import pytest

from runtime.clock import SystemClock
from stb_emulator.boxes import load_all
from stb_emulator.observe import NotAllowed, Observation, Offer, Stage
from stb_emulator.observe.line import Guard
from stb_emulator.players.whep import permitted
from stb_emulator.seat import Seat
from tests.peers.scripted import HttpFiles, listening, make_media
from tests.scenario.test_whep_strangers import PLAIN, made, watched
from tests.web_lab import Lab

__all__ = ["made"]
SERVER = Path(__file__).resolve().parents[1] / "peers" / "whep_server.py"


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library offers every address of the machine but this one."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@contextmanager
def _serving(film: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    process = subprocess.Popen([sys.executable, str(SERVER), str(film)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/whep", process
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout
        process.stdout.close()


async def _watch(url: str, seconds: float = 2.0) -> Observation:
    seat = Seat(portal_url="http://127.0.0.1", clock=SystemClock(), silence_s=8, seconds=seconds)
    offer = Offer(item_id="x", title="", column="", family="video", url=url, live=True)
    return await seat.play_url(load_all()["whep_viewer"], offer)


async def test_pictures_and_sound_of_a_server_by_aiortc(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(make_media("mp4", 250))
    with _serving(film) as (url, process):
        row = await _watch(url)
        assert process.stdout
        said = [await asyncio.to_thread(process.stdout.readline) for _ in range(3)]
    assert (row.ok, row.reason) == (True, "")
    assert row.transport == "WebRTC" and row.video.startswith("h264") and row.audio == "opus"
    assert row.frames >= 48 and row.audio_frames > 50 and row.lost == 0 and row.bytes > 10_000
    assert row.frame_code and row.frame_code.perfect
    assert row.startup_ms is not None and row.first_picture_ms is not None
    assert said == ["POST 201\n", "PATCH 204\n", "DELETE 200\n"]


async def test_every_picture_of_the_edge(made: Lab) -> None:
    async with watched(made) as (service, base):
        row = await _watch(f"{base}/whep/{PLAIN}", 4.0)
        assert not len(service), "deleted"
    assert (row.ok, row.reason) == (True, "")
    assert row.frame_code and row.frame_code.perfect and row.frame_code.first == 0 and row.audio == "opus"


async def test_a_lesson_shorter_than_what_is_waited_for(made: Lab) -> None:
    async with watched(made) as (_, base):
        row = await _watch(f"{base}/whep/{PLAIN}?start=8", 30.0)
    assert "30 s wanted" in row.reason and row.stage != Stage.SETUP
    assert row.frame_code and row.frame_code.perfect
    assert row.frame_code.last in (248, 249), "aiortc gives a picture out when the next one begins"


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (b"HTTP/1.1 406 Not Acceptable\r\nContent-Length: 4\r\n\r\nno h", "HTTP 406: no h"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP 200"),
        (
            b"HTTP/1.1 201 Created\r\nContent-Type: application/sdp\r\nContent-Length: 3\r\nLocation: /s\r\n\r\nv=9",
            "unusable",
        ),
    ],
)
async def test_refusals_are_told_apart(reply: bytes, word: str) -> None:
    files = HttpFiles({})
    files.odd["/whep"] = [reply]
    async with listening(files) as port:
        row = await _watch(f"http://127.0.0.1:{port}/whep")
    assert (row.ok, row.stage) == (False, Stage.SETUP) and word in row.reason


def test_candidates_on_hosts_that_are_not_allowed_are_left_out() -> None:
    far = "a=candidate:1 1 udp 2130706431 203.0.113.7 5000 typ host"
    near = "a=candidate:2 1 udp 2130706431 127.0.0.1 5000 typ host"
    guard = Guard()
    assert permitted(f"v=0\r\n{far}\r\n{near}\r\n", guard) == f"v=0\r\n{near}\r\n"
    assert permitted("v=0\r\n", guard) == "v=0\r\n"
    with pytest.raises(NotAllowed):
        permitted(f"v=0\r\n{far}\r\n", guard)
    assert far in permitted(f"v=0\r\n{far}\r\n", Guard(["203.0.113.7"]))
