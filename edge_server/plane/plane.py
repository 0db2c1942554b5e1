"""The epoll set: takes requests, answers media, hands everything else over."""

from __future__ import annotations

import select
import socket
from asyncio import AbstractEventLoop
from collections.abc import Callable

import structlog

from edge_server.plane.answers import REFUSALS, RETRY_AFTER_S, field_lines, status_line
from edge_server.plane.connection import ASKING, CLOSED, LEAVING, SENDING, Connection
from edge_server.plane.counts import Count, Counts
from edge_server.plane.journal import Journal
from edge_server.plane.leases import Leases
from edge_server.plane.limits import (
    EVENTS_MAX_COUNT,
    FIELDS_KNOWN_MAX_BYTES,
    FIELDS_KNOWN_MAX_COUNT,
    RECV_MAX_BYTES,
    ROUNDS_MAX_COUNT,
    TURN_MAX_BYTES,
    Limits,
)
from edge_server.plane.lookup import Accel, Found, Lookup, Media
from edge_server.plane.pages import Pages
from edge_server.plane.repeated import repeated
from edge_server.plane.sending import Sending
from runtime.clock import Clock
from wire.http_request import HEAD_MAX_BYTES, RequestFields, is_other_version, read_fields, read_line

log = structlog.get_logger()

HandOver = Callable[[socket.socket, bytes, str], None]
"""Takes a connection, the bytes read from it, and the peer's address."""
_IN, _OUT, _BROKEN = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP | select.EPOLLERR
_HALF = select.EPOLLRDHUP
_ASKS = _IN | _OUT
_KEEP, _KEEP_10, _CLOSE = b"\r\n", b"Connection: keep-alive\r\n\r\n", b"Connection: close\r\n\r\n"


class Plane(Sending):
    """Connections of one port in one process."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        clock: Clock,
        media: Media,
        hand_over: HandOver,
        *,
        limits: Limits | None = None,
        counts: Counts | None = None,
        journal: Journal | None = None,
        accel: Accel | None = None,
        pages: Pages | None = None,
    ) -> None:
        """Make the set and let the loop listen to it."""
        super().__init__(
            loop, clock, limits=limits or Limits(), counts=counts or Counts(), journal=journal, pages=pages
        )
        self.leases = Leases(self.limits.files_max_count)
        self.lookup = Lookup(media, self.leases, self.limits)
        self.draining = False
        self._media, self._hand_over, self._accel = media, hand_over, accel
        self._seen = media.seen
        self._known_fields: dict[bytes, RequestFields] = {}
        self._usual_fields: dict[bytes, RequestFields] = {}
        """Of them, those that ask for the whole or one range, without a body, and let the connection be kept."""
        self._swift = journal is None and accel is None
        """Most requests may take the short way."""
        self._asked = b""
        """What begins with the present request."""

    def take(self, sock: socket.socket, peer: str, data: bytes = b"") -> None:
        """Own a connection from now on; it was counted as open already. ``data`` was read from it."""
        self._tick()
        connection = self._add(sock, peer)
        connection.rest = data
        connection.served = bool(data)
        if data:
            self._put(connection)
            self._wake()

    def refuse(self, sock: socket.socket, peer: str) -> None:
        """Say that there is no room."""
        self._row[Count.REFUSED] += 1
        if self._leaving >= self.limits.lingering_max_count:
            sock.close()
            return
        self._tick()
        connection = self._add(sock, peer)
        connection.counted = False
        self._asked = b""
        self._turn_away(connection, 503)

    def run(self) -> None:
        """Work for one turn of the event loop."""
        if self._closed:
            return
        self._scheduled = False
        self._tick()
        self.lookup.new_turn()
        self._left_bytes = TURN_MAX_BYTES
        connections = self._connections
        for _ in range(ROUNDS_MAX_COUNT):  # while answers are sent the next requests come
            self._go_on()
            self._send_due()  # or the next request of such a connection would be answered in the middle of its answer
            events = self._set.poll(0, EVENTS_MAX_COUNT)
            for fd, event in events:
                if (connection := connections.get(fd)) is not None:
                    try:
                        if event == _ASKS and connection.state == ASKING and not connection.queued:
                            self._read(connection)
                        else:
                            self._event(connection, event)
                    except Exception:  # a fault of this program costs one connection, not the other events of the turn
                        log.exception("a connection ended by a fault", peer=connection.peer)
                        self._close(connection)
            self._send_due()
            if self._left_bytes <= 0 or not (events or self._queue):
                break
        if self._queue:
            self._wake()
        if self._journal is not None:
            self._journal.flush()

    def _go_on(self) -> None:
        """Give those who wait their turn, before anything new: whatever comes meanwhile stands behind them."""
        queue = self._queue
        for _ in range(len(queue)):
            if self._left_bytes <= 0:
                break
            connection = queue.popleft()
            connection.queued = False
            try:
                if connection.state == SENDING:
                    self._push(connection)
                elif connection.state == ASKING:
                    self._resume(connection)
            except Exception:
                log.exception("a connection ended by a fault", peer=connection.peer)
                self._close(connection)

    def _event(self, connection: Connection, event: int) -> None:
        state = connection.state
        if event & _HALF:
            connection.half_closed = True
        if state == ASKING:
            if not connection.queued and event & (_IN | _BROKEN):
                self._read(connection)
            elif event & _IN:
                connection.unread = True
        elif state == LEAVING:
            self._discard(connection)
        else:
            if event & _IN:
                connection.unread = True
            if event & _BROKEN:
                self._gone(connection)
            elif state == SENDING and event & _OUT:
                (self._put if self._queue or self._left_bytes <= 0 else self._push)(connection)

    def sweep(self) -> None:
        """End connections that are silent for too long; call it about once a second."""
        self._tick()
        self._nudge()
        now_s, limits = self._now_s, self.limits
        for connection in list(self._connections.values()):
            silent_s = now_s - connection.since_s
            if connection.state == ASKING:
                if connection.rest or not connection.served:
                    if silent_s >= limits.head_timeout_s:
                        self._row[Count.TIMED_OUT] += 1
                        if connection.rest:
                            self._turn_away(connection, 408)
                        else:
                            self._close(connection)
                elif silent_s >= limits.idle_timeout_s:
                    self._row[Count.TIMED_OUT] += 1
                    self._close(connection)
            elif connection.state == SENDING:
                if connection.took_some():
                    connection.since_s = now_s
                elif silent_s >= limits.stuck_timeout_s:
                    self._row[Count.TIMED_OUT] += 1
                    self._abort(connection)
            elif connection.state == LEAVING and silent_s >= limits.linger_timeout_s:
                if connection.took_some():
                    connection.since_s = now_s
                else:
                    self._close(connection)

    def wants(self, data: bytes) -> bool:
        """Tell whether the request at the start of ``data`` is one for this plane."""
        end = data.find(b"\r\n\r\n")
        if end < 0 or self.draining:
            return False
        line_end = data.find(b"\r\n")
        asked, fields = read_line(data[:line_end]), read_fields(data[line_end:end])
        if asked is None or fields is None or asked[0] not in ("GET", "HEAD"):
            return False
        if fields.odd or fields.length_bytes or fields.hosts != 1:
            return False
        self._tick()
        self.lookup.new_turn()
        return self._find(asked[1]) is not None

    def begin_drain(self) -> None:
        """Take no new request: what is being sent is finished, every other connection ends."""
        self.draining = True
        self._tick()
        self._nudge()
        for connection in list(self._connections.values()):
            connection.keep = False
            if connection.state == ASKING:
                if connection.left_bytes() > 0:
                    self._leave(connection)
                else:
                    self._close(connection)

    def close(self) -> None:
        """End everything."""
        self._closed = True
        self._loop.remove_reader(self._set.fileno())
        for connection in list(self._connections.values()):
            self._close(connection)
        self._pages.close()
        self.lookup.clear()
        self._set.close()
        if self._journal is not None:
            self._journal.close()

    # Requests

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.recv(RECV_MAX_BYTES)
        except BlockingIOError:
            connection.unread = False
            return
        except OSError:
            self._close(connection)
            return
        if not data:
            self._close(connection)
            return
        connection.unread = len(data) == RECV_MAX_BYTES or connection.half_closed
        if connection.rest:
            data = self._asked = connection.rest + data
            connection.rest = b""
            self._request(connection, data, False)
        elif not self._swift or not self._again(connection, data):
            self._asked = data
            self._request(connection, data, True)

    def _resume(self, connection: Connection) -> None:
        """Go on after an answer, or with what came with a connection."""
        if b"\r\n\r\n" in connection.rest:
            data, connection.rest = connection.rest, b""
            self._asked = data
            self._request(connection, data, True)
        else:
            self._read(connection)

    def _again(self, connection: Connection, data: bytes) -> bool:
        """Answer a request, in this turn, as one like it was answered before; False: nothing was done.

        Like it is one with the same field section, byte for byte, for the same resource.
        """
        line, _, section = data.partition(b"\r\n")
        fields = self._usual_fields.get(section)
        if (
            fields is None
            or line[:5] != b"GET /"
            or line[-9:] != b" HTTP/1.1"
            or connection.half_closed
            or self.draining
        ):
            return False
        known = self._find(line[4:-9])
        if known is None:
            return False
        found, viewing = known
        answer = self.lookup.repeated(found, fields.first_last)
        if answer is None:
            return False
        connection.keep = True
        answer.step[0].users += 1  # what the rest of the turn finds may push it out of the leases
        self._due.append((connection, answer))
        connection.viewing = viewing
        return True

    def _request(self, connection: Connection, data: bytes, fresh: bool) -> None:
        """Answer the request at the start of ``data``; ``fresh``: its first byte was not seen before."""
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > HEAD_MAX_BYTES:
            self._partial(connection, data, fresh)
            return
        if data.startswith(b"\r\n"):  # allowed before a request line (RFC 9112 §2.2)
            self._request(connection, data.lstrip(b"\r\n"), fresh)
            return
        line_end = data.find(b"\r\n")
        lines, line = data[line_end:end], data[:line_end]
        fields = self._known_fields.get(lines)
        if fields is None:
            fields = self._learn(lines)
        if line[:5] == b"GET /" and line[-9:] == b" HTTP/1.1":
            method, target, minor = "GET", line[4:-9], 1
        else:
            asked = read_line(line)
            if asked is None:
                self._turn_away(connection, 505 if is_other_version(line) else 400)
                return
            method, target, minor = asked
        if fields is None:
            self._turn_away(connection, 400)
            return
        if fields.hosts != 1 and (minor or fields.hosts):
            self._turn_away(connection, 400)
            return
        found = None
        if (method == "GET" or method == "HEAD") and not fields.odd and not fields.length_bytes:
            found = self._find(target)
        if found is None:
            if read_line(line) is None:
                self._turn_away(connection, 400)
            else:
                self._give_away(connection, data)
            return
        connection.rest = data[end + 4 :]
        connection.keep = keep = fields.stays[minor] and not self.draining
        if self._journal is not None:
            connection.request, connection.agent = line.decode("latin-1"), fields.agent
        resource, viewing = found
        ending = _CLOSE if not keep else _KEEP if minor else _KEEP_10
        status, before, after, pieces, asked_bytes = resource.answer(method, fields, ending, self._accel)
        if ending is _KEEP and method == "GET" and fields.usual:
            again = repeated(status, before, after, pieces)
            if again is not None:
                self.lookup.repeat(resource, fields.first_last, again)
        connection.viewing = viewing
        if viewing and not pieces:  # nothing is sent, or somebody in front sends it
            self._seen(viewing, asked_bytes, self._now_s)
        self._send(connection, status, before + self._date + after, pieces)

    def _find(self, target: bytes) -> tuple[Found, int] | None:
        try:
            return self.lookup.find(target, self._now_s)
        except Exception:  # whatever it is: aiohttp asks again, and tells
            return None

    def _learn(self, lines: bytes) -> RequestFields | None:
        fields = read_fields(lines)
        if fields is not None and len(lines) <= FIELDS_KNOWN_MAX_BYTES:
            if len(self._known_fields) >= FIELDS_KNOWN_MAX_COUNT:
                self._known_fields.clear()
                self._usual_fields.clear()
            self._known_fields[lines] = fields
            if fields.usual:
                self._usual_fields[lines[2:] + b"\r\n\r\n"] = fields
        return fields

    def _partial(self, connection: Connection, data: bytes, fresh: bool) -> None:
        """Wait for the rest of a head, unless it will never be one."""
        stripped = data
        while stripped.startswith(b"\r\n"):  # allowed before a request line (RFC 9112 §2.2)
            stripped = stripped[2:]
        if len(stripped) > HEAD_MAX_BYTES:
            self._turn_away(connection, 431 if b"\r\n" in stripped[:HEAD_MAX_BYTES] else 414)
        elif stripped and (not 65 <= stripped[0] <= 90 or b"\n\n" in stripped or b"\n\r\n" in stripped[:-3]):
            self._give_away(connection, data)
        else:
            if fresh:
                connection.since_s = self._now_s
            connection.rest = data
            if connection.unread:
                self._put(connection)

    def _give_away(self, connection: Connection, data: bytes) -> None:
        """Let aiohttp have the connection and what was read from it."""
        self._set.unregister(connection.fd)
        del self._connections[connection.fd]
        connection.state = CLOSED
        connection.release()
        self._row[Count.HANDED_OVER] += 1
        self._hand_over(connection.sock, data, connection.peer)

    def _turn_away(self, connection: Connection, status: int) -> None:
        """Say in a few words why there is no answer, and close."""
        body = REFUSALS[status].encode()
        fields = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        if status == 503:
            fields.append(("Retry-After", str(RETRY_AFTER_S)))
        is_head = (connection.rest or self._asked).lstrip(b"\r\n").startswith(b"HEAD ")
        connection.rest = b""
        connection.keep = False
        head = status_line(status) + self._date + field_lines(fields) + _CLOSE
        self._send(connection, status, head, () if is_head else (body,))  # RFC 9110 §9.3.2
