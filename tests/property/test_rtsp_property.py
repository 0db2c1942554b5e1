"""Whatever may be written is read back as it was, in any split; whatever is fed, the buffer stays bounded."""

from __future__ import annotations

import contextlib
from datetime import UTC
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge_server.egress.rtsp.negotiate import choose
from wire.rtsp import (
    ClockRange,
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
    write_clock,
    write_interleaved,
    write_npt,
    write_request,
    write_response,
    write_transport,
)

token = st.text(st.sampled_from("abcXYZ019-_.!"), min_size=1, max_size=12)
text = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zs", "Zl", "Zp", "Cf")), min_size=1, max_size=20)
words = st.lists(text, max_size=3).map(" ".join)
headers = st.lists(st.tuples(token.filter(lambda n: n.lower() != "content-length"), words), max_size=6).map(Headers)
requests = st.builds(Request, token.map(str.upper), text, headers)
responses = st.builds(Response, st.integers(100, 999), words, headers)
frames = st.builds(Interleaved, st.integers(0, 255), st.binary(max_size=80))


def written(message: Request | Response | Interleaved) -> bytes:
    match message:
        case Request():
            return write_request(message)
        case Response():
            return write_response(message)
        case Interleaved():
            return write_interleaved(message.channel, message.payload)


@given(st.lists(requests | responses | frames, max_size=6), st.lists(st.integers(0, 2000), max_size=8))
def test_what_is_written_is_read_in_any_split(
    messages: list[Request | Response | Interleaved], cuts: list[int]
) -> None:
    data = b"".join(map(written, messages))
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    reader = Reader()
    assert [found for a, b in pairwise(edges) for found in reader.feed(data[a:b])] == messages


@given(st.lists(st.binary(max_size=60), max_size=40))
def test_any_bytes_are_read_or_refused_and_never_pile_up(pieces: list[bytes]) -> None:
    reader = Reader(max_head_bytes=100, max_body_bytes=100)
    with contextlib.suppress(WireError):
        for piece in pieces:
            list(reader.feed(piece))
            assert len(reader._buffer) <= 65_539


port = st.integers(1, 65534).map(lambda p: (p, p + 1)) | st.integers(1, 65535).map(lambda p: (p, p))
name = st.text(st.sampled_from("abc019.:-"), min_size=1, max_size=12)
transports = st.builds(
    Transport,
    profile=st.sampled_from(["MP2T/RTP/UDP", "MP2T/TCP", "RTP/AVP", "RAW/RAW/UDP"]),
    unicast=st.booleans(),
    client_port=st.none() | port,
    destination=st.none() | name,
    interleaved=st.none() | st.integers(0, 254).map(lambda c: (c, c + 1)),
    server_port=st.none() | port,
    source=st.none() | name,
    mode=st.none() | st.sampled_from(["PLAY", "RECORD"]),
    ssrc=st.none() | st.integers(0, 2**32 - 1),
)


@given(st.lists(transports, min_size=1, max_size=6))
def test_transport_lists_are_read_as_written(offers: list[Transport]) -> None:
    assert list(parse_transport(",".join(map(write_transport, offers)))) == offers


@given(st.lists(transports, max_size=6), st.sets(st.integers(0, 255)))
def test_a_chosen_link_is_always_one_of_the_offers_and_never_a_taken_channel(
    offers: list[Transport], taken: set[int]
) -> None:
    link = choose(offers, taken)
    if link is not None:
        assert any(each.profile == link.profile and each.unicast for each in offers)
        assert not set(link.channels or ()) & taken


moments = st.datetimes(timezones=st.just(UTC)).map(lambda t: t.replace(microsecond=0))


@given(st.floats(0, 1e6) | st.sampled_from(["beginning", "now", "end"]), st.none() | st.floats(0, 1e6))
def test_npt_is_read_as_written_to_the_millisecond(start: float | str, end: float | None) -> None:
    found = parse_range(write_npt(start, end))  # type: ignore[arg-type]
    assert isinstance(found, NptRange)
    for wanted, got in ((start, found.start), (end, found.end)):
        if isinstance(wanted, float):
            assert isinstance(got, float) and abs(got - wanted) <= 0.0006
        else:
            assert got == wanted


@given(moments.filter(lambda t: t.year >= 1000), st.none() | moments.filter(lambda t: t.year >= 1000))
def test_clock_is_read_as_written(start: object, end: object) -> None:
    assert parse_range(write_clock(start, end)) == ClockRange(start, end)  # type: ignore[arg-type]
