"""Fragmented MP4: segments as byte ranges, judged by ffmpeg and by the boxes themselves."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path

import msgspec
import pytest

from media import DamagedIndex, Unmuxable
from media.fmp4 import Fmp4Index, fragment
from media.fmp4_boxes import children, find, read_moof, track_scales, walk_file
from tests.unit.test_ts_mux import FPS, SECONDS, ffmpeg_plays, first_times, frame_counts, make_lesson, picture_hashes


@pytest.fixture(scope="module")
def lesson(tmp_path_factory) -> Path:
    return make_lesson(tmp_path_factory.mktemp("lesson") / "lesson.mp4")


@pytest.fixture(scope="module")
def made(lesson) -> tuple[Path, Fmp4Index]:
    out = lesson.with_suffix(".frag.mp4")
    return out, fragment(lesson, out)


def write_playlist(media: Path, index: Fmp4Index) -> Path:
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-PLAYLIST-TYPE:VOD"]
    lines += [f"#EXT-X-TARGETDURATION:{math.ceil(max(s.duration_s for s in index.segments))}"]
    lines += [f'#EXT-X-MAP:URI="{media.name}",BYTERANGE="{index.init_length_bytes}@0"']
    for s in index.segments:
        lines += [f"#EXTINF:{s.duration_s:.6f},", f"#EXT-X-BYTERANGE:{s.length_bytes}@{s.offset_bytes}", media.name]
    path = media.with_suffix(".m3u8")
    path.write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    return path


def test_segments_fill_the_file_and_the_lesson(made):
    path, index = made
    assert len(index.segments) == 2
    assert index.segments[0].offset_bytes == index.init_length_bytes
    assert (
        index.segments[0].length_bytes + index.segments[1].length_bytes + index.init_length_bytes == index.length_bytes
    )
    assert path.stat().st_size == index.length_bytes
    assert index.segments[0].start_s == 0.0
    assert index.segments[1].start_s == index.segments[0].duration_s == pytest.approx(6.0, abs=1e-6)
    assert sum(s.duration_s for s in index.segments) == pytest.approx(index.duration_s)
    assert index.duration_s == pytest.approx(SECONDS, abs=0.03)


def test_codecs_and_size(made, lesson):
    _, index = made
    kind, _, sound = index.codecs.partition(",")
    assert kind.startswith("avc1.") and len(kind) == 11 and sound == "mp4a.40.2"
    assert (index.width, index.height) == (320, 240)


def test_each_segment_is_whole_fragments_from_an_idr_on_and_times_are_continuous(made):
    path, index = made
    data = path.read_bytes()
    with path.open("rb") as file:
        boxes = list(walk_file(file, len(data)))
    assert [b.kind for b in boxes[:2]] == ["ftyp", "moov"]
    assert {b.kind for b in boxes[2:]} == {"moof", "mdat"}
    scales = track_scales(data[boxes[1].offset_bytes + 8 : boxes[1].offset_bytes + boxes[1].length_bytes])
    moofs = {b.offset_bytes: read_moof(data[b.offset_bytes + 8 : b.offset_bytes + b.length_bytes])
             for b in boxes if b.kind == "moof"}  # fmt: skip
    for segment in index.segments:
        picture = next(r for r in moofs[segment.offset_bytes] if scales[r.track_id][0] == "vide")
        assert picture.starts_with_sync
        shown = (picture.decode_time + picture.composition_offset) / scales[picture.track_id][1]
        assert shown - index.media_start_s == pytest.approx(segment.start_s, abs=1e-6)


@pytest.mark.stranger("ffmpeg")
def test_ffmpeg_plays_the_playlist(made, lesson):
    path, index = made
    playlist = write_playlist(path, index)
    ffmpeg_plays(playlist)
    assert picture_hashes(playlist) == picture_hashes(lesson)
    assert len(picture_hashes(path)) == SECONDS * FPS
    counts, source = frame_counts(path), frame_counts(lesson)
    assert counts["video"] == source["video"] and counts["audio"] == source["audio"]


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize(
    "name",
    [
        "h264_bpyramid_800x640.mp4",
        "h264_firstpts_10s.mp4",
        "h264_editlist_positive_shift.mp4",
        "h264_2byte_nal_length.mp4",
    ],
)
def test_files_that_nobody_here_made(shared_media, tmp_path, name):
    out = tmp_path / "out.mp4"
    index = fragment(shared_media / name, out)
    playlist = write_playlist(out, index)
    ffmpeg_plays(playlist)
    assert len(picture_hashes(playlist)) == len(picture_hashes(shared_media / name))
    theirs, ours = first_times(shared_media / name), first_times(out)
    if "audio" in theirs:
        assert ours["audio"] - ours["video"] == pytest.approx(theirs["audio"] - theirs["video"], abs=0.001)
    assert min(ours.values()) == pytest.approx(index.media_start_s, abs=0.001)


def test_other_codecs_are_refused(shared_media, tmp_path):
    for name in ("vp9_in_mp4.mp4", "bad_cut_at_60kB.mp4", "bad_smallest.mp4", "h264_twos_pcm.mp4"):
        with pytest.raises(Unmuxable, match="transcode"):
            fragment(shared_media / name, tmp_path / "out.mp4")


@pytest.mark.stranger("ffmpeg")
def test_box_walker_agrees_with_ffprobe_about_a_foreign_fragmented_file(tmp_path, lesson):
    out = tmp_path / "ffmpeg.mp4"
    flags = ["-c", "copy", "-movflags", "frag_keyframe+empty_moov+default_base_moof"]
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(lesson), *flags, str(out)], check=True)
    data = out.read_bytes()
    with out.open("rb") as file:
        boxes = list(walk_file(file, len(data)))
    moov = next(b for b in boxes if b.kind == "moov")
    scales = track_scales(data[moov.offset_bytes + 8 : moov.offset_bytes + moov.length_bytes])
    assert [kind for kind, _ in scales.values()] == ["vide", "soun"]
    moofs = [b for b in boxes if b.kind == "moof"]
    runs = [read_moof(data[b.offset_bytes + 8 : b.offset_bytes + b.length_bytes]) for b in moofs]
    keys = [r for each in runs for r in each if scales[r.track_id][0] == "vide" and r.starts_with_sync]
    assert len(keys) == SECONDS // 2
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=dts,flags", "-of", "csv=p=0", out],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    theirs = [int(line.split(",")[0]) for line in probe.stdout.splitlines() if line.split(",")[1].startswith("K")]
    assert [r.decode_time - keys[0].decode_time for r in keys] == [t - theirs[0] for t in theirs]


@pytest.mark.parametrize("data", [b"\0\0\0\x07free", b"\0\0\0\x20free", b"\0\0\0", b"\0\0\0\1free" + b"\0" * 8])
def test_impossible_boxes(tmp_path, data):
    path = tmp_path / "boxes"
    path.write_bytes(data)
    with path.open("rb") as file, pytest.raises(Unmuxable, match="impossible length"):
        list(walk_file(file, len(data)))
    with pytest.raises(Unmuxable, match="impossible length"):
        list(children(data))
    with pytest.raises(Unmuxable):
        find(b"", "moof")


def test_index_save_load_and_damage(made, tmp_path):
    _, index = made
    path = tmp_path / "i"
    index.save(path)
    assert Fmp4Index.load(path) == index
    data = path.read_bytes()
    for length in range(0, len(data), 11):
        path.write_bytes(data[:length])
        with pytest.raises(DamagedIndex):
            Fmp4Index.load(path)
    for changes in ({"version": 9}, {"segments": index.segments[:1]}, {"segments": index.segments[1:]}):
        msgspec.structs.replace(index, **changes).save(path)
        with pytest.raises(DamagedIndex, match="make it again"):
            Fmp4Index.load(path)
