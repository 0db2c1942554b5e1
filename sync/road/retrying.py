"""Trying again after a pause, and going on at the exact byte."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.clock import Clock
from sync import Missing, Unreachable
from sync.pacing import backoff, jitter_of
from sync.road import Received, Sink, Source
from sync.road.handing import Handing

QUICK_MIN_BYTES = 64 * 1024
"""After a break that brought so much, the rest is asked for at once: the line works, it only was cut."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long; pauses by ``sync.pacing.backoff``."""

    attempts: int = 4
    """In a row that brought nothing; an attempt that brought at least a byte begins a new row."""
    edge_id: str = ""
    """Spreads the pauses, so that a thousand edges do not march in step."""
    scale: float = 1.0
    """Of all pauses."""

    def pause_s(self, name: str, attempt: int) -> float:
        """Return the pause after that failed attempt (1 is the first), always the same for the same edge and name."""
        return self.scale * backoff(attempt, jitter_of(f"{self.edge_id} {name} {attempt}"))


class Retrying:
    """Asks again when the source did not answer or broke off; not when it lacks the name or sent wrong bytes."""

    def __init__(self, inner: Source, clock: Clock, policy: RetryPolicy) -> None:
        """Pauses are taken from the clock."""
        self._inner, self._clock, self._policy = inner, clock, policy

    def __str__(self) -> str:
        """Name what is inside."""
        return str(self._inner)

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        """See Source. What came before a break is fetched again: what is fetched whole is small."""
        attempt = 1
        while True:
            try:
                return await self._inner.fetch(name, limit_bytes=limit_bytes, received=received)
            except Missing:
                raise
            except Unreachable:
                if attempt >= self._policy.attempts:
                    raise
            await self._pause(name, attempt)
            attempt += 1

    async def read(self, name: str, start: int, stop: int, sink: Sink, *, received: Received | None = None) -> None:
        """See Source."""
        handing = Handing(sink, start)
        fruitless = 0
        while True:
            before = handing.at
            try:
                return await self._inner.read(name, before, stop, handing, received=received)
            except Missing:
                raise
            except Unreachable:
                if handing.refused:
                    raise
                if handing.at == stop:
                    return
                fruitless = 0 if handing.at > before else fruitless + 1
                if fruitless >= self._policy.attempts:
                    raise
            if handing.at - before < QUICK_MIN_BYTES:
                await self._pause(name, max(1, fruitless))

    async def close(self) -> None:
        """See Source."""
        await self._inner.close()

    async def _pause(self, name: str, attempt: int) -> None:
        await self._clock.sleep_until(self._clock.monotonic() + self._policy.pause_s(name, attempt))
