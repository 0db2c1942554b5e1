"""The ``codecs`` parameter of RFC 6381 for what lies in an MP4; empty text when the records do not tell."""

from __future__ import annotations

from media.mp4.descriptors import Elementary


def avc(letters: bytes, record: bytes) -> str:
    """Return e.g. ``avc1.4d401e`` (RFC 6381 §3.3): profile, constraints and level of the avcC record."""
    return f"{letters.decode()}.{record[1:4].hex()}" if letters in (b"avc1", b"avc3") and len(record) >= 4 else ""


def hevc(letters: bytes, record: bytes) -> str:
    """Return e.g. ``hvc1.1.6.L93.B0`` (ISO/IEC 14496-15 annex E.3)."""
    if letters not in (b"hvc1", b"hev1") or len(record) < 13:
        return ""
    space = ("", "A", "B", "C")[record[1] >> 6]
    flags = int(f"{int.from_bytes(record[2:6], 'big'):032b}"[::-1], 2)
    tier = "H" if record[1] & 0x20 else "L"
    constraints = record[6:12].rstrip(b"\0")
    parts = [letters.decode(), f"{space}{record[1] & 31}", f"{flags:X}", f"{tier}{record[12]}"]
    return ".".join(parts + [f"{each:X}" for each in constraints])


def vp9(letters: bytes, record: bytes) -> str:
    """Return e.g. ``vp09.00.31.08`` (VP Codec ISO Media File Format Binding)."""
    if len(record) < 7:
        return ""
    return f"{letters.decode()}.{record[4]:02}.{record[5]:02}.{record[6] >> 4:02}"


def av1(record: bytes) -> str:
    """Return e.g. ``av01.0.08M.08`` (AV1 Codec ISO Media File Format Binding §5)."""
    if len(record) < 4:
        return ""
    profile, level, tier = record[1] >> 5, record[1] & 31, "H" if record[2] & 0x80 else "M"
    depth = 8 if not record[2] & 0x40 else 12 if profile == 2 and record[2] & 0x20 else 10
    return f"av01.{profile}.{level:02}{tier}.{depth:02}"


def mp4a(told: Elementary) -> str:
    """Return e.g. ``mp4a.40.2`` (RFC 6381 §3.3)."""
    if told.object_type == 0x40:
        return f"mp4a.40.{told.audio_object}" if told.audio_object else ""
    return f"mp4a.{told.object_type:02X}" if told.object_type else ""
