"""H.264 access units as RTP payloads, no I/O (RFC 6184: single NAL unit §5.6, STAP-A §5.7.1, FU-A §5.8)."""

from __future__ import annotations

from collections.abc import Iterable

PAYLOAD_MAX_BYTES = 1200
"""Of one RTP payload: with headers and SRTP's tag it stays below the 1,280 bytes that every path carries."""

SLICE, IDR, SEI, SPS, PPS, DELIMITER, FILLER = 1, 5, 6, 7, 8, 9, 12
"""NAL unit types (H.264 table 7-1)."""
_STAP_A, _FU_A = 24, 28
_NRI = 0x60
_NOT_CARRIED = frozenset((DELIMITER, FILLER))
"""Delimiters say what the marker bit says; filler says nothing."""
_AGGREGATED = frozenset((SEI, SPS, PPS))


def packetise(units: Iterable[bytes], payload_max_bytes: int = PAYLOAD_MAX_BYTES) -> tuple[bytes, ...]:
    """Make the payloads of one access unit; the marker belongs to the last.

    Small units that are no pictures are put together (STAP-A), everything that fits is sent as it is, and what does
    not is cut into fragments of one size, the last of them shorter: so that one system call can send them all.

    Args:
        units: NAL units in decoding order, without start codes or lengths. Empty ones, delimiters and filler are left
            out.
        payload_max_bytes: bytes of a payload, at least 3.
    """
    payloads: list[bytes] = []
    group: list[bytes] = []
    group_bytes = 1
    for unit in units:
        kind = unit[0] & 31 if unit else FILLER
        if kind in _NOT_CARRIED:
            continue
        if kind in _AGGREGATED and 3 + len(unit) <= payload_max_bytes:
            if group_bytes + 2 + len(unit) > payload_max_bytes:
                payloads.append(_together(group))
                group, group_bytes = [], 1
            group.append(unit)
            group_bytes += 2 + len(unit)
            continue
        if group:
            payloads.append(_together(group))
            group, group_bytes = [], 1
        if len(unit) <= payload_max_bytes:
            payloads.append(unit)
        else:
            payloads += _fragments(unit, payload_max_bytes - 2)
    if group:
        payloads.append(_together(group))
    return tuple(payloads)


def _together(units: list[bytes]) -> bytes:
    if len(units) == 1:
        return units[0]
    importance = max(unit[0] & _NRI for unit in units)
    return bytes((importance | _STAP_A,)) + b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)


def _fragments(unit: bytes, step: int) -> list[bytes]:
    indicator, kind, last = unit[0] & 0xE0 | _FU_A, unit[0] & 31, len(unit) - 1
    found = []
    for at in range(1, len(unit), step):
        begin, end = at == 1, at + step > last
        found.append(bytes((indicator, begin << 7 | end << 6 | kind)) + unit[at : at + step])
    return found
