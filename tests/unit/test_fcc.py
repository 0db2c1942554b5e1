"""Fast channel change: the messages of the reference page to the byte, both sets; what is no message is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.fcc import Action, End, Face, FccError, Join, Message, Punch, Request, Response, parse, write

GROUP = "239.1.1.1"
STB_ID = bytes.fromhex("00112233445566778899aabbccddeeff")
VECTORS: list[tuple[Face, Message, str]] = [
    (
        "telecom",
        Request(GROUP, 40_000, 5140, stb_id=STB_ID),
        "82cd000900000000ef010101000000009c401414ef010101" + STB_ID.hex(),
    ),
    ("telecom", End(GROUP, 0x1234), "85cd000300000000ef01010100001234"),
    (
        "huawei",
        Request(GROUP, 40_000, client_ip="10.0.0.9"),
        "85cd000700000000ef01010100000000000000000a0000099c40800020000000",
    ),
    ("huawei", End(GROUP, 0x1234), "89cd000300000000ef01010101001234"),
    ("huawei", Punch(0x1234ABCD), "000300001234abcd"),
]
"""Samples of stb_protocols §4.11."""
BY_OFFSET: list[tuple[Face, Message, str]] = [
    ("telecom", Join(GROUP), "84cd000200000000ef010101"),
    ("telecom", End(GROUP, None), "85cd000300000000ef01010101000000"),
    (
        "telecom",
        Response(GROUP, True, Action.BURST, "10.0.0.2", 15_970, 16_000, 10_000_000, 8_000_000, 30),
        "83cd000800000000ef01010100023e623e8000000a0000020000001e00989680007a1200",
    ),
    ("huawei", Join(GROUP), "88cd000200000000ef010101"),
    ("huawei", End(GROUP, None), "89cd000300000000ef01010102000000"),
    (
        "huawei",
        Response(
            GROUP,
            True,
            Action.BURST,
            "10.0.0.2",
            media_port=9000,
            burst_bps=8_748_000,
            first_sequence=77,
            session=0x12345678,
            punch=True,
        ),
        "86cd000800000000ef01010101000002004d0000222c000020002328123456780a000002",
    ),
]
"""Written by hand from the offsets of the same section."""


@pytest.mark.parametrize(("face", "message", "wire"), VECTORS + BY_OFFSET)
def test_the_bytes_are_those_of_the_page(face: Face, message: Message, wire: str) -> None:
    assert write(message, face).hex() == wire
    assert parse(bytes.fromhex(wire), face) == message


def test_huaweis_short_answer_is_read() -> None:
    short = bytes.fromhex("86cd000500000000ef01010101000002004d0000222c0000")
    assert parse(short, "huawei") == Response(GROUP, True, Action.BURST, burst_bps=8_748_000, first_sequence=77)


def test_format_five_asks_in_one_set_and_ends_in_the_other() -> None:
    """D8: the same first byte; the port says which set it is."""
    ending = bytes.fromhex("85cd000300000000ef01010100001234")
    assert parse(ending, "telecom") == End(GROUP, 0x1234)
    with pytest.raises(FccError):
        parse(ending, "huawei")


@pytest.mark.parametrize("face", ["telecom", "huawei"])
@pytest.mark.parametrize(
    "broken",
    [
        "",
        "82cd",
        "82c8000200000000ef010101",  # a sender report
        "42cd000200000000ef010101",  # version 1
        "84cd000300000000ef010101",  # length beyond the datagram
        "9fcd000200000000ef010101",  # format 31
        "83cd000200000000ef010101",  # an answer without its fields, and of no meaning in the other set
        "86cd000500000000ef010101010000090000000000000000",  # an action that does not exist
        "86cd000500000000ef010101010000030000000000000000",  # elsewhere, without saying where
    ],
)
def test_what_is_no_message_is_refused(face: Face, broken: str) -> None:
    with pytest.raises(FccError):
        parse(bytes.fromhex(broken), face)


@given(st.binary(max_size=64), st.sampled_from(["telecom", "huawei"]))
def test_any_bytes_are_a_message_or_refused(data: bytes, face: Face) -> None:
    try:
        message = parse(data, face)
    except FccError:
        return
    assert parse(write(message, face), face) == message


def test_telecom_has_no_punch() -> None:
    with pytest.raises(FccError):
        write(Punch(1), "telecom")
