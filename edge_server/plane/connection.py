"""What the plane remembers of one connection."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from collections import deque

from edge_server.plane.leases import OpenFile

ASKING, SENDING, READING, LEAVING, CLOSED = range(5)
"""What a connection waits for: the rest of a request or the next one; the client to take bytes; the disk; the client to
close, since everything is sent; nothing any more. Plain integers: they are compared for every event."""

FileStep = tuple[OpenFile, int, int]
"""A leased file, first byte, byte after the last."""


class Connection:
    """One client. ``since_s`` is when it last did what its state waits for."""

    __slots__ = (
        "agent",
        "body_bytes",
        "counted",
        "data",
        "fd",
        "file",
        "half_closed",
        "keep",
        "offset",
        "peer",
        "queued",
        "recv",
        "request",
        "rest",
        "send",
        "served",
        "since_s",
        "sock",
        "state",
        "status",
        "steps",
        "stop",
        "unread",
        "unsent_bytes",
        "viewing",
    )

    def __init__(self, sock: socket.socket, peer: str, now_s: float) -> None:
        """``sock`` does not block."""
        self.sock, self.fd, self.peer = sock, sock.fileno(), peer
        self.recv, self.send = sock.recv, sock.send
        self.state: int = ASKING
        self.since_s = now_s
        self.counted = True
        self.rest = b""
        """Bytes that were read and not looked at: the beginning of a head, or requests behind the present one."""
        self.unread = False
        """More may be waiting in the kernel; it will not be told of again."""
        self.half_closed = False
        """The client will say no more; what it asked for it may still want."""
        self.queued = False
        self.keep = True
        self.served = False
        """A request was answered."""
        self.data: bytes | memoryview = b""
        """To send before the file."""
        self.file: OpenFile | None = None
        self.offset = self.stop = 0
        self.steps: deque[bytes | FileStep] | None = None
        """What follows."""
        self.status = 0
        self.body_bytes = 0
        self.viewing = 0
        """Of the ticket that the present request came with."""
        self.request = self.agent = ""
        self.unsent_bytes = -1

    def left_bytes(self) -> int:
        """Return how much of what was sent the client has not confirmed (tcp(7), SIOCOUTQ)."""
        left: int = struct.unpack("i", fcntl.ioctl(self.fd, termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        return left

    def took_some(self) -> bool:
        """Tell whether the client took bytes out of the kernel's buffer since this was last asked."""
        left = self.left_bytes()
        before, self.unsent_bytes = self.unsent_bytes, left
        return 0 <= left < before

    def release(self) -> None:
        """Give back the files that are not sent any more."""
        if self.file is not None:
            self.file.release()
            self.file = None
        for step in self.steps or ():
            if not isinstance(step, bytes):
                step[0].release()
        self.steps = None
        self.data = b""
