"""Subtitles: from tracks and files of all kinds to WebVTT at the lesson's time, read again by FFmpeg."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central_platform.ingest import MadeVideo, ingest
from central_platform.ingest.subtitles import CUE_UNSAID_S, FILE_MAX_BYTES, decoded, fitted, make_subtitles, write_vtt
from fixtures.lessons import make_counted_lesson

SRT = "1\n00:00:00,500 --> 00:00:01,500\n第一句 & <b>粗</b>\n第二行\n\n2\n00:00:01,600 --> 00:00:09,000\n{\\an8}结束\n"


def lesson(path: Path) -> Path:
    make_counted_lesson(path, frames=75, title="课", seed=1)
    return path


def seen(file: Path) -> str:
    """What a stranger reads in a WebVTT file."""
    command = ["ffmpeg", "-loglevel", "error", "-f", "webvtt", "-i", str(file), "-f", "srt", "-"]
    return subprocess.run(command, capture_output=True, text=True, timeout=15, check=True).stdout


def test_a_file_beside_and_tracks_inside(tmp_path: Path) -> None:
    plain = lesson(tmp_path / "plain.mp4")
    srt = tmp_path / "words.srt"
    srt.write_text(SRT)
    source = tmp_path / "lesson.mkv"
    tracks = ["-map", "0", "-map", "1", "-map", "1", "-metadata:s:s:0", "language=chi"]
    tracks += ["-metadata:s:s:1", "language=eng", "-c", "copy", "-c:s", "ass"]
    command = ["ffmpeg", "-loglevel", "error", "-i", str(plain), "-i", str(srt), *tracks, str(source)]
    subprocess.run(command, check=True, timeout=15)
    (tmp_path / "lesson.en.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nbeside\n")
    (tmp_path / "lesson2.srt").write_text(SRT)
    work = tmp_path / "work"
    work.mkdir()
    made = ingest(source, work, on_progress=lambda _: None)
    assert isinstance(made, MadeVideo)
    found = {each.language: seen(each.made.file) for each in made.subtitles}
    assert found.keys() == {"en", "zh"}
    assert {each.label for each in made.subtitles} == {"中文", "English"}
    assert "beside" in found["en"]
    assert "00:00:00,500 --> 00:00:01,500" in found["zh"]
    assert "第一句 &" in found["zh"]
    assert "第二行" in found["zh"]
    assert "00:00:01,600 --> 00:00:03,0" in found["zh"], "nothing is shown after the end"
    assert "an8" not in found["zh"]


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_files_in_every_charset_of_the_field(tmp_path: Path, coding: str) -> None:
    source = tmp_path / "课.mp4"
    source.touch()
    (tmp_path / "课.srt").write_bytes(SRT.encode(coding))
    (made,) = make_subtitles(source, 0.0, 60.0, tmp_path)
    assert made.language == "und"
    assert "第一句 &amp;" in made.made.file.read_text("utf-8")


@pytest.mark.parametrize(
    "raw", [b"", b"\x00" * 50, b"\xff\xfe\x00", b"WEBVTT\n\nno cue", b"1\n00:00:09,000 --> 00:00:01,000\nback\n"]
)
def test_files_that_say_nothing_are_left_out(tmp_path: Path, raw: bytes) -> None:
    source = tmp_path / "a.mp4"
    source.touch()
    for name in ("a.srt", "a.vtt", "a.ass"):
        (tmp_path / name).write_bytes(raw)
    assert make_subtitles(source, 0.0, 5.0, tmp_path) == ()
    (tmp_path / "a.srt").write_bytes(SRT.encode() + b"\n" * FILE_MAX_BYTES)
    assert make_subtitles(source, 0.0, 5.0, tmp_path) == ()


times = st.floats(-10, 100, allow_nan=False)


@given(st.lists(st.tuples(times, times, st.text(max_size=20)), max_size=20))
def test_cues_lie_inside_the_lesson_and_in_order(cues: list[tuple[float, float, str]]) -> None:
    shown = fitted(cues, 60.0)
    assert shown == sorted(shown, key=lambda cue: cue[0])
    for start, end, text in shown:
        assert 0 <= start < end <= 60
        assert text.strip()
        assert "\n\n" not in text
    written = write_vtt(shown)
    assert written.count(" --> ") == len(shown), "no text can look like a time"


def test_a_cue_without_an_end_lasts_until_the_next() -> None:
    assert fitted([(1, 1, "a"), (3, 3, "b")], 60) == [(1, 3, "a"), (3, 3 + CUE_UNSAID_S, "b")]


@given(st.binary(max_size=200))
def test_any_bytes_become_text(raw: bytes) -> None:
    decoded(raw).encode()
