"""One process's part of a port: connections come from a listener or from another process, and go to the plane."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from edge_server.plane.counts import Counts
from edge_server.plane.journal import Journal
from edge_server.plane.limits import Limits
from edge_server.plane.listener import Listener
from edge_server.plane.lookup import Accel, Media
from edge_server.plane.pages import Pages
from edge_server.plane.plane import HandOver, Plane
from runtime.clock import Clock

SWEEP_S = 1.0
DRAIN_LOOK_S = 0.05


class Front:
    """A plane, and perhaps a listener."""

    def __init__(
        self,
        clock: Clock,
        media: Media,
        hand_over: HandOver,
        *,
        limits: Limits,
        counts: Counts,
        rows: Sequence[Counts],
        listening: socket.socket | None = None,
        journal: Journal | None = None,
        accel: Accel | None = None,
        pages: Pages | None = None,
    ) -> None:
        """Take connections from now on; ``rows`` are the counts of all processes of the port."""
        loop = asyncio.get_running_loop()
        self._clock = clock
        self.plane = Plane(
            loop, clock, media, hand_over, limits=limits, counts=counts, journal=journal, accel=accel, pages=pages
        )
        self._listener = Listener(loop, listening, self.plane, rows) if listening is not None else None

    async def run(self, ready: Callable[[], None]) -> None:
        """Look after silent connections until cancelled; then close everything."""
        try:
            ready()
            while True:
                await self._clock.sleep_until(self._clock.monotonic() + SWEEP_S)
                self.plane.sweep()
                if self._listener is not None:
                    self._listener.sweep()
        finally:
            if self._listener is not None:
                self._listener.close()
            self.plane.close()

    async def drain(self) -> None:
        """Take nothing new, and wait until everything that is being sent is sent."""
        if self._listener is not None:
            self._listener.close()
        self.plane.begin_drain()
        while self.plane.busy:
            await self._clock.sleep_until(self._clock.monotonic() + DRAIN_LOOK_S)
