"""RTP and RTCP: strangers' packets read, our bytes pinned, bad ones refused, sequence numbers followed."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.rtp import (
    Description,
    Goodbye,
    OtherRtcp,
    ReceiverReport,
    ReportBlock,
    RtpError,
    RtpPacket,
    SenderReport,
    SequenceMeter,
    parse_rtcp,
    parse_rtp,
    write_rtcp,
    write_rtp,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "rtp"
NAME = "box" + "x" * 25


def raw(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


@pytest.mark.parametrize("name", ["rtp_ffmpeg_mp2t.bin", "rtp_gstreamer_mp2t.bin"])
def test_a_strangers_packet_is_read_and_written_to_the_byte(name: str) -> None:
    packet = parse_rtp(raw(name))
    assert packet.payload_type == 33 and len(packet.payload) == 7 * 188
    assert set(packet.payload[::188]) == {0x47}
    assert write_rtp(packet) == raw(name)


def test_sources_extension_and_padding_are_skipped() -> None:
    packet = parse_rtp(raw("rtp_csrc_extension_padding.bin"))
    assert packet == RtpPacket(33, 0xFFFE, 16, 0xDEADBEEF, True, bytes.fromhex("47000102"))


def test_written_bytes_are_those_of_the_rfc() -> None:
    packet = RtpPacket(33, 0x1234, 0x01020304, 0xA0B0C0D0, False, b"G")
    assert write_rtp(packet) == bytes.fromhex("80211234 01020304 a0b0c0d0 47")
    assert write_rtp(RtpPacket(33, 1, 2, 3, True)) == bytes.fromhex("80a10001 00000002 00000003")


SR = SenderReport(0x19343F77, 0xEEAFB0E74C35696E, 0x22A1ABC0, 0x17C, 0x7A170)
STRANGERS = [
    ("rtcp_gstreamer_sr_sdes.bin", (SR, Description(0x19343F77, NAME))),
    (
        "rtcp_gstreamer_sr_sdes_bye.bin",
        (
            SenderReport(0x19343F77, 0xEEAFB0EA41681ECD, 0x22A5BB9A, 0x2EA, 0xEFAE8),
            Description(0x19343F77, NAME),
            Goodbye((0x19343F77,)),
        ),
    ),
    (
        "rtcp_gstreamer_rr_sdes.bin",
        (
            ReceiverReport(0x7C715CD3, (ReportBlock(0x19343F77, 0, -1, 0x1102, 0x1368, 0, 0),)),
            Description(0x7C715CD3, NAME),
        ),
    ),
    ("rtcp_zte_pss0_app.bin", (OtherRtcp(204, 0, bytes.fromhex("0000abcd505353300000abcd0064000000010040")),)),
]


@pytest.mark.parametrize(("name", "wanted"), STRANGERS, ids=lambda value: value if isinstance(value, str) else "")
def test_control_packets_are_read(name: str, wanted: tuple[object, ...]) -> None:
    assert parse_rtcp(raw(name)) == wanted


def test_ffmpegs_report_is_read_and_written_to_the_byte() -> None:
    (report,) = parse_rtcp(raw("rtcp_ffmpeg_sr.bin"))
    assert isinstance(report, SenderReport) and report.packets == 0
    assert write_rtcp([report]) == raw("rtcp_ffmpeg_sr.bin")


def test_written_control_bytes_are_pinned() -> None:
    assert write_rtcp([SR]) == raw("rtcp_gstreamer_sr_sdes.bin")[:28]
    assert write_rtcp([Goodbye((0x19343F77,))]) == raw("rtcp_gstreamer_sr_sdes_bye.bin")[-8:]
    assert write_rtcp([STRANGERS[2][1][0]]) == raw("rtcp_gstreamer_rr_sdes.bin")[:32]  # type: ignore[list-item]
    assert write_rtcp([Description(1, "edge")]) == bytes.fromhex("81ca0003 00000001 0104") + b"edge\0\0"
    assert write_rtcp([Description(1, "ab")]) == bytes.fromhex("81ca0003 00000001 0102") + b"ab\0\0\0\0"


BAD = {
    "bad_rtp_version.bin": "version 1",
    "bad_rtp_short.bin": "11 bytes",
    "bad_rtp_padding.bin": "padding of 255",
    "bad_rtp_extension.bin": "longer than the packet",
}


@pytest.mark.parametrize(("name", "words"), BAD.items())
def test_what_is_no_rtp_is_refused_in_words(name: str, words: str) -> None:
    with pytest.raises(RtpError, match=words):
        parse_rtp(raw(name))


@pytest.mark.parametrize(("name", "words"), [("bad_rtcp_length.bin", "40 bytes in 8"), ("bad_rtcp_count.bin", "short")])
def test_what_is_no_rtcp_is_refused_in_words(name: str, words: str) -> None:
    with pytest.raises(RtpError, match=words):
        parse_rtcp(raw(name))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (parse_rtp, parse_rtcp):
        with contextlib.suppress(RtpError):
            read(data)


def counts(numbers: list[int]) -> tuple[int, int, int, int]:
    meter = SequenceMeter()
    for number in numbers:
        meter.feed(number & 0xFFFF)
    return meter.received, meter.lost, meter.reordered, meter.duplicates


@pytest.mark.parametrize(
    ("numbers", "wanted"),
    [
        ([65534, 65535, 65536, 65537], (4, 0, 0, 0)),
        ([1, 2, 5], (3, 2, 0, 0)),
        ([1, 3, 2, 4], (4, 0, 1, 0)),
        ([1, 2, 2, 3], (4, 0, 0, 1)),
        ([65535, 65537, 65536], (3, 0, 1, 0)),
        ([1, 3, 2, 2], (4, 0, 1, 1)),
        ([], (0, 0, 0, 0)),
    ],
)
def test_sequence_numbers_are_followed(numbers: list[int], wanted: tuple[int, int, int, int]) -> None:
    assert counts(numbers) == wanted


@given(st.integers(0, 65535), st.sets(st.integers(1, 400), max_size=60))
def test_exactly_the_dropped_ones_are_lost_across_any_wrap(first: int, dropped: set[int]) -> None:
    sent = [first + index for index in range(402)]
    kept = [number for index, number in enumerate(sent) if index not in dropped]
    assert counts(kept) == (len(kept), len(dropped), 0, 0)


def test_an_announced_restart_is_no_loss_and_memory_stays_bounded() -> None:
    meter = SequenceMeter()
    meter.feed(10)
    meter.restart()
    meter.feed(30_000)
    assert meter.lost == 0
    for step in itertools.islice(itertools.count(30_000, 20_000), 1, 50):
        meter.feed(step & 0xFFFF)
    assert meter.lost == 49 * 19_999
    assert len(meter._missing) <= 4096
