"""Remembers what time it is while the edge serves, so that a clock set back brings nothing expired to light."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from edge_server.store.judged import NOTE_EVERY, JudgedTime
from runtime.clock import Clock
from sync import SyncError

log = structlog.get_logger()


class Timekeeper:
    """A ``runtime.service.Service``."""

    def __init__(self, judged: JudgedTime, clock: Clock) -> None:
        """Nothing is noted yet."""
        self._judged, self._clock = judged, clock

    async def run(self, ready: Callable[[], None]) -> None:
        """Note the time now and then until cancelled."""
        ready()
        while True:
            try:
                await asyncio.to_thread(self._judged.note)
            except (SyncError, OSError) as error:
                log.warning("cannot note the time", reason=str(error))
            await self._clock.sleep_until(self._clock.monotonic() + NOTE_EVERY.total_seconds())

    async def drain(self) -> None:
        """Nothing to finish."""
