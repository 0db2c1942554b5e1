"""Sound of a source as AAC for boxes and as Opus for browsers: the one thing that is made anew. Blocks.

What is AAC or Opus already passes as it is, and is made anew only as the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
import av.error

from edge_server.live import TICKS_PER_S, Kind, Sample
from edge_server.live.records import write_record

HZ = 48_000
AAC_BPS, OPUS_BPS = 96_000, 64_000
AAC_SAMPLES, OPUS_SAMPLES = 1024, 960
AGAIN_TICKS = 9000
"""Sound whose time is so far from where its samples would have it (0.1 s) begins anew."""
TAKEN = ("aac", "opus")
_AAC_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


def adts_head(config: tuple[int, int, int], length: int) -> bytes:
    """Write the head of an ADTS frame (ISO/IEC 14496-3 §1.A.2.2): (object type, index of the rate, channels)."""
    kind, rate, channels = config
    whole = length + 7
    value = 0xFFF1 << 40 | (kind - 1) << 38 | rate << 34 | channels << 30 | whole << 13 | 0x7FF << 2
    return value.to_bytes(7, "big")


def read_config(extradata: bytes) -> tuple[int, int, int] | None:
    """Read an AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1); None when ADTS cannot say the same."""
    if len(extradata) < 2:
        return None
    bits = int.from_bytes(extradata[:2], "big")
    kind, rate, channels = bits >> 11, bits >> 7 & 15, bits >> 3 & 15
    return (kind, rate, channels) if 1 <= kind <= 4 and rate < len(_AAC_HZ) and 1 <= channels <= 7 else None


class Encoder:
    """Makes packets of one kind of decoded sound."""

    def __init__(self, kind: Kind, write: Callable[[bytes], None]) -> None:
        """Begin."""
        self._kind, self._write = kind, write
        self._samples = AAC_SAMPLES if kind is Kind.AAC else OPUS_SAMPLES
        encoder: Any = av.CodecContext.create("aac" if kind is Kind.AAC else "libopus", "w")
        encoder.sample_rate, encoder.layout = HZ, "stereo"
        encoder.format = "fltp" if kind is Kind.AAC else "flt"
        encoder.bit_rate, encoder.time_base = (AAC_BPS if kind is Kind.AAC else OPUS_BPS), Fraction(1, HZ)
        if kind is Kind.OPUS:
            encoder.options = {"frame_duration": "20", "application": "audio"}
        self._encoder = encoder
        self._resampler = av.AudioResampler(format=encoder.format.name, layout="stereo", rate=HZ)
        self._fifo = av.AudioFifo()
        self._anchor: int | None = None
        self._taken = 0

    def take(self, frame: av.AudioFrame, pts: int) -> None:
        """Encode a frame that is heard then."""
        expected = None if self._anchor is None else self._anchor + self._taken * TICKS_PER_S // HZ
        if expected is None or abs(pts - expected) > AGAIN_TICKS:
            # The encoder's own clock goes on; only what it means is another.
            self._anchor = pts - self._taken * TICKS_PER_S // HZ
        for each in self._resampler.resample(frame):
            each.pts = self._taken
            each.time_base = Fraction(1, HZ)
            self._taken += each.samples
            self._fifo.write(each)
        while (block := self._fifo.read(self._samples)) is not None:
            self._put(self._encoder.encode(block))

    def _put(self, packets: list[Any]) -> None:
        for packet in packets:
            data, at = bytes(packet), (self._anchor or 0) + (packet.pts or 0) * TICKS_PER_S // HZ
            if self._kind is Kind.AAC:
                data = adts_head((2, 3, 2), len(data)) + data
            self._write(write_record(Sample(self._kind, at, at, data)))


class Sound:
    """One source's sound."""

    def __init__(self, name: str, decoder: Any, extradata: bytes, write: Callable[[bytes], None]) -> None:
        """Begin.

        Args:
            name: ``aac`` or ``opus``.
            decoder: opened for it, a ``CodecContext``.
            extradata: of the stream.
            write: takes records.
        """
        self._write, self._decoder = write, decoder
        self._own = Kind.AAC if name == "aac" else Kind.OPUS
        self._config = read_config(extradata) if name == "aac" else None
        kinds = (Kind.AAC, Kind.OPUS) if self._own is Kind.AAC and not self._as_it_is(b"\xff\xf1") else ()
        self._encoders = [Encoder(each, write) for each in kinds]
        if not kinds:
            self._encoders = [Encoder(Kind.OPUS if self._own is Kind.AAC else Kind.AAC, write)]
        self.broken = 0

    def take(self, packet: Any, pts: int) -> None:
        """Pass a packet on, and what it becomes."""
        data = bytes(packet)
        if self._own not in (each._kind for each in self._encoders):
            for part in self._whole(data):
                self._write(write_record(Sample(self._own, pts, pts, part)))
        try:
            frames = self._decoder.decode(packet)
        except av.error.FFmpegError:
            self.broken += 1
            return
        for frame in frames:
            frame.pts = None
            for each in self._encoders:
                each.take(frame, pts)

    def _as_it_is(self, data: bytes) -> bool:
        return self._config is not None or data[:2] in (b"\xff\xf1", b"\xff\xf9")

    def _whole(self, data: bytes) -> Iterator[bytes]:
        if self._own is Kind.OPUS or data[:2] in (b"\xff\xf1", b"\xff\xf9"):
            yield data
        elif self._config is not None:
            yield adts_head(self._config, len(data)) + data
