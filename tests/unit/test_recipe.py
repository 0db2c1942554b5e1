"""Recipes: the bytes as the format says, refusals, and which units two versions of a lesson share."""

from __future__ import annotations

import dataclasses
import hashlib
import mmap
import random
import subprocess
import tracemalloc

import numpy as np
import pytest

import sync.recipe.chunks
import sync.recipe.cutter
from media.payload import PayloadTrack
from sync import Corrupt, TooLong
from sync.patch import apply_patch, patch
from sync.recipe import UNIT_MAX_BYTES, Recipe, Table, decode_recipe, encode_recipe
from sync.recipe.assemble import PIECE_BYTES, assemble, scatter
from sync.recipe.chunks import cut_chunks
from sync.recipe.cutter import make_recipe, same
from sync.recipe.draft import RUN_MAX_BYTES, Stream, draft
from sync.recipe.mp4 import GROUP_MAX_SAMPLES, GROUP_MIN_SAMPLES, UNIT_TARGET_BYTES, cut_track

MIB = 1 << 20


def u32(*numbers):
    return b"".join(number.to_bytes(4, "big") for number in numbers)


# A file of 4 + 3 + 2 + 5 + 1 + 9 bytes. Stream 0 has runs of 3 and 5 bytes and units of 2 and 6, stream 1 one run and
# unit of 2 + 1 bytes in two parts. Play order: unit 0 of stream 0, unit 1 of stream 0 (at 6), unit of stream 1 (at 7).
SKELETON = u32(7) + u32(10, 15) + b"s"
RECIPE = Recipe(
    "ab" * 32,
    24,
    SKELETON,
    (Table(4, 2, 4),),
    np.array([4, 0, 0, 0], np.uint32),
    np.array([0, 1, 0, 1], np.uint8),
    np.array([3, 2, 5, 1], np.uint32),
    np.array([0, 0, 1], np.uint8),
    np.array([2, 6, 3], np.uint32),
    b"0" * 32 + b"1" * 32 + b"2" * 32,
)
PARTS = {
    "magic": b"RMR2",
    "length": (24).to_bytes(8, "big"),
    "object": bytes.fromhex("ab" * 32),
    "counts": u32(2, 4, 3, 1, 13),
    "units of streams": u32(2, 1),
    "skips": u32(4, 0, 0, 0),
    "streams": bytes([0, 1, 0, 1]),
    "runs": u32(3, 5, 2, 1),
    "units": u32(2, 6, 3),
    "hashes": b"0" * 32 + b"1" * 32 + b"2" * 32,
    "tables": u32(4, 2) + b"\x04",
    "skeleton": u32(7) + u32(10, 5) + b"s",
}


def decode(raw, recipe=RECIPE):
    return decode_recipe(raw, sha256=recipe.sha256, length_bytes=recipe.length_bytes)


def test_the_bytes_are_those_of_the_format():
    assert encode_recipe(RECIPE) == b"".join(PARTS.values())
    assert same(decode(b"".join(PARTS.values())), RECIPE)


def test_units_lie_where_the_format_says():
    again = decode(encode_recipe(RECIPE))
    places = [[column.tolist() for column in again.extents(ordinal)] for ordinal in range(again.units)]
    assert places == [[[4], [2]], [[6, 9], [1, 5]], [[7, 14], [2, 1]]]
    assert [column.tolist() for column in again.skeleton_extents()] == [[0, 15], [4, 9]]
    assert [again.unit_hash(ordinal)[:1] for ordinal in range(3)] == [b"0", b"1", b"2"]


def test_units_of_later_streams_may_come_first_in_play_order():
    raw = b"".join((PARTS | {"units": u32(3, 5, 3)}).values())
    again = decode(raw)
    assert again.unit_length.tolist() == [3, 3, 5]
    assert again.unit_stream.tolist() == [0, 1, 0]
    assert again.unit_hashes == b"0" * 32 + b"2" * 32 + b"1" * 32
    assert encode_recipe(again) == raw


@pytest.mark.parametrize(
    "change",
    [
        {"magic": b"RMR1"},
        {"length": (23).to_bytes(8, "big")},
        {"object": bytes(32)},
        {"counts": u32(2, 4, 3, 1, 14)},
        {"counts": u32(2, 4, 3, 1, 12)},
        {"units of streams": u32(3, 0)},
        {"units of streams": u32(2, 1, 0), "counts": u32(3, 4, 3, 1, 13)},
        {"units of streams": u32(2, 0, 1), "counts": u32(3, 4, 3, 1, 13), "streams": bytes([0, 2, 0, 2])},
        {"units of streams": u32(1, 2)},
        {"units of streams": u32(2, 2)},
        {"units of streams": u32(2**32 - 1, 4)},
        {"skips": u32(4, 0, 0, 10)},
        {"skips": u32(2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1)},
        {"streams": bytes([0, 1, 0, 0])},
        {"streams": bytes([0, 1, 0, 2])},
        {"streams": bytes([0, 1, 0, 255])},
        {"runs": u32(3, 5, 3, 0)},
        {"runs": u32(3, 5, 2, 2)},
        {"runs": u32(3, 6, 1, 1)},
        {"units": u32(8, 0, 3)},
        {"units": u32(2, 5, 4)},
        {"units": u32(2, 6, 4)},
        {"tables": u32(6, 2) + b"\x04"},
        {"tables": u32(2**32 - 1, 2**32 - 1) + b"\x04"},
        {"tables": u32(0, 2) + b"\x08"},
        {"tables": u32(4, 2) + b"\x03"},
        {"tables": b"", "counts": u32(2, 4, 3, 0, 13)} | {"skeleton": b"long" + PARTS["skeleton"]},
        {"tables": u32(0, 1) + b"\x08" + u32(4, 1) + b"\x04", "counts": u32(2, 4, 3, 2, 13)},
        {"skeleton": PARTS["skeleton"][:-1]},
        {"skeleton": PARTS["skeleton"] + b"s"},
    ],
    ids=str,
)
def test_what_does_not_add_up_is_refused(change):
    with pytest.raises(Corrupt):
        decode(b"".join((PARTS | change).values()))


@pytest.mark.parametrize("place", range(5))
def test_numbers_beyond_the_bounds_are_refused_before_memory_is_taken(place):
    bounds = [64, 1 << 22, 1 << 20, 1024, 64 * MIB]
    counts = [0] * 5
    for more, error in ((1, TooLong), (0, Corrupt)):
        counts[place] = bounds[place] + more
        raw = b"".join((PARTS | {"counts": u32(*counts)}).values())
        tracemalloc.start()
        try:
            with pytest.raises(Corrupt) as caught:
                decode(raw)
            assert caught.type is error
            assert tracemalloc.get_traced_memory()[1] < 100_000
        finally:
            tracemalloc.stop()


def test_objects_and_units_beyond_the_bounds_are_refused():
    far = (64 << 30) + 1
    with pytest.raises(TooLong):
        decode_recipe(
            b"".join((PARTS | {"length": far.to_bytes(8, "big")}).values()), sha256="ab" * 32, length_bytes=far
        )
    length = UNIT_MAX_BYTES + 1
    raw = (
        b"RMR2"
        + length.to_bytes(8, "big")
        + bytes.fromhex("ab" * 32)
        + u32(1, 1, 1, 0, 0)
        + u32(1)
        + u32(0)
        + b"\0"
        + u32(length)
        + u32(length)
        + bytes(32)
    )
    with pytest.raises(TooLong):
        decode_recipe(raw, sha256="ab" * 32, length_bytes=length)


def test_the_encoder_refuses_what_no_decoder_reads():
    for change in (
        {"unit_stream": np.array([1, 0, 0], np.uint8), "unit_length": np.array([3, 2, 6], np.uint32)},
        {"unit_hashes": bytes(95)},
        {"run_stream": np.array([0, 2, 0, 2], np.uint8), "unit_stream": np.array([0, 0, 2], np.uint8)},
        {"run_length": np.array([3, 2, 5], np.uint32)},
        {"length_bytes": 25},
        {"sha256": "AB" * 32},
        {"tables": (Table(4, 3, 4),)},
    ):
        with pytest.raises(Corrupt):
            encode_recipe(dataclasses.replace(RECIPE, **change))


@pytest.mark.parametrize("ordinal", [-1, 3])
def test_there_is_no_unit_before_the_first_and_after_the_last(ordinal):
    with pytest.raises(IndexError):
        RECIPE.extents(ordinal)
    with pytest.raises(IndexError):
        list(scatter(RECIPE, ordinal, b""))


@pytest.mark.parametrize("width", [4, 8])
def test_tables_survive_numbers_that_wrap_around(width):
    numbers = [0, 2 ** (8 * width) - 1, 5, 2 ** (8 * width - 1), 1]
    skeleton = b"".join(number.to_bytes(width, "big") for number in numbers)
    recipe = dataclasses.replace(
        draft(memoryview(skeleton), [], []), tables=(Table(0, 5, width),), sha256=hashlib.sha256(skeleton).hexdigest()
    )
    assert decode(encode_recipe(recipe), recipe).skeleton == skeleton


def test_a_moved_table_changes_one_number():
    places = np.cumsum(np.random.default_rng(1).integers(1000, 9000, 20_000)).astype(">u4")
    bodies = [places.tobytes(), (places + 321).astype(">u4").tobytes()]
    raws = [
        encode_recipe(dataclasses.replace(draft(memoryview(body), [], []), tables=(Table(0, 20_000, 4),)))
        for body in bodies
    ]
    assert len(patch(raws[1], raws[0])) < 100
    assert len(patch(bodies[1], bodies[0])) > 10_000


def test_units_of_another_length_are_refused():
    for wrong in (b"1", b"123"):
        with pytest.raises(Corrupt):
            list(assemble(RECIPE, lambda ordinal, wrong=wrong: wrong))
        with pytest.raises(Corrupt):
            list(scatter(RECIPE, 0, wrong))


def test_pieces_are_gathered_and_units_in_one_part_are_not_copied():
    lengths = np.array([3 * MIB, 100, 200, 2 * MIB, 5])
    data = memoryview(random.Random(1).randbytes(int(lengths.sum())))
    recipe = draft(data, [Stream(np.array([0]), np.array([len(data)]), lengths)], [])
    pieces = list(assemble(recipe, lambda ordinal: data[: recipe.unit_length[ordinal]]))
    assert [len(piece) for piece in pieces] == [3 * MIB, 300, 2 * MIB, 5]
    assert isinstance(pieces[0], memoryview)
    length = 5 * MIB // 4 // 5 * 5
    small = draft(data[:length], [Stream(np.array([0]), np.array([length]), np.full(length // 5, 5))], [])
    sizes = [len(piece) for piece in assemble(small, lambda ordinal: b"12345")]
    assert all(PIECE_BYTES <= size < PIECE_BYTES + 5 for size in sizes[:-1])


def test_runs_beyond_32_bits_are_several():
    length = 5 << 30
    units = np.full(length // MIB, MIB)

    class Long:
        def __len__(self):
            return length

    recipe = draft(Long(), [Stream(np.array([0]), np.array([length]), units)], [])
    assert recipe.run_length.tolist() == [RUN_MAX_BYTES] * 5
    again = decode(encode_recipe(recipe), recipe)
    assert [column.tolist() for column in again.extents(5000)] == [[5000 * MIB], [MIB]]


# --- cutting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.html", "A.JSON", "日历.srt"])
def test_a_text_is_all_skeleton(name):
    text = b"<p>hello</p>" * 1000
    recipe = make_recipe(text, name=name)
    assert (recipe.units, recipe.skeleton, recipe.sha256) == (0, text, hashlib.sha256(text).hexdigest())


def test_small_objects_are_all_skeleton_and_others_are_not():
    noise = random.Random(1).randbytes(4097)
    assert make_recipe(noise[:4096]).units == 0
    assert make_recipe(noise).skeleton == b""
    assert make_recipe(b"").length_bytes == 0
    assert make_recipe(bytes(8 * MIB + 1), name="a.txt").skeleton == b""


def test_chunks_are_shared_by_an_edited_object():
    noise = random.Random(5).randbytes(2 * MIB)
    old, new = make_recipe(noise), make_recipe(noise[:MIB] + b"new" + noise[MIB:])
    have = hashes(old)
    missing = [ordinal for ordinal in range(new.units) if new.unit_hash(ordinal) not in have]
    assert 1 <= len(missing) <= 3
    assert 16 << 10 < new.unit_length.mean() < 26 << 10
    assert new.unit_length.max() <= 64 << 10 and new.unit_length[:-1].min() >= 4 << 10


def test_long_objects_get_longer_chunks(monkeypatch):
    monkeypatch.setattr(sync.recipe.chunks, "UNITS_MAX", 64)
    recipe = cut_chunks(memoryview(random.Random(5).randbytes(4 * MIB)))
    assert recipe.units <= 32
    assert recipe.unit_length.mean() > 100_000


def test_content_that_asks_for_many_cuts_gets_longer_chunks(monkeypatch):
    noise = random.Random(5).randbytes(MIB)
    first = cut_chunks(memoryview(noise)).unit_length
    shortest = int(np.argmin(first[:-1]))
    begin = int(first[:shortest].sum())
    end = begin + int(first[shortest])
    # The byte behind a chunk made the cut; in front, within the shortest length, no byte counts.
    dense = (noise[end : end + 1] + noise[begin + 1 : end]) * 400
    often = cut_chunks(memoryview(dense))
    assert often.unit_length.mean() < 12_000
    monkeypatch.setattr(sync.recipe.chunks, "UNITS_MAX", 2 * len(dense) // (16 << 10) + 2)
    assert cut_chunks(memoryview(dense)).units <= len(dense) // (16 << 10) + 1


def test_a_wrong_cut_is_noticed_and_replaced_by_chunks(monkeypatch):
    noise = random.Random(6).randbytes(100_000)

    def wrong(data):
        stream = Stream(np.array([10]), np.array([5000]), np.array([5000]))
        return dataclasses.replace(draft(data, [stream], []), skeleton=bytes(len(data) - 5000))

    monkeypatch.setattr(sync.recipe.cutter, "cut_mp4", wrong)
    assert same(make_recipe(noise), _chunked(noise))
    monkeypatch.setattr(sync.recipe.cutter, "cut_chunks", wrong)
    with pytest.raises(AssertionError):
        make_recipe(noise)


def _chunked(data):
    recipe = cut_chunks(memoryview(data))
    hashes = [hashlib.sha256(data[o[0] : o[0] + n[0]]).digest() for o, n in map(recipe.extents, range(recipe.units))]
    return dataclasses.replace(recipe, sha256=hashlib.sha256(data).hexdigest(), unit_hashes=b"".join(hashes))


def track(kind, lengths, sync=None):
    lengths = np.array(lengths, np.int64)
    starts = np.cumsum(lengths) - lengths
    sync = np.ones(len(lengths), np.bool_) if sync is None else np.array(sync, np.bool_)
    return PayloadTrack(kind, starts, lengths, np.arange(len(lengths), dtype=np.int32), sync)


def test_pictures_are_cut_where_decoding_can_begin_and_by_length():
    sync = [number % 10 == 3 for number in range(40)]
    units = cut_track(memoryview(b""), track("video", [1000] * 40, sync)).units
    assert units.tolist() == [3000, 10_000, 10_000, 10_000, 7000]
    units = cut_track(memoryview(b""), track("video", [MIB // 4 + 1] * 9, [True] + [False] * 8)).units
    assert units.tolist() == [3 * (MIB // 4 + 1)] * 3
    units = cut_track(memoryview(b""), track("video", [9, 3 * MIB, 7, 20 * MIB, 8], [True] + [False] * 4)).units
    assert units.tolist() == [9, 3 * MIB, 7, *[MIB] * 20, 8]
    assert max(units) <= UNIT_MAX_BYTES


def test_slices_of_one_picture_stay_together():
    lengths = np.full(8, 400_000)
    two = PayloadTrack(
        "video", np.arange(8) * 400_010, lengths, np.repeat(np.arange(4), 2), np.array([True, False, False, False])
    )
    assert cut_track(memoryview(b""), two).units.tolist() == [800_000] * 4


def test_a_track_out_of_file_order_is_cut_in_file_order():
    shuffled = PayloadTrack(
        "video",
        np.array([500, 0, 900]),
        np.array([100, 200, 300]),
        np.arange(3, dtype=np.int32),
        np.array([1, 1, 0]) > 0,
    )
    stream = cut_track(memoryview(bytes(2000)), shuffled)
    assert (stream.starts.tolist(), stream.units.tolist()) == ([0, 500, 900], [200, 400])


def test_sounds_are_cut_by_their_content_and_meet_again_after_a_trim():
    noise = random.Random(8)
    lengths = [noise.randrange(200, 400) for _ in range(6000)]
    data = memoryview(noise.randbytes(sum(lengths)))
    whole = cut_track(data, track("audio", lengths))
    cut = sum(lengths[:777])
    rest = cut_track(data[cut:], track("audio", lengths[777:]))
    ends, rest_ends = np.cumsum(whole.units), np.cumsum(rest.units) + cut
    assert len(set(rest_ends.tolist()) - set(ends.tolist())) <= 4
    assert 40 < len(lengths) / len(whole.units) < 60
    samples = np.diff(np.searchsorted(np.cumsum(lengths), ends))
    assert samples.min() >= GROUP_MIN_SAMPLES and samples.max() <= GROUP_MAX_SAMPLES


@pytest.mark.parametrize("byte", range(0, 256, 5))
def test_silence_is_not_cut_into_single_sounds(byte):
    units = cut_track(memoryview(bytes([byte]) * 60_000), track("audio", [20] * 3000)).units
    assert len(units) <= 3000 // GROUP_MIN_SAMPLES + 1


def test_pictures_that_all_stand_alone_are_not_cut_one_by_one():
    noise = random.Random(9)
    lengths = [noise.randrange(500, 1500) for _ in range(1000)]
    data = memoryview(noise.randbytes(sum(lengths)))
    units = cut_track(data, track("video", lengths)).units
    assert len(units) < 40
    assert units.max() <= UNIT_TARGET_BYTES


# --- real files ----------------------------------------------------------------------------------------------------

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-pix_fmt", "yuv420p")
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:bframes=2", "-tag:v", "hvc1")
TITLE = ("-metadata", "title=Fractions, revised edition of 2026")
FIRST = ("-movflags", "+faststart")


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)], check=True, capture_output=True)


class Lab:
    """Makes lessons of one second per GOP and edits them without encoding anew."""

    def __init__(self, folder):
        self.folder = folder
        self.recipes = {}

    def make(self, name, codec, *options, seconds=12, hue=0):
        picture = f"testsrc2=s=320x180:r=20,hue=h={hue},noise=alls=20:allf=t:all_seed={hue + 1}"
        ffmpeg(
            *("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", f"anoisesrc=r=44100:seed={hue + 1}:a=0.3"),
            *("-t", seconds, *codec, "-g", "20", "-c:a", "aac", "-b:a", "64k", *options, self.folder / name),
        )

    def copy(self, old, new, *options, before=(), more=()):
        extra = [word for name in more for word in ("-i", self.folder / name)]
        maps = [word for number in range(1 + len(more)) for word in ("-map", number)]
        ffmpeg(*before, "-i", self.folder / old, *extra, *maps, "-c", "copy", *options, self.folder / new)

    def join(self, new, *parts):
        listing = self.folder / f"{new}.txt"
        listing.write_text("".join(f"file '{self.folder / part}'\n" for part in parts))
        ffmpeg("-f", "concat", "-safe", "0", "-i", listing, "-map", "0", "-c", "copy", *FIRST, self.folder / new)

    def recipe(self, name):
        """The recipe, after a rebuild from bytes that are known by hash only."""
        if name not in self.recipes:
            data = (self.folder / name).read_bytes()
            recipe = make_recipe(data, name=name)
            units = {hashlib.sha256(content).digest(): content for content in contents(recipe, data)}
            again = decode(encode_recipe(recipe), recipe)
            assert b"".join(assemble(again, lambda ordinal: units[again.unit_hash(ordinal)])) == data
            self.recipes[name] = recipe
        return self.recipes[name]


def contents(recipe, data):
    for ordinal in range(recipe.units):
        yield b"".join(data[at : at + length] for at, length in zip(*recipe.extents(ordinal), strict=True))


def hashes(recipe):
    return {recipe.unit_hash(ordinal) for ordinal in range(recipe.units)}


def missing(new, *old):
    """For each stream of a new recipe: how many units of it are in no old one."""
    have = set().union(*map(hashes, old))
    return [
        sum(new.unit_hash(ordinal) not in have for ordinal in np.flatnonzero(new.unit_stream == stream))
        for stream in range(new.streams)
    ]


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lessons"))
    lab.make("first.mp4", H264, *FIRST)
    lab.make("last.mp4", H264)
    lab.make("hevc.mp4", HEVC)
    lab.make("pieces.mp4", H264, "-movflags", "frag_keyframe+empty_moov+default_base_moof")
    lab.make("other.mp4", H264, seconds=4, hue=120)
    lines = "".join(f"{n}\n00:00:{n:02},000 --> 00:00:{n:02},800\nLine {n}\n\n" for n in range(1, 11))
    (lab.folder / "lines.srt").write_text(lines)
    return lab


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize(("name", "mean"), [("first.mp4", 12), ("last.mp4", 12), ("hevc.mp4", 12), ("pieces.mp4", 12)])
def test_a_lesson_is_one_stream_of_pictures_and_one_of_sounds(lab, name, mean):
    recipe = lab.recipe(name)
    assert recipe.streams == 2
    assert (recipe.unit_stream == 0).sum() == mean
    assert 6 <= (recipe.unit_stream == 1).sum() <= 24
    assert len(recipe.skeleton) < recipe.length_bytes / 10
    assert len(recipe.tables) == (0 if name == "pieces.mp4" else 2)


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize(
    ("old", "options"),
    [
        ("first.mp4", (*TITLE, *FIRST)),
        ("last.mp4", TITLE),
        ("last.mp4", FIRST),
        ("hevc.mp4", TITLE),
        ("hevc.mp4", FIRST),
        ("pieces.mp4", (*TITLE, "-movflags", "frag_keyframe+empty_moov+default_base_moof")),
        ("pieces.mp4", FIRST),
        ("first.mp4", ("-movflags", "frag_keyframe+empty_moov")),
    ],
    ids=str,
)
def test_another_container_needs_no_unit(lab, old, options):
    lab.copy(old, "new.mp4", *options)
    lab.recipes.pop("new.mp4", None)
    assert missing(lab.recipe("new.mp4"), lab.recipe(old)) == [0, 0]


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize(("old", "options"), [("first.mp4", (*TITLE, *FIRST)), ("last.mp4", FIRST)])
def test_another_title_or_place_of_the_index_is_a_patch_of_less_than_a_kibibyte(lab, old, options):
    lab.copy(old, "patched.mp4", *options)
    lab.recipes.pop("patched.mp4", None)
    before, after = encode_recipe(lab.recipe(old)), encode_recipe(lab.recipe("patched.mp4"))
    stored = patch(after, before)
    assert len(stored) < 1024
    assert apply_patch(stored, before, len(after), most=len(after)) == after


@pytest.mark.stranger("ffmpeg")
def test_subtitles_need_their_own_units_only(lab):
    lab.copy("first.mp4", "lines.mp4", "-c:s", "mov_text", *FIRST, more=["lines.srt"])
    recipe = lab.recipe("lines.mp4")
    assert recipe.streams == 3
    assert missing(recipe, lab.recipe("first.mp4"))[:2] == [0, 0]


@pytest.mark.stranger("ffmpeg")
def test_a_trim_needs_no_more_than_a_group_of_sounds_at_each_end(lab):
    lab.copy("first.mp4", "trim.mp4", *FIRST, before=("-ss", "3.5", "-t", "6"))
    pictures, sounds = missing(lab.recipe("trim.mp4"), lab.recipe("first.mp4"))
    assert pictures <= 1 and sounds <= 2


@pytest.mark.stranger("ffmpeg")
def test_joined_lessons_need_no_more_than_a_group_of_sounds_at_the_seam(lab):
    lab.join("joined.mp4", "first.mp4", "other.mp4")
    old = lab.recipe("first.mp4"), lab.recipe("other.mp4")
    pictures, sounds = missing(lab.recipe("joined.mp4"), *old)
    assert pictures <= 1 and sounds <= 3
    assert len(hashes(old[0]) - hashes(lab.recipe("joined.mp4"))) <= 2


@pytest.mark.stranger("ffmpeg")
def test_a_replaced_middle_needs_the_middle_and_the_seams(lab):
    lab.copy("first.mp4", "begin.mp4", before=("-t", "4"))
    lab.copy("first.mp4", "end.mp4", before=("-ss", "8"))
    lab.join("middle.mp4", "begin.mp4", "other.mp4", "end.mp4")
    pictures, sounds = missing(lab.recipe("middle.mp4"), lab.recipe("first.mp4"), lab.recipe("other.mp4"))
    assert pictures <= 2 and sounds <= 6
    assert sum(missing(lab.recipe("middle.mp4"), lab.recipe("first.mp4"))) >= 4


@pytest.mark.stranger("ffmpeg")
def test_a_lesson_with_much_else_in_it_is_cut_as_chunks(lab):
    data = (lab.folder / "last.mp4").read_bytes()
    other = random.Random(3).randbytes(3 * MIB)
    recipe = make_recipe(data + (len(other) + 8).to_bytes(4, "big") + b"free" + other)
    assert (recipe.streams, recipe.skeleton) == (1, b"")


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize("name", ["first.mp4", "big.mov", "noise"])
def test_a_mapped_file_is_neither_copied_nor_held(lab, name):
    path = lab.folder / name
    if name == "big.mov":
        ffmpeg("-f", "lavfi", "-i", "testsrc2=s=640x360:r=25", "-t", "5", "-c:v", "rawvideo", path)
    elif name == "noise":
        path.write_bytes(random.Random(4).randbytes(40 * MIB))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        tracemalloc.start()
        recipe = make_recipe(data, name=name)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert recipe.units > 10
        assert peak < 10 * MIB
        data.close()
