"""What receivers ask for by RTCP, no I/O: packets again (RFC 4585 §6.2.1), a keyframe (§6.3.1; RFC 5104 §4.3.1)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from wire.rtp import Goodbye, OtherRtcp, Rtcp, RtpError, parse_rtcp

_TRANSPORT_FEEDBACK, _PAYLOAD_FEEDBACK = 205, 206
_GENERIC_NACK, _PICTURE_LOSS, _FULL_INTRA, _APPLICATION = 1, 1, 4, 15
NACKED_MAX_COUNT = 1024
"""Sequence numbers taken from one datagram."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """All that one datagram asks for."""

    lost: tuple[tuple[int, int], ...] = ()
    """(SSRC, sequence number)."""
    keyframes: frozenset[int] = frozenset()
    """SSRCs of which a keyframe is wanted."""
    goodbye: bool = False


def read_feedback(data: bytes) -> Feedback:
    """Read a compound or reduced-size packet (RFC 5506); what asks for nothing is skipped.

    Raises:
        wire.rtp.RtpError: it is no RTCP.
    """
    lost: list[tuple[int, int]] = []
    keyframes: set[int] = set()
    packets = parse_rtcp(data)
    for packet in packets:
        _take(packet, lost, keyframes)
    goodbye = any(isinstance(each, Goodbye) for each in packets)
    return Feedback(tuple(lost[:NACKED_MAX_COUNT]), frozenset(keyframes), goodbye)


def _take(packet: Rtcp, lost: list[tuple[int, int]], keyframes: set[int]) -> None:
    if not isinstance(packet, OtherRtcp) or packet.packet_type not in (_TRANSPORT_FEEDBACK, _PAYLOAD_FEEDBACK):
        return
    body = packet.body
    if len(body) < 8:
        raise RtpError("RTCP feedback cut off")
    source = int.from_bytes(body[4:8], "big")
    if packet.packet_type == _TRANSPORT_FEEDBACK and packet.count == _GENERIC_NACK:
        for first, mask in struct.iter_unpack(">HH", body[8 : 8 + (len(body) - 8) // 4 * 4]):
            lost.append((source, first))
            lost += [(source, (first + 1 + bit) & 0xFFFF) for bit in range(16) if mask >> bit & 1]
    elif packet.packet_type == _PAYLOAD_FEEDBACK and packet.count == _PICTURE_LOSS:
        keyframes.add(source)
    elif packet.packet_type == _PAYLOAD_FEEDBACK and packet.count == _FULL_INTRA:
        keyframes |= {int.from_bytes(body[at : at + 4], "big") for at in range(8, len(body) - 7, 8)}


def nack(sender: int, source: int, lost: Sequence[int]) -> Rtcp:
    """Ask for packets again, in ascending order (RFC 4585 §6.2.1)."""
    pairs: list[tuple[int, int]] = []
    for sequence in lost:
        if pairs and 0 < (ahead := sequence - pairs[-1][0] & 0xFFFF) <= 16:
            pairs[-1] = pairs[-1][0], pairs[-1][1] | 1 << ahead - 1
        else:
            pairs.append((sequence, 0))
    body = struct.pack(">II", sender, source) + b"".join(struct.pack(">HH", *each) for each in pairs)
    return OtherRtcp(_TRANSPORT_FEEDBACK, _GENERIC_NACK, body)


def picture_loss(sender: int, source: int) -> Rtcp:
    """Ask for a keyframe (RFC 4585 §6.3.1)."""
    return OtherRtcp(_PAYLOAD_FEEDBACK, _PICTURE_LOSS, struct.pack(">II", sender, source))


def bitrate_max(sender: int, sources: Sequence[int], bps: int) -> Rtcp:
    """Say how much may be sent (draft-alvestrand-rmcat-remb-03 §2.2)."""
    exponent = max(0, bps.bit_length() - 18)
    head = struct.pack(">II4sI", sender, 0, b"REMB", len(sources) << 24 | exponent << 18 | bps >> exponent)
    return OtherRtcp(_PAYLOAD_FEEDBACK, _APPLICATION, head + b"".join(struct.pack(">I", each) for each in sources))
