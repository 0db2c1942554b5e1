"""RTSP by vectors: a stranger's server read as a client reads it, a box's dialect both ways, bad ones refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.rtsp import (
    Deviation,
    Headers,
    Interleaved,
    Message,
    Reader,
    Request,
    Response,
    WireError,
    parse_transport,
    write_interleaved,
    write_request,
    write_response,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "rtsp"
GOOD = sorted(path.name for path in VECTORS.glob("*.bin") if not path.name.startswith("bad_"))


def raw(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def read(data: bytes) -> list[Message]:
    return list(Reader().feed(data))


def written(message: Message) -> bytes:
    match message:
        case Request():
            return write_request(message)
        case Response():
            return write_response(message)
        case Interleaved():
            return write_interleaved(message.channel, message.payload)


def test_a_strangers_server_is_read() -> None:
    messages = read(raw("gst_rtsp_server_answers.bin"))
    statuses = [each.status for each in messages if isinstance(each, Response)]
    assert statuses == [200, 200, 461, 200, 200]
    description = messages[1]
    assert (
        isinstance(description, Response) and description.body.startswith(b"v=0\r\n") and len(description.body) == 346
    )
    setup = messages[3]
    assert isinstance(setup, Response)
    (chosen,) = parse_transport(setup.headers.get("transport") or "")
    assert (chosen.profile, chosen.interleaved, chosen.mode) == ("RTP/AVP/TCP", (0, 1), "PLAY")
    frame = messages[-1]
    assert isinstance(frame, Interleaved) and frame.channel == 0 and len(frame.payload) == 1328


def test_a_boxs_session_is_read() -> None:
    describe, setup, play, keep_alive, teardown = read(raw("box_vod_tcp.bin"))
    assert isinstance(describe, Request) and describe.deviations == (Deviation("bare-header", "x-Burst"),)
    assert isinstance(setup, Request)
    offers = parse_transport(setup.headers.get("Transport") or "")
    assert [each.profile for each in offers] == ["MP2T/TCP", "MP2T/RTP/TCP", "MP2T/RTP/UDP", "MP2T/UDP"]
    assert offers[2].destination == "10.0.0.9" and offers[2].client_port == (40000, 40001)
    assert isinstance(play, Request) and play.headers.get("range") == "npt=0-"
    assert isinstance(keep_alive, Request) and keep_alive.headers.get("x-timeshift_range") == ""
    assert isinstance(teardown, Request) and teardown.deviations == ()


EDGE = [
    Response(
        200,
        "OK",
        Headers(
            (
                ("CSeq", "2"),
                ("Session", "5A17;timeout=180"),
                ("Transport", "MP2T/TCP;unicast;interleaved=0-1;source=192.0.2.1"),
            )
        ),
    ),
    Response(
        200,
        "OK",
        Headers((("CSeq", "3"), ("Session", "5A17"), ("Range", "npt=0.000-2710.000"), ("Scale", "1"))),
    ),
    Interleaved(0, b"\x47" + bytes(187)),
    Request("ANNOUNCE", "rtsp://edge/vod/7.mpg", Headers((("CSeq", "900"), ("Session", "5A17"), ("x-notice", "2101")))),
    Response(200, "OK", Headers((("CSeq", "5"), ("Session", "5A17")))),
]


def test_what_the_edge_says_is_pinned_both_ways() -> None:
    assert read(raw("edge_vod_tcp.bin")) == EDGE
    assert b"".join(written(each) for each in EDGE) == raw("edge_vod_tcp.bin")


@pytest.mark.parametrize("name", GOOD)
def test_byte_by_byte_is_as_good_as_at_once(name: str) -> None:
    data, reader = raw(name), Reader()
    slowly = [message for byte in data for message in reader.feed(bytes((byte,)))]
    assert slowly == read(data)


@given(st.sampled_from(GOOD), st.data())
def test_any_split_gives_the_same_messages(name: str, data: st.DataObject) -> None:
    whole, reader, at = raw(name), Reader(), 0
    found: list[Message] = []
    while at < len(whole):
        step = data.draw(st.integers(1, max(1, len(whole) - at)))
        found += reader.feed(whole[at : at + step])
        at += step
    assert found == read(whole)


BAD = {
    "bad_status.bin": "three digits",
    "bad_request_line.bin": "METHOD URI",
    "bad_two_lengths.bin": "not one number",
    "bad_length_negative.bin": "not one number",
    "bad_body_too_large.bin": "at most 65536",
    "bad_nul_in_header.bin": "control character",
    "bad_nameless_header.bin": "no name",
}


@pytest.mark.parametrize(("name", "words"), BAD.items())
def test_bad_ones_are_refused_in_words_and_for_good(name: str, words: str) -> None:
    reader = Reader()
    with pytest.raises(WireError, match=words):
        list(reader.feed(raw(name)))
    with pytest.raises(WireError, match=words):
        list(reader.feed(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"))


def test_every_bad_vector_has_its_words() -> None:
    assert {path.name for path in VECTORS.glob("bad_*")} == set(BAD)


def test_bounds_hold_at_the_very_byte() -> None:
    head = b"OPTIONS * RTSP/1.0\r\nX: " + b"a" * 100 + b"\r\n\r\n"
    assert len(list(Reader(max_head_bytes=len(head)).feed(head))) == 1
    for split in (1, len(head)):
        reader = Reader(max_head_bytes=60)
        with pytest.raises(WireError, match="within 60 bytes"):
            for at in range(0, len(head), split):
                list(reader.feed(head[at : at + split]))
    with pytest.raises(WireError, match="128 header lines"):
        list(Reader().feed(b"OPTIONS * RTSP/1.0\r\n" + b"a: b\r\n" * 129 + b"\r\n"))


@pytest.mark.parametrize(
    "message",
    [
        Request("play", "rtsp://e/"),
        Request("PLAY", "rtsp://e/ x"),
        Request("PLAY", "rtsp://e/\r\nX: y"),
        Request("PLAY", "*", Headers((("A b", "c"),))),
        Request("PLAY", "*", Headers((("A", "c\r\nd"),))),
        Request("PLAY", "*", Headers((("Content-Length", "3"),)), b"ab"),
        Response(99, "No"),
        Response(200, "a\r\nb"),
    ],
    ids=lambda each: re.sub(r"\W+", "-", repr(each))[:40],
)
def test_the_writer_cannot_deviate(message: Message) -> None:
    with pytest.raises(ValueError):
        written(message)
