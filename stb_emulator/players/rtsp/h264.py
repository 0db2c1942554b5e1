"""H.264 out of RTP: single NAL units, STAP-A and FU-A (RFC 6184 §5.6–5.8), for servers without MPEG-TS."""

from __future__ import annotations

import base64
import binascii

from wire.rtp import RtpPacket

UNIT_MAX_BYTES = 4 * 1024 * 1024
START_CODE = b"\0\0\0\1"
_STAP_A, _FU_A = 24, 28


class Depacketizer:
    """RTP packets in order in, access units (Annex B, 90 kHz time unwrapped) out."""

    def __init__(self, parameter_sets: bytes = b"") -> None:
        """``parameter_sets``: SPS and PPS from the SDP, with start codes."""
        self.damaged = 0
        """Units thrown away: cut off, or of a kind that packetization-mode 1 does not know."""
        self._unit = bytearray(parameter_sets)
        self._fragment: bytearray | None = None
        self._stamp: int | None = None
        self._time = 0

    def feed(self, packet: RtpPacket) -> list[tuple[bytes, int]]:
        """Take a packet; return the access units that it completes."""
        done = []
        if self._stamp is None:
            self._stamp = packet.timestamp
        elif packet.timestamp != self._stamp:
            done += self.flush()
            step = (packet.timestamp - self._stamp) & 0xFFFFFFFF
            self._time += step - (1 << 32) if step & 0x80000000 else step
            self._stamp = packet.timestamp
        self._payload(packet.payload)
        if packet.marker:
            done += self.flush()
        if len(self._unit) > UNIT_MAX_BYTES:
            self._unit.clear()
            self.damaged += 1
        return done

    def flush(self) -> list[tuple[bytes, int]]:
        """Return what is collected, as one access unit."""
        if self._fragment is not None:
            self.damaged += 1
            self._fragment = None
        unit = bytes(self._unit)
        self._unit.clear()
        return [(unit, self._time)] if unit else []

    def _payload(self, payload: bytes) -> None:
        kind = payload[0] & 0x1F if payload else 0
        if 1 <= kind <= 23:
            self._add(payload)
        elif kind == _STAP_A:
            self._aggregate(payload)
        elif kind == _FU_A and len(payload) > 2:
            self._part(payload)
        else:
            self.damaged += 1

    def _add(self, nal: bytes | bytearray) -> None:
        self._unit += START_CODE
        self._unit += nal

    def _aggregate(self, payload: bytes) -> None:
        at = 1
        while at + 2 <= len(payload):
            size = int.from_bytes(payload[at : at + 2], "big")
            if size == 0 or at + 2 + size > len(payload):
                self.damaged += 1
                return
            self._add(payload[at + 2 : at + 2 + size])
            at += 2 + size

    def _part(self, payload: bytes) -> None:
        indicator, header = payload[0], payload[1]
        if header & 0x80:
            self.damaged += self._fragment is not None
            self._fragment = bytearray([(indicator & 0xE0) | (header & 0x1F)])
        if self._fragment is None:
            self.damaged += 1
            return
        self._fragment += payload[2:]
        if header & 0x40:
            self._add(self._fragment)
            self._fragment = None


def parameter_sets(fmtp: str) -> bytes:
    """Read SPS and PPS of ``sprop-parameter-sets`` (RFC 6184 §8.1) as Annex B; empty when there are none."""
    found = b""
    for part in fmtp.partition(" ")[2].split(";"):
        name, _, value = part.strip().partition("=")
        if name.lower() == "sprop-parameter-sets":
            try:
                found = b"".join(START_CODE + base64.b64decode(p) for p in value.split(",") if p)
            except binascii.Error:
                return b""
    return found
