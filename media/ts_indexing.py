"""Makes the index of a transport stream while its packets are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from media.ts_index import TsIndex, TsKeyframe, TsPacing, TsSegment
from wire.mpegts import PACKET_BYTES, PCR_HZ, PTS_HZ

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SEGMENT_TARGET_S: Final = 6.0
PACING_STEP_S: Final = 0.1


class IndexMaker:
    """Takes the windows of a file in order."""

    def __init__(self, lesson_ticks: int) -> None:
        """Begin; ``lesson_ticks`` is the PTS of npt 0."""
        self._lesson_ticks = lesson_ticks
        self._keys: list[TsKeyframe] = []
        self._zero_s = 0.0
        self._first_pcr, self._last_pcr, self._pcr_0 = 0, 0, 0
        self._steps = 0
        self._packets = 0
        self._rows: list[Ints] = []
        self._times: list[Floats] = []

    def add(
        self,
        *,
        leave_s: Floats,
        clock: Callable[[Floats], Ints],
        first_clock: int,
        key_places: Ints,
        key_pts: Ints,
        key_ends: Ints,
        counters: dict[int, list[int]],
    ) -> None:
        """Take one window.

        Args:
            leave_s: when each of its packets leaves.
            clock: gives the stream's own clock, 27 MHz, for such times.
            first_clock: place of the first packet that carries a PCR.
            key_places: where the PAT before each key picture stands.
            key_pts: npt of the key pictures, 90 kHz.
            key_ends: place after the last packet of each key picture.
            counters: PID -> continuity counter of its next payload packet at each of the places, not yet modulo 16.
        """
        if not self._packets:
            self._zero_s, self._pcr_0 = float(leave_s[first_clock]), int(clock(leave_s[first_clock]))
            self._first_pcr = int(clock(leave_s[0]))
        begins = key_places if self._keys else np.concatenate([[0], key_places[1:]])
        key_pcr = clock(leave_s[begins]).tolist()
        for number, (begin, pts, end, pcr) in enumerate(
            zip(begins.tolist(), key_pts.tolist(), key_ends.tolist(), key_pcr, strict=True)
        ):
            first = not self._keys
            self._keys.append(
                TsKeyframe(
                    time_s=0.0 if first else pts / PTS_HZ,
                    offset_bytes=(self._packets + begin) * PACKET_BYTES,
                    pcr_s=max((pcr - self._pcr_0) / PCR_HZ, 0.0),
                    pcr_27mhz=pcr,
                    next_cc={pid: 0 if first else each[number] & 15 for pid, each in counters.items()},
                    length_bytes=(end - begin) * PACKET_BYTES,
                    pts_90khz=pts + self._lesson_ticks,
                )
            )
        last_step = int((leave_s[-1] - self._zero_s) / PACING_STEP_S)
        steps = np.arange(self._steps, last_step + 1) * PACING_STEP_S + self._zero_s
        self._steps = max(self._steps, last_step + 1)
        rows = np.searchsorted(leave_s, steps[steps <= leave_s[-1]])
        rows = np.unique(np.concatenate([rows, key_places]))
        self._rows.append(rows + self._packets)
        self._times.append((clock(leave_s[rows]) - self._pcr_0) / PCR_HZ)
        self._packets += len(leave_s)
        self._last_pcr = int(clock(leave_s[-1]))

    def made(self, pcr_pid: int, duration_s: float, presentation_delay_s: float) -> TsIndex:
        """Return the index of all windows; times as in `TsIndex`."""
        length = self._packets * PACKET_BYTES
        cuts = [self._keys[0]]
        for each in self._keys[1:]:
            if each.time_s >= cuts[-1].time_s + SEGMENT_TARGET_S - 1e-3:
                cuts.append(each)
        ends = [(each.time_s, each.offset_bytes) for each in cuts[1:]] + [(duration_s, length)]
        segments = tuple(
            TsSegment(cut.time_s, end_s - cut.time_s, cut.offset_bytes, end - cut.offset_bytes)
            for cut, (end_s, end) in zip(cuts, ends, strict=True)
        )
        return TsIndex(
            duration_s=duration_s,
            length_bytes=length,
            presentation_delay_s=presentation_delay_s,
            pcr_pid=pcr_pid,
            segments=segments,
            keyframes=tuple(self._keys),
            pacing=self._pacing(),
        )

    def _pacing(self) -> TsPacing:
        """One point each `PACING_STEP_S`; first and last packet and points to begin at included."""
        mean_s = (self._last_pcr - self._first_pcr) / PCR_HZ / max(self._packets - 1, 1)
        last_s = (self._last_pcr - self._pcr_0) / PCR_HZ
        rows = np.concatenate([[0], *self._rows, [self._packets]])
        times = np.concatenate([[0.0], *self._times, [last_s + mean_s]])
        rows, first = np.unique(rows, return_index=True)
        times = np.maximum.accumulate(np.maximum(times[first], 0.0))
        return TsPacing((rows * PACKET_BYTES).astype("<i8").tobytes(), times.astype("<f8").tobytes())
