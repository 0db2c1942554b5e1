"""Index of one transport stream file: where to cut it for HLS, where to seek, and when each byte is due.

Two clocks: *npt* is presentation time, 0 where the lesson begins; *PCR time* is the clock of delivery, 0 at the file's
first PCR. `TsIndex.presentation_delay_s` is the PCR time at which npt 0 is shown.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from media import DamagedIndex
from media.index_file import read_index
from wire.mpegts import PACKET_BYTES, PCR_HZ, PTS_HZ

FORMAT: Final = "rural-media-edge/ts-index"
VERSION: Final = 2
INDEX_MAX_BYTES: Final = 64 * 1024 * 1024
"""A larger index file is refused unread."""


class TsSegment(msgspec.Struct, frozen=True, array_like=True):
    """One HLS segment: a byte range that begins with PAT, PMT and an IDR picture; times are npt."""

    start_s: float
    duration_s: float
    offset_bytes: int
    length_bytes: int


class TsKeyframe(msgspec.Struct, frozen=True, array_like=True):
    """One point to begin at."""

    time_s: float
    """npt of the IDR picture."""
    offset_bytes: int
    """Where the PAT packet before the IDR begins."""
    pcr_s: float
    """PCR time of that packet."""
    pcr_27mhz: int
    """The PCR itself, for `wire.mpegts.discontinuity_preamble`."""
    next_cc: dict[int, int]
    """PID -> continuity counter of its next payload packet from that offset on."""
    length_bytes: int
    """From ``offset_bytes`` to the end of the picture's last packet, with what lies between: enough for trick play."""
    pts_90khz: int
    """When the picture is shown, as the stream says it."""


class TsPacing(msgspec.Struct, frozen=True, dict=True):
    """PCR time over bytes, about ten points a second; kept as little-endian arrays."""

    raw_offset_bytes: bytes
    raw_time_s: bytes

    @cached_property
    def offset_bytes(self) -> NDArray[np.int64]:
        """Bytes sent at the points of `time_s`; the first is 0, the last the length of the file."""
        return np.frombuffer(self.raw_offset_bytes, dtype="<i8")

    @cached_property
    def time_s(self) -> NDArray[np.float64]:
        """PCR time at which the byte at `offset_bytes` is due; 0 for the first, never decreasing."""
        return np.frombuffer(self.raw_time_s, dtype="<f8")


class TsIndex(msgspec.Struct, frozen=True, dict=True, kw_only=True):
    """See the module; made by `media.ts_mux.mux_ts`, never changes."""

    format: str = FORMAT
    version: int = VERSION
    duration_s: float
    length_bytes: int
    presentation_delay_s: float
    pcr_pid: int
    segments: tuple[TsSegment, ...]
    keyframes: tuple[TsKeyframe, ...]
    pacing: TsPacing

    @cached_property
    def _keyframe_times(self) -> list[float]:
        return [each.time_s for each in self.keyframes]

    @cached_property
    def zero_90khz(self) -> int:
        """Return the presentation time inside the stream at which the lesson begins, modulo 2^33."""
        last = self.keyframes[-1]  # the time of the first is 0 even when its picture is shown later
        return (last.pts_90khz - round(last.time_s * PTS_HZ)) % (1 << 33)

    def keyframe_at(self, npt_s: float) -> TsKeyframe:
        """Return the last point to begin at that is not after ``npt_s``; the first one for earlier times."""
        return self.keyframes[max(0, bisect_right(self._keyframe_times, npt_s + 1e-6) - 1)]

    def seek(self, npt_s: float) -> tuple[float, int]:
        """Return (npt in seconds, offset in bytes) where play for ``npt_s`` begins."""
        found = self.keyframe_at(npt_s)
        return found.time_s, found.offset_bytes

    def time_at(self, offset_bytes: int) -> float:
        """Return the PCR time in seconds at which the byte at that offset is due."""
        return float(np.interp(offset_bytes, self.pacing.offset_bytes, self.pacing.time_s))

    def times_at(self, offsets_bytes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the same of many offsets."""
        return np.interp(offsets_bytes, self.pacing.offset_bytes, self.pacing.time_s)

    def npt_at(self, offset_bytes: int) -> float:
        """Return the npt that is on the screen when the byte at that offset leaves; for PAUSE and progress."""
        return min(max(self.time_at(offset_bytes) - self.presentation_delay_s, 0.0), self.duration_s)

    def offset_at(self, pcr_s: float) -> int:
        """Return how many bytes of the file are due at that PCR time; a multiple of 188."""
        due = int(np.interp(pcr_s, self.pacing.time_s, self.pacing.offset_bytes) + 1e-6)
        return due - due % PACKET_BYTES

    def due_bytes(self, elapsed_s: float, since_offset: int = 0) -> int:
        """Return how many bytes after ``since_offset`` are due ``elapsed_s`` seconds after play began there."""
        return max(0, self.offset_at(self.time_at(since_offset) + elapsed_s) - since_offset)

    def pcr_27mhz_at(self, offset_bytes: int) -> int:
        """Return the value of the stream's own clock when the byte at that offset is due."""
        return self.keyframes[0].pcr_27mhz + round((self.time_at(offset_bytes) - self.keyframes[0].pcr_s) * PCR_HZ)

    def save(self, path: Path) -> None:
        """Write the index; making the file appear at once is the caller's business."""
        path.write_bytes(msgspec.msgpack.encode(self))

    @classmethod
    def load(cls, path: Path) -> TsIndex:
        """Read an index.

        Raises:
            DamagedIndex: the file is no index, cut, changed, or of another version.
            OSError: the file cannot be read at all.
        """
        index = read_index(path, cls, form=FORMAT, version=VERSION, max_bytes=INDEX_MAX_BYTES)
        index._check(path.name)
        return index

    def _check(self, name: str) -> None:
        """Refuse values that decode but cannot be an index of one file."""
        raw = len(self.pacing.raw_offset_bytes)
        ok = (
            raw >= 16 and raw % 8 == 0 and raw == len(self.pacing.raw_time_s) and bool(self.keyframes and self.segments)
        )
        ok = ok and bool(np.all(np.diff(self.pacing.offset_bytes) > 0) and np.all(np.diff(self.pacing.time_s) >= 0))
        ok = ok and self.pacing.offset_bytes[0] == 0 and self.pacing.offset_bytes[-1] == self.length_bytes
        position = 0
        for segment in self.segments:
            ok = ok and segment.offset_bytes == position and segment.length_bytes > 0
            position += segment.length_bytes
        if not ok or position != self.length_bytes:
            raise DamagedIndex(f"{name}: the values do not fit one file; make it again")
