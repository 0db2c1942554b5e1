"""RTP payloads as H.264 access units, no I/O (RFC 6184: single NAL unit §5.6, STAP-A §5.7.1, FU-A §5.8).

The other way round from `wire.h264_rtp`. Packets come in order; what is lost is told, and spoils the unit it was in.
"""

from __future__ import annotations

from dataclasses import dataclass

from wire.rtp import RtpPacket

UNIT_MAX_BYTES = 4 << 20
"""Of one access unit; a larger one is spoilt."""
_STAP_A, _FU_A = 24, 28


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One picture."""

    timestamp: int
    """RTP time, 32 bits."""
    units: tuple[bytes, ...]
    """NAL units in order, without start codes."""
    spoilt: bool
    """Something of it, or before it, was lost."""


class Unpacker:
    """Puts access units together."""

    def __init__(self) -> None:
        """Begin anywhere."""
        self._timestamp: int | None = None
        self._units: list[bytes] = []
        self._fragment: bytearray | None = None
        self._bytes = 0
        self._spoilt = False

    def lost(self) -> None:
        """Be told that packets are missing here."""
        self._spoilt, self._fragment = True, None

    def take(self, packet: RtpPacket) -> tuple[AccessUnit, ...]:
        """Take the next packet; returns what it ends: by its marker, or by being of another time."""
        done: list[AccessUnit] = []
        if self._timestamp is not None and packet.timestamp != self._timestamp:
            self._spoilt |= self._fragment is not None
            self._end(done)
        self._timestamp = packet.timestamp
        self._bytes += len(packet.payload)
        if self._bytes > UNIT_MAX_BYTES or not self._add(packet.payload):
            self._spoilt, self._fragment = True, None
        if packet.marker:
            self._end(done)
        return tuple(done)

    def _end(self, done: list[AccessUnit]) -> None:
        if self._units or self._spoilt:
            done.append(AccessUnit(self._timestamp or 0, tuple(self._units), self._spoilt))
        self._units, self._fragment, self._bytes, self._spoilt, self._timestamp = [], None, 0, False, None

    def _add(self, payload: bytes) -> bool:
        """Add what a payload carries; False when it cannot be read."""
        if not payload or self._bytes > UNIT_MAX_BYTES:
            return not payload  # padding of a sender that measures its line
        kind = payload[0] & 31
        if kind == _FU_A:
            return self._add_fragment(payload)
        if self._fragment is not None:
            return False
        if kind == _STAP_A:
            at = 1
            while at + 2 <= len(payload):
                size = int.from_bytes(payload[at : at + 2], "big")
                if not 0 < size <= len(payload) - at - 2:
                    return False
                self._units.append(payload[at + 2 : at + 2 + size])
                at += 2 + size
            return at == len(payload)
        if not 1 <= kind <= 23:
            return False
        self._units.append(payload)
        return True

    def _add_fragment(self, payload: bytes) -> bool:
        if len(payload) < 3:
            return False
        begins, ends = payload[1] & 0x80, payload[1] & 0x40
        if begins:
            if self._fragment is not None:
                return False
            self._fragment = bytearray((payload[0] & 0xE0 | payload[1] & 31,))
        if self._fragment is None:
            return False
        self._fragment += payload[2:]
        if ends:
            self._units.append(bytes(self._fragment))
            self._fragment = None
        return True
