"""The RTSP port: accepts connections, bounds them, and runs the one pacer of all sessions."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable

import structlog

from edge_server.egress import EgressContext
from edge_server.egress.rtsp.conversation import Conversation
from edge_server.egress.rtsp.driver import Connection, drained
from edge_server.egress.rtsp.rules import Rules
from edge_server.egress.rtsp.words import Found, Look, Onward
from edge_server.pacing.joined import Tuned, Windows
from edge_server.pacing.library import Library, Shelved
from edge_server.pacing.service import Pacing
from edge_server.sessions.viewing import Viewings

BACKLOG_MAX_COUNT = 512
PEERS_MAX_COUNT = 4096
"""Addresses of which is remembered what left for them."""

log = structlog.get_logger()


class RtspService:
    """A ``runtime.service.Service``."""

    def __init__(
        self,
        host: str,
        port: int,
        ctx: EgressContext,
        *,
        viewings: Viewings | None = None,
        rules: Rules | None = None,
        draw: Callable[[int], int] = secrets.randbits,
        connections_max_count: int | None = None,
        pacing: Pacing | None = None,
        windows: Windows | None = None,
    ) -> None:
        """Prepare; nothing listens yet.

        Args:
            host: address to listen on.
            port: 0 takes a free one; ``port`` tells which, once ready.
            ctx: catalogue view, packaged files, clock.
            viewings: admission table, shared with whoever shows it.
            rules: banner and the like.
            draw: random integer of so many bits.
            connections_max_count: more are closed at once; default twice the viewings, and 16.
            windows: linear channels; None for none.
            pacing: the process's pacer and chunks, run by somebody else; without it the service runs its own.
        """
        self.host, self.port = host, port
        self.counters: Counter[str] = Counter()
        self.viewings = Viewings() if viewings is None else viewings  # an empty table is false
        self._ctx, self._draw = ctx, draw
        self._rules = rules or Rules(banner="EdgeServer")
        self._connections_max = (
            2 * self.viewings.max_count + 16 if connections_max_count is None else connections_max_count
        )
        self.pacing = Pacing(ctx.clock) if pacing is None else pacing
        self._own_pacing = pacing is None
        self._library = Library(ctx.view, ctx.shelf, self.pacing.chunks)
        self._windows = windows
        self._connections: dict[Connection, None] = {}  # oldest first
        self._server: asyncio.Server | None = None
        self._sent_bytes: OrderedDict[str, int] = OrderedDict()
        """To each address, by connections that are over."""

    def sent_bytes(self, remote: str) -> int:
        """Return how much media left for an address since the start, or since PEERS_MAX_COUNT others came."""
        mine = (each.sent_bytes for each in self._connections if each.peer == remote)
        return self._sent_bytes.get(remote, 0) + sum(mine)

    async def run(self, ready: Callable[[], None]) -> None:
        """Listen until cancelled."""
        async with asyncio.TaskGroup() as group:

            def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                if len(self._connections) >= self._connections_max and not self._make_room():
                    self.counters["connections refused"] += 1
                    writer.transport.abort()
                    return
                group.create_task(self._serve(reader, writer))

            if self._own_pacing:
                group.create_task(self.pacing.run(lambda: None))
            self._server = await asyncio.start_server(accepted, self.host, self.port, backlog=BACKLOG_MAX_COUNT)
            try:
                self.port = int(self._server.sockets[0].getsockname()[1])
                ready()
                await asyncio.Event().wait()
            finally:
                self._server.close()

    async def drain(self) -> None:
        """Accept nothing more, tell every box that the server closes, and let the last bytes go out."""
        if self._server is not None:
            self._server.close()
        drained(self._connections)
        clock = self._ctx.clock
        while self._connections:
            await clock.sleep_until(clock.monotonic() + 0.05)

    def _make_room(self) -> bool:
        """Hang up on the oldest connection without a session, of the address that has most of them; else False.

        Whoever opens connections and says nothing takes places from itself, not from boxes that want to play.
        """
        waiting = [each for each in self._connections if each.is_waiting]
        if not waiting:
            return False
        of_address = Counter(each.peer for each in waiting)
        first = max(waiting, key=lambda each: of_address[each.peer])
        self._connections.pop(first)
        self.counters["connections gave way"] += 1
        first.give_way()
        return True

    def _look(self, asked: Look) -> Shelved | Tuned | None:
        if asked.air is None:
            return self._library.look(asked.item_id, asked.rendition)
        if self._windows is None:
            return None
        clock = self._ctx.clock
        return self._windows.tune(asked.item_id, asked.air.span, clock.utc(), clock.monotonic())

    def _onward(self, asked: Onward) -> Found:
        if self._windows is None or not isinstance(asked.title, Tuned):
            return Found(None)
        clock = self._ctx.clock
        now, now_s = clock.utc(), clock.monotonic()
        if asked.now:
            return Found(self._windows.tune(asked.title.item_id, None, now, now_s))
        return Found(*self._windows.onward(asked.title, now, now_s))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        peer, local = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        if sock is None or peer is None:
            writer.transport.abort()
            return
        # A box whose power was cut says nothing: the kernel finds out, and the session ends with the connection.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        conversation = Conversation(
            self._rules,
            self.viewings,
            self._draw,
            box=str(peer[0]),
            host=str(local[0]),
            now=self._ctx.clock.monotonic(),
            counters=self.counters,
            busy=self.pacing.pacer.busy,
        )
        connection = Connection(
            conversation,
            self._look,
            self._onward,
            self.pacing.pacer,
            self.pacing.chunks,
            self._ctx.clock,
            reader,
            writer,
            self.counters,
        )
        self._connections[connection] = None
        try:
            await connection.run()
        except Exception:
            # The outermost edge of one connection: a fault of ours must not silence the other boxes.
            self.counters["connections failed"] += 1
            log.exception("rtsp connection failed", peer=peer[0])
        finally:
            self._connections.pop(connection, None)
            if sent := connection.sent_bytes:
                self._sent_bytes[connection.peer] = self._sent_bytes.pop(connection.peer, 0) + sent
                while len(self._sent_bytes) > PEERS_MAX_COUNT:
                    self._sent_bytes.popitem(last=False)
