"""HTTP client on one core: many kept-alive connections, bodies dropped in the kernel (MSG_TRUNC), answers checked.

    python -m benchmarks.serve.drain SPEC.json        prints one line of JSON

Of every answer: the status, Content-Length, Content-Range of a range, the bytes that came along with its header, and
that the next answer begins exactly where this one ends. Of one answer in ``sample_every``, each byte. With ``checked``
each connection makes every request of the list once, and each byte is compared.

The server's CPU is read here, at the ends of the measured time, over its process tree.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.serve.programs import HOST, cpu_s

HEAD_MAX_BYTES = 8192
FIRST_READ_BYTES = 2048
"""Of an answer: its header and the bytes behind it that are looked at in every answer."""
DROP_MAX_BYTES = 4 << 20
WAKE_BYTES = 256 << 10
"""Of a body: the client sleeps until so many are there, or the rest. Each time that it is woken the server's core pays
for the interrupt, a tenth of its time or more; how often depends on how the two happen to fall into step.
"""
STALL_S = 20.0
FAULTS_MAX = 20
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_RANGE = re.compile(rb"(?i)\r\ncontent-range: *bytes (\d+)-(\d+)/")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request, and what has to come back."""

    path: str
    status: int
    file: str
    offset: int
    """Of the body, in the file."""
    length: int
    is_range: bool

    def request(self, port: int) -> bytes:
        """The bytes that ask for it; the same for every server, its port excepted."""
        asked = f"Range: bytes={self.offset}-{self.offset + self.length - 1}\r\n" if self.is_range else ""
        return (
            f"GET {self.path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nUser-Agent: stb\r\nAccept: */*\r\n{asked}\r\n".encode()
        )


class Wrong(RuntimeError):
    """An answer is not what was asked for."""


def body_start(answer: bytes, wanted: Wanted) -> int:
    """Check the header of an answer; return where its body begins, 0 when the header is not complete.

    Raises:
        Wrong: another status, length or range.
    """
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = answer[: end + 2]
    if head[9:12] != b"%d" % wanted.status:
        raise Wrong(f"{wanted.path}: {head[:80]!r} instead of {wanted.status}")
    length = _LENGTH.search(head)
    if length is None or int(length[1]) != wanted.length:
        raise Wrong(f"{wanted.path}: length {length and length[1]!r} instead of {wanted.length}")
    if wanted.is_range:
        found = _RANGE.search(head)
        last = wanted.offset + wanted.length - 1
        if found is None or (int(found[1]), int(found[2])) != (wanted.offset, last):
            raise Wrong(f"{wanted.path}: another range than {wanted.offset}-{last}: {head!r}")
    return end + 4


@dataclass(slots=True)
class Connection:
    """One kept-alive connection and the answer under way."""

    socket: socket.socket
    turn: int
    head: bytes = b""
    left: int = -1
    """Bytes of the body to come; -1 while the header is."""
    kept: bytearray | None = None
    began: float = 0.0
    answers: int = 0
    wakes_at: int = 1
    """Bytes that have to be there before the kernel says so (SO_RCVLOWAT)."""

    def sleep_until(self, count: int) -> None:
        """Let the kernel be silent until so many bytes are there."""
        if count != self.wakes_at:
            self.wakes_at = count
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


@dataclass(slots=True)
class Tally:
    """What came."""

    answers: int = 0
    octets: int = 0
    compared: int = 0
    compared_octets: int = 0
    head_octets: int = 0
    faults: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)


class Drain:
    """The client."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.port: int = spec["port"]
        self.wanted = [Wanted(**each) for each in spec["wanted"]]
        self.requests = [each.request(self.port) for each in self.wanted]
        self.sample_every: int = spec.get("sample_every", 64)
        self.checked: bool = spec.get("checked", False)
        self.maps = {each.file: memoryview(_mapped(Path(each.file))) for each in self.wanted}
        self.drop = bytearray(DROP_MAX_BYTES)
        self.first = bytearray(FIRST_READ_BYTES)
        self.tally = Tally()
        self.ready = select.epoll()
        self.connections: dict[int, Connection] = {}
        for number in range(spec["connections"]):
            made = socket.create_connection((HOST, self.port), timeout=STALL_S)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.setblocking(False)
            self.ready.register(made.fileno(), select.EPOLLIN)
            self.connections[made.fileno()] = Connection(made, number % len(self.wanted))

    def ask(self, connection: Connection) -> None:
        """Send the next request."""
        connection.turn = (connection.turn + 1) % len(self.wanted)
        connection.head, connection.left = b"", -1
        sampled = self.checked or (connection.answers + connection.socket.fileno()) % self.sample_every == 0
        connection.kept = bytearray() if sampled else None
        connection.began = time.monotonic()
        connection.socket.send(self.requests[connection.turn])

    def read(self, connection: Connection) -> bool:
        """Take what is there; True when an answer is complete.

        Raises:
            Wrong: see body_start; or the connection ended, or bytes differ.
        """
        try:
            if connection.left < 0:
                return self._begin(connection)
            if connection.kept is None:
                count = connection.socket.recv_into(self.drop, min(connection.left, DROP_MAX_BYTES), socket.MSG_TRUNC)
            else:
                piece = connection.socket.recv(min(connection.left, DROP_MAX_BYTES))
                connection.kept += piece
                count = len(piece)
        except BlockingIOError:
            return False
        if not count:
            raise Wrong(f"{self.wanted[connection.turn].path}: closed with {connection.left} bytes to come")
        self.tally.octets += count
        connection.left -= count
        if connection.left:
            connection.sleep_until(min(connection.left, WAKE_BYTES))
            return False
        connection.sleep_until(1)
        return self._end(connection)

    def _begin(self, connection: Connection) -> bool:
        wanted = self.wanted[connection.turn]
        count = connection.socket.recv_into(self.first)
        if not count:
            raise Wrong(f"{wanted.path}: closed instead of an answer")
        answer = connection.head + self.first[:count]
        start = body_start(answer, wanted)
        if not start:
            if len(answer) > HEAD_MAX_BYTES:
                raise Wrong(f"{wanted.path}: a header without end")
            connection.head = bytes(answer)
            return False
        body = answer[start:]
        if len(body) > wanted.length or body != self.maps[wanted.file][wanted.offset : wanted.offset + len(body)]:
            raise Wrong(f"{wanted.path}: other bytes right behind the header")
        if connection.kept is not None:
            connection.kept += body
        self.tally.octets += len(body)
        self.tally.head_octets = start
        connection.left = wanted.length - len(body)
        if connection.left:
            connection.sleep_until(min(connection.left, WAKE_BYTES))
            return False
        return self._end(connection)

    def _end(self, connection: Connection) -> bool:
        wanted = self.wanted[connection.turn]
        if connection.kept is not None:
            if connection.kept != self.maps[wanted.file][wanted.offset : wanted.offset + wanted.length]:
                raise Wrong(f"{wanted.path}: bytes differ in {wanted.offset}+{wanted.length}")
            self.tally.compared += 1
            self.tally.compared_octets += wanted.length
        connection.answers += 1
        self.tally.answers += 1
        self.tally.waits.append(time.monotonic() - connection.began)
        return True

    def go(self, until: float, answers_each: int = 0) -> None:
        """Load the server until then, or until each connection has had so many answers."""
        last = time.monotonic()
        while self.connections and (now := time.monotonic()) < until:
            if now - last > STALL_S:
                self.tally.faults.append(f"nothing came for {STALL_S:.0f} s")
                return
            for number, _ in self.ready.poll(0.05, 512):
                connection = self.connections[number]
                last = now
                try:
                    if self.read(connection):
                        if answers_each and connection.answers >= answers_each:
                            self.close(connection)
                        else:
                            self.ask(connection)
                except (Wrong, OSError) as error:
                    self.tally.faults.append(str(error))
                    self.close(connection)
                    if len(self.tally.faults) > FAULTS_MAX:
                        return

    def close(self, connection: Connection) -> None:
        """End one connection."""
        del self.connections[connection.socket.fileno()]
        self.ready.unregister(connection.socket.fileno())
        connection.socket.close()

    def begin(self) -> None:
        """Ask on every connection."""
        for connection in list(self.connections.values()):
            self.ask(connection)


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Run what the spec says; see the module."""
    drain = Drain(spec)
    drain.begin()
    pid, seconds = spec["pid"], spec["seconds"]
    if drain.checked:
        drain.go(time.monotonic() + seconds, answers_each=len(drain.wanted))
        if drain.connections:
            drain.tally.faults.append(f"{len(drain.connections)} connections did not get all within {seconds} s")
        tally = drain.tally
        return {"answers": tally.answers, "compared": tally.compared, "octets": tally.octets, "faults": tally.faults}
    drain.go(time.monotonic() + spec.get("warm_s", 0.5))
    faults, drain.tally = drain.tally.faults, Tally()
    server_s, own_s, began = cpu_s(pid), time.process_time(), time.monotonic()
    drain.go(began + seconds)
    wall_s = time.monotonic() - began
    server_s, own_s = cpu_s(pid) - server_s, time.process_time() - own_s
    tally = drain.tally
    waits = sorted(tally.waits)
    return {
        "answers": tally.answers,
        "octets": tally.octets,
        "seconds": wall_s,
        "server_cpu_s": server_s,
        "client_busy": own_s / wall_s,
        "compared": tally.compared,
        "p50_s": waits[len(waits) // 2] if waits else 0.0,
        "p99_s": waits[int(len(waits) * 0.99)] if waits else 0.0,
        "faults": faults + tally.faults,
    }


def main() -> None:
    """Command line."""
    print(json.dumps(run(json.loads(Path(sys.argv[1]).read_text()))), flush=True)
    os._exit(0)  # maps of large files need not be taken down


if __name__ == "__main__":
    main()
