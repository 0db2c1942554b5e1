"""The box's pair of UDP ports."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from stb_emulator.observe import PlayError, Stage

UDP_BUFFER_BYTES = 4 * 1024 * 1024
TRIES = 64

Take = Callable[[bytes, int, bool], None]
"""Takes a datagram: its bytes, the port that it came from, and whether it came to the control port."""


class _Datagrams(asyncio.DatagramProtocol):
    """One of the two."""

    def __init__(self, take: Take, *, control: bool) -> None:
        self._take, self._control = take, control

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        self._take(data, addr[1], self._control)

    def error_received(self, exc: Exception) -> None:
        """An ICMP answer to our report: the server's control port is shut, which harms nobody."""


async def open_pair(host: str, take: Take) -> tuple[asyncio.DatagramTransport, asyncio.DatagramTransport]:
    """Open an even port and the odd one above it (RFC 3550 §11): data and control.

    Raises:
        PlayError: there is none free.
    """
    loop = asyncio.get_running_loop()
    for _ in range(TRIES):
        first, second = _pair(host)
        if first is None or second is None:
            continue
        data, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(take, control=False), sock=first)
        control, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(take, control=True), sock=second)
        return data, control
    raise PlayError(Stage.SETUP, "没有空闲的 UDP 端口", "no pair of free UDP ports on this machine")


def _pair(host: str) -> tuple[socket.socket | None, socket.socket | None]:
    """Bind a UDP socket to a free even port and another to the next; (None, None) when luck fails."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    first = socket.socket(family, socket.SOCK_DGRAM)
    first.bind((host, 0))
    port = first.getsockname()[1]
    if port % 2 == 0:
        second = socket.socket(family, socket.SOCK_DGRAM)
        try:
            second.bind((host, port + 1))
        except OSError:
            second.close()
        else:
            first.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)
            return first, second
    first.close()
    return None, None
