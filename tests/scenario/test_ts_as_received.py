"""The transport stream as receivers get it, byte by byte, judged by ETSI TR 101 290: RTSP by each transport, multicast.

The receivers are raw sockets and GStreamer's, which writes what came out of RTP without muxing it again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.edge_lab import noisy_lesson, publish, serve
from tests.peers import ts_receiver
from tests.peers.tr101290 import Report, against_rtp, check
from tests.scenario.test_lan_edges import two_networks
from tests.ways import pictures

pytestmark = [pytest.mark.timeout(120), pytest.mark.stranger("ffmpeg")]
SECONDS = 6
PROFILES = ("MP2T/RTP/UDP", "MP2T/UDP", "MP2T/TCP", "MP2T/RTP/TCP", "RTP/AVP", "RTP/AVP/TCP")
RENDITIONS = ("R12", "R40")
STAMP_MAX_S = 0.035
"""An RTP timestamp (the sender's pace, ten points a second) may be so far from the PCRs: by less than what every access
unit is early, so that nothing comes after its decoding time. ISO/IEC 13818-1 §2.4.2.2 makes the PCRs of a stream of
variable rate right by definition; the ±500 ns of TR 101 290 (2.4) are for constant rates."""
LATE = {"EDGE_SERVER_PACING_LATE_MAX_MS": "60000"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("received")


@pytest.fixture(scope="module")
def item(root: Path) -> str:
    lesson = noisy_lesson(root / "lesson.mp4", seconds=SECONDS, kbps=1200)
    return publish(root, [lesson])[lesson]


@pytest.fixture(scope="module")
def captures(root: Path, item: str) -> Iterator[dict[str, ts_receiver.Capture]]:
    """What all receivers got at the same time, by rendition and way; multicast: two rounds and a bit."""
    with ExitStack() as stack:
        groups, joined = [], {}
        for number, rendition in enumerate(RENDITIONS):
            for rtp in (False, True):
                address = f"239.255.{os.getpid() % 250}.{1 + 2 * number + rtp}"
                data, control = ts_receiver.pair(address)
                port = data.getsockname()[1]
                data.close()
                control.close()
                joined[f"{rendition} multicast {'rtp' if rtp else 'udp'}"] = (
                    stack.enter_context(ts_receiver.join(address, port, "127.0.0.1")),
                    rtp,
                )
                groups.append(f"{'rtp:' if rtp else ''}{item}/{rendition}@{address}:{port}")
        settings = {**LATE, "EDGE_SERVER_MULTICAST": ",".join(groups), "EDGE_SERVER_MULTICAST_INTERFACE": "127.0.0.1"}
        with ThreadPoolExecutor(32) as pool, serve(root, environment=settings) as edge:
            port = int(edge.rtsp.rstrip("/").rsplit(":", 1)[1])
            waiting = {
                name: pool.submit(ts_receiver.rounds, sock, rtp=rtp, count=2, timeout_s=60)
                for name, (sock, rtp) in joined.items()
            }
            for rendition in RENDITIONS:
                path = f"/vod/{item}.mpg?rendition={rendition}"
                for profile in PROFILES:
                    where = ("127.0.0.1", port, path, profile)
                    waiting[f"{rendition} {profile}"] = pool.submit(ts_receiver.rtsp, *where, timeout_s=60)
            found = {name: each.result() for name, each in waiting.items()}
            for rendition in RENDITIONS:
                uris = edge.uris(f"/hls/{item}/ts/{rendition}/index.m3u8")
                found[rendition] = ts_receiver.Capture([edge.get(uri) for uri in uris])
            yield found


def _fine(report: Report, *, seconds: float = SECONDS) -> None:
    assert report.wrong == [] and report.repeated == 0
    assert set(report.pids.values()) == {0x1B, 0x0F}
    assert report.pcr_gap_max_s <= 0.040 and report.pcrs >= 25 * seconds
    assert min(report.units.values()) >= 10 * seconds


def _in_time(capture: ts_receiver.Capture, payloads: list[bytes]) -> None:
    assert capture.missing == []
    off = against_rtp(payloads, capture.stamps[: len(payloads)])
    assert len(off) > 0.9 * len(payloads) and max(map(abs, off)) <= STAMP_MAX_S


@pytest.mark.parametrize("rendition", RENDITIONS)
@pytest.mark.parametrize("profile", PROFILES)
def test_rtsp(captures: dict[str, ts_receiver.Capture], profile: str, rendition: str) -> None:
    """No error of first or second priority, counters without a break, and the bytes that HLS brings."""
    capture = captures[f"{rendition} {profile}"]
    _fine(check(capture.stream))
    assert capture.stream == captures[rendition].stream
    assert bool(capture.stamps) == ("RTP" in profile)
    if capture.stamps:
        _in_time(capture, capture.payloads)


@pytest.mark.parametrize("rendition", RENDITIONS)
@pytest.mark.parametrize("kind", ["udp", "rtp"])
def test_multicast(captures: dict[str, ts_receiver.Capture], kind: str, rendition: str) -> None:
    """The same for two rounds in a row: the join is another time base, and marked as one."""
    capture = captures[f"{rendition} multicast {kind}"]
    first, second, _ = ts_receiver.split(capture.stream)
    assert first == second == captures[rendition].stream
    place = capture.stream.index(second, len(first)) + len(second)
    report = check(capture.stream[:place])
    _fine(report, seconds=2 * SECONDS)
    assert report.time_bases == 2
    if kind == "rtp":
        whole = [payload for payload in capture.payloads if not ts_receiver.marked(payload)]
        count = next(number for number in range(len(whole)) if len(b"".join(whole[: number + 1])) >= len(first))
        _in_time(capture, capture.payloads[:count])


@pytest.mark.stranger("gst-launch-1.0")
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_gstreamer_writes_the_same_bytes(root: Path, item: str, tmp_path: Path, protocol: str) -> None:
    """A stranger's RTSP client and its depayloader; what it writes down has no error either."""
    out = tmp_path / "out.ts"
    with serve(root, environment=LATE) as edge:
        source = f"location={edge.rtsp}vod/{item}.mpg?rendition=R12"
        command = ["gst-launch-1.0", "rtspsrc", source, f"protocols={protocol}", "!", "rtpmp2tdepay", "!", "filesink"]
        done = subprocess.run([*command, f"location={out}"], capture_output=True, text=True, timeout=60, check=False)
        whole = b"".join(edge.get(uri) for uri in edge.uris(f"/hls/{item}/ts/R12/index.m3u8"))
    assert done.returncode == 0 and "ERROR" not in done.stderr, done.stderr[-1500:]
    _fine(check(out.read_bytes()))
    assert out.read_bytes() == whole


def test_multicast_over_a_cable(root: Path, item: str, tmp_path: Path) -> None:
    """An edge and a receiver in two networks with a cable between them: every picture, twice, none changed."""
    out, receiver = tmp_path / "out.ts", Path(ts_receiver.__file__)
    with two_networks() as (left, right):
        command = ["ip", "netns", "exec", right, sys.executable, str(receiver)]
        box = subprocess.Popen(
            [*command, "239.7.7.7", "5000", "10.99.7.2", "rtp", str(out)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert box.stdout is not None and box.stdout.readline() == "joined\n"
            settings = {**LATE, "EDGE_SERVER_MULTICAST": f"rtp:{item}/R12@239.7.7.7:5000"}
            settings["EDGE_SERVER_MULTICAST_INTERFACE"] = "10.99.7.1"
            with serve(root, environment=settings, network=left):
                assert box.wait(60) == 0
        finally:
            box.kill()
            box.communicate()
    first, second, _ = ts_receiver.split(out.read_bytes())
    assert first == second
    _fine(check(first))
    (tmp_path / "round.ts").write_bytes(first)
    seen = pictures(("-i", str(tmp_path / "round.ts")))
    with serve(root, environment=LATE) as edge:
        stored = tmp_path / "stored.mp4"
        stored.write_bytes(edge.get(f"/media/{item}/R12.mp4"))
    assert len(seen) == SECONDS * 25 and seen == pictures(("-i", str(stored)))
