"""Zstandard frames from anybody: what fits comes out, everything else is refused before it costs memory."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from backports.zstd import CompressionParameter, ZstdCompressor, compress

from sync import Corrupt, TooLong
from sync.patch import apply_patch, expand, patch, squeeze

MIB = 1 << 20
NOISE = random.Random(2).randbytes(300_000)


@pytest.mark.parametrize("raw", [b"", b"a", b"abc" * 5000, NOISE])
def test_squeezed_bytes_come_back(raw):
    assert expand(squeeze(raw), len(raw), most=len(raw)) == raw


@pytest.mark.parametrize("base", [b"", b"1234567", b"12345678", NOISE, NOISE[::-1]])
@pytest.mark.parametrize("raw", [b"", b"1234567", NOISE[:100_000] + b"new" + NOISE[100_000:]])
def test_patched_bytes_come_back(raw, base):
    assert apply_patch(patch(raw, base), base, len(raw), most=MIB) == raw


def test_a_small_change_makes_a_small_patch():
    assert len(patch(NOISE[:9] + b"new" + NOISE[9:], NOISE)) < 100


def test_a_change_far_behind_in_a_long_base_makes_a_small_patch():
    base = random.Random(3).randbytes(12 * MIB)
    stored = patch(base[: 100 * 1024] + b"new" + base[100 * 1024 :], base, level=3)
    assert len(stored) < len(base) / 500
    assert apply_patch(stored, base, len(base) + 3, most=16 * MIB)[: 100 * 1024 + 3] == base[: 100 * 1024] + b"new"


def test_the_same_input_makes_the_same_frame():
    assert squeeze(NOISE) == squeeze(memoryview(NOISE))
    assert patch(NOISE, NOISE[5:]) == patch(memoryview(NOISE), memoryview(NOISE)[5:])


def test_more_than_allowed_here_is_refused():
    with pytest.raises(TooLong):
        expand(squeeze(b"abc"), 3, most=2)
    with pytest.raises(TooLong):
        expand(squeeze(b"abc"), -1, most=2)


def test_a_frame_that_says_more_than_announced_is_refused():
    with pytest.raises(TooLong):
        expand(squeeze(bytes(100)), 99, most=MIB)


def test_a_frame_that_says_less_than_announced_is_refused():
    with pytest.raises(Corrupt):
        expand(squeeze(bytes(100)), 101, most=MIB)


def test_a_frame_that_does_not_say_its_length_is_refused():
    silent = compress(bytes(100), options={CompressionParameter.content_size_flag: 0})
    with pytest.raises(Corrupt):
        expand(silent, 100, most=MIB)


def test_a_bomb_costs_no_memory():
    bomb = compress(bytes(512 * MIB))
    lying = bytearray(bomb)
    at = lying.index((512 * MIB).to_bytes(4, "little"))
    lying[at : at + 4] = (5000).to_bytes(4, "little")
    tracemalloc.start()
    try:
        for stored in (bomb, bytes(lying)):
            with pytest.raises(Corrupt):
                expand(stored, 5000, most=MIB)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def _with_checksum(raw):
    return ZstdCompressor(options={CompressionParameter.checksum_flag: 1}).compress(raw, ZstdCompressor.FLUSH_FRAME)


def test_a_damaged_checksum_is_refused():
    stored = bytearray(_with_checksum(NOISE))
    assert expand(bytes(stored), len(NOISE), most=MIB) == NOISE
    stored[-1] ^= 1
    for damaged in (stored, stored[:-1], stored[:-4]):
        with pytest.raises(Corrupt):
            expand(bytes(damaged), len(NOISE), most=MIB)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: b"",
        lambda frame: frame[:3],
        lambda frame: frame[:5],
        lambda frame: frame[:-1],
        lambda frame: frame + b"\0",
        lambda frame: frame + frame,
        lambda frame: frame + squeeze(b""),
        lambda frame: b"\x50\x2a\x4d\x18\x04\0\0\0skip" + frame,
        lambda frame: frame + b"\x50\x2a\x4d\x18\x04\0\0\0skip",
        lambda frame: b"\x27\xb5\x2f\xfd" + frame[4:],
    ],
)
def test_anything_but_one_whole_frame_is_refused(change):
    raw = b"some text " * 500
    with pytest.raises(Corrupt):
        expand(change(squeeze(raw)), len(raw), most=MIB)


def test_any_damaged_byte_is_refused_or_changes_nothing_but_the_content():
    raw = bytes(random.Random(4).choices(b"abcdefgh", k=700))
    stored = squeeze(raw)
    for at in range(len(stored)):
        damaged = bytearray(stored)
        damaged[at] ^= 0x55
        try:
            got = expand(bytes(damaged), len(raw), most=MIB)
        except Corrupt:
            continue
        assert len(got) == len(raw)


@pytest.mark.parametrize(("window_log", "eighths"), [(10, 0), (26, 7), (27, 0), (27, 1), (28, 0), (31, 0), (41, 7)])
def test_a_window_beyond_the_limit_is_refused(window_log, eighths):
    """A frame by hand (RFC 8878 §3.1.1): window and content length are written, one raw block."""
    content = b"five!"
    frame = b"\x28\xb5\x2f\xfd\x80" + bytes([(window_log - 10) << 3 | eighths]) + len(content).to_bytes(4, "little")
    frame += (len(content) << 3 | 1).to_bytes(3, "little") + content
    if (window_log, eighths) <= (27, 0):
        assert expand(frame, 5, most=5) == content
    else:
        with pytest.raises(Corrupt):
            expand(frame, 5, most=5)


def test_a_frame_that_is_skipped_is_not_an_empty_content():
    with pytest.raises(Corrupt):
        expand(b"\x50\x2a\x4d\x18\x04\0\0\0skip", 0, most=MIB)


def test_a_patch_without_its_base_does_not_give_the_content():
    raw = NOISE[7:] + b"end"
    stored = patch(raw, NOISE)
    for other in (b"", NOISE[::-1]):
        try:
            assert apply_patch(stored, other, len(raw), most=MIB) != raw
        except Corrupt:
            continue
