"""What opens the way for UDP: the packets of two makers, the x-NAT headers, and the rules that a banner calls up. Pure.

Source: stb_protocols §4.1 (banners), §4.4 (x-NAT), §4.6 (packets). ZTE's has 84 bytes, Huawei's 8.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final, Literal
from urllib.parse import urlsplit

from stb_emulator.boxes.rtsp import Dialect, PunchKind
from stb_emulator.players.rtsp.commands import Command, Punch
from wire.rtsp import Headers

ZTE_MARK = b"ZXV10STB"
ZTE_BYTES = 84
ZTE_NO_SESSION = 0x7FFFFFFF
ZTE_TIMES = 3
"""A ZTE box says it three times after SETUP."""
HUAWEI_BYTES = 8
HUAWEI_TIMES = 2
RENEW: Final = 1
RESPONSE: Final = 2
KEEP_ALIVE: Final = 4
HuaweiKind = Literal[1, 2, 4]

_BANNERS: tuple[tuple[str, Dialect], ...] = (
    (r"HMS_V", "huawei"),
    (r"\A\s*(?:ZMSS|ZXUSS)|ZXCDN", "zte"),
)


def dialect_of(banner: str, session_name: str) -> Dialect | None:
    """Choose the rules by the server's ``Server:`` and the SDP's ``s=``; None when the box knows neither."""
    if "LIVE555" in session_name.upper():
        return "plain"
    return next((rules for pattern, rules in _BANNERS if re.search(pattern, banner)), None)


def zte_punch(session: str, address: str, data_port: int, rtsp_port: int) -> bytes:
    """Write ZTE's packet: mark, session, own address, own data port and RTSP port, zeros."""
    number = int(session) if re.fullmatch("[0-9]{1,10}", session) else ZTE_NO_SESSION
    number = number if number <= 0xFFFFFFFF else ZTE_NO_SESSION
    own = IPv4Address(address) if ":" not in address else IPv4Address(0)
    head = ZTE_MARK + struct.pack(">I4sHH", number, own.packed, data_port, rtsp_port)
    return head.ljust(ZTE_BYTES, b"\0")


def huawei_punch(kind: HuaweiKind, ssrc: int) -> bytes:
    """Write Huawei's packet: version 0, kind, two reserved bytes, SSRC."""
    return struct.pack(">BBHI", 0, kind, 0, ssrc)


def is_bounced(data: bytes) -> bool:
    """Tell ZTE's own packet, which a server may send back, from media."""
    return data.startswith(ZTE_MARK)


def huawei_answer(data: bytes) -> int | None:
    """Read the SSRC of Huawei's RESPONSE; None when the packet is something else."""
    if len(data) != HUAWEI_BYTES:
        return None
    version, kind, reserved, ssrc = struct.unpack(">BBHI", data)
    return int(ssrc) if (version, kind, reserved) == (0, RESPONSE, 0) else None


def nat_answer(headers: Headers) -> int | None:
    """Read ``x-NAT: on;ssrc=n``; None when the server wants no packet."""
    found = re.fullmatch(r"\s*on\s*;\s*ssrc\s*=\s*(\w+)\s*", headers.get("x-NAT") or "", re.IGNORECASE)
    if found is None or not found[1].isdecimal() or len(found[1]) > 10:
        return None
    ssrc = int(found[1])
    return ssrc if ssrc <= 0xFFFFFFFF else None


@dataclass(frozen=True, slots=True)
class Puncher:
    """The packets of one session, as commands."""

    server_port: tuple[int, int]
    packet: bytes
    ssrc: int | None = None
    """Huawei's: the server answers with the same."""

    def first(self) -> list[Command]:
        """After SETUP."""
        if self.ssrc is not None:
            return [Punch(self.packet, self.server_port[0])] * HUAWEI_TIMES
        return self._both() * ZTE_TIMES

    def again(self) -> list[Command]:
        """Now and then, as long as the lesson plays."""
        if self.ssrc is not None:
            return [Punch(huawei_punch(KEEP_ALIVE, self.ssrc), self.server_port[0])]
        return self._both()

    def towards(self, host: str, port: int) -> list[Command]:
        """To another server, which RTP-Info named."""
        return [Punch(self.packet, port, host=host)] * ZTE_TIMES

    def _both(self) -> list[Command]:
        data, control = self.server_port
        return [Punch(self.packet, data), Punch(self.packet, control, control=True)]


def make_puncher(
    kind: PunchKind, server_port: tuple[int, int], answer: Headers, session: str, own: tuple[str, int, int]
) -> Puncher | None:
    """Prepare the packets of a session; ``own``: address, data port, RTSP port. None: nothing is to be sent."""
    if kind == "zte":
        return Puncher(server_port, zte_punch(session, *own))
    ssrc = nat_answer(answer) if kind == "huawei" else None
    return None if ssrc is None else Puncher(server_port, huawei_punch(RENEW, ssrc), ssrc)


def other_server(rtp_info: str, base: str) -> tuple[str, int] | None:
    """Read the host and port of ``RTP-Info: url=rtsp://host:port…`` when it is another host than the session's."""
    found = re.search(r"\burl\s*=\s*\"?(rtsp://[^;,\"\s]+)", rtp_info, re.IGNORECASE)
    try:
        there, here = urlsplit(found[1] if found else ""), urlsplit(base)
        if there.hostname and there.port and there.hostname != here.hostname:
            return there.hostname, there.port
    except ValueError:
        pass
    return None
