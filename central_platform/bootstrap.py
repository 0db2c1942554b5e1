"""Puts the serving parts together: the static site and the signing of fresh metadata."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from aiohttp import web

from central_platform.config import CentralConfig
from central_platform.intake.ledger import Ledger
from central_platform.publish.desk import Desk
from central_platform.roster import Roster
from central_platform.site.records import RecordsDesk
from central_platform.site.static_files import PublishedFiles
from runtime.clock import Clock

log = structlog.get_logger()


@dataclass(slots=True)
class Site:
    """The HTTP side, a ``runtime.service.Service``."""

    desk: Desk
    config: CentralConfig
    clock: Clock
    ledger: Ledger
    address: str = ""
    """Base URL, known once ready."""
    _runner: web.AppRunner | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        """Listen until cancelled."""
        app = web.Application()
        app.add_routes(RecordsDesk(self.ledger, Roster(self.desk.root), self.clock).routes())
        app.add_routes(PublishedFiles(self.desk.published).routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=self.config.grace_s)
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, self.config.host, self.config.port)
            await site.start()
            host, port = self._runner.addresses[0][:2]
            self.address = f"http://{host}:{port}/"
            ready()
            await asyncio.Event().wait()
        finally:
            await self._runner.cleanup()

    async def drain(self) -> None:
        """Stop accepting; running downloads finish inside the grace period."""
        if self._runner is not None:
            await self._runner.shutdown()


@dataclass(slots=True)
class Freshness:
    """Signs the freshness metadata every ``refresh_s`` seconds, so that edges can tell a frozen mirror."""

    desk: Desk
    config: CentralConfig
    clock: Clock
    signed: int = field(default=0)

    async def run(self, ready: Callable[[], None]) -> None:
        """Sign now and then again and again until cancelled."""
        await asyncio.to_thread(self.desk.refresh, self.clock.utc())
        self.signed += 1
        ready()
        while True:
            await self.clock.sleep_until(self.clock.monotonic() + self.config.refresh_s)
            await asyncio.to_thread(self.desk.refresh, self.clock.utc())
            self.signed += 1
            log.info("freshness signed", times=self.signed)

    async def drain(self) -> None:
        """Nothing is in hand between two signings."""
