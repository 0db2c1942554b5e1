"""The sound of a lesson as Opus, which is what browsers take: made from AAC once for all viewers, chunk by chunk.

Every chunk is made on its own, so that a viewer may begin anywhere: decoder and encoder are run in before its first
frame, and what they give until then is thrown away.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from edge_server.egress.whep.frames import Chunk, Frame, Source, chunk_of
from media.mp4 import Mp4Track

OPUS_HZ, OPUS_BPS, CHANNELS = 48_000, 64_000, 2
FRAME_S = 0.04
CHUNK_FRAMES = 250
"""10 s: some 80 kB, and seams are rare."""
_RUN_IN_FRAMES = 2
_FRAME_SAMPLES = round(FRAME_S * OPUS_HZ)
_CHUNK_S = CHUNK_FRAMES * FRAME_S
_LOOK_AHEAD_S = 312 / OPUS_HZ
"""What the encoder gives comes so much later out of the decoder (RFC 7845 §4.2 calls it pre-skip)."""
_AAC_RUN_IN_S = 0.1
"""At least one AAC frame before the first that counts, since frames overlap."""


@dataclass(frozen=True, eq=False)
class Sound:
    """An AAC track; see ``lane.Track``."""

    source: Source
    sha256: str
    config: bytes
    """AudioSpecificConfig."""
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    time_s: NDArray[np.float64]
    end_s: float

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return max(0, math.ceil(self.end_s / _CHUNK_S))

    def key(self, number: int) -> Hashable:
        """See lane.Track."""
        return self.sha256, "sound", number

    def begins_s(self, number: int) -> float:
        """See lane.Track."""
        return number * _CHUNK_S - _LOOK_AHEAD_S

    def chunk_at(self, time_s: float) -> int:
        """See lane.Track."""
        return min(max(0, self.chunks - 1), int(max(0.0, time_s) / _CHUNK_S))

    def keyframe_after(self, time_s: float) -> float | None:
        """See lane.Track: decoding can begin at any time."""
        return time_s if time_s < self.end_s else None

    def read_chunk(self, number: int) -> Chunk:
        """Make one chunk; sound that cannot be decoded is silence.

        Raises:
            OSError: the file cannot be read.
        """
        begin_s = number * _CHUNK_S
        count = min(CHUNK_FRAMES, math.ceil((self.end_s - begin_s) / FRAME_S))
        origin_s = begin_s - _RUN_IN_FRAMES * FRAME_S
        samples = self._decoded(origin_s, (_RUN_IN_FRAMES + count) * _FRAME_SAMPLES)
        packets = encoded(samples)[_RUN_IN_FRAMES:]
        times = (begin_s + index * FRAME_S - _LOOK_AHEAD_S for index in range(count))
        return chunk_of([Frame(time_s, (packet,)) for time_s, packet in zip(times, packets, strict=False)])

    def _decoded(self, origin_s: float, count: int) -> NDArray[np.float32]:
        """Return so many stereo samples of 48 kHz from a moment on; rows of two."""
        first = max(0, int(np.searchsorted(self.time_s, origin_s - _AAC_RUN_IN_S)) - 1)
        stop = int(np.searchsorted(self.time_s, origin_s + count / OPUS_HZ))
        found = np.zeros((count, CHANNELS), np.float32)
        if stop <= first:
            return found
        blocks = list(_resampled(self._frames(first, stop)))
        if not blocks:
            return found
        heard = np.concatenate(blocks)
        at = round((float(self.time_s[first]) - origin_s) * OPUS_HZ)
        begin, end = max(0, at), min(count, at + len(heard))
        if end > begin:
            found[begin:end] = heard[begin - at : end - at]
        return found

    def _frames(self, first: int, stop: int) -> Iterator[av.AudioFrame]:
        """Decode; a packet that cannot be decoded is silent for as long as its neighbours last."""
        decoder: Any = av.CodecContext.create("aac", "r")
        decoder.extradata = self.config
        lost, heard = 0, None
        for index in range(first, stop):
            data = self.source.read(int(self.sizes[index]), int(self.offsets[index]))
            try:
                frames = decoder.decode(av.Packet(data))
            except av.error.FFmpegError:
                frames = []
            if not frames:
                lost += 1
            for heard in frames:
                for _ in range(lost):
                    yield _silence(heard)
                lost = 0
                yield heard
        if heard is not None:
            for _ in range(lost):
                yield _silence(heard)


def sound_of(source: Source, sha256: str, track: Mp4Track | None) -> Sound | None:
    """Return the sound of a lesson; None when there is none that can be sent."""
    if track is None or track.codec != "aac" or not track.config:
        return None
    shown = track.dts + track.composition + track.shift
    end_s = float(min(track.shown_until, int(shown[-1] + track.durations[-1]))) / track.timescale
    if end_s <= 0:
        return None
    return Sound(source, sha256, track.config, track.offsets, track.sizes, shown / track.timescale, end_s)


def encoded(samples: NDArray[np.float32]) -> list[bytes]:
    """Encode stereo samples of 48 kHz, whole frames of them; one packet a frame."""
    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = OPUS_HZ, "stereo", "flt"
    encoder.bit_rate, encoder.time_base = OPUS_BPS, Fraction(1, OPUS_HZ)
    encoder.options = {"frame_duration": f"{1000 * FRAME_S:g}", "application": "audio"}
    packets = []
    for at in range(0, len(samples), _FRAME_SAMPLES):
        block = np.ascontiguousarray(samples[at : at + _FRAME_SAMPLES]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = OPUS_HZ, at, Fraction(1, OPUS_HZ)
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return [bytes(packet) for packet in packets]


def _resampled(frames: Iterator[av.AudioFrame]) -> Iterator[NDArray[np.float32]]:
    resampler = av.AudioResampler(format="flt", layout="stereo", rate=OPUS_HZ)
    for frame in (*frames, None):
        if frame is not None:
            frame.pts = None
        for each in resampler.resample(frame):
            yield each.to_ndarray().reshape(-1, CHANNELS).astype(np.float32, copy=False)


def _silence(like: av.AudioFrame) -> av.AudioFrame:
    shape = like.to_ndarray()
    frame = av.AudioFrame.from_ndarray(np.zeros_like(shape), format=like.format.name, layout=like.layout.name)
    frame.sample_rate = like.sample_rate
    return frame
