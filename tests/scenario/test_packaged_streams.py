"""Every transport stream that the edge makes is free of first-priority errors; the checker knows no muxer."""

from __future__ import annotations

from pathlib import Path

import pytest

from central_platform.ingest import MadeVideo, ingest
from edge_server.packager import NotPackaged, load, package
from fixtures.lessons import make_counted_lesson
from media.ts_check import check

pytestmark = pytest.mark.timeout(120)
REAL = ("h264_bpyramid_800x640.mp4", "phone_android_slowmo_vfr.mp4", "ts_dvb_576i50_mpeg2.ts", "avi_mpeg4_mp3.avi")


def packaged(source: Path, tmp_path: Path) -> list[Path]:
    """Ingest and package; return the transport streams of both renditions."""
    work = tmp_path / "work"
    work.mkdir()
    made = ingest(source, work, on_progress=lambda part: None)
    assert isinstance(made, MadeVideo)
    return [package(r.made.file, r.made.sha256, tmp_path / "derived").ts for r in made.renditions]


def judged(stream: Path) -> None:
    report = check(stream)
    assert report.packets > 100
    assert not report.priority1, report.priority1
    assert not report.priority2, report.priority2


def test_a_counted_lesson(tmp_path: Path) -> None:
    lesson = make_counted_lesson(tmp_path / "lesson.mp4", frames=200, title="测试", seed=5)
    for stream in packaged(lesson.path, tmp_path):
        judged(stream)


@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str, shared_media: Path, tmp_path: Path) -> None:
    for stream in packaged(shared_media / name, tmp_path):
        judged(stream)


def test_packaging_is_done_once_and_damage_is_seen(tmp_path: Path) -> None:
    lesson = make_counted_lesson(tmp_path / "lesson.mp4", frames=60, title="测试", seed=6)
    sha256 = "ab" * 32
    first = package(lesson.path, sha256, tmp_path / "derived")
    stamp = first.ts.stat().st_mtime_ns
    assert package(lesson.path, sha256, tmp_path / "derived").ts.stat().st_mtime_ns == stamp
    with first.ts.open("r+b") as stream:
        stream.truncate(188)
    with pytest.raises(NotPackaged):
        load(lesson.path, sha256, tmp_path / "derived")
    assert package(lesson.path, sha256, tmp_path / "derived").ts.stat().st_size == first.ts_index.length_bytes
