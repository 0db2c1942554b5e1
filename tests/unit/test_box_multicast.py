"""The multicast box without sockets: order, losses, parity, and the seam between a burst and the group."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stb_emulator.boxes import load_all
from stb_emulator.observe import PlayError
from stb_emulator.players.multicast.address import Channel, parse_channel
from stb_emulator.players.multicast.joining import Command, JoinGroup, Joining, Noted, Say, State
from stb_emulator.players.multicast.window import REORDER_MAX_PACKETS, Window
from stb_emulator.portals.huawei.guide import channels
from stb_emulator.seat import way_of
from wire.ctc_channel import Channel as Record
from wire.ctc_channel import write_channel_lines
from wire.ctc_text import Face as CtcFace
from wire.fcc import Action, End, Join, Punch, Request, Response, parse
from wire.rs_fec import Points, protect, write_parity
from wire.rtp import RtpPacket, write_rtp

FIRST = 65_500
GROUP = "239.1.1.1"


class Bench:
    """A window and what came out of it."""

    def __init__(self) -> None:
        self.out: list[int] = []
        self.payloads: list[bytes] = []
        self.deviations: list[str] = []
        self.window = Window(self._deliver, self.deviations.append)

    def _deliver(self, packet: RtpPacket, arrived: float) -> None:
        self.out.append(packet.sequence)
        self.payloads.append(packet.payload)

    def feed(self, packets: list[bytes]) -> Bench:
        for at, packet in enumerate(packets):
            self.window.take(packet, at)
        self.window.finish(len(packets))
        return self


def media(count: int, first: int = FIRST) -> list[bytes]:
    dice = random.Random(1)
    return [
        write_rtp(RtpPacket(33, (first + n) & 0xFFFF, n, 7, payload=b"\x47" + dice.randbytes(187)))
        for n in range(count)
    ]


def numbers(count: int, first: int = FIRST) -> list[int]:
    return [(first + n) & 0xFFFF for n in range(count)]


def parity(packets: list[bytes], count: int, points: Points = "numbers") -> list[bytes]:
    blocks = protect(packets, count, points)
    return [write_rtp(RtpPacket(127, n, 0, 9, payload=write_parity(each))) for n, each in enumerate(blocks)]


@given(st.integers(0, 1 << 32))
def test_any_order_within_the_window_comes_out_in_order(seed: int) -> None:
    dice = random.Random(seed)
    packets = media(120)
    shuffled = packets[:1] + [
        packet for _, packet in sorted(enumerate(packets[1:]), key=lambda each: each[0] + dice.uniform(0, 30))
    ]
    bench = Bench().feed(shuffled)
    assert bench.out == numbers(120)
    assert (bench.window.lost, bench.window.duplicates, bench.deviations) == (0, 0, [])


def test_a_gap_is_given_up_after_so_many_packets() -> None:
    packets = media(100)
    bench = Bench()
    for packet in packets[:10] + packets[12 : 12 + REORDER_MAX_PACKETS]:
        bench.window.take(packet, 0)
    assert bench.out == numbers(10)
    bench.window.take(packets[12 + REORDER_MAX_PACKETS], 0)
    assert bench.window.lost == 2 and bench.out == [n for n in numbers(45) if n not in numbers(12)[10:]]


def test_a_packet_twice_is_a_duplicate() -> None:
    packets = media(5)
    assert Bench().feed([*packets, packets[2]]).window.duplicates == 1
    assert Bench().feed([packets[0], packets[2], packets[2], packets[1]]).window.duplicates == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from(["numbers", "powers"]), st.booleans())
def test_losses_within_the_parity_are_mended(seed: int, points: Points, shuffles: bool) -> None:
    """Blocks of 20 + 3; parity comes behind its block; the code is found out by what comes out of it."""
    dice = random.Random(seed)
    packets, sent, gone = media(100), [], 0
    for begin in range(0, 100, 20):
        block = packets[begin : begin + 20]
        lost = set(dice.sample(range(20), dice.randint(0, 3))) - ({0} if begin == 0 else set())
        gone += len(lost)
        sent += [each for n, each in enumerate(block) if n not in lost] + parity(block, 3, points)
    sent += media(40, (FIRST + 100) & 0xFFFF)
    if shuffles:
        sent = sent[:1] + [p for _, p in sorted(enumerate(sent[1:]), key=lambda each: each[0] + dice.uniform(0, 6))]
    bench = Bench().feed(sent)
    assert bench.out == numbers(140)
    assert bench.payloads[:100] == [packet[12:] for packet in packets]
    assert (bench.window.mended, bench.window.lost, bench.window.duplicates) == (gone, 0, 0)


def test_a_mended_packet_that_comes_after_all_does_not_come_twice() -> None:
    packets = media(30)
    sent = packets[:5] + packets[6:10] + parity(packets[:10], 1) + packets[10:20] + [packets[5]] + packets[20:]
    bench = Bench().feed(sent)
    assert bench.out == numbers(30)
    assert (bench.window.mended, bench.window.reordered, bench.window.duplicates) == (0, 1, 0)


def test_more_losses_than_parity_stay_lost() -> None:
    packets = media(60)
    bench = Bench().feed(packets[:3] + packets[5:20] + parity(packets[:20], 1) + packets[20:])
    assert (bench.window.mended, bench.window.lost) == (0, 2) and len(bench.out) == 58


def test_a_short_packet_is_mended_to_its_length() -> None:
    packets = media(3)
    longer = write_rtp(RtpPacket(33, (FIRST + 3) & 0xFFFF, 3, 7, payload=b"\x47" * 376))
    bench = Bench().feed([packets[0], packets[2], longer, *parity([*packets, longer], 1), *media(2, FIRST + 4)])
    assert bench.payloads[1] == packets[1][12:]


def test_a_sender_that_begins_anew_is_followed_and_reported() -> None:
    bench = Bench().feed(media(10, 5000) + media(100, 100))
    assert bench.out[-1] == 199 and bench.deviations == ["rtp-restart"]


class Talk:
    """A change of channel, and what was said."""

    def __init__(self, face: str = "telecom") -> None:
        self.face = face
        request = Request(GROUP, 40_000, 5000)
        self.joining = Joining(face, request, ("10.0.0.1", 15_970), 0.08)  # type: ignore[arg-type]

    def said(self, commands: list[Command]) -> list[object]:
        words: list[object] = []
        for each in commands:
            if isinstance(each, Say):
                message = (parse(each.data, self.face) if each.data else "hole", each.server)  # type: ignore[arg-type]
                words += [] if message in words else [message]
            else:
                words.append(each)
        return words


@pytest.mark.parametrize("face", ["telecom", "huawei"])
def test_burst_then_group_without_gap_or_double(face: str) -> None:
    talk = Talk(face)
    asked = talk.joining.start(0)
    assert len(asked) == 3 and len(set(asked)) == 1
    assert talk.joining.message(Response(GROUP, True, Action.BURST), 0.01) == []
    assert all(talk.joining.burst(n, 0.1) for n in range(100))
    assert talk.joining.message(Join(GROUP), 0.5) == [JoinGroup()]
    assert talk.joining.message(Join(GROUP), 0.5) == [], "told three times"
    assert talk.joining.burst(100, 0.5)
    ended = talk.joining.multicast(104)
    assert talk.said(ended) == [(End(GROUP, 104), ("10.0.0.1", 15_970))] and len(ended) == 3
    assert talk.joining.multicast(105) == []
    assert [n for n in range(101, 108) if talk.joining.burst(n, 0.6)] == [101, 102, 103]
    assert talk.joining.leave() == []


def test_without_an_answer_the_box_joins_at_once() -> None:
    talk = Talk()
    talk.joining.start(0)
    assert talk.joining.next_timer == 0.08 and talk.joining.tick(0.07) == []
    note, join = talk.joining.tick(0.08)
    assert isinstance(note, Noted) and join == JoinGroup()
    assert talk.joining.state is State.JOINING and talk.joining.next_timer is None


@pytest.mark.parametrize("answer", [Response(GROUP, False), Response(GROUP, True, Action.JOIN)])
def test_no_burst_to_be_had(answer: Response) -> None:
    talk = Talk()
    talk.joining.start(0)
    assert talk.joining.message(answer, 0.01)[-1] == JoinGroup()


def test_a_burst_that_does_not_begin_or_does_not_end() -> None:
    for packets, due in ((0, 1.01), (1, 15.5)):
        talk = Talk()
        talk.joining.start(0)
        talk.joining.message(Response(GROUP, True), 0.01)
        for n in range(packets):
            talk.joining.burst(n, 0.5)
        assert talk.joining.next_timer == pytest.approx(due)
        assert talk.joining.tick(due)[-1] == JoinGroup()


def test_redirects_are_followed_five_times() -> None:
    talk = Talk()
    talk.joining.start(0)
    for n in range(5):
        answer = Response(GROUP, True, Action.REDIRECT, f"10.0.1.{n}", signal_port=9000)
        [(request, server)] = talk.said(talk.joining.message(answer, 0.1))  # type: ignore[misc]
        assert isinstance(request, Request) and server == (f"10.0.1.{n}", 9000)
    assert talk.joining.message(Response(GROUP, True, Action.REDIRECT, "10.0.1.9"), 0.1)[-1] == JoinGroup()


def test_huawei_punches_from_the_media_port() -> None:
    talk = Talk("huawei")
    talk.joining.start(0)
    answer = Response(GROUP, True, Action.BURST, "10.0.0.2", media_port=9000, session=7, punch=True)
    said = talk.joining.message(answer, 0.1)
    assert talk.said(said) == [(Punch(7), ("10.0.0.2", 9000))]
    assert all(isinstance(each, Say) and each.by_media for each in said)


def test_a_viewer_who_turns_away_ends_the_burst() -> None:
    talk = Talk()
    talk.joining.start(0)
    talk.joining.message(Response(GROUP, True), 0.01)
    assert talk.said(talk.joining.leave()) == [(End(GROUP, None), ("10.0.0.1", 15_970))]


def test_addresses_of_groups() -> None:
    assert parse_channel("igmp://239.1.1.1:5000") == Channel(GROUP, 5000)
    assert parse_channel("rtp://239.1.1.1:5000?fec=4999&fcc=10.0.0.1:8027") == Channel(
        GROUP, 5000, 4999, ("10.0.0.1", 8027)
    )
    assert parse_channel("udp://@239.1.1.1:5000") == Channel(GROUP, 5000)
    assert {way_of(f"{scheme}://239.1.1.1:5000") for scheme in ("igmp", "rtp", "udp")} == {"multicast"}
    for bad in ("igmp://10.0.0.1:5000", "igmp://239.1.1.1", "http://239.1.1.1:80", "igmp://host:1", "rtp://[:5"):
        with pytest.raises(PlayError):
            parse_channel(bad)


def test_a_box_with_multicast_lists_the_channels_too_and_what_helps_them() -> None:
    helpers = {"ChannelFCCIP": "10.0.0.1", "ChannelFCCPort": "8027", "ChannelFECPort": "4999"}
    records = [
        Record("1", "Lesson", "1", "rtsp://h/1.ts"),
        Record("2", "News", "2", "igmp://239.1.1.1:5000|rtsp://h/news", helpers),
        Record("3", "Film", "3", "igmp://239.1.1.2:5000"),
    ]
    face = load_all()["multicast_box"].huawei
    assert face
    page = write_channel_lines(CtcFace.CTC, records)
    assert [offer.item_id for offer in channels(page, face, [])] == ["1"]
    listed = channels(page, face, [], groups=True)
    assert [(each.item_id, each.live) for each in listed] == [("1", False), ("2", True), ("3", True)]
    assert parse_channel(listed[1].url) == Channel(GROUP, 5000, 4999, ("10.0.0.1", 8027))
    assert parse_channel(listed[2].url) == Channel("239.1.1.2", 5000)
