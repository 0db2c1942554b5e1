"""Writing boxes (ISO/IEC 14496-12 §4.2), and the initialization segment of a fragmented MP4 (§8.8, 23009-1 §6.3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack
from typing import Final

from media import Unmuxable
from media.mp4.codecs import avc, hevc
from media.mp4.model import UPRIGHT, Mp4Track
from media.payload.boxes import BoxBudget

_VISUAL_BOXES: Final = (b"avcC", b"hvcC", b"pasp", b"colr", b"clap", b"btrt", b"mdcv", b"clli")
"""What may stand in a sample description; QuickTime puts more into it, which ISO players do not expect."""
_RECORDS: Final = {"opus": b"dOps", "flac": b"dfLa", "alac": b"alac", "ac3": b"dac3", "eac3": b"dec3"}
_LETTERS: Final = {"opus": b"Opus", "flac": b"fLaC", "alac": b"alac", "ac3": b"ac-3", "eac3": b"ec-3"}
MOVIE_HZ: Final = 1000
MPEG1_AUDIO_MIN_HZ: Final = 32000


def box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box."""
    return pack(">I4s", 8 + sum(map(len, parts)), kind) + b"".join(parts)


def full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    """Return a box with version and flags."""
    return box(kind, pack(">I", version << 24 | flags), *parts)


def codecs_of(track: Mp4Track) -> str:
    """Return the ``codecs`` (RFC 6381) of a track as it is written by `init_segment`."""
    match track.codec:
        case "h264":
            return avc(b"avc3" if track.sample_entry[4:8] == b"avc3" else b"avc1", track.config)
        case "h265":
            return hevc(b"hev1" if track.sample_entry[4:8] == b"hev1" else b"hvc1", track.config)
        case "mp2" | "mp3":
            return f"mp4a.{_object_type(track):02X}"
    return track.codecs


def init_segment(tracks: Sequence[Mp4Track]) -> bytes:
    """Return ``ftyp`` and ``moov`` without samples; tracks are numbered from 1 in the order given.

    Raises:
        Unmuxable: a codec that has no place in a fragmented MP4, or whose configuration is missing.
    """
    brands = b"iso6mp41" if len(tracks) > 1 else b"iso6cmfcmp41"
    rate = pack(">IIIH10x", MOVIE_HZ, 0, 0x10000, 0x100)
    mvhd = full(b"mvhd", 0, 0, bytes(8), rate, UPRIGHT, bytes(24), pack(">I", len(tracks) + 1))
    traks = b"".join(_trak(number, track) for number, track in enumerate(tracks, 1))
    trex = b"".join(full(b"trex", 0, 0, pack(">5I", number, 1, 0, 0, 0)) for number in range(1, len(tracks) + 1))
    moov = box(b"moov", mvhd, traks, box(b"mvex", trex))
    return box(b"ftyp", b"iso6", bytes(4), brands) + moov


def _trak(number: int, track: Mp4Track) -> bytes:
    video = track.kind == "video"
    size = pack(">II", min(track.display_width, 0xFFFF) << 16, min(track.display_height, 0xFFFF) << 16)
    volume = pack(">hhHH", 0, 0, 0 if video else 0x100, 0)
    tkhd = full(b"tkhd", 0, 7, bytes(8), pack(">III8x", number, 0, 0), volume, track.matrix, size)
    mdhd = full(b"mdhd", 0, 0, bytes(8), pack(">IIHH", track.timescale, 0, 0x55C4, 0))
    hdlr = full(b"hdlr", 0, 0, bytes(4), b"vide" if video else b"soun", bytes(13))
    media = full(b"vmhd", 0, 1, bytes(8)) if video else full(b"smhd", 0, 0, bytes(4))
    dinf = box(b"dinf", full(b"dref", 0, 0, pack(">I", 1), full(b"url ", 0, 1)))
    entry = _visual_entry(track) if video else _sound_entry(track)
    stsd = full(b"stsd", 0, 0, pack(">I", 1), entry)
    nothing = (full(kind, 0, 0, bytes(4)) for kind in (b"stts", b"stsc"))
    stbl = box(b"stbl", stsd, *nothing, full(b"stsz", 0, 0, bytes(8)), full(b"stco", 0, 0, bytes(4)))
    return box(b"trak", tkhd, box(b"mdia", mdhd, hdlr, box(b"minf", media, dinf, stbl)))


def _visual_entry(track: Mp4Track) -> bytes:
    letters = codecs_of(track)[:4].encode()
    if not letters or not track.config:
        raise Unmuxable(f"video of codec {track.codec} cannot be sent as fragmented MP4; transcode it")
    entry = memoryview(track.sample_entry)
    budget = BoxBudget(1 << 10)
    kept = (each for each in budget.walk(entry, 8 + 78, len(entry)) if each.kind in _VISUAL_BOXES)
    boxes = b"".join(bytes(entry[each.start : each.stop]) for each in kept)
    fields = pack(">6xH16xHHIIIH32xHh", 1, track.width, track.height, 0x480000, 0x480000, 0, 1, 24, -1)
    return box(letters, fields, boxes)


def _sound_entry(track: Mp4Track) -> bytes:
    rate = track.sample_rate_hz
    fields = pack(">6xH8xHHHHI", 1, track.channels, 16, 0, 0, rate << 16 if rate < 1 << 16 else 0)
    if track.codec in _LETTERS:
        if not track.config:
            raise Unmuxable(f"sound of codec {track.codec} without its configuration; transcode it")
        return box(_LETTERS[track.codec], fields, box(_RECORDS[track.codec], track.config))
    if track.codec not in ("aac", "mp2", "mp3") or (track.codec == "aac" and not track.config):
        raise Unmuxable(f"sound of codec {track.codec} cannot be sent as fragmented MP4; transcode it")
    return box(b"mp4a", fields, full(b"esds", 0, 0, _elementary(track)))


def _elementary(track: Mp4Track) -> bytes:
    """Return the ES_Descriptor (ISO/IEC 14496-1 §7.2.6.5)."""
    specific = _descriptor(5, track.config) if track.config else b""
    decoder = _descriptor(4, pack(">BB3xII", _object_type(track), 0x15, 0, 0) + specific)
    return _descriptor(3, pack(">HB", 1, 0) + decoder + _descriptor(6, b"\x02"))


def _object_type(track: Mp4Track) -> int:
    if track.codec == "aac":
        return 0x40
    return 0x6B if track.sample_rate_hz >= MPEG1_AUDIO_MIN_HZ else 0x69


def _descriptor(tag: int, content: bytes) -> bytes:
    size = len(content)
    return bytes([tag, size >> 21 & 127 | 128, size >> 14 & 127 | 128, size >> 7 & 127 | 128, size & 127]) + content
