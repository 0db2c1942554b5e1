"""WebRTC viewers per core: ours against aiortc's default (decode and encode for each viewer), in the same run.

    python -m benchmarks.serve_whep [LESSON] [--viewers 125] [--seconds 10] [--repeats 3]

Server on core 0, viewers on core 1, loopback. A run counts when every viewer got every packet and every frame, and the
viewers' core was not full. Ratios are medians of ratios of one repeat; the order turns round every repeat.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
from aiohttp import web

SERVER_CORE, CLIENT_CORE = 0, 1
CLIENT_FULL = 0.9
DEFAULT_VIEWERS_MAX = 2
"""As many viewers as one core can decode and encode for with aiortc's default."""
FRAMES_MISSING_MAX = 0.02


def measure(lesson: Path, viewers: int, seconds: float, repeats: int) -> dict[str, Any]:
    """Measure both; return the runs, the medians, and whether they count.

    Args:
        lesson: an MP4 with H.264 that lasts at least ``seconds`` + 20.
        viewers: how many watch ours at the same time.
        seconds: length of each run.
        repeats: runs of each.
    """
    rate = _rate(lesson)
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "aiortc": []}
    for repeat in range(repeats):
        order = ["ours", "aiortc"] if repeat % 2 == 0 else ["aiortc", "ours"]
        for name in order:
            count = viewers if name == "ours" else DEFAULT_VIEWERS_MAX
            found = _run(name, lesson, count, seconds)
            found["valid"] = found["client_cpu"] < CLIENT_FULL and found["lost"] == 0
            if name == "ours":
                found["valid"] &= abs(found["frames_per_second"] / rate - 1) < FRAMES_MISSING_MAX
                found["valid"] &= found["again"] >= 0.9 * found["asked"] > 0 and found["reports"] > 0
            runs[name].append(found)
    ratios = [
        theirs["cpu_percent_per_viewer"] / ours["cpu_percent_per_viewer"]
        for ours, theirs in zip(runs["ours"], runs["aiortc"], strict=True)
    ]
    middle = {name: statistics.median(each["cpu_percent_per_viewer"] for each in found) for name, found in runs.items()}
    return {
        "valid": all(each["valid"] for found in runs.values() for each in found),
        "cpu_percent_per_viewer": middle,
        "viewers_per_core": {name: 100 / percent for name, percent in middle.items()},
        "times_cheaper_than_aiortc": statistics.median(ratios),
        "mbps_per_viewer": statistics.median(each["mbps_per_viewer"] for each in runs["ours"]),
        "spread_p99_ms": statistics.median(each["spread_p99_ms"] for each in runs["ours"]),
        "runs": runs,
    }


def make_lesson(path: Path, seconds: int = 60) -> Path:
    """Encode a lesson of 3.3 Mb/s, 720p25, without B-frames."""
    source = f"testsrc2=size=1280x720:rate=25:duration={seconds}"
    rate = ["-b:v", "3300k", "-minrate", "3300k", "-maxrate", "3300k", "-bufsize", "3300k"]
    coder = ["-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "50", "-x264-params", "nal-hrd=cbr"]
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, *coder, *rate, "-pix_fmt", "yuv420p"]
    subprocess.run([*command, "-movflags", "+faststart", str(path)], check=True)
    return path


def _rate(lesson: Path) -> float:
    with av.open(str(lesson)) as container:
        return float(container.streams.video[0].average_rate or 0)


def _run(name: str, lesson: Path, viewers: int, seconds: float) -> dict[str, Any]:
    with _server(name, lesson) as (pid, url):
        command = [sys.executable, "-m", "benchmarks.whep_watchers", url, str(viewers), str(seconds), str(pid)]
        done = subprocess.run(
            ["taskset", "-c", str(CLIENT_CORE), *command],
            capture_output=True,
            text=True,
            timeout=seconds + 120,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stdout[-500:]} {done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@contextmanager
def _server(name: str, lesson: Path) -> Iterator[tuple[int, str]]:
    command = [
        "taskset",
        "-c",
        str(SERVER_CORE),
        sys.executable,
        "-m",
        "benchmarks.serve_whep",
        "--serve",
        name,
        str(lesson),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError(f"{name}: the server did not start")
        yield process.pid, url
    finally:
        process.terminate()
        process.wait(timeout=20)


# -- the servers, each in a process of its own


async def _serve(routes: list[web.RouteDef]) -> None:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/whep/1", flush=True)
    await asyncio.Event().wait()


async def _ours(lesson: Path) -> None:
    from edge_server.egress import EgressContext
    from edge_server.egress.whep.service import WhepService
    from edge_server.packager import Shelf
    from runtime.clock import SystemClock
    from runtime.service import running

    view = _view(lesson)
    service = WhepService(EgressContext(lambda: view, Shelf(lesson.parent), SystemClock()), max_viewers=2000)
    async with running(service, grace=1):
        await _serve(service.routes())


def _view(lesson: Path) -> Any:
    from types import SimpleNamespace

    stored = SimpleNamespace(file=lesson, sha256="0" * 64)
    item = SimpleNamespace(rendition=lambda name: SimpleNamespace(path=name))
    return SimpleNamespace(item=lambda item_id: item, file=lambda path: stored)


async def _aiortc(lesson: Path) -> None:
    import aioice.ice
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
    from aiortc.contrib.media import MediaPlayer

    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    held = []
    h264 = [
        each for each in RTCRtpSender.getCapabilities("video").codecs if each.mimeType in ("video/H264", "video/rtx")
    ]

    async def post(request: web.Request) -> web.Response:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        player = MediaPlayer(str(lesson), loop=True)
        held.append((pc, player))
        # Before the offer is looked at: else VP8 is negotiated.
        transceiver = pc.addTransceiver(player.video, direction="sendonly")
        transceiver.setCodecPreferences(h264)
        await pc.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        return web.Response(status=201, text=pc.localDescription.sdp, content_type="application/sdp")

    await _serve([web.post("/whep/1", post)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lesson", nargs="?", type=Path)
    parser.add_argument("--viewers", type=int, default=125)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--serve", choices=["ours", "aiortc"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run({"ours": _ours, "aiortc": _aiortc}[given.serve](given.lesson))
        return
    with tempfile.TemporaryDirectory() as folder:
        lesson = given.lesson or make_lesson(Path(folder) / "lesson.mp4", int(given.seconds) + 30)
        print(json.dumps(measure(lesson, given.viewers, given.seconds, given.repeats), indent=1))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
