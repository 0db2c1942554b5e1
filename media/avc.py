"""What an MP4 says about its H.264: parameter sets and the framing of samples (ISO/IEC 14496-15 §5.3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from media import Unmuxable


@dataclass(frozen=True, slots=True)
class AvcConfig:
    """An ``avcC`` record."""

    length_bytes: int
    """Bytes of the length in front of each NAL unit of a sample."""
    profile_level_id: str
    """Six hexadecimal digits, lower case (RFC 6184 §8.1)."""
    parameter_sets: tuple[bytes, ...]
    """Sequence parameter sets, then picture parameter sets."""


def read_avcc(record: bytes) -> AvcConfig:
    """Read an ``avcC`` record.

    Raises:
        Unmuxable: it is cut, of another version, or without parameter sets.
    """
    if len(record) < 7 or record[0] != 1:
        raise Unmuxable("the H.264 track has no avcC record of version 1: transcode it")
    sets: list[bytes] = []
    at = 5
    for mask in (0x1F, 0xFF):
        if at >= len(record):
            raise Unmuxable("the avcC record is cut: transcode it")
        count = record[at] & mask
        at += 1
        for _ in range(count):
            length = int.from_bytes(record[at : at + 2], "big")
            sets.append(record[at + 2 : at + 2 + length])
            at += 2 + length
            if length == 0 or at > len(record):
                raise Unmuxable("the avcC record is cut: transcode it")
    if not any(each[0] & 31 == 7 for each in sets):
        raise Unmuxable("the avcC record holds no sequence parameter set: transcode it")
    return AvcConfig((record[4] & 3) + 1, record[1:4].hex(), tuple(sets))


def nal_units(sample: bytes, length_bytes: int) -> list[bytes]:
    """Cut a sample into its NAL units.

    Raises:
        Unmuxable: the lengths do not add up.
    """
    units: list[bytes] = []
    at, end = 0, len(sample)
    while at < end:
        start = at + length_bytes
        at = start + int.from_bytes(sample[at:start], "big")
        if start > end or at > end:
            raise Unmuxable("the lengths inside an H.264 sample do not add up: the file is damaged")
        units.append(sample[start:at])
    return units
