"""Takes connections of a port, as long as there is room for them."""

from __future__ import annotations

import errno
import resource
import socket
from asyncio import AbstractEventLoop
from collections.abc import Sequence

import structlog

from edge_server.plane.counts import Count, Counts, total
from edge_server.plane.limits import ACCEPTS_MAX_COUNT
from edge_server.plane.plane import Plane

log = structlog.get_logger()

BACKLOG_MAX_COUNT = 1024
DESCRIPTORS_RESERVED_COUNT = 256
"""For files, databases, RTSP and the rest of the process."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def listen(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """Open a listening socket; ``::`` takes IPv4 as well.

    Raises:
        OSError: the address is taken or is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.create_server(
        (host, port),
        family=family,
        backlog=BACKLOG_MAX_COUNT,
        reuse_port=reuse_port,
        dualstack_ipv6=host == "::",
    )
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # its connections inherit that
    return sock


def room_for(connections_max_count: int, files_max_count: int) -> int:
    """Ask for as many descriptors as are allowed; return how many connections may be open with them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections_max_count + files_max_count + DESCRIPTORS_RESERVED_COUNT
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections_max_count
    return max(16, soft - files_max_count - DESCRIPTORS_RESERVED_COUNT)


class Listener:
    """Gives connections to the plane."""

    def __init__(self, loop: AbstractEventLoop, sock: socket.socket, plane: Plane, rows: Sequence[Counts]) -> None:
        """``rows`` are the counts of all processes that share the port."""
        self._loop, self._sock, self._plane, self._rows = loop, sock, plane, rows
        self._max_count = plane.limits.connections_max_count
        self._paused = False
        loop.add_reader(sock.fileno(), self._accept)

    def sweep(self) -> None:
        """Listen again after a lack of descriptors; call it about once a second."""
        if self._paused:
            self._paused = False
            self._loop.add_reader(self._sock.fileno(), self._accept)

    def close(self) -> None:
        """Take no more connections."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def _accept(self) -> None:
        plane = self._plane
        for _ in range(ACCEPTS_MAX_COUNT):
            try:
                sock, address = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    log.warning("no descriptor for a connection; waiting for one", error=str(error))
                    self._paused = True
                    self._loop.remove_reader(self._sock.fileno())
                    return
                continue  # the client left before its turn
            sock.setblocking(False)
            plane.counts.row[Count.ACCEPTED] += 1
            if total(self._rows, Count.OPEN) >= self._max_count:
                plane.refuse(sock, address[0])
            else:
                plane.counts.row[Count.OPEN] += 1
                plane.take(sock, address[0])
