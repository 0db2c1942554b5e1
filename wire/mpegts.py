"""MPEG-2 transport stream grammar (ISO/IEC 13818-1 §2.4): packets, adaptation fields, PCR, PES headers, PAT and PMT.

Readers report deviations, writers are strict. The tables lie in `wire.mpegts_psi`, the receiver's counting in
`wire.mpegts_meter`; both are re-exported here. Clocks: ``pts``/``dts`` are 90 kHz ticks modulo 2**33, ``pcr`` is 27 MHz
ticks modulo 2**33 * 300.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from wire.mpegts_meter import NULL_PID, PACKET_BYTES, SYNC_BYTE, ContinuityMeter
from wire.mpegts_psi import (
    Deviation,
    Pat,
    Pmt,
    WireError,
    crc32_mpeg,
    parse_pat,
    parse_pmt,
    parse_section,
    write_pat,
    write_pmt,
)

__all__ = [
    "NULL_PID",
    "PACKET_BYTES",
    "PAT_PID",
    "PCR_HZ",
    "PTS_HZ",
    "STREAM_AAC_ADTS",
    "STREAM_AAC_LATM",
    "STREAM_H264",
    "STREAM_H265",
    "STREAM_MPEG1_AUDIO",
    "STREAM_MPEG2_AUDIO",
    "SYNC_BYTE",
    "ContinuityMeter",
    "Deviation",
    "Packet",
    "Pat",
    "PesHeader",
    "Pmt",
    "WireError",
    "crc32_mpeg",
    "discontinuity_preamble",
    "parse_packet",
    "parse_pat",
    "parse_pes_header",
    "parse_pmt",
    "parse_section",
    "write_adaptation_only",
    "write_packet",
    "write_pat",
    "write_pcr",
    "write_pes_header",
    "write_pmt",
    "write_section_packets",
    "write_stamp",
]

PAT_PID: Final = 0
PTS_HZ: Final = 90_000
PCR_HZ: Final = 27_000_000
STREAM_H264: Final = 0x1B
STREAM_AAC_ADTS: Final = 0x0F
STREAM_AAC_LATM: Final = 0x11
STREAM_H265: Final = 0x24
STREAM_MPEG1_AUDIO: Final = 0x03
STREAM_MPEG2_AUDIO: Final = 0x04
PTS_MODULO: Final = 1 << 33
PCR_MODULO: Final = PTS_MODULO * 300


@dataclass(frozen=True, slots=True)
class Packet:
    """One transport packet, read (§2.4.3.2)."""

    pid: int
    continuity: int
    payload: bytes = b""
    unit_start: bool = False
    transport_error: bool = False
    scrambling: int = 0
    discontinuity: bool = False
    random_access: bool = False
    pcr: int | None = None
    has_adaptation: bool = False
    has_payload: bool = True
    deviations: tuple[Deviation, ...] = ()


def parse_packet(data: bytes) -> Packet:
    """Read one packet of exactly 188 bytes.

    Raises:
        WireError: wrong length, no sync byte, or an adaptation field longer than the packet.
    """
    if len(data) != PACKET_BYTES:
        raise WireError(f"a transport packet has 188 bytes, not {len(data)}")
    if data[0] != SYNC_BYTE:
        raise WireError(f"sync byte 0x47 expected, found 0x{data[0]:02x}")
    found: list[Deviation] = []
    control = data[3] >> 4 & 3
    if control == 0:
        found.append(Deviation("reserved-adaptation-control", "00"))
    start, discontinuity, random_access, pcr = 4, False, False, None
    if control & 2:
        length = data[4]
        if length > 183:
            raise WireError(f"adaptation field of {length} bytes does not fit the packet")
        if length != 183 and control == 2:
            found.append(Deviation("adaptation-length", f"{length} without payload, should be 183"))
        if length == 183 and control == 3:
            found.append(Deviation("adaptation-length", "183 leaves no byte for the payload"))
        if length:
            flags = data[5]
            discontinuity, random_access = bool(flags & 0x80), bool(flags & 0x40)
            if flags & 0x10 and length >= 7:
                pcr = _read_pcr(data[6:12])
            elif flags & 0x10:
                found.append(Deviation("truncated-pcr", f"adaptation field of {length} bytes"))
        start = 5 + length
    return Packet(
        pid=(data[1] & 0x1F) << 8 | data[2],
        continuity=data[3] & 0x0F,
        payload=data[start:] if control & 1 else b"",
        unit_start=bool(data[1] & 0x40),
        transport_error=bool(data[1] & 0x80),
        scrambling=data[3] >> 6,
        discontinuity=discontinuity,
        random_access=random_access,
        pcr=pcr,
        has_adaptation=bool(control & 2),
        has_payload=bool(control & 1),
        deviations=tuple(found),
    )


def _read_pcr(six: bytes) -> int:
    value = int.from_bytes(six, "big")
    return (value >> 15) * 300 + (value & 0x1FF)


def write_pcr(pcr: int) -> bytes:
    """Write the six bytes of a PCR, given in ticks of 27 MHz (§2.4.3.5)."""
    base, extension = divmod(pcr % PCR_MODULO, 300)
    return (base << 15 | 0x3F << 9 | extension).to_bytes(6, "big")


def write_packet(
    pid: int,
    continuity: int,
    payload: bytes,
    *,
    unit_start: bool = False,
    discontinuity: bool = False,
    random_access: bool = False,
    pcr: int | None = None,
) -> bytes:
    """Write one packet; the adaptation field stuffs a short payload, an empty one gives an adaptation-only packet.

    Raises:
        ValueError: a field out of range, or a payload that does not fit.
    """
    if not 0 <= pid <= 0x1FFF or not 0 <= continuity <= 15:
        raise ValueError(f"pid {pid} or continuity counter {continuity} out of range")
    if unit_start and not payload:
        raise ValueError("a packet without payload cannot start a unit")
    flags = 0x80 * discontinuity | 0x40 * random_access | 0x10 * (pcr is not None)
    body = b"" if not flags else bytes([flags]) + (b"" if pcr is None else write_pcr(pcr))
    room = PACKET_BYTES - 4 - len(payload)
    if room < (1 + len(body) if body else 0):
        raise ValueError(f"payload of {len(payload)} bytes does not fit the packet")
    control = (2 if room else 0) | (1 if payload else 0)
    head = bytes([SYNC_BYTE, 0x40 * unit_start | pid >> 8, pid & 0xFF, control << 4 | continuity])
    if not room:
        return head + payload
    field = (body or b"\x00" * (room > 1)).ljust(room - 1, b"\xff")
    return head + bytes([room - 1]) + field + payload


def write_adaptation_only(pid: int, continuity: int, *, pcr: int | None = None, discontinuity: bool = False) -> bytes:
    """Write a packet without payload; ``continuity`` repeats the last payload packet's counter (§2.4.3.3)."""
    return write_packet(pid, continuity, b"", pcr=pcr, discontinuity=discontinuity)


def discontinuity_preamble(
    pids_with_next_cc: Mapping[int, int], *, pcr_pid: int | None = None, pcr: int | None = None
) -> bytes:
    """Packets to send before the first packet after a seek, so that counters and PCR may jump legally (§2.4.3.5).

    One adaptation-only packet a PID with discontinuity_indicator set; its counter is the one *before* the PID's next
    payload packet. With ``pcr_pid`` and ``pcr`` (27 MHz) that PID's packet also carries the new clock.
    """
    return b"".join(
        write_adaptation_only(pid, (cc - 1) & 15, discontinuity=True, pcr=pcr if pid == pcr_pid else None)
        for pid, cc in pids_with_next_cc.items()
    )


# -- PES -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PesHeader:
    """The head of a PES packet (§2.4.3.6)."""

    stream_id: int
    packet_length: int
    """Bytes after the length field; 0 = open, legal for video only."""
    header_bytes: int
    """Where the elementary stream begins."""
    pts: int | None = None
    dts: int | None = None
    aligned: bool = False
    deviations: tuple[Deviation, ...] = ()


def write_stamp(prefix: int, ticks: int) -> bytes:
    """Write the five bytes of a PTS or DTS, given in ticks of 90 kHz, behind a prefix of four bits (§2.4.3.7)."""
    ticks %= PTS_MODULO
    value = (
        prefix << 36
        | (ticks >> 30) << 33
        | 1 << 32
        | (ticks >> 15 & 0x7FFF) << 17
        | 1 << 16
        | (ticks & 0x7FFF) << 1
        | 1
    )
    return value.to_bytes(5, "big")


def _read_stamp(five: bytes, prefix: int, name: str, found: list[Deviation]) -> int:
    value = int.from_bytes(five, "big")
    if value >> 36 != prefix or value & 0x0100010001 != 0x0100010001:
        found.append(Deviation("pes-marker-bits", name))
    return (value >> 33 & 7) << 30 | (value >> 17 & 0x7FFF) << 15 | value >> 1 & 0x7FFF


def write_pes_header(stream_id: int, es_bytes: int, pts: int, dts: int | None = None, *, aligned: bool = True) -> bytes:
    """Write the PES head before ``es_bytes`` of elementary stream; DTS is left out when it equals PTS.

    The length is written whenever it fits 16 bits; else 0, which only video (0xE0–0xEF) may have.
    """
    both = dts is not None and dts != pts
    stamps = write_stamp(3, pts) + write_stamp(1, dts) if both and dts is not None else write_stamp(2, pts)
    length = 3 + len(stamps) + es_bytes
    if length > 0xFFFF:
        if not 0xE0 <= stream_id <= 0xEF:
            raise ValueError(f"only a video PES packet may be open; {length} bytes do not fit its length field")
        length = 0
    flags = bytes([0x80 | 0x04 * aligned, 0xC0 if both else 0x80, len(stamps)])
    return b"\x00\x00\x01" + bytes([stream_id]) + length.to_bytes(2, "big") + flags + stamps


def parse_pes_header(data: bytes) -> PesHeader:
    """Read the head of a PES packet that has the optional header (audio and video do).

    Raises:
        WireError: no start code, or the head is cut.
    """
    if len(data) < 9 or data[:3] != b"\x00\x00\x01":
        raise WireError("no PES start code, or head cut")
    found: list[Deviation] = []
    header_bytes = 9 + data[8]
    if len(data) < header_bytes:
        raise WireError(f"PES head of {header_bytes} bytes is cut at {len(data)}")
    if data[6] >> 6 != 2:
        found.append(Deviation("pes-marker-bits", "no '10' after the length"))
    flags, pts, dts = data[7] >> 6, None, None
    if flags == 1:
        found.append(Deviation("forbidden-pts-dts-flags", "01"))
    if flags & 2 and data[8] >= (10 if flags == 3 else 5):
        pts = _read_stamp(data[9:14], flags, "PTS", found)
        if flags == 3:
            dts = _read_stamp(data[14:19], 1, "DTS", found)
    elif flags & 2:
        found.append(Deviation("truncated-pts", f"header data of {data[8]} bytes"))
    length = int.from_bytes(data[4:6], "big")
    if length == 0 and not 0xE0 <= data[3] <= 0xEF:
        found.append(Deviation("open-pes", f"stream id 0x{data[3]:02x}"))
    return PesHeader(data[3], length, header_bytes, pts, dts, bool(data[6] & 4), tuple(found))


def write_section_packets(pid: int, section: bytes, continuity: int) -> bytes:
    """Put a section into packets, pointer_field first, 0xFF stuffing last (§2.4.4); first counter given."""
    data = b"\x00" + section
    pieces: Iterable[bytes] = (data[i : i + 184] for i in range(0, len(data), 184))
    return b"".join(
        write_packet(pid, (continuity + i) & 15, piece.ljust(184, b"\xff"), unit_start=i == 0)
        for i, piece in enumerate(pieces)
    )
