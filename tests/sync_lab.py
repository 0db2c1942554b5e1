"""A publisher, an edge and the line between them, for tests of sync: real files, a real loopback HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from edge_server.packager import Shelf
from edge_server.store import Store
from edge_server.uplink.pull import PullReport, pull
from sync.client import Client
from sync.publisher import Publisher
from sync.store import Source
from sync.store.folder import FolderSource
from sync.store.wrappers import RetryPolicy

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ONCE = RetryPolicy(attempts=1)
BIG = bytes(range(256)) * (17 * 1024)  # 4.25 MiB: one chunk and a bit, so its manifest has to be fetched

Fault = Callable[[web.Request, Path], Awaitable[web.StreamResponse]]


class Lab:
    def __init__(self, root: Path, published: Publisher | None = None) -> None:
        self.root = root
        self.publisher = published or Publisher.init(root / "central", NOW)
        self.anchor = self.publisher.trust_anchor.read_bytes()
        self.store = Store(root / "edge")

    def client(self, source: Source | None = None, **options: object) -> Client:
        settings: dict[str, object] = {"retry": ONCE, **options}
        return Client(
            trust_dir=self.root / "edge" / "trust",
            source=source or FolderSource(self.publisher.published),
            objects=self.store.objects,
            anchor=self.anchor,
            **settings,  # type: ignore[arg-type]
        )

    async def sync(self, source: Source | None = None, *, now: datetime = NOW, **options: object) -> PullReport:
        shelf = Shelf(self.store.derived_root)
        return await pull(self.store, self.client(source, **options), shelf, now=now)

    def served(self) -> tuple[int, dict[str, bytes]]:
        """What a fresh process would serve."""
        return served(self.root / "edge")

    def publish(self, add: Mapping[str, Path | bytes], remove: tuple[str, ...] = ()) -> int:
        return self.publisher.publish("main", add=add, remove=remove, now=NOW).seq


def served(edge: Path) -> tuple[int, dict[str, bytes]]:
    active = Store(edge).active()
    if active is None:
        return 0, {}
    return active.seq, {name: each.file.read_bytes() for name, each in active.files.items()}


class StaticServer:
    """Serves a folder; writes down what was asked; misbehaves where told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.faults: dict[str, Fault] = {}
        """By the first part of the path: ``metadata``, ``chunks``…"""
        self.url = ""
        self.hung = asyncio.Event()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name = request.path.lstrip("/")
        self.asked.append(name)
        file = self.folder / name
        if not file.is_file():
            raise web.HTTPNotFound
        fault = self.faults.get(name.split("/")[0])
        return await fault(request, file) if fault else web.Response(body=file.read_bytes())


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[StaticServer]:
    server = StaticServer(folder)
    app = web.Application()
    app.router.add_get("/{name:.*}", server._answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()
