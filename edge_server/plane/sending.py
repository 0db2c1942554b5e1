"""Sends answers and looks after connections: what a connection does next is decided here, what it is told elsewhere."""

from __future__ import annotations

import select
import socket
from abc import ABC, abstractmethod
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from datetime import UTC
from os import sendfile

import structlog

from edge_server.egress import SERVER_BANNER
from edge_server.plane.connection import ASKING, CLOSED, LEAVING, READING, SENDING, Connection, FileStep
from edge_server.plane.counts import PLACES, Count, Counts
from edge_server.plane.journal import Journal
from edge_server.plane.leases import OpenFile
from edge_server.plane.limits import RECV_MAX_BYTES, SEND_MAX_BYTES, Limits
from edge_server.plane.pages import Pages
from edge_server.plane.repeated import Repeated
from runtime.clock import Clock
from wire.http_range import http_date

log = structlog.get_logger()

_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_MORE = socket.MSG_MORE
_REQUESTS, _BODY_BYTES, _OPEN = int(Count.REQUESTS), int(Count.BODY_BYTES), int(Count.OPEN)


class Sending(ABC):
    """The connections of one epoll set. All of it runs in the event loop's thread."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        clock: Clock,
        *,
        limits: Limits,
        counts: Counts,
        journal: Journal | None,
        pages: Pages | None,
    ) -> None:
        """Make the set and let the loop listen to it."""
        self.limits, self.counts = limits, counts
        self._loop, self._clock, self._journal = loop, clock, journal
        if pages is None:
            pages = Pages(loop.call_soon_threadsafe, readers_max_count=limits.readers_max_count)
        self._pages = pages
        self._connections: dict[int, Connection] = {}
        self._queue: deque[Connection] = deque()
        self._due: list[tuple[Connection, Repeated]] = []
        """Answers of this turn. All are found before the first is sent: each send drives what Python needs out of the
        processor's caches, and 32 turns of one kind of work cost less than 32 times two kinds.
        """
        self._scheduled = self._closed = False
        self._seen: Callable[[int, int, float], None] = lambda viewing, body_bytes, now_s: None
        """Hears what was handed to the kernel for which viewing."""
        self._row = counts.row
        self._leaving = self._left_bytes = 0
        self._now_s = clock.monotonic()
        self._date, self._date_until_s = b"", self._now_s
        self._set = select.epoll()
        loop.add_reader(self._set.fileno(), self.run)

    def __len__(self) -> int:
        """Count the connections in the set."""
        return len(self._connections)

    @property
    def busy(self) -> int:
        """Count the connections that are being answered, and those whose last answer is still on its way."""
        return sum(
            each.state in (SENDING, READING) or (each.state == LEAVING and each.left_bytes() > 1)
            for each in self._connections.values()
        )

    @abstractmethod
    def run(self) -> None:
        """Work for one turn of the event loop."""

    def _add(self, sock: socket.socket, peer: str) -> Connection:
        connection = Connection(sock, peer, self._now_s)
        self._connections[connection.fd] = connection
        self._set.register(connection.fd, _EVENTS)
        return connection

    def _send(self, connection: Connection, status: int, head: bytes, pieces: tuple[bytes | FileStep, ...]) -> None:
        """Send an answer as far as the client takes it now; the rest follows as it does."""
        self._begin(connection, status, head, pieces)
        self._push(connection)

    def _send_due(self) -> None:
        """Send what this turn's requests asked for."""
        due, self._due = self._due, []
        row = self._row
        for connection, answer in due:
            opened = answer.step[0]
            try:
                body_bytes = self._at_once(connection, answer)
            except Exception:  # a fault of this program costs one connection, not the other answers of the turn
                log.exception("a connection ended by a fault", peer=connection.peer)
                self._close(connection)
                body_bytes = 0
            if body_bytes:
                row[_BODY_BYTES] += body_bytes
                row[_REQUESTS] += 1
                row[PLACES[answer.status]] += 1
            opened.release()

    def _at_once(self, connection: Connection, answer: Repeated) -> int:
        """Send an answer; return the length of its body when all was sent, 0 when the rest follows, or never.

        Does what `_begin`, `_push` and `_finish` do: most answers fit in one call, and each touch of the state costs.
        """
        opened, offset, stop = answer.step
        length, now_s = stop - offset, self._now_s
        head = answer.head if answer.date is self._date else answer.dated(self._date)
        sent = count = 0
        if (
            length <= SEND_MAX_BYTES
            and self._left_bytes > 0
            and (now_s < answer.warm_until_s or now_s < answer.warmth())
        ):
            try:
                sent = connection.send(head, _MORE)
                if sent == len(head):
                    count = sendfile(connection.fd, opened.fd, offset, length)
                    if not count:
                        self._abort(connection)
                        return 0
            except BlockingIOError:
                pass
            except OSError:
                self._gone(connection)
                return 0
            self._left_bytes -= count
            if connection.viewing:
                self._seen(connection.viewing, count, now_s)
            if count == length:
                connection.since_s = now_s
                connection.served = True
                if connection.unread:
                    self._put(connection)
                return count + answer.made_bytes
        self._begin(connection, answer.status, head[sent:], (answer.step,))
        connection.offset += count
        connection.body_bytes = count + answer.made_bytes
        self._row[_BODY_BYTES] += connection.body_bytes
        if not count:
            self._push(connection)
        return 0

    def _begin(self, connection: Connection, status: int, head: bytes, pieces: tuple[bytes | FileStep, ...]) -> None:
        connection.state = SENDING
        connection.since_s = self._now_s
        connection.status = status
        connection.body_bytes = 0
        if pieces:
            first = pieces[0]
            if isinstance(first, bytes):
                head += first
                connection.body_bytes = len(first)
                self._row[_BODY_BYTES] += len(first)
            else:
                connection.file, connection.offset, connection.stop = first
                connection.file.users += 1
            if len(pieces) > 1:
                for piece in pieces[1:]:
                    if not isinstance(piece, bytes):
                        piece[0].users += 1
                connection.steps = deque(pieces[1:])
        connection.data = head

    def _push(self, connection: Connection) -> None:
        """Send until the client takes no more, or others have waited long enough."""
        fd, row = connection.fd, self._row
        while True:
            opened = connection.file
            if connection.data:
                data = connection.data
                more = opened is not None or connection.steps is not None
                try:
                    count = connection.send(data, _MORE if more else 0)
                except BlockingIOError:
                    return
                except OSError:
                    self._gone(connection)
                    return
                connection.since_s = self._now_s
                self._left_bytes -= count
                if count < len(data):
                    connection.data = memoryview(data)[count:]
                    return
                connection.data = b""
            if opened is not None:
                if self._left_bytes <= 0:
                    self._put(connection)
                    return
                offset, stop = connection.offset, connection.stop
                length = stop - offset
                if length > SEND_MAX_BYTES:
                    length = SEND_MAX_BYTES
                now_s = self._now_s
                if (piece := self._pages.ready(opened, offset, length, now_s)) >= 0:
                    self._wait_for_disk(connection, opened, piece)
                    return
                try:
                    count = sendfile(fd, opened.fd, offset, length)
                except BlockingIOError:
                    return
                except OSError:
                    self._gone(connection)
                    return
                if not count:  # the file is shorter than it was: the length that was promised cannot be kept
                    self._abort(connection)
                    return
                connection.since_s = now_s
                self._left_bytes -= count
                row[_BODY_BYTES] += count
                connection.body_bytes += count
                if connection.viewing:
                    self._seen(connection.viewing, count, now_s)
                offset += count
                if offset < stop:
                    connection.offset = offset
                    if count == length:
                        self._put(connection)
                    return
                opened.release()
                connection.file = None
            if connection.steps is None:
                self._finish(connection)
                return
            step = connection.steps.popleft()
            if not connection.steps:
                connection.steps = None
            if isinstance(step, bytes):
                connection.data = step
                row[_BODY_BYTES] += len(step)
                connection.body_bytes += len(step)
            else:
                connection.file, connection.offset, connection.stop = step

    def _wait_for_disk(self, connection: Connection, opened: OpenFile, piece: int) -> None:
        connection.state = READING
        self._row[Count.COLD_READS] += 1

        def arrived() -> None:
            if connection.state == READING:
                connection.state = SENDING
                self._put(connection)
                self._wake()

        self._pages.read(opened, piece, self._now_s, arrived)

    def _finish(self, connection: Connection) -> None:
        self._row[_REQUESTS] += 1
        self.counts.status(connection.status)
        if self._journal is not None:
            self._note(connection)
        connection.served = True
        connection.since_s = self._now_s
        if not connection.keep:
            self._leave(connection)
            return
        connection.state = ASKING
        if connection.rest or connection.unread or connection.half_closed:
            self._put(connection)

    def _note(self, connection: Connection) -> None:
        assert self._journal is not None
        self._journal.note(
            connection.peer,
            connection.request,
            connection.status,
            connection.body_bytes,
            connection.agent,
            self._clock.utc(),
        )

    def _leave(self, connection: Connection) -> None:
        """Close so that the client can read everything first (RFC 9112 §9.6)."""
        connection.state = LEAVING
        self._leaving += 1
        connection.rest = b""
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)
            return
        self._discard(connection)

    def _discard(self, connection: Connection) -> None:
        try:
            for _ in range(4):
                if not connection.recv(RECV_MAX_BYTES):
                    self._close(connection)
                    return
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        self._close(connection)  # one who goes on talking is not listening

    def _gone(self, connection: Connection) -> None:
        self._row[Count.GONE] += 1
        if self._journal is not None and connection.request:
            self._note(connection)
        self._close(connection)

    def _abort(self, connection: Connection) -> None:
        """Close at once, without what the kernel still holds."""
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._gone(connection)

    def _close(self, connection: Connection) -> None:
        if connection.state == CLOSED:
            return
        self._leaving -= connection.state == LEAVING
        connection.state = CLOSED
        del self._connections[connection.fd]
        connection.release()
        connection.sock.close()
        if connection.counted:
            self._row[_OPEN] -= 1

    def _nudge(self) -> None:
        """Let every answer that stands still try again.

        Sending less than all says that the client takes no more, and an event follows when it does; but a signal cuts
        a call short as well, and then none follows. To ask at once each time would cost a call for each event.
        """
        for connection in self._connections.values():
            if connection.state == SENDING and connection.since_s < self._now_s:
                self._put(connection)
        if self._queue:
            self._wake()

    def _put(self, connection: Connection) -> None:
        if not connection.queued:
            connection.queued = True
            self._queue.append(connection)

    def _wake(self) -> None:
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._loop.call_soon(self.run)

    def _tick(self) -> None:
        """Look at the clock; one look counts for a turn."""
        self._now_s = self._clock.monotonic()
        if self._now_s >= self._date_until_s:
            now = self._clock.utc().astimezone(UTC)
            self._date = f"Server: {SERVER_BANNER}\r\nDate: {http_date(now)}\r\n".encode()
            self._date_until_s = self._now_s + 1.0 - now.microsecond / 1e6
