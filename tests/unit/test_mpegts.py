"""Transport stream grammar against packets that ffmpeg wrote, and against the tables of ISO/IEC 13818-1."""

from __future__ import annotations

from pathlib import Path

import pytest

from wire.mpegts import (
    ContinuityMeter,
    Pat,
    Pmt,
    WireError,
    crc32_mpeg,
    discontinuity_preamble,
    parse_packet,
    parse_pat,
    parse_pes_header,
    parse_pmt,
    parse_section,
    write_adaptation_only,
    write_packet,
    write_pat,
    write_pes_header,
    write_pmt,
    write_section_packets,
)

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "mpegts"


def vector(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def test_crc_check_value():
    assert crc32_mpeg(b"123456789") == 0x0376E6E7


def test_pat_of_ffmpeg_is_read_and_written_alike():
    packet = parse_packet(vector("ffmpeg_pat.bin"))
    assert (packet.pid, packet.unit_start, packet.continuity, packet.deviations) == (0, True, 0, ())
    pat = parse_pat(parse_section(packet.payload))
    assert pat == Pat(1, ((1, 0x1000),))
    assert write_section_packets(0, write_pat(pat), 0) == vector("ffmpeg_pat.bin")


def test_pmt_of_ffmpeg_is_read():
    pmt = parse_pmt(parse_section(parse_packet(vector("ffmpeg_pmt.bin")).payload))
    assert pmt == Pmt(1, 0x100, ((0x1B, 0x100), (0x0F, 0x101)))


def test_written_pmt_reads_back_with_a_good_crc():
    section = write_pmt(Pmt(7, 0x100, ((0x1B, 0x100),), version=3))
    assert section[:3] == b"\x02\xb0\x12" and crc32_mpeg(section) == 0
    assert parse_pmt(section) == Pmt(7, 0x100, ((0x1B, 0x100),), version=3)


def test_video_start_of_ffmpeg():
    packet = parse_packet(vector("ffmpeg_video_start.bin"))
    assert packet.pid == 0x100 and packet.unit_start and packet.pcr == 63000 * 300
    pes = parse_pes_header(packet.payload)
    assert (pes.stream_id, pes.pts, pes.dts, pes.packet_length, pes.deviations) == (0xE0, 133200, 126000, 0, ())
    assert packet.payload[pes.header_bytes : pes.header_bytes + 6] == b"\0\0\0\1\x09\xf0"
    written = write_pes_header(0xE0, 70000, 133200, 126000, aligned=False)
    assert written == packet.payload[: pes.header_bytes]


def test_audio_start_of_ffmpeg():
    packet = parse_packet(vector("ffmpeg_audio_start.bin"))
    pes = parse_pes_header(packet.payload)
    assert pes.stream_id == 0xC0 and pes.pts is not None and pes.dts is None
    written = write_pes_header(0xC0, pes.packet_length - 8, pes.pts, aligned=False)
    assert written == packet.payload[: pes.header_bytes]


def test_pcr_bytes_as_in_the_table():
    packet = write_packet(0x100, 5, b"x" * 176, pcr=(1 << 33) * 300 - 1, random_access=True)
    assert packet[:12].hex() == "470100350750ffffffffff2b"  # base all ones, reserved six ones, extension 299
    assert parse_packet(packet).pcr == (1 << 33) * 300 - 1


@pytest.mark.parametrize("length", [0, 1, 175, 176, 182, 183, 184])
def test_stuffing_leaves_the_payload_whole(length):
    packet = write_packet(0x1FF, 3, b"\x5a" * length)
    back = parse_packet(packet)
    assert len(packet) == 188 and back.payload == b"\x5a" * length and back.deviations == ()


def test_writers_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="does not fit"):
        write_packet(0x100, 0, b"x" * 180, pcr=0)
    with pytest.raises(ValueError, match="out of range"):
        write_packet(0x2000, 0, b"")
    with pytest.raises(ValueError, match="only a video"):
        write_pes_header(0xC0, 70000, 0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bad_sync.bin", "sync byte"),
        ("bad_adaptation_length.bin", "does not fit"),
        ("bad_cut.bin", "188 bytes"),
    ],
)
def test_bad_packets(name, words):
    with pytest.raises(WireError, match=words):
        parse_packet(vector(name))


def test_bad_crc():
    with pytest.raises(WireError, match="CRC"):
        parse_pat(parse_section(parse_packet(vector("bad_pat_crc.bin")).payload))


def test_deviations_are_reported():
    reserved = bytearray(write_packet(0x100, 0, b"x" * 184))
    reserved[3] &= 0x0F
    assert parse_packet(bytes(reserved)).deviations[0].code == "reserved-adaptation-control"
    stamped = bytearray(write_pes_header(0xE0, 10, 1234))
    stamped[9] &= 0xFE
    assert parse_pes_header(bytes(stamped)).deviations[0].code == "pes-marker-bits"


# -- the meter ---------------------------------------------------------------------------------------------------------


def packets(*counters: int, pid: int = 0x100) -> list[bytes]:
    return [write_packet(pid, c, bytes([i]) * 184) for i, c in enumerate(counters)]


def metered(data: bytes) -> ContinuityMeter:
    meter = ContinuityMeter()
    meter.feed(data)
    return meter


def test_meter_finds_ffmpeg_clean_and_sees_each_lost_packet():
    data = vector("ffmpeg_whole.ts")
    assert metered(data).continuity_errors == 0 and metered(data).packets == 55
    cut = metered(data[: 188 * 5] + data[188 * 6 :])
    assert cut.continuity_errors == 1 and cut.continuity_errors_by_pid == {0x100: 1}


def test_meter_takes_any_split():
    data = vector("ffmpeg_whole.ts")
    damaged = data[: 188 * 5] + data[188 * 7 :]
    meter = ContinuityMeter()
    for start in range(0, len(damaged), 188 * 3):
        meter.feed(damaged[start : start + 188 * 3])
    assert (meter.continuity_errors, meter.packets) == (1, 53)
    with pytest.raises(ValueError, match="whole number"):
        meter.feed(b"\x47" * 100)


def test_meter_counts_gaps_and_wraps():
    assert metered(b"".join(packets(14, 15, 0, 1))).continuity_errors == 0
    assert metered(b"".join(packets(1, 2, 4, 5, 9))).continuity_errors == 2


def test_meter_permits_one_duplicate():
    one, two = packets(1, 2)
    twice = metered(one + one + two)
    assert (twice.continuity_errors, twice.duplicates) == (0, 1)
    assert metered(one + one + one + two).continuity_errors == 1
    other = write_packet(0x100, 1, b"z" * 184)
    assert metered(one + other).continuity_errors == 1


def test_meter_duplicate_may_have_another_pcr():
    first, again = (write_packet(0x100, 1, b"x" * 100, pcr=p) for p in (0, 900))
    assert metered(first + again).duplicates == 1


def test_meter_packets_without_payload_and_null_packets():
    one, two = packets(1, 2)
    assert metered(one + write_adaptation_only(0x100, 1, pcr=5) + two).continuity_errors == 0
    assert metered(one + write_adaptation_only(0x100, 2, pcr=5)).continuity_errors == 1
    null = write_packet(0x1FFF, 9, b"\xff" * 184)
    assert metered(null + one + null + null + two).continuity_errors == 0


def test_meter_sync_and_transport_errors():
    good = packets(1, 2, 3)
    assert metered(good[0] + b"\x00" + good[1][1:] + good[2]).sync_errors == 1
    marked = good[1][:1] + bytes([good[1][1] | 0x80]) + good[1][2:]
    meter = metered(good[0] + marked + good[2])
    assert (meter.transport_errors, meter.continuity_errors) == (1, 1)


def test_preamble_makes_a_jump_legal():
    before, after = packets(3, 4), packets(12, 13)
    assert metered(b"".join(before + after)).continuity_errors == 1
    preamble = discontinuity_preamble({0: 5, 0x100: 12}, pcr_pid=0x100, pcr=2_700_000)
    assert len(preamble) == 2 * 188
    meter = metered(b"".join([*before, preamble, *after]))
    assert (meter.continuity_errors, meter.discontinuities) == (0, 2)
    packet = parse_packet(preamble[188:])
    assert packet.discontinuity and packet.pcr == 2_700_000 and not packet.has_payload
