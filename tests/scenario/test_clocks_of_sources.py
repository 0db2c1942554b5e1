"""Recordings whose clock wraps at 33 bits or jumps come out continuous: every picture, in order, at its time.

ISO/IEC 13818-1 §2.4.3.7 (33 bits of PTS), ETSI TR 101 290 §5.2 on what the edge sends of them.
"""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import av
import pytest

from fixtures import frame_code
from fixtures.lessons import make_counted_lesson
from tests import edge_lab
from tests.peers import ts_receiver
from tests.peers.tr101290 import PACKET, PTS_WRAP, check
from tests.served import LATE

pytestmark = [pytest.mark.timeout(120), pytest.mark.stranger("ffmpeg")]
FRAMES, RATE = 200, 25
CUT_S = 4
WRAP_S = PTS_WRAP / 90_000
SOURCES = {
    "wrap": ((0.0, WRAP_S - 5.0),),
    "jump-forward": ((0.0, 10.0), (CUT_S, 5000.0)),
    "jump-back": ((0.0, 3600.0), (CUT_S, 1.0)),
    "jump-over-the-wrap": ((0.0, WRAP_S - 3.0), (CUT_S, WRAP_S - 1.0)),
}
"""Of each piece: where in the lesson it begins, and the clock that it begins with; seconds."""


def recording(lesson: Path, out: Path, pieces: tuple[tuple[float, float], ...]) -> Path:
    """Let ffmpeg make transport streams with such clocks, and put one behind the other as a recorder does."""
    whole = b""
    for number, (begin_s, clock_s) in enumerate(pieces):
        end = ["-t", str(CUT_S), "-frames:v", str(CUT_S * RATE)] if number + 1 < len(pieces) else []
        command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-ss", str(begin_s), "-i", str(lesson), *end]
        command += ["-c", "copy", "-output_ts_offset", str(clock_s), "-f", "mpegts", str(out)]
        subprocess.run(command, check=True, timeout=30)
        whole += out.read_bytes()
    out.write_bytes(whole)
    return out


def first_and_last_pts(stream: bytes) -> tuple[int, int]:
    """Of the pictures, as the 33 bits stand in the stream."""
    found = []
    for at in range(0, len(stream), PACKET):
        packet = stream[at : at + PACKET]
        if packet[1] & 0x40 and packet[3] & 0x10:
            pes = packet[5 + packet[4] :] if packet[3] & 0x20 else packet[4:]
            if pes[:3] == b"\0\0\1" and pes[3] >> 4 == 0xE and pes[7] & 0x80:
                a, b, c, d, e = pes[9:14]
                found.append((a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1)
    return found[0], found[-1]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[edge_lab.Running]:
    root = tmp_path_factory.mktemp("clocks")
    lesson = root / "lesson.mp4"
    make_counted_lesson(lesson, frames=FRAMES, title="安全用电", seed=4, size=(320, 180))
    files = [recording(lesson, root / f"{name}.ts", pieces) for name, pieces in SOURCES.items()]
    items = edge_lab.publish(root, files)
    with edge_lab.serve(root, environment=LATE) as running:
        running.videos = [items[file] for file in files]
        yield running


@pytest.mark.parametrize("name", SOURCES)
def test_the_source_is_as_broken_as_it_shall_be(edge: edge_lab.Running, name: str) -> None:
    """A check of the makers: the checker that finds nothing in what we send finds this."""
    stream = (edge.root / f"{name}.ts").read_bytes()
    first, last = first_and_last_pts(stream)
    assert (last < first) == ("forward" not in name)
    if name != "wrap":
        assert {"1.4", "2.3b"} <= check(stream, pcr_s=1.0).checks


@pytest.mark.parametrize("rendition", ["R12", "R40"])
@pytest.mark.parametrize("name", SOURCES)
def test_what_is_sent_is_continuous(edge: edge_lab.Running, name: str, rendition: str) -> None:
    item = edge.videos[list(SOURCES).index(name)]
    playlist = f"/hls/{item}/ts/{rendition}/index.m3u8"
    stream = b"".join(edge.get(uri) for uri in edge.uris(playlist))
    report = check(stream)
    assert report.wrong == [] and report.time_bases == 1 and report.pcr_gap_max_s <= 0.040
    told = edge.get(playlist).decode()
    assert "EXT-X-DISCONTINUITY" not in told
    for data, kind in ((stream, "mpegts"), (edge.get(f"/media/{item}/{rendition}.mp4"), "mp4")):
        pictures = shown(data, kind)
        assert [number for number, _ in pictures] == list(range(FRAMES))
        steps = [later - earlier for (_, earlier), (_, later) in pairwise(pictures)]
        assert steps == pytest.approx([1 / RATE] * (FRAMES - 1), abs=0.002)
    silence = [later - earlier for earlier, later in pairwise(heard(stream))]
    assert max(silence) < 0.05


def test_rtsp_brings_the_same_bytes(edge: edge_lab.Running) -> None:
    port = int(edge.rtsp.rstrip("/").rsplit(":", 1)[1])
    with ThreadPoolExecutor() as pool:
        live = {
            item: pool.submit(
                ts_receiver.rtsp, "127.0.0.1", port, f"/vod/{item}.mpg?rendition=R12", "MP2T/RTP/UDP", timeout_s=60
            )
            for item in edge.videos
        }
    for item, each in live.items():
        assert each.result().missing == []
        assert each.result().stream == b"".join(edge.get(uri) for uri in edge.uris(f"/hls/{item}/ts/R12/index.m3u8"))


def shown(data: bytes, kind: str) -> list[tuple[int | None, float]]:
    """Numbers of the pictures (docs/frame_code.md) and their times."""
    with av.open(io.BytesIO(data), format=kind) as source:
        return [
            (frame_code.read(frame.to_ndarray(format="gray8")), float(frame.time or 0))
            for frame in source.decode(video=0)
        ]


def heard(data: bytes) -> list[float]:
    """Times of the sound's frames."""
    with av.open(io.BytesIO(data), format="mpegts") as source:
        return [float(frame.time or 0) for frame in source.decode(audio=0)]
