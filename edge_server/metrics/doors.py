"""``/healthz``, ``/readyz`` and ``/metrics``: the first two for everybody, the numbers for a few addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from importlib import import_module

from aiohttp import web

from edge_server.metrics.disk import DiskCount
from edge_server.metrics.sources import Noted, Sources
from edge_server.uplink.standing import Standing
from runtime.networks import Network, is_within

TEXT = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus text format."""
PASSED_ON = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
"""Fields of proxies: behind one everybody has the address of the proxy."""
_NEVER_KEPT = {"Cache-Control": "no-store"}
_FOREIGN = "监控数据只对指定地址开放 / these numbers are for the addresses in metrics_from only\n"


def may_read(remote: str | None, passed_on: bool, networks: Sequence[Network]) -> bool:
    """Tell whether a peer may have the numbers; ``passed_on``: a proxy stands between."""
    return not passed_on and remote is not None and is_within(remote, networks)


async def alive(_: web.Request) -> web.Response:
    """Say that the process answers; nothing else, so that nobody restarts an edge for what a restart cannot mend."""
    return web.Response(body=b'{"ok":true}', content_type="application/json", headers=_NEVER_KEPT)


def routes(
    sources: Sources, disk: DiskCount, standing: Callable[[], Standing], networks: Sequence[Network]
) -> list[web.RouteDef]:
    """Offer the three paths."""
    reading = asyncio.Lock()

    def note() -> Noted:
        import_module("edge_server.metrics.families")  # an edge that nobody asks for numbers does without the library
        return Noted(standing(), disk.read(sources.monotonic_s()))

    async def metrics(request: web.Request) -> web.Response:
        if not may_read(request.remote, any(each in request.headers for each in PASSED_ON), networks):
            return web.Response(status=403, text=_FOREIGN, headers=_NEVER_KEPT)
        async with reading:
            noted = await asyncio.to_thread(note)
        from edge_server.metrics.families import write

        return web.Response(body=write(sources, noted), headers={"Content-Type": TEXT, **_NEVER_KEPT})

    async def ready(_: web.Request) -> web.Response:
        view = sources.readable()
        why = "snapshot_unreadable" if view is None else "" if view.seq else "no_snapshot"
        told = {"ready": not why, "seq": view.seq if view is not None else None, "reason": why or None}
        return web.json_response(told, status=503 if why else 200, headers=_NEVER_KEPT)

    return [web.get("/healthz", alive), web.get("/readyz", ready), web.get("/metrics", metrics)]
