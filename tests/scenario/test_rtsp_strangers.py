"""The RTSP port itself: limits, vanished and greedy peers, give-backs, politeness; and strangers that seek.

The service runs inside the test on a free port, with a real lesson, packaged by the edge's own packager.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from domain.courseware import CATALOGUE_PATH, Catalogue, Courseware, ItemClass, MediaFamily, Rendition, encode_catalogue
from edge_server.catalog import CatalogView
from edge_server.egress import EgressContext
from edge_server.egress.multicast import Group, MulticastService, Wire
from edge_server.egress.rtsp import RtspService, Rules
from edge_server.pacing.service import Pacing
from edge_server.packager import Shelf, package
from edge_server.sessions.viewing import Viewings
from edge_server.store import StoredFile
from fixtures.lessons import make_counted_lesson
from runtime.clock import SystemClock
from runtime.service import running
from tests.peers import tr101290
from tests.views import snapshot_of
from wire.mpegts_meter import ContinuityMeter

pytestmark = pytest.mark.timeout(90)
FRAMES = 130
SECONDS = FRAMES / 25


@dataclass
class Edge:
    view: CatalogView
    shelf: Shelf
    ts: Path

    def context(self) -> EgressContext:
        return EgressContext(lambda: self.view, self.shelf, SystemClock())


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Edge:
    root = tmp_path_factory.mktemp("rtsp")
    mp4 = root / "R12.mp4"
    make_counted_lesson(mp4, frames=FRAMES, title="安全用电", seed=3, size=(320, 240))
    raw = mp4.read_bytes()
    sha256, name = hashlib.sha256(raw).hexdigest(), "courseware/7/R12.mp4"
    packaged = package(mp4, sha256, root / "derived")
    rendition = Rendition(
        name="R12",
        path=name,
        sha256=sha256,
        length_bytes=len(raw),
        duration_s=SECONDS,
        width=320,
        height=240,
        display_width=320,
        frame_rate=25.0,
        frames=FRAMES,
        video_codec="avc1.64000d",
        audio_codec="mp4a.40.2",
        peak_bps=1_000_000,
        average_bps=500_000,
    )
    item = Courseware(
        item_id="7",
        title="安全用电",
        item_class=ItemClass.EDUCATION,
        column_id="1",
        family=MediaFamily.VIDEO,
        issued_at="2026-11-24T00:00:00Z",
        duration_s=SECONDS,
        renditions=(rendition,),
    )
    catalogue = root / "catalogue.json"
    catalogue.write_bytes(encode_catalogue(Catalogue(courseware=(item,))))
    files = {
        name: StoredFile(name, sha256, len(raw), str(mp4)),
        CATALOGUE_PATH: StoredFile(CATALOGUE_PATH, "0" * 64, catalogue.stat().st_size, str(catalogue)),
    }
    active = snapshot_of(1, "library", datetime(2026, 11, 24, tzinfo=UTC), files)
    return Edge(CatalogView(active), Shelf(root / "derived"), packaged.ts)


@asynccontextmanager
async def serving(
    lesson: Edge,
    *,
    places: int = 8,
    connections: int | None = None,
    timeout_s: float = 180.0,
    rules: Rules | None = None,
) -> AsyncIterator[RtspService]:
    viewings = Viewings(max_count=places, timeout_s=timeout_s)
    service = RtspService(
        "127.0.0.1", 0, lesson.context(), viewings=viewings, connections_max_count=connections, rules=rules
    )
    async with running(service, grace=5.0):
        yield service
    assert service.counters["connections failed"] == 0
    assert len(service.viewings) == 0, "draining gives every place back"


class Box:
    """A box by hand: text in, text out; nothing of ours is used."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        self.reader, self.writer = reader, writer
        self.url = f"rtsp://127.0.0.1:{port}/vod/7.mpg"
        self.cseq, self.session = 0, ""
        self.media: list[bytes] = []
        self.control: list[bytes] = []
        self.notices: list[str] = []

    async def message(self) -> str:
        while True:
            first = await self.reader.readexactly(1)
            if first == b"$":
                channel, length = struct.unpack(">BH", await self.reader.readexactly(3))
                (self.control if channel % 2 else self.media).append(await self.reader.readexactly(length))
                continue
            text = (first + await self.reader.readuntil(b"\r\n\r\n")).decode()
            size = re.search(r"(?i)content-length: *(\d+)", text)
            text += (await self.reader.readexactly(int(size[1]) if size else 0)).decode()
            if text.startswith("ANNOUNCE"):
                self.notices.append(re.search(r"x-notice: (\d+)", text)[1])  # type: ignore[index]
            return text

    async def ask(self, method: str, *lines: str, url: str = "") -> str:
        self.cseq += 1
        head = [f"{method} {url or self.url} RTSP/1.0", f"CSeq: {self.cseq}", *lines]
        head += [f"Session: {self.session}"] if self.session else []
        self.writer.write(("\r\n".join(head) + "\r\n\r\n").encode())
        while not (answer := await self.message()).startswith("RTSP/1.0"):
            pass
        return answer

    async def setup(self, transport: str = "MP2T/TCP;unicast;interleaved=0-1") -> str:
        answer = await self.ask("SETUP", f"Transport: {transport}", url=self.url + "/trackID=1")
        found = re.search(r"Session: ([^;\r]+)", answer)
        self.session = found[1] if found else ""
        return answer

    async def gone(self) -> bool:
        async with asyncio.timeout(10):
            while True:
                try:
                    await self.message()
                except (asyncio.IncompleteReadError, ConnectionError):
                    return True


@asynccontextmanager
async def box(service: RtspService) -> AsyncIterator[Box]:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    try:
        yield Box(reader, writer, service.port)
    finally:
        writer.transport.abort()


async def until(true: object, what: str) -> None:
    """Wait for something that must come; only its never coming fails."""
    clock = SystemClock()
    for _ in range(500):
        if true():  # type: ignore[operator]
            return
        await clock.sleep_until(clock.monotonic() + 0.02)
    raise AssertionError(what)


def leases(ts: Path) -> int:
    """How often this process has the media file open."""
    return sum(1 for each in Path("/proc/self/fd").iterdir() if each.is_symlink() and _target(each) == str(ts))


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


@contextmanager
def udp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    for _ in range(50):
        data, control = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
        data.bind(("127.0.0.1", 0))
        try:
            control.bind(("127.0.0.1", data.getsockname()[1] + 1))
        except OSError:
            data.close()
            control.close()
            continue
        with data, control:
            data.setblocking(False)
            control.setblocking(False)
            yield data, control
        return
    raise AssertionError("no free pair of ports")


async def test_the_configured_number_of_places_holds_and_is_told_in_words(lesson: Edge) -> None:
    async with serving(lesson, places=1) as service, box(service) as first, box(service) as second:
        assert " 200 " in await first.setup()
        answer = await second.setup()
        assert answer.startswith("RTSP/1.0 453 ") and "人数已满" in answer
        assert " 200 " in await first.ask("TEARDOWN")
        assert " 200 " in await second.setup()


async def test_connections_are_limited_and_the_next_one_is_served_after_one_left(lesson: Edge) -> None:
    async with serving(lesson, connections=1) as service:
        async with box(service) as first:
            assert " 200 " in await first.setup()
            async with box(service) as second:
                assert await second.gone()
            assert service.counters["connections refused"] == 1
        async with box(service) as third:
            await until(lambda: not service._connections, "the first connection is given back")
            assert third is not None
        async with box(service) as fourth:
            assert " 200 " in await fourth.ask("OPTIONS")


async def test_connections_that_say_nothing_give_way_to_boxes_that_want_to_play(lesson: Edge) -> None:
    """The oldest first; who has a session stays."""
    async with serving(lesson, connections=3) as service, AsyncExitStack() as stack:
        playing = await stack.enter_async_context(box(service))
        assert " 200 " in await playing.setup()
        silent = [await stack.enter_async_context(box(service)) for _ in range(2)]
        await until(lambda: len(service._connections) == 3, "all places are taken")
        late = await stack.enter_async_context(box(service))
        assert " 200 " in await late.setup()
        assert await silent[0].gone() and " 200 " in await silent[1].ask("OPTIONS")
        assert " 200 " in await playing.ask("PLAY")
        assert service.counters["connections gave way"] == 1 and not service.counters["connections refused"]


async def test_a_box_that_vanishes_gives_back_place_and_lease(lesson: Edge) -> None:
    async with serving(lesson) as service:
        assert leases(lesson.ts) == 0
        async with box(service) as one:
            await one.setup()
            await one.ask("PLAY")
            await until(lambda: leases(lesson.ts) == 1, "playing holds the file open")
        await until(lambda: len(service.viewings) == 0, "the place is given back")
        await until(lambda: leases(lesson.ts) == 0, "so is the lease")


def sockets() -> int:
    """How many sockets this process has."""
    return sum(
        1 for each in Path("/proc/self/fd").iterdir() if each.is_symlink() and _target(each).startswith("socket")
    )


async def test_200_half_open_and_50_vanished_clients_leave_nothing_behind(lesson: Edge) -> None:
    """They stay connected and say nothing more: only the time-outs of the server, short here, can end them."""
    rules = Rules("EdgeServer", idle_s=1.0)
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(
            serving(lesson, places=60, connections=300, timeout_s=2.0, rules=rules)
        )
        for number in range(200):
            half = await stack.enter_async_context(box(service))
            half.writer.write((b"", b"\r\n", b"DESCR", b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nx-")[number % 4])
        with udp_pair() as (data, _):
            port = data.getsockname()[1]
            transports = (f"MP2T/RTP/UDP;unicast;client_port={port}-{port + 1}", "MP2T/TCP;unicast;interleaved=0-1")
            before = sockets()
            for number in range(50):
                one = await stack.enter_async_context(box(service))
                assert " 200 " in await one.setup(transports[number % 2])
                assert " 200 " in await one.ask("PLAY", "Range: npt=0-", *(("Scale: 2",) if number % 3 else ()))
            assert len(service.viewings) == 50 and leases(lesson.ts) == 1 and sockets() >= before + 50
            await until(lambda: not service._connections, "every connection is given back")
            assert len(service.viewings) == 0 and service.counters["sessions timed out"] == 50
            await until(lambda: leases(lesson.ts) == 0, "the lease is given back")
            assert sockets() <= before + 50, "our own ends of the 250 connections are left, and no port of the server"
        async with box(service) as after:
            assert " 200 " in await after.setup()


async def test_who_asks_without_a_pause_is_served_in_turn_with_the_others(lesson: Edge) -> None:
    async with serving(lesson) as service, box(service) as greedy, box(service) as modest:
        assert " 200 " in await modest.ask("OPTIONS")
        told: list[str] = []
        begun = asyncio.Event()

        async def all_of(one: Box, name: str, count: int) -> None:
            for _ in range(count):
                await one.message()
                told.append(name)
                begun.set()

        greedy.writer.write(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n" * 3000)
        async with asyncio.TaskGroup() as group:
            group.create_task(all_of(greedy, "greedy", 3000))
            await begun.wait()
            modest.writer.write(b"OPTIONS * RTSP/1.0\r\nCSeq: 2\r\n\r\n")
            group.create_task(all_of(modest, "modest", 1))
        assert told.index("modest") < 1000, "3000 were asked for before"


async def test_nonsense_is_answered_400_and_the_others_play_on(lesson: Edge) -> None:
    async with serving(lesson) as service, box(service) as good, box(service) as bad:
        await good.setup()
        await good.ask("PLAY")
        bad.writer.write(b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n")
        assert (await bad.message()).startswith("RTSP/1.0 400 ")
        assert await bad.gone()
        before = len(good.media)
        await good.ask("GET_PARAMETER")
        while len(good.media) <= before:
            await good.ask("GET_PARAMETER")


async def test_draining_says_2103_and_closes(lesson: Edge) -> None:
    async with serving(lesson) as service, box(service) as one:
        await one.setup("MP2T/RTP/TCP;unicast;interleaved=0-1")
        await one.ask("PLAY")
        await service.drain()
        assert await one.gone()
        assert one.notices == ["2103"]
        assert struct.unpack(">BB", one.control[-1][-8:-6])[1] == 203, "BYE"
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", service.port)


async def test_a_reader_that_does_not_read_costs_a_bounded_queue(lesson: Edge) -> None:
    async with serving(lesson) as service, box(service) as one:
        await one.setup()
        one.writer.write(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n" * 200_000)
        await until(lambda: len(service.viewings) == 0 or not service._connections, "it is given up")


async def test_a_seek_is_marked_so_that_no_counter_jumps_illegally(lesson: Edge) -> None:
    async with serving(lesson) as service, box(service) as one:
        await one.setup()
        await one.ask("PLAY", "Range: npt=0-")
        while sum(map(len, one.media)) < 188 * 70:
            await one.ask("GET_PARAMETER")
        assert "Range: npt=4.000-" in await one.ask("PLAY", "Range: npt=4.5-")
        while not one.notices:
            await one.message()
        meter = ContinuityMeter()
        for each in one.media:
            meter.feed(each)
        assert meter.continuity_errors == 0 and meter.sync_errors == 0 and meter.discontinuities >= 2
        report = tr101290.check(b"".join(one.media))
        assert report.wrong == [] and report.time_bases == 2 and report.pcr_gap_max_s <= 0.040
        whole = lesson.ts.read_bytes()
        assert whole.endswith(b"".join(one.media)[-188 * 70 :])


@pytest.mark.parametrize("transport", ["MP2T/TCP", "MP2T/RTP/TCP"])
async def test_winding_there_and_back_and_on_at_the_lessons_own_speed(lesson: Edge, transport: str) -> None:
    async with serving(lesson) as service, box(service) as one:
        await one.setup(f"{transport};unicast;interleaved=0-1")
        answer = await one.ask("PLAY", "Range: npt=0-", "Scale: 2")
        assert "Scale: 2.0\r\n" in answer and "Range: npt=0.000-5.200" in answer
        while not one.notices:
            await one.message()
        answer = await one.ask("PLAY", "Range: npt=now-begin", "Scale: -8.0")
        assert "Scale: -8.0\r\n" in answer
        while "2102" not in one.notices:
            await one.message()
        assert one.notices[0] == "2101"
        before = len(one.media)
        answer = await one.ask("PLAY")
        assert "Range: npt=0.000-5.200" in answer and "Scale" not in answer
        for _ in range(1000):
            await one.message()
            if one.notices[-1] == "2101" and len(one.notices) > 2:
                break
        rtp = "RTP" in transport
        if rtp:
            numbers = [parse_sequence(each) for each in one.media]
            assert numbers == [(numbers[0] + index) & 0xFFFF for index in range(len(numbers))]
            times = [int.from_bytes(each[4:8], "big") for each in one.media]
            assert all((b - a) & 0xFFFFFFFF < 1 << 31 for a, b in pairwise(times)), "time never goes back"
        packets = [each[12 if rtp else 0 :] for each in one.media]
        meter = ContinuityMeter()
        for each in packets:
            meter.feed(each)
        assert meter.continuity_errors == 0 and meter.sync_errors == 0
        assert b"".join(packets[before:]).endswith(lesson.ts.read_bytes())
        report = tr101290.check(b"".join(packets))
        assert [each for each in report.wrong if not each.startswith("2.5")] == [], "key pictures lie 2 s apart"
        assert report.time_bases == 3 and report.pcr_gap_max_s <= 0.040


async def test_datagrams_reports_and_bye_over_udp(lesson: Edge) -> None:
    with udp_pair() as (data, control):
        port = data.getsockname()[1]
        async with serving(lesson) as service, box(service) as one:
            answer = await one.setup(f"MP2T/RTP/UDP;unicast;client_port={port}-{port + 1}")
            server = re.search(r"server_port=(\d+)-(\d+)", answer)
            assert server is not None and int(server[1]) % 2 == 0 and int(server[2]) == int(server[1]) + 1
            await one.ask("PLAY", "Range: npt=4-")
            loop = asyncio.get_running_loop()
            first, origin = await loop.sock_recvfrom(data, 2048)
            assert origin == ("127.0.0.1", int(server[1])) and first[1] & 0x7F == 33 and (len(first) - 12) % 188 == 0
            report, origin = await loop.sock_recvfrom(control, 2048)
            assert origin == ("127.0.0.1", int(server[2])) and report[1] == 200
            seen = next(iter(service.viewings)).last_seen_s
            control.sendto(bytes.fromhex("80c9000100000001"), origin)
            await until(lambda: next(iter(service.viewings)).last_seen_s > seen, "RTCP is a sign of life")
            while not one.notices:
                await one.message()
            last = report
            async with asyncio.timeout(5):
                while last[-7] != 203:
                    last = await loop.sock_recv(control, 2048)


async def test_a_strangers_punch_neither_turns_a_stream_nor_keeps_it_alive(lesson: Edge) -> None:
    with udp_pair() as (data, _), udp_pair() as (foreign, other):
        port = data.getsockname()[1]
        async with serving(lesson) as service, box(service) as one:
            answer = await one.setup(f"MP2T/RTP/UDP;unicast;client_port={port}-{port + 1}")
            server = re.search(r"server_port=(\d+)-(\d+)", answer)
            assert server is not None
            await one.ask("PLAY", "Range: npt=0-")
            loop = asyncio.get_running_loop()
            numbers = [parse_sequence(await loop.sock_recv(data, 2048))]
            seen = next(iter(service.viewings)).last_seen_s
            for _ in range(20):
                foreign.sendto(b"punch", ("127.0.0.1", int(server[1])))
                other.sendto(bytes.fromhex("80c9000100000001"), ("127.0.0.1", int(server[2])))
                numbers.append(parse_sequence(await loop.sock_recv(data, 2048)))
            assert numbers == [(numbers[0] + index) & 0xFFFF for index in range(len(numbers))]
            assert next(iter(service.viewings)).last_seen_s == seen
            for each in (foreign, other):
                with pytest.raises(BlockingIOError):
                    each.recv(2048)
            data.sendto(b"punch", ("127.0.0.1", int(server[1])))
            await until(lambda: next(iter(service.viewings)).last_seen_s > seen, "the box's own is a sign of life")


ZTE = bytes.fromhex("5a585631305354427fffffff0a000009")


@pytest.mark.parametrize("family", ["zte", "huawei"])
async def test_a_boxs_punch_turns_its_stream_and_a_strangers_does_not(lesson: Edge, family: str) -> None:
    """The announced ports are those before the translator; what comes out of it has others."""
    with udp_pair() as (inside, _), udp_pair() as (outside, outside_control), udp_pair() as (foreign, _):
        port = inside.getsockname()[1]
        async with serving(lesson) as service, box(service) as one:
            line = f"Transport: MP2T/RTP/UDP;unicast;client_address=10.0.0.9;client_port={port}-{port + 1};mode=PLAY"
            answer = await one.ask("SETUP", line, f"x-NAT_Address: 10.0.0.9:{port}", url=one.url + "/trackID=1")
            one.session = re.search(r"Session: ([^;\r]+)", answer)[1]  # type: ignore[index]
            server = int(re.search(r"server_port=(\d+)-", answer)[1])  # type: ignore[index]
            key = int(re.search(r"x-NAT: on;ssrc=(\d+)\r", answer)[1])  # type: ignore[index]
            assert "x-KeepAliveInterval: 60\r\n" in answer
            if family == "zte":
                good, bad = (ZTE + struct.pack(">HH", each, 45001) + bytes(64) for each in (port, port + 7))
            else:
                good, bad = (struct.pack(">BBHI", 0, 1, 0, each & 0xFFFFFFFF) for each in (key, key + 1))
            await one.ask("PLAY", "Range: npt=0-")
            loop = asyncio.get_running_loop()
            numbers = [parse_sequence(await loop.sock_recv(inside, 2048))]
            seen = next(iter(service.viewings)).last_seen_s
            for each in (bad, good[:-1], good + b"x", b"", b"punch", struct.pack(">BBHI", 0, 2, 0, key)):
                foreign.sendto(each, ("127.0.0.1", server))
                numbers.append(parse_sequence(await loop.sock_recv(inside, 2048)))
            assert next(iter(service.viewings)).last_seen_s == seen
            with pytest.raises(BlockingIOError):
                foreign.recv(2048)
            outside.sendto(good, ("127.0.0.1", server))
            outside_control.sendto(good, ("127.0.0.1", server + 1))
            first = await loop.sock_recv(outside, 2048)
            if family == "huawei":
                assert first == struct.pack(">BBHI", 0, 2, 0, key), "the box waits for this answer"
                assert await loop.sock_recv(outside_control, 2048) == first
                first = await loop.sock_recv(outside, 2048)
            while True:
                try:
                    numbers.append(parse_sequence(inside.recv(2048)))
                except BlockingIOError:
                    break
            numbers += [parse_sequence(first), parse_sequence(await loop.sock_recv(outside, 2048))]
            assert numbers == [(numbers[0] + index) & 0xFFFF for index in range(len(numbers))], "nothing is lost"
            assert next(iter(service.viewings)).last_seen_s > seen
            while not one.notices:
                await one.message()
            last = b""
            async with asyncio.timeout(5):
                while len(last) < 7 or last[-7] != 203:
                    last = await loop.sock_recv(outside_control, 2048)


async def test_the_end_of_datagrams_is_told_twice_in_time(lesson: Edge) -> None:
    with udp_pair() as (data, _):
        port = data.getsockname()[1]
        async with serving(lesson) as service, box(service) as one:
            await one.setup(f"MP2T/RTP/UDP;unicast;client_port={port}-{port + 1}")
            await one.ask("PLAY", "Range: npt=4-")
            async with asyncio.timeout(15):
                while len(one.notices) < 2:
                    await one.message()
            assert one.notices == ["2101", "2101"]


def parse_sequence(packet: bytes) -> int:
    return int.from_bytes(packet[2:4], "big")


async def stranger(*command: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("second", [2, 3.2])
async def test_ffmpeg_seeks_and_gets_every_frame_from_there(lesson: Edge, transport: str, second: float) -> None:
    """ffmpeg asks for that second, plus the first time in the stream, less 3/23 s for the sake of B pictures.

    It may warn of the one picture that its PAUSE before the seek has cut: that one lies before the wanted second.
    """
    async with serving(lesson) as service:
        url = f"rtsp://127.0.0.1:{service.port}/vod/7.mpg"
        quiet = ("ffmpeg", "-v", "error", "-rtsp_transport", transport, "-ss", str(second))
        code, out, err = await stranger(*quiet, "-i", url, "-map", "0:v:0", "-f", "framemd5", "-")
        assert code == 0, err
        frames = [line for line in out.splitlines() if line and not line.startswith("#")]
        assert len(frames) == FRAMES - second * 25


@pytest.mark.stranger("gst-launch-1.0")
async def test_playbin_plays_to_the_end(lesson: Edge) -> None:
    async with serving(lesson) as service:
        url = f"rtsp://127.0.0.1:{service.port}/vod/7.mpg"
        sinks = ("video-sink=fakesink", "audio-sink=fakesink")
        code, out, err = await stranger("gst-launch-1.0", "-q", "playbin3", f"uri={url}", *sinks)
        assert code == 0, out + err
        assert service.counters["refused 454"] == 0


@pytest.mark.stranger("gst-launch-1.0", "gst-rtsp-server")
async def test_gstreamer_winds_forward_and_sees_each_key_picture_once(lesson: Edge) -> None:
    """Its ``rtspsrc`` asks by Scale; the lesson's key pictures lie two seconds apart."""
    async with serving(lesson) as service:
        script = str(Path(__file__).parents[1] / "peers" / "gst_trick.py")
        url = f"rtsp://127.0.0.1:{service.port}/vod/7.mpg"
        code, out, err = await stranger("/usr/bin/python3", script, url, "2", "0")
        assert code == 0, err
        found = json.loads(out)
        assert found["moved"] and found["ended"] and len(found["shown_s"]) == 3, found
        assert all(earlier < later for earlier, later in pairwise(found["shown_s"]))


@pytest.mark.parametrize("rtp", [False, True])
async def test_a_multicast_group_gets_the_lesson_round_after_round(lesson: Edge, rtp: bool) -> None:
    """Two rounds over the loopback: every byte in order, the join marked, RTP numbers without a break."""
    whole = lesson.ts.read_bytes()
    with socket.socket(type=socket.SOCK_DGRAM) as box:
        box.bind(("239.255.77.7", 0))
        port = box.getsockname()[1] & ~1
    with socket.socket(type=socket.SOCK_DGRAM) as box:
        box.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        box.bind(("239.255.77.7", port))
        joined = socket.inet_aton("239.255.77.7") + socket.inet_aton("127.0.0.1")
        box.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
        box.setblocking(False)
        group = Group("7", "R12", "239.255.77.7", port, rtp)
        pacing = Pacing(SystemClock())
        service = MulticastService((group,), lesson.context(), pacing, Wire(interface="127.0.0.1"))
        packets: list[bytes] = []
        loop = asyncio.get_running_loop()
        async with running(pacing, grace=1.0), running(service, grace=1.0), asyncio.timeout(30):
            while sum(map(len, packets)) < 1.5 * len(whole):
                packets.append(await loop.sock_recv(box, 2048))
        assert not service.counters
    meter = ContinuityMeter()
    if rtp:
        numbers = [struct.unpack(">H", each[2:4])[0] for each in packets]
        assert numbers == [(numbers[0] + index) & 0xFFFF for index in range(len(packets))]
        packets = [each[12:] for each in packets]
    for each in packets:
        meter.feed(each)
    assert meter.continuity_errors == 0 and meter.sync_errors == 0 and meter.discontinuities >= 2
    stream = b"".join(packets)
    assert stream.startswith(whole)
    again = stream.index(whole[:1880], len(whole))
    assert 0 < again - len(whole) <= 188 * 7 and whole.startswith(stream[again:])
