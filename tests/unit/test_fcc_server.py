"""Fast channel change at the edge: what a burst holds and when it leaves, who gets one, and who gets no answer."""

from __future__ import annotations

import struct
from collections import Counter
from itertools import pairwise

import pytest

from edge_server.egress.fcc.burst import Burst
from edge_server.egress.fcc.conversation import (
    BEGINS_MAX_COUNT,
    JOINED_MAX_S,
    LEASE_MAX_S,
    Conversation,
    Rules,
)
from edge_server.egress.fcc.words import (
    CaughtUp,
    Close,
    Command,
    Heard,
    NotOpened,
    Open,
    Opened,
    Over,
    Punched,
    Send,
    Start,
    Tick,
    Unwanted,
)
from edge_server.pacing.recent import Recent

GROUP = ("239.1.1.1", 5140)
BOX = ("10.0.0.9", 40000)
TELECOM = bytes.fromhex("82cd000900000000ef010101000000009c401414ef010101") + b"STB".ljust(16, b"\0")
TELECOM_END = bytes.fromhex("85cd000300000000ef010101")
HUAWEI = bytes.fromhex("85cd000700000000ef01010100000000000000000a0000099c40800020000000")
HUAWEI_END = bytes.fromhex("89cd000300000000ef010101")
PACKET_BYTES = 12 + 1316
TURN_S = 0.025


def packets(sequence: int, count: int) -> memoryview:
    heads = (struct.pack(">BBHII", 0x80, 33, sequence + at & 0xFFFF, 0, 1) for at in range(count))
    return memoryview(b"".join(head + b"G" * 1316 for head in heads))


def sequences(runs: list[tuple[memoryview, int]]) -> list[int]:
    return [int.from_bytes(run[at + 2 : at + 4]) for run, width in runs for at in range(0, len(run), width)]


class Group:
    """Four packets a turn, a key picture every two seconds."""

    def __init__(self, sequence: int = 65_500) -> None:
        self.recent, self.sequence, self.turns = Recent(), sequence, 0

    def until(self, now: float) -> None:
        while self.turns * TURN_S <= now:
            self.recent.note(packets(self.sequence, 4), PACKET_BYTES, self.turns * TURN_S, key=self.turns % 80 == 0)
            self.sequence = self.sequence + 4 & 0xFFFF
            self.turns += 1


def test_a_burst_is_the_groups_packets_without_a_gap_and_no_faster_than_it_may_be() -> None:
    group, now = Group(), 3.5
    group.until(now)
    first = group.recent.newest_key()
    assert first is not None and first.sent_at == 2.0
    burst, got, caught_up_at = Burst(group.recent, first, 1.3, now), [], 0.0
    while now < 12.0:
        got += sequences(burst.due(now))
        bits = len(got) - 4  # what is due at once
        assert bits <= 1.3 * 4 / TURN_S * (now - 3.5) + 1
        if burst.caught_up and not caught_up_at:
            caught_up_at = now
        now += TURN_S
        group.until(now)
    assert caught_up_at == pytest.approx(3.5 + 1.5 / 0.3, abs=0.2)
    assert got[0] == burst.first_sequence == 65_500 + 2 * 160 & 0xFFFF
    assert all(after - before & 0xFFFF == 1 for before, after in pairwise(got))
    burst.stop_before(got[-1] + 8 & 0xFFFF)
    group.until(now + 1)
    assert sequences(burst.due(now + 1)) == [got[-1] + each & 0xFFFF for each in range(1, 8)]
    assert burst.over


def test_a_box_that_has_more_than_we_sent_needs_nothing_more() -> None:
    group = Group()
    group.until(1.0)
    first = group.recent.newest_key()
    assert first is not None
    burst = Burst(group.recent, first, 1.3, 1.0)
    burst.due(1.0)
    burst.stop_before(burst.first_sequence)
    assert burst.over
    assert burst.due(5.0) == []


def test_what_is_kept_has_bounds_and_numbers_that_follow() -> None:
    recent = Recent(max_bytes=10 * PACKET_BYTES, max_s=1.0)
    for at in range(20):
        recent.note(packets(at, 1), PACKET_BYTES, at * 0.01, key=True)
    assert recent.since(9) is None
    assert [run.number for run in recent.since(10) or ()] == list(range(10, 20))
    recent.note(packets(20, 1), PACKET_BYTES, 5.0, key=False)
    assert [run.number for run in recent.since(20) or ()] == [20]
    assert recent.newest_key() is None
    recent.note(packets(30, 1), PACKET_BYTES, 5.0, key=True)
    assert recent.since(20) is None
    assert [recent.sequence_of(run.number) for run in recent.since(21) or ()] == [30]


class Port:
    def __init__(self, group: Group | None = None, rules: Rules | None = None, more: tuple[str, int] = GROUP) -> None:
        self.group, self.counters = group or Group(), Counter[str]()
        self.group.until(1.0)
        groups = {GROUP: self.group.recent, more: self.group.recent}
        self.talk = Conversation(
            lambda: groups,
            rules or Rules(),
            local=lambda address: address.startswith("10."),
            draw=lambda bits: 0x1234ABCD,
            counters=self.counters,
        )

    def ask(self, data: bytes = TELECOM, source: tuple[str, int] = BOX, now: float = 1.0) -> list[Command]:
        done = self.talk.handle(Heard(data, source), now)
        return [
            found
            for each in done
            for found in (self.talk.handle(Opened(each.lease, 50000), now) if isinstance(each, Open) else [each])
        ]


def test_telecom_gets_answer_burst_and_word_to_join() -> None:
    port = Port()
    answer, start = port.ask()
    assert isinstance(answer, Send) and isinstance(start, Start)
    assert answer.to == start.to == BOX
    assert len(answer.data) <= len(TELECOM)
    assert answer.data[:12] == bytes.fromhex("83cd000800000000ef010101")
    assert answer.data[12:14] == b"\0\2" and answer.data[16:18] == struct.pack(">H", 50000)
    assert struct.unpack(">I", answer.data[28:32])[0] == pytest.approx(1.3 * 4 * 1316 * 8 / TURN_S, rel=0.05)
    assert port.ask() == [answer] and port.ask() == [answer]  # the copies
    assert len(port.talk) == 1
    joins = port.talk.handle(CaughtUp(start.lease), 3.0)
    assert joins == [Send(bytes.fromhex("84cd000200000000ef010101"), BOX)] * 3
    assert port.talk.next_timer() == 3.0 + JOINED_MAX_S
    assert port.talk.handle(Heard(TELECOM_END + struct.pack(">HH", 0, start.burst.first_sequence + 3), BOX), 3.1) == []
    assert len(sequences(start.burst.due(9.0))) == 3
    assert start.burst.over
    assert port.talk.handle(Over(start.lease), 3.2) == [Close(start.lease)]
    assert port.counters == {"bursts begun": 1, "bursts ended": 1}


def test_huawei_asks_with_the_format_that_ends_in_the_other_set() -> None:
    port = Port()
    answer, start = port.ask(HUAWEI)
    assert isinstance(answer, Send) and isinstance(start, Start)
    assert answer.to == BOX and start.to == (BOX[0], BOX[1] - 1)
    assert answer.data[0] & 0x1F == 6 and answer.data[12] == 1 and answer.data[14:16] == b"\0\2"
    assert struct.unpack(">H", answer.data[16:18])[0] == start.burst.first_sequence
    joins = port.talk.handle(CaughtUp(start.lease), 3.0)
    assert joins == [Send(bytes.fromhex("88cd000200000000ef010101"), BOX)] * 3
    assert port.talk.handle(Heard(TELECOM_END + b"\1\0\0\0", BOX), 3.0) == []  # another set's word
    assert port.talk.handle(Heard(HUAWEI_END + b"\2\0\0\0", BOX), 3.0) == [Close(start.lease)]


def test_behind_a_translator_nothing_leaves_before_the_right_punch() -> None:
    port, outside = Port(), ("10.0.0.1", 61000)
    (answer,) = port.ask(HUAWEI, outside)
    assert isinstance(answer, Send) and answer.data[24] & 0x20
    punch = b"\0\3\0\0" + answer.data[28:32]
    assert port.talk.handle(Punched(1, b"\0\3\0\0\0\0\0\1", ("10.0.0.1", 62000)), 1.1) == []
    assert port.talk.handle(Punched(1, punch, ("10.0.0.2", 62000)), 1.1) == []
    (start,) = port.talk.handle(Punched(1, punch, ("10.0.0.1", 62000)), 1.1)
    assert isinstance(start, Start) and start.to == ("10.0.0.1", 62000)
    assert port.talk.handle(Punched(1, punch, ("10.0.0.1", 62001)), 1.1) == []


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (TELECOM, ("192.0.2.9", 40000)),
        (TELECOM[:-1], BOX),
        (b"", BOX),
        (b"\0" * 40, BOX),
        (TELECOM.replace(b"\xef\1\1\1", b"\xef\1\1\2"), BOX),
        (TELECOM.replace(b"\x14\x14", b"\x14\x16"), BOX),
        (HUAWEI.replace(b"\xef\1\1\1", b"\xef\1\1\2"), BOX),
        (bytes.fromhex("83cd000800000000ef010101") + b"\0" * 24, BOX),
        (TELECOM_END + b"\0\0\0\1", BOX),
    ],
)
def test_who_asks_for_nothing_of_ours_hears_nothing(data: bytes, source: tuple[str, int]) -> None:
    assert Port().ask(data, source) == []


def test_a_group_without_a_port_in_the_request_must_be_the_only_one_of_its_address() -> None:
    assert Port(more=("239.1.1.1", 6000)).ask(HUAWEI) == []
    assert len(Port(more=("239.1.1.2", 5140)).ask(HUAWEI)) == 2


def test_a_burst_never_goes_to_another_host_than_the_one_that_asked() -> None:
    _, start = Port().ask(TELECOM, ("10.0.0.77", 1234))
    assert isinstance(start, Start) and start.to == ("10.0.0.77", 40000)


def test_one_address_gets_only_so_many_at_once_and_so_many_in_a_while() -> None:
    port = Port()
    for number in range(BEGINS_MAX_COUNT):
        done = port.ask(source=("10.0.0.9", 41000 + number), now=1.0 + number / 1000)
        assert isinstance(done[0], Send)
        assert done[0].data[13] == (2 if number < 2 else 1), "a burst for two, the others join at once"
    assert port.ask(source=("10.0.0.9", 49000), now=1.5) == []
    assert port.ask(source=("10.0.0.10", 49000), now=1.5) != []
    assert port.counters["requests rate"] == 1


def test_all_together_get_only_so_many() -> None:
    port = Port(rules=Rules(bursts_max_count=1))
    assert len(port.ask()) == 2
    (answer,) = port.ask(source=("10.0.0.10", 40000))
    assert isinstance(answer, Send) and answer.data[13] == 1


def test_without_a_key_picture_young_enough_a_box_joins_at_once() -> None:
    group = Group()
    port = Port(group)
    (answer,) = port.ask(now=1.0 + 12.0 * 0.3)
    assert isinstance(answer, Send) and answer.data[13] == 1


def test_the_next_channel_ends_the_burst_of_the_one_before() -> None:
    other = ("239.1.1.2", 5140)
    port = Port(more=other)
    _, start = port.ask()
    assert isinstance(start, Start)
    done = port.ask(TELECOM.replace(b"\xef\1\1\1", b"\xef\1\1\2"), now=1.1)
    assert [type(each) for each in done] == [Close, Send, Start]
    assert port.counters["bursts replaced"] == 1


def test_no_burst_lasts_for_ever() -> None:
    for event, why in ((Tick(), "timed out"), (Unwanted(1), "unwanted"), (NotOpened(1), "failed"), (Over(1), "ended")):
        port = Port()
        port.ask()
        assert port.talk.handle(Tick(), 1.0 + LEASE_MAX_S - 0.1) == []
        assert port.talk.handle(event, 1.0 + LEASE_MAX_S) == [Close(1)]
        assert port.counters[f"bursts {why}"] == 1
        assert len(port.talk) == 0
