"""Lessons given live by programs nobody here wrote, watched by others: the way in differs, the way out is one.

One edge has all channels at once. Publishers are killed, come back, and are gone for good.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from fixtures.lessons import make_counted_lesson
from tests.edge_lab import Running, serve
from tests.peers import tr101290, ts_receiver
from tests.served import run

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.stranger("ffmpeg"),
    pytest.mark.stranger("ffprobe"),
    pytest.mark.stranger("gst-rtsp-server"),
]
PEER = Path(__file__).resolve().parents[1] / "peers" / "gst_rtsp_server.py"
FILE, RTMP, SRT, RTSP, HEVC = (str(910001 + n) for n in range(5))
WATCH_S = 4


@dataclass(frozen=True)
class Given:
    edge: Running
    lesson: Path
    group: ts_receiver.Capture
    rtmp_port: int
    log: Path


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def push(lesson: Path, *out: str) -> subprocess.Popen[bytes]:
    read = ["ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(lesson), "-c", "copy"]
    return subprocess.Popen([*read, *out], stderr=subprocess.DEVNULL)


def push_again_until_taken(lesson: Path, port: int) -> subprocess.Popen[bytes]:
    """A publisher that is refused tries again, as all do."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        pusher = push(lesson, "-f", "flv", f"rtmp://127.0.0.1:{port}/live/key")
        try:
            pusher.wait(1.5)
        except subprocess.TimeoutExpired:
            return pusher
    raise AssertionError("never taken")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    root = tmp_path_factory.mktemp("live")
    lesson, hevc = root / "a.mp4", root / "b.mp4"
    make_counted_lesson(lesson, frames=500, title="L", seed=3)
    make = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(lesson), "-t", "1", "-an", "-c:v", "libx265", "-preset"]
    subprocess.run([*make, "ultrafast", "-x265-params", "log-level=none", str(hevc)], check=True, timeout=30)
    central, anchor = root / "central", root / "central" / "published" / "metadata" / "1.root.json"
    run("central-platform", "init", str(central), "--json")
    given_to = ("--central", str(central / "published"), "--trust", str(anchor), "--json")
    run("edge-server", "init", str(root / "edge"), *given_to)
    address, group = f"239.253.{os.getpid() % 250}.7", free_port()
    rtmp, srt = free_port(), free_port()
    with ExitStack() as ending:
        server = subprocess.Popen(["/usr/bin/python3", str(PEER), "h264", "100000"], stdout=subprocess.PIPE)
        ending.callback(server.wait)
        ending.callback(server.kill)
        assert server.stdout is not None
        ending.callback(server.stdout.close)
        rtsp = int(server.stdout.readline())
        live = (
            f"文件=file:{lesson}@@{address}:{group}; 推流=rtmp://127.0.0.1:{rtmp}/live/key?mode=listener;"
            f"远传=srt://127.0.0.1:{srt}?mode=listener; 摄像头=rtsp://127.0.0.1:{rtsp}/lesson; 高清=file:{hevc};"
            f"静=srt://127.0.0.1:{free_port()}?mode=listener"
        )
        settings = {"EDGE_SERVER_LIVE": live, "EDGE_SERVER_MULTICAST_INTERFACE": "127.0.0.1"}
        edge = ending.enter_context(serve(root, environment=settings))
        pushers = [push_again_until_taken(lesson, rtmp)]
        pushers.append(push(lesson, "-f", "mpegts", f"srt://127.0.0.1:{srt}"))
        for each in pushers:
            ending.callback(each.wait)
            ending.callback(each.kill)
        with ts_receiver.join(address, group, "127.0.0.1") as sock:
            captured = ts_receiver.during(sock, rtp=False, seconds=WATCH_S)
        for channel in (FILE, RTMP, SRT, RTSP):
            on_air(edge, channel)
        given = Given(edge, lesson, captured, rtmp, root / "serve.log")
        given_pushers.append(pushers[0])
        yield given


given_pushers: list[subprocess.Popen[bytes]] = []


def on_air(edge: Running, channel: str, *, seconds: float = 20.0) -> str:
    """Wait until a channel has a list with a segment."""
    end = time.monotonic() + seconds
    while True:
        try:
            return edge.get(f"/live/{channel}/index.m3u8").decode()
        except urllib.error.HTTPError as error:
            error.close()
            assert error.code == 404
            assert time.monotonic() < end, channel
        time.sleep(0.1)


def copied(edge: Running, channel: str, out: Path, *, seconds: int) -> list[float]:
    """What ffmpeg gets from the list, without a complaint; decoding times of the pictures."""
    url = f"{edge.http}live/{channel}/index.m3u8"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-err_detect", "explode", "-y", "-i", url]
    command += ["-t", str(seconds), "-map", "0", "-c", "copy", "-f", "mpegts", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    checked = subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", str(out), "-f", "null", "-"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=dts_time", "-of", "csv=p=0"]
    told = subprocess.run([*command, str(out)], capture_output=True, text=True, timeout=30, check=True).stdout
    return [float(line.split(",")[0]) for line in told.splitlines() if line.strip(",")]


def test_every_way_in_comes_out_by_hls(given: Given, tmp_path: Path) -> None:
    channels = (FILE, RTMP, SRT, RTSP)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(copied, given.edge, each, tmp_path / f"{each}.ts", seconds=3) for each in channels]
        for each in waiting:
            times = each.result()
            assert times[-1] - times[0] > 2.5
            assert all(0.02 < b - a < 0.08 for a, b in pairwise(times)), times


def test_the_group_is_clean(given: Given) -> None:
    report = tr101290.check(given.group.stream)
    assert report.wrong == []
    assert report.pids == {0x100: 0x1B, 0x101: 0x0F}
    assert 0 < report.pcr_gap_max_s <= 0.04
    assert report.units[0x100] > 25 * (WATCH_S - 2)


def test_the_stream_by_http_begins_with_a_key_picture(given: Given, tmp_path: Path) -> None:
    out = tmp_path / "s.ts"
    command = ["curl", "-s", "--max-time", "3", "-o", str(out), f"{given.edge.http}live/{FILE}.ts"]
    assert subprocess.run(command, check=False, timeout=20).returncode == 28, "it has no end"
    data = out.read_bytes()
    assert tr101290.check(data).wrong == []
    first = next(at for at in range(0, len(data), 188) if data[at + 1 : at + 3] in (b"\x41\x00", b"\x01\x00"))
    assert data[first + 5] & 0x40, "random access"


def test_what_is_no_h264_is_refused_in_words(given: Given) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        given.edge.get(f"/live/{HEVC}/index.m3u8")
    caught.value.close()
    assert caught.value.code == 404
    assert "live channels relay H.264 only" in given.log.read_text()


def test_channels_are_listed_like_others(given: Given) -> None:
    listed = json.loads(given.edge.get("/api/v1/channels"))["channels"]
    assert [(each["id"], each["name"]) for each in listed][:2] == [(FILE, "文件"), (RTMP, "推流")]
    assert listed[0]["play"]["multicast"].startswith("udp://@239.253.")
    assert listed[0]["time_shift_s"] == 0
    with pytest.raises(urllib.error.HTTPError) as caught:
        given.edge.get(f"/live/{FILE}/index.m3u8?playseek=20261124100000-20261124110000")
    caught.value.close()
    assert caught.value.code == 404, "nothing to go back to"


def test_a_publisher_that_is_killed_comes_back_into_the_same_list(given: Given, tmp_path: Path) -> None:
    """kill -9, garbage from somebody else, and back: one list, one discontinuity, no time twice."""
    before = numbers(given.edge, RTMP)
    given_pushers[0].send_signal(signal.SIGKILL)
    given_pushers[0].wait()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", given.rtmp_port)) == 0:
                sock.sendall(os.urandom(5000))
                sock.close()
                break
        time.sleep(0.1)
    pusher = push_again_until_taken(given.lesson, given.rtmp_port)
    try:
        end = time.monotonic() + 20
        while "#EXT-X-DISCONTINUITY\n" not in (text := on_air(given.edge, RTMP)):
            assert time.monotonic() < end, text
            time.sleep(0.1)
        assert "ENDLIST" not in text
        after = numbers(given.edge, RTMP)
        assert after[-1] > before[-1]
        assert all(b - a == 1 for a, b in pairwise(after))
        data = b"".join(given.edge.get(f"/live/{RTMP}/{number}.ts") for number in after)
        report = tr101290.check(data, psi_s=30.0, pcr_s=30.0, pts_s=30.0)
        assert [each for each in report.wrong if not each.startswith(("2.3b", "1.3", "1.5"))] == []
    finally:
        pusher.kill()
        pusher.wait()


def numbers(edge: Running, channel: str) -> list[int]:
    return [int(each) for each in re.findall(r"^(\d+)\.ts$", on_air(edge, channel), re.MULTILINE)]


def test_nothing_is_left_when_the_edge_is_killed(given: Given) -> None:
    """A reader whose parent is gone ends, and so does what it started; also one whom nobody calls."""
    pid = given.edge.process.pid
    readers = children(pid)
    assert len(readers) >= 4
    below = [each for reader in readers for each in children(reader)]
    assert len(below) >= 2, "ffmpeg reads SRT"
    given.edge.process.kill()
    given.edge.process.wait()
    end = time.monotonic() + 10
    while any(alive(each) for each in (*readers, *below)):
        assert time.monotonic() < end
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    found = []
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = each.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(words[1]) == pid and words[0] != "Z":
            found.append(int(each.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
