"""Counting what goes over the line, and how fast it goes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from runtime.clock import Clock
from sync.pacing import Speed
from sync.road import OPEN, Gate, Received, Sink, Source

SPEED_SAMPLE_S = 1.0


@dataclass
class Tally:
    """What went over the line under one label."""

    requests: int = 0
    body_bytes: int = 0
    """Of all answers, wanted or not, also of those that broke off; heads of requests and answers are not counted."""


class Meter:
    """Counts for any number of sources together: only so does it see the speed of the line under them."""

    def __init__(self, clock: Clock, *, gate: Gate = OPEN) -> None:
        """``gate`` is the one that the sources pass, so that its cap is not taken for the speed of the line."""
        self._clock, self._gate = clock, gate
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self.speed = Speed()
        self._under_way = 0
        self._since_s = 0.0
        self._bytes = 0

    @property
    def requests(self) -> int:
        """Requests under all labels."""
        return sum(tally.requests for tally in self.tallies.values())

    @property
    def body_bytes(self) -> int:
        """Bytes under all labels."""
        return sum(tally.body_bytes for tally in self.tallies.values())

    def begin(self, label: str) -> None:
        """Count a request; from now until ``end`` something is expected to come."""
        self.tallies[label].requests += 1
        if not self._under_way:
            self._since_s, self._bytes = self._clock.monotonic(), 0
        self._under_way += 1

    def count(self, label: str, length_bytes: int) -> None:
        """Count bytes that came."""
        self.tallies[label].body_bytes += length_bytes
        self._bytes += length_bytes
        if self._clock.monotonic() - self._since_s >= SPEED_SAMPLE_S:
            self._sample()

    def end(self) -> None:
        """Tell that a request is over, however it ended."""
        self._under_way -= 1
        if not self._under_way:
            self._sample()

    def _sample(self) -> None:
        now_s = self._clock.monotonic()
        self.speed.add(self._bytes, now_s - self._since_s, cap_bps=self._gate.rate_bps)
        self._since_s, self._bytes = now_s, 0


class Metered:
    """Counts requests and bytes of a source into a meter."""

    def __init__(self, inner: Source, meter: Meter, *, label: str = "") -> None:
        """Count under ``label``, a channel say; when it is empty, under the first part of each name."""
        self._inner, self._meter, self._label = inner, meter, label

    def __str__(self) -> str:
        """Name what is inside."""
        return str(self._inner)

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        """See Source."""
        label = self._begin(name)
        try:
            return await self._inner.fetch(name, limit_bytes=limit_bytes, received=self._counting(label, received))
        finally:
            self._meter.end()

    async def read(self, name: str, start: int, stop: int, sink: Sink, *, received: Received | None = None) -> None:
        """See Source."""
        label = self._begin(name)
        try:
            await self._inner.read(name, start, stop, sink, received=self._counting(label, received))
        finally:
            self._meter.end()

    async def close(self) -> None:
        """See Source."""
        await self._inner.close()

    def _begin(self, name: str) -> str:
        label = self._label or name.split("/")[0]
        self._meter.begin(label)
        return label

    def _counting(self, label: str, received: Received | None) -> Received:
        def count(length_bytes: int) -> None:
            self._meter.count(label, length_bytes)
            if received is not None:
                received(length_bytes)

        return count
