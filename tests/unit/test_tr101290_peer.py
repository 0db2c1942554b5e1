"""The checker of transport streams has to find what is broken: a stranger's stream, damaged in one place each time."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from tests.peers.tr101290 import PACKET, RTP_HZ, against_rtp, check, crc32

pytestmark = pytest.mark.stranger("ffmpeg")
VIDEO, AUDIO, PMT, NULL = 0x100, 0x101, 0x1000, 0x1FFF
Packets = list[bytearray]


@pytest.fixture(scope="module")
def fine(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Three seconds by ffmpeg at a constant rate."""
    path = tmp_path_factory.mktemp("ts") / "fine.ts"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=3", "-f", "lavfi"]
    command += ["-i", "sine=f=440:r=48000:d=3", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "2"]
    command += ["-b:v", "400k", "-maxrate", "400k", "-bufsize", "200k", "-c:a", "aac", "-b:a", "64k"]
    subprocess.run([*command, "-muxrate", "1500k", "-f", "mpegts", str(path)], check=True, timeout=60)
    return path.read_bytes()


def pid(packet: bytearray) -> int:
    return (packet[1] & 0x1F) << 8 | packet[2]


def has_pcr(packet: bytearray) -> bool:
    return bool(packet[3] & 0x20 and packet[4] and packet[5] & 0x10)


def starts(packet: bytearray) -> bool:
    return bool(packet[1] & 0x40)


def at(packets: Packets, number: int, which: Callable[[bytearray], bool]) -> int:
    """Place of the ``number``-th packet of a kind."""
    return [place for place, each in enumerate(packets) if which(each)][number]


def with_pcr(packet: bytearray, value: int) -> None:
    base, extension = divmod(value, 300)
    packet[6:12] = (base << 15 | 0x7E00 | extension).to_bytes(6, "big")


def pcr(packet: bytearray) -> int:
    value = int.from_bytes(packet[6:12], "big")
    return (value >> 15) * 300 + (value & 0x1FF)


def test_a_stream_without_damage_is_fine(fine: bytes) -> None:
    report = check(fine, constant=True)
    assert report.wrong == [] and report.repeated == 0 and report.time_bases == 1
    assert report.pids == {VIDEO: 0x1B, AUDIO: 0x0F} and report.units[VIDEO] == 75
    assert report.pcrs > 70 and 0.015 < report.pcr_gap_max_s <= 0.04


def lose(packets: Packets) -> None:
    del packets[at(packets, 40, lambda each: pid(each) == VIDEO and not has_pcr(each) and not starts(each))]


def thrice(packets: Packets) -> None:
    place = at(packets, 40, lambda each: pid(each) == VIDEO and bool(each[3] & 0x10) and not has_pcr(each))
    packets[place:place] = [packets[place], packets[place]]


def wrong_counter(packets: Packets) -> None:
    place = at(packets, 20, lambda each: pid(each) == AUDIO)
    packets[place][3] ^= 0x08


def swapped(packets: Packets) -> None:
    a, b = (at(packets, number, lambda each: pid(each) == VIDEO and not starts(each)) for number in (50, 51))
    packets[a], packets[b] = packets[b], packets[a]


def pcr_jump(packets: Packets) -> None:
    for each in packets[len(packets) // 2 :]:
        if has_pcr(each):
            with_pcr(each, pcr(each) + 27_000_000 // 5)


def pcr_back(packets: Packets) -> None:
    place = at(packets, 50, has_pcr)
    with_pcr(packets[place], pcr(packets[place]) - 27_000_000)


def pcr_missing(packets: Packets) -> None:
    for _ in range(2):
        packets[at(packets, 50, has_pcr)][5] &= ~0x10


def pcr_inaccurate(packets: Packets) -> None:
    place = at(packets, 50, has_pcr)
    with_pcr(packets[place], pcr(packets[place]) + 16)  # 593 ns


def no_pat(packets: Packets) -> None:
    packets[:] = [each for each in packets if pid(each) != 0]


def pat_pause(packets: Packets) -> None:
    begin = len(packets) // 3
    packets[begin : 2 * begin] = [null() if pid(each) == 0 else each for each in packets[begin : 2 * begin]]
    recount(packets)


def pmt_pause(packets: Packets) -> None:
    begin = len(packets) // 3
    packets[begin : 2 * begin] = [null() if pid(each) == PMT else each for each in packets[begin : 2 * begin]]
    recount(packets)


def null() -> bytearray:
    return bytearray([0x47, 0x1F, 0xFF, 0x10, *bytes(184)])


def recount(packets: Packets) -> None:
    """Continuity counters as if what was taken out had never been there."""
    last: dict[int, int] = {}
    for each in packets:
        if pid(each) != NULL:
            last[pid(each)] = last.get(pid(each), -1) + bool(each[3] & 0x10) & 15
            each[3] = each[3] & 0xF0 | last[pid(each)]


def wrong_crc(packets: Packets) -> None:
    packets[at(packets, 3, lambda each: pid(each) == PMT)][5 + 9] ^= 1


def wrong_table(packets: Packets) -> None:
    packet = packets[at(packets, 3, lambda each: pid(each) == 0)]
    packet[5] = 0x42
    length = 3 + ((packet[6] & 15) << 8 | packet[7])
    packet[5 + length - 4 : 5 + length] = crc32(bytes(packet[5 : 5 + length - 4])).to_bytes(4, "big")


def sync_byte(packets: Packets) -> None:
    packets[at(packets, 300, lambda each: pid(each) == NULL)][0] = 0x48


def byte_lost(packets: Packets) -> None:
    del packets[at(packets, 300, lambda each: pid(each) == NULL)][100]


def stray_pid(packets: Packets) -> None:
    place = at(packets, 100, lambda each: pid(each) == NULL)
    packets[place] = bytearray([0x47, 0x02, 0x22, 0x10, *bytes(184)])


def no_sound(packets: Packets) -> None:
    packets[:] = [null() if pid(each) == AUDIO else each for each in packets]


def transport_error(packets: Packets) -> None:
    packets[at(packets, 300, lambda each: pid(each) == NULL)][1] |= 0x80


def scrambled(packets: Packets) -> None:
    packets[at(packets, 40, lambda each: pid(each) == VIDEO and not starts(each))][3] |= 0x80


def pts_gap(packets: Packets) -> None:
    """One second without sound."""
    begin, end = (at(packets, number, lambda each: pid(each) == AUDIO and starts(each)) for number in (2, -2))
    packets[begin:end] = [null() if pid(each) == AUDIO else each for each in packets[begin:end]]
    recount(packets)


def late(packets: Packets) -> None:
    """The clock is a second ahead of what it belongs to."""
    for each in packets:
        if has_pcr(each):
            with_pcr(each, pcr(each) + 2 * 27_000_000)


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        (lose, {"1.4 Continuity_count_error"}),
        (thrice, {"1.4 Continuity_count_error", "2.4 PCR_accuracy_error"}),
        (wrong_counter, {"1.4 Continuity_count_error"}),
        (swapped, {"1.4 Continuity_count_error"}),
        (pcr_jump, {"2.3b PCR_discontinuity_indicator_error"}),
        (pcr_back, {"2.3b PCR_discontinuity_indicator_error"}),
        (pcr_missing, {"2.3a PCR_repetition_error"}),
        (pcr_inaccurate, {"2.4 PCR_accuracy_error"}),
        (no_pat, {"1.3 PAT_error"}),
        (pat_pause, {"1.3 PAT_error"}),
        (pmt_pause, {"1.5 PMT_error"}),
        (wrong_crc, {"2.2 CRC_error"}),
        (wrong_table, {"1.3 PAT_error"}),
        (sync_byte, {"1.2 Sync_byte_error"}),
        (byte_lost, {"1.1 TS_sync_loss", "1.2 Sync_byte_error"}),
        (stray_pid, {"1.6 PID_error"}),
        (no_sound, {"1.6 PID_error"}),
        (transport_error, {"2.1 Transport_error"}),
        (scrambled, {"2.6 CAT_error"}),
        (pts_gap, {"2.5 PTS_error"}),
        (late, {"0 bytes"}),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_damage_is_found_and_named(fine: bytes, damage: Callable[[Packets], None], names: set[str]) -> None:
    packets = [bytearray(fine[place : place + PACKET]) for place in range(0, len(fine), PACKET)]
    damage(packets)
    report = check(b"".join(packets), constant="2.4 PCR_accuracy_error" in names)
    assert {" ".join(each.replace(":", "").split()[:2]) for each in report.wrong} == names, report.wrong[:5]


def test_a_packet_may_come_twice(fine: bytes) -> None:
    packets = [bytearray(fine[place : place + PACKET]) for place in range(0, len(fine), PACKET)]
    place = at(packets, 40, lambda each: pid(each) == VIDEO and bool(each[3] & 0x10) and not has_pcr(each))
    packets.insert(place, packets[place])
    report = check(b"".join(packets))
    assert report.wrong == [] and report.repeated == 1


def test_another_time_base_has_to_be_marked(fine: bytes) -> None:
    """A second round behind the first: wrong as it stands, right behind packets that mark the join."""
    begins: dict[int, int] = {}
    for place in range(0, len(fine), PACKET):
        packet = bytearray(fine[place : place + PACKET])
        begins.setdefault(pid(packet), packet[3] - bool(packet[3] & 0x10) & 15)
    assert check(fine + fine).checks >= {"1.4", "2.3b"}
    marks = b"".join(
        bytes([0x47, each >> 8, each & 0xFF, 0x20 | begins[each], 183, 0x80]) + b"\xff" * 182
        for each in (0, PMT, 0x11, VIDEO, AUDIO)
    )
    report = check(fine + marks + fine)
    assert report.wrong == [] and report.time_bases == 2 and report.units[VIDEO] == 150


def test_rtp_timestamps_are_compared_with_the_clock(fine: bytes) -> None:
    """Of a constant rate: timestamps computed from the place in the file; one that is 20 µs off is seen."""
    size = 7 * PACKET
    payloads = [fine[place : place + size] for place in range(0, len(fine), size)]
    stamps = [
        round(number * size * 8 / 1_500_000 * RTP_HZ) + 0xFFFFF000 & 0xFFFFFFFF for number in range(len(payloads))
    ]
    off = against_rtp(payloads, stamps)
    assert len(off) > 0.9 * len(payloads) and max(off) - min(off) <= 1.01 / RTP_HZ
    stamps[100] += 2
    off = against_rtp(payloads, stamps)
    assert max(off) - min(off) > 1.5 / RTP_HZ


def test_what_is_no_stream_at_all_is_told() -> None:
    assert check(b"").checks == {"1.1", "1.3"} and check(bytes(PACKET * 10)).checks >= {"1.1", "1.2", "1.3"}
