"""Our HLS boxes on live lists that ffmpeg's own muxer writes behind nginx: both containers, time lines that break."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.clock import SystemClock
from stb_emulator.boxes import load_all
from stb_emulator.observe import Observation, Offer
from stb_emulator.seat import Seat
from tests.peers.scripted import make_media
from tests.scenario.test_emulator_strangers import _nginx

pytestmark = [pytest.mark.stranger("ffmpeg", "nginx")]
KINDS = [("new_hls_ts", "mpegts"), ("new_hls_fmp4", "fmp4")]


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lesson") / "lesson.mp4"
    path.write_bytes(make_media("mp4", 250, options={"movflags": "+faststart"}))
    path.with_name("short.mp4").write_bytes(make_media("mp4", 100, options={"movflags": "+faststart"}))
    return path


def _words(lesson: Path, folder: Path, kind: str, *flags: str) -> list[str]:
    words = ["ffmpeg", "-v", "error", *flags, "-i", str(lesson), "-c", "copy", "-f", "hls", "-hls_time", "1"]
    return [*words, "-hls_list_size", "5", "-hls_segment_type", kind]


def _twice(lesson: Path, folder: Path, kind: str) -> None:
    for name, flags in (("a", "append_list+omit_endlist"), ("b", "append_list")):
        words = _words(lesson, folder, kind)
        words[words.index("-hls_list_size") + 1] = "0"
        words += ["-hls_fmp4_init_filename", f"init-{name}.mp4", "-hls_segment_filename", f"{folder}/{name}-%d.seg"]
        subprocess.run([*words, "-hls_flags", flags, str(folder / "index.m3u8")], check=True)


@contextmanager
def _live(lesson: Path, folder: Path, kind: str) -> Iterator[None]:
    folder.mkdir()
    words = _words(lesson, folder, kind, "-re")
    words += ["-hls_flags", "delete_segments+temp_file", str(folder / "index.m3u8")]
    process = subprocess.Popen(words)
    try:
        deadline = time.monotonic() + 15
        while not (folder / "index.m3u8").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


async def _watch(box: str, url: str, seconds: float | None, *, live: bool = True) -> Observation:
    seat = Seat(portal_url="http://127.0.0.1", clock=SystemClock(), silence_s=8, seconds=seconds)
    return await seat.play_url(
        load_all()[box], Offer(item_id="x", title="", column="", family="video", url=url, live=live)
    )


@pytest.mark.parametrize(("box", "kind"), KINDS)
async def test_a_live_list_of_ffmpeg(box: str, kind: str, lesson: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hls"
    with _live(lesson, folder, kind), _nginx(folder, tmp_path) as base:
        row = await _watch(box, f"{base}/index.m3u8", 3.0)
    assert row.transport == "HLS live"
    assert row.ok, row.reason
    assert row.played_s >= 3.0 and row.frame_code and row.frame_code.perfect


@pytest.mark.parametrize(("box", "kind"), KINDS)
async def test_time_lines_that_ffmpeg_breaks(box: str, kind: str, lesson: Path, tmp_path: Path) -> None:
    """Two runs of ffmpeg into one list: ``append_list`` writes #EXT-X-DISCONTINUITY."""
    folder = tmp_path / "hls"
    folder.mkdir()
    await asyncio.to_thread(_twice, lesson.with_name("short.mp4"), folder, kind)
    text = (folder / "index.m3u8").read_text()
    assert "#EXT-X-DISCONTINUITY" in text
    with _nginx(folder, tmp_path) as base:
        row = await _watch(box, f"{base}/index.m3u8", None, live=False)
    assert row.ok, (row.reason, text)
    assert row.frames == 200
