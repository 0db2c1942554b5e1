"""Programs nobody here wrote play a linear channel over the joins of its lessons: no time jumps, nothing is missing.

All receivers watch the same edge for the same half minute, which has at least two joins.
"""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from fixtures.lessons import make_counted_lesson
from tests.edge_lab import publish, serve
from tests.peers import tr101290, ts_receiver
from tests.served import LATE

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.stranger("ffmpeg"),
    pytest.mark.stranger("ffprobe"),
    pytest.mark.stranger("gst-launch-1.0"),
]
FRAMES = (205, 260, 230)
"""8 to 10 s a lesson: 22 s have two joins at least."""
WATCH_S = 22
SPAN_S = 20
CHANNEL = "900001"


@dataclass(frozen=True)
class Got:
    files: dict[str, Path]
    raw: dict[str, ts_receiver.Capture]


def run(command: list[str], timeout_s: float = 90.0) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == (124 if command[0] == "timeout" else 0), f"{command}: {done.stderr[-2000:]}"


@pytest.fixture(scope="module")
def got(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Got]:
    root = tmp_path_factory.mktemp("linear")
    lessons = []
    for number, frames in enumerate(FRAMES):
        lessons.append(root / f"{number}.mp4")
        make_counted_lesson(lessons[-1], frames=frames, title=f"L{number}", seed=number)
    items = ",".join(publish(root, lessons, timeout_s=120).values())
    address = f"239.254.{os.getpid() % 250}.7"
    bare, control = ts_receiver.pair(address)
    bare_port = bare.getsockname()[1]
    bare.close()
    control.close()
    rtp_data, rtp_control = ts_receiver.pair(address)
    rtp_port = rtp_data.getsockname()[1]
    rtp_data.close()
    rtp_control.close()
    channels = f"教育频道={items}@{address}:{bare_port};二套={items}@rtp:{address}:{rtp_port}"
    settings = {**LATE, "EDGE_SERVER_CHANNELS": channels, "EDGE_SERVER_MULTICAST_INTERFACE": "127.0.0.1"}
    files = {name: root / f"{name}.ts" for name in ("tcp", "udp", "span", "http", "hls", "group")}
    read = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
    copy = ["-t", str(WATCH_S), "-c", "copy", "-f", "mpegts"]
    with ThreadPoolExecutor(16) as pool, serve(root, environment=settings) as edge:
        live, http = f"{edge.rtsp.rstrip('/')}/live/{CHANNEL}.mpg", f"{edge.http.rstrip('/')}/live/{CHANNEL}"
        until = datetime.now(UTC) - timedelta(seconds=5)
        span = f"{until - timedelta(seconds=SPAN_S):%Y%m%d%H%M%S}-{until:%Y%m%d%H%M%S}"
        commands = {
            "tcp": [*read, "-rtsp_transport", "tcp", "-i", live, *copy, str(files["tcp"])],
            "udp": [*read, "-rtsp_transport", "udp", "-i", live, *copy, str(files["udp"])],
            "span": [*read, "-rtsp_transport", "tcp", "-i", f"{live}?playseek={span}", *copy[2:], str(files["span"])],
            "http": [*read, "-i", f"{http}.ts", *copy, str(files["http"])],
            "hls": [*read, "-re", "-i", f"{http}/index.m3u8", *copy, str(files["hls"])],
            "group": [
                *(
                    "timeout",
                    "-s",
                    "INT",
                    str(WATCH_S + 3),
                    "gst-launch-1.0",
                    "-q",
                    "-e",
                    "udpsrc",
                    f"address={address}",
                ),
                *(f"port={bare_port}", "multicast-iface=lo", "!", "filesink", f"location={files['group']}"),
            ],
        }
        waiting = [pool.submit(run, command) for name, command in commands.items() if name != "group"]
        grouped = pool.submit(run, commands["group"])
        raw = {"rtp group": pool.submit(_gather, address, rtp_port), "http": pool.submit(_http, f"{http}.ts")}
        path, port = f"/live/{CHANNEL}.mpg", int(edge.rtsp.rstrip("/").rsplit(":", 1)[1])
        for name, where, profile, seconds in (
            ("rtsp MP2T/TCP", path, "MP2T/TCP", WATCH_S),
            ("rtsp MP2T/RTP/UDP", path, "MP2T/RTP/UDP", WATCH_S),
            ("rtsp span", f"{path}?playseek={span}", "MP2T/UDP", None),
        ):
            raw[name] = pool.submit(ts_receiver.rtsp, "127.0.0.1", port, where, profile, timeout_s=90, seconds=seconds)
        for each in waiting:
            each.result()
        grouped.result()
        yield Got(files, {name: each.result() for name, each in raw.items()})


def _http(url: str) -> ts_receiver.Capture:
    """Whole packets of what comes in that time."""
    data, until = b"", time.monotonic() + WATCH_S
    with urllib.request.urlopen(url, timeout=20) as reply:
        while time.monotonic() < until:
            data += reply.read1(65536)
    return ts_receiver.Capture([data[: len(data) // tr101290.PACKET * tr101290.PACKET]])


def _gather(address: str, port: int) -> ts_receiver.Capture:
    with ts_receiver.join(address, port, "127.0.0.1") as sock:
        return ts_receiver.during(sock, rtp=True, seconds=WATCH_S)


def decoding_times(file: Path) -> list[float]:
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=dts_time", "-of", "csv=p=0"]
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, timeout=60, check=True)
    return [float(line.split(",")[0]) for line in done.stdout.splitlines() if line.strip(",")]


@pytest.mark.parametrize("way", ["tcp", "udp", "http", "span", "group"])
def test_pictures_go_on_over_joins(got: Got, way: str) -> None:
    times = decoding_times(got.files[way])
    assert times[-1] - times[0] >= SPAN_S - 3
    steps = [after - before for before, after in pairwise(times)]
    assert min(steps) > 0.03
    assert max(steps) < 0.1
    assert sum(step > 0.045 for step in steps) >= 2, "no join was seen"


def test_hls_goes_on_over_joins(got: Got) -> None:
    """The time base changes at a join, which the playlist says: no picture is lost."""
    times = decoding_times(got.files["hls"])
    assert len(times) >= 25 * (WATCH_S - 2)


@pytest.mark.parametrize("way", ["group", "rtp group", "http", "rtsp MP2T/TCP", "rtsp MP2T/RTP/UDP", "rtsp span"])
def test_each_way_is_one_stream_for_the_standard(got: Got, way: str) -> None:
    """As it came, muxed by nobody again: over the joins no error, one time base, counters without a break."""
    capture = got.raw.get(way) or ts_receiver.Capture([got.files[way].read_bytes()])
    assert capture.missing == []
    report = tr101290.check(capture.stream)
    assert report.wrong == []
    assert report.time_bases == 1
    assert report.pcr_gap_max_s <= 0.040 and report.pcrs >= 25 * (SPAN_S - 3)
