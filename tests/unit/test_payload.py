"""Payload of MP4 files: what our reader finds is what libavformat finds, in made, real, hand-made and hostile files."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from fixtures.lessons import make_counted_lesson
from media.payload import NotMp4, OffsetTable, Payload, PayloadTrack, read_payload
from media.payload.boxes import BoxBudget

CODED = {
    "h264": lambda head: 1 <= head & 31 <= 5,
    "hevc": lambda head: head >> 1 & 63 <= 31,
}
Extent = tuple[int, int, int]
"""Sample number, position, length."""


def extents(track: PayloadTrack) -> list[Extent]:
    return list(zip(track.samples.tolist(), track.starts.tolist(), track.lengths.tolist(), strict=True))


def payload_bytes(track: PayloadTrack, data: bytes) -> list[bytes]:
    """The coded bytes of each sample."""
    found: dict[int, bytes] = {}
    for sample, start, length in extents(track):
        found[sample] = found.get(sample, b"") + data[start : start + length]
    return list(found.values())


def check_sound(payload: Payload, file_bytes: int) -> None:
    """What holds for every payload, whatever the file was."""
    taken = [(table.position, table.count * table.width) for table in payload.offset_tables]
    for track in payload.tracks:
        kinds = [each.dtype.name for each in (track.starts, track.lengths, track.samples, track.sync)]
        assert kinds == ["int64", "int64", "int32", "bool"]
        assert len(track.starts) == len(track.lengths) == len(track.samples)
        assert (track.lengths > 0).all() and (np.diff(track.samples) >= 0).all()
        assert len(track.samples) == 0 or (track.samples[0] >= 0 and track.samples[-1] < len(track.sync))
        taken += [(start, length) for _, start, length in extents(track)]
    end = 0
    for start, length in sorted(taken):
        assert start >= end and length > 0
        end = start + length
    assert end <= file_bytes


# A second opinion: libavformat says where samples lie, and a plain walk over each packet where its slices lie.


def codec_name(stream: Any) -> str:
    return stream.codec_context.name if stream.codec_context else ""


def nal_length_bytes(stream: Any) -> int:
    """From avcC or hvcC; 0 for all other codecs."""
    name, extra = codec_name(stream), stream.codec_context and stream.codec_context.extradata
    if name not in CODED or not extra or extra[0] != 1:
        return 0
    return 1 + int(extra[4 if name == "h264" else 21] & 3)


def slices(packet: bytes, length_bytes: int, coded: Callable[[int], bool]) -> list[tuple[int, int]] | None:
    """Offset and length of the rows of coded slices in a packet; None when its lengths do not add up."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < len(packet):
        end = at + length_bytes + int.from_bytes(packet[at : at + length_bytes], "big")
        if at + length_bytes > len(packet) or end > len(packet):
            return None
        if end > at + length_bytes and coded(packet[at + length_bytes]):
            if found and sum(found[-1]) == at:
                found[-1] = (found[-1][0], end - found[-1][0])
            else:
                found.append((at, end - at))
        at = end
    return found


@dataclass(frozen=True)
class Seen:
    """A track as libavformat reads it; packets as position, bytes, key or not."""

    kind: str
    codec: str
    length_bytes: int
    packets: list[tuple[int, bytes, bool]]


def seen_by_libavformat(path: Path) -> list[Seen]:
    # As the boxes say it: no edit lists, and no key pictures that only a parser of the stream sees.
    options = {"advanced_editlist": "0", "ignore_editlist": "1", "fflags": "noparse"}
    with av.open(str(path), options=options, metadata_errors="replace") as file:
        found = [Seen(stream.type, codec_name(stream), nal_length_bytes(stream), []) for stream in file.streams]
        for packet in file.demux():
            if packet.size:
                assert packet.pos is not None
                found[packet.stream_index].packets.append((packet.pos, bytes(packet), packet.is_keyframe))
    return found


def check_against_libavformat(path: Path, *, blocks: int = -1, silent: int = -1) -> Payload:
    """Compare extents and random access points with those that libavformat finds.

    ``blocks``: the track of PCM; ``silent``: the track of chapters, of which libavformat gives no packets.
    """
    data = path.read_bytes()
    payload = read_payload(memoryview(data))
    check_sound(payload, len(data))
    there = seen_by_libavformat(path)
    assert len(there) == len(payload.tracks)
    for number, (seen, track) in enumerate(zip(there, payload.tracks, strict=True)):
        assert track.kind == (seen.kind if seen.kind in ("video", "audio") else "other")
        assert all(data[at : at + len(packet)] == packet for at, packet, _ in seen.packets)
        if number == blocks:
            assert covered(extents(track)) == covered([(0, at, len(packet)) for at, packet, _ in seen.packets])
            continue
        if number == silent:
            assert seen.packets == [] and len(track.starts) > 0
            continue
        # libavformat gives no packets for samples of no bytes.
        samples = list(range(len(track.sync)))
        if len(samples) != len(seen.packets):
            samples = sorted(set(track.samples.tolist()))
        assert len(samples) == len(seen.packets)
        wanted: list[Extent] = []
        for sample, (position, packet, _) in zip(samples, seen.packets, strict=True):
            rows = slices(packet, seen.length_bytes, CODED[seen.codec]) if seen.length_bytes else None
            rows = [(0, len(packet))] if rows is None else rows
            wanted += [(sample, position + at, length) for at, length in rows]
        assert extents(track) == wanted
        if track.kind == "video":
            assert [bool(track.sync[sample]) for sample in samples] == [key for _, _, key in seen.packets]
    return payload


def covered(taken: list[Extent]) -> list[tuple[int, int]]:
    """The bytes that extents cover, as joined ranges."""
    found: list[tuple[int, int]] = []
    for _, start, length in sorted(taken, key=lambda each: each[1]):
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], start + length)
        else:
            found.append((start, start + length))
    return found


# Files that libavformat writes.


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """H.264 with B-frames and AAC, faststart."""
    path = tmp_path_factory.mktemp("payload") / "lesson.mp4"
    make_counted_lesson(path, frames=180, title="课", seed=1, size=(320, 180))
    return path


def remux(source: Path, target: Path, flags: str, *, container: str = "mp4", form: str | None = None) -> Path:
    """Copy all streams of a file, or of a list of files (form "concat")."""
    given = {"safe": "0"} if form else {}
    with (
        av.open(str(source), format=form, options=given) as file,
        av.open(str(target), "w", format=container, options={"movflags": flags} if flags else {}) as out,
    ):
        streams = {each.index: out.add_stream_from_template(each) for each in file.streams}
        for packet in file.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    return target


def encode(path: Path, codec: str, options: dict[str, str], *, container: str = "mp4", sound: str = "") -> Path:
    """Thirty moving pictures, and sound if wanted."""
    random = np.random.default_rng(5)
    with av.open(str(path), "w", format=container) as out:
        video: Any = out.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt, video.options = 320, 192, "yuv420p", options
        video.codec_context.thread_count = 2
        audio: Any = out.add_stream(sound, rate=48000, layout="stereo") if sound else None
        ground = random.integers(0, 255, (288 * 2, 320), np.uint8)
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(ground[number : number + 288]), format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
            if audio:
                pcm = random.integers(-9000, 9000, (1, 2 * 1920)).astype(np.int16)
                piece = av.AudioFrame.from_ndarray(pcm, format="s16", layout="stereo")
                piece.sample_rate, piece.pts, piece.time_base = 48000, number * 1920, Fraction(1, 48000)
                out.mux(audio.encode(piece))
        out.mux(video.encode(None))
        if audio:
            out.mux(audio.encode(None))
    return path


@pytest.mark.parametrize(
    "flags",
    [
        "",
        "faststart",
        "frag_keyframe+empty_moov+default_base_moof",
        "frag_keyframe+empty_moov",
        "frag_keyframe+empty_moov+omit_tfhd_offset",
        "frag_keyframe+empty_moov+separate_moof",
        "frag_every_frame+empty_moov+default_base_moof",
        "frag_keyframe",
        "hybrid_fragmented",
    ],
)
def test_every_layout_of_a_lesson_has_the_same_payload(lesson: Path, tmp_path: Path, flags: str) -> None:
    path = remux(lesson, tmp_path / "copy.mp4", flags)
    payload = check_against_libavformat(path)
    first, ours = lesson.read_bytes(), path.read_bytes()
    wanted = read_payload(memoryview(first))
    assert [track.kind for track in payload.tracks] == ["video", "audio"]
    for track, other in zip(payload.tracks, wanted.tracks, strict=True):
        assert payload_bytes(track, ours) == payload_bytes(other, first)
        assert track.kind != "video" or track.sync.tolist() == other.sync.tolist()
    assert len(payload.offset_tables) == (0 if "empty_moov" in flags else 2)


X264 = {"preset": "ultrafast", "crf": "30"}
X265 = X264


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {**X264, "x264-params": "aud=1:slices=4:keyint=10"}),
        ("libx264", {**X264, "x264-params": "nal-hrd=cbr:vbv-maxrate=900:vbv-bufsize=300:bitrate=900:filler=1"}),
        ("libx265", {"preset": "ultrafast", "crf": "30", "x265-params": "log-level=none:keyint=10:aud=1:slices=3"}),
        ("libx265", {"preset": "ultrafast", "crf": "30", "x265-params": "log-level=none:repeat-headers=1:keyint=8"}),
        ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
        ("mpeg4", {}),
    ],
)
def test_every_codec(tmp_path: Path, codec: str, options: dict[str, str]) -> None:
    path = encode(tmp_path / "one.mp4", codec, options)
    (track,) = check_against_libavformat(path).tracks
    assert len(track.sync) == 30 and set(track.samples.tolist()) == set(range(30))
    fragmented = remux(path, tmp_path / "two.mp4", "frag_keyframe+empty_moov+default_base_moof")
    (other,) = check_against_libavformat(fragmented).tracks
    assert payload_bytes(track, path.read_bytes()) == payload_bytes(other, fragmented.read_bytes())


def test_slices_are_joined_and_what_stands_between_is_left_out(tmp_path: Path) -> None:
    path = encode(tmp_path / "one.mp4", "libx264", {**X264, "x264-params": "aud=1:slices=4:keyint=10"})
    (track,) = read_payload(memoryview(path.read_bytes())).tracks
    assert len(track.starts) == 30, "one extent a picture, though each has four slices behind a delimiter"
    assert track.sync.nonzero()[0].tolist() == [0, 10, 20]
    assert all(path.read_bytes()[start + 4] & 31 in (1, 5) for start in track.starts.tolist())


def test_pcm_is_taken_by_chunks(tmp_path: Path) -> None:
    path = encode(tmp_path / "one.mov", "libx264", X264, container="mov", sound="pcm_s16be")
    video, audio = check_against_libavformat(path, blocks=1).tracks
    assert audio.kind == "audio" and len(audio.sync) == len(audio.starts) < 100 and audio.sync.all()
    assert int(audio.lengths.sum()) == 30 * 1920 * 4
    assert len(video.sync) == 30


def ffmpeg(*words: object) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *map(str, words)], check=True, timeout=20)


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_joining_files_changes_no_payload(lesson: Path, tmp_path: Path, codec: str) -> None:
    first = lesson
    if codec == "libx265":
        first = encode(tmp_path / "first.mp4", codec, {**X265, "x265-params": "log-level=none:keyint=25"}, sound="aac")
    other = encode(
        tmp_path / "other.mp4", codec, {**X265, f"{codec[3:]}-params": "log-level=none:keyint=10"}, sound="aac"
    )
    parts = [first, other, first]
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"file '{each}'\n" for each in parts))
    path = tmp_path / "joined.mp4"
    ffmpeg("-f", "concat", "-safe", "0", "-i", listed, "-c", "copy", "-movflags", "faststart", path)
    data = path.read_bytes()
    payload = check_against_libavformat(path)
    for number, track in enumerate(payload.tracks):
        wanted: list[bytes] = []
        for each in parts:
            whole = each.read_bytes()
            wanted += payload_bytes(read_payload(memoryview(whole)).tracks[number], whole)
        assert payload_bytes(track, data) == wanted
    if codec == "libx264":
        firsts = {packet[4] & 31 for _, packet, key in seen_by_libavformat(path)[0].packets if key}
        assert 7 in firsts, "without parameter sets in front of pictures nothing was tested"


@pytest.mark.stranger("ffmpeg")
def test_subtitles_are_a_track_of_their_own(lesson: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.srt"
    text.write_text("1\n00:00:01,000 --> 00:00:02,000\n你好\n\n2\n00:00:03,000 --> 00:00:04,000\n第二句\n")
    path = tmp_path / "text.mp4"
    ffmpeg("-i", lesson, "-i", text, "-map", "0", "-map", "1", "-c", "copy", "-c:s", "mov_text", path)
    payload = check_against_libavformat(path)
    data, before = path.read_bytes(), lesson.read_bytes()
    assert [track.kind for track in payload.tracks] == ["video", "audio", "other"]
    assert "第二句".encode() in b"".join(payload_bytes(payload.tracks[2], data))
    for track, same in zip(payload.tracks, read_payload(memoryview(before)).tracks, strict=False):
        assert payload_bytes(track, data) == payload_bytes(same, before)


def test_nothing_keeps_the_file_mapped(lesson: Path) -> None:
    with lesson.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        view = memoryview(mapped)
        payload = read_payload(view)
        view.release()
        mapped.close()  # fails when an array still looks into it
    assert len(payload.tracks) == 2


# Files made by hand: what no muxer at hand writes, and what no muxer should.


def box(kind: str, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind.encode()) + body


def full(kind: str, *numbers: int, flags: int = 0, rest: bytes = b"") -> bytes:
    """A box with flags and 32-bit numbers."""
    return box(kind, struct.pack(f">I{len(numbers)}I", flags, *(number & 0xFFFFFFFF for number in numbers)), rest)


def avc(nal_bytes: int) -> bytes:
    return box("avc1", bytes(78), box("avcC", bytes([1, 66, 0, 30, 0xFC | nal_bytes - 1, 0xE0, 0])))


def hevc(nal_bytes: int) -> bytes:
    return box("hvc1", bytes(78), box("hvcC", b"\1", bytes(20), bytes([0xFC | nal_bytes - 1, 0])))


def trak(entry: bytes, *tables: bytes, handler: str = "vide", number: int = 1) -> bytes:
    stbl = box("stbl", full("stsd", 1, rest=entry), *tables)
    mdia = box("mdia", full("hdlr", 0, rest=handler.encode() + bytes(13)), box("minf", stbl))
    return box("trak", full("tkhd", 0, 0, number), mdia)


def stsz(*sizes: int) -> bytes:
    return full("stsz", 0, len(sizes), *sizes)


def listed(kind: str, *numbers: int, fields: int = 1) -> bytes:
    return full(kind, len(numbers) // fields, *numbers)


def no_tables() -> tuple[bytes, ...]:
    return stsz(), listed("stsc"), listed("stco")


TEXT = box("tx3g", bytes(38))
DATA = 8
"""Where the media data begin in hand-made files: behind the head of the mdat, which comes first."""


def movie(media: bytes, *inside: bytes) -> bytes:
    return box("mdat", media) + box("moov", *inside)


def one_track(media: bytes, entry: bytes, *sizes: int, more: bytes = b"") -> PayloadTrack:
    """Read a file of one track whose samples lie back to back in one chunk."""
    tables = stsz(*sizes), listed("stsc", 1, len(sizes), 1, fields=3), listed("stco", DATA), more
    data = movie(media, trak(entry, *tables))
    payload = read_payload(memoryview(data))
    check_sound(payload, len(data))
    return payload.tracks[0]


def nal(length_bytes: int, *units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(length_bytes, "big") + unit for unit in units)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize(("entry", "slice_", "other"), [(avc, b"\x65abc", b"\x67p"), (hevc, b"\x26\1abc", b"\x42\1p")])
def test_lengths_of_every_size(size: int, entry: Callable[[int], bytes], slice_: bytes, other: bytes) -> None:
    samples = [
        nal(size, slice_),
        nal(size, other, slice_, slice_, other, slice_, other),
        nal(size, other, other),
        nal(size, b"", slice_, b""),
    ]
    track = one_track(b"".join(samples), entry(size), *map(len, samples))
    unit, gap = size + len(slice_), size + len(other)
    second = DATA + len(samples[0])
    last = DATA + sum(map(len, samples[:3]))
    assert extents(track) == [
        (0, DATA, unit),
        (1, second + gap, 2 * unit),
        (1, second + gap + 2 * unit + gap, unit),
        (3, last + size, unit),
    ]


@pytest.mark.parametrize(
    "sample",
    [
        b"\0\0\0",  # no room for a length
        nal(4, b"\x65abc") + b"\0\0",  # rest too short
        nal(4, b"\x67abc", b"\x65abc")[:-1],  # second unit cut
        b"\xff\xff\xff\xff\x65",  # length beyond everything
        b"\0\0\0\1\x67abc\0\0\0\1\x65abc",  # start codes in place of lengths
        nal(4, *[b"\x65", b"\x67"] * 3000),  # more units than a picture has
    ],
)
def test_a_sample_that_does_not_add_up_is_whole(sample: bytes) -> None:
    good = nal(4, b"\x67p", b"\x65abc")
    track = one_track(good + sample + good, avc(4), len(good), len(sample), len(good))
    at = DATA + len(good)
    assert extents(track) == [(0, DATA + 6, 8), (1, at, len(sample)), (2, at + len(sample) + 6, 8)]


def test_many_units_are_still_a_picture() -> None:
    sample = nal(4, *[b"\x65", b"\x67"] * 2000)
    assert len(one_track(sample, avc(4), len(sample)).starts) == 2000


def test_more_samples_than_one_block_of_the_walk() -> None:
    unit, count = nal(1, b"\x67", b"\x65"), 300_000
    track = one_track(unit * count, avc(1), *[len(unit)] * count)
    assert (track.samples == np.arange(count)).all()
    assert (track.starts == DATA + 2 + 4 * np.arange(count)).all() and (track.lengths == 2).all()


def test_differing_descriptions_are_taken_whole() -> None:
    sample = nal(4, b"\x67p", b"\x65abc")
    both = avc(4) + avc(2)
    stbl = full("stsd", 2, rest=both), stsz(14), listed("stsc", 1, 1, 1, fields=3), listed("stco", DATA)
    inner = box("mdia", full("hdlr", 0, rest=b"vide"), box("minf", box("stbl", *stbl)))
    payload = read_payload(memoryview(movie(sample, box("trak", inner))))
    assert extents(payload.tracks[0]) == [(0, DATA, 14)]


def test_samples_over_chunks() -> None:
    """Chunks of 2, 2, 1 and 3 samples, out of order in the file, one sample empty, co64, with and without stss."""
    sizes, chunks = [5, 6, 7, 0, 9, 10, 11, 12], [100, 60, 200, 8]
    tables = [
        stsz(*sizes),
        listed("stsc", 1, 2, 1, 3, 1, 1, 4, 3, 1, fields=3),
        full("co64", 4, rest=struct.pack(">4Q", *chunks)),
        listed("stss", 0, 1, 5, 99),
    ]
    wanted = [(0, 100, 5), (1, 105, 6), (2, 60, 7), (4, 200, 9), (5, 8, 10), (6, 18, 11), (7, 29, 12)]
    data = movie(bytes(300), trak(TEXT, *tables, handler="text"))
    payload = read_payload(memoryview(data))
    assert extents(payload.tracks[0]) == wanted and payload.tracks[0].kind == "other"
    assert payload.tracks[0].sync.tolist() == [True, False, False, False, True, False, False, False]
    assert payload.offset_tables == (OffsetTable(data.index(b"co64") + 12, 4, 8),)
    assert read_payload(memoryview(movie(bytes(300), trak(TEXT, *tables[:3])))).tracks[0].sync.tolist() == [True] * 8


@pytest.mark.parametrize(
    ("bits", "packed", "sizes"),
    [(4, b"\x3f\x10", [3, 15, 1]), (8, b"\3\xff\1", [3, 255, 1]), (16, b"\0\3\1\0\0\1", [3, 256, 1])],
)
def test_compact_sizes(bits: int, packed: bytes, sizes: list[int]) -> None:
    table = full("stz2", bits, 3, rest=packed), listed("stsc", 1, 3, 1, fields=3), listed("stco", DATA)
    track = read_payload(memoryview(movie(bytes(300), trak(TEXT, *table)))).tracks[0]
    assert track.lengths.tolist() == sizes and track.starts.tolist() == [8, 8 + sizes[0], 8 + sizes[0] + sizes[1]]


def test_offset_tables_ascend_and_empty_ones_are_left_out() -> None:
    chunk = listed("stsc", 1, 1, 1, fields=3)
    tracks = [
        trak(TEXT, stsz(4), chunk, listed("stco", 12), number=1),
        trak(TEXT, *no_tables(), number=2),
        trak(TEXT, stsz(4), chunk, full("co64", 1, rest=struct.pack(">Q", 8)), number=3),
    ]
    data = movie(bytes(8), *tracks)
    payload = read_payload(memoryview(data))
    wide, narrow = data.index(b"co64") + 12, data.index(b"stco") + 12
    assert payload.offset_tables == (OffsetTable(narrow, 1, 4), OffsetTable(wide, 1, 8))
    assert [len(track.starts) for track in payload.tracks] == [1, 0, 1]


def test_first_moov_counts_and_rubbish_at_the_end_is_ignored() -> None:
    good = movie(b"abcd", trak(TEXT, stsz(4), listed("stsc", 1, 1, 1, fields=3), listed("stco", DATA)))
    for end in (box("moov"), b"\xff" * 20, b"\0" * 3, b"\0\0\0\0free", struct.pack(">I4sQ", 1, b"free", 16)):
        assert extents(read_payload(memoryview(good + end)).tracks[0]) == [(0, DATA, 4)]


def test_zeros_end_a_container() -> None:
    track = trak(TEXT, stsz(4), listed("stsc", 1, 1, 1, fields=3), listed("stco", DATA))
    assert extents(read_payload(memoryview(movie(b"abcd", track, bytes(12)))).tracks[0]) == [(0, DATA, 4)]


def test_boxes_are_counted() -> None:
    data, budget = memoryview(box("free") * 10), BoxBudget(15)
    assert len(list(budget.walk(data, 0, 80))) == 10
    with pytest.raises(NotMp4, match="boxes"):
        list(budget.walk(data, 0, 80))
    with pytest.raises(NotMp4, match="boxes"):
        list(BoxBudget(9).walk_file(data))


MOOF_BASE, NOT_SYNC, DEPENDS = 0x20000, 0x10000, 0x1000000


def fragmented(*fragments: bytes, tables: tuple[bytes, ...] = (), media: bytes = b"") -> bytes:
    trex = full("trex", 1, 1, 0, 7, NOT_SYNC), full("trex", 2, 1, 0, 3, 0)
    first = trak(TEXT, *(tables or no_tables()), number=1)
    moov = box("moov", first, trak(TEXT, *no_tables(), number=2), box("mvex", *trex))
    return box("mdat", media) + moov + b"".join(fragments)


def test_fragments() -> None:
    """Every way to say where samples are, how long, and whether decoding can begin there."""
    table = stsz(4, 4), listed("stsc", 1, 2, 1, fields=3), listed("stco", DATA), listed("stss", 1)
    head = fragmented(tables=table, media=b"tablesin")
    zero = len(head)
    own = struct.pack(">6I", 5, NOT_SYNC, 6, 0, 8, DEPENDS)
    first = box(
        "moof",
        box(
            "traf",
            full("tfhd", 1, flags=MOOF_BASE),
            full("trun", 2, 300, flags=0x1),  # sizes and flags of trex
            full("trun", 3, 0, flags=0x4 | 0x200 | 0x400, rest=own),  # behind it, first sample with flags of its own
        ),
        box("traf", full("tfhd", 2, 9, flags=0x10), full("trun", 1)),  # goes on behind, size of its tfhd
    )
    base = zero + len(first)
    second = box(
        "moof",
        box(
            "traf",
            full("tfhd", 2, 0, 1000, 1, 77, 5, NOT_SYNC, flags=0x1 | 0x2 | 0x8 | 0x10 | 0x20),  # base data offset
            full("trun", 1, -100, flags=0x1),
            full("trun", 1, 50, 33, 12, 44, flags=0x1 | 0x100 | 0x200 | 0x800),
        ),
        box("traf", full("tfhd", 1, flags=MOOF_BASE), full("trun", 1, 500, 0, flags=0x1 | 0x4)),
    )
    data = head + first + second + bytes(2000)
    payload = read_payload(memoryview(data))
    check_sound(payload, len(data))
    one, two = payload.tracks
    at = zero + 300
    assert extents(one) == [
        (0, DATA, 4),
        (1, DATA + 4, 4),
        (2, at, 7),
        (3, at + 7, 7),
        (4, at + 14, 5),
        (5, at + 19, 6),
        (6, at + 25, 8),
        (7, base + 500, 7),
    ]
    assert one.sync.tolist() == [True, False, False, False, True, True, False, True]
    assert extents(two) == [(0, at + 33, 9), (1, 900, 5), (2, 1050, 12)]
    assert two.sync.tolist() == [True, False, False]


CHUNK = listed("stsc", 1, 1, 1, fields=3)


def from_here_to_the_end() -> bytes:
    length = len(movie(b"abcd", trak(TEXT, stsz(1), CHUNK, listed("stco", DATA))))
    return movie(b"abcd", trak(TEXT, stsz(length - DATA), CHUNK, listed("stco", DATA)))


BAD: dict[str, tuple[bytes, str]] = {
    "two tracks share a sample": (
        movie(b"abcd", *[trak(TEXT, stsz(4), CHUNK, listed("stco", DATA), number=n) for n in (1, 2)]),
        "overlap",
    ),
    "samples overlap by a byte": (
        movie(b"abcdef", *[trak(TEXT, stsz(4), CHUNK, listed("stco", at), number=at) for at in (8, 11)]),
        "overlap",
    ),
    "sample in the table of offsets": (from_here_to_the_end(), "overlap"),
    "sample behind the end": (movie(b"abcd", trak(TEXT, stsz(4), CHUNK, listed("stco", 9999))), "outside"),
    "sample runs over the end": (movie(b"abcd", trak(TEXT, stsz(2**32 - 1), CHUNK, listed("stco", 8))), "outside"),
    "offset of 64 bits": (
        movie(b"abcd", trak(TEXT, stsz(4), CHUNK, full("co64", 1, rest=b"\xff" * 8))),
        "outside",
    ),
    "offset whose end is beyond 63 bits": (
        movie(b"abcd", trak(TEXT, stsz(4), CHUNK, full("co64", 1, rest=b"\x7f" + b"\xff" * 7))),
        "outside",
    ),
    "sizes do not fit": (movie(b"", trak(TEXT, full("stsz", 0, 1), CHUNK, listed("stco", 8))), "claims"),
    "offsets do not fit": (movie(b"", trak(TEXT, stsz(1), CHUNK, full("stco", 2, 8))), "claims"),
    "runs do not fit": (movie(b"", trak(TEXT, stsz(1), full("stsc", 2, 1, 1, 1), listed("stco", 8))), "claims"),
    "sync do not fit": (
        movie(b"", trak(TEXT, stsz(1), CHUNK, listed("stco", 8), full("stss", 2, 1))),
        "claims",
    ),
    "chunks begin at 2": (
        movie(b"a", trak(TEXT, stsz(1), listed("stsc", 2, 1, 1, fields=3), listed("stco", 8))),
        "begin",
    ),
    "chunks go back": (
        movie(b"a", trak(TEXT, stsz(1), listed("stsc", 1, 1, 1, 1, 1, 1, fields=3), listed("stco", 8))),
        "ascend",
    ),
    "chunks too few": (movie(b"abcd", trak(TEXT, stsz(1, 1), CHUNK, listed("stco", 8))), "hold only"),
    "no chunks": (movie(b"abcd", trak(TEXT, stsz(1, 1), CHUNK, listed("stco"))), "chunks"),
    "no sizes": (movie(b"abcd", trak(TEXT, CHUNK, listed("stco", 8))), "sizes"),
    "sizes of 5 bits": (movie(b"abcd", trak(TEXT, full("stz2", 5, 1, 1), CHUNK, listed("stco", 8))), "bits"),
    "2^32 samples of one byte": (
        movie(b"abcd", trak(TEXT, full("stsz", 1, 2**32 - 1), full("stsc", 1, 1, 2**32 - 1, 1), listed("stco", 8))),
        "samples",
    ),
    "2^32 samples of PCM": (
        movie(
            b"abcd",
            trak(
                box("twos", bytes(28)),
                full("stsz", 2**32 - 1, 2**32 - 1),
                full("stsc", 1, 1, 2**32 - 1, 1),
                listed("stco", 8),
                handler="soun",
            ),
        ),
        "PCM",
    ),
    "encrypted": (movie(b"abcd", trak(box("enca", bytes(28)), *no_tables())), "encrypted"),
    "65 tracks": (movie(b"", *[trak(TEXT, *no_tables(), number=n) for n in range(65)]), "64"),
    "no description": (movie(b"", box("trak", box("mdia", box("minf", box("stbl", *no_tables()))))), "box"),
    "descriptions missing": (movie(b"", trak(b"", *no_tables())), "descriptions"),
    "avcC cut": (movie(b"", trak(box("avc1", bytes(78), box("avcC", b"1234")), *no_tables())), "avcC"),
    "a box that is too long inside": (box("moov", b"\0\0\1\0trak"), "impossible"),
    "a box that is too short inside": (box("moov", b"\0\0\0\7trak"), "impossible"),
    "a long box that is too short": (box("moov", struct.pack(">I4sQ", 1, b"trak", 15)), "impossible"),
    "a long box that is cut": (box("moov", b"\0\0\0\1trak1234"), "cut"),
    "fragment of an unknown track": (
        fragmented(box("moof", box("traf", full("tfhd", 3), full("trun", 1)))),
        "unknown track 3",
    ),
    "fragment without head": (fragmented(box("moof", box("traf", full("trun", 1)))), "tfhd"),
    "fragment with 2^32 samples": (
        fragmented(box("moof", box("traf", full("tfhd", 1, 0, flags=0x10), full("trun", 2**32 - 1)))),
        "too many",
    ),
    "fragment before the file": (
        fragmented(box("moof", box("traf", full("tfhd", 1), full("trun", 1, -9999, flags=1)))),
        "outside",
    ),
    "fragment behind the file": (
        fragmented(box("moof", box("traf", full("tfhd", 1, flags=1, rest=b"\xff" * 8), full("trun", 1)))),
        "outside",
    ),
    "run that is cut": (fragmented(box("moof", box("traf", full("tfhd", 1), full("trun", 9, flags=0x200)))), "claims"),
    "two tracks of one number": (
        movie(b"", *[trak(TEXT, *no_tables())] * 2) + box("moof", b""),
        "same id",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_refused_with_a_reason(name: str) -> None:
    data, words = BAD[name]
    with pytest.raises(NotMp4, match=words):
        read_payload(memoryview(data))


def tables_of(count: int) -> tuple[bytes, ...]:
    return full("stsz", 1, count), full("stsc", 1, 1, count, 1), listed("stco", DATA)


def one_moof(count: int, *, each: int) -> bytes:
    return box("moof", box("traf", full("tfhd", 1, each, flags=0x10), *[full("trun", 1)] * count))


HOSTILE: dict[str, Callable[[], bytes]] = {
    "boxes": lambda: box("free") * 1_100_000,
    "boxes in stsd": lambda: movie(b"", trak(box("mp4a") * 1_100_000, *no_tables())),
    "moofs": lambda: fragmented(box("moof") * 600_000),
    "runs": lambda: fragmented(one_moof(400_000, each=1)),
    "samples that overlap": lambda: movie(b"a" * 9, *[trak(avc(1), *tables_of(1 << 22), number=n) for n in (1, 2)]),
    "units of one byte": lambda: movie(
        b"\1\x65\1\x67" * 5_000_000,
        trak(avc(1), full("stsz", 16_000, 1250), full("stsc", 1, 1, 1250, 1), listed("stco", DATA)),
    ),
    "units of no bytes": lambda: movie(bytes(20_000_000), trak(avc(1), *tables_of(8_000_000))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_cost_little(name: str) -> None:
    data = HOSTILE[name]()
    before = time.process_time()
    try:
        payload = read_payload(memoryview(data))
    except NotMp4:
        payload = Payload((), ())
    assert time.process_time() - before < 10
    assert sum(len(track.starts) for track in payload.tracks) <= 1 << 23


@pytest.mark.parametrize("name", ["samples that overlap", "units of one byte", "units of no bytes"])
def test_hostile_files_take_little_memory(name: str) -> None:
    data = HOSTILE[name]()
    tracemalloc.start()
    try:
        with suppress(NotMp4):
            read_payload(memoryview(data))
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 640 << 20


# Files that nobody here made.

REFUSED = {
    "bad_cut_at_60kB.mp4": "no moov",
    "bad_missing_stsd.mp4": "stsd",
    "bad_smallest.mp4": "no tracks",
    "bad_zero_length.mp4": "empty",
    "fmp4_cenc_clearkey.mp4": "encrypted",
    "img_iphone.heic": "no moov",
    "img_white.avif": "no moov",
}
ENDINGS = {".mp4", ".mov", ".3gp", ".heic", ".avif"}
SPECIAL = {"h264_twos_pcm.mp4": {"blocks": 1}, "h264_with_chapters.mp4": {"silent": 2}}


def _real() -> list[Any]:
    given = os.environ.get("SHARED_MEDIA")
    folder = Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "media"
    if not folder.is_dir():
        reason = "no folder of real media (set SHARED_MEDIA)"
        return [pytest.param(Path("none"), marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(each, id=each.name) for each in sorted(folder.iterdir()) if each.suffix != ".tsv"]


@pytest.mark.parametrize("path", _real())
def test_real_files(path: Path) -> None:
    if path.suffix in ENDINGS and path.name not in REFUSED:
        check_against_libavformat(path, **SPECIAL.get(path.name, {}))
        return
    with pytest.raises(NotMp4, match=REFUSED.get(path.name, "no MP4 or MOV")):
        read_payload(memoryview(path.read_bytes()))
