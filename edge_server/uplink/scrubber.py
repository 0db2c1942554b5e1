"""Hashes what is stored again and again, little by little, and has fetched anew what went bad."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from edge_server.store import Damage, Store
from edge_server.store.changes import changing
from runtime.clock import Clock
from sync import Busy, SyncError
from sync.holding.verify import Cursor
from sync.store.threads import in_thread

STEP_S = 60.0
STEP_MIN_BYTES = 4 * 1024 * 1024
DAY_S = 86_400.0

log = structlog.get_logger()


class Scrubber:
    """A ``runtime.service.Service``. A round begins anew after a restart."""

    def __init__(self, store: Store, clock: Clock, *, round_days: float, on_damage: Callable[[], None]) -> None:
        """``on_damage`` is called when something was taken out of use and has to be fetched again."""
        self._store, self._clock, self._round_s, self._on_damage = store, clock, round_days * DAY_S, on_damage
        self._cursor: Cursor | None = None
        self._found: list[Damage] = []

    async def run(self, ready: Callable[[], None]) -> None:
        """Hash a share every minute until cancelled."""
        ready()
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + STEP_S)
            try:
                await self._step()
            except (SyncError, OSError) as error:
                log.warning("cannot verify the store", reason=str(error))

    async def drain(self) -> None:
        """Nothing to finish."""

    async def _step(self) -> None:
        total = await asyncio.to_thread(self._stored_bytes)
        budget = max(STEP_MIN_BYTES, int(total * STEP_S / self._round_s))
        damages, self._cursor = await in_thread(self._store.holding.verify_some, budget, self._cursor)
        self._found += [Damage(each.sha256, each.reason, ()) for each in damages]
        if not self._found:
            return
        try:
            await in_thread(self._discard)
        except Busy:
            return  # a pull is running; the next step tries again
        log.error("damaged objects were taken out of use", objects=[each.sha256 for each in self._found])
        self._found.clear()
        self._on_damage()

    def _discard(self) -> None:
        with changing(self._store) as changes:
            changes.discard(self._found)

    def _stored_bytes(self) -> int:
        holding = self._store.holding
        return sum(holding.path(sha256).stat().st_size for sha256 in holding.ids() if holding.has(sha256))
