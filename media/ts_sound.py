"""Sound frames of an MP4 as a transport stream carries them: AAC in ADTS or LATM, MPEG audio as it is."""

from __future__ import annotations

from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from media import Unmuxable
from wire.mpegts import STREAM_AAC_ADTS, STREAM_AAC_LATM, STREAM_MPEG1_AUDIO, STREAM_MPEG2_AUDIO

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Piece = bytes | memoryview
AacForm = Literal["adts", "latm"]

ADTS_HEAD_BYTES: Final = 7
ADTS_FRAME_MAX_BYTES: Final = 8191
"""aac_frame_length has 13 bits (ISO/IEC 13818-7 §6.2.1); audioMuxLengthBytes as well (14496-3 §1.7.2)."""
LATM_HEAD_BYTES: Final = 8
LATM_REST_BITS: Final = 5
"""Sync word, length and configuration before a frame are 8 bytes and 5 bits: the frame lies across whole bytes."""
_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
_MPEG1_RATE_MIN_HZ, _MPEG2_RATE_MIN_HZ = 32_000, 16_000


class SoundForm(Protocol):
    """How the frames of one track are written."""

    stream_type: int

    def sizes(self, sizes: Ints) -> Ints:
        """Return how long the frames become; raises `Unmuxable` when one is too long."""
        ...

    def frames(self, data: memoryview, offsets: Ints, sizes: Ints) -> list[Piece]:
        """Return the frames in order; one frame may be several pieces, the same number for all."""
        ...


def aac(config: bytes, form: AacForm, name: str) -> SoundForm:
    """Choose the writer for an AudioSpecificConfig (14496-3 §1.6.2.1); raises `Unmuxable` for what it cannot say."""
    if len(config) < 2:
        raise Unmuxable(f"{name}: no AAC configuration in the MP4; transcode it")
    bits = int.from_bytes(config[:8].ljust(8, b"\0"), "big")
    kind, rate, channels = bits >> 59, bits >> 55 & 15, bits >> 51 & 15
    if kind in (5, 29) and rate != 15:
        extension = bits >> 47 & 15
        kind = bits >> 42 & 31 if extension != 15 else 0
    if not 1 <= kind <= 4 or rate > 12 or not 1 <= channels <= 7:
        raise Unmuxable(
            f"{name}: AAC of object type {kind}, {channels} channels does not fit {form.upper()}; transcode it"
        )
    return _Adts(kind, rate, channels, name) if form == "adts" else _Latm(kind, rate, channels, name)


def mpeg_audio(sample_rate_hz: int, name: str) -> SoundForm:
    """Choose the stream type for MPEG audio; raises `Unmuxable` for rates that ISO/IEC 13818-3 does not have."""
    if sample_rate_hz >= _MPEG1_RATE_MIN_HZ:
        return _Bare(STREAM_MPEG1_AUDIO, name)
    if sample_rate_hz >= _MPEG2_RATE_MIN_HZ:
        return _Bare(STREAM_MPEG2_AUDIO, name)
    raise Unmuxable(f"{name}: MPEG audio of {sample_rate_hz} Hz has no place in a transport stream; transcode it")


def _checked(whole: Ints, name: str, form: str) -> Ints:
    if len(whole) and whole.max() > ADTS_FRAME_MAX_BYTES:
        raise Unmuxable(f"{name}: an AAC frame of {whole.max()} bytes does not fit {form}; transcode it")
    return whole


class _Adts:
    """A head of 7 bytes before each frame (ISO/IEC 13818-7 §6.2)."""

    stream_type = STREAM_AAC_ADTS

    def __init__(self, kind: int, rate: int, channels: int, name: str) -> None:
        self._name = name
        self._fixed = 0xFFF1 << 40 | (kind - 1) << 38 | rate << 34 | channels << 30 | 0x7FF << 2

    def sizes(self, sizes: Ints) -> Ints:
        return _checked(sizes + ADTS_HEAD_BYTES, self._name, "ADTS")

    def frames(self, data: memoryview, offsets: Ints, sizes: Ints) -> list[Piece]:
        values = self._fixed | (sizes + ADTS_HEAD_BYTES) << 13
        heads = (values[:, None] >> np.arange(48, -8, -8) & 0xFF).astype(np.uint8).tobytes()
        pieces: list[Piece] = [b""] * (2 * len(sizes))
        pieces[0::2] = [heads[at : at + ADTS_HEAD_BYTES] for at in range(0, len(heads), ADTS_HEAD_BYTES)]
        pieces[1::2] = [data[a:b] for a, b in zip(offsets.tolist(), (offsets + sizes).tolist(), strict=True)]
        return pieces


class _Latm:
    """AudioSyncStream of AudioMuxElements, each with its StreamMuxConfig (14496-3 §1.7.2, §1.7.3)."""

    stream_type = STREAM_AAC_LATM

    def __init__(self, kind: int, rate: int, channels: int, name: str) -> None:
        self._name = name
        # useSameStreamMux 0, audioMuxVersion 0, allStreamsSameTimeFraming 1, numSubFrames, numProgram, numLayer 0
        bits = 1 << 13
        bits = bits << 16 | kind << 11 | rate << 7 | channels << 3  # AudioSpecificConfig, 1024 samples a frame
        bits = bits << 13 | 0xFF << 2  # frameLengthType 0, latmBufferFullness 255, no other data, no CRC
        self._head, self._rest = bits >> 5, bits & 31

    def sizes(self, sizes: Ints) -> Ints:
        return _checked(LATM_HEAD_BYTES + 1 + sizes // 255 + 1 + sizes, self._name, "LATM")

    def frames(self, data: memoryview, offsets: Ints, sizes: Ints) -> list[Piece]:
        whole = self.sizes(sizes)
        rest, raw = bytes([self._rest]), []
        for begin, size in zip(offsets.tolist(), sizes.tolist(), strict=True):
            raw += [rest, b"\xff" * (size // 255), bytes([size % 255]), data[begin : begin + size]]
        raw.append(b"\0")
        bits = np.frombuffer(b"".join(raw), dtype=np.uint8)
        follows = bits[1:] >> LATM_REST_BITS
        ends = np.cumsum(whole - LATM_HEAD_BYTES)
        follows[ends - 1] = 0  # a frame ends with bits of nothing, not with the next one's
        moved = (bits[:-1] << (8 - LATM_REST_BITS) | follows).tobytes()
        values = 0x2B7 << 13 | (whole - 3)
        heads = (values[:, None] >> np.array([16, 8, 0]) & 0xFF).astype(np.uint8).tobytes()
        config = self._head.to_bytes(5, "big")
        pieces: list[Piece] = [config] * (3 * len(sizes))
        pieces[0::3] = [heads[at : at + 3] for at in range(0, len(heads), 3)]
        begins = (ends - whole + LATM_HEAD_BYTES).tolist()
        pieces[2::3] = [moved[a:b] for a, b in zip(begins, ends.tolist(), strict=True)]
        return pieces


class _Bare:
    """MPEG audio frames, which say themselves what they are (ISO/IEC 11172-3 §2.4.1)."""

    def __init__(self, stream_type: int, name: str) -> None:
        self.stream_type, self._name = stream_type, name

    def sizes(self, sizes: Ints) -> Ints:
        return sizes

    def frames(self, data: memoryview, offsets: Ints, sizes: Ints) -> list[Piece]:
        pieces: list[Piece] = [data[a:b] for a, b in zip(offsets.tolist(), (offsets + sizes).tolist(), strict=True)]
        if any(len(each) < 4 or each[0] != 0xFF or each[1] < 0xE0 for each in pieces):
            raise Unmuxable(f"{self._name}: the sound is not MPEG audio as the MP4 says; transcode it")
        return pieces
