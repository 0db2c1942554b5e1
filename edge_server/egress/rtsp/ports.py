"""Pairs of UDP ports for RTP and RTCP (RFC 3550 §11: even, and the next odd one)."""

from __future__ import annotations

import socket
from typing import NamedTuple

_TRIES_MAX_COUNT = 64


class Ports(NamedTuple):
    """Non-blocking sockets of one session."""

    data: socket.socket
    control: socket.socket | None
    """None when the peer named one port only."""
    numbers: tuple[int, int]
    ears: tuple[socket.socket, ...] = ()
    """On the same ports, of data and control: they hear whoever is not the peer's announced port."""

    def close(self) -> None:
        """Give all back."""
        for each in (self.data, self.control, *self.ears):
            if each is not None:
                each.close()


def open_pair(local: str, peer: str, client_port: tuple[int, int], *, listens: bool = False) -> Ports:
    """Open sockets connected to the peer's ports; ``listens`` opens ears, too.

    Raises:
        OSError: no free pair, or the peer cannot be reached from here.
    """
    family = socket.AF_INET6 if ":" in local else socket.AF_INET
    for _ in range(_TRIES_MAX_COUNT):
        data = _bound(family, local, 0)
        port = data.getsockname()[1]
        if port % 2:
            data.close()
            continue
        ports = Ports(data, None, (port, port))
        try:
            data.connect((peer, client_port[0]))
            if client_port[0] != client_port[1]:
                ports = Ports(data, _bound(family, local, port + 1), (port, port + 1))
                assert ports.control is not None
                ports.control.connect((peer, client_port[1]))
            return ports._replace(ears=_ears(family, local, ports)) if listens else ports
        except OSError as error:
            ports.close()
            if ports.control is not None or port + 1 > 65535 or error.errno is None:
                raise
    raise OSError(f"no free pair of UDP ports after {_TRIES_MAX_COUNT} tries")


def _ears(family: socket.AddressFamily, local: str, ports: Ports) -> tuple[socket.socket, ...]:
    """Bind each port a second time. The kernel gives a datagram to the connected socket when it is from that peer."""
    found: list[socket.socket] = []
    try:
        for each in (ports.data, ports.control):
            if each is None:
                continue
            # Only while the second is bound: otherwise other sessions could be given the same port.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.append(_bound(family, local, each.getsockname()[1], shared=True))
            for both in (each, found[-1]):
                both.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError:
        for each in found:
            each.close()
        raise
    return tuple(found)


def _bound(family: socket.AddressFamily, local: str, port: int, *, shared: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((local, port))
    except OSError:
        sock.close()
        raise
    return sock
