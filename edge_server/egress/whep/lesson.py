"""A stored lesson as chunks of frames ready to be sent; a chunk is made once for all viewers. Reads files, blocks."""

from __future__ import annotations

import mmap
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_server.egress.whep.frames import Chunk, Frame, Source, chunk_of
from edge_server.egress.whep.sound import Sound, sound_of
from media import MediaError, Unmuxable
from media.avc import AvcConfig, nal_units, read_avcc
from media.mp4 import Mp4Track, read_mp4
from wire.h264_rtp import PPS, SLICE, SPS, packetise

CHUNK_MAX_S = 4.0
"""A chunk ends before the next keyframe, or after so much."""
CHUNK_MAX_BYTES = 8 << 20
PROBED_MAX_COUNT = 64
"""Pictures out of order that are looked at: encoders refer to some of them from the first seconds, or never."""
_IMPORTANCE = 0x60


class NotInOrder(MediaError):
    """Browsers cannot show the lesson: pictures that others refer to are shown in another order than decoded."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures that are sent: where they lie, in decoding order, which is the order in which they are shown."""

    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    time_s: NDArray[np.float64]
    sync: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What viewers of one rendition share."""

    source: Source
    sha256: str
    config: AvcConfig
    pictures: Pictures
    starts: tuple[int, ...]
    """First picture of each chunk, and the number of pictures."""
    duration_s: float
    sound: Sound | None
    left_out: int
    """Pictures that are not sent: browsers cannot show B-frames by WebRTC, and no other picture needs these."""

    @property
    def chunks(self) -> int:
        """Number of chunks of pictures."""
        return len(self.starts) - 1

    def key(self, number: int) -> Hashable:
        """See lane.Track."""
        return self.sha256, "pictures", number

    def begins_s(self, number: int) -> float:
        """See lane.Track."""
        return float(self.pictures.time_s[self.starts[number]])

    def keyframe_after(self, time_s: float) -> float | None:
        """See lane.Track."""
        later = self.pictures.sync & (self.pictures.time_s > time_s + 1e-6)
        return float(self.pictures.time_s[int(later.argmax())]) if later.any() else None

    def chunk_at(self, time_s: float) -> int:
        """Return the chunk that begins with the last keyframe that is shown at that time or before."""
        firsts = np.array(self.starts[:-1])
        keyed = np.flatnonzero(self.pictures.sync[firsts])
        times = self.pictures.time_s[firsts[keyed]]
        return int(keyed[max(0, int(np.searchsorted(times, time_s + 1e-6, "right")) - 1)])

    def read_chunk(self, number: int) -> Chunk:
        """Read and packetise one chunk.

        Raises:
            OSError: the file cannot be read.
            media.MediaError: it is damaged.
        """
        pictures, frames = self.pictures, []
        for index in range(self.starts[number], self.starts[number + 1]):
            size = int(pictures.sizes[index])
            if size > CHUNK_MAX_BYTES:
                raise Unmuxable(f"{self.source.name}: a picture of {size} bytes; at most {CHUNK_MAX_BYTES}")
            sample = self.source.read(size, int(pictures.offsets[index]))
            if len(sample) != size:
                raise Unmuxable(f"{self.source.name}: a picture lies behind the end of the file")
            payloads = packetise(self._units(sample, keyframe=bool(pictures.sync[index])))
            if payloads:
                frames.append(Frame(float(pictures.time_s[index]), payloads))
        return chunk_of(frames)

    def _units(self, sample: bytes, *, keyframe: bool) -> Sequence[bytes]:
        """Return the NAL units of a picture; a keyframe carries the parameter sets, wherever they were stored."""
        units = nal_units(sample, self.config.length_bytes)
        if not keyframe or {SPS, PPS} <= {unit[0] & 31 for unit in units if unit}:
            return units
        return [*self.config.parameter_sets, *(unit for unit in units if unit and unit[0] & 31 not in (SPS, PPS))]


def open_lesson(file: Path, sha256: str) -> Lesson:
    """Look a rendition through.

    Raises:
        OSError: it cannot be read.
        NotInOrder: it has B-frames that cannot be left out.
        media.MediaError: there is no H.264 in it that could be sent.
    """
    source = Source(file)
    with mmap.mmap(source.descriptor, 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
        index = read_mp4(data)
        track = index.first("video")
        if track is None or track.codec != "h264":
            raise Unmuxable("no H.264 video: transcode it")
        config = read_avcc(track.config)
        shown = track.dts + track.composition + track.shift
        late = shown < np.maximum.accumulate(shown)
        _check_late(data, track, late, config.length_bytes)
    kept = np.flatnonzero(~late)
    pictures = Pictures(track.offsets[kept], track.sizes[kept], shown[kept] / track.timescale, track.sync[kept])
    if not pictures.sync[0]:
        raise Unmuxable("the video does not begin with a keyframe: transcode it")
    sound = sound_of(source, sha256, index.first("audio"))
    left_out = int(late.sum())
    return Lesson(source, sha256, config, pictures, _starts(pictures), index.duration_s, sound, left_out)


def _check_late(data: memoryview, track: Mp4Track, late: NDArray[np.bool_], length_bytes: int) -> None:
    for index in np.flatnonzero(late)[:PROBED_MAX_COUNT]:
        start = int(track.offsets[index])
        sample = bytes(data[start : start + int(track.sizes[index])])
        coded = [unit[0] for unit in nal_units(sample, length_bytes) if unit and SLICE <= unit[0] & 31 <= 5]
        if any(first & _IMPORTANCE for first in coded):
            raise NotInOrder("it has B-frames that other pictures refer to (B-pyramid)")


def _starts(pictures: Pictures) -> tuple[int, ...]:
    starts, begin_s, held_bytes = [0], float(pictures.time_s[0]), 0
    for index in range(1, len(pictures.sizes)):
        held_bytes += int(pictures.sizes[index - 1])
        long = pictures.time_s[index] - begin_s >= CHUNK_MAX_S or held_bytes >= CHUNK_MAX_BYTES
        if pictures.sync[index] or long:
            starts.append(index)
            begin_s, held_bytes = float(pictures.time_s[index]), 0
    return (*starts, len(pictures.sizes))
