"""One clock hand for all viewers: each is pumped when its next frame is due."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from edge_server.egress.whep.viewer import EARLY_S, Viewer
from runtime.clock import Clock

REST_MAX_S = 0.02
"""Whoever is woken is pumped after so much at the latest."""


class Pacing:
    """Runs while anybody waits for a frame; sleeps otherwise."""

    def __init__(self, clock: Clock) -> None:
        """Start with nobody."""
        self._clock = clock
        self._order = itertools.count()
        self._due: list[tuple[float, int, Viewer]] = []
        self._latest: dict[Viewer, int] = {}
        """The entry of each viewer that counts; entries before it are passed over."""
        self._changed = asyncio.Event()

    def wake(self, viewer: Viewer) -> None:
        """Pump this viewer now."""
        self._put(viewer, self._clock.monotonic())
        self._changed.set()

    def remove(self, viewer: Viewer) -> None:
        """Pump it no more."""
        self._latest.pop(viewer, None)

    def __len__(self) -> int:
        """Count those who wait for a frame."""
        return len(self._latest)

    async def run(self) -> None:
        """Pump until cancelled."""
        clock = self._clock
        while True:
            if not self._due:
                self._changed.clear()
                await self._changed.wait()
            batch_s = clock.monotonic()
            while self._due and self._due[0][0] <= batch_s + EARLY_S:
                _, number, viewer = heapq.heappop(self._due)
                if self._latest.get(viewer) != number:
                    continue
                del self._latest[viewer]
                again_s = viewer.pump(clock.monotonic())
                if again_s is not None:
                    self._put(viewer, max(again_s, batch_s + 2 * EARLY_S))  # each once a batch: others live here too
            now_s = clock.monotonic()
            due_s = self._due[0][0] if self._due else now_s
            await clock.sleep_until(min(max(due_s, now_s + EARLY_S), now_s + REST_MAX_S))

    def _put(self, viewer: Viewer, due_s: float) -> None:
        number = next(self._order)
        self._latest[viewer] = number
        heapq.heappush(self._due, (due_s, number, viewer))
