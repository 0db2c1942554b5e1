"""One cap for all that an edge fetches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo

from runtime.clock import Clock
from sync.pacing import TokenBucket, Windows

BURST_BYTES = 4096
"""After a pause so much comes without waiting: a poll that finds nothing new is not held up."""
RECHECK_S = 1.0
"""So soon a new cap counts for transfers that are waiting."""


class Throttle:
    """See Gate; the cap may change at any moment. Shared by all sources of an edge."""

    def __init__(self, clock: Clock, cap_bps: Callable[[], float | None]) -> None:
        """``cap_bps`` is asked again and again: bits per second, None for no cap, 0 while nothing may move."""
        self._clock, self._cap_bps = clock, cap_bps
        self._bucket = TokenBucket(cap_bps(), BURST_BYTES)
        self._ticket = 0

    @classmethod
    def by_windows(cls, clock: Clock, windows: Windows, zone: tzinfo) -> Throttle:
        """Take the cap from windows of the day in that time zone."""
        return cls(clock, lambda: windows.rate_at(clock.utc().astimezone(zone)))

    @property
    def rate_bps(self) -> float | None:
        """See Gate."""
        return self._cap_bps()

    def passed(self, length_bytes: int) -> None:
        """See Gate."""
        self._ticket = self._bucket.claim(length_bytes, self._now_s())

    async def ready(self) -> None:
        """See Gate."""
        ticket = self._ticket
        while (wait_s := self._bucket.wait_s(ticket, now_s := self._now_s())) > 0:
            await self._clock.sleep_until(now_s + min(wait_s, RECHECK_S))

    def _now_s(self) -> float:
        now_s = self._clock.monotonic()
        self._bucket.set_rate(self._cap_bps(), now_s)
        return now_s
