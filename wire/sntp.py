"""Packets of the Network Time Protocol, as far as a simple client and server need them (RFC 5905 §7.3, §14)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

PACKET_BYTES: Final = 48
"""Without extensions and authentication."""
CLIENT, SERVER = 3, 4
UNSYNCHRONISED = 3
"""Leap indicator of a clock that nobody should follow."""
_PACKET = struct.Struct(">BBbbII4sQQQQ")
_EPOCH = datetime(1900, 1, 1, tzinfo=UTC)
_ERA = 1 << 32
_VERSIONS = (1, 2, 3, 4)


class SntpError(ValueError):
    """The datagram is no packet of NTP."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet; times are the 64 bits of the wire, seconds and fraction since 1900, modulo 2³² seconds."""

    leap: int
    version: int
    mode: int
    stratum: int
    """0 says nothing; then ``reference_id`` tells why."""
    poll: int
    """Exponent of seconds between requests."""
    precision: int
    """Exponent of seconds."""
    root_delay: int = 0
    root_dispersion: int = 0
    """Both in seconds with 16 bits of fraction."""
    reference_id: bytes = b"\0\0\0\0"
    reference: int = 0
    origin: int = 0
    """Of an answer: what the client had written as ``transmit``."""
    receive: int = 0
    transmit: int = 0

    def write(self) -> bytes:
        """Write the 48 bytes.

        Raises:
            struct.error: a field is beyond its width.
        """
        first = self.leap << 6 | self.version << 3 | self.mode
        rest = (self.stratum, self.poll, self.precision, self.root_delay, self.root_dispersion, self.reference_id)
        return _PACKET.pack(first, *rest, self.reference, self.origin, self.receive, self.transmit)


def parse(data: bytes) -> Packet:
    """Read a packet; what follows the 48 bytes is not looked at.

    Raises:
        SntpError: too short, or of no version that there is.
    """
    if len(data) < PACKET_BYTES:
        raise SntpError(f"{len(data)} bytes; a packet has {PACKET_BYTES}")
    first, *rest = _PACKET.unpack_from(data)
    version = first >> 3 & 7
    if version not in _VERSIONS:
        raise SntpError(f"version {version}; there are 1 to 4")
    return Packet(first >> 6, version, first & 7, *rest)


def write_moment(moment: datetime) -> int:
    """Return a moment as 64 bits."""
    whole, rest = divmod(moment - _EPOCH, timedelta(seconds=1))
    return (whole % _ERA) << 32 | int(rest.microseconds * _ERA / 1_000_000)


def read_moment(bits: int, near: datetime) -> datetime:
    """Return the moment that 64 bits mean nearest to ``near``: the seconds overflow every 136 years (RFC 5905 §6)."""
    seconds = (bits >> 32) + (bits & 0xFFFFFFFF) / _ERA
    about = (near - _EPOCH).total_seconds()
    era = round((about - seconds) / _ERA)
    return _EPOCH + timedelta(seconds=seconds + era * _ERA)
