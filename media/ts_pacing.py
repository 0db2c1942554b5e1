"""When each transport packet leaves: the smoothest schedule in which every access unit arrives before its DTS.

The rule is a leaky bucket. Unit i may leave from ``dts_i - start_offset_s`` on and must have left by its deadline. The
start offset is the smallest with which a line of `LINE_FLOOR_PACKETS_PER_S` suffices, or, for richer streams, the
line that an offset of `START_OFFSET_MAX_S` needs. Between both bounds the shortest path ("taut string") is taken: it
is piecewise constant in rate and has the lowest peak of all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LINE_FLOOR_PACKETS_PER_S = 1_600_000 / (188 * 8)
"""A line of 2 Mb/s, less a fifth for RTP, UDP, IP heads and neighbours: streams below need no longer start."""
START_OFFSET_MIN_S = 0.2
START_OFFSET_MAX_S = 1.0
HORIZON_POINTS = 512
"""Bounds looked at for one straight piece of the schedule."""


def queueing_delay_s(packets: Ints, dts_s: Floats, packets_per_s: float) -> float:
    """Return the longest time that a unit waits when all become ready at their DTS and leave at that rate.

    Lindley's recursion in closed form; it is the smallest start offset for a line of that rate.
    """
    done = np.cumsum(packets) / packets_per_s
    idle = done - packets / packets_per_s - dts_s
    return float(np.max(done - dts_s - np.minimum.accumulate(idle)))


def start_offset_s(packets: Ints, dts_s: Floats, other_packets_per_s: float) -> float:
    """Return the smallest start offset of the video, given what sound and tables take from the line."""
    rate = max(LINE_FLOOR_PACKETS_PER_S - other_packets_per_s, LINE_FLOOR_PACKETS_PER_S / 4)
    for _ in range(200):
        delay = queueing_delay_s(packets, dts_s, rate)
        if delay <= START_OFFSET_MAX_S:
            break
        rate *= 1.05
    return min(max(delay, START_OFFSET_MIN_S), START_OFFSET_MAX_S)


def taut_string(packets: Ints, ready_s: Floats, deadline_s: Floats) -> tuple[Floats, Floats]:
    """Return the corners (time, packets sent) of the shortest schedule between both bounds.

    Unit i leaves not before ``ready_s[i]`` and not after ``deadline_s[i]``; both increase.
    """
    total = np.cumsum(packets).astype(np.float64)
    count = len(total)
    times = np.concatenate([deadline_s, ready_s, deadline_s[-1:]])
    lower = np.concatenate([total, np.full(count + 1, -np.inf)])
    upper = np.concatenate([np.full(count, np.inf), total - packets, total[-1:]])
    order = np.argsort(times, kind="stable")
    times, lower, upper = times[order], lower[order], upper[order]
    corners_t, corners_y = [float(ready_s[0])], [0.0]
    while corners_t[-1] < times[-1]:
        t, y = corners_t[-1], corners_y[-1]
        first = int(np.searchsorted(times, t, side="right"))
        last = min(first + HORIZON_POINTS, len(times))
        span = times[first:last] - t
        need, may = (lower[first:last] - y) / span, (upper[first:last] - y) / span
        most, least = np.maximum.accumulate(need), np.minimum.accumulate(may)
        crossed = np.flatnonzero(most > least)
        if not len(crossed):
            if last == len(times):
                k, slope = len(span) - 1, float(most[-1])
            else:
                k, slope = len(span) // 2, float(most[-1] + least[-1]) / 2
            point = float(times[first + k]), y + slope * float(span[k])
        else:
            k = int(crossed[0])
            if need[k] > (least[k - 1] if k else np.inf):  # must go faster than a corner above allows: touch it
                corner = k - 1 - int(np.argmin(may[:k][::-1]))
                point = float(times[first + corner]), float(upper[first + corner])
            else:
                corner = k - 1 - int(np.argmax(need[:k][::-1]))
                point = float(times[first + corner]), float(lower[first + corner])
        corners_t.append(point[0])
        corners_y.append(point[1])
    return np.array(corners_t), np.array(corners_y)


class Schedule:
    """When packet 0, 1, … begins to leave on the way round the corners; where the schedule pauses, after the pause."""

    def __init__(self, corners: tuple[Floats, Floats]) -> None:
        """Take the corners of `taut_string`."""
        times, sent = corners
        rise = np.diff(sent)
        self._pace = np.where(rise > 1e-12, np.diff(times) / np.maximum(rise, 1e-12), 0.0)
        self._base = times[:-1] - sent[:-1] * self._pace
        self._first = np.ceil(sent[:-1] - 1e-9).astype(np.int64)

    def leaving_s(self, begin: int, stop: int) -> Floats:
        """Return the times of packets ``begin`` to ``stop``; they never decrease."""
        pieces = slice(*(np.searchsorted(self._first, (begin, stop - 1), side="right") - (1, 0)))
        edges = np.clip(np.append(self._first[pieces], stop), begin, stop)
        edges[0] = begin
        counts = np.diff(edges)
        if len(counts) == 1:
            return np.asarray(np.arange(begin, stop) * self._pace[pieces] + self._base[pieces])
        times = np.repeat(self._pace[pieces], counts) * np.arange(begin, stop) + np.repeat(self._base[pieces], counts)
        return np.asarray(np.maximum.accumulate(times))

    def leaving_s_of(self, packets: Ints) -> Floats:
        """Return the times of these packets, in order."""
        piece = np.maximum(np.searchsorted(self._first, packets, side="right") - 1, 0)
        return np.asarray(self._pace[piece] * packets + self._base[piece])
