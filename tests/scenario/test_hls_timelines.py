"""All renditions of a lesson share one time line, however early the packets of each have to leave (RFC 8216 §6.2.4)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.edge_lab import noisy_lesson, publish, serve
from wire.m3u8 import MasterPlaylist, MediaPlaylist, parse

pytestmark = pytest.mark.timeout(120)
FRAME_S = 1 / 25


def first_s(url: str, stream: str) -> float:
    """Ask ffprobe for the presentation time of what is shown first."""
    command = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        stream,
        "-show_entries",
        "packet=pts_time",
        "-of",
        "csv=p=0",
    ]
    done = subprocess.run([*command, url], capture_output=True, text=True, timeout=30, check=True)
    return min(float(line.strip(",")) for line in done.stdout.split())


@pytest.mark.stranger("ffprobe")
@pytest.mark.parametrize("flavour", ["ts", "fmp4"])
def test_every_segment_begins_at_the_same_time_in_all_renditions(lesson: Path, flavour: str) -> None:
    """The rates differ by three, so one rendition fills the line before its start for longer than the other."""
    with serve(lesson) as edge:
        (item,) = (path.name for path in (lesson / "items").iterdir())
        base = f"/hls/{item}/{flavour}/"
        master = parse(edge.get(f"{base}master.m3u8").decode())
        assert isinstance(master, MasterPlaylist) and len(master.variants) == 2
        times = {}
        for variant in master.variants:
            media = parse(edge.get(base + variant.uri).decode())
            assert isinstance(media, MediaPlaylist) and len(media.segments) == 2
            folder = edge.http + base[1:] + variant.uri.rpartition("/")[0]
            whole = [first_s(f"{edge.http}{base[1:]}{variant.uri}", stream) for stream in ("v:0", "a:0")]
            each = [first_s(f"{folder}/{segment.uri}", "v:0") for segment in media.segments if flavour == "ts"]
            times[variant.uri] = whole + each
    one, other = times.values()
    assert other == pytest.approx(one, abs=FRAME_S / 2), times


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("timelines")
    for item in publish(root, [noisy_lesson(root / "lesson.mp4", seconds=9, kbps=3600)]).values():
        (root / "items" / item).mkdir(parents=True)
    return root
