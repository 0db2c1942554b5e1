"""The ``esds`` box: a decoder's configuration as MPEG-4 descriptors (ISO/IEC 14496-1 §7.2.6, 14496-14 §5.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_RATES_HZ: Final = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_CHANNELS: Final = (0, 1, 2, 3, 4, 5, 6, 8)
DEPTH_MAX = 3
"""ES_Descriptor, DecoderConfigDescriptor, DecoderSpecificInfo."""


@dataclass(frozen=True, slots=True)
class Elementary:
    """What an ``esds`` box says; zeros where it says nothing."""

    object_type: int = 0
    """objectTypeIndication."""
    config: bytes = b""
    """DecoderSpecificInfo: for AAC the AudioSpecificConfig."""
    audio_object: int = 0
    """AudioObjectType of AAC."""
    sample_rate_hz: int = 0
    channels: int = 0


def read_esds(body: bytes) -> Elementary:
    """Read the content of an ``esds`` box, as far as it can be read."""
    tag, es, _ = _descriptor(body[4:])
    if tag != 3 or len(es) < 3:
        return Elementary()
    flags, at = es[2], 3
    at += 2 * bool(flags & 0x80)
    if flags & 0x40:
        at += 1 + (es[at] if at < len(es) else 0)
    at += 2 * bool(flags & 0x20)
    tag, decoder, _ = _descriptor(es[at:])
    if tag != 4 or len(decoder) < 13:
        return Elementary()
    tag, config, _ = _descriptor(decoder[13:])
    if tag != 5:
        config = b""
    if decoder[0] not in (0x40, 0x66, 0x67, 0x68):
        return Elementary(decoder[0], config)
    return Elementary(decoder[0], config, *_audio_config(config))


def _descriptor(data: bytes) -> tuple[int, bytes, int]:
    """Return tag, content and length in all of the descriptor that the bytes begin with; (0, b"", 0) when cut."""
    if len(data) < 2:
        return 0, b"", 0
    size, at = 0, 1
    for _ in range(4):
        if at >= len(data):
            return 0, b"", 0
        byte = data[at]
        size, at = size << 7 | byte & 127, at + 1
        if byte < 128:
            break
    return data[0], data[at : at + size], at + size


def _audio_config(config: bytes) -> tuple[int, int, int]:
    """Return AudioObjectType, rate in Hz and channels of an AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1).

    With explicitly signalled SBR the rate is that of the extension, which is what is heard.
    """
    if len(config) < 2:
        return 0, 0, 0
    bits = _Bits(config)
    kind = bits.object_type()
    rate = bits.rate()
    channels = bits.take(4)
    told = kind
    if kind in (5, 29):
        rate = bits.rate() or rate
    return told, rate, _CHANNELS[channels] if channels < len(_CHANNELS) else 0


class _Bits:
    """Takes bits from the front; zeros behind the end."""

    def __init__(self, data: bytes) -> None:
        self._number, self._left = int.from_bytes(data[:16].ljust(16, b"\0"), "big"), 128

    def take(self, count: int) -> int:
        self._left -= count
        return self._number >> self._left & (1 << count) - 1

    def object_type(self) -> int:
        kind = self.take(5)
        return 32 + self.take(6) if kind == 31 else kind

    def rate(self) -> int:
        number = self.take(4)
        if number == 15:
            return self.take(24)
        return _RATES_HZ[number] if number < len(_RATES_HZ) else 0
