"""Any runs and units: written and read the same, put together byte by byte; any damage: refused or consistent."""

from __future__ import annotations

import hashlib
import random
import subprocess

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync import Corrupt
from sync.recipe import Recipe, Table, decode_recipe, encode_recipe
from sync.recipe.assemble import assemble, scatter, skeleton_pieces
from sync.recipe.cutter import make_recipe, same


@st.composite
def objects(draw):
    """An object, its recipe, and for each unit its bytes and places, worked out byte by byte."""
    runs = draw(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(1, 12)), max_size=14))
    used = sorted({stream for _, stream, _ in runs})
    runs = [(skip, used.index(stream), length) for skip, stream, length in runs]
    noise = random.Random(draw(st.integers(0, 1 << 30)))
    file, skeleton, streams = bytearray(), bytearray(), [[] for _ in used]
    for skip, stream, length in runs:
        skeleton += (between := noise.randbytes(skip))
        file += between
        streams[stream] += range(len(file), len(file) + length)
        file += noise.randbytes(length)
    tail = noise.randbytes(draw(st.integers(0, 40)))
    file += tail
    skeleton += tail
    units = []
    for stream, places in enumerate(streams):
        cuts = draw(st.sets(st.integers(1, len(places)), max_size=6)) | {len(places)}
        begin = 0
        for cut in sorted(cuts):
            units.append((stream, places[begin:cut]))
            begin = cut
    units.sort(key=lambda unit: unit[1][0])
    contents = [bytes(file[place] for place in places) for _, places in units]
    recipe = Recipe(
        hashlib.sha256(file).hexdigest(),
        len(file),
        bytes(skeleton),
        _tables(draw, len(skeleton)),
        np.array([skip for skip, _, _ in runs], np.uint32),
        np.array([stream for _, stream, _ in runs], np.uint8),
        np.array([length for _, _, length in runs], np.uint32),
        np.array([stream for stream, _ in units], np.uint8),
        np.array([len(places) for _, places in units], np.uint32),
        b"".join(hashlib.sha256(content).digest() for content in contents),
    )
    return bytes(file), recipe, contents, [places for _, places in units]


def _tables(draw, skeleton_bytes):
    tables, position = [], 0
    while position < skeleton_bytes and draw(st.booleans()):
        table = Table(position + draw(st.integers(0, 3)), draw(st.integers(0, 4)), draw(st.sampled_from([4, 8])))
        if table.stop > skeleton_bytes:
            break
        tables.append(table)
        position = table.stop
    return tuple(tables)


def _decoded(raw, recipe):
    return decode_recipe(raw, sha256=recipe.sha256, length_bytes=recipe.length_bytes)


@given(objects())
def test_a_recipe_comes_back_from_its_bytes(made):
    _, recipe, _, places = made
    again = _decoded(encode_recipe(recipe), recipe)
    assert same(again, recipe)
    for ordinal, expected in enumerate(places):
        offsets, lengths = again.extents(ordinal)
        got = [at for offset, length in zip(offsets, lengths, strict=True) for at in range(offset, offset + length)]
        assert got == expected


@given(objects())
def test_units_become_the_object_in_order(made):
    file, recipe, contents, _ = made
    asked = []

    def unit(ordinal):
        asked.append(ordinal)
        return contents[ordinal]

    assert b"".join(assemble(recipe, unit)) == file
    assert asked == list(range(recipe.units))


@given(objects(), st.randoms(use_true_random=False))
def test_units_become_the_object_in_any_order(made, shuffle):
    file, recipe, contents, _ = made
    filled = bytearray(len(file))
    written = 0
    ordinals = list(range(recipe.units))
    shuffle.shuffle(ordinals)
    for ordinal in ordinals:
        for offset, part in scatter(recipe, ordinal, contents[ordinal]):
            filled[offset : offset + len(part)] = part
            written += len(part)
    for offset, part in skeleton_pieces(recipe):
        filled[offset : offset + len(part)] = part
        written += len(part)
    assert (bytes(filled), written) == (file, len(file))


@given(objects(), st.data())
def test_damage_is_refused_or_leaves_a_recipe_that_adds_up(made, data):
    _, recipe, _, _ = made
    raw = bytearray(encode_recipe(recipe))
    at = data.draw(st.integers(0, len(raw) - 1))
    match data.draw(st.sampled_from(["change", "cut", "insert", "remove", "numbers"])):
        case "change":
            raw[at] ^= data.draw(st.integers(1, 255))
        case "cut":
            del raw[at:]
        case "insert":
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=9))
        case "remove":
            del raw[at : at + data.draw(st.integers(1, 9))]
        case "numbers":
            at = 44 + 4 * ((at - 44) // 4)
            raw[at : at + 4] = data.draw(st.sampled_from([0, 1, 2**22, 2**31, 2**32 - 1])).to_bytes(4, "big")
    try:
        again = _decoded(bytes(raw), recipe)
    except Corrupt:
        return
    total = sum(map(len, assemble(again, lambda ordinal: bytes(int(again.unit_length[ordinal])))))
    assert total == again.length_bytes == recipe.length_bytes
    assert encode_recipe(again) == raw


@given(st.binary(max_size=200))
def test_noise_is_no_recipe(raw):
    with pytest.raises(Corrupt):
        decode_recipe(raw, sha256="0" * 64, length_bytes=0)


@given(st.integers(0, 1 << 30), st.integers(0, 300_000), st.sampled_from(["", ".html", ".mp4"]))
@settings(max_examples=25, deadline=None)
def test_any_object_has_a_recipe_that_gives_it_back(seed, length, name):
    data = random.Random(seed).randbytes(length)
    assert _rebuilt(data, make_recipe(data, name=name)) == data


def _rebuilt(data, recipe):
    """Put together from hashes: only bytes that fit their hash are used."""
    assert recipe.sha256 == hashlib.sha256(data).hexdigest()
    units = {}
    for ordinal in range(recipe.units):
        offsets, lengths = recipe.extents(ordinal)
        content = b"".join(data[at : at + length] for at, length in zip(offsets, lengths, strict=True))
        units[hashlib.sha256(content).digest()] = content
    recipe = _decoded(encode_recipe(recipe), recipe)
    return b"".join(assemble(recipe, lambda ordinal: units[recipe.unit_hash(ordinal)]))


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """Three seconds each: progressive with the index first and last, HEVC, fragmented."""
    folder = tmp_path_factory.mktemp("videos")
    ways = {
        "first": ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-movflags", "+faststart"],
        "last": ["-c:v", "libx264", "-preset", "ultrafast"],
        "hevc": ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none", "-tag:v", "hvc1"],
        "pieces": ["-c:v", "libx264", "-preset", "ultrafast", "-movflags", "frag_keyframe+empty_moov"],
    }
    for name, options in ways.items():
        sources = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=10", "-f", "lavfi", "-i", "anoisesrc=r=16000:seed=7"]
        subprocess.run(
            ["ffmpeg", "-v", "error", *sources, "-t", "3", "-g", "10", "-b:a", "32k", *options, folder / f"{name}.mp4"],
            check=True,
            capture_output=True,
        )
    return {name: (folder / f"{name}.mp4").read_bytes() for name in ways}


@pytest.mark.stranger("ffmpeg")
@given(st.sampled_from(["first", "last", "hevc", "pieces"]), st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_video_has_a_recipe_that_gives_it_back(videos, which, data):
    edited = bytearray(videos[which])
    index = edited.index(b"moov")
    for _ in range(data.draw(st.integers(0, 4))):
        # Most damage goes to the index: between pictures it would change nothing but their hash.
        near = st.integers(index, min(index + 3000, len(edited) - 1))
        at = data.draw(near | st.integers(0, len(edited) - 1))
        match data.draw(st.sampled_from(["change", "cut", "insert", "remove"])):
            case "change":
                edited[at : at + 4] = data.draw(st.binary(min_size=4, max_size=4))
            case "cut":
                del edited[max(at, 5000) :]
            case "insert":
                edited[at:at] = data.draw(st.binary(min_size=1, max_size=40))
            case "remove":
                del edited[at : at + data.draw(st.integers(1, 40))]
        index = min(index, len(edited) - 1)
    assert _rebuilt(bytes(edited), make_recipe(bytes(edited), name="lesson.mp4")) == edited
