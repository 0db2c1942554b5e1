"""The clock of all live channels: while anything is on, a slice of every stream leaves each 30 ms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from edge_server.live import SLICE_TICKS, TICKS_PER_S
from edge_server.live.channel import LiveChannel
from edge_server.live.ingest import Ingest
from edge_server.live.plan import WHIP, LivePlan
from runtime.clock import Clock

log = structlog.get_logger()

SLICE_S = SLICE_TICKS / TICKS_PER_S


class Lives:
    """A ``runtime.service.Service``; all live channels of an edge."""

    def __init__(self, plans: Sequence[LivePlan], clock: Clock) -> None:
        """Nothing is fetched yet."""
        self.channels = {each.channel_id: LiveChannel(each) for each in plans}
        self._clock = clock
        self._woken = asyncio.Event()
        for each in self.channels.values():
            each.woken = self._woken.set

    def find(self, channel_id: str) -> LiveChannel | None:
        """Return a channel."""
        return self.channels.get(channel_id)

    async def run(self, ready: Callable[[], None]) -> None:
        """Fetch and send until cancelled."""
        async with asyncio.TaskGroup() as group:
            for each in self.channels.values():
                if each.plan.source != WHIP:
                    group.create_task(Ingest(each, self._clock).run(lambda: None))
            ready()
            while True:
                await self._woken.wait()
                self._woken.clear()
                await self._send()

    async def drain(self) -> None:
        """Tell all who watch that it is over."""
        for each in self.channels.values():
            each.end()

    async def _send(self) -> None:
        """Send for as long as anything is on."""
        clock = self._clock
        due_s = clock.monotonic()
        while any(each.on_air is not None for each in self.channels.values()):
            for each in self.channels.values():
                try:
                    each.tick(clock.monotonic())
                except Exception:
                    # The outermost edge of one channel: a fault of ours must not end the others.
                    each.counters["sending failed"] += 1
                    log.exception("live channel failed", channel=each.plan.channel_id)
                    each.end()
            due_s = max(due_s + SLICE_S, clock.monotonic())
            await clock.sleep_until(due_s)
