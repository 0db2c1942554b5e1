"""Addresses of groups: ``igmp://group:port``, ``rtp://``, ``udp://@``; behind them what is known of FCC and FEC."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from stb_emulator.observe import PlayError, Stage

SCHEMES = ("igmp", "rtp", "udp")


@dataclass(frozen=True, slots=True)
class Channel:
    """One group and its helpers."""

    group: str
    port: int
    fec_port: int | None = None
    """Parity comes to the group at this port; None: nothing is known of one."""
    fcc: tuple[str, int] | None = None
    """Server of fast channel change."""


def parse_channel(url: str) -> Channel:
    """Read an address; ``?fec=PORT`` and ``?fcc=HOST:PORT`` may follow.

    Raises:
        PlayError: at stage setup, when it is no IPv4 multicast address with a port.
    """
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        group, port = ipaddress.IPv4Address(parts.hostname or ""), parts.port or 0
        fec = int(query["fec"][0]) if "fec" in query else None
        fcc = _server(query["fcc"][0]) if "fcc" in query else None
    except ValueError as error:
        raise PlayError(Stage.SETUP, "组播地址有误", f"bad address {url[:80]!r}: {error}") from error
    if parts.scheme not in SCHEMES or not group.is_multicast or not port:
        raise PlayError(Stage.SETUP, "不是组播地址", f"no group and port in {url[:80]!r}")
    return Channel(str(group), port, fec, fcc)


def _server(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return str(ipaddress.IPv4Address(host)), int(port)
