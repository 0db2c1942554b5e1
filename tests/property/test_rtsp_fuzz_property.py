"""Whatever a box may spell, and whatever may be broken in it: read or refused, answered once, in bounded memory.

A hundred examples each by default; ``--hypothesis-profile=deep --timeout=1200`` takes twenty thousand.
"""

from __future__ import annotations

import contextlib
import itertools
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from edge_server.egress.rtsp.conversation import SESSIONS_MAX_COUNT
from edge_server.egress.rtsp.words import Close, Hangup, Open
from tests.unit.test_rtsp_conversation import Dialogue, messages
from wire.rtsp import (
    BODY_MAX_BYTES,
    HEAD_MAX_BYTES,
    ClockRange,
    NptRange,
    Reader,
    Request,
    Response,
    WireError,
    parse_range,
    parse_transport,
)
from wire.rtsp_punch import parse_punch
from wire.rtsp_transport import TRANSPORTS_MAX

number = st.sampled_from(["0", "00", "7", "59.5", "20.", ".5", "1e3", "-1", "+2", "99999999999", "nan", "inf", "٣", ""])
moment = (
    st.sampled_from(
        [
            "now",
            "begin",
            "beginning",
            "end",
            "NOW",
            "0:00:10",
            "1:59:60",
            "100:00:00.5",
            "20260101T000000Z",
            "20260101T000000.00Z",
            "20261332T250000Z",
            "20260101000000",
            "20260101000000GMT",
            "2026-01-01T00:00:00+08:00",
            "1767225600",
        ]
    )
    | number
)
ranges = st.builds(
    lambda unit, equals, start, dash, end, tail: unit + equals + start + dash + end + tail,
    st.sampled_from(["npt", "NPT", " npt ", "clock", "smpte", "bytes", ""]),
    st.sampled_from(["=", "==", " = ", ""]),
    moment,
    st.sampled_from(["-", " - ", "--", ""]),
    moment,
    st.sampled_from(["", ";time=19970123T143720Z", ";", "-"]),
)
parameter = st.builds(
    lambda name, value: f"{name}={value}",
    st.sampled_from(["client_port", "interleaved", "destination", "client_address", "ssrc", "mode", "source", "x"]),
    st.sampled_from(
        [
            "0",
            "0-1",
            "40000-40001",
            "65535-65536",
            "1-",
            "-1",
            "255-256",
            "10.0.0.9",
            '"PLAY"',
            '"',
            "",
            "FFFFFFFF",
            "é",
        ]
    ),
)
transport = st.builds(
    lambda profile, rest: ";".join([profile, *rest]),
    st.sampled_from(
        ["MP2T/RTP/UDP", "MP2T/UDP", "MP2T/TCP", "mp2t/rtp/tcp", "RTP/AVP", "RTP/AVP/TCP", "RAW/RAW/UDP", "MP2T", ""]
    ),
    st.lists(parameter | st.sampled_from(["unicast", "multicast", "", " "]), max_size=5),
)
transports = st.lists(transport, max_size=TRANSPORTS_MAX + 2).map(",".join)
line = st.one_of(
    ranges.map("Range: ".__add__),
    transports.map("Transport: ".__add__),
    number.map("Scale: ".__add__),
    st.sampled_from(
        [
            "x-Burst",
            "x-NAT: 10.0.0.9:40000",
            "x-NAT_Address:10.0.0.9:40000",
            f"Session: {1:016X}",
            f"Session: {6:016X};timeout=9",
            "Session:",
            "Speed: 1.1",
            "User-Agent: ZTE Ltd.co",
            "User-Agent: Lavf59",
            "Content-Length: 3",
            "Content-Length: -1",
            "Require: x",
            "Content-Length: 99999999999",
            " folded",
            ": nameless",
            "CSeq: 9",
            "CSeq:",
            "x: \x7f",
        ]
    ),
    st.text(max_size=20),
)
requests = st.builds(
    lambda method, url, version, lines, ends: ends.join([f"{method} {url}{version}", *lines, "", ""]),
    st.sampled_from(
        ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "play", "ANNOUNCE", "X", ""]
    ),
    st.sampled_from(
        [
            "rtsp://192.0.2.1/vod/7.mpg",
            "rtsp://192.0.2.1/vod/7.mpg/trackID=1",
            "*",
            "rtsp://[",
            "rtsp://e/vod/7.mpg?rendition=%",
        ]
    ),
    st.sampled_from([" RTSP/1.0", " RTSP/2.0", "  RTSP/1.0", " HTTP/1.1", ""]),
    st.lists(line, max_size=6).map(lambda lines: ["CSeq: 1", *lines]),
    st.sampled_from(["\r\n", "\n"]),
)


@given(ranges)
def test_a_range_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(WireError):
        assert isinstance(parse_range(text), NptRange | ClockRange)


@given(transports)
@example(";")  # once no profile at all was a crash instead of a refusal
def test_a_transport_list_is_read_or_refused_and_no_number_is_out_of_range(text: str) -> None:
    with contextlib.suppress(WireError):
        found = parse_transport(text)
        assert 0 < len(found) <= TRANSPORTS_MAX
        for each in found:
            assert all(0 <= port <= 65535 for port in each.client_port or ())
            assert all(0 <= channel <= 255 for channel in each.interleaved or ())


@given(st.binary(max_size=100) | st.binary(min_size=76, max_size=76).map(b"ZXV10STB".__add__))
def test_a_punch_is_read_or_is_none(data: bytes) -> None:
    assert (parse_punch(data) is not None) <= (len(data) in (8, 84))


@given(st.lists(requests, max_size=8), st.lists(st.integers(0, 3000), max_size=8), st.binary(max_size=8))
def test_every_request_is_answered_once_and_everything_is_given_back(
    asked: list[str], cuts: list[int], noise: bytes
) -> None:
    talk, reader = Dialogue(), Reader()
    drawn = itertools.count(1)
    talk.talk._draw = lambda bits: next(drawn)  # five numbers a session: the ids above are the first and the second
    data = "".join(asked).encode() + noise
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    given_back = 0
    with contextlib.suppress(WireError):
        for begin, end in pairwise(edges):
            for message in reader.feed(data[begin:end]):
                done = talk.tell(message)
                given_back += sum(isinstance(each, Close) for each in done)
                answers = [each for each in messages(done) if isinstance(each, Response)]
                assert len(answers) == isinstance(message, Request)
                assert len(talk.viewings) <= SESSIONS_MAX_COUNT
            assert len(reader._buffer) <= HEAD_MAX_BYTES + BODY_MAX_BYTES
    given_back += sum(isinstance(each, Close) for each in talk.talk._hangup("over"))
    assert given_back == len(talk.open) and all(isinstance(each, Open) for each in talk.open)
    assert len(talk.viewings) == 0 and isinstance(talk.talk._hangup("over")[-1], Hangup)
