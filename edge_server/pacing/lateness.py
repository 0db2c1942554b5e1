"""How late the pacer is: the measure of whether one more viewer can be taken."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.5)
"""Upper bounds of the histogram's buckets; one more is above them."""
WINDOW_S = 5.0
_SAMPLES_MAX_COUNT = 2048
_ENOUGH_COUNT = 200
"""Fewer samples say nothing: at 5 ms a slot, one second of play."""


class Lateness:
    """End of each slot's work against the slot's time."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        """Slots by lateness since the start, not cumulative."""
        self.slots = 0
        self.sum_s = 0.0
        self._recent: deque[tuple[float, float]] = deque(maxlen=_SAMPLES_MAX_COUNT)

    def note(self, now: float, late_s: float) -> None:
        """Enter one slot."""
        self.buckets[bisect_left(BOUNDS_S, late_s)] += 1
        self.slots += 1
        self.sum_s += late_s
        self._recent.append((now, late_s))

    def p99_s(self, now: float) -> float:
        """Return the 99th percentile of the last seconds; 0 when there are too few samples to tell."""
        recent = sorted(late for at, late in self._recent if now - at <= WINDOW_S)
        return recent[len(recent) * 99 // 100] if len(recent) >= _ENOUGH_COUNT else 0.0
