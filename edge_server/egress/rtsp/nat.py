"""Boxes behind an address translator: whose datagram may turn a stream, and what is answered. Pure.

Media goes to the address that the RTSP connection comes from, and to no other; a punch may only choose the port there.
"""

from __future__ import annotations

from collections.abc import Collection

from edge_server.egress.rtsp.profiles import Profile
from edge_server.egress.rtsp.session import Session
from edge_server.egress.rtsp.words import Command, Heard, Reply, Turn
from wire.rtp import RtpError, parse_rtcp
from wire.rtsp import Request
from wire.rtsp_punch import RENEW, RESPONSE, HuaweiPunch, ZtePunch, parse_punch, write_huawei

HINTS = ("x-NAT", "x-NAT_Address")
KEEP_ALIVE_MAX_S = 60.0


def expects_punch(request: Request, profile: Profile) -> bool:
    """Tell whether the box says that it may stand behind a translator."""
    return profile.punches or any(name in request.headers for name in HINTS)


def answers(request: Request, session: Session, timeout_s: float) -> list[tuple[str, str]]:
    """Return what a SETUP with ``x-NAT_Address`` is answered (reference/stb_protocols §4.4)."""
    if "x-NAT_Address" not in request.headers:
        return []
    punched = session.link.channels is None
    return [
        ("x-NAT", f"on;ssrc={session.nat_key}" if punched else "off"),
        ("x-KeepAliveInterval", f"{min(timeout_s / 3, KEEP_ALIVE_MAX_S):.0f}"),
    ]


def alive(heard: Heard) -> bool:
    """Tell whether a datagram from the box's own port is a sign of life: RTCP, or anything to the data port."""
    if heard.source is not None:
        return False
    if not heard.control or parse_punch(heard.data) is not None:
        return True
    try:
        return bool(parse_rtcp(heard.data))
    except RtpError:
        return False


def judge(heard: Heard, session: Session, box: str, *, intolerant: Collection[str] = ()) -> list[Command]:
    """Return what a punch brings about; nothing when it is none, or not this session's.

    With D16 among ``intolerant`` only Huawei's kind is one.
    """
    punch = parse_punch(heard.data)
    foreign = heard.source is not None and heard.source[0] != box
    if punch is None or foreign or not _belongs(punch, session):
        return []
    if "D16" in intolerant and isinstance(punch, ZtePunch):
        return []
    done: list[Command] = []
    if heard.source is not None:
        done.append(Turn(session.session_id, heard.control, heard.source))
    if isinstance(punch, HuaweiPunch) and punch.kind == RENEW:
        done.append(Reply(session.session_id, heard.control, write_huawei(RESPONSE, punch.ssrc)))
    return done


def _belongs(punch: ZtePunch | HuaweiPunch, session: Session) -> bool:
    if isinstance(punch, HuaweiPunch):
        return punch.kind != RESPONSE and punch.ssrc == session.nat_key
    return punch.data_port in (session.link.client_port or ())
