"""The MP4 index: what our reader finds is what libavformat finds, and the index file gives the same back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest

from fixtures.lessons import make_counted_lesson
from media import DamagedIndex, MediaError, Unmuxable
from media.mp4 import Mp4Index, Mp4Track, load, read_mp4, save
from media.mp4.times import place


class Sample(NamedTuple):
    """One sample, times on the movie's time line."""

    position: int
    size: int
    pts: int
    dts: int
    sync: bool


def ours(track: Mp4Track) -> list[Sample]:
    pts, dts = track.dts + track.composition + track.shift, track.dts + track.shift
    columns = (each.tolist() for each in (track.offsets, track.sizes, pts, dts, track.sync))
    return [Sample(*row) for row in zip(*columns, strict=True) if row[1]]


def theirs(path: Path) -> dict[int, tuple[Fraction, list[Sample]]]:
    """What libavformat says, by the track's id."""
    with av.open(str(path)) as container:
        found: dict[int, tuple[Fraction, list[Sample]]] = {s.id: (s.time_base, []) for s in container.streams}
        packets: Iterator[Any] = container.demux()
        for packet in packets:
            if packet.size:
                row = Sample(packet.pos, packet.size, packet.pts, packet.dts, packet.is_keyframe)
                found[packet.stream.id][1].append(row)
        return found


def read(path: Path) -> Mp4Index:
    return read_mp4(memoryview(path.read_bytes()))


def check_same(path: Path, *, late: int = 0, trimmed: int = 0, more_sync: int = 0) -> Mp4Index:
    """Every packet's place, size, key flag and times; decoding times may differ by one step (negative offsets).

    ``late``: ticks by which libavformat shows the picture earlier, as it moves the first picture shown to 0.
    ``trimmed``: samples behind the edit list's end, which libavformat leaves out.
    ``more_sync``: pictures that a sample group calls a random access point and the list of sync samples does not.
    """
    index, found = read(path), theirs(path)
    for track in index.tracks:
        if track.kind not in ("video", "audio"):
            continue
        scale, packets = found[track.track_id]
        assert scale == Fraction(1, track.timescale)
        mine = {(each.position, each.size): each for each in ours(track)}
        assert len(mine) == len(packets) + trimmed * (track.kind == "audio")
        early = late * (track.kind == "video")
        assert [mine[p.position, p.size].pts - early for p in packets] == [p.pts for p in packets]
        assert len({mine[p.position, p.size].dts - p.dts for p in packets}) <= 1
        differ = [p.sync for p in packets if mine[p.position, p.size].sync != p.sync]
        assert differ == [True] * more_sync * (track.kind == "video")
    return index


def remuxed(source: Path, out: Path, **options: str) -> Path:
    """Copy every packet into another MP4."""
    with av.open(str(source)) as inside, av.open(str(out), "w", format="mp4", options=options) as target:
        streams = {each.index: target.add_stream_from_template(each) for each in inside.streams}
        for packet in inside.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return out


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mp4") / "lesson.mp4"
    return make_counted_lesson(path, frames=130, title="一课", seed=1, size=(320, 180)).path


def test_a_lesson_is_what_libavformat_reads(lesson: Path) -> None:
    index = check_same(lesson)
    video, audio = index.tracks
    assert (video.kind, video.codec, video.codecs[:5]) == ("video", "h264", "avc1.")
    assert (video.width, video.height, video.display_width, video.display_height) == (320, 180, 320, 180)
    assert video.config[0] == 1 and video.sample_entry[4:8] == b"avc1"
    assert (audio.codec, audio.codecs, audio.sample_rate_hz, audio.channels) == ("aac", "mp4a.40.2", 48000, 2)
    assert len(video.dts) == 130 and index.file_bytes == lesson.stat().st_size
    assert np.flatnonzero(video.sync).tolist() == [0, 50, 100]
    assert (video.dts + video.composition + video.shift).min() == 0 == video.shown_from
    assert index.duration_s == pytest.approx(5.2, abs=0.03)


@pytest.mark.parametrize(
    "options",
    [
        {"movflags": "frag_keyframe+empty_moov+default_base_moof"},
        {"movflags": "frag_every_frame+empty_moov"},
        {"movflags": "negative_cts_offsets"},
        {"use_editlist": "0"},
        {"movflags": "frag_keyframe"},
    ],
    ids=lambda options: next(iter(options.values())),
)
def test_every_way_of_writing_it_is_the_same(lesson: Path, tmp_path: Path, options: dict[str, str]) -> None:
    check_same(remuxed(lesson, tmp_path / "other.mp4", **options))


def test_negative_offsets_in_fragments_keep_their_meaning(lesson: Path, tmp_path: Path) -> None:
    """libavformat itself reads them as a shift of the picture alone, so it is no judge here."""
    flags = "frag_keyframe+empty_moov+negative_cts_offsets"
    other = read(remuxed(lesson, tmp_path / "other.mp4", movflags=flags, use_editlist="0")).tracks[0]
    straight = read(lesson).tracks[0]
    assert other.composition.min() < 0
    assert [(other.dts + other.composition).min(), (straight.dts + straight.composition + straight.shift).min()] == [
        0,
        0,
    ]


def test_index_file_gives_everything_back_and_is_small(lesson: Path, tmp_path: Path) -> None:
    index = read(lesson)
    save(index, tmp_path / "index")
    back = load(tmp_path / "index")
    assert (back.file_bytes, back.duration_s) == (index.file_bytes, index.duration_s)
    assert (tmp_path / "index").stat().st_size < 6 * sum(len(each.dts) for each in index.tracks) + 2000
    for one, other in zip(index.tracks, back.tracks, strict=True):
        for name in (each.name for each in fields(Mp4Track)):
            mine, found = getattr(one, name), getattr(other, name)
            if isinstance(mine, np.ndarray):
                assert mine.dtype == found.dtype and np.array_equal(mine, found)
            else:
                assert mine == found


def test_damaged_index_file_is_refused(lesson: Path, tmp_path: Path) -> None:
    path = tmp_path / "index"
    save(read(lesson), path)
    sound = path.read_bytes()
    for at in range(0, len(sound), 37):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 0x41]) + sound[at + 1 :])
        with pytest.raises(DamagedIndex):
            load(path)
        path.write_bytes(sound[:at])
        with pytest.raises(DamagedIndex):
            load(path)


def test_edit_lists() -> None:
    whole = {"movie_hz": 1000, "track_hz": 48000, "begin": 0, "end": 480000}
    assert place([], **whole).shift == 0
    priming = place([(9978, 1024, 0x10000)], **whole)
    assert (priming.shift, priming.shown_from, priming.shown_until) == (-1024, 0, 478944)
    late = place([(1000, -1, 0x10000), (0, 0, 0x10000)], **whole)
    assert (late.shift, late.shown_from, late.shown_until) == (48000, 48000, 528000)
    split = place([(4000, 0, 0x10000), (6000, 192000, 0x10000)], **whole)
    assert (split.shift, split.shown_until) == (0, 480000)
    ended = place([(5000, 0, 0x10000), (1000, -1, 0x10000)], **whole)
    assert (ended.shift, ended.shown_until) == (0, 240000)


@pytest.mark.parametrize(
    ("edits", "why"),
    [
        ([(4000, 0, 0x10000), (1000, 96000, 0x10000)], "repeats"),
        ([(4000, 0, 0x10000), (1000, 240000, 0x10000)], "leaves out"),
        ([(1000, 0, 0x10000), (500, -1, 0x10000), (1000, 48000, 0x10000)], "leaves out"),
        ([(1000, 0, 0x8000)], "speed"),
        ([(1 << 62, 0, 0x10000)], "impossible"),
    ],
)
def test_edit_lists_that_cannot_be_said_are_refused(edits: list[tuple[int, int, int]], why: str) -> None:
    with pytest.raises(Unmuxable, match=why):
        place(edits, movie_hz=1000, track_hz=48000, begin=0, end=480000)


def real_media() -> Path | None:
    given = os.environ.get("SHARED_MEDIA")
    folder = Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "media"
    return folder if folder.is_dir() else None


@pytest.mark.skipif(real_media() is None, reason="no folder of real media (set SHARED_MEDIA)")
def test_real_files_are_what_libavformat_reads() -> None:
    folder = real_media()
    assert folder is not None
    refused, read_as_theirs = {}, 0
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".mp4", ".mov", ".3gp"):
            continue
        try:
            index = read(path)
        except MediaError as error:
            refused[path.name] = str(error)
            continue
        if any(each.codec == "twos" for each in index.tracks):
            continue  # PCM is cut into samples in another way
        check_same(path, **ODD.get(path.name, {}))
        read_as_theirs += 1
    assert refused.keys() == {
        "bad_cut_at_60kB.mp4",
        "bad_missing_stsd.mp4",
        "bad_smallest.mp4",
        "bad_zero_length.mp4",
        "fmp4_cenc_clearkey.mp4",
    }
    assert read_as_theirs > 25


ODD: dict[str, dict[str, int]] = {
    "mov_bt601.mov": {"trimmed": 2},
    "phone_hevc_editlist_rot_meta.mp4": {"late": 7},
    "h264_counter_timestamps_360p.mp4": {"more_sync": 1},
}
"""Where libavformat goes its own way: see `check_same`."""
