"""The HTTP data path against difficult clients, over raw sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_server.plane.counts import Count
from edge_server.plane.leases import OpenFile
from edge_server.plane.limits import Limits
from edge_server.plane.pages import Pages, in_memory, read_piece
from runtime.clock import FakeClock
from tests.plane_lab import Shop, connect, count, get, open_port, until
from tests.web_lab import read_reply

BIG = bytes(range(256)) * (48 * 1024)
"""12 MiB: more than any socket buffer."""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path)
    made.put("/media/big", (b"x" * 100, BIG, b"y" * 50))
    made.put("/media/a b", b"a target has no space")
    made.put("/media/small", b"moof", (b"before", b"from the file", b"behind"), b"and the end")
    return made


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def rest_of(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 20), b""))


async def test_requests_that_arrive_during_a_body_are_answered_in_their_order(shop: Shop) -> None:
    def run() -> None:
        with connect(port, receive_buffer_bytes=16384) as connection:
            connection.sendall(get("/media/big"))
            assert connection.recv(1) == b"H"
            connection.sendall(get("/media/small") + get("/healthz") + get("/media/small", "Range: bytes=2-7"))
            head, _, body = b"H", b"", b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1)
            while len(body) < len(BIG):
                body += connection.recv(min(1 << 20, len(BIG) - len(body)))
            assert body == BIG
            assert read_reply(connection).body == shop.bodies["/media/small"]
            assert read_reply(connection).body.startswith(b'{"ok":true')
            part = read_reply(connection)
            assert (part.status, part.body) == (206, shop.bodies["/media/small"][2:8])

    async with open_port(shop) as port:
        await asyncio.to_thread(run)


async def test_many_requests_in_one_packet(shop: Shop) -> None:
    def run() -> None:
        with connect(port) as connection:
            connection.sendall(get("/media/small") * 50)
            for _ in range(50):
                assert read_reply(connection).body == shop.bodies["/media/small"]

    async with open_port(shop) as port:
        await asyncio.to_thread(run)
        assert count(port, Count.REQUESTS) == 50


async def test_a_request_in_single_bytes(shop: Shop) -> None:
    def run() -> None:
        with connect(port) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in get("/media/small"):
                connection.send(bytes([byte]))
            assert read_reply(connection).body == shop.bodies["/media/small"]

    async with open_port(shop) as port:
        await asyncio.to_thread(run)


async def test_page_medium_page_medium_on_one_connection(shop: Shop) -> None:
    def run() -> None:
        with connect(port) as connection:
            for _ in range(3):
                connection.sendall(get("/"))
                assert b"<html" in read_reply(connection).body
                connection.sendall(get("/media/small"))
                assert read_reply(connection).body == shop.bodies["/media/small"]
                form = b"a=b"
                connection.sendall(get("/nothing", f"Content-Length: {len(form)}", method="POST") + form)
                assert read_reply(connection).status == 405

    async with open_port(shop) as port:
        await asyncio.to_thread(run)
        assert count(port, Count.REQUESTS) == 3
        assert count(port, Count.CAME_BACK) == 3
        await until(lambda: count(port, Count.OPEN) == 0)


async def test_all_of_it_at_once_on_one_connection(shop: Shop) -> None:
    """Page and medium in one packet: the medium waits for the page."""

    def run() -> None:
        with connect(port) as connection:
            connection.sendall((get("/healthz") + get("/media/small")) * 10)
            for _ in range(10):
                assert read_reply(connection).body.startswith(b'{"ok"')
                assert read_reply(connection).body == shop.bodies["/media/small"]

    async with open_port(shop) as port:
        await asyncio.to_thread(run)
        assert count(port, Count.REQUESTS) == 10


async def test_a_reader_that_takes_nothing_is_cut_off(shop: Shop) -> None:
    clock = FakeClock(datetime(2026, 11, 25, tzinfo=UTC))

    def begin() -> socket.socket:
        connection = connect(port, receive_buffer_bytes=16384)
        connection.sendall(get("/media/big"))
        assert connection.recv(1) == b"H"
        return connection

    async with open_port(shop, clock=clock, limits=Limits(stuck_timeout_s=60)) as port:
        connection = await asyncio.to_thread(begin)
        with connection:
            await clock.advance(40)
            assert count(port, Count.OPEN) == 1
            await clock.advance(40)
            assert (count(port, Count.OPEN), count(port, Count.TIMED_OUT)) == (0, 1)
            with pytest.raises(ConnectionResetError):
                await asyncio.to_thread(rest_of, connection)


async def test_a_slow_reader_that_takes_a_little_is_not(shop: Shop) -> None:
    clock = FakeClock(datetime(2026, 11, 25, tzinfo=UTC))

    def begin() -> socket.socket:
        connection = connect(port, receive_buffer_bytes=16384)
        connection.sendall(get("/media/big", "Connection: close"))
        return connection

    async with open_port(shop, clock=clock, limits=Limits(stuck_timeout_s=60)) as port:
        connection = await asyncio.to_thread(begin)
        with connection:
            body = b""
            for _ in range(5):
                body += await asyncio.to_thread(connection.recv, 65536, socket.MSG_WAITALL)
                await until(lambda: _unread(connection) > 0)  # something more is on its way
                await clock.advance(40)
                assert count(port, Count.OPEN) == 1
            body += await asyncio.to_thread(rest_of, connection)
            assert body.partition(b"\r\n\r\n")[2] == BIG


def _unread(connection: socket.socket) -> int:
    try:
        return len(connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return 0


@pytest.mark.parametrize("sent", [b"GET /media/small HT", b"GET /media/small HTTP/1.1\r\nHost: x\r\nX-", b""])
async def test_half_a_head_is_not_waited_for_for_ever(shop: Shop, sent: bytes) -> None:
    clock = FakeClock(datetime(2026, 11, 25, tzinfo=UTC))
    async with open_port(shop, clock=clock, limits=Limits(head_timeout_s=10)) as port:
        with await asyncio.to_thread(connect, port) as connection:
            await asyncio.to_thread(connection.sendall, sent)
            await until(lambda: count(port, Count.OPEN) == 1)
            for _ in range(8):  # now and then a byte does not help
                await clock.advance(1)
                await asyncio.to_thread(connection.sendall, b"a" if sent else b"")
            assert count(port, Count.OPEN) == 1
            await clock.advance(5)
            answer = await asyncio.to_thread(rest_of, connection)
            assert answer.startswith(b"HTTP/1.1 408 ") if sent else answer == b""
            assert count(port, Count.TIMED_OUT) == 1


async def test_an_idle_connection_ends_after_its_time(shop: Shop) -> None:
    clock = FakeClock(datetime(2026, 11, 25, tzinfo=UTC))

    def ask() -> socket.socket:
        connection = connect(port)
        connection.sendall(get("/media/small"))
        read_reply(connection)
        return connection

    async with open_port(shop, clock=clock, limits=Limits(idle_timeout_s=75)) as port:
        with await asyncio.to_thread(ask) as connection:
            await clock.advance(70)
            assert count(port, Count.OPEN) == 1
            await clock.advance(10)
            assert await asyncio.to_thread(rest_of, connection) == b""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /media/small HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20000 + b"\r\n\r\n", b"431"),
        (b"GET /media/small HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 4000 + b"\r\n", b"431"),
        (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
        (b"GET /media/small HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /media/small HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", b"400"),
        (b"GET /media/small HTTP/1.1\r\nHost: a b\r\n\r\n", b"400"),
        (b"GET /media/small HTTP/1.1\nHost: x\n\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32), b"400"),
        (b"GET /media/small HTTP/1.1\r\nHost: x\r\nX\r\n\r\n", b"400"),
        (b"GET /media/small HTTP/1.1\r\nHost : x\r\n\r\n", b"400"),
        (b"GET /media/small HTTP/2.0\r\nHost: x\r\n\r\n", b"505"),
        (b"GET  /media/small HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET /media/a b HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET /media/a\x01b HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
    ],
)
async def test_what_is_no_request_is_refused(shop: Shop, sent: bytes, status: bytes) -> None:
    def run() -> bytes:
        with connect(port) as connection:
            connection.sendall(sent)
            return rest_of(connection)

    async with open_port(shop) as port:
        answer = await asyncio.to_thread(run)
        assert answer.split(b" ", 2)[:2] == [answer[:8], status] and answer.startswith(b"HTTP/1."), answer[:80]
        await until(lambda: count(port, Count.OPEN) == 0)


async def test_two_thousand_idle_connections_over_the_cap(shop: Shop) -> None:
    """Those within the cap are served, the others hear why not, and a place that is free is taken again."""
    cap = 40
    async with open_port(shop, limits=Limits(connections_max_count=cap, lingering_max_count=3000)) as port:
        held = [await asyncio.to_thread(connect, port) for _ in range(cap)]
        await until(lambda: count(port, Count.OPEN) == cap)

        def over() -> None:
            many = [connect(port) for _ in range(2000)]
            for each in many:
                reply = read_reply(each)
                assert (reply.status, reply.fields["connection"]) == (503, "close")
                assert int(reply.fields["retry-after"]) > 0
                each.close()

        def served(connection: socket.socket) -> None:
            connection.sendall(get("/media/small"))
            assert read_reply(connection).body == shop.bodies["/media/small"]

        await asyncio.to_thread(over)
        assert count(port, Count.REFUSED) == 2000
        await asyncio.to_thread(served, held[0])
        held.pop().close()
        await until(lambda: count(port, Count.OPEN) == cap - 1)
        with await asyncio.to_thread(connect, port) as another:
            await asyncio.to_thread(served, another)
        for each in held:
            each.close()
        await until(lambda: count(port, Count.OPEN) == 0)


async def test_clients_that_vanish_leave_nothing_open(shop: Shop) -> None:
    """In the middle of a body, of a page, of a head, and of nothing; by FIN and by RST."""

    def vanish(sent: bytes, wait: bool, reset: bool) -> None:
        connection = connect(port, receive_buffer_bytes=16384)
        connection.sendall(sent)
        if wait:
            assert connection.recv(1000)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()

    async with open_port(shop) as port:
        await asyncio.to_thread(vanish, get("/media/small"), True, False)
        await until(lambda: count(port, Count.OPEN) == 0)
        before = descriptors()
        for sent, wait in (
            (get("/media/big"), True),
            (get("/media/big"), False),
            (get("/media/small") * 20, False),
            (get("/healthz") + get("/media/big"), True),
            (get("/healthz"), False),
            (b"GET /med", False),
            (b"", False),
        ):
            for reset in (False, True):
                for _ in range(5):
                    await asyncio.to_thread(vanish, sent, wait, reset)
        await until(lambda: count(port, Count.OPEN) == 0)
        shop.withdraw("/media/big")
        with await asyncio.to_thread(connect, port) as connection:
            await asyncio.to_thread(connection.sendall, get("/media/small", "Connection: close"))
            assert (await asyncio.to_thread(rest_of, connection)).endswith(b"and the end")
        await until(lambda: count(port, Count.OPEN) == 0)
        await until(lambda: descriptors() <= before)


async def test_a_withdrawn_item_ends_for_new_requests_and_not_for_running_ones(shop: Shop) -> None:
    def begin() -> socket.socket:
        connection = connect(port, receive_buffer_bytes=16384)
        connection.sendall(get("/media/big", "Connection: close"))
        assert connection.recv(1) == b"H"
        return connection

    def ask(path: str) -> int:
        with connect(port) as connection:
            connection.sendall(get(path))
            return read_reply(connection).status

    async with open_port(shop) as port:
        with await asyncio.to_thread(begin) as connection:
            assert await asyncio.to_thread(ask, "/media/small") == 200
            shop.withdraw("/media/big")
            assert await asyncio.to_thread(ask, "/media/big") == 404
            assert (await asyncio.to_thread(rest_of, connection)).endswith(BIG[-1000:])


async def test_a_drain_finishes_what_is_being_sent(shop: Shop) -> None:
    def begin(path: str) -> socket.socket:
        connection = connect(port, receive_buffer_bytes=16384)
        connection.sendall(get(path))
        assert connection.recv(1) == b"H"
        return connection

    async with open_port(shop) as port:
        with (
            await asyncio.to_thread(begin, "/media/big") as sending,
            await asyncio.to_thread(begin, "/media/small") as idle,
        ):
            draining = asyncio.ensure_future(port.drain())
            assert (await asyncio.to_thread(rest_of, idle)).endswith(b"and the end")
            with pytest.raises(ConnectionRefusedError):
                await asyncio.to_thread(connect, port)
            assert not draining.done()
            assert (await asyncio.to_thread(rest_of, sending)).endswith(BIG[-1000:])
            await draining
        await until(lambda: count(port, Count.OPEN) == 0)


async def test_one_slow_disk_read_stalls_nobody_else(shop: Shop) -> None:
    """The disk under one file answers only when the test lets it: the other viewer gets the whole of his film."""
    let, asked = threading.Event(), threading.Event()
    slow = shop.resources["/media/big"].parts[0].file  # type: ignore[union-attr]
    shop.put("/media/other", (b"", BIG[::-1], b""))

    def is_in_memory(opened: OpenFile, piece: int) -> bool:
        return let.is_set() or (opened.file != slow and in_memory(opened, piece))

    def read(opened: OpenFile, piece: int) -> None:
        if opened.file == slow:
            asked.set()
            assert let.wait(15)
        read_piece(opened, piece)

    def other() -> None:
        with connect(port) as connection:
            connection.sendall(get("/media/other", "Connection: close"))
            assert rest_of(connection).endswith(BIG[::-1])

    def pages(loop: asyncio.AbstractEventLoop) -> Pages:
        return Pages(loop.call_soon_threadsafe, readers_max_count=2, in_memory=is_in_memory, read_piece=read)

    async with open_port(shop, pages=pages) as port:
        waiting = [await asyncio.to_thread(connect, port) for _ in range(3)]
        for each in waiting:
            await asyncio.to_thread(each.sendall, get("/media/big", "Connection: close"))
        await asyncio.to_thread(asked.wait, 10)
        await asyncio.to_thread(other)
        assert count(port, Count.REQUESTS) == 1
        waiting.pop().close()  # one loses patience
        await until(lambda: count(port, Count.OPEN) == 2)
        let.set()
        for each in waiting:
            with each:
                assert (await asyncio.to_thread(rest_of, each)).endswith(BIG)
        assert count(port, Count.COLD_READS) >= 3


async def test_a_file_that_was_thrown_out_of_memory_is_read_again(shop: Shop) -> None:
    """On a real disk, with the kernel's own judgement of what is in memory."""
    part = shop.resources["/media/big"].parts[0]
    assert not isinstance(part, bytes)
    with part.file.open("rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        opened = OpenFile(part.file)
        evicted = not in_memory(opened, 0)
        opened.release()

    def run() -> None:
        with connect(port) as connection:
            connection.sendall(get("/media/big", "Connection: close"))
            assert rest_of(connection).partition(b"\r\n\r\n")[2] == BIG

    async with open_port(shop) as port:
        await asyncio.to_thread(run)
        assert (count(port, Count.COLD_READS) > 0) == evicted


async def test_a_file_that_shrinks_meanwhile_ends_the_connection(shop: Shop) -> None:
    part = shop.resources["/media/big"].parts[0]
    assert not isinstance(part, bytes)

    def begin() -> socket.socket:
        connection = connect(port, receive_buffer_bytes=16384)
        connection.sendall(get("/media/big"))
        assert connection.recv(1) == b"H"
        return connection

    async with open_port(shop) as port:
        with await asyncio.to_thread(begin) as connection:
            os.truncate(part.file, 1000)
            with pytest.raises(ConnectionResetError):
                assert len(await asyncio.to_thread(rest_of, connection)) < len(BIG)
                await asyncio.to_thread(connection.sendall, b"x")
                await asyncio.to_thread(rest_of, connection)
            await until(lambda: count(port, Count.OPEN) == 0)


@pytest.mark.parametrize(
    ("request_", "status", "keeps"),
    [
        (get("/media/small", version="HTTP/1.0"), 200, False),
        (get("/media/small", "Connection: keep-alive", version="HTTP/1.0"), 200, True),
        (get("/media/small", "Connection: Keep-Alive, x"), 200, True),
        (get("/media/small", "Connection: close"), 200, False),
        (get("http://edge.example:8800/media/small"), 200, True),
        (get("HTTP://x/media/small?token=1"), 200, True),
        (get("/media/sm%61ll"), 200, True),
        (get("/media/small?a=b&c=%zz"), 200, True),
        (get("/media/sm%6"), 404, True),
        (get("/media/./small"), 404, True),
        (get("/media/x/../small"), 404, True),
        (get("/media/%2e%2e/small"), 404, True),
        (get("//media/small"), 404, True),
        (get("/media/small%00"), 404, True),
        (get("/media/small/"), 404, True),
        (get("/media/small", method="POST"), 405, True),
        (get("/media/small", "Content-Length: 3") + b"abc", 200, True),
        (b"\r\n" + get("/media/small"), 200, True),
    ],
)
async def test_forms_of_a_request(shop: Shop, request_: bytes, status: int, keeps: bool) -> None:
    def run() -> None:
        with connect(port) as connection:
            connection.sendall(request_)
            reply = read_reply(connection)
            assert reply.status == status
            if status == 200:
                assert reply.body == shop.bodies["/media/small"]
            if keeps:
                connection.sendall(get("/media/small"))
                assert read_reply(connection).body == shop.bodies["/media/small"]
            else:
                assert rest_of(connection) == b""

    async with open_port(shop) as port:
        await asyncio.to_thread(run)


async def test_a_client_that_waits_to_be_told_to_continue_is_told(shop: Shop) -> None:
    def run() -> None:
        with connect(port) as connection:
            connection.sendall(get("/nothing", "Expect: 100-continue", "Content-Length: 1", method="POST"))
            assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(b"x")
            assert read_reply(connection).status == 405

    async with open_port(shop) as port:
        await asyncio.to_thread(run)


async def test_a_client_that_closes_its_half_still_gets_its_answer(shop: Shop) -> None:
    def run() -> None:
        with connect(port) as connection:
            connection.sendall(get("/media/big"))
            connection.shutdown(socket.SHUT_WR)
            assert rest_of(connection).endswith(BIG)

    async with open_port(shop) as port:
        await asyncio.to_thread(run)
