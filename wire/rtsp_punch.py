"""The datagrams by which boxes behind an address translator tell the server whence they come (stb_protocols §4.6)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

ZTE_BYTES: Final = 84
HUAWEI_BYTES: Final = 8
RENEW, RESPONSE, KEEPALIVE = 1, 2, 4
_MAGIC = b"ZXV10STB"
_ZTE = struct.Struct(">8s4s4sHH")
_HUAWEI = struct.Struct(">BBHI")


@dataclass(frozen=True, slots=True)
class ZtePunch:
    """84 bytes, to the data port and the control port."""

    session: bytes
    """Four bytes of the session, or ``7fffffff``."""
    address: bytes
    """IPv4 address that the box believes to have."""
    data_port: int
    """The ``client_port`` that it asked for."""
    rtsp_port: int


@dataclass(frozen=True, slots=True)
class HuaweiPunch:
    """8 bytes; the box waits for a RESPONSE with its number."""

    kind: int
    ssrc: int
    """The number that the server gave in ``x-NAT``."""


def parse_punch(data: bytes) -> ZtePunch | HuaweiPunch | None:
    """Read a datagram; None when it is neither."""
    if len(data) == ZTE_BYTES and data.startswith(_MAGIC):
        _, session, address, data_port, rtsp_port = _ZTE.unpack_from(data)
        return ZtePunch(session, address, data_port, rtsp_port)
    if len(data) == HUAWEI_BYTES:
        version, kind, _, ssrc = _HUAWEI.unpack(data)
        if version == 0 and kind in (RENEW, RESPONSE, KEEPALIVE):
            return HuaweiPunch(kind, ssrc)
    return None


def write_huawei(kind: int, ssrc: int) -> bytes:
    """Write the 8 bytes."""
    return _HUAWEI.pack(0, kind, 0, ssrc)
