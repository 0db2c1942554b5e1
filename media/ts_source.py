"""Read an MP4 of H.264 and AAC as access units on one 90 kHz clock that starts with the lesson.

Edit lists are applied by libavformat; what it marks as "decode, do not show" is dropped where nothing depends on it.
Used by both muxers, so that transport stream and fragmented MP4 agree on what the lesson's second 0 is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from media import Unmuxable
from wire.mpegts import PTS_HZ

START_CODE = b"\x00\x00\x00\x01"
ACCESS_UNIT_DELIMITER = START_CODE + b"\x09\xf0"
"""NAL type 9, primary_pic_type 7: any slice type (ITU-T H.264 §7.3.2.4)."""
NAL_IDR, NAL_SPS, NAL_PPS, NAL_AUD = 5, 7, 8, 9
ADTS_FRAME_MAX_BYTES = 8191
"""aac_frame_length has 13 bits (ISO/IEC 13818-7 §6.2.1)."""


@contextmanager
def opened(source: Path) -> Iterator[InputContainer]:
    """Open for reading; anything libavformat has to say becomes `Unmuxable`."""
    try:
        with av.open(str(source), "r") as container:
            yield container
    except av.error.FFmpegError as error:
        raise Unmuxable(f"{source.name}: cannot be read as a media file ({error.strerror}); transcode it") from error


def find_streams(container: InputContainer, name: str) -> tuple[VideoStream, AudioStream | None]:
    """Return the H.264 video and the AAC audio stream; raises `Unmuxable` for other codecs."""
    video = next((s for s in container.streams.video if s.codec_context and s.codec_context.width), None)
    if video is None or video.codec_context.name != "h264":
        raise Unmuxable(f"{name}: the video must be H.264; transcode it")
    audio = next(iter(container.streams.audio), None)
    if audio is not None and (audio.codec_context is None or audio.codec_context.name != "aac"):
        kind = audio.codec_context.name if audio.codec_context else "unknown"
        raise Unmuxable(f"{name}: the sound is {kind}, it must be AAC; transcode it")
    return video, audio


@dataclass(frozen=True, slots=True)
class Unit:
    """One access unit or audio frame: ticks of 90 kHz from the file's own 0, before the lesson's start is known."""

    pts: int
    dts: int
    duration: int
    data: bytes
    idr: bool = False


class AnnexB:
    """Turns length-prefixed samples (ISO/IEC 14496-15 §5.3.3) into the byte stream format (H.264 annex B).

    Each access unit begins with an access unit delimiter, each IDR has SPS and PPS before it.
    """

    def __init__(self, avcc: bytes, name: str) -> None:
        """Read the avcC record; raises `Unmuxable` when it is cut or missing."""
        self._name = name
        if len(avcc) < 7 or avcc[0] != 1:
            raise Unmuxable(f"{name}: no avcC record in the MP4; remux it with ffmpeg")
        self.length_bytes = (avcc[4] & 3) + 1
        sets: dict[int, list[bytes]] = {NAL_SPS: [], NAL_PPS: []}
        position = 5
        for kind, mask in ((NAL_SPS, 0x1F), (NAL_PPS, 0xFF)):
            if position >= len(avcc):
                raise Unmuxable(f"{name}: the avcC record is cut; remux it with ffmpeg")
            count = avcc[position] & mask
            position += 1
            for _ in range(count):
                size = int.from_bytes(avcc[position : position + 2], "big")
                nal = avcc[position + 2 : position + 2 + size]
                if size == 0 or len(nal) < size:
                    raise Unmuxable(f"{name}: the avcC record is cut; remux it with ffmpeg")
                sets[kind].append(nal)
                position += 2 + size
        self._sps = b"".join(START_CODE + nal for nal in sets[NAL_SPS])
        self._pps = b"".join(START_CODE + nal for nal in sets[NAL_PPS])

    def convert(self, sample: bytes) -> tuple[bytes, bool]:
        """Return the access unit and whether it is an IDR; raises `Unmuxable` when the NAL lengths do not add up."""
        width, position, end = self.length_bytes, 0, len(sample)
        nals: list[bytes] = []
        kinds: set[int] = set()
        while position < end:
            start = position + width
            stop = start + int.from_bytes(sample[position:start], "big")
            if start > end or stop > end:
                raise Unmuxable(f"{self._name}: a NAL unit is longer than its sample; transcode the file")
            if stop > start:
                kind = sample[start] & 31
                kinds.add(kind)
                if kind != NAL_AUD:
                    nals.append(sample[start:stop])
            position = stop
        idr = NAL_IDR in kinds
        head = ACCESS_UNIT_DELIMITER
        if idr and NAL_SPS not in kinds:
            head += self._sps
        if idr and NAL_PPS not in kinds:
            if NAL_SPS in kinds:
                place = max(i for i, nal in enumerate(nals) if nal[0] & 31 == NAL_SPS) + 1
                nals[place:place] = [nal for nal in self._pps.split(START_CODE) if nal]
            else:
                head += self._pps
        return head + START_CODE + START_CODE.join(nals) if nals else head, idr


class Adts:
    """Puts raw AAC frames into ADTS (ISO/IEC 13818-7 §6.2), from the MP4's AudioSpecificConfig (14496-3 §1.6.2.1)."""

    def __init__(self, config: bytes, name: str) -> None:
        """Read the configuration; raises `Unmuxable` for what ADTS cannot say."""
        self._name = name
        if len(config) < 2:
            raise Unmuxable(f"{name}: no AAC configuration in the MP4; transcode it")
        bits = int.from_bytes(config[:8].ljust(8, b"\0"), "big")
        kind, rate, channels = bits >> 59, bits >> 55 & 15, bits >> 51 & 15
        self.object_type = kind
        if kind in (5, 29) and rate != 15:
            extension = bits >> 47 & 15
            kind = bits >> 42 & 31 if extension != 15 else 0
        if not 1 <= kind <= 4 or rate > 12 or not 1 <= channels <= 7:
            raise Unmuxable(f"{name}: AAC of object type {kind}, {channels} channels does not fit ADTS; transcode it")
        self._fixed = 0xFFF1 << 40 | (kind - 1) << 38 | rate << 34 | channels << 30 | 0x7FF << 2

    def convert(self, frame: bytes) -> bytes:
        """Return the frame with its head."""
        length = len(frame) + 7
        if length > ADTS_FRAME_MAX_BYTES:
            raise Unmuxable(f"{self._name}: an AAC frame of {length} bytes does not fit ADTS; transcode it")
        return (self._fixed | length << 13).to_bytes(7, "big") + frame


def _ticks(packet: Packet[Any], name: str) -> tuple[int, int, int]:
    if packet.pts is None or packet.dts is None:
        raise Unmuxable(f"{name}: a sample without time stamp; transcode it")
    scale = Fraction(packet.time_base) * PTS_HZ
    number, below = scale.numerator, scale.denominator
    half = below // 2
    pts, dts = (packet.pts * number + half) // below, (packet.dts * number + half) // below
    return pts, dts, ((packet.duration or 0) * number + half) // below


def video_packets(source: Path) -> Iterator[tuple[Packet[Any], Unit]]:
    """Yield the samples and their access units in decoding order, from the first IDR on."""
    with opened(source) as container:
        video, _ = find_streams(container, source.name)
        annexb = AnnexB(video.codec_context.extradata or b"", source.name)
        last: int | None = None
        held: list[tuple[Packet[Any], Unit]] = []  # "not shown" pictures: kept only when a shown one follows
        for packet in container.demux(video):
            if not packet.size:
                continue
            data, idr = annexb.convert(bytes(packet))
            if last is None and not idr:
                continue
            pts, dts, duration = _ticks(packet, source.name)
            if pts < dts or (last is not None and dts <= last):
                raise Unmuxable(f"{source.name}: decoding times do not increase; transcode it")
            last = dts
            unit = Unit(pts, dts, duration, data, idr)
            if packet.is_discard and len(held) < 1000:
                held.append((packet, unit))
                continue
            yield from held
            held.clear()
            yield packet, unit


def audio_packets(source: Path) -> Iterator[tuple[Packet[Any], Unit]]:
    """Yield the samples and their ADTS frames; what the edit list hides is left out. Nothing when there is no sound."""
    with opened(source) as container:
        _, audio = find_streams(container, source.name)
        if audio is None:
            return
        adts = Adts(audio.codec_context.extradata or b"", source.name)
        last = None
        for packet in container.demux(audio):
            if not packet.size or packet.is_discard:
                continue
            pts, _, duration = _ticks(packet, source.name)
            if last is not None and pts <= last:
                raise Unmuxable(f"{source.name}: the sound's times do not increase; transcode it")
            last = pts
            yield packet, Unit(pts, pts, duration, adts.convert(bytes(packet)))


def read_video(source: Path) -> Iterator[Unit]:
    """Yield the access units in decoding order, from the first IDR on."""
    return (unit for _, unit in video_packets(source))


def read_audio(source: Path) -> Iterator[Unit]:
    """Yield the ADTS frames in order; nothing when there is no sound."""
    return (unit for _, unit in audio_packets(source))


def lesson_start(first_video: int | None, first_audio: int | None) -> int:
    """Return the tick of the file's clock at which the lesson begins: the first thing shown or heard.

    A first frame with a negative time is shown only from 0 on (edit list inside a frame).
    """
    return max(0, min(t for t in (first_video, first_audio) if t is not None))
