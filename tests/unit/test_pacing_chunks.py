"""Packets of the file, made once: framing, numbers, the bound of what is kept, the ways into the kernel."""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_server.pacing.chunks import Chunks
from edge_server.pacing.datagrams import A_SEND_MAX_COUNT, Datagrams, Way
from edge_server.pacing.framing import RAW, Frame, frame
from edge_server.pacing.lateness import Lateness
from edge_server.pacing.sink import TcpSink, UdpSink
from edge_server.pacing.stream import Stream
from edge_server.pacing.timeline import BLOCK_MAX_BYTES, PAYLOAD_MAX_BYTES, Packets, Timeline
from wire.rtp import SenderReport, parse_rtcp, parse_rtp
from wire.rtsp import Interleaved, Reader

COUNT = 4000
LENGTH = COUNT * 188
SECONDS = 4.0
KEYS = (0, 188 * 1000, 188 * 2001, 188 * 3333)
WHOLE = b"".join(b"\x47" + random.Random(n).randbytes(187) for n in range(COUNT))


def at_once(work: Callable[[], memoryview], done: Callable[[memoryview | OSError], None]) -> None:
    try:
        found: memoryview | OSError = work()
    except OSError as error:
        found = error
    done(found)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    path = tmp_path / "lesson.ts"
    path.write_bytes(WHOLE)
    return path


@pytest.fixture
def chunks() -> Chunks:
    return Chunks(at_once, b"secret")


def line(media: Path, chunks: Chunks) -> Timeline:
    """Four seconds that become twice as fast in the middle."""
    offsets, times = np.array([0, LENGTH // 3, LENGTH]), np.array([0.0, 2.0, SECONDS])
    return Timeline(offsets, times, LENGTH, SECONDS, 0.0, KEYS, chunks.numbers(media))


def stream_of(timeline: Timeline, *, rtp: bool = True, continuous: bool = True) -> Stream:
    return Stream(timeline, rtp=rtp, ssrc=1, sequence=2, timestamp=3, now=0.0, continuous=continuous)


@given(st.lists(st.integers(0, COUNT), max_size=20), st.integers(1, COUNT))
def test_every_byte_is_in_one_packet_and_every_cut_begins_one(cuts: list[int], length: int) -> None:
    timeline = Timeline(np.array([0, length * 188]), np.array([0.0, 9.0]), length * 188, 9.0, cuts=(0,))
    packets = Packets(timeline, tuple(188 * each for each in cuts))
    at = 0
    for block, stride in enumerate(packets.strides):
        start, stop = packets.starts[block], packets.starts[block + 1]
        assert start == at and stop > start and stride % 188 == 0 and 0 < stride <= PAYLOAD_MAX_BYTES
        assert stop - start <= BLOCK_MAX_BYTES
        count = -(-(stop - start) // stride)
        assert packets.firsts[block + 1] - packets.firsts[block] == count == len(packets.due_s(block))
        assert list(packets.due_s(block)) == sorted(packets.due_s(block)) and packets.block_at(stop - 1) == block
        at = stop
    assert at == length * 188
    for each in cuts:
        assert 188 * each > length * 188 or packets.begins_at(188 * each)


@pytest.mark.parametrize("channel", [None, 0, 6])
@pytest.mark.parametrize("rtp", [True, False])
@pytest.mark.parametrize("count", [1, 7, 8, 20, 21])
def test_a_frame_is_what_a_reader_of_the_protocol_expects(rtp: bool, channel: int | None, count: int) -> None:
    payload = WHOLE[: 188 * count]
    kind, stamps = Frame(rtp, channel), np.arange(-(-count // 7)) + 2**32 - 1
    run = bytes(frame(memoryview(payload), 1316, kind, sequence=65535, stamps=stamps))
    packets = []
    if channel is None:
        width = 1316 + 12 * rtp
        packets = [run[at : at + width] for at in range(0, len(run), width)]
    else:
        for message in Reader().feed(run):
            assert isinstance(message, Interleaved) and message.channel == channel
            packets.append(message.payload)
    if rtp:
        parsed = [parse_rtp(each) for each in packets]
        assert [each.sequence for each in parsed] == [65535, 0, 1][: len(parsed)]
        assert [each.timestamp for each in parsed] == [2**32 - 1, 0, 1][: len(parsed)]
        packets = [each.payload for each in parsed]
    assert b"".join(packets) == payload and max(map(len, packets)) <= 1316


def test_two_viewers_get_the_same_bytes_and_rtp_info_tells_them(media: Path, chunks: Chunks) -> None:
    timeline = line(media, chunks)
    seen: list[bytes] = []
    for start in (0, KEYS[2]):
        stream = stream_of(timeline)
        stream.play(start, 0.0)
        told = (stream.sequence, stream.rtp_timestamp(), stream.ssrc)
        packets = sent(media, chunks, stream)
        first = parse_rtp(packets[0])
        assert (first.sequence, first.timestamp, first.ssrc) == told
        assert b"".join(parse_rtp(each).payload for each in packets) == WHOLE[start:]
        seen.append(b"".join(packets))
    assert seen[0].endswith(seen[1])
    for packet in (parse_rtp(each) for each in sent(media, chunks, playing(timeline))):
        at = WHOLE.index(packet.payload)
        assert (packet.timestamp - round(timeline.time_at(at) * 90000) - timeline.numbers.timestamp) % 2**32 == 0  # type: ignore[union-attr]


def playing(timeline: Timeline) -> Stream:
    stream = stream_of(timeline)
    stream.play(0, 0.0)
    return stream


@pytest.mark.parametrize("continuous", [True, False])
def test_after_a_jump_numbers_go_on_unless_the_boxes_read_rtp_info(
    media: Path, chunks: Chunks, continuous: bool
) -> None:
    stream = stream_of(line(media, chunks), continuous=continuous)
    stream.play(KEYS[2], 0.0)
    before = [parse_rtp(each) for each in sent(media, chunks, stream, until=0.5)]
    stream.play(KEYS[1], 1.0)
    told = stream.sequence, stream.rtp_timestamp()
    after = [parse_rtp(each) for each in sent(media, chunks, stream, begin=1.0)]
    assert (after[0].sequence, after[0].timestamp) == told
    assert (after[0].sequence == (before[-1].sequence + 1) & 0xFFFF) == continuous
    assert {each.ssrc for each in before + after} == {stream.ssrc}
    numbers = [each.sequence for each in after]
    assert numbers == [(numbers[0] + index) & 0xFFFF for index in range(len(numbers))]
    assert after[0].payload == b"mark" and b"".join(each.payload for each in after[1:]) == WHOLE[KEYS[1] :]
    if continuous:
        assert (after[0].timestamp - before[-1].timestamp) % 2**32 < 2**31


def test_a_play_to_a_second_ends_inside_a_packet_and_the_next_goes_on_there(media: Path, chunks: Chunks) -> None:
    stream = stream_of(line(media, chunks))
    stream.play(0, 0.0, stop_s=1.234)
    packets = [parse_rtp(each) for each in sent(media, chunks, stream)]
    stop = stream.offset_bytes
    assert stream.ended(100.0) and b"".join(each.payload for each in packets) == WHOLE[:stop]
    stream.play(stop, 200.0)
    rest = [parse_rtp(each) for each in sent(media, chunks, stream, begin=200.0)]
    assert b"".join(each.payload for each in rest) == WHOLE[stop:]
    assert rest[0].sequence == (packets[-1].sequence + 1) & 0xFFFF


@pytest.mark.parametrize("jump", [False, True])
def test_reports_count_what_was_sent_however_the_turns_fall(media: Path, chunks: Chunks, jump: bool) -> None:
    stream, chance = stream_of(line(media, chunks)), random.Random(9)
    (near, far), (mine, theirs) = (socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2))
    with far, theirs:
        for each in (near, far, mine, theirs):
            each.setblocking(False)
        ends: list[float] = []
        sink = UdpSink(
            chunks.open(media, stream.timeline.packets),
            stream,
            Frame(True),
            lambda offset: b"mark",
            lambda: ends.append(now),
            data=near,
            control=mine,
            counters=Counter(),
            way=Way.EACH,
        )
        got: list[bytes] = []
        now = 0.0
        stream.play(0, now)
        while not ends and now < 20.0:
            already = len(got)
            sink.pump(now, 0.0)
            got += waiting(far)
            for packet in waiting(theirs):
                report = parse_rtcp(packet)[0]
                assert isinstance(report, SenderReport)
                assert report.packets == already, "a report goes out before the packets of its turn"
                assert report.octets == sum(len(parse_rtp(each).payload) for each in got[:already])
            if jump and now > 1.0:
                stream.play(KEYS[1], now)
                jump = False
            now += chance.choice((0.001, 0.02, 0.02, 0.02, 0.1))
        numbers = [parse_rtp(each).sequence for each in got]
        assert ends and numbers == [(numbers[0] + index) & 0xFFFF for index in range(len(numbers))]
        sink.goodbye(now, 0.0)
        last = parse_rtcp(waiting(theirs)[-1])[0]
        assert isinstance(last, SenderReport) and last.packets == len(got)
        assert last.octets == sum(len(parse_rtp(each).payload) for each in got)
        sink.close()


def waiting(far: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(far.recv(2048))
        except BlockingIOError:
            return found


def sent(media: Path, chunks: Chunks, stream: Stream, begin: float = 0.0, until: float = 10.0) -> list[bytes]:
    """Play over a pair of real sockets and return the datagrams."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        counters: Counter[str] = Counter()
        source = chunks.open(media, stream.timeline.packets)
        sink = UdpSink(
            source,
            stream,
            Frame(stream.rtp),
            lambda offset: b"mark",
            lambda: None,
            data=near,
            control=None,
            counters=counters,
            way=Way.EACH,
        )
        found = []
        for step in range(round(until / 0.02)):
            sink.pump(begin + step * 0.02, 0.0)
            found += waiting(far)
        source.close()
        assert not counters
        return found


def test_what_a_connection_takes_in_pieces_arrives_as_whole_frames(media: Path, chunks: Chunks) -> None:
    stream = stream_of(line(media, chunks))
    wire: list[bytes] = []
    waiting = 0
    chance = random.Random(5)

    def write_now(data: memoryview) -> int:
        room = chance.choice((0, 1, 3, 700, 1332, 5000, 1 << 20))
        if not room:
            raise BlockingIOError
        wire.append(bytes(data[:room]))
        return min(room, len(data))

    def write(data: bytes) -> None:
        nonlocal waiting
        wire.append(data)
        waiting = chance.choice((0, 1))

    sink = TcpSink(
        chunks.open(media, stream.timeline.packets),
        stream,
        Frame(True, 2),
        lambda offset: b"",
        lambda: None,
        control_channel=3,
        write_now=write_now,
        write=write,
        waiting_bytes=lambda: waiting,
    )
    stream.play(0, 0.0)
    for step in range(2000):
        sink.pump(step * 0.005, 0.0)
        waiting = 0
    frames = [each for each in Reader().feed(b"".join(wire)) if isinstance(each, Interleaved)]
    media_packets = [parse_rtp(each.payload) for each in frames if each.channel == 2]
    assert b"".join(each.payload for each in media_packets) == WHOLE
    assert any(each.channel == 3 for each in frames), "reports lie between frames"
    sink.close()


def test_what_is_kept_has_a_bound_and_a_cold_file_makes_nobody_wait(media: Path) -> None:
    jobs: list[tuple[Callable[[], memoryview], Callable[[memoryview | OSError], None]]] = []
    chunks = Chunks(lambda work, done: jobs.append((work, done)), b"s", max_bytes=BLOCK_MAX_BYTES)
    source = chunks.open(media, line(media, chunks).packets)
    assert source.chunk(0, RAW) is None and source.chunk(0, RAW) is None and len(jobs) == 1, "asked for once"
    blocks = len(source.packets.strides)
    for block in range(blocks):
        source.chunk(block, RAW)
        while jobs:
            at_once(*jobs.pop())
        found = source.chunk(block, RAW)
        assert found == WHOLE[source.packets.starts[block] : source.packets.starts[block + 1]]
        assert chunks.kept_bytes <= BLOCK_MAX_BYTES
        if block + 1 < blocks:
            assert len(jobs) == 1, "the next one is wanted before it is needed"
    while jobs:
        at_once(*jobs.pop())
    source.close()


def test_a_file_is_held_until_the_last_reader_and_the_last_read_are_done(media: Path) -> None:
    jobs: list[tuple[Callable[[], memoryview], Callable[[memoryview | OSError], None]]] = []
    chunks = Chunks(lambda work, done: jobs.append((work, done)), b"s")
    packets = line(media, chunks).packets
    first, second = chunks.open(media, packets), chunks.open(media, packets)
    assert first is second
    first.chunk(0, RAW)
    first.close()
    second.close()
    assert first.users == 1
    at_once(*jobs.pop())
    assert first.users == 0 and chunks.open(media, packets) is not first


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.socket(type=socket.SOCK_DGRAM) as near, socket.socket(type=socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        far.settimeout(5)
        near.connect(far.getsockname())
        near.setblocking(False)
        yield near, far


@pytest.mark.parametrize("way", list(Way))
@pytest.mark.parametrize("packets", [1, 5, A_SEND_MAX_COUNT + 30])
def test_each_way_into_the_kernel_gives_the_same_datagrams(
    pair: tuple[socket.socket, socket.socket], way: Way, packets: int
) -> None:
    near, far = pair
    counters: Counter[str] = Counter()
    out = Datagrams(near, 1328, counters, way)
    run = memoryview(random.Random(1).randbytes(1328 * (packets - 1) + 200))
    out.send(run, 1328)
    assert out.way is way and not counters
    assert [far.recv(4096) for _ in range(packets)] == [run[at : at + 1328] for at in range(0, len(run), 1328)]


def test_a_way_out_without_segmentation_is_noticed_and_nothing_is_lost(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    counters: Counter[str] = Counter()
    out = Datagrams(near, 1328, counters, Way.SEGMENTS)
    near.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK: the kernel refuses GSO without checksums (EIO)
    run = memoryview(random.Random(2).randbytes(1328 * 10))
    out.send(run, 1328)
    assert out.way is not Way.SEGMENTS and counters == {"sockets without segmentation": 1}
    assert b"".join(far.recv(4096) for _ in range(10)) == run


@pytest.mark.parametrize("way", list(Way))
def test_nobody_listening_is_counted_and_no_error(pair: tuple[socket.socket, socket.socket], way: Way) -> None:
    near, far = pair
    far.close()
    counters: Counter[str] = Counter()
    out = Datagrams(near, 1328, counters, way)
    for _ in range(3):
        out.send(memoryview(bytes(1328 * 3)), 1328)
    assert counters["datagrams refused"] > 0 and set(counters) == {"datagrams refused"}


def test_lateness_needs_enough_samples_and_forgets() -> None:
    one = Lateness()
    for step in range(199):
        one.note(step * 0.005, 0.1)
    assert one.p99_s(1.0) == 0.0
    for step in range(400):
        one.note(1.0 + step * 0.005, 0.001 if step % 20 else 0.06)
    assert one.p99_s(3.0) == 0.1 and one.p99_s(6.5) == 0.06 and one.p99_s(100.0) == 0.0
    assert sum(one.buckets) == one.slots == 599 and one.buckets[-2:] == [0, 0]
