"""Fast channel change: how a box asks for a burst before it joins a group, no I/O (stb_protocols §4.11, D8).

All but one message are RTCP packets of type 205 (RFC 4585 §6.1) whose media source is the group's IPv4 address. There
are two sets of format numbers, told apart by the port that the server listens at; format 5 asks in one and ends in the
other. Every message is sent three times.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal

Face = Literal["telecom", "huawei"]
PORTS: Final[dict[Face, int]] = {"telecom": 15970, "huawei": 8027}
"""Where servers listen; ZTE and FiberHome speak as Telecom does."""
COPIES: Final = 3
"""How often each message is sent."""
STB_ID_BYTES: Final = 16

_FEEDBACK = 205
_FORMATS: Final[dict[Face, dict[str, int]]] = {
    "telecom": {"request": 2, "response": 3, "join": 4, "end": 5},
    "huawei": {"request": 5, "response": 6, "join": 8, "end": 9},
}
_HEAD_BYTES = 12
_REDIRECTS = 0x20000000
_NAT_BIT = 0x20


class FccError(ValueError):
    """The datagram is no message of fast channel change."""


class Action(IntEnum):
    """What the server does, in words of both sets: 1 join at once, 2 a burst follows, 3 ask elsewhere."""

    JOIN = 1
    BURST = 2
    REDIRECT = 3


@dataclass(frozen=True, slots=True)
class Request:
    """A box asks for a group."""

    group: str
    client_port: int
    """Where signalling is to be answered. Telecom: media too; Huawei: media come to the port below."""
    group_port: int = 0
    """Telecom only."""
    client_ip: str = "0.0.0.0"
    """Huawei only: the address that the box believes to have."""
    stb_id: bytes = b""
    """Telecom only: up to 16 bytes."""
    version: int = 0
    """Telecom only: 0 ZTE, 1 Huawei, 2 Huawei with TLV, 3 FiberHome."""


@dataclass(frozen=True, slots=True)
class Response:
    """The server's answer."""

    group: str
    ok: bool
    action: Action = Action.BURST
    server: str = "0.0.0.0"
    """Another address to take the burst from, or to ask; 0.0.0.0: the same."""
    signal_port: int = 0
    """Telecom only; 0: the same."""
    media_port: int = 0
    """0: the same."""
    burst_bps: int = 0
    after_bps: int = 0
    """Telecom only: rate after the join was announced."""
    valid_s: int = 0
    """Telecom only."""
    first_sequence: int = 0
    """Huawei only: first packet of the burst."""
    session: int = 0
    """Huawei only: number for the punch."""
    punch: bool = False
    """Huawei only: the box is to open its address translator by a Punch to the media port."""


@dataclass(frozen=True, slots=True)
class Join:
    """The server says: join the group now."""

    group: str


@dataclass(frozen=True, slots=True)
class End:
    """The box ends the burst: it has the group, from this sequence number on; None: it gives up."""

    group: str
    first_multicast: int | None


@dataclass(frozen=True, slots=True)
class Punch:
    """Huawei's 8 bytes that open an address translator."""

    session: int


Message = Request | Response | Join | End | Punch


def write(message: Message, face: Face) -> bytes:
    """Write one message.

    Raises:
        FccError: a Punch in Telecom's set, which has none.
    """
    match message:
        case Request():
            body = _telecom_request(message) if face == "telecom" else _huawei_request(message)
            return _framed(face, "request", message.group, body)
        case Response():
            body = _telecom_response(message) if face == "telecom" else _huawei_response(message)
            return _framed(face, "response", message.group, body)
        case Join():
            return _framed(face, "join", message.group, b"")
        case End(group, first):
            good, bad = (0, 1) if face == "telecom" else (1, 2)
            return _framed(face, "end", group, struct.pack(">BxH", bad if first is None else good, first or 0))
        case Punch(session):
            if face != "huawei":
                raise FccError("only Huawei's set has a punch")
            return struct.pack(">HHI", 3, 0, session)


def parse(data: bytes, face: Face) -> Message:
    """Read one message.

    Raises:
        FccError: not RTCP 205, a format that the set does not have, a wrong length, or too short for its fields.
    """
    if face == "huawei" and len(data) == 8 and data[:4] == b"\0\3\0\0":
        return Punch(int.from_bytes(data[4:], "big"))
    if len(data) < _HEAD_BYTES or data[0] >> 6 != 2 or data[1] != _FEEDBACK:
        raise FccError("not an RTCP packet of type 205")
    if 4 * (int.from_bytes(data[2:4], "big") + 1) != len(data):
        raise FccError(f"{len(data)} bytes are not what the header says")
    kinds = {number: kind for kind, number in _FORMATS[face].items()}
    kind = kinds.get(data[0] & 0x1F)
    group = str(ipaddress.IPv4Address(data[8:12]))
    try:
        match kind:
            case "request":
                return _read_telecom_request(group, data) if face == "telecom" else _read_huawei_request(group, data)
            case "response":
                return _read_telecom_response(group, data) if face == "telecom" else _read_huawei_response(group, data)
            case "join":
                return Join(group)
            case "end":
                status, sequence = struct.unpack_from(">BxH", data, _HEAD_BYTES)
                return End(group, sequence if status == (0 if face == "telecom" else 1) else None)
    except (struct.error, ValueError) as error:
        raise FccError(f"{kind}: {error}") from error
    raise FccError(f"format {data[0] & 0x1F} is not of the {face} set")


def _framed(face: Face, kind: str, group: str, body: bytes) -> bytes:
    words = (_HEAD_BYTES + len(body)) // 4 - 1
    return struct.pack(">BBHI4s", 0x80 | _FORMATS[face][kind], _FEEDBACK, words, 0, _packed(group)) + body


def _packed(address: str) -> bytes:
    return ipaddress.IPv4Address(address).packed


def _telecom_request(request: Request) -> bytes:
    stb_id = request.stb_id[:STB_ID_BYTES].ljust(STB_ID_BYTES, b"\0")
    head = (request.version, request.client_port, request.group_port, _packed(request.group))
    return struct.pack(">B3xHH4s", *head) + stb_id


def _read_telecom_request(group: str, data: bytes) -> Request:
    version, port, group_port, again = struct.unpack_from(">B3xHH4s", data, _HEAD_BYTES)
    stb_id = data[24 : 24 + STB_ID_BYTES].rstrip(b"\0")
    named = str(ipaddress.IPv4Address(again)) if any(again) else group
    return Request(named, port, group_port, stb_id=stb_id, version=version)


def _huawei_request(request: Request) -> bytes:
    return struct.pack(">8x4sHHI", _packed(request.client_ip), request.client_port, 0x8000, _REDIRECTS)


def _read_huawei_request(group: str, data: bytes) -> Request:
    address, port = struct.unpack_from(">8x4sH", data, _HEAD_BYTES)
    return Request(group, port, client_ip=str(ipaddress.IPv4Address(address)))


def _telecom_response(response: Response) -> bytes:
    return struct.pack(
        ">BBHHxx4sIII",
        0 if response.ok else 1,
        response.action,
        response.signal_port,
        response.media_port,
        _packed(response.server),
        response.valid_s,
        response.burst_bps,
        response.after_bps,
    )


def _read_telecom_response(group: str, data: bytes) -> Response:
    result, action, signal, media, server, valid, burst, after = struct.unpack_from(">BBHHxx4sIII", data, _HEAD_BYTES)
    return Response(
        group,
        result == 0,
        Action(action or 1),
        server=str(ipaddress.IPv4Address(server)),
        signal_port=signal,
        media_port=media,
        burst_bps=burst,
        after_bps=after,
        valid_s=valid,
    )


def _huawei_response(response: Response) -> bytes:
    return struct.pack(
        ">BxHHxxHxxBxHI4s",
        1 if response.ok else 2,
        response.action,
        response.first_sequence,
        min(response.burst_bps // 1000, 0xFFFF),
        _NAT_BIT if response.punch else 0,
        response.media_port,
        response.session,
        _packed(response.server),
    )


def _read_huawei_response(group: str, data: bytes) -> Response:
    result, action, first, kbps = struct.unpack_from(">BxHHxxH", data, _HEAD_BYTES)
    flags, port, session, server = 0, 0, 0, bytes(4)
    if len(data) >= 36:
        flags, port, session, server = struct.unpack_from(">BxHI4s", data, 24)
    elif action == Action.REDIRECT:
        raise FccError("a redirection without an address")
    return Response(
        group,
        result == 1,
        Action(action),
        server=str(ipaddress.IPv4Address(server)),
        media_port=port,
        burst_bps=kbps * 1000,
        first_sequence=first,
        session=session,
        punch=bool(flags & _NAT_BIT),
    )
