"""What a publisher sends becomes samples: order, losses, times, what is asked for."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from edge_server.egress.whep.incoming import HELD_MAX_PACKETS, WAIT_MAX_S, Incoming
from edge_server.egress.whep.publisher import KEY_EVERY_S, SILENT_MAX_S, Publisher, Taken
from edge_server.live import Kind, Sample
from edge_server.live.units import split
from wire.h264_rtp import packetise
from wire.h264_unrtp import Unpacker
from wire.rtp import ReceiverReport, RtpPacket, SenderReport, parse_rtcp, write_rtcp, write_rtp
from wire.rtp_feedback import bitrate_max, nack, picture_loss, read_feedback

SPS, PPS = bytes.fromhex("6764000dacd941"), bytes.fromhex("68ebe3cb")
KEY = (SPS, PPS, b"\x65\x88" + bytes(range(1, 251)) * 20)
PICTURE = (b"\x41\x9a" + bytes(range(1, 251)) * 6,)
VIDEO, SOUND, SSRC = 102, 111, 0x01020304


def packets_of(count: int, *, first: int = 65_500, stamp: int = 0xFFFF_F000, gop: int = 10) -> list[RtpPacket]:
    found = []
    for n in range(count):
        payloads = packetise(KEY if n % gop == 0 else PICTURE)
        for place, payload in enumerate(payloads):
            marker = place == len(payloads) - 1
            found.append(
                RtpPacket(VIDEO, (first + len(found)) & 0xFFFF, (stamp + 3600 * n) & 0xFFFFFFFF, SSRC, marker, payload)
            )
    return found


def publisher() -> tuple[Publisher, list[Sample], list[bytes]]:
    samples, told = list[Sample](), list[bytes]()
    made = Publisher(Taken(VIDEO, SOUND, True), 7, give=samples.append, tell=told.append)
    made.begin(0.0)
    return made, samples, told


def test_what_is_packetised_is_put_together_again() -> None:
    unpacker = Unpacker()
    found = [unit for packet in packets_of(30) for unit in unpacker.take(packet)]
    assert [unit.units for unit in found] == [KEY if n % 10 == 0 else PICTURE for n in range(30)]
    assert not any(unit.spoilt for unit in found)


def test_packets_in_any_order_over_both_wraps_come_out_in_order() -> None:
    made, samples, _ = publisher()
    packets = packets_of(60)
    random.Random(5).shuffle(order := list(range(len(packets))))
    order = sorted(range(len(packets)), key=lambda at: at // 8 * 8 + order[at] % 8)  # near their place
    order.remove(0)
    for n, at in enumerate([0, *order]):
        made.media(write_rtp(packets[at]), 0.001 * n)
    assert len(samples) == 60
    assert [b.pts - a.pts for a, b in pairwise(samples)] == [3600] * 59
    assert [split(each.data) for each in samples] == [KEY if n % 10 == 0 else PICTURE for n in range(60)]
    assert [each.kind for each in samples[:2]] == [Kind.KEY_PICTURE, Kind.PICTURE]


def test_what_is_missing_is_asked_for_and_what_never_comes_tears_pictures_until_a_key_picture() -> None:
    made, samples, told = publisher()
    packets = packets_of(30)
    gone = next(at for at, each in enumerate(packets) if each.timestamp == (0xFFFF_F000 + 3600 * 3) & 0xFFFFFFFF)
    now_s = 0.0
    for at, each in enumerate(packets):
        now_s += 0.01
        if at != gone:
            made.media(write_rtp(each), now_s)
        made.tick(now_s)
    lost = {number for data in told for _, number in read_feedback(data).lost}
    assert lost == {packets[gone].sequence}
    assert [each.pts // 3600 - samples[0].pts // 3600 for each in samples] == [0, 1, 2, *range(10, 30)]
    assert any(SSRC in read_feedback(data).keyframes for data in told)
    assert made.counters["pictures torn"] == 7


def test_what_comes_again_in_time_tears_nothing() -> None:
    made, samples, _ = publisher()
    packets = packets_of(20)
    for n, each in enumerate(packets):
        if n != 40:
            made.media(write_rtp(each), 0.001 * n)
    made.media(write_rtp(packets[40]), 0.3)
    assert len(samples) == 20


def test_keyframes_are_asked_for_at_intervals_and_on_demand() -> None:
    made, _, told = publisher()
    for n, each in enumerate(packets_of(100, gop=1000)):
        made.media(write_rtp(each), n * 0.01)
    wanted = list[float]()
    for n in range(100):
        now_s = 4.0 + n * 0.05
        told.clear()
        made.tick(now_s)
        wanted += [now_s for data in told if SSRC in read_feedback(data).keyframes]
    assert wanted and wanted[0] < 4.0 + KEY_EVERY_S
    assert all(isinstance(parse_rtcp(data)[0], ReceiverReport) for data in told)
    assert min(b - a for a, b in pairwise(wanted)) > 0.45


def test_silence_is_noticed() -> None:
    made, _, _ = publisher()
    assert made.tick(SILENT_MAX_S - 0.1)
    assert not made.tick(SILENT_MAX_S + 0.1)


def test_sound_has_the_time_of_its_picture_by_the_senders_reports() -> None:
    made, samples, _ = publisher()
    for each in packets_of(2, stamp=90_000):
        made.media(write_rtp(each), 0.0)
    sound = RtpPacket(SOUND, 1, 48_000, 99, True, b"opus" * 10)
    made.media(write_rtp(sound), 0.0)
    assert [each.kind for each in samples] == [Kind.KEY_PICTURE, Kind.PICTURE], "not before the reports"
    ntp = 1000 << 32
    made.control(write_rtcp([SenderReport(SSRC, ntp, 90_000, 0, 0)]), 0.1)
    made.control(write_rtcp([SenderReport(99, ntp + (1 << 31), 48_000, 0, 0)]), 0.1)
    made.media(write_rtp(RtpPacket(SOUND, 2, 48_960, 99, True, b"opus" * 10)), 0.1)
    (last,) = samples[2:]
    assert (last.kind, last.pts) == (Kind.OPUS, 90_000 + 45_000 + 1800), "half a second later, and 20 ms"


def test_without_reports_sound_goes_by_its_arrival() -> None:
    made, samples, _ = publisher()
    for each in packets_of(1, stamp=90_000):
        made.media(write_rtp(each), 0.0)
    for n in range(100):
        made.media(write_rtp(RtpPacket(SOUND, n, 960 * n, 99, True, b"opus" * 10)), 0.02 * n)
    heard = [each.pts for each in samples if each.kind is Kind.OPUS]
    assert [b - a for a, b in pairwise(heard)] == [1800] * (len(heard) - 1)
    assert heard[0] == pytest.approx(90_000 + 1.5 * 90_000, abs=3600)


@pytest.mark.parametrize("seed", range(5))
def test_nonsense_harms_nothing(seed: int) -> None:
    made, samples, _ = publisher()
    draw = random.Random(seed)
    for n in range(3000):
        payload = draw.randbytes(draw.randrange(0, 40))
        head = RtpPacket(
            draw.choice((VIDEO, SOUND, 96)), draw.randrange(65536), draw.randrange(2**32), SSRC, True, payload
        )
        raw = write_rtp(head)
        made.media(raw[: draw.randrange(len(raw) + 1)] if draw.random() < 0.2 else raw, n * 0.001)
        made.control(draw.randbytes(draw.randrange(60)), n * 0.001)
        if n % 50 == 0:
            made.tick(n * 0.001)
    assert all(len(each.data) < 5 << 20 for each in samples)


def test_what_is_held_is_bounded() -> None:
    stream = Incoming(SSRC, 90_000)
    stream.take(RtpPacket(VIDEO, 0, 0, SSRC), 0.0)
    for n in range(2, 5000):
        stream.take(RtpPacket(VIDEO, n, 0, SSRC), 0.0)
        assert len(stream._held) <= HELD_MAX_PACKETS
    found = stream.due(WAIT_MAX_S + 1)
    assert len(found) < HELD_MAX_PACKETS + 2


def test_feedback_is_read_back() -> None:
    data = write_rtcp([ReceiverReport(7), nack(7, 9, [65534, 65535, 3, 14, 400]), picture_loss(7, 9)])
    found = read_feedback(data)
    assert found.lost == ((9, 65534), (9, 65535), (9, 3), (9, 14), (9, 400))
    assert found.keyframes == {9}
    (report,) = parse_rtcp(write_rtcp([bitrate_max(7, [9], 4_000_000)]))
    body = getattr(report, "body", b"")
    exponent, mantissa = body[13] >> 2, (body[13] & 3) << 16 | body[14] << 8 | body[15]
    assert body[8:12] == b"REMB" and mantissa << exponent == pytest.approx(4_000_000, rel=0.001)
