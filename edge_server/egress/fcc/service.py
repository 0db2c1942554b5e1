"""The UDP port of fast channel change, and the bursts as flows of the pacer. Decides nothing."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import Counter, deque
from collections.abc import Callable

import structlog

from edge_server.egress.fcc.burst import Burst
from edge_server.egress.fcc.conversation import Conversation
from edge_server.egress.fcc.words import (
    CaughtUp,
    Close,
    Command,
    Event,
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
from edge_server.pacing.pacer import Pacer
from runtime.clock import Clock

DATAGRAM_MAX_BYTES = 512
LOOK_MAX_S = 0.5
_DATAGRAMS_A_LOOK = 64

log = structlog.get_logger()


class _Flow:
    """One burst on its way (``pacing.pacer.Flow``)."""

    def __init__(self, burst: Burst, sock: socket.socket, tell: Callable[[Event], None], lease: int) -> None:
        self._burst, self._sock, self._tell, self._lease = burst, sock, tell, lease
        self._told = False
        self.sent_bytes = 0

    def pump(self, now: float, unix_s: float) -> None:
        for run, width in self._burst.due(now):
            for at in range(0, len(run), width):
                try:
                    self.sent_bytes += self._sock.send(run[at : at + width])
                except OSError as error:
                    if error.errno == errno.ECONNREFUSED:
                        self._tell(Unwanted(self._lease))
                        return
                    if error.errno not in (errno.EAGAIN, errno.ENOBUFS):  # those lose a packet, as any line does
                        self._tell(NotOpened(self._lease))
                        return
        if self._burst.over:
            self._tell(Over(self._lease))
        elif self._burst.caught_up and not self._told:
            self._told = True
            self._tell(CaughtUp(self._lease))


class FccService:
    """A ``runtime.service.Service``."""

    def __init__(
        self, host: str, port: int, conversation: Conversation, pacer: Pacer, clock: Clock, counters: Counter[str]
    ) -> None:
        """Prepare; nothing listens yet. Port 0 takes a free one; ``port`` tells which, once ready."""
        self.host, self.port, self.counters = host, port, counters
        self._conversation, self._pacer, self._clock = conversation, pacer, clock
        self._sock: socket.socket | None = None
        self._media: dict[int, socket.socket] = {}
        self._flows: dict[int, _Flow] = {}

    def __len__(self) -> int:
        """Count the bursts."""
        return len(self._conversation)

    async def run(self, ready: Callable[[], None]) -> None:
        """Listen until cancelled.

        Raises:
            OSError: the port is taken.
        """
        self._sock = _datagrams(self.host, self.port)
        self.port = int(self._sock.getsockname()[1])
        loop, clock = asyncio.get_running_loop(), self._clock
        loop.add_reader(self._sock.fileno(), self._heard, self._sock)
        try:
            ready()
            while True:
                await clock.sleep_until(clock.monotonic() + LOOK_MAX_S)
                if self._conversation.next_timer() <= clock.monotonic():
                    self._tell(Tick())
        finally:
            loop.remove_reader(self._sock.fileno())
            self._sock.close()
            for lease in tuple(self._media):
                self._close(lease)

    async def drain(self) -> None:
        """Nothing to finish: boxes join the group when a burst ends early."""

    def _heard(self, sock: socket.socket) -> None:
        for data, source in _waiting(sock):
            self._tell(Heard(data, source))

    def _punched(self, lease: int, sock: socket.socket) -> None:
        try:
            data, (address, port, *_) = sock.recvfrom(DATAGRAM_MAX_BYTES)
        except ConnectionRefusedError:
            self._tell(Unwanted(lease))
        except OSError:
            return
        else:
            self._tell(Punched(lease, data, (address, port)))

    def _tell(self, event: Event) -> None:
        todo: deque[Command] = deque(self._conversation.handle(event, self._clock.monotonic()))
        while todo:
            match todo.popleft():
                case Send(data, to):
                    self._send(data, to)
                case Open(lease):
                    done = self._conversation.handle(self._open(lease), self._clock.monotonic())
                    todo.extendleft(reversed(done))
                case Start() as start:
                    self._start(start)
                case Close(lease):
                    self._close(lease)

    def _send(self, data: bytes, to: tuple[str, int]) -> None:
        assert self._sock is not None
        try:
            self._sock.sendto(data, to)
        except OSError:
            self.counters["answers not sent"] += 1

    def _open(self, lease: int) -> Event:
        try:
            sock = _datagrams(self.host, 0)
        except OSError as error:
            log.warning("no port for a burst", why=str(error))
            return NotOpened(lease)
        self._media[lease] = sock
        asyncio.get_running_loop().add_reader(sock.fileno(), self._punched, lease, sock)
        return Opened(lease, int(sock.getsockname()[1]))

    def _start(self, start: Start) -> None:
        sock = self._media[start.lease]
        flow = self._flows[start.lease] = _Flow(start.burst, sock, self._tell, start.lease)
        try:
            sock.connect(start.to)
        except OSError:
            self._tell(NotOpened(start.lease))
            return
        self._pacer.add(flow, lambda: self._tell(NotOpened(start.lease)))

    def _close(self, lease: int) -> None:
        flow = self._flows.pop(lease, None)
        if flow is not None:
            self._pacer.remove(flow)
            self.counters["bytes"] += flow.sent_bytes
        sock = self._media.pop(lease, None)
        if sock is not None:
            asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()


def _datagrams(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _waiting(sock: socket.socket) -> list[tuple[bytes, tuple[str, int]]]:
    found: list[tuple[bytes, tuple[str, int]]] = []
    for _ in range(_DATAGRAMS_A_LOOK):
        try:
            data, source = sock.recvfrom(DATAGRAM_MAX_BYTES)
        except BlockingIOError:
            break
        except OSError:  # what the system says about an answer of ours
            continue
        found.append((data, (source[0], source[1])))
    return found
