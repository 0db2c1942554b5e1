"""Pace, slip, numbering: one viewer's stream by arithmetic; the pacer with a clock that moves only when told."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_server.pacing.chunks import Chunks
from edge_server.pacing.framing import Frame, frame
from edge_server.pacing.pacer import SLOT_FULL_COUNT, SLOTS_COUNT, Pacer
from edge_server.pacing.sink import TCP_STUCK_S, TcpSink
from edge_server.pacing.stream import SLIP_S, Stream
from edge_server.pacing.timeline import LEAD_S, PAYLOAD_MAX_BYTES, Numbers, Timeline
from runtime.clock import FakeClock
from wire.mpegts import PACKET_BYTES
from wire.rtp import Description, Goodbye, SenderReport, parse_rtcp, parse_rtp
from wire.rtsp import Interleaved, Reader

RTP = Frame(rtp=True)
PACKETS = 6000
LENGTH = PACKETS * PACKET_BYTES
AHEAD_MAX_S = 0.3
DELAY_S = 0.5
PACKET_MAX_S = 0.05
"""Longest time that one packet of 1316 bytes spans in this timeline."""


@dataclass(frozen=True)
class Burst:
    """What one stream sent at one moment."""

    offset_bytes: int
    stop_bytes: int
    headers: tuple[bytes, ...]


def timeline(numbers: Numbers | None = None, cuts: tuple[int, ...] = ()) -> Timeline:
    """Ten seconds whose rate changes by a factor of nine: thin, thick, thin."""
    offsets = np.array([0, 0.1 * LENGTH, 0.9 * LENGTH, LENGTH]) // PACKET_BYTES * PACKET_BYTES
    return Timeline(offsets, np.array([0.0, 4.0, 6.0, 10.0]), LENGTH, 9.5, DELAY_S, cuts, numbers)


def stream(*, rtp: bool = True, sequence: int = 65530, timestamp: int = 2**32 - 90_000, now: float = 100.0) -> Stream:
    return Stream(timeline(), rtp=rtp, ssrc=7, sequence=sequence, timestamp=timestamp, now=now)


def take(one: Stream, now: float) -> Burst | None:
    """Send what is due, as a sink does."""
    begin, headers = one.offset_bytes, []
    while count := one.due(now):
        if one.rtp and one.own:
            stride = one.packets.strides[one.block]
            size = min(count * stride, one.packets.starts[one.block + 1] - one.offset_bytes)
            stamps = one.stamps(count)
            framed = frame(memoryview(bytes(size)), stride, RTP, sequence=one.sequence, stamps=stamps, ssrc=one.ssrc)
            headers += [bytes(framed[at : at + 12]) for at in range(0, len(framed), stride + 12)]
        one.advance(count)
    return Burst(begin, one.offset_bytes, tuple(headers)) if one.offset_bytes > begin else None


def run(one: Stream, begin: float, end: float, tick: float = 0.02) -> list[tuple[float, Burst]]:
    found = []
    for step in range(round((end - begin) / tick) + 1):
        now = begin + step * tick
        burst = take(one, now)
        if burst is not None:
            found.append((now, burst))
    return found


def test_every_byte_once_in_order_in_its_own_time() -> None:
    one, line = stream(), timeline()
    one.play(0, 100.0)
    bursts = run(one, 100.0, 110.0)
    assert bursts[0][1].offset_bytes == 0 and bursts[-1][1].stop_bytes == LENGTH
    for (_, left), (_, right) in itertools.pairwise(bursts):
        assert left.stop_bytes == right.offset_bytes
    for now, burst in bursts:
        ahead = line.time_at(burst.stop_bytes) - (now - 100.0)
        assert ahead <= AHEAD_MAX_S + 1e-9
        assert now - 100.0 <= line.time_at(burst.offset_bytes) + 1e-9, "late"
    assert one.slips == 0


def test_the_burst_at_the_start_is_the_lead_and_no_more() -> None:
    one = stream()
    one.play(0, 100.0)
    first = take(one, 100.0)
    assert first is not None and first.stop_bytes <= timeline().offset_at(LEAD_S)
    assert take(one, 100.0) is None


def test_after_a_stall_the_clock_slips_instead_of_a_burst() -> None:
    one, line = stream(), timeline()
    one.play(0, 100.0)
    run(one, 100.0, 103.0)
    before = one.offset_bytes
    burst = take(one, 113.0)
    assert burst is not None and one.slips == 1
    assert line.time_at(burst.stop_bytes) - line.time_at(before) <= LEAD_S + PACKET_MAX_S
    rest = run(one, 113.02, 122.0)
    assert rest[-1][1].stop_bytes == LENGTH
    assert rest[-1][0] > 119.0, "the time lost is added, not made up for"


def test_a_hiccup_shorter_than_the_lead_is_made_good_without_slipping() -> None:
    one = stream()
    one.play(0, 100.0)
    run(one, 100.0, 101.0)
    run(one, 101.0 + (SLIP_S - LEAD_S) - 0.01, 110.0)
    assert one.slips == 0 and one.offset_bytes == LENGTH


def test_the_end_comes_when_the_clock_is_there_and_not_when_the_last_byte_is_sent() -> None:
    one = stream()
    one.play(0, 100.0)
    run(one, 100.0, 109.8)
    assert one.offset_bytes == LENGTH
    assert not one.ended(109.8) and one.ended(110.0)


def test_playing_to_a_given_second_stops_there() -> None:
    one = stream()
    one.play(0, 100.0, stop_s=4.0)
    run(one, 100.0, 110.0)
    assert one.offset_bytes % PACKET_BYTES == 0
    assert timeline().npt_at(one.offset_bytes) == pytest.approx(4.0, abs=0.01)
    assert one.stop_s == 4.0 and one.ended(104.5) and not one.ended(104.4)


@pytest.mark.parametrize("bits_a_second", [2_000, 8_000, 20_000, 40_000])
def test_a_still_picture_does_not_stop_the_clock(bits_a_second: int) -> None:
    seconds = 20.0
    length = int(bits_a_second * seconds / 8) // PACKET_BYTES * PACKET_BYTES
    thin = Timeline(np.array([0, length]), np.array([0.0, seconds]), length, seconds)
    one = Stream(thin, rtp=True, ssrc=7, sequence=0, timestamp=0, now=0.0)
    one.play(0, 0.0)
    bursts = run(one, 0.0, seconds)
    assert one.offset_bytes == length and one.slips == 0 and one.ended(seconds)
    for now, burst in bursts:
        assert thin.time_at(burst.stop_bytes) - now <= AHEAD_MAX_S
        assert now - thin.time_at(burst.offset_bytes) <= max(0.02, 188 * 8 / bits_a_second)


def test_a_pause_inside_the_stream_is_waited_for() -> None:
    gap = Timeline(np.array([0, 188 * 70, 188 * 71, 188 * 140]), np.array([0.0, 1.0, 9.0, 10.0]), 188 * 140, 10.0)
    one = Stream(gap, rtp=False, ssrc=0, sequence=0, timestamp=0, now=0.0)
    one.play(0, 0.0)
    run(one, 0.0, 10.0)
    assert one.offset_bytes == 188 * 140 and one.slips == 0 and one.ended(10.0)


def headers(bursts: list[tuple[float, Burst]]) -> list[tuple[int, int]]:
    packets = [parse_rtp(each) for _, burst in bursts for each in burst.headers]
    assert {(p.payload_type, p.ssrc, p.marker) for p in packets} == {(33, 7, False)}
    return [(p.sequence, p.timestamp) for p in packets]


def test_numbers_run_on_over_wraps_and_seeks_and_time_never_goes_back() -> None:
    one = stream()
    one.play(0, 100.0)
    found = headers(run(one, 100.0, 101.0))
    assert found[0] == (65530, 2**32 - 90_000)
    one.play(LENGTH // 2 // PACKET_BYTES * PACKET_BYTES, 101.0)
    assert (one.sequence, one.rtp_timestamp()) == headers([(101.0, take(one, 101.0) or Burst(0, 0, ()))])[0]
    one.play(0, 101.02)
    found += headers(run(one, 101.02, 103.0))
    for (_, before), (_, after) in itertools.pairwise(found):
        assert (after - before) & 0xFFFFFFFF < 2**31
    unbroken = stream()
    unbroken.play(0, 100.0)
    numbers = [sequence for sequence, _ in headers(run(unbroken, 100.0, 110.0))]
    assert numbers == [(65530 + index) & 0xFFFF for index in range(-(-PACKETS // 7))]


def test_timestamps_are_the_streams_clock() -> None:
    one, line = stream(timestamp=0), timeline()
    one.play(0, 100.0)
    for _, burst in run(one, 100.0, 110.0):
        for index, header in enumerate(burst.headers):
            at = line.time_at(burst.offset_bytes + index * PAYLOAD_MAX_BYTES)
            assert abs(parse_rtp(header).timestamp - at * 90_000) <= 1


def test_only_a_jump_is_marked() -> None:
    one = stream()
    one.play(PACKET_BYTES * 700, 100.0)
    assert not one.preamble, "nothing was sent before"
    take(one, 100.0)
    one.pause()
    assert take(one, 105.0) is None
    one.play(one.offset_bytes, 105.0)
    assert not one.preamble, "the bytes go on"
    one.play(0, 105.5)
    assert one.preamble
    assert one.extra(376)[0] == (one.sequence - 1) & 0xFFFF
    assert not one.preamble


def test_reports_tie_the_two_clocks_together_and_raw_streams_have_none() -> None:
    one = stream(timestamp=0)
    one.play(0, 100.0)
    take(one, 100.0)
    report, name = parse_rtcp(one.report(100.0, 1_700_000_000.5) or b"")
    assert isinstance(report, SenderReport) and isinstance(name, Description)
    assert report.ntp >> 32 == 1_700_000_000 + 2_208_988_800 and report.ntp & 0xFFFFFFFF == 2**31
    assert report.rtp_timestamp == 0 and report.octets == one.offset_bytes
    assert one.report(104.9, 0.0) is None
    later = parse_rtcp(one.report(105.0, 0.0) or b"")[0]
    assert isinstance(later, SenderReport) and later.rtp_timestamp == 5 * 90_000
    assert isinstance(parse_rtcp(one.goodbye(106.0, 0.0) or b"")[-1], Goodbye)
    plain = stream(rtp=False)
    plain.play(0, 100.0)
    assert plain.report(100.0, 0.0) is None and plain.goodbye(100.0, 0.0) is None
    assert take(plain, 100.0) is not None and not plain.own


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=60))
def test_however_the_ticks_fall_nobody_gets_more_than_the_lead_at_once(gaps: list[float]) -> None:
    one, line, now = stream(), timeline(), 100.0
    one.play(0, now)
    for gap in gaps:
        now += gap
        burst = take(one, now)
        if burst is not None:
            assert line.time_at(burst.stop_bytes) - line.time_at(burst.offset_bytes) <= SLIP_S + PACKET_MAX_S
            assert one.position_s(now) <= line.npt_at(burst.stop_bytes)
            assert (burst.stop_bytes - burst.offset_bytes) % PACKET_BYTES == 0


WHOLE = b"".join(b"\x47" + random.Random(n).randbytes(PACKET_BYTES - 1) for n in range(PACKETS))


@pytest.fixture
def media(tmp_path: Path) -> Path:
    path = tmp_path / "lesson.ts"
    path.write_bytes(WHOLE)
    return path


@pytest.fixture
def short(tmp_path: Path) -> Path:
    path = tmp_path / "short.ts"
    path.write_bytes(WHOLE[:PACKET_BYTES])
    return path


def at_once(work: Callable[[], memoryview], done: Callable[[memoryview | OSError], None]) -> None:
    """Hands that need no thread: the file is small and the test waits."""
    try:
        found: memoryview | OSError = work()
    except OSError as error:
        found = error
    done(found)


@pytest.fixture
def chunks() -> Chunks:
    return Chunks(at_once, b"secret")


class Peer:
    """What stands behind a TcpSink: a list, and a queue length that a test sets."""

    def __init__(self, path: Path, one: Stream, chunks: Chunks) -> None:
        self.written: list[bytes] = []
        self.waiting = 0
        self.ends = 0
        self.room = 1 << 30
        """Bytes that the connection takes at once."""
        self.sink = TcpSink(
            chunks.open(path, one.timeline.packets),
            one,
            Frame(one.rtp, 0),
            lambda offset: b"\x47" + bytes(187),
            self._ended,
            control_channel=1,
            write_now=self._write_now,
            write=self.written.append,
            waiting_bytes=lambda: self.waiting,
        )

    def _write_now(self, data: memoryview) -> int:
        piece = bytes(data[: self.room])
        if not piece:
            raise BlockingIOError
        self.room -= len(piece)
        self.written.append(piece)
        return len(piece)

    def _ended(self) -> None:
        self.ends += 1
        self.sink.stream.pause()

    def frames(self, channel: int = 0) -> list[bytes]:
        messages = Reader().feed(b"".join(self.written))
        return [m.payload for m in messages if isinstance(m, Interleaved) and m.channel == channel]


async def pacing(clock: FakeClock, pacer: Pacer, seconds: float) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(pacer.run())
        await clock.advance(0.0)
        await clock.advance(seconds)
        task.cancel()


async def test_the_pacer_sends_the_file_to_its_end_and_tells_once(media: Path, chunks: Chunks) -> None:
    clock = FakeClock(datetime(2026, 11, 24, tzinfo=UTC))
    pacer = Pacer(clock)
    one = stream(rtp=False, now=0.0)
    peer = Peer(media, one, chunks)
    one.play(0, 0.0)
    pacer.add(peer.sink, lambda: pytest.fail("the file is fine"))
    await pacing(clock, pacer, 5.0)
    assert peer.ends == 0
    half = sum(map(len, peer.frames()))
    assert timeline().offset_at(5.0 + LEAD_S) - 2 * PAYLOAD_MAX_BYTES <= half <= timeline().offset_at(5.0 + LEAD_S)
    await pacing(clock, pacer, 6.0)
    assert peer.ends == 1
    assert max(map(len, peer.frames())) == PAYLOAD_MAX_BYTES and b"".join(peer.frames()) == WHOLE
    peer.sink.close()


async def test_a_slow_reader_gets_a_bounded_queue_and_is_stuck_in_the_end(media: Path, chunks: Chunks) -> None:
    clock = FakeClock(datetime(2026, 11, 24, tzinfo=UTC))
    pacer = Pacer(clock)
    one = stream(now=0.0)
    peer = Peer(media, one, chunks)
    one.play(0, 0.0)
    pacer.add(peer.sink, lambda: pytest.fail("the file is fine"))
    peer.waiting = 1
    await pacing(clock, pacer, TCP_STUCK_S - 1)
    assert peer.written == [] and not peer.sink.stuck(clock.monotonic())
    await pacing(clock, pacer, 2.0)
    assert peer.sink.stuck(clock.monotonic())
    peer.waiting = 0
    await pacing(clock, pacer, 0.02)
    assert not peer.sink.stuck(clock.monotonic())
    assert sum(map(len, peer.frames())) <= timeline().offset_at(LEAD_S + 0.04) * 1328 / 1316
    assert len(peer.frames(1)) == 1, "one report"
    peer.sink.close()


async def test_a_file_that_shrank_is_told_and_the_others_play_on(media: Path, short: Path, chunks: Chunks) -> None:
    clock = FakeClock(datetime(2026, 11, 24, tzinfo=UTC))
    pacer = Pacer(clock)
    bad, good = Peer(short, stream(now=0.0), chunks), Peer(media, stream(now=0.0), chunks)
    failed: list[str] = []

    def give_up() -> None:
        failed.append("bad")
        pacer.remove(bad.sink)

    for peer in (bad, good):
        peer.sink.stream.play(0, 0.0)
    pacer.add(bad.sink, give_up)
    pacer.add(good.sink, lambda: pytest.fail("this one is whole"))
    await pacing(clock, pacer, 1.0)
    assert failed == ["bad"] and len(pacer) == 1 and good.frames()
    bad.sink.close()
    good.sink.close()


class Counting:
    def __init__(self) -> None:
        self.turns: list[float] = []

    def pump(self, now: float, unix_s: float) -> None:
        self.turns.append(now)


async def test_every_flow_has_its_turn_each_period_and_slots_fill_before_the_next_is_used() -> None:
    clock = FakeClock(datetime(2026, 11, 24, tzinfo=UTC))
    pacer = Pacer(clock)
    flows = [Counting() for _ in range(3 * SLOT_FULL_COUNT)]
    for each in flows:
        pacer.add(each, lambda: None)
    await pacing(clock, pacer, 1.0)
    assert {len(each.turns) for each in flows} <= {40, 41}
    firsts = [each.turns[0] for each in flows]
    assert sorted(set(firsts)) == pytest.approx([0.0, 0.005, 0.010])
    assert all(firsts.count(at) == SLOT_FULL_COUNT for at in set(firsts))
    assert not pacer.busy() and pacer.lateness.slots >= 120


class Acting:
    """A flow that does something in its turn."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.act, self.turns = act, 0

    def pump(self, now: float, unix_s: float) -> None:
        self.turns += 1
        self.act()


async def test_whoever_leaves_and_comes_in_its_own_turn_has_one_turn_a_period() -> None:
    clock = FakeClock(datetime(2026, 11, 24, tzinfo=UTC))
    pacer = Pacer(clock)

    def again() -> None:
        pacer.remove(one)
        pacer.add(one, lambda: None)

    one = Acting(again)
    pacer.add(one, lambda: None)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(pacer.run())
        await clock.advance(0.0)
        one.act = lambda: None
        one.turns = 0
        await clock.advance(1.0)
        assert one.turns == 40
        pacer.remove(one)
        await clock.advance(1.0)
        assert one.turns == 40, "nobody is left, nothing is done"
        pacer.add(one, lambda: None)
        await clock.advance(0.1)
        assert one.turns in (44, 45)
        task.cancel()


async def test_a_fault_of_a_flow_ends_the_pacer_aloud() -> None:
    clock = FakeClock(datetime(2026, 11, 24, tzinfo=UTC))
    pacer = Pacer(clock)
    pacer.add(Acting(lambda: {}["no"]), lambda: None)
    task = asyncio.ensure_future(pacer.run())
    await clock.advance(0.0)
    await clock.advance(0.1)
    with pytest.raises(KeyError):
        await task


def test_a_sink_closed_by_its_sibling_is_not_touched_again(media: Path, short: Path, chunks: Chunks) -> None:
    clock = FakeClock(datetime(2026, 11, 24, tzinfo=UTC))
    pacer = Pacer(clock)
    first, second = Peer(short, stream(now=0.0), chunks), Peer(media, stream(now=0.0), chunks)

    def hang_up() -> None:
        for peer in (first, second):
            pacer.remove(peer.sink)
            peer.sink.close()

    first.sink.stream.play(0, 0.0)
    second.sink.stream.play(0, 0.0)
    pacer.add(first.sink, hang_up)
    pacer.add(second.sink, lambda: pytest.fail("it was closed already"))
    for slot in range(SLOTS_COUNT):
        pacer.turn(slot)
    assert second.written == [] and len(pacer) == 0
