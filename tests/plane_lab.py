"""The edge's HTTP port in this process, serving resources that a test makes."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from edge_server.bootstrap.http_port import HttpPort
from edge_server.bootstrap.http_settings import HttpSettings
from edge_server.catalog import EMPTY, CatalogView
from edge_server.egress import FileRange, Resource
from edge_server.metrics.doors import alive
from edge_server.plane.counts import Count
from edge_server.plane.limits import Limits
from edge_server.plane.lookup import Media
from edge_server.plane.pages import Pages
from edge_server.portal import PortalRequest, PortalState
from edge_server.portal.json_api import DIALECT as JSON_API
from edge_server.portal.web import DIALECT
from edge_server.sessions.logins import Logins
from runtime.clock import Clock, SystemClock

WHEN = datetime(2026, 11, 24, 4, 5, 6, tzinfo=UTC)
SMALL_LIMITS = Limits(connections_max_count=64)


@dataclass
class Shop:
    """Resources by path. What a test changes is another view."""

    root: Path
    resources: dict[str, Resource] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    view: object = field(default_factory=object)

    def put(self, path: str, *pieces: bytes | tuple[bytes, bytes, bytes], media_type: str = "video/mp4") -> bytes:
        """Offer a resource: bytes, or a range of a file as (what stands before, the range, what stands behind)."""
        parts: list[bytes | FileRange] = []
        for number, piece in enumerate(pieces):
            if isinstance(piece, bytes):
                parts.append(piece)
            else:
                file = self.root / f"{hashlib.sha256(path.encode()).hexdigest()[:8]}-{number}"
                file.write_bytes(b"".join(piece))
                parts.append(FileRange(file, len(piece[0]), len(piece[1])))
        body = b"".join(piece if isinstance(piece, bytes) else piece[1] for piece in pieces)
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        self.resources[path] = Resource(tuple(parts), len(body), etag, WHEN, media_type, "no-cache")
        self.bodies[path] = body
        self.view = object()
        return body

    def withdraw(self, path: str) -> None:
        del self.resources[path]
        self.view = object()


@asynccontextmanager
async def open_port(
    shop: Shop,
    *,
    clock: Clock | None = None,
    limits: Limits = SMALL_LIMITS,
    settings: HttpSettings | None = None,
    pages: Callable[[asyncio.AbstractEventLoop], Pages] | None = None,
) -> AsyncIterator[HttpPort]:
    logins = Logins(lambda _: None)

    def state(request: PortalRequest) -> PortalState:
        return PortalState(CatalogView(EMPTY), logins, "127.0.0.1:8554", WHEN, 0.0)

    media = Media(find=shop.resources.get, view=lambda: shop.view, prefixes=("/media/",))
    made = replace(settings or HttpSettings(grace_s=1.0), limits=limits)
    routes = [web.get("/healthz", alive)]
    port = HttpPort("127.0.0.1", 0, media, routes, (DIALECT, JSON_API), state, clock or SystemClock(), made)
    if pages is not None:
        port.pages = pages(asyncio.get_running_loop())
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(port.run(ready.set))
        waiting = group.create_task(ready.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        try:
            yield port
        finally:
            waiting.cancel()
            task.cancel()


def connect(port: HttpPort, *, receive_buffer_bytes: int = 0) -> socket.socket:
    connection = socket.socket()
    if receive_buffer_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    connection.settimeout(10)
    try:
        connection.connect(("127.0.0.1", port.port))
    except OSError:
        connection.close()
        raise
    return connection


def get(path: str, *fields: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    lines = "".join(f"{each}\r\n" for each in ("Host: x", *fields))
    return f"{method} {path} {version}\r\n{lines}\r\n".encode()


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that must happen; the test's time limit is the bound."""
    while not true():  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0.01)


def count(port: HttpPort, what: Count) -> int:
    return port.counts[what]
