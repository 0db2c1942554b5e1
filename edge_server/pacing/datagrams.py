"""Sends a run of packets from a UDP socket with as few system calls as the kernel allows.

The first way is one `send` that the kernel cuts into datagrams (UDP GSO, Linux 4.18), the second one `sendmmsg` for
many datagrams (Linux 3.0), the last a `send` each.
"""

from __future__ import annotations

import ctypes
import errno
import socket
from collections import Counter
from collections.abc import Callable
from enum import Enum
from functools import cache

import numpy as np

SOL_UDP, UDP_SEGMENT = 17, 103
A_SEND_MAX_COUNT = 48
"""Packets a GSO send: 48 of 1328 bytes stay below the 65,507 of one datagram, and below the kernel's 64 segments."""
_VECTOR_MAX_COUNT = 64
_VECTOR = np.dtype([("base", "u8"), ("length", "u8")])
_MESSAGE = np.dtype({"names": ["vectors", "count"], "formats": ["u8", "u8"], "offsets": [16, 24], "itemsize": 64})
"""What we fill of ``struct iovec`` and ``struct mmsghdr``, both of 64-bit systems."""


class Way(Enum):
    """How a run is handed to the kernel."""

    SEGMENTS = "gso"
    MANY = "sendmmsg"
    EACH = "send"


@cache
def best_way() -> Way:
    """Tell the best way that this system has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(SOL_UDP, UDP_SEGMENT, 1328)
        except OSError:
            return Way.EACH if _sendmmsg() is None else Way.MANY
    return Way.SEGMENTS


@cache
def _sendmmsg() -> Callable[[int, int, int, int], int] | None:
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    try:
        found = ctypes.CDLL(None, use_errno=True).sendmmsg
    except (OSError, AttributeError):
        return None
    found.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
    found.restype = ctypes.c_int
    call: Callable[[int, int, int, int], int] = found
    return call


class Datagrams:
    """A connected, non-blocking socket; what the kernel does not take at once is lost, as on any line, and counted."""

    __slots__ = ("_at_once_bytes", "_counters", "_send", "_width", "socket", "way")

    def __init__(self, sock: socket.socket, width_bytes: int, counters: Counter[str], way: Way | None = None) -> None:
        """Prepare the socket for runs of packets of this width."""
        self.socket = sock
        self._send = sock.send
        self._width, self._counters = width_bytes, counters
        self.way = best_way() if way is None else way
        self._at_once_bytes = 0
        """Runs of our width up to this size are one send."""
        if self.way is Way.SEGMENTS:
            try:
                sock.setsockopt(SOL_UDP, UDP_SEGMENT, width_bytes)
                self._at_once_bytes = width_bytes * A_SEND_MAX_COUNT
            except OSError:
                self._fall_back()

    def send(self, run: memoryview, width_bytes: int) -> None:
        """Send packets of this width that lie one behind the other; the last may be shorter."""
        size = len(run)
        if size <= self._at_once_bytes and width_bytes == self._width:
            try:
                self._send(run)
            except OSError as error:
                if size > width_bytes and error.errno in (errno.EIO, errno.EINVAL, errno.EMSGSIZE):
                    self._fall_back()  # the way out has no GSO
                    self.send(run, width_bytes)
                else:
                    self._count(error, -(-size // width_bytes))
        elif size <= width_bytes:
            self._one(run)
        elif self.way is Way.SEGMENTS and width_bytes == self._width:
            most = self._at_once_bytes
            for at in range(0, size, most):
                self.send(run[at : at + most], width_bytes)
        elif self.way is Way.MANY:
            self._many(run, width_bytes)
        else:
            for at in range(0, size, width_bytes):
                self._one(run[at : at + width_bytes])

    def _one(self, packet: memoryview | bytes) -> None:
        try:
            self._send(packet)
        except OSError as error:
            self._count(error, 1)

    def _many(self, run: memoryview, width_bytes: int) -> None:
        call = _sendmmsg()
        assert call is not None
        source = np.frombuffer(run, np.uint8)
        size, base, number = len(run), source.ctypes.data, self.socket.fileno()
        at = 0
        while at < size:
            begins = np.arange(at, min(size, at + width_bytes * _VECTOR_MAX_COUNT), width_bytes)
            count = len(begins)
            vectors, messages = np.empty(count, _VECTOR), np.zeros(count, _MESSAGE)
            vectors["base"], vectors["length"] = base + begins, np.minimum(width_bytes, size - begins)
            messages["vectors"] = vectors.ctypes.data + _VECTOR.itemsize * np.arange(count)
            messages["count"] = 1
            sent = call(number, messages.ctypes.data, count, socket.MSG_DONTWAIT)
            if sent < 0:
                self._count(OSError(ctypes.get_errno(), "sendmmsg"), 1)
                sent = 1  # the kernel names the error of the first packet: go on behind it
            at += sent * width_bytes

    def _count(self, error: OSError, packets: int) -> None:
        what = {errno.EAGAIN: "dropped", errno.ENOBUFS: "dropped", errno.ECONNREFUSED: "refused"}
        self._counters[f"datagrams {what.get(error.errno or 0, 'failed')}"] += packets

    def _fall_back(self) -> None:
        self._counters["sockets without segmentation"] += 1
        self.way = Way.EACH if _sendmmsg() is None else Way.MANY
        self._at_once_bytes = 0
        try:
            self.socket.setsockopt(SOL_UDP, UDP_SEGMENT, 0)
        except OSError:
            self._counters["sockets that keep segmentation"] += 1
