"""Whatever is done to the bytes of an MP4, reading its payload ends in an answer that is sound, or in `NotMp4`."""

from __future__ import annotations

import struct
from functools import cache
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from media.payload import NotMp4, read_payload
from tests.unit.test_payload import (
    MOOF_BASE,
    NOT_SYNC,
    TEXT,
    avc,
    box,
    check_sound,
    full,
    hevc,
    listed,
    movie,
    nal,
    no_tables,
    stsz,
    trak,
)


@cache
def seeds() -> tuple[bytes, ...]:
    """Small files with every kind of table, so that most changed bytes matter."""
    picture = nal(2, b"\x67p", b"\x65abc", b"\x41de", b"\6f")
    media = picture * 3 + b"soundsoundtext" + bytes(40)
    tables = listed("stsc", 1, 2, 1, 2, 1, 1, fields=3), listed("stco", 8, 8 + 2 * len(picture)), listed("stss", 1, 3)
    at = 8 + 3 * len(picture)
    wide = full("co64", 1, rest=struct.pack(">Q", at))
    progressive = movie(
        media,
        trak(avc(2), stsz(*[len(picture)] * 3), *tables, number=1),
        trak(
            box("mp4a", bytes(28)),
            full("stsz", 5, 2),
            listed("stsc", 1, 2, 1, fields=3),
            wide,
            handler="soun",
            number=2,
        ),
        trak(
            TEXT,
            full("stz2", 4, 2, rest=b"\x22"),
            listed("stsc", 1, 2, 1, fields=3),
            listed("stco", at + 10),
            handler="text",
            number=3,
        ),
        trak(
            box("sowt", bytes(28)),
            full("stsz", 4, 6),
            listed("stsc", 1, 3, 1, fields=3),
            listed("stco", at + 16, at + 30),
            handler="soun",
            number=4,
        ),
    )
    slice_ = nal(4, b"\x26\1abc", b"\x42\1")
    runs = [
        full("trun", 2, 300, 0, len(slice_), NOT_SYNC, len(slice_), 0, flags=0x1 | 0x4 | 0x200 | 0x400),
        full("trun", 1, flags=0),
    ]
    fragment = box(
        "moof",
        box("traf", full("tfhd", 1, len(slice_), NOT_SYNC, flags=MOOF_BASE | 0x10 | 0x20), *runs),
        box("traf", full("tfhd", 2, 0, 1000, flags=0x1), full("trun", 3, flags=0)),
    )
    trex = full("trex", 1, 1, 0, 7, NOT_SYNC), full("trex", 2, 1, 0, 3, 0)
    moov = box("moov", trak(hevc(4), *no_tables(), number=1), trak(TEXT, *no_tables(), number=2), box("mvex", *trex))
    head = box("ftyp", b"iso5")
    body = bytearray(moov + fragment)
    start = len(head) + len(moov) + 300
    film = bytearray(head + body + box("mdat", bytes(1000)))
    film[start : start + 3 * len(slice_)] = slice_ * 3
    return progressive, bytes(film)


def test_the_seeds_are_whole() -> None:
    counts = []
    for seed in seeds():
        payload = read_payload(memoryview(seed))
        check_sound(payload, len(seed))
        counts.append([len(track.starts) for track in payload.tracks])
    assert counts == [[3, 2, 2, 2], [3, 3]]


def check(data: bytes) -> bool:
    """Read; tell whether it could be read."""
    try:
        payload = read_payload(memoryview(data))
    except NotMp4:
        return False
    check_sound(payload, len(data))
    return True


NUMBERS = st.sampled_from([0, 1, 2, 3, 7, 8, 9, 15, 16, 255, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 9, 2**32 - 1])


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from([0, 1]),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6),
    st.lists(st.tuples(st.integers(0, 4000), NUMBERS), max_size=3),
    st.integers(0, 5000),
)
def test_changed_and_cut_files(
    seed: int, changed: list[tuple[int, int]], numbers: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(seeds()[seed])
    for at, number in numbers:
        struct.pack_into(">I", data, at % (len(data) - 4), number)
    for at, value in changed:
        data[at % len(data)] = value
    check(bytes(data[:cut]))
    check(bytes(data))


def test_every_byte_changed_and_every_cut() -> None:
    read = 0
    for seed in seeds():
        for at in range(len(seed)):
            for value in (0, 1, 0xFF):
                read += check(seed[:at] + bytes([seed[at] ^ value]) + seed[at + 1 :])
            check(seed[:at])
    assert read > sum(map(len, seeds())), "unchanged files must be read; otherwise nothing was tested"


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([0, 1]), st.integers(0, 4000), st.integers(0, 4000), st.integers(0, 4000))
def test_pieces_moved_and_doubled(seed: int, start: int, stop: int, to: int) -> None:
    data = seeds()[seed]
    start, stop = sorted((start % len(data), stop % len(data)))
    to %= len(data)
    check(data[:to] + data[start:stop] + data[to:])
    check(data[:to] + data[start:stop] + data[to + stop - start :])
    check(data[:start] + data[stop:])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_noise(data: bytes) -> None:
    check(data)
    check(box("moov", data))
    check(movie(data, box("trak", data)))


@st.composite
def pictures(draw: st.DrawFn) -> tuple[int, list[list[bytes]]]:
    unit = st.builds(
        lambda kind, rest: bytes([kind]) + rest, st.sampled_from([0x65, 0x41, 0x67, 6, 9, 12]), st.binary(max_size=5)
    )
    return draw(st.sampled_from([1, 2, 3, 4])), draw(st.lists(st.lists(unit, max_size=6), min_size=1, max_size=12))


@settings(max_examples=200, deadline=None)
@given(pictures(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_slices_of_any_pictures_in_any_chunks(
    made: tuple[int, list[list[bytes]]], per_chunk: int, random: Random
) -> None:
    """Samples laid into shuffled chunks; the slices must come out in decode order and nothing else."""
    size, samples = made
    coded = [nal(size, *units) for units in samples]
    chunks = [coded[at : at + per_chunk] for at in range(0, len(coded), per_chunk)]
    order = list(range(len(chunks)))
    random.shuffle(order)
    media, places = b"", [0] * len(chunks)
    for number in order:
        places[number] = 8 + len(media)
        media += b"".join(chunks[number]) + b"gap"
    tables = stsz(*map(len, coded)), listed("stsc", 1, per_chunk, 1, fields=3), listed("stco", *places)
    data = movie(media, trak(avc(size), *tables))
    payload = read_payload(memoryview(data))
    check_sound(payload, len(data))
    (track,) = payload.tracks
    found = [b""] * len(samples)
    for sample, start, length in zip(track.samples, track.starts, track.lengths, strict=True):
        found[int(sample)] += data[int(start) : int(start + length)]
    assert found == [nal(size, *[unit for unit in units if 1 <= unit[0] & 31 <= 5]) for units in samples]
    touching = (track.starts[1:] == track.starts[:-1] + track.lengths[:-1]) & (np.diff(track.samples) == 0)
    assert not touching.any(), "neighbours of one sample must be one extent"
