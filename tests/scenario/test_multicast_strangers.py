"""Our multicast box on strangers' groups: bare TS from ffmpeg, RTP from GStreamer; and a burst by the page."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from runtime.clock import SystemClock
from stb_emulator.boxes import MulticastFace, load_all
from stb_emulator.observe import Observation, Offer
from stb_emulator.seat import Seat
from tests.peers.scripted import make_media

FCC_SERVER = Path(__file__).resolve().parents[1] / "peers" / "fcc_server.py"
SECONDS = 2.0


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _group(last: int) -> str:
    return f"239.253.{os.getpid() % 250}.{last}"


@contextmanager
def _running(*words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout
        process.stdout.close()


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stream") / "channel.ts"
    path.write_bytes(make_media("mpegts", 250))
    return path


async def _watch(url: str, face: MulticastFace | None = None, seconds: float = SECONDS) -> Observation:
    box = msgspec.structs.replace(load_all()["multicast_box"], multicast=face or MulticastFace())
    seat = Seat(portal_url="http://127.0.0.1", clock=SystemClock(), silence_s=8, seconds=seconds)
    offer = Offer(item_id="x", title="", column="", family="video", url=url, live=True)
    return await seat.play_url(box, offer)


@pytest.mark.stranger("ffmpeg")
async def test_bare_ts_from_ffmpeg(stream: Path) -> None:
    target = f"{_group(1)}:{_free_port()}"
    words = ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(stream), "-c", "copy", "-f", "mpegts"]
    with _running(*words, f"udp://{target}?localaddr=127.0.0.1&pkt_size=1316"):
        row = await _watch(f"igmp://{target}")
    assert row.transport == "multicast TS" and row.frames > 0 and row.audio_frames > 0
    assert (row.lost, row.continuity_errors) == (0, 0)
    assert row.ok, row.reason


@pytest.mark.stranger("gst-launch-1.0")
async def test_rtp_from_gstreamer(stream: Path) -> None:
    group, port = _group(2), _free_port()
    words = ["gst-launch-1.0", "-q", "filesrc", f"location={stream}", "!", "tsparse", "set-timestamps=true", "!"]
    words += ["rtpmp2tpay", "mtu=1328", "!", "udpsink", f"host={group}", f"port={port}", "multicast-iface=lo"]
    with _running(*words):
        row = await _watch(f"rtp://{group}:{port}")
    assert row.transport == "multicast RTP" and row.frames > 0
    assert (row.lost, row.duplicates, row.continuity_errors, row.deviations) == (0, 0, 0, ())
    assert row.ok, row.reason


@pytest.mark.parametrize("face", ["telecom", "huawei"])
async def test_burst_group_and_parity(face: str, stream: Path) -> None:
    """A server written apart from the codec: it drops packets of the group, and sends parity one port below."""
    group, port = _group(3), _free_port()
    words = [sys.executable, str(FCC_SERVER), face, str(stream), group, str(port), str(port - 1)]
    with _running(*words) as server:
        assert server.stdout
        fcc = int(await asyncio.to_thread(server.stdout.readline))
        settings = MulticastFace(fcc=face, fcc_answer_s=5.0, fec=True)  # type: ignore[arg-type]
        row = await _watch(f"igmp://{group}:{port}?fec={port - 1}&fcc=127.0.0.1:{fcc}", settings, 8.0)
        end = await asyncio.to_thread(server.stdout.readline)
    assert "FCC burst" in row.transport and "FEC mended" in row.transport
    assert (row.lost, row.duplicates, row.continuity_errors) == (0, 0, 0)
    assert row.ok, row.reason
    assert end.startswith("end ") and int(end.split()[1]) > 0


async def test_nothing_there_is_said_so() -> None:
    box = msgspec.structs.replace(load_all()["multicast_box"], multicast=MulticastFace())
    seat = Seat(portal_url="http://127.0.0.1", clock=SystemClock(), silence_s=0.3, seconds=1)
    offer = Offer(item_id="x", title="", column="", family="video", url=f"igmp://{_group(4)}:{_free_port()}")
    row = await seat.play_url(box, offer)
    assert not row.ok and "no data" in row.reason


async def test_an_interface_that_is_not_allowed_is_not_joined() -> None:
    row = await _watch("igmp://239.253.0.1:5000", MulticastFace(interface="192.0.2.7"))
    assert not row.ok and "allow" in row.reason
