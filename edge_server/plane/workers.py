"""Worker processes that share a port: each runs a plane only, and passes everything else to the main process."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from edge_server.plane.channel import DRAIN, READY, Channel, pair
from edge_server.plane.counts import Count, Counts
from edge_server.plane.listener import listen
from runtime.clock import Clock

log = structlog.get_logger()

WORKERS_MAX_COUNT = 64
PAUSE_FIRST_S, PAUSE_MAX_S = 0.2, 30.0
"""Before a worker that ended is started again; doubled each time that it ends within ``STEADY_S``."""
STEADY_S = 60.0
END_S = 5.0
"""For a worker without its channel to end by itself."""

Command = Callable[[int, int, int], tuple[Sequence[str], bytes, Sequence[int]]]
"""From (number of the worker, descriptor of its listener, descriptor of its channel): command line, what it reads on
stdin, and further descriptors that it inherits."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A connection that a worker gave away."""

    sock: socket.socket
    data: bytes
    peer: str
    channel: Channel


class Workers:
    """Starts them, starts them again, ends them. A listener outlives its worker, so no connection in it is lost."""

    def __init__(
        self,
        clock: Clock,
        command: Command,
        rows: Sequence[Counts],
        received: Callable[[Passed], None],
    ) -> None:
        """``rows`` are the counts of the workers; ``received`` takes what they give away."""
        self._clock, self._command, self._rows, self._received = clock, command, rows, received
        self._listening: list[socket.socket] = []
        self._channels: dict[int, Channel] = {}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._up = [asyncio.Event() for _ in rows]
        self._ending = False

    @property
    def processes(self) -> dict[int, int]:
        """Number of a worker -> its process id."""
        return {number: each.pid for number, each in self._processes.items()}

    def listen(self, host: str, port: int) -> tuple[str, int]:
        """Open the port, once for each worker; return its address.

        Raises:
            OSError: the address is taken or is none of this machine.
        """
        listen(host, port).close() if port else None  # shared ports are open to everybody of this user: is it free?
        for _ in self._rows:
            self._listening.append(listen(host, port, reuse_port=True))
            port = self._listening[0].getsockname()[1]
        host, port = self._listening[0].getsockname()[:2]
        return host, port

    async def run(self, ready: Callable[[], None]) -> None:
        """Keep the workers alive until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(len(self._rows)):
                    group.create_task(self._keep(number))
                for each in self._up:
                    await each.wait()
                ready()
        finally:
            self._end()

    async def drain(self) -> None:
        """Let them finish what they are sending."""
        self._ending = True
        for sock in self._listening:
            sock.close()
        for channel in self._channels.values():
            channel.tell(DRAIN)
        while any(each.poll() is None for each in self._processes.values()):
            await self._clock.sleep_until(self._clock.monotonic() + 0.05)

    async def _keep(self, number: int) -> None:
        pause_s = PAUSE_FIRST_S
        while not self._ending:
            began_s = self._clock.monotonic()
            status = await self._live(number)
            if self._ending:
                return
            lived_s = self._clock.monotonic() - began_s
            pause_s = PAUSE_FIRST_S if lived_s >= STEADY_S else min(PAUSE_MAX_S, 2 * pause_s)
            log.warning("a worker ended; it is started again", worker=number, status=status, lived_s=round(lived_s, 1))
            await self._clock.sleep_until(self._clock.monotonic() + pause_s)

    async def _live(self, number: int) -> int:
        """Run one worker to its end."""
        loop = asyncio.get_running_loop()
        ours, theirs = pair()
        ended = asyncio.Event()
        channel: Channel

        def received(sock: socket.socket, data: bytes, peer: str) -> None:
            self._received(Passed(sock, data, peer, channel))

        def told(word: bytes) -> None:
            if word == READY:
                self._up[number].set()

        process = self._start(number, theirs)
        channel = self._channels[number] = Channel(loop, ours, received, told, ended.set)
        try:
            await ended.wait()
        finally:
            channel.close()
        until_s = self._clock.monotonic() + END_S
        while process.poll() is None and not self._ending:
            if self._clock.monotonic() >= until_s:
                process.kill()
            await self._clock.sleep_until(self._clock.monotonic() + 0.02)
        self._rows[number].row[Count.OPEN] = 0
        return process.returncode if process.returncode is not None else 0

    def _start(self, number: int, theirs: socket.socket) -> subprocess.Popen[bytes]:
        with theirs:
            listening = self._listening[number].fileno()
            line, given, more = self._command(number, listening, theirs.fileno())
            process = self._processes[number] = subprocess.Popen(
                list(line),
                stdin=subprocess.PIPE,
                pass_fds=(listening, theirs.fileno(), *more),
                start_new_session=True,  # Ctrl-C is for the main process, which drains its workers
            )
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(given)  # a few kilobytes: they fit into the pipe
        return process

    def _end(self) -> None:
        """End at once whatever still lives."""
        self._ending = True
        for sock in self._listening:
            sock.close()
        for channel in list(self._channels.values()):
            channel.close()
        for process in self._processes.values():
            process.kill()
            process.wait()
