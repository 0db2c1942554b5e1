"""RTSP grammar: strangers' sessions read, our writing pinned, any split, bounds."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.rtsp import (
    Headers,
    Interleaved,
    NptRange,
    Reader,
    Request,
    Response,
    Transport,
    WireError,
    parse_range,
    parse_transport,
    write_interleaved,
    write_request,
    write_response,
    write_transport,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "rtsp"
METHODS = ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN"]


def read(data: bytes, *cuts: int) -> list[object]:
    reader, found, edges = Reader(), [], [0, *sorted(cuts), len(data)]
    for start, stop in itertools.pairwise(edges):
        found += list(reader.feed(data[start:stop]))
    return found


@pytest.mark.parametrize("name", ["ffmpeg_session.bin", "gstreamer_session.bin"])
def test_reads_a_strangers_session(name: str) -> None:
    requests = read((VECTORS / name).read_bytes())
    assert [r.method for r in requests if isinstance(r, Request)] == METHODS
    assert all(isinstance(r, Request) and not r.deviations for r in requests)
    setup = requests[2]
    assert isinstance(setup, Request)
    (offer,) = parse_transport(setup.headers.get("Transport") or "")
    assert offer.profile in ("RTP/AVP", "RTP/AVP/UDP") and offer.client_port is not None


@given(st.sampled_from(["ffmpeg_session.bin", "gstreamer_session.bin"]), st.lists(st.integers(0, 900), max_size=6))
def test_any_split_reads_the_same(name: str, cuts: list[int]) -> None:
    data = (VECTORS / name).read_bytes()
    assert read(data, *(cut for cut in cuts if cut < len(data))) == read(data)


def test_writes_exactly_this() -> None:
    request = Request("PLAY", "rtsp://e/vod/7.mpg", Headers((("CSeq", "4"), ("Session", "5A17"))))
    assert write_request(request) == b"PLAY rtsp://e/vod/7.mpg RTSP/1.0\r\nCSeq: 4\r\nSession: 5A17\r\n\r\n"
    response = Response(200, "OK", Headers((("CSeq", "4"),)), b"ab")
    assert write_response(response) == b"RTSP/1.0 200 OK\r\nCSeq: 4\r\nContent-Length: 2\r\n\r\nab"
    assert write_interleaved(0, b"\x47xy") == b"$\x00\x00\x03\x47xy"


def test_media_and_messages_share_a_connection() -> None:
    raw = write_interleaved(0, b"abc") + b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n" + write_interleaved(1, b"")
    kinds = [type(each) for each in read(raw)]
    assert kinds == [Interleaved, Response, Interleaved]


def test_bare_header_lines_are_kept_and_reported() -> None:
    (request,) = read(b"GET_PARAMETER rtsp://e/ RTSP/1.0\r\nCSeq: 2\r\nx-Timeshift_Range\r\n\r\n")
    assert isinstance(request, Request)
    assert "x-Timeshift_Range" in request.headers and "bare-header" in {d.code for d in request.deviations}


@pytest.mark.parametrize("raw", [b"\x00" * 40 + b"\r\n\r\n", b"A" * 20000, b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 4000])
def test_what_cannot_be_read_is_an_error_and_never_grows(raw: bytes) -> None:
    with pytest.raises(WireError):
        read(raw)


BOX = "MP2T/TCP;unicast;interleaved=0-1,MP2T/RTP/UDP;unicast;destination=10.0.0.9;client_port=40000-40001"


def test_transport_lists() -> None:
    first, second = parse_transport(BOX)
    assert (first.profile, first.interleaved) == ("MP2T/TCP", (0, 1))
    assert (second.profile, second.client_port, second.destination) == ("MP2T/RTP/UDP", (40000, 40001), "10.0.0.9")
    chosen = Transport(profile="MP2T/TCP", interleaved=(0, 1), source="192.0.2.1")
    assert write_transport(chosen).startswith("MP2T/TCP;unicast") and "interleaved=0-1" in write_transport(chosen)
    assert parse_transport(write_transport(chosen)) == (chosen,)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("npt=beginning-", "beginning", None),
        ("npt=0-", 0.0, None),
        ("npt=now-", "now", None),
        ("npt=12.5-20", 12.5, 20.0),
        ("npt=5.000-", 5.0, None),
        ("npt=end-", "end", None),
    ],
)
def test_npt_spellings(text: str, start: object, end: object) -> None:
    assert parse_range(text) == NptRange(start, end)  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(WireError):
        read(raw)
