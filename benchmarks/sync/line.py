"""A bad line on loopback: a TCP proxy that counts, shapes and cuts. A process of its own.

What is counted, in bytes of TCP payload (headers of HTTP included, those of TCP and IP not):

- ``up``, ``down``: delivered to the server, to the client.
- ``lost``: crossed the line and then fell on the floor, because a cut, or an end that went away, came before delivery.
- ``wire`` = up + down + lost. What waits at the far end of the line has not crossed it and counts nowhere.
- ``connections``; ``rounds``: how often a client sent after it had received (and the first time).

The line has one queue for each direction, shared by all connections, first come first served in pieces of at most
``PIECE_BYTES``; a piece takes its length / rate, and arrives half a round trip later. Time on the line is computed, not
slept, so a late wake-up costs no rate. A new connection carries nothing for the first round trip (the handshake). A cut
comes after each N bytes down: everything that is not delivered is lost, all connections are reset. There is no packet
loss and no slow start: tools that suffer from those suffer alike.

    python -m benchmarks.sync.line TARGET_PORT --rate 8e6 --rtt 0.3 --cut 3000000

prints the port it listens on; ``stats`` and ``reset`` on its standard input are answered by a line of JSON; it ends
with its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from types import TracebackType

HOST = "127.0.0.1"
PIECE_BYTES = 4096
FREE_PIECE_BYTES = 1 << 18
"""Piece on a line without a rate."""
AHEAD_S = 0.02
"""How far the computed time of a queue may be ahead of the clock."""
QUEUE_PIECES = 4096
"""Pieces under way for one direction of one connection; then the line no longer takes from the sender."""
CONTROL_TIMEOUT_S = 20.0
SIOCOUTQNSD = 0x894B
"""Bytes in a send buffer that were never sent (linux/sockios.h). What was sent and is not acknowledged yet is in the
receiver's buffer on loopback, and is read there even after a reset."""


@dataclass(frozen=True)
class Shape:
    """Properties of a line; 0 means none."""

    rate_bits_per_s: float = 0.0
    rtt_s: float = 0.0
    cut_bytes: int = 0


@dataclass
class Count:
    """What crossed the line since the start, or the last reset."""

    up: int = 0
    down: int = 0
    lost: int = 0
    connections: int = 0
    rounds: int = 0
    cuts: int = 0
    cpu_s: float = 0.0

    @property
    def wire(self) -> int:
        """Bytes that crossed the line, both ways."""
        return self.up + self.down + self.lost


class Direction:
    """One direction of the line: decides when each piece has left and where a cut falls. Computes only."""

    def __init__(self, rate_bits_per_s: float, cut_bytes: int, on_cut: Callable[[float], None]) -> None:
        self._rate = rate_bits_per_s
        self._cut = cut_bytes
        self._since_cut = 0
        self._on_cut = on_cut
        self._cut_pending = False
        self.free_at = 0.0

    def take(self, length: int, now: float) -> tuple[int, float]:
        """Put a piece on the line.

        Returns:
            How many of its bytes cross before the next cut, and when the last of them has left. None cross while a cut
            is about to come.
        """
        if self._cut_pending:
            return 0, now
        if self._cut:
            length = min(length, self._cut - self._since_cut)
        left_at = max(self.free_at, now)
        if self._rate:
            left_at += length * 8 / self._rate
        self.free_at = left_at
        self._since_cut += length
        if self._cut and self._since_cut == self._cut:
            self._cut_pending = True
            self._on_cut(left_at)
        return length, left_at

    def joined(self, now: float) -> None:
        """The cut is over."""
        self._since_cut, self._cut_pending, self.free_at = 0, False, now


@dataclass(eq=False)
class Connection:
    """Both ends of one TCP connection through the line."""

    near: socket.socket
    far: socket.socket | None = None
    task: asyncio.Task[None] | None = None
    last_down: bool = True
    """The client has received something since it last sent."""

    def ends(self) -> tuple[socket.socket, ...]:
        return (self.near,) if self.far is None else (self.near, self.far)


@dataclass(eq=False)
class Line:
    """The proxy: one listener, one target."""

    target_port: int
    shape: Shape
    count: Count = field(default_factory=Count)
    live: set[Connection] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.down = Direction(self.shape.rate_bits_per_s, self.shape.cut_bytes, self.cut_at)
        self.up = Direction(self.shape.rate_bits_per_s, 0, self.cut_at)
        self.piece = PIECE_BYTES if self.shape.rate_bits_per_s else FREE_PIECE_BYTES

    def cut_at(self, when: float) -> None:
        """Arrange a cut."""
        asyncio.get_running_loop().call_at(when, self.cut)

    def cut(self) -> None:
        """Reset every connection."""
        self.count.cuts += 1
        for connection in list(self.live):
            if connection.task is not None:
                connection.task.cancel()
        self.down.joined(asyncio.get_running_loop().time())

    async def serve(self, listener: socket.socket) -> None:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                near, _ = await loop.sock_accept(listener)
                connection = Connection(near)
                self.count.connections += 1
                self.live.add(connection)
                connection.task = tasks.create_task(self.carry(connection))

    async def carry(self, connection: Connection) -> None:
        """Carry one connection until both sides are finished, one is gone, or the line is cut."""
        whole = False
        try:
            far = socket.socket()
            connection.far = far
            for end in connection.ends():
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(far, (HOST, self.target_port))
            await asyncio.sleep(self.shape.rtt_s)
            async with asyncio.TaskGroup() as both:
                both.create_task(Pump(self, connection, down=False).run())
                both.create_task(Pump(self, connection, down=True).run())
            whole = True
        except* OSError:
            pass
        finally:
            self.live.discard(connection)
            for end in connection.ends():
                if not whole:
                    self._abort(end, counts=end is connection.near)
                end.close()

    def _abort(self, end: socket.socket, *, counts: bool) -> None:
        """Make the close a reset; what lies in our kernel's send buffer was not delivered."""
        with contextlib.suppress(OSError):
            if counts:
                (waiting,) = struct.unpack("i", fcntl.ioctl(end, SIOCOUTQNSD, b"\0" * 4))
                waiting = min(waiting, self.count.down)
                self.count.down -= waiting
                self.count.lost += waiting
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Pump:
    """One direction of one connection: a reader that puts pieces on the line, a writer that delivers them in time."""

    def __init__(self, line: Line, connection: Connection, *, down: bool) -> None:
        assert connection.far is not None
        self._line = line
        self._connection = connection
        self._is_down = down
        self._way = line.down if down else line.up
        self._source, self._target = connection.near, connection.far
        if down:
            self._source, self._target = self._target, self._source
        self._under_way: asyncio.Queue[tuple[float, memoryview]] = asyncio.Queue(QUEUE_PIECES)
        """When each piece has left the line, and its bytes; no bytes are the end."""

    async def run(self) -> None:
        """Carry until the source has no more and all is delivered."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._deliver())
                await self._read()
        finally:
            while not self._under_way.empty():
                self._lose(*self._under_way.get_nowait())

    async def _read(self) -> None:
        loop, line = asyncio.get_running_loop(), self._line
        while data := await loop.sock_recv(self._source, line.piece):
            if not self._is_down:
                line.count.rounds += self._connection.last_down
                self._connection.last_down = False
            length, left_at = self._way.take(len(data), loop.time())
            if not length:
                return  # a cut is about to come: nothing leaves any more
            await self._under_way.put((left_at, memoryview(data)[:length]))
            if (ahead := left_at - loop.time()) > AHEAD_S:
                await asyncio.sleep(ahead - AHEAD_S)
        await self._under_way.put((loop.time(), memoryview(b"")))

    async def _deliver(self) -> None:
        loop, half_s = asyncio.get_running_loop(), self._line.shape.rtt_s / 2
        while True:
            left_at, data = await self._under_way.get()
            ended = not data
            try:
                if (wait := left_at + half_s - loop.time()) > 0:
                    await asyncio.sleep(wait)
                while data:
                    try:
                        sent = self._target.send(data)
                    except BlockingIOError:
                        await writable(self._target)
                        continue
                    self._delivered(sent)
                    data = data[sent:]
            finally:
                self._lose(left_at, data)
            if ended:
                with contextlib.suppress(OSError):
                    self._target.shutdown(socket.SHUT_WR)
                return

    def _delivered(self, length: int) -> None:
        if self._is_down:
            self._line.count.down += length
            self._connection.last_down = True
        else:
            self._line.count.up += length

    def _lose(self, left_at: float, data: memoryview) -> None:
        """Count what had crossed the line and will not be delivered."""
        if left_at <= asyncio.get_running_loop().time():
            self._line.count.lost += len(data)


async def writable(end: socket.socket) -> None:
    """Wait until the socket takes more bytes."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(end, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(end)


async def command(line: Line) -> None:
    """Answer on standard output what is asked on standard input, until that ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    cpu_before_s = time.process_time()
    while words := (await reader.readline()).decode().strip():
        if words == "reset":
            line.count = Count()  # connections look it up anew each time
            cpu_before_s = time.process_time()
        line.count.cpu_s = time.process_time() - cpu_before_s
        print(json.dumps(asdict(line.count)), flush=True)


async def run(line: Line) -> None:
    """Listen on a free port until standard input ends."""
    with socket.create_server((HOST, 0), backlog=512) as listener:
        listener.setblocking(False)
        print(listener.getsockname()[1], flush=True)
        async with asyncio.TaskGroup() as tasks:
            server = tasks.create_task(line.serve(listener))
            await command(line)
            server.cancel()


class LineProcess:
    """A line in its own process, for a ``with`` block."""

    def __init__(self, target_port: int, shape: Shape | None = None) -> None:
        shape = shape or Shape()
        words = ["--rate", str(shape.rate_bits_per_s), "--rtt", str(shape.rtt_s), "--cut", str(shape.cut_bytes)]
        command = [sys.executable, "-m", "benchmarks.sync.line", str(target_port), *words]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the line has ended")
        return line

    def _ask(self, word: str) -> Count:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return Count(**json.loads(self._answer()))

    def stats(self) -> Count:
        """Counts since the start or the last reset."""
        return self._ask("stats")

    def reset(self) -> None:
        """Count from zero; connections stay."""
        self._ask("reset")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(CONTROL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> LineProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target_port", type=int)
    parser.add_argument("--rate", type=float, default=0.0, help="bits/s, each way")
    parser.add_argument("--rtt", type=float, default=0.0, help="seconds")
    parser.add_argument("--cut", type=int, default=0, help="cut after each so many bytes down")
    words = parser.parse_args()
    asyncio.run(run(Line(words.target_port, Shape(words.rate, words.rtt, words.cut))))


if __name__ == "__main__":
    main()
