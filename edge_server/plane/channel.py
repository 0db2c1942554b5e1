"""Passes connections between processes, with the bytes that were read from them (SCM_RIGHTS, unix(7))."""

from __future__ import annotations

import os
import socket
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable

from edge_server.plane.limits import REST_MAX_BYTES

MESSAGE_MAX_BYTES = 2 * REST_MAX_BYTES
WAITING_MAX_COUNT = 256
"""Connections that wait for the other process to take them; more are closed."""
READY, DRAIN = b"R", b"D"
_CONNECTION = b"C"

Received = Callable[[socket.socket, bytes, str], None]


def pair() -> tuple[socket.socket, socket.socket]:
    """Make the two ends; messages keep their borders."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Channel:
    """One end."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        sock: socket.socket,
        received: Received,
        told: Callable[[bytes], None],
        lost: Callable[[], None],
    ) -> None:
        """Listen.

        Args:
            loop: the event loop.
            sock: one end of a `pair`.
            received: takes a connection, the bytes read from it, and the peer's address.
            told: takes ``READY`` or ``DRAIN``.
            lost: hears that the other process is gone.
        """
        sock.setblocking(False)
        self._loop, self._sock = loop, sock
        self._received, self._told, self._lost = received, told, lost
        self._waiting: deque[tuple[bytes, socket.socket | None]] = deque()
        loop.add_reader(sock.fileno(), self._readable)

    @property
    def open(self) -> bool:
        """Tell whether the other process may still hear."""
        return self._sock.fileno() >= 0

    def pass_on(self, sock: socket.socket, data: bytes, peer: str) -> bool:
        """Give a connection away; here it is closed in any case. False when the other process cannot have it."""
        name = peer.encode("ascii", "replace")[:255]
        taken = self.open and len(self._waiting) < WAITING_MAX_COUNT and len(data) < MESSAGE_MAX_BYTES - 512
        if taken:
            self._put(_CONNECTION + bytes([len(name)]) + name + data, sock)
        else:
            sock.close()
        return taken

    def tell(self, word: bytes) -> None:
        """Say ``READY`` or ``DRAIN``."""
        if self.open:
            self._put(word, None)

    def close(self) -> None:
        """Hear and say no more."""
        if not self.open:
            return
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        for _, sock in self._waiting:
            if sock is not None:
                sock.close()
        self._waiting.clear()

    def _put(self, message: bytes, sock: socket.socket | None) -> None:
        self._waiting.append((message, sock))
        if len(self._waiting) == 1:
            self._writable()

    def _writable(self) -> None:
        while self._waiting:
            message, sock = self._waiting[0]
            try:
                socket.send_fds(self._sock, [message], [sock.fileno()] if sock is not None else [])
            except BlockingIOError:
                self._loop.add_writer(self._sock.fileno(), self._writable)
                return
            except OSError:  # the other process is gone; its end is heard of by reading
                pass
            self._waiting.popleft()
            if sock is not None:
                sock.close()
        self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        for _ in range(64):
            try:
                message, descriptors, _, _ = socket.recv_fds(self._sock, MESSAGE_MAX_BYTES, 1)
            except BlockingIOError:
                return
            except OSError:
                message, descriptors = b"", []
            if not message:
                self.close()
                self._lost()
                return
            if message[:1] != _CONNECTION or len(descriptors) != 1:
                for descriptor in descriptors:
                    os.close(descriptor)
                self._told(message[:1])
                if not self.open:
                    return
                continue
            sock = socket.socket(fileno=descriptors[0])
            sock.setblocking(False)
            border = 2 + message[1]
            self._received(sock, message[border:], message[2:border].decode("ascii", "replace"))
