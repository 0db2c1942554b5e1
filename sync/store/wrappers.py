"""Policies as small sources around a source: counting, trying again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from runtime.clock import Clock
from sync import Missing, Unreachable
from sync.store import Received, Source


@dataclass
class Meter:
    """What went over the line."""

    requests: int = 0
    body_bytes: int = 0
    """Of all answers, also of those that broke off; headers are not counted."""


class Metered:
    """Counts requests and bytes."""

    def __init__(self, inner: Source, meter: Meter) -> None:
        """Count into ``meter``."""
        self._inner, self._meter = inner, meter

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        """See Source."""

        def count(length: int) -> None:
            self._meter.body_bytes += length
            received(length)

        self._meter.requests += 1
        return await self._inner.fetch(name, limit_bytes=limit_bytes, received=count)

    async def close(self) -> None:
        """See Source."""
        await self._inner.close()


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long. Pauses double, and are spread by ±20 % so that a thousand edges do not march in step."""

    attempts: int = 4
    first_pause_s: float = 1.0
    longest_pause_s: float = 300.0

    def pause_s(self, name: str, attempt: int) -> float:
        """Return the pause after that failed attempt (1 is the first), always the same for the same name."""
        spread = hashlib.sha256(f"{name} {attempt}".encode()).digest()[0] / 255 * 0.4 + 0.8
        return min(self.longest_pause_s, self.first_pause_s * 2.0 ** (attempt - 1) * spread)


class Retrying:
    """Asks again when the source did not answer or broke off; not when it lacks the name or sent wrong bytes."""

    def __init__(self, inner: Source, clock: Clock, policy: RetryPolicy) -> None:
        """Pauses are taken from the clock."""
        self._inner, self._clock, self._policy = inner, clock, policy

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        """See Source."""
        for attempt in range(1, self._policy.attempts):
            try:
                return await self._inner.fetch(name, limit_bytes=limit_bytes, received=received)
            except Missing:
                raise
            except Unreachable:
                pause = self._policy.pause_s(name, attempt)
                await self._clock.sleep_until(self._clock.monotonic() + pause)
        return await self._inner.fetch(name, limit_bytes=limit_bytes, received=received)

    async def close(self) -> None:
        """See Source."""
        await self._inner.close()
