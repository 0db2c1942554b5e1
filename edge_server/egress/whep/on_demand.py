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
    from edge_server.egress.whep.whip import WhipService

_SERVICE, _PUBLISHING = "edge_server.egress.whep.service", "edge_server.egress.whep.whip"

log = structlog.get_logger()


class WhepOnDemand:
    """A ``runtime.service.Service``; the first offer waits until the `WhepService` behind it is loaded."""

    def __init__(
        self,
        ctx: EgressContext,
        *,
        max_viewers: int,
        door: doors.Door,
        lives: doors.FindLive = doors.no_live,
        token: str = "",
    ) -> None:
        """As `WhepService`, behind a door; nothing is loaded yet."""
        self._ctx, self._max_viewers, self._door = ctx, max_viewers, door
        self._lives, self._token = lives, token
        self._publishing: WhipService | None = None
        self._group: asyncio.TaskGroup | None = None
        self._service: WhepService | None = None
        self._loading = asyncio.Lock()

    def __len__(self) -> int:
        """Count the viewers, connected or connecting."""
        return len(self._service) if self._service is not None else 0

    @property
    def publishing(self) -> WhipService | None:
        """Who publishes, once somebody has come."""
        return self._publishing

    @property
    def counters(self) -> Counter[str]:
        """As `WhepService.counters`; empty before the first offer."""
        return self._service.counters if self._service is not None else Counter()

    def routes(self) -> list[web.RouteDef]:
        """Offer the routes of this egress."""
        watch = doors.routes(self._post, self._delete, self._door)
        return [*watch, *doors.whip_routes(self._publish, self._patch, self._unpublish)]

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
        if self._publishing is not None:
            await self._publishing.drain()
        if self._service is not None:
            await self._service.drain()

    async def _ready(self) -> None:
        async with self._loading:
            if self._service is None and self._group is not None:
                self._service = await self._load(self._group)

    async def _publish(self, request: web.Request) -> web.StreamResponse:
        await self._ready()
        return await self._publishing.post(request) if self._publishing is not None else doors.stopping()

    async def _patch(self, request: web.Request) -> web.StreamResponse:
        return await self._publishing.patch(request) if self._publishing is not None else doors.no_session()

    async def _unpublish(self, request: web.Request) -> web.StreamResponse:
        return await self._publishing.delete(request) if self._publishing is not None else doors.no_session()

    async def _post(self, request: web.Request) -> web.StreamResponse:
        await self._ready()
        return await self._service.post(request) if self._service is not None else doors.stopping()

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        return await self._service.delete(request) if self._service is not None else doors.no_session()

    async def _load(self, group: asyncio.TaskGroup) -> WhepService:
        """Import in a thread: it takes some hundred ms, and players are served meanwhile."""
        for each in (_SERVICE, _PUBLISHING):
            await asyncio.to_thread(import_module, each)
        from edge_server.egress.whep.service import WhepService
        from edge_server.egress.whep.whip import WhipService

        self._publishing = WhipService(self._lives, self._token, self._ctx.clock)
        group.create_task(self._publishing.run(lambda: None))
        service, ready = WhepService(self._ctx, max_viewers=self._max_viewers, lives=self._lives), asyncio.Event()
        group.create_task(service.run(ready.set))
        await ready.wait()
        log.info("whep loaded")
        return service
