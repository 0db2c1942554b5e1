"""Fragmented MP4 out of an MP4: every packet comes back with its bytes and times, whatever the file looks like."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest

from media import DamagedIndex, MediaError, Unmuxable
from media.mp4.fmp4 import Fmp4Index, Form
from media.mp4.segmenting import segment_mp4
from tests.unit.test_mp4 import remuxed
from tests.unit.test_ts_mux import FPS, SECONDS, ffmpeg_plays, first_times, make_lesson, picture_hashes


class Packet(NamedTuple):
    """One packet; times in seconds."""

    pts: Fraction
    dts: Fraction
    data: bytes
    key: bool


class Made(NamedTuple):
    """A cut MP4."""

    source: Path
    heads: Path
    index: Fmp4Index

    def bodies(self, form: Form) -> Iterator[bytes]:
        data = self.source.read_bytes()
        for number in range(len(form)):
            piece = form.read(self.heads, number)
            body = piece.head + b"".join(data[at : at + length] for at, length in piece.ranges)
            assert form.lengths_bytes[number] == len(body)
            yield body

    def written(self, form: Form, first: int = 0) -> Path:
        """The segments from one on as a file."""
        path = self.heads.with_suffix(".mp4")
        path.write_bytes(form.init + b"".join(list(self.bodies(form))[first:]))
        return path


def cut(source: Path, folder: Path) -> Made:
    heads = folder / "heads"
    return Made(source, heads, segment_mp4(source, heads)[0])


def packets(path: Path, kind: str) -> list[Packet]:
    """What libavformat reads of the first track of a kind, without what it says is not shown; of sound, the packet
    before the first one shown is needed to decode that one.
    """
    with av.open(str(path)) as container:
        stream = next(each for each in container.streams if each.type == kind)
        read: Iterator[Any] = container.demux(stream)
        rows = [
            (
                Packet(each.pts * each.time_base, each.dts * each.time_base, bytes(each), each.is_keyframe),
                each.is_discard,
            )
            for each in read
            if each.size
        ]
    first = next(number for number, (_, hidden) in enumerate(rows) if not hidden)
    priming = [row for row, _ in rows[max(0, first - 1) : first] if kind == "audio"]
    return priming + [row for row, hidden in rows[first:] if not hidden]


def check(made: Made) -> None:
    """Bytes, key flags and distances in time are those of the source, in every form; no offset is negative."""
    index = made.index
    for form, kinds in ((index.muxed, ("video", "audio")), (index.video, ("video",)), (index.audio, ("audio",))):
        if form is None:
            continue
        path = made.written(form)
        moved = set()
        for kind in kinds[: 1 + (index.audio is not None)]:
            source, found = packets(made.source, kind), packets(path, kind)
            assert [each.data for each in found] == [each.data for each in source]
            assert [each.key for each in found] == [each.key for each in source]
            assert all(each.pts >= each.dts >= 0 for each in found)
            # A file whose first packets lie before 0 was shifted; times of both kinds by the same, to a tick of sound.
            moved |= {round(float(one.pts - other.pts), 3) for one, other in zip(found, source, strict=True)}
        assert max(moved) - min(moved) <= 0.001
    assert index.muxed.starts[0] == index.muxed.zero
    assert sum(index.muxed.durations_s) == pytest.approx(index.duration_s, abs=0.001)


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_lesson(tmp_path_factory.mktemp("lesson") / "lesson.mp4")


@pytest.fixture(scope="module")
def made(lesson: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return cut(lesson, tmp_path_factory.mktemp("heads"))


def test_a_lesson_of_two_segments(made: Made) -> None:
    index = made.index
    check(made)
    assert index.independent and len(index.muxed) == len(index.video) == 2 and len(index.pictures) == SECONDS // 2
    assert index.audio is not None and len(index.audio) == 2
    assert index.muxed.durations_s[0] == pytest.approx(6.0, abs=1e-6)
    assert index.duration_s == pytest.approx(SECONDS, abs=0.03)
    kind, _, sound = index.muxed.codecs.partition(",")
    assert kind.startswith("avc1.") and len(kind) == 11 and sound == "mp4a.40.2"
    assert (index.width, index.height) == (320, 240)
    assert made.heads.stat().st_size == index.heads_bytes < made.source.stat().st_size / 8


@pytest.mark.stranger("ffmpeg")
def test_renditions_with_and_without_reordering_agree_about_times(lesson: Path, made: Made, tmp_path: Path) -> None:
    """A player that changes between them goes on at the same picture (RFC 8216 §6.2.4)."""
    plain = tmp_path / "plain.mp4"
    given = ["-c:v", "libx264", "-bf", "0", "-g", "50", "-preset", "ultrafast", "-c:a", "copy", str(plain)]
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(lesson), *given], check=True, timeout=60)
    other = cut(plain, tmp_path)
    times = [[each.pts for each in packets(one.written(one.index.muxed), "video")] for one in (made, other)]
    assert sorted(times[0]) == sorted(times[1])
    assert sorted(times[0])[0] == Fraction(1, 10)


def test_one_range_holds_a_segment_of_an_interleaved_file(made: Made) -> None:
    muxed = made.index.muxed
    rows = [made.index.muxed.read(made.heads, number).ranges for number in range(len(muxed))]
    assert [len(each) for each in rows] == [1, 1]
    (first, length), (second, _) = rows[0][0], rows[1][0]
    assert first + length == second, "nothing is sent twice"


def test_each_segment_begins_with_a_picture_that_needs_no_other(made: Made) -> None:
    for form in (made.index.muxed, made.index.video):
        begun = packets(made.written(form, first=1), "video")[0]
        assert begun.key
        assert begun.pts * form.timescale == form.starts[1]


def test_single_pictures_are_those_that_decoding_can_begin_with(made: Made) -> None:
    pictures = made.index.pictures
    found = packets(made.written(pictures), "video")
    source = [each for each in packets(made.source, "video") if each.key]
    assert [each.data for each in found] == [each.data for each in source]
    assert [each.pts * pictures.timescale for each in found] == pictures.starts.tolist()
    assert pictures.durations_s[:2] == pytest.approx([2.0, 2.0])


@pytest.mark.stranger("ffmpeg")
def test_ffmpeg_decodes_the_same_pictures(made: Made) -> None:
    path = made.written(made.index.muxed)
    ffmpeg_plays(path)
    assert picture_hashes(path) == picture_hashes(made.source)
    assert len(picture_hashes(path)) == SECONDS * FPS


@pytest.mark.parametrize(
    "options",
    [
        {"movflags": "frag_keyframe+empty_moov+default_base_moof"},
        {"movflags": "negative_cts_offsets"},
        {"use_editlist": "0"},
        {"video_track_timescale": "90000", "movie_timescale": "48000"},
    ],
    ids=lambda options: next(iter(options.values())),
)
def test_every_way_of_writing_the_source(lesson: Path, tmp_path: Path, options: dict[str, str]) -> None:
    check(cut(remuxed(lesson, tmp_path / "other.mp4", **options), tmp_path))


ENCODERS = {
    "h265": [
        "-c:v",
        "libx265",
        "-preset",
        "ultrafast",
        "-x265-params",
        "keyint=50:open-gop=0:log-level=none",
        "-tag:v",
        "hvc1",
    ],
    "h265 open": ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "keyint=50:open-gop=1:log-level=none"],
    "h264 open": ["-c:v", "libx264", "-x264-params", "keyint=50:open-gop=1:scenecut=0"],
    "h264 vfr": ["-c:v", "libx264", "-preset", "veryfast", "-g", "50", "-vf", "select='not(mod(n,7)*mod(n,5))'"],
    "h264 one key": ["-c:v", "libx264", "-preset", "ultrafast", "-x264-params", "keyint=infinite:scenecut=0"],
}


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize("kind", ENCODERS)
def test_codecs_and_groups_of_pictures(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source.mp4"
    inputs = ["-f", "lavfi", "-i", "testsrc2=s=160x120:r=25", "-f", "lavfi", "-i", "sine=r=48000"]
    given = ["-t", "20", *ENCODERS[kind], "-fps_mode", "passthrough", "-c:a", "aac", str(source)]
    subprocess.run(["ffmpeg", "-v", "error", *inputs, *given], check=True, timeout=60)
    made = cut(source, tmp_path)
    check(made)
    form = made.index.muxed
    assert form.codecs.startswith({"h265": "hvc1.1.6.L", "h265 open": "hev1.1.6.L"}.get(kind, "avc1."))
    assert made.index.independent == ("open" not in kind)
    assert len(form) == {"h264 vfr": 3, "h264 one key": 1}.get(kind, 4)
    path = made.written(form)
    ffmpeg_plays(path)
    assert picture_hashes(path) == picture_hashes(source)


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize(
    "name",
    [
        "h264_bpyramid_800x640.mp4",
        "h264_firstpts_10s.mp4",
        "h264_editlist_positive_shift.mp4",
        "h264_2byte_nal_length.mp4",
        "h264_empty_second_track.mp4",
        "h264_with_chapters.mp4",
        "hevc_8k_300ms.mp4",
        "hevc_hlg10.mp4",
        "mov_bt601.mov",
        "phone_android_slowmo_vfr.mp4",
        "fmp4_plain.mp4",
        "fmp4_multi_sidx.mp4",
    ],
)
def test_files_that_nobody_here_made(shared_media: Path, tmp_path: Path, name: str) -> None:
    made = cut(shared_media / name, tmp_path)
    check_loosely(made)
    path = made.written(made.index.muxed)
    theirs, ours = first_times(shared_media / name), first_times(path)
    if "audio" in theirs:
        assert ours["audio"] - ours["video"] == pytest.approx(theirs["audio"] - theirs["video"], abs=0.001)
    zero_s = made.index.muxed.zero / made.index.muxed.timescale
    shown_s = max(0.0, min(first_times(shared_media / name, primed=False).values()))
    assert min(ours.values()) - zero_s == pytest.approx(min(theirs.values()) - shown_s, abs=0.001)


def check_loosely(made: Made) -> None:
    """As `check`, for files whose key flags libavformat sees otherwise, or that begin with sound."""
    for form, kinds in ((made.index.muxed, ("video", "audio")), (made.index.video, ("video",))):
        for kind in kinds[: 1 + (made.index.audio is not None)]:
            found = packets(made.written(form), kind)
            assert [each.data for each in found] == [each.data for each in packets(made.source, kind)]
            assert all(each.pts >= each.dts >= 0 for each in found)


def test_other_codecs_are_refused(shared_media: Path, tmp_path: Path) -> None:
    for name in ("vp9_in_mp4.mp4", "h264_twos_pcm.mp4", "opus_fragmented.mp4"):
        with pytest.raises(Unmuxable, match="transcode"):
            cut(shared_media / name, tmp_path)
    for name in ("bad_cut_at_60kB.mp4", "bad_smallest.mp4", "bad_zero_length.mp4"):
        with pytest.raises(MediaError):
            cut(shared_media / name, tmp_path)


def test_index_save_load_and_damage(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "index"
    made.index.save(path)
    assert Fmp4Index.load(path) == made.index
    data = path.read_bytes()
    for at in range(0, len(data), 29):
        for spoiled in (data[:at], data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]):
            path.write_bytes(spoiled)
            with pytest.raises(DamagedIndex, match="make it again"):
                Fmp4Index.load(path)


def test_a_cut_file_of_heads_is_seen(made: Made, tmp_path: Path) -> None:
    short = tmp_path / "heads"
    short.write_bytes(made.heads.read_bytes()[:-1])
    last = made.index.pictures
    with pytest.raises(DamagedIndex):
        last.read(short, len(last) - 1)
    for number in (-1, len(last)):
        with pytest.raises(IndexError):
            last.read(short, number)
    assert np.all(last.durations > 0)
