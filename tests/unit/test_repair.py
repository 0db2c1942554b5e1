"""Parity beside an RTP group: shapes of the setting, blocks over runs, packets of one size."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from edge_server.pacing.framing import Frame
from edge_server.pacing.group_sink import Beside, GroupSink
from edge_server.pacing.recent import Recent
from edge_server.pacing.repair import Repair, Shape, parse_shape
from edge_server.pacing.stream import Stream
from edge_server.pacing.timeline import Timeline
from wire.rs_fec import Block, FecError, mend, parse_parity, protect
from wire.rtp import parse_rtp

WIDTH = 12 + 7 * 188


def packets(count: int) -> list[bytes]:
    source = np.random.default_rng(7)
    heads = (struct.pack(">BBHII", 0x80, 33, 65_530 + at & 0xFFFF, at * 900, 5) for at in range(count))
    return [head + source.bytes(7 * 188) for head in heads]


def test_shapes_are_read() -> None:
    assert parse_shape("") is None
    assert parse_shape("100+5") == Shape(100, 5)
    assert Shape(100, 5).points == "numbers"
    assert Shape(20, 2).points == "powers"


@pytest.mark.parametrize("text", ["100", "0+1", "100+0", "5+33", "250+6", "100+5 ", "a+b"])
def test_nonsense_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"write packets|at most"):
        parse_shape(text)


def test_parity_of_runs_mends_what_is_lost() -> None:
    sent, made = packets(45), []
    repair = Repair(Shape(20, 3), ssrc=9, sequence=65_534)
    for begin, end in ((0, 7), (7, 21), (21, 22), (22, 45)):
        made += repair.feed(memoryview(b"".join(sent[begin:end])), WIDTH)
    assert len(made) == 6
    heads = [parse_rtp(each) for each in made]
    assert [each.sequence for each in heads] == [65_534, 65_535, 0, 1, 2, 3]
    assert {(each.payload_type, each.ssrc) for each in heads} == {(127, 9)}
    assert heads[0].timestamp == 19 * 900
    parities = [parse_parity(each.payload) for each in heads[3:]]
    assert (parities[0].first, parities[0].last) == (65_530 + 20 & 0xFFFF, 65_530 + 39 & 0xFFFF)
    block = sent[20:40]
    received = {place: packet for place, packet in enumerate(block) if place not in (0, 7, 19)}
    found = mend(received, {each.index: each.data for each in parities}, parities[0], "powers")
    assert found == {place: block[place] for place in (0, 7, 19)}


def test_bit_by_bit_is_the_same_as_all_at_once() -> None:
    sent = [each[: len(each) - 188 * (number % 3)] for number, each in enumerate(packets(10))]
    block = Block(10, 2)
    with pytest.raises(FecError, match="0 packets of 10"):
        block.parities()
    for each in sent:
        block.feed(each)
    assert block.parities() == protect(sent, 2)
    with pytest.raises(FecError, match="does not belong"):
        block.feed(sent[0])


def test_protected_packets_have_one_size_and_are_those_remembered() -> None:
    """A still picture has short packets; they are filled up, since a mended packet has no length of its own."""
    line = Timeline(np.array([0, 10 * 188]), np.array([0.0, 1.0]), 10 * 188, 1.0)
    data = b"".join(b"\x47\x01\x00" + bytes((0x10 | at,)) + b"x" * 184 for at in range(10))
    stream = Stream(line, rtp=True, ssrc=1, sequence=7, timestamp=0, now=0.0)
    stride = line.packets.strides[0]
    count = -(-len(data) // stride)
    mine, theirs = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    parity, heard = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    with mine, theirs, parity, heard:
        for out, into in ((mine, theirs), (parity, heard)):
            into.bind(("127.0.0.1", 0))
            into.settimeout(5)
            out.connect(into.getsockname())
        recent = Recent()
        beside = Beside(recent, Repair(Shape(count, 1), ssrc=2, sequence=0), parity)
        source = SimpleNamespace(packets=line.packets, chunk=lambda *_: memoryview(data), close=lambda: None)
        sink = GroupSink(
            cast(Any, source),
            stream,
            Frame(rtp=True),
            lambda _: b"",
            data=mine.dup(),
            control=None,
            counters=Counter(),
            beside=beside,
        )
        stream.play(0, 0.0)
        for tenth in range(15):
            sink.pump(tenth / 10, 0.0)
        got = [theirs.recv(2048) for _ in range(count)]
        assert {len(each) for each in got} == {WIDTH}
        real = b"".join(each[12:] for each in got)
        assert b"".join(real[at : at + 188] for at in range(0, len(real), 188) if real[at + 1] != 0x1F) == data
        assert b"".join(bytes(run.data) for run in recent.since(0) or ()) == b"".join(got)
        told = parse_parity(parse_rtp(heard.recv(2048)).payload)
        assert mend(dict(enumerate(got[:-1])), {0: told.data}, told, "powers") == {count - 1: got[-1]}
        sink.close()
