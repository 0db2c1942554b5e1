"""Whatever the bytes are: an index that fits the file or a typed refusal, in memory that is bounded by the file."""

from __future__ import annotations

import tracemalloc
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.lessons import make_counted_lesson
from media import MediaError
from media.mp4 import Mp4Index, load, read_mp4, save
from media.mp4.segmenting import segment_mp4
from tests.unit.test_mp4 import remuxed

MEMORY_PER_BYTE_MAX = 64
MEMORY_MAX_BYTES = 4 << 20
KINDS = {
    "plain": {"movflags": "faststart"},
    "fragmented": {"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    "both": {"movflags": "frag_keyframe"},
    "many fragments": {"movflags": "frag_every_frame+empty_moov"},
}


@cache
def lesson(kind: str) -> bytes:
    with TemporaryDirectory() as folder:
        made = make_counted_lesson(Path(folder) / "a.mp4", frames=55, title="课", seed=5, size=(160, 120))
        return remuxed(made.path, Path(folder) / "b.mp4", **KINDS[kind]).read_bytes()


@cache
def tables(kind: str) -> tuple[int, ...]:
    """Where the bytes of boxes are, media left out."""
    data, places, at = lesson(kind), [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        places += range(at, at + (8 if data[at + 4 : at + 8] == b"mdat" else size))
        at += size
    return tuple(places)


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A file with a few fields of its boxes changed, or some bytes taken out."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    data, places = bytearray(lesson(kind)), tables(kind)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.sampled_from(places))
        value = draw(st.sampled_from([b"\0", b"\1", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\0"]))
        data[at : at + len(value)] = value
    if draw(st.booleans()):
        at = draw(st.sampled_from(places))
        del data[at : at + draw(st.integers(1, 9))]
    return bytes(data)


def check(index: Mp4Index, file_bytes: int) -> None:
    assert index.file_bytes == file_bytes and 0 <= index.duration_s < float("inf")
    total = 0
    for track in index.tracks:
        arrays = (track.offsets, track.sizes, track.dts, track.durations, track.composition, track.sync)
        assert len({len(each) for each in arrays}) == 1 and track.timescale > 0
        assert [each.dtype.name for each in arrays] == ["int64"] * 5 + ["bool"]
        total += int(track.sizes.sum())
        if len(track.sizes):
            assert track.offsets.min() >= 0 and track.sizes.min() >= 0
            assert (track.offsets + track.sizes).max() <= file_bytes
            if track.kind in ("video", "audio"):
                assert (np.diff(track.dts) >= 0).all() and track.shown_until >= track.shown_from
    assert total <= file_bytes


@given(spoiled())
@settings(max_examples=300)
def test_a_spoiled_file_is_read_or_refused(data: bytes) -> None:
    lesson("plain")
    tracemalloc.start()
    try:
        index = read_mp4(memoryview(data))
    except MediaError:
        return
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MEMORY_PER_BYTE_MAX * len(data) + MEMORY_MAX_BYTES
    check(index, len(data))


@given(spoiled())
@settings(max_examples=150)
def test_a_spoiled_file_is_cut_or_refused(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        source = Path(folder) / "a.mp4"
        source.write_bytes(data)
        try:
            made, index = segment_mp4(source, Path(folder) / "heads")
        except MediaError:
            return
        made.save(Path(folder) / "index")
        assert type(made).load(Path(folder) / "index") == made
        for form in made.forms:
            for number in range(len(form)):
                piece = form.read(Path(folder) / "heads", number)
                assert all(0 <= at < at + length <= len(data) for at, length in piece.ranges)
                assert form.lengths_bytes[number] == len(piece.head) + sum(length for _, length in piece.ranges)
        save(index, Path(folder) / "samples")
        check(load(Path(folder) / "samples"), len(data))


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    for start in (b"", b"\0\0\0\x10ftypisom\0\0\0\0", b"\0\0\0\x40moov"):
        try:
            check(read_mp4(memoryview(start + data)), len(start + data))
        except MediaError:
            continue
