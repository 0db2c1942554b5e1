"""WHEP that is loaded when the first offer comes: aiortc and libav cost an idle edge memory that it may never need."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from edge_server.egress import EgressContext
from edge_server.egress.whep import doors

if TYPE_CHECKING:
    from edge_server.egress.whep.service import WhepService

_SERVICE = "edge_server.egress.whep.service"

log = structlog.get_logger()


class WhepOnDemand:
    """A ``runtime.service.Service``; the first offer waits until the `WhepService` behind it is loaded."""

    def __init__(
        self, ctx: EgressContext, *, max_viewers: int, door: doors.Door, lives: doors.FindLive = doors.no_live
    ) -> None:
        """As `WhepService`, behind a door; nothing is loaded yet."""
        self._ctx, self._max_viewers, self._door = ctx, max_viewers, door
        self._lives = lives
        self._group: asyncio.TaskGroup | None = None
        self._service: WhepService | None = None
        self._loading = asyncio.Lock()

    def __len__(self) -> int:
        """Count the viewers, connected or connecting."""
        return len(self._service) if self._service is not None else 0

    @property
    def counters(self) -> Counter[str]:
        """As `WhepService.counters`; empty before the first offer."""
        return self._service.counters if self._service is not None else Counter()

    def routes(self) -> list[web.RouteDef]:
        """Offer the routes of this egress."""
        return doors.routes(self._post, self._delete, self._door)

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                ready()
                await asyncio.Event().wait()
            finally:
                self._group = None

    async def drain(self) -> None:
        """As `WhepService.drain`, when there is one."""
        async with self._loading:
            self._group = None
        if self._service is not None:
            await self._service.drain()

    async def _post(self, request: web.Request) -> web.StreamResponse:
        async with self._loading:
            if self._service is None and self._group is not None:
                self._service = await self._load(self._group)
        return await self._service.post(request) if self._service is not None else doors.stopping()

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        return await self._service.delete(request) if self._service is not None else doors.no_session()

    async def _load(self, group: asyncio.TaskGroup) -> WhepService:
        """Import in a thread: it takes some hundred ms, and players are served meanwhile."""
        await asyncio.to_thread(import_module, _SERVICE)
        from edge_server.egress.whep.service import WhepService

        service, ready = WhepService(self._ctx, max_viewers=self._max_viewers, lives=self._lives), asyncio.Event()
        group.create_task(service.run(ready.set))
        await ready.wait()
        log.info("whep loaded")
        return service
