"""Programme tables of a transport stream: PAT and PMT sections with CRC-32/MPEG-2 (ISO/IEC 13818-1 §2.4.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SECTION_MAX_BYTES: Final = 1024
"""A PAT or PMT section, header and CRC included (§2.4.4.4, §2.4.4.9: section_length at most 1021)."""


class WireError(ValueError):
    """The bytes cannot be read as MPEG-2 transport stream, not even leniently."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """One way in which the bytes differ from the specification, and yet could be read."""

    code: str
    where: str


def _make_crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 24
        for _ in range(8):
            crc = ((crc << 1) ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
        table.append(crc)
    return tuple(table)


_CRC_TABLE: Final = _make_crc_table()


def crc32_mpeg(data: bytes) -> int:
    """Return the CRC-32/MPEG-2 of the bytes (§2.4.4, annex A): 0 over a section that ends in its own CRC."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = ((crc << 8) & 0xFFFFFFFF) ^ _CRC_TABLE[(crc >> 24) ^ byte]
    return crc


@dataclass(frozen=True, slots=True)
class Pat:
    """Programme association section (§2.4.4.3): programme number -> PMT PID; number 0 is the network PID."""

    transport_stream_id: int
    programmes: tuple[tuple[int, int], ...]
    version: int = 0
    current: bool = True
    deviations: tuple[Deviation, ...] = ()


@dataclass(frozen=True, slots=True)
class Pmt:
    """Programme map section (§2.4.4.8); streams are (stream_type, PID) in the order of the section."""

    programme: int
    pcr_pid: int
    streams: tuple[tuple[int, int], ...]
    version: int = 0
    current: bool = True
    deviations: tuple[Deviation, ...] = ()


def _write_section(table_id: int, number: int, version: int, current: bool, body: bytes) -> bytes:
    length = 5 + len(body) + 4
    if 3 + length > SECTION_MAX_BYTES:
        raise ValueError(f"section of {3 + length} bytes is longer than {SECTION_MAX_BYTES}")
    head = bytes([table_id]) + (0xB000 | length).to_bytes(2, "big") + number.to_bytes(2, "big")
    section = head + bytes([0xC0 | version << 1 | current, 0, 0]) + body
    return section + crc32_mpeg(section).to_bytes(4, "big")


def write_pat(pat: Pat) -> bytes:
    """Write the section, CRC included."""
    body = b"".join(n.to_bytes(2, "big") + (0xE000 | pid).to_bytes(2, "big") for n, pid in pat.programmes)
    return _write_section(0, pat.transport_stream_id, pat.version, pat.current, body)


def write_pmt(pmt: Pmt) -> bytes:
    """Write the section, CRC included; no descriptors."""
    body = (0xE000 | pmt.pcr_pid).to_bytes(2, "big") + b"\xf0\x00"
    body += b"".join(bytes([kind]) + (0xE000 | pid).to_bytes(2, "big") + b"\xf0\x00" for kind, pid in pmt.streams)
    return _write_section(2, pmt.programme, pmt.version, pmt.current, body)


def parse_section(payload: bytes) -> bytes:
    """Cut the first section out of the payload of a unit-start packet (or of several payloads put together).

    Raises:
        WireError: cut, or longer than a PAT or PMT may be.
    """
    if not payload or len(payload) < 1 + payload[0] + 3:
        raise WireError("section cut before its length")
    start = 1 + payload[0]
    length = 3 + (int.from_bytes(payload[start + 1 : start + 3], "big") & 0x0FFF)
    if length > SECTION_MAX_BYTES:
        raise WireError(f"section of {length} bytes is longer than {SECTION_MAX_BYTES}")
    if len(payload) < start + length:
        raise WireError(f"section of {length} bytes is cut at {len(payload) - start}")
    return payload[start : start + length]


def _check_section(section: bytes, table_id: int, least: int) -> list[Deviation]:
    if len(section) < least:
        raise WireError(f"section of {len(section)} bytes is too short for table {table_id}")
    if section[0] != table_id:
        raise WireError(f"table id {table_id} expected, found {section[0]}")
    length = 3 + (int.from_bytes(section[1:3], "big") & 0x0FFF)
    if length != len(section):
        raise WireError(f"section length says {length}, there are {len(section)} bytes")
    if crc32_mpeg(section):
        raise WireError("section CRC is wrong")
    return [] if section[1] & 0x80 else [Deviation("section-syntax-indicator", f"table {table_id}")]


def parse_pat(section: bytes) -> Pat:
    """Read a whole PAT section; raises `WireError` when it is damaged."""
    found = _check_section(section, 0, 12)
    rows = [section[i : i + 4] for i in range(8, len(section) - 4, 4)]
    if (len(section) - 12) % 4:
        raise WireError("PAT loop is not a multiple of four bytes")
    programmes = tuple((int.from_bytes(row[:2], "big"), int.from_bytes(row[2:], "big") & 0x1FFF) for row in rows)
    ts_id = int.from_bytes(section[3:5], "big")
    return Pat(ts_id, programmes, section[5] >> 1 & 31, bool(section[5] & 1), tuple(found))


def parse_pmt(section: bytes) -> Pmt:
    """Read a whole PMT section, descriptors skipped; raises `WireError` when it is damaged."""
    found = _check_section(section, 2, 16)
    position = 12 + (int.from_bytes(section[10:12], "big") & 0x0FFF)
    end, streams = len(section) - 4, []
    while position + 5 <= end:
        streams.append((section[position], int.from_bytes(section[position + 1 : position + 3], "big") & 0x1FFF))
        position += 5 + (int.from_bytes(section[position + 3 : position + 5], "big") & 0x0FFF)
    if position != end:
        raise WireError("PMT descriptors do not end where the section ends")
    return Pmt(
        programme=int.from_bytes(section[3:5], "big"),
        pcr_pid=int.from_bytes(section[8:10], "big") & 0x1FFF,
        streams=tuple(streams),
        version=section[5] >> 1 & 31,
        current=bool(section[5] & 1),
        deviations=tuple(found),
    )
