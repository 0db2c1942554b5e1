"""Sample descriptions: which codec, how it is configured, how large, how loud (ISO/IEC 14496-12 §12.1.3 and §12.2.3).

Also QuickTime's sound descriptions of versions 1 and 2, whose fields are longer and whose boxes may lie in ``wave``.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import unpack_from
from typing import Final

from media.mp4.codecs import av1, avc, hevc, mp4a, vp9
from media.mp4.descriptors import Elementary, read_esds
from media.payload.boxes import Box, BoxBudget, NotMp4

VISUAL_BYTES = 78
"""Fields of a visual sample description in front of its boxes."""
SOUND_BYTES: Final = {0: 28, 1: 44, 2: 64}
"""The same of a sound description, by its version."""

_VIDEO: Final = {
    b"avc1": "h264",
    b"avc3": "h264",
    b"dva1": "h264",
    b"dvav": "h264",
    b"hvc1": "h265",
    b"hev1": "h265",
    b"dvh1": "h265",
    b"dvhe": "h265",
    b"vvc1": "h266",
    b"vvi1": "h266",
    b"vp08": "vp8",
    b"vp09": "vp9",
    b"av01": "av1",
    b"s263": "h263",
    b"h263": "h263",
    b"jpeg": "mjpeg",
    b"mp4v": "mpeg4",
}
_SOUND: Final = {
    b"mp4a": "aac",
    b".mp3": "mp3",
    b"mp3 ": "mp3",
    b"ms\0U": "mp3",
    b".mp2": "mp2",
    b"Opus": "opus",
    b"fLaC": "flac",
    b"alac": "alac",
    b"ac-3": "ac3",
    b"ec-3": "eac3",
    b"samr": "amr_nb",
    b"sawb": "amr_wb",
}
_SOUND_CODECS: Final = {b"Opus": "opus", b"fLaC": "fLaC", b"ac-3": "ac-3", b"ec-3": "ec-3", b"alac": "alac"}
"""RFC 6381 where the four letters say all."""
_CONFIGS: Final = {b"Opus": b"dOps", b"fLaC": b"dfLa", b"alac": b"alac", b"ac-3": b"dac3", b"ec-3": b"dec3"}
_OBJECTS: Final = {
    0x20: "mpeg4",
    0x21: "h264",
    0x40: "aac",
    0x66: "aac",
    0x67: "aac",
    0x68: "aac",
    0x69: "mp3",
    0x6B: "mp3",
    0x6C: "mjpeg",
    0xA5: "ac3",
    0xA6: "eac3",
    **dict.fromkeys(range(0xA9, 0xAD), "dts"),
    0xAD: "opus",
    **dict.fromkeys(range(0x60, 0x66), "mpeg2"),
    0x6A: "mpeg1",
}
"""objectTypeIndication (ISO/IEC 14496-1 §7.2.6.6, and the registration authority's list)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample description; the fields are those of `media.mp4.model.Mp4Track`."""

    codec: str
    codecs: str = ""
    config: bytes = b""
    width: int = 0
    height: int = 0
    pixel_aspect: tuple[int, int] = (1, 1)
    """Width to height of one pixel."""
    aspect_given: bool = False
    sample_rate_hz: int = 0
    channels: int = 0
    frame_bytes: int = 0
    """Of plain PCM: bytes of one sample of all channels; 0 when unknown."""


def read_entry(data: memoryview, box: Box, kind: str, budget: BoxBudget) -> Entry:
    """Read one sample description of a track of that kind.

    Raises:
        NotMp4: it is cut.
    """
    if kind == "video":
        return _visual(data, box, budget)
    if kind == "audio":
        return _sound(data, box, budget)
    return Entry(_letters(box.kind))


def sound_boxes_at(data: memoryview, box: Box) -> int:
    """Return at which byte of a sound description's content its boxes begin.

    Raises:
        NotMp4: it is cut.
    """
    at = SOUND_BYTES.get(_field(data, box, 8, ">H"), 28)
    if box.body + at > box.stop:
        raise NotMp4(f"sample description {box.kind!r} is cut")
    return at


def _visual(data: memoryview, box: Box, budget: BoxBudget) -> Entry:
    if box.body + VISUAL_BYTES > box.stop:
        raise NotMp4(f"sample description {box.kind!r} is cut")
    width, height = _field(data, box, 24, ">H"), _field(data, box, 26, ">H")
    boxes = _boxes(data, budget, box.body + VISUAL_BYTES, box.stop)
    codec = _VIDEO.get(box.kind, _letters(box.kind))
    aspect, given = (1, 1), False
    if (pasp := boxes.get(b"pasp")) is not None and len(pasp) >= 8:
        across, down = unpack_from(">II", pasp)
        if across and down:
            aspect, given = (across, down), True
    codecs, config = "", b""
    match codec:
        case "h264":
            config = boxes.get(b"avcC", b"")
            codecs = avc(box.kind, config)
        case "h265":
            config = boxes.get(b"hvcC", b"")
            codecs = hevc(box.kind, config)
        case "vp9" | "vp8":
            config = boxes.get(b"vpcC", b"")
            codecs = vp9(box.kind, config)
        case "av1":
            config = boxes.get(b"av1C", b"")
            codecs = av1(config)
        case "mpeg4":
            told = read_esds(boxes.get(b"esds", b""))
            config, codec = told.config, _OBJECTS.get(told.object_type, _letters(box.kind))
            codecs = f"mp4v.{told.object_type:x}" if told.object_type else ""
    return Entry(codec, codecs, config, width, height, aspect, given)


def _sound(data: memoryview, box: Box, budget: BoxBudget) -> Entry:
    at = sound_boxes_at(data, box)
    version, channels, bits = (_field(data, box, place, ">H") for place in (8, 16, 18))
    rate, frame_bytes = _field(data, box, 24, ">I") >> 16, channels * bits // 8
    if version == 1:
        frame_bytes = _field(data, box, 36, ">I") or frame_bytes
    if version == 2:
        number = unpack_from(">d", data, box.body + 32)[0]
        rate = int(number) if 0 < number < 1 << 31 else 0
        channels = _field(data, box, 40, ">I")
        frame_bytes = _field(data, box, 56, ">I")
    boxes = _boxes(data, budget, box.body + at, box.stop)
    if b"wave" in boxes:
        inner = memoryview(boxes[b"wave"])
        boxes |= _boxes(inner, budget, 0, len(inner))
    codec, codecs = _SOUND.get(box.kind, _letters(box.kind)), _SOUND_CODECS.get(box.kind, "")
    config = boxes.get(_CONFIGS.get(box.kind, b""), b"")
    told = Elementary()
    if b"esds" in boxes:
        told = read_esds(boxes[b"esds"])
        codec, config = _OBJECTS.get(told.object_type, _letters(box.kind)), told.config
        codecs = mp4a(told)
    if told.sample_rate_hz:
        rate = told.sample_rate_hz
    if told.channels:
        channels = told.channels
    return Entry(
        codec, codecs, config, sample_rate_hz=rate, channels=min(channels, 0xFFFF), frame_bytes=min(frame_bytes, 0xFFFF)
    )


def _boxes(data: memoryview, budget: BoxBudget, start: int, stop: int) -> dict[bytes, bytes]:
    """Return the contents of the boxes there; what is damaged behind the last whole one is left out."""
    found: dict[bytes, bytes] = {}
    try:
        for box in budget.walk(data, start, stop):
            found.setdefault(box.kind, bytes(data[box.body : box.stop]))
    except NotMp4:
        if budget.left < 0:
            raise
    return found


def _field(data: memoryview, box: Box, offset: int, kind: str) -> int:
    at = box.body + offset
    if at + (2 if kind == ">H" else 4) > box.stop:
        raise NotMp4(f"sample description {box.kind!r} is cut")
    number: int = unpack_from(kind, data, at)[0]
    return number


def _letters(kind: bytes) -> str:
    """Return four letters as text that can be shown."""
    return "".join(chr(each) if 32 < each < 127 else f"\\x{each:02x}" for each in kind)
