"""What a track is: its boxes, kind, and how its samples are written (ISO/IEC 14496-12 §8.3 to §8.5)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from media.payload.boxes import Box, BoxBudget, NotMp4, u32
from media.payload.nal import NalCodec, h264, h265

Kind = Literal["video", "audio", "other"]

TRACKS_MAX = 64
DESCRIPTIONS_MAX = 256
"""Sample descriptions of one track; more than one is rare."""

_KINDS: Final[dict[bytes, Kind]] = {b"vide": "video", b"soun": "audio"}
_ENCRYPTED = frozenset({b"encv", b"enca", b"enct", b"encs", b"encm", b"encu", b"drmi", b"drms"})
_H264 = frozenset({b"avc1", b"avc3", b"dva1", b"dvav"})
_H265 = frozenset({b"hvc1", b"hev1", b"dvh1", b"dvhe"})
_PCM = frozenset(
    {
        b"raw ",
        b"NONE",
        b"twos",
        b"sowt",
        b"in24",
        b"in32",
        b"fl32",
        b"fl64",
        b"lpcm",
        b"ipcm",
        b"fpcm",
        b"alaw",
        b"ulaw",
    }
)
_VISUAL_ENTRY_BYTES = 78
"""Fields of a visual sample description in front of its boxes (§12.1.3.2)."""


@dataclass(frozen=True, eq=False)
class Track:
    """One ``trak``: its boxes, those of its ``stbl``, and what its samples are."""

    boxes: dict[bytes, Box]
    mdia: dict[bytes, Box]
    minf: dict[bytes, Box]
    stbl: dict[bytes, Box]
    entries: tuple[Box, ...]
    """Its sample descriptions."""
    handler: bytes
    """Four letters, such as ``vide``."""
    kind: Kind
    codec: NalCodec | None
    """None: samples are taken whole."""
    pcm: bool


def read_track(data: memoryview, trak: Box, budget: BoxBudget) -> Track:
    """Read one ``trak``.

    Raises:
        NotMp4: boxes are missing or damaged, or the track is encrypted.
    """
    boxes = budget.children(data, trak)
    mdia = budget.children(data, need(boxes, b"mdia"))
    minf = budget.children(data, need(mdia, b"minf"))
    stbl = budget.children(data, need(minf, b"stbl"))
    handler = u32(data, need(mdia, b"hdlr"), 8).to_bytes(4, "big")
    entries = _entries(data, need(stbl, b"stsd"), budget)
    for entry in entries:
        if entry.kind in _ENCRYPTED:
            raise NotMp4(f"a track is encrypted ({entry.kind!r})")
    codec = _codec(data, entries, budget)
    pcm = handler == b"soun" and bool(entries) and all(entry.kind in _PCM for entry in entries)
    return Track(boxes, mdia, minf, stbl, tuple(entries), handler, _KINDS.get(handler, "other"), codec, pcm)


def need(boxes: dict[bytes, Box], kind: bytes) -> Box:
    """Return a box that a track must have.

    Raises:
        NotMp4: it has none.
    """
    box = boxes.get(kind)
    if box is None:
        raise NotMp4(f"a track without box {kind!r}")
    return box


def _entries(data: memoryview, stsd: Box, budget: BoxBudget) -> list[Box]:
    count = u32(data, stsd, 4)
    entries = list(islice(budget.walk(data, stsd.body + 8, stsd.stop), DESCRIPTIONS_MAX))
    if len(entries) < count:
        raise NotMp4(f"{count} sample descriptions are announced, {len(entries)} can be read")
    return entries


def _codec(data: memoryview, entries: list[Box], budget: BoxBudget) -> NalCodec | None:
    """Return how samples are to be read when all descriptions say the same; otherwise they are taken whole."""
    found = {_nal_length(data, entry, budget) for entry in entries}
    if len(found) != 1:
        return None
    match found.pop():
        case ("h264", int(length_bytes)):
            return h264(length_bytes)
        case ("h265", int(length_bytes)):
            return h265(length_bytes)
    return None


def _nal_length(data: memoryview, entry: Box, budget: BoxBudget) -> tuple[str, int] | None:
    if entry.kind not in _H264 | _H265:
        return None
    wanted, name, at = (b"avcC", "h264", 4) if entry.kind in _H264 else (b"hvcC", "h265", 21)
    for box in budget.walk(data, entry.body + _VISUAL_ENTRY_BYTES, entry.stop):
        if box.kind == wanted:
            if box.body + at >= box.stop:
                raise NotMp4(f"box {wanted!r} is cut")
            return name, (data[box.body + at] & 3) + 1
    return None
