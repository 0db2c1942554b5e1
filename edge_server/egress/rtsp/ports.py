"""Pairs of UDP ports for RTP and RTCP (RFC 3550 §11: even, and the next odd one)."""

from __future__ import annotations

import socket

_TRIES_MAX_COUNT = 64


def open_pair(
    local: str, peer: str, client_port: tuple[int, int]
) -> tuple[socket.socket, socket.socket | None, tuple[int, int]]:
    """Open non-blocking sockets connected to the peer's ports; return data, control and our port numbers.

    When the peer named one port only, there is no control socket.

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
        control = None
        try:
            data.connect((peer, client_port[0]))
            if client_port[0] == client_port[1]:
                return data, None, (port, port)
            control = _bound(family, local, port + 1)
            control.connect((peer, client_port[1]))
            return data, control, (port, port + 1)
        except OSError as error:
            data.close()
            if control is not None:
                control.close()
                raise
            if port + 1 > 65535 or error.errno is None:
                raise
    raise OSError(f"no free pair of UDP ports after {_TRIES_MAX_COUNT} tries")


def _bound(family: int, local: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((local, port))
    except OSError:
        sock.close()
        raise
    return sock
