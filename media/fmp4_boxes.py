"""A strict walk over the top level of a fragmented MP4 (ISO/IEC 14496-12 §4.2), and the few fields we need inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from media import Unmuxable

TOP_BOXES_MAX = 200_000
"""A lesson of ten hours in fragments of one second has 72 000."""
MOOF_MAX_BYTES = 4 * 1024 * 1024
"""A moof of one GOP is some kilobytes."""


@dataclass(frozen=True, slots=True)
class Box:
    """One box: type as four characters, and where it lies; the head is included in both numbers."""

    kind: str
    offset_bytes: int
    length_bytes: int


def walk_file(file: BinaryIO, length_bytes: int) -> Iterator[Box]:
    """Yield the top-level boxes; they must fill the file exactly.

    Raises:
        Unmuxable: a box runs over the end, has an impossible size, or there are too many.
    """
    position = 0
    for _ in range(TOP_BOXES_MAX):
        if position == length_bytes:
            return
        file.seek(position)
        size, kind, least = _head(file.read(16))
        if size < least or position + size > length_bytes:
            raise Unmuxable(f"box {kind!r} at {position} has the impossible length {size}")
        yield Box(kind, position, size)
        position += size
    raise Unmuxable(f"more than {TOP_BOXES_MAX} boxes")


def _head(data: bytes) -> tuple[int, str, int]:
    if len(data) < 8:
        return 0, "", 8
    size, kind, least = int.from_bytes(data[:4], "big"), data[4:8].decode("latin-1"), 8
    if size == 1:
        size, least = int.from_bytes(data[8:16], "big"), 16
    return size, kind, least


def children(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (type, body) of the boxes that fill ``data``; raises `Unmuxable` when they do not."""
    position = 0
    while position < len(data):
        size, kind, least = _head(data[position : position + 16])
        if size < least or position + size > len(data):
            raise Unmuxable(f"box {kind!r} inside another has the impossible length {size}")
        yield kind, data[position + least : position + size]
        position += size


def find(data: bytes, *path: str) -> bytes:
    """Return the body of the first box on that path; raises `Unmuxable` when there is none."""
    for step in path:
        for kind, body in children(data):
            if kind == step:
                data = body
                break
        else:
            raise Unmuxable(f"no box {'/'.join(path)}")
    return data


@dataclass(frozen=True, slots=True)
class TrackRun:
    """What one traf says (§8.8): times in the track's own time scale."""

    track_id: int
    decode_time: int
    composition_offset: int
    """Of the first sample."""
    starts_with_sync: bool
    end: int
    """Presentation time at which the last sample shown ends."""


def read_moof(data: bytes) -> list[TrackRun]:
    """Read the runs of one moof body."""
    return [_read_traf(body) for kind, body in children(data) if kind == "traf"]


def _read_traf(data: bytes) -> TrackRun:
    tfhd, tfdt = find(data, "tfhd"), find(data, "tfdt")
    flags = int.from_bytes(tfhd[1:4], "big")
    position, default_duration, default_flags = 8, 0, 0
    for bit, size in ((0x1, 8), (0x2, 4), (0x8, 4), (0x10, 4), (0x20, 4)):
        if flags & bit:
            value = int.from_bytes(tfhd[position : position + size], "big")
            default_duration = value if bit == 0x8 else default_duration
            default_flags = value if bit == 0x20 else default_flags
            position += size
    decode_time = int.from_bytes(tfdt[4:12] if tfdt[0] == 1 else tfdt[4:8], "big")
    now, end, first_offset, first_flags, first = decode_time, decode_time, 0, default_flags, True
    for kind, trun in children(data):
        if kind != "trun":
            continue
        flags, count = int.from_bytes(trun[1:4], "big"), int.from_bytes(trun[4:8], "big")
        position = 8 + 4 * bool(flags & 1) + 4 * bool(flags & 4)
        fields = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
        if len(trun) < position + 4 * len(fields) * count:
            raise Unmuxable("box 'trun' is cut")
        if first and flags & 4:
            first_flags = int.from_bytes(trun[position - 4 : position], "big")
        for _ in range(count):
            duration, offset = default_duration, 0
            for bit in fields:
                word = trun[position : position + 4]
                position += 4
                if bit == 0x100:
                    duration = int.from_bytes(word, "big")
                elif bit == 0x400 and first and not flags & 4:
                    first_flags = int.from_bytes(word, "big")
                elif bit == 0x800:
                    offset = int.from_bytes(word, "big", signed=trun[0] == 1)
            first_offset = offset if first else first_offset
            end = max(end, now + offset + duration)
            now += duration
            first = False
    synced = not first and not first_flags & 0x10000
    return TrackRun(int.from_bytes(tfhd[4:8], "big"), decode_time, first_offset, synced, end)


def track_scales(moov: bytes) -> dict[int, tuple[str, int]]:
    """Return track id -> (handler such as ``vide``, time scale) of a moov body."""
    found = {}
    for kind, trak in children(moov):
        if kind != "trak":
            continue
        tkhd, mdhd, hdlr = find(trak, "tkhd"), find(trak, "mdia", "mdhd"), find(trak, "mdia", "hdlr")
        track_id = int.from_bytes(tkhd[20:24] if tkhd[0] == 1 else tkhd[12:16], "big")
        scale = int.from_bytes(mdhd[20:24] if mdhd[0] == 1 else mdhd[12:16], "big")
        found[track_id] = (hdlr[8:12].decode("latin-1"), scale)
    return found
