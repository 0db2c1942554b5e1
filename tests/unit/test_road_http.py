"""The HTTP source against servers that are scripted byte by byte, and against servers that nobody here wrote."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from sync import Corrupt, Missing, NoSpace, SyncError, TooLong, Unreachable
from sync.road import NoRanges, Source
from sync.road.answers import SKIP_MAX_BYTES
from sync.road.http import CONNECTIONS_MAX, HttpSource

DATA = random.Random(1).randbytes(3_000_000)
PACK = "packs/ab/" + "ab" * 32
Script = Callable[["Asked", asyncio.StreamWriter], Awaitable[bool | None]]
"""Answers one request; True keeps the connection open."""


class Asked:
    def __init__(self, head: bytes) -> None:
        self.head = head
        self.path = head.split(b" ")[1].decode()
        found = re.search(rb"(?i)\r\nrange: bytes=(\d+)-(\d+)\r\n", head)
        self.start, self.stop = (int(found[1]), int(found[2]) + 1) if found else (0, len(DATA))
        self.ranged = found is not None


class Wire:
    """A server over plain sockets."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.busy = self.busiest = self.connections = 0
        self.url = ""
        self.tasks: set[asyncio.Task[None]] = set()

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            while True:
                asked = Asked(await reader.readuntil(b"\r\n\r\n"))
                self.asked.append(asked)
                self.busy += 1
                self.busiest = max(self.busiest, self.busy)
                try:
                    if not await self.script(asked, writer):
                        return
                finally:
                    self.busy -= 1
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.close()


@asynccontextmanager
async def wire(script: Script) -> AsyncIterator[tuple[Wire, HttpSource]]:
    it = Wire(script)
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    it.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/pub"
    source = HttpSource(it.url, progress_timeout_s=0.3)
    try:
        yield it, source
    finally:
        await source.close()
        server.close()
        await it.end()


def part(asked: Asked, *, extra: str = "", length: int | None = None, said: str | None = None) -> bytes:
    said = said or f"bytes {asked.start}-{asked.stop - 1}/{len(DATA)}"
    size = asked.stop - asked.start if length is None else length
    measure = f"Content-Length: {size}\r\n" if size >= 0 else ""
    return f"HTTP/1.1 206 Partial Content\r\nContent-Range: {said}\r\n{measure}{extra}\r\n".encode()


async def good(asked: Asked, writer: asyncio.StreamWriter) -> bool:
    if asked.ranged:
        writer.write(part(asked) + DATA[asked.start : asked.stop])
    else:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(DATA)}\r\n\r\n".encode() + DATA)
    await writer.drain()
    return True


async def taken(source: Source, start: int, stop: int) -> bytes:
    body = bytearray()
    await source.read(PACK, start, stop, body.extend)
    return bytes(body)


# -- What is asked --------------------------------------------------------------------------------------------------


async def test_a_request_says_only_what_is_needed_and_its_length_is_known() -> None:
    async with wire(good) as (server, source):
        assert await taken(source, 1000, 4_000) == DATA[1000:4000]
        assert await source.fetch("metadata/timestamp.json", limit_bytes=len(DATA), received=lambda n: None) == DATA
    host = server.url.split("/")[2]
    assert server.asked[0].head.decode().split("\r\n") == [
        f"GET /pub/{PACK} HTTP/1.1",
        f"Host: {host}",
        "Accept-Encoding: identity",
        "Range: bytes=1000-3999",
        "",
        "",
    ]
    assert b"Range" not in server.asked[1].head
    assert server.connections == 1  # kept alive
    assert len(server.asked[0].head) - len(host) - len(f"/pub/{PACK}") == 76


async def test_two_parts_at_a_time_on_two_connections() -> None:
    both = asyncio.Event()

    async def wait_for_the_other(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        if server.busy == 2:
            both.set()
        await both.wait()
        return await good(asked, writer)

    async with wire(wait_for_the_other) as (server, source):
        parts = await asyncio.gather(*(taken(source, n * 1000, n * 1000 + 1000) for n in range(10)))
    assert b"".join(parts) == DATA[:10_000]
    assert (server.busiest, server.connections) == (CONNECTIONS_MAX, CONNECTIONS_MAX) == (2, 2)


async def test_nothing_is_asked_for_an_empty_range_or_for_what_is_no_name() -> None:
    async with wire(good) as (server, source):
        assert await taken(source, 7, 7) == b""
        for name in ("../x", "a/../b", "/a", "a//b", "a?b", "a#b", "", "a\r\nb", "ä", ".x", "a" * 513, "a%2e"):
            with pytest.raises(Corrupt):
                await source.fetch(name, limit_bytes=10, received=lambda n: None)
            with pytest.raises(Corrupt):
                await source.read(name, 0, 1, lambda piece: None)
        for start, stop in ((-1, 3), (3, 2)):
            with pytest.raises(ValueError, match="range"):
                await taken(source, start, stop)
    assert not server.asked


@pytest.mark.parametrize("address", ["ftp://x", "127.0.0.1", "", "http://x/?y=1", "http://x/#y"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ValueError, match="http"):
        HttpSource(address)


async def test_nobody_listens_and_closing_twice() -> None:
    source = HttpSource("http://127.0.0.1:9")
    with pytest.raises(Unreachable):
        await taken(source, 0, 1)
    await source.close()
    await source.close()


# -- Answers that break off -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
async def test_going_on_at_the_exact_byte_after_cuts_moves_hardly_more_than_the_file(seed: int) -> None:
    chance = random.Random(seed)
    sent = 0

    async def cut(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        nonlocal sent
        length = min(asked.stop - asked.start, chance.randrange(1, 700_000))
        writer.write(part(asked) + DATA[asked.start : asked.start + length])
        await writer.drain()
        sent += length
        return False

    body, moved, breaks = bytearray(), [], 0
    async with wire(cut) as (_, source):
        while len(body) < len(DATA):
            try:
                await source.read(PACK, len(body), len(DATA), body.extend, received=moved.append)
            except Unreachable:
                breaks += 1
    assert bytes(body) == DATA and breaks > 2
    assert sum(moved) == len(DATA)
    assert sent == len(DATA)  # a clean close loses nothing that was sent


async def test_a_reset_connection_loses_at_most_what_lay_in_buffers() -> None:
    buffer_bytes = 64 * 1024
    sent = 0

    async def reset(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        nonlocal sent
        its_socket = writer.get_extra_info("socket")
        its_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        length = min(asked.stop - asked.start, 600_000)
        writer.write(part(asked) + DATA[asked.start : asked.start + length])
        await writer.drain()
        sent += length - writer.transport.get_write_buffer_size()
        its_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()
        return False

    body, moved, breaks = bytearray(), [], 0
    async with wire(reset) as (_, source):
        while len(body) < len(DATA):
            try:
                await source.read(PACK, len(body), len(DATA), body.extend, received=moved.append)
            except Unreachable:
                breaks += 1
    assert bytes(body) == DATA and breaks >= 4
    assert sum(moved) == len(DATA)
    assert sent <= len(DATA) + breaks * 8 * buffer_bytes


async def test_what_came_before_a_break_is_handed_over_also_to_a_slow_reader() -> None:
    class Slow:
        """A gate that lets the rest arrive, and the connection end, before the reader reads on."""

        rate_bps = None

        def passed(self, length_bytes: int) -> None:
            pass

        async def ready(self) -> None:
            if gone.is_set():
                for _ in range(200):
                    await asyncio.sleep(0)

    gone = asyncio.Event()

    async def most(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        writer.write(part(asked) + DATA[:200_000])
        await writer.drain()
        gone.set()
        return False

    body = bytearray()
    async with wire(most) as (server, _):
        source = HttpSource(server.url, gate=Slow())
        with pytest.raises(Unreachable):
            await source.read(PACK, 0, 300_000, body.extend)
        await source.close()
    assert bytes(body) == DATA[:200_000]


async def test_drip_is_fine_and_silence_is_not() -> None:
    async def drip(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        writer.write(part(asked))
        for n in range(asked.start, asked.stop):
            writer.write(DATA[n : n + 1])
            await writer.drain()
            await asyncio.sleep(0.06)  # below the time-out of 0.3 s each, above it all together
            if n == 10:
                await asyncio.Event().wait()
        return True

    body = bytearray()
    async with wire(drip) as (_, source):
        with pytest.raises(Unreachable, match="in time"):
            await source.read(PACK, 0, 100, body.extend)
    assert bytes(body) == DATA[:11]


async def test_a_server_that_says_nothing_at_all() -> None:
    async def silent(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        await asyncio.Event().wait()
        return True

    async with wire(silent) as (_, source):
        with pytest.raises(Unreachable, match="in time"):
            await taken(source, 0, 100)


async def test_a_connection_that_died_while_idle_is_not_an_error() -> None:
    async def once(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        await good(asked, writer)
        return False

    async with wire(once) as (server, source):
        for n in range(3):
            assert await taken(source, n, n + 10) == DATA[n : n + 10]
    assert server.connections == 3


# -- Answers that are wrong -----------------------------------------------------------------------------------------


def raw(head: str, body: bytes = b"") -> Script:
    async def script(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        size = asked.stop - asked.start
        text = head.format(start=asked.start, last=asked.stop - 1, size=size, total=len(DATA), more=size + 1)
        content = b"" if "204" in text or text.endswith("Length: 0") else body or DATA[asked.start : asked.stop]
        writer.write(text.replace("\n", "\r\n").encode() + b"\r\n\r\n" + content)
        await writer.drain()
        return False

    return script


RANGE = "Content-Range: bytes {start}-{last}/{total}"
OK206 = "HTTP/1.1 206 Partial Content\n"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (OK206 + "Content-Length: {size}", Corrupt),  # also what multipart/byteranges looks like
        (OK206 + "Content-Range: bytes 0-{last}/{total}\nContent-Length: {size}", Corrupt),
        (OK206 + "Content-Range: bytes {start}-{size}/{total}\nContent-Length: {size}", Corrupt),
        (OK206 + "Content-Range: bytes {start}-{last}/5\nContent-Length: {size}", Corrupt),
        (OK206 + "Content-Range: bytes {start}-{last}/{last}\nContent-Length: {size}", Corrupt),
        (OK206 + "Content-Range: bytes={start}-{last}/{total}\nContent-Length: {size}", Corrupt),
        (OK206 + "Content-Range: bytes -5-{last}/{total}\nContent-Length: {size}", Corrupt),
        (OK206 + "Content-Range: bytes " + "9" * 5000 + "-{last}/{total}\nContent-Length: {size}", Corrupt),
        (OK206 + RANGE + "\nContent-Length: {more}", Corrupt),
        (OK206 + RANGE + "\nContent-Length: {size}\nContent-Encoding: gzip", Corrupt),
        (OK206 + RANGE + "\nContent-Length: -5", SyncError),
        (OK206 + RANGE + "\nContent-Length: {size}\nX: " + "x" * 9000, Unreachable),
        ("HTTP/1.1 200 OK\nContent-Length: 1999", Corrupt),  # shorter than the range
        ("HTTP/1.1 200 OK\nContent-Length: 5000\nContent-Encoding: br", Corrupt),
        ("HTTP/1.1 204 No Content", Unreachable),
        ("HTTP/1.1 301 Moved\nLocation: /elsewhere\nContent-Length: 0", Unreachable),
        ("HTTP/1.1 302 Found\nLocation: /elsewhere\nContent-Length: 0", Unreachable),
        ("HTTP/1.1 403 Forbidden\nContent-Length: 0", Missing),
        ("HTTP/1.1 404 Not Found\nContent-Length: 0", Missing),
        ("HTTP/1.1 410 Gone\nContent-Length: 0", Missing),
        ("HTTP/1.1 416 Range Not Satisfiable\nContent-Range: bytes */5\nContent-Length: 0", Missing),
        ("HTTP/1.1 429 Too Many Requests\nContent-Length: 0", Unreachable),
        ("HTTP/1.1 500 Oh\nContent-Length: 0", Unreachable),
        ("HTTP/1.1 503 Busy\nRetry-After: 5\nContent-Length: 0", Unreachable),
        ("SIP/2.0 200 OK", Unreachable),
        ("\0\1\2", Unreachable),
    ],
)
async def test_wrong_heads_give_nothing(head: str, kind: type[SyncError]) -> None:
    body = bytearray()
    async with wire(raw(head)) as (server, source):
        with pytest.raises(kind) as caught:
            await source.read(PACK, 1000, 2000, body.extend)
        assert not body and len(server.asked) == 1
        assert len(str(caught.value)) < 500
    if kind is Unreachable:
        assert not isinstance(caught.value, Missing)


async def test_chunked_parts_are_taken_when_they_have_the_right_length() -> None:
    delivered = 0

    async def chunked(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        data = DATA[asked.start : asked.start + delivered]
        writer.write(part(asked, length=-1, extra="Transfer-Encoding: chunked\r\n"))
        for n in range(0, len(data), 300):
            piece = data[n : n + 300]
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async with wire(chunked) as (server, source):
        for delivered in (1000, 999, 1001):
            body = bytearray()
            job = source.read(PACK, 500, 1500, body.extend)
            if delivered == 1000:
                await job
            else:
                with pytest.raises(Unreachable if delivered < 1000 else Corrupt, match=r"early|more"):
                    await job
            assert bytes(body) == DATA[500 : 500 + min(1000, delivered)]
        assert server.connections == 1


async def test_endless_answers_are_left() -> None:
    async def endless(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        writer.write(part(asked, length=-1) if asked.ranged else b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(10_000):
            writer.write(DATA[:65536])
            await writer.drain()
        return False

    moved: list[int] = []
    body = bytearray()
    async with wire(endless) as (_, source):
        with pytest.raises(Corrupt, match="more than"):
            await source.read(PACK, 0, 1000, body.extend, received=moved.append)
        assert bytes(body) == DATA[:1000]
        with pytest.raises(TooLong):
            await source.fetch(PACK, limit_bytes=1000, received=moved.append)
    assert sum(moved) <= 2 * 65536


@pytest.mark.parametrize("more", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong", b"xyz", b"\0" * 70_000])
async def test_more_than_announced_spoils_neither_this_nor_the_next_answer(more: bytes) -> None:
    async def generous(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        writer.write(part(asked) + DATA[asked.start : asked.stop] + more)
        await writer.drain()
        return True

    async with wire(generous) as (_, source):
        for n in range(5):
            body = bytearray()
            with suppress(Unreachable):  # when it came together with the head, aiohttp believes none of it
                await source.read(PACK, n, n + 1000, body.extend)
            assert bytes(body) in (b"", DATA[n : n + 1000])


async def test_errors_of_the_taker_stay_what_they_are_and_the_next_read_works() -> None:
    class Full(OSError):
        pass

    async with wire(good) as (_, source):
        for error in (Full("disk"), NoSpace(1, 0), Corrupt("hash")):

            def fail(piece: bytes, error: Exception = error) -> None:
                raise error

            with pytest.raises(type(error)) as caught:
                await source.read(PACK, 0, 500_000, fail)
            assert caught.value is error
        assert await taken(source, 0, 500_000) == DATA[:500_000]


async def test_cancelled_reads_let_go_of_their_connection() -> None:
    reached, stuck = asyncio.Event(), True

    async def maybe(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        if stuck:
            writer.write(part(asked) + DATA[:10])
            await writer.drain()
            reached.set()
            await asyncio.Event().wait()
        return await good(asked, writer)

    async with wire(maybe) as (_, source):
        for _ in range(CONNECTIONS_MAX + 1):
            reached.clear()
            job = asyncio.ensure_future(taken(source, 0, 1000))
            await reached.wait()
            job.cancel()
            with pytest.raises(asyncio.CancelledError):
                await job
        stuck = False
        assert await taken(source, 0, 1000) == DATA[:1000]


# -- Servers without ranges -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("measured", [True, False])
async def test_a_whole_file_is_cut_to_the_range_when_that_wastes_little(measured: bool) -> None:
    length = f"Content-Length: {len(DATA)}\r\n" if measured else ""

    async def whole(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        writer.write(f"HTTP/1.1 200 OK\r\n{length}\r\n".encode() + DATA)
        await writer.drain()
        return False

    moved: list[int] = []
    async with wire(whole) as (_, source):
        for start, stop in ((0, len(DATA)), (0, 10), (5, 100_005), (2_000_000, len(DATA)), (len(DATA) - 1, len(DATA))):
            body = bytearray()
            moved.clear()
            await source.read(PACK, start, stop, body.extend, received=moved.append)
            assert bytes(body) == DATA[start:stop]
            assert stop <= sum(moved) <= stop + 65536  # what is thrown away is counted
        body.clear()
        with pytest.raises(NoRanges, match="Range"):
            await source.read(PACK, SKIP_MAX_BYTES + 1, SKIP_MAX_BYTES + 2, body.extend)
        assert not body
        if not measured:
            with pytest.raises(Unreachable, match="early"):
                await taken(source, len(DATA) - 5, len(DATA) + 5)


# -- Strangers ------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(words: list[str], port: int) -> Iterator[str]:
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(500):
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def nginx(folder: Path, home: Path, extra: str) -> Iterator[str]:
    port = free_port()
    home.mkdir()
    temp = "".join(f"{n}_temp_path {home}/{n};" for n in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (home / "nginx.conf").write_text(
        f"user root; daemon off; pid {home}/pid; error_log {home}/errors; worker_processes 1; events {{}} "
        f"http {{ {temp} access_log off; {extra} server {{ listen 127.0.0.1:{port}; root {folder}; }} }}"
    )
    with running(["nginx", "-c", str(home / "nginx.conf"), "-p", str(home)], port) as url:
        yield url


@pytest.fixture
def published(tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    (folder / PACK).parent.mkdir(parents=True)
    (folder / PACK).write_bytes(DATA)
    return folder


@pytest.mark.stranger("nginx")
async def test_parts_from_nginx(published: Path, tmp_path: Path) -> None:
    with nginx(published, tmp_path / "nginx", "") as url:
        source = HttpSource(url)
        pieces = await asyncio.gather(
            *(taken(source, n, min(n + 70_001, len(DATA))) for n in range(0, len(DATA), 70_001))
        )
        assert b"".join(pieces) == DATA
        assert await source.fetch(PACK, limit_bytes=len(DATA), received=lambda n: None) == DATA
        with pytest.raises(TooLong):
            await source.fetch(PACK, limit_bytes=len(DATA) - 1, received=lambda n: None)
        with pytest.raises(Missing):
            await taken(source, len(DATA), len(DATA) + 1)
        with pytest.raises(Corrupt):
            await taken(source, len(DATA) - 5, len(DATA) + 5)
        with pytest.raises(Missing):
            await source.fetch("packs/none", limit_bytes=1, received=lambda n: None)
        with pytest.raises(Unreachable):  # a folder: redirected to the name with a slash
            await source.fetch("packs/ab", limit_bytes=1, received=lambda n: None)
        await source.close()


@pytest.mark.stranger("nginx")
async def test_nginx_that_would_compress_or_has_no_ranges(published: Path, tmp_path: Path) -> None:
    (published / "x.json").write_bytes(b"{}" * 5000)
    words = "max_ranges 0; gzip on; gzip_types *; gzip_min_length 0; gzip_proxied any; types { application/json json; }"
    with nginx(published, tmp_path / "nginx", words) as url:
        source = HttpSource(url)
        assert await taken(source, 100, 200) == DATA[100:200]
        assert await source.fetch("x.json", limit_bytes=10_000, received=lambda n: None) == b"{}" * 5000
        await source.close()


async def test_the_smallest_server_of_all(published: Path) -> None:
    port = free_port()
    words = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(published)]
    with running(words, port) as url:
        source = HttpSource(url)
        assert await taken(source, 1_000_000, 1_000_100) == DATA[1_000_000:1_000_100]
        with pytest.raises(NoRanges):
            await taken(source, SKIP_MAX_BYTES + 1, SKIP_MAX_BYTES + 9)
        await source.close()
