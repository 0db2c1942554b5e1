"""Session descriptions: strangers' read, ours pinned, bad ones refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.sdp import SDP_MAX_BYTES, MediaDescription, SdpError, Session, parse, write

VECTORS = Path(__file__).parents[1] / "vectors" / "sdp"


def raw(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def test_ffmpegs_description() -> None:
    session = parse(raw("ffmpeg.sdp"))
    assert session.name == "No Name" and session.connection == "IN IP4 127.0.0.1" and session.deviations == ()
    assert session.media == (MediaDescription("video", 5004, "RTP/AVP", ("32",)),)


def test_the_description_of_gst_rtsp_server() -> None:
    session = parse(raw("gst_rtsp_server.sdp"))
    (video,) = session.media
    assert (session.control, session.range, video.control) == ("*", "npt=0-", "stream=0")
    assert (video.profile, video.formats, video.connection) == ("RTP/AVP", ("33",), "IN IP4 0.0.0.0")
    assert ("rtpmap", "33 MP2T/90000") in video.attributes and session.deviations == ()


BOX = Session(
    origin="- 7 1 IN IP4 192.0.2.1",
    name="7",
    attributes=(("control", "*"), ("range", "npt=0-2710")),
    media=(MediaDescription("video", 0, "MP2T/TCP", ("33",), (("control", "trackID=1"),)),),
)


def test_a_boxs_description_both_ways() -> None:
    assert parse(raw("box_vod.sdp")) == BOX
    assert write(BOX) == raw("box_vod.sdp")


def test_a_range_of_the_media_counts_when_the_session_has_none() -> None:
    media = MediaDescription("video", 0, "RTP/AVP", ("33",), (("range", "npt=0-9"), ("recvonly", None)))
    assert Session(media=(media,)).range == "npt=0-9"
    assert b"a=recvonly\r\n" in write(Session(media=(media,)))
    assert parse(write(Session(media=(media,)))).media == (media,)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bad_no_version.sdp", "begins with v=0"),
        ("bad_media_line.sdp", "media line"),
        ("bad_line.sdp", "letter=value"),
    ],
)
def test_bad_ones_are_refused_in_words(name: str, words: str) -> None:
    with pytest.raises(SdpError, match=words):
        parse(raw(name))


def test_oddities_are_reported_and_read() -> None:
    session = parse("v=0\ns=课件\nm=video 0 RTP/AVP 33\n".encode("gbk"))
    assert session.deviations == ("not-utf8", "bare-lf", "no-origin", "no-timing")
    assert session.media[0].formats == ("33",)


def test_it_is_bounded_and_lines_cannot_be_smuggled_in() -> None:
    with pytest.raises(SdpError, match="at most"):
        parse(b"v=0\r\n" + b"a" * SDP_MAX_BYTES)
    with pytest.raises(SdpError, match="lines"):
        parse(b"v=0\r\n" + b"a=b\r\n" * 2000)
    with pytest.raises(ValueError, match="line end"):
        write(Session(name="x\r\nm=audio 0 RTP/AVP 0"))


@given(st.binary(max_size=300).map(lambda tail: b"v=0\r\n" + tail))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(SdpError):
        parse(data)
