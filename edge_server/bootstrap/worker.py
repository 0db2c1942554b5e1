"""A worker process of the HTTP port, and how the main process starts one: ``python -m edge_server.bootstrap.worker``.

It reads what it is to do as JSON on stdin, inherits a listener, a channel to the main process and the shared memory,
serves media, and passes everything else on. It ends when the main process says so or is gone.
"""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from domain.courseware import CatalogueError
from edge_server.bootstrap.admission import make_admission
from edge_server.bootstrap.http_settings import make_http_settings
from edge_server.bootstrap.media import make_media
from edge_server.catalog import CatalogReader
from edge_server.catalog.following import Following
from edge_server.config import EdgeConfig
from edge_server.egress import EgressContext
from edge_server.packager import Shelf
from edge_server.plane.channel import DRAIN, READY, Channel
from edge_server.plane.counts import ROW_BYTES, Count, Counts
from edge_server.plane.front import Front
from edge_server.plane.journal import Journal
from edge_server.plane.listener import room_for
from edge_server.plane.shared import Shared
from edge_server.sessions.watching import TABLE_BYTES
from edge_server.store import Store
from edge_server.store.judged import JudgedTime
from runtime.clock import SystemClock
from runtime.log import log_to_stderr
from runtime.memory import give_back_large_buffers
from sync import SyncError


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told."""

    root: str
    config: EdgeConfig
    number: int
    workers: int
    listening: int
    """Descriptors."""
    channel: int
    memory: int


def shared_memory(workers: int, descriptor: int = -1) -> Shared:
    """Make or map the memory of an edge: who watches, and a row of counts for the main process and each worker."""
    return Shared([TABLE_BYTES, *[ROW_BYTES] * (workers + 1)], descriptor)


@dataclasses.dataclass(frozen=True)
class Start:
    """Tells the main process how to start a worker."""

    root: Path
    config: EdgeConfig
    memory: Shared

    def command(self, number: int, listening: int, channel: int) -> tuple[Sequence[str], bytes, Sequence[int]]:
        """See `edge_server.plane.workers.Command`."""
        task = Task(
            root=str(self.root),
            config=self.config,
            number=number,
            workers=self.config.workers,
            listening=listening,
            channel=channel,
            memory=self.memory.descriptor,
        )
        line = (sys.executable, "-m", "edge_server.bootstrap.worker")
        return line, msgspec.json.encode(task), (self.memory.descriptor,)


async def work(task: Task) -> None:
    """Serve until the main process says that it is enough, or ends."""
    root, config, clock = Path(task.root), task.config, SystemClock()
    store = Store(root)
    catalogue = Following(CatalogReader(store, JudgedTime(root, clock), lab=config.lab), clock)
    with suppress(SyncError, CatalogueError):  # whoever asks is told, by the main process; now nobody waits yet
        catalogue.current()
    memory = shared_memory(task.workers, task.memory)
    table, *rows = memory.pieces
    counts = [Counts(each) for each in rows]
    own = counts[1 + task.number]
    ctx = EgressContext(catalogue.current, Shelf(store.derived_root), clock)
    settings = make_http_settings(config, root)
    room = room_for(settings.limits.connections_max_count, settings.limits.files_max_count)
    over, enough = asyncio.Event(), asyncio.Event()

    def hand_over(sock: socket.socket, data: bytes, peer: str) -> None:
        own.row[Count.OPEN] -= 1
        channel.pass_on(sock, data, peer)

    def received(sock: socket.socket, data: bytes, peer: str) -> None:
        own.row[Count.OPEN] += 1
        front.plane.take(sock, peer, data)

    def told(word: bytes) -> None:
        if word == DRAIN:
            enough.set()

    channel = Channel(asyncio.get_running_loop(), socket.socket(fileno=task.channel), received, told, over.set)
    listening = socket.socket(fileno=task.listening)
    listening.setblocking(False)
    front = Front(
        clock,
        make_media(ctx, make_admission(config, root, clock, memory=table)),
        hand_over,
        limits=dataclasses.replace(settings.limits, connections_max_count=room),
        counts=own,
        rows=counts,
        listening=listening,
        journal=Journal(settings.access_log) if settings.access_log is not None else None,
        accel=settings.accel,
    )
    async with asyncio.TaskGroup() as group:
        following = group.create_task(catalogue.run(lambda: None))
        running = group.create_task(front.run(lambda: channel.tell(READY)))
        waiting = {group.create_task(each.wait()) for each in (over, enough)}
        await asyncio.wait({running, *waiting}, return_when=asyncio.FIRST_COMPLETED)
        if enough.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.grace_s):
                    await front.drain()
        for each in (running, following, *waiting):
            each.cancel()
    channel.close()


def main() -> None:
    """Read the task and do it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a service manager tells all processes at once; the main one drains us
    give_back_large_buffers()
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    log_to_stderr("edge_server", task.config.log_level)
    asyncio.run(work(task))


if __name__ == "__main__":
    main()
