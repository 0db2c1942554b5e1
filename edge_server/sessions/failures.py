"""Counts failures, so that whoever guesses has to wait. Pure: time comes in as an argument (monotonic seconds)."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Failures:
    """Times of the last failures per key; the oldest key goes when there are too many."""

    keys_max: int
    times: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)

    def wait_s(self, key: str, limit: int, window_s: float, now_s: float) -> float:
        """Return how long the key must wait; 0 when it may try."""
        times = self.times.get(key)
        return max(0.0, times[0] + window_s - now_s) if times and len(times) >= limit else 0.0

    def note(self, key: str, limit: int, now_s: float) -> None:
        """Remember one failure."""
        self.times.setdefault(key, deque(maxlen=limit)).append(now_s)
        self.times.move_to_end(key)
        if len(self.times) > self.keys_max:
            self.times.popitem(last=False)
