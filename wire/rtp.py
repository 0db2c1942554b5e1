"""RTP packets and the RTCP packets that a stream needs, no I/O (RFC 3550 §5.1, §6; MP2T payload RFC 2250 §2)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

MP2T_PAYLOAD_TYPE = 33
"""RFC 3551 §6: MPEG-2 transport stream, clock of 90 kHz."""
CLOCK_HZ = 90_000
HEADER_BYTES = 12
NTP_UNIX_OFFSET_S = 2_208_988_800
"""Seconds from 1900 (NTP) to 1970 (Unix)."""

_SENDER_REPORT, _RECEIVER_REPORT, _DESCRIPTION, _GOODBYE = 200, 201, 202, 203
_CNAME = 1
_MISSING_MAX_COUNT = 4096
_FIXED = struct.Struct(">BBHII")
_BLOCK = struct.Struct(">IIIIII")


class RtpError(ValueError):
    """The datagram is no RTP or RTCP packet."""


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One RTP packet; contributing sources and header extensions are skipped when read."""

    payload_type: int
    sequence: int
    """16 bits."""
    timestamp: int
    """32 bits, units of the payload's clock."""
    ssrc: int
    marker: bool = False
    payload: bytes = b""


def parse_rtp(data: bytes) -> RtpPacket:
    """Read one packet.

    Raises:
        RtpError: too short for its own header, wrong version, or impossible padding.
    """
    if len(data) < HEADER_BYTES:
        raise RtpError(f"{len(data)} bytes; an RTP header has {HEADER_BYTES}")
    first, second, sequence, timestamp, ssrc = _FIXED.unpack_from(data)
    if first >> 6 != 2:
        raise RtpError(f"RTP version {first >> 6}")
    begin = HEADER_BYTES + 4 * (first & 0x0F)
    if first & 0x10:
        if len(data) < begin + 4:
            raise RtpError("header extension cut off")
        begin += 4 + 4 * int.from_bytes(data[begin + 2 : begin + 4], "big")
    end = len(data)
    if first & 0x20:
        end -= data[-1]
        if data[-1] == 0 or end < begin:
            raise RtpError(f"padding of {data[-1]} bytes")
    if begin > end:
        raise RtpError("header longer than the packet")
    return RtpPacket(second & 0x7F, sequence, timestamp, ssrc, bool(second & 0x80), data[begin:end])


def write_rtp(packet: RtpPacket) -> bytes:
    """Write one packet without padding, extension or contributing sources."""
    return (
        rtp_header(packet.payload_type, packet.sequence, packet.timestamp, packet.ssrc, packet.marker) + packet.payload
    )


def rtp_header(payload_type: int, sequence: int, timestamp: int, ssrc: int, marker: bool = False) -> bytes:
    """Write the 12 bytes before a payload; sequence and timestamp are taken modulo their width."""
    second = payload_type | (0x80 if marker else 0)
    return _FIXED.pack(0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What a receiver says about one source (RFC 3550 §6.4.1)."""

    ssrc: int
    fraction_lost: int
    """Of 256."""
    cumulative_lost: int
    """24 bits, signed."""
    highest_sequence: int
    """Extended by the number of wraps."""
    jitter: int
    last_sr: int
    delay_since_last_sr: int
    """Units of 1/65536 s."""


@dataclass(frozen=True, slots=True)
class SenderReport:
    """SR: ties RTP time to wall-clock time."""

    ssrc: int
    ntp: int
    """64 bits: seconds since 1900 and their binary fraction."""
    rtp_timestamp: int
    packets: int
    octets: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """RR."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class Description:
    """SDES with one chunk: the canonical name of a source; "" when there was none."""

    ssrc: int
    cname: str


@dataclass(frozen=True, slots=True)
class Goodbye:
    """BYE: the sources have ended."""

    sources: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OtherRtcp:
    """A packet type that we do not read (APP ``PSS0`` of ZTE boxes, feedback)."""

    packet_type: int
    count: int
    """The five bits beside the version: report count, subtype or format."""
    body: bytes


Rtcp = SenderReport | ReceiverReport | Description | Goodbye | OtherRtcp


def parse_rtcp(data: bytes) -> tuple[Rtcp, ...]:
    """Read a compound packet.

    Raises:
        RtpError: wrong version, or a length beyond the datagram.
    """
    found: list[Rtcp] = []
    at = 0
    while at < len(data):
        if len(data) - at < 4:
            raise RtpError("RTCP header cut off")
        first, kind, words = struct.unpack_from(">BBH", data, at)
        if first >> 6 != 2:
            raise RtpError(f"RTCP version {first >> 6}")
        end = at + 4 + 4 * words
        if end > len(data):
            raise RtpError(f"RTCP packet of {4 + 4 * words} bytes in {len(data) - at}")
        body = data[at + 4 : end]
        if first & 0x20:
            if not body or not 0 < body[-1] <= len(body):
                raise RtpError("RTCP padding")
            body = body[: len(body) - body[-1]]
        found.append(_parse_one(kind, first & 0x1F, body))
        at = end
    if not found:
        raise RtpError("empty RTCP packet")
    return tuple(found)


def _parse_one(kind: int, count: int, body: bytes) -> Rtcp:
    try:
        if kind == _SENDER_REPORT:
            ssrc, ntp, stamp, packets, octets = struct.unpack_from(">IQIII", body)
            return SenderReport(ssrc, ntp, stamp, packets, octets, _blocks(body, 24, count))
        if kind == _RECEIVER_REPORT:
            return ReceiverReport(struct.unpack_from(">I", body)[0], _blocks(body, 4, count))
        if kind == _GOODBYE:
            return Goodbye(struct.unpack_from(f">{count}I", body))
    except struct.error as error:
        raise RtpError(f"RTCP type {kind} too short for what it counts") from error
    if kind == _DESCRIPTION and count == 1:
        return _description(body)
    return OtherRtcp(kind, count, body)


def _blocks(body: bytes, begin: int, count: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for index in range(count):
        ssrc, loss, highest, jitter, last, delay = _BLOCK.unpack_from(body, begin + _BLOCK.size * index)
        lost = (loss & 0xFFFFFF) - (0x1000000 if loss & 0x800000 else 0)
        blocks.append(ReportBlock(ssrc, loss >> 24, lost, highest, jitter, last, delay))
    return tuple(blocks)


def _description(body: bytes) -> Description:
    if len(body) < 4:
        raise RtpError("SDES chunk cut off")
    at = 4
    while at < len(body) and body[at] != 0:
        if at + 2 > len(body) or at + 2 + body[at + 1] > len(body):
            raise RtpError("SDES item cut off")
        if body[at] == _CNAME:
            name = body[at + 2 : at + 2 + body[at + 1]].decode("utf-8", "replace")
            return Description(int.from_bytes(body[:4], "big"), name)
        at += 2 + body[at + 1]
    return Description(int.from_bytes(body[:4], "big"), "")


def write_rtcp(packets: Iterable[Rtcp]) -> bytes:
    """Write a compound packet (RFC 3550 §6.1: a report first, then the description).

    Raises:
        ValueError: more than 31 blocks or sources, or a name beyond 255 bytes.
    """
    return b"".join(_write_one(each) for each in packets)


def _write_one(packet: Rtcp) -> bytes:
    match packet:
        case SenderReport():
            head = (packet.ssrc, packet.ntp, packet.rtp_timestamp, packet.packets, packet.octets)
            body = struct.pack(">IQIII", *head) + _write_blocks(packet.reports)
            return _framed(_SENDER_REPORT, len(packet.reports), body)
        case ReceiverReport():
            body = packet.ssrc.to_bytes(4, "big") + _write_blocks(packet.reports)
            return _framed(_RECEIVER_REPORT, len(packet.reports), body)
        case Description():
            name = packet.cname.encode()
            body = packet.ssrc.to_bytes(4, "big") + bytes((_CNAME, len(name))) + name
            return _framed(_DESCRIPTION, 1, body + b"\0" * (4 - len(body) % 4))
        case Goodbye():
            return _framed(_GOODBYE, len(packet.sources), struct.pack(f">{len(packet.sources)}I", *packet.sources))
        case OtherRtcp():
            return _framed(packet.packet_type, packet.count, packet.body)


def _write_blocks(blocks: tuple[ReportBlock, ...]) -> bytes:
    return b"".join(
        _BLOCK.pack(
            each.ssrc,
            each.fraction_lost << 24 | (each.cumulative_lost & 0xFFFFFF),
            each.highest_sequence,
            each.jitter,
            each.last_sr,
            each.delay_since_last_sr,
        )
        for each in blocks
    )


def _framed(kind: int, count: int, body: bytes) -> bytes:
    if count > 31 or len(body) % 4:
        raise ValueError(f"RTCP type {kind}: count {count}, {len(body)} bytes")
    return struct.pack(">BBH", 0x80 | count, kind, len(body) // 4) + body


class SequenceMeter:
    """Counts what a receiver sees of 16-bit sequence numbers: lost, reordered, duplicated; wraps are followed."""

    def __init__(self) -> None:
        """Begin with the first number fed."""
        self.received = 0
        self.lost = 0
        """Numbers skipped and not come since."""
        self.reordered = 0
        """Numbers that came after a later one."""
        self.duplicates = 0
        self._highest: int | None = None
        self._missing: dict[int, None] = {}

    def feed(self, sequence: int) -> None:
        """Take the sequence number of one packet."""
        self.received += 1
        if self._highest is None:
            self._highest = sequence
            return
        ahead = (sequence - self._highest) & 0xFFFF
        if ahead == 0:
            self.duplicates += 1
        elif ahead < 0x8000:
            self._skip(self._highest + 1, self._highest + ahead)
            self._highest += ahead
        elif (late := self._highest + ahead - 0x10000) in self._missing:
            del self._missing[late]
            self.lost -= 1
            self.reordered += 1
        else:
            self.duplicates += 1

    def restart(self) -> None:
        """Expect a new first number (after a seek that the server announced), keeping the counts."""
        self._highest = None
        self._missing.clear()

    def _skip(self, begin: int, end: int) -> None:
        self.lost += end - begin
        self._missing.update(dict.fromkeys(range(max(begin, end - _MISSING_MAX_COUNT), end)))
        while len(self._missing) > _MISSING_MAX_COUNT:
            del self._missing[next(iter(self._missing))]
