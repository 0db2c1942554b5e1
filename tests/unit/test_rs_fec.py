"""Parity packets: the generator that operators' streams have, an independent decoder's verdict, every loss mended."""

from __future__ import annotations

import itertools
import random

import pytest
import reedsolo
from hypothesis import given, settings
from hypothesis import strategies as st

from wire.rs_fec import FecError, Parity, Points, generator, mend, parse_parity, protect, write_parity
from wire.rtp import RtpPacket, parse_rtp, write_rtp


def block(count: int, first: int = 65_530, length: int = 60) -> list[bytes]:
    dice = random.Random(count)
    return [write_rtp(RtpPacket(33, first + n & 0xFFFF, n, 7, payload=dice.randbytes(length))) for n in range(count)]


def lose(packets: list[bytes], gone: set[int]) -> dict[int, bytes]:
    return {n: packet for n, packet in enumerate(packets) if n not in gone}


def test_the_generator_is_the_one_of_operators_streams() -> None:
    """Coefficients that were worked out from captures of a 100 + 5 stream, and of another of 48 + 3."""
    rows = generator(100, 5)
    assert rows[0, :8].tobytes().hex() == "208589dfd065b2f4" and rows[0, -4:].tobytes().hex() == "1b1c1214"
    assert rows[3, :4].tobytes().hex() == "df898520"
    assert rows[4, :8].tobytes().hex() == "3c66a811ccfa416f" and rows[4, -2:].tobytes().hex() == "c4d8"
    others = generator(48, 3, "powers")
    assert [row[:8].tobytes().hex() for row in others] == ["d04e3563056b9071", "e750837aaabf7752", "3dde239bad77e48e"]


@pytest.mark.parametrize("parity_count", [5, 16, 40])
def test_a_stranger_accepts_our_words(parity_count: int) -> None:
    """All 255 powers of x are the points of the classic cyclic code; reedsolo checks words of it."""
    dice = random.Random(parity_count)
    packets = [dice.randbytes(20) for _ in range(255 - parity_count)]
    parities = protect(packets, parity_count, "powers")
    codec = reedsolo.RSCodec(parity_count, prim=0x11D, fcr=1, generator=2)
    for place in range(20):
        word = bytes(packet[place] for packet in packets) + bytes(parity.data[place] for parity in parities)
        assert codec.check(word[::-1]) == [True]
        assert codec.check(bytes([word[0] ^ 1]) + word[1:]) == [False]


@pytest.mark.parametrize("points", ["numbers", "powers"])
def test_every_loss_within_the_parity_is_mended(points: Points) -> None:
    packets = block(6)
    parities = protect(packets, 3, points)
    for lost in range(4):
        for gone in itertools.combinations(range(6), lost):
            for left in itertools.combinations(range(3), lost):
                there = {n: parities[n].data for n in left}
                mended = mend(lose(packets, set(gone)), there, parities[0], points)
                assert mended == {n: packets[n] for n in gone}


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 120), st.integers(1, 10), st.randoms(use_true_random=False))
def test_blocks_of_any_size(count: int, parity_count: int, dice: random.Random) -> None:
    packets = block(count, length=dice.randint(1, 40))
    parities = protect(packets, parity_count)
    gone = set(dice.sample(range(count), min(parity_count, count)))
    left = dice.sample(range(parity_count), len(gone))
    mended = mend(lose(packets, gone), {n: parities[n].data for n in left}, parities[0])
    assert mended == {n: packets[n] for n in gone}


def test_a_short_packet_comes_back_with_zeros_behind_it() -> None:
    packets = [*block(3), write_rtp(RtpPacket(33, 65_533, 0, 7, payload=b"short"))]
    parities = protect(packets, 1)
    assert parities[0].protected_bytes == 72
    mended = mend(lose(packets, {3}), {0: parities[0].data}, parities[0])[3]
    assert mended[:17] == packets[3] and not any(mended[17:])
    assert parse_rtp(mended).sequence == 65_533


def test_more_than_the_parity_is_not_mended() -> None:
    packets = block(5)
    parities = protect(packets, 2)
    with pytest.raises(FecError):
        mend(lose(packets, {0, 1, 2}), {n: each.data for n, each in enumerate(parities)}, parities[0])
    assert mend(lose(packets, set()), {}, parities[0]) == {}


def test_the_bytes_are_those_of_the_page() -> None:
    parity = Parity(0xFFFE, 0x0001, 2, 1, 12, bytes(range(12)))
    wire = write_parity(parity)
    assert wire.hex() == "fffe00010201000c000c0000" + bytes(range(12)).hex()
    assert parse_parity(wire) == parity and parity.count == 4


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "00010002020100",
        "0001000202020014000c0000" + "00" * 20,  # index 2 of 2
        "000100020201000c000c0000" + "00" * 11,  # cut off
        "000100020201000c000d0000" + "00" * 12,  # protects more than it has
        "0001000a0000000c000c0000" + "00" * 12,  # no parity at all
        "0001010102010014000c0000" + "00" * 20,  # 257 packets
    ],
)
def test_what_is_no_parity_is_refused(broken: str) -> None:
    with pytest.raises(FecError):
        parse_parity(bytes.fromhex(broken))


def test_more_packets_than_points_are_refused() -> None:
    assert generator(250, 6).shape == (6, 250)
    with pytest.raises(FecError):
        generator(250, 7)
    with pytest.raises(FecError):
        generator(250, 6, "powers")
    with pytest.raises(FecError):
        protect([], 2)
