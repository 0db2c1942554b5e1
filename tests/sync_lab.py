"""A publisher, an edge and the line between them, for tests of sync: real files, a real loopback HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from domain.courseware import (
    CATALOGUE_PATH,
    INDEX_CHANNEL,
    Catalogue,
    Column,
    Courseware,
    column_channel,
    decode_catalogue,
    encode_catalogue,
)
from edge_server.packager import Shelf
from edge_server.store import Store
from edge_server.store.judged import JudgedTime
from edge_server.uplink.pull import PullReport, Uplink
from runtime.clock import Clock, FakeClock
from sync.publishing import Change, Publisher
from sync.pull import Puller
from sync.road import Source
from sync.road.folder import FolderSource
from sync.road.retrying import RetryPolicy

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ONCE = RetryPolicy(attempts=1)
COLUMN = Column(column_id="101", title="测试专栏", order=1)
CHANNEL = column_channel(COLUMN.column_id)
BIG = bytes(range(256)) * (17 * 1024)

Fault = Callable[[web.Request, Path], Awaitable[web.StreamResponse]]


class Lab:
    """A platform with the column ``COLUMN``, and an edge."""

    def __init__(self, root: Path, published: Publisher | None = None, clock: Clock | None = None) -> None:
        self.root = root
        self.publisher = published or Publisher.init(root / "central", NOW)
        self.anchor = self.publisher.trust_anchor.read_bytes()
        self.store = Store(root / "edge")
        self.clock = clock or FakeClock(NOW)
        self.judged = JudgedTime(root / "edge", self.clock)

    def puller(self, source: Source | None = None, **options: object) -> Puller:
        settings: dict[str, object] = {"retry": ONCE, "clock": self.clock, **options}
        return Puller(
            trust_dir=self.root / "edge" / "trust",
            source=source or FolderSource(self.publisher.published),
            holding=self.store.holding,
            anchor=self.anchor,
            **settings,  # type: ignore[arg-type]
        )

    def uplink(self, source: Source | None = None, *, columns: Iterable[str] = (), **options: object) -> Uplink:
        quota = options.pop("quota_bytes", None)
        assert quota is None or isinstance(quota, int)
        shelf = Shelf(self.store.derived_root)
        return Uplink(
            self.store, self.puller(source, **options), shelf, self.judged, self.clock, frozenset(columns), quota
        )

    async def sync(self, source: Source | None = None, *, now: datetime = NOW, **options: object) -> PullReport:
        return await self.uplink(source, **options).pull(now=lambda: now)

    def served(self) -> tuple[int, dict[str, bytes]]:
        """What a fresh process would serve."""
        return served(self.root / "edge")

    def publish(
        self,
        add: Mapping[str, Path | bytes],
        remove: Iterable[str] = (),
        *,
        column: Column = COLUMN,
        now: datetime = NOW,
        priority: Mapping[str, int] | None = None,
    ) -> int:
        """Publish on the column's channel (and list the column), return the channel's seq."""
        columns: tuple[Column, ...] = ()
        if CATALOGUE_PATH in self.publisher.files(INDEX_CHANNEL):
            columns = decode_catalogue(self.publisher.read(INDEX_CHANNEL, CATALOGUE_PATH)).columns
        listed = {each.column_id: each for each in (*columns, column)}
        changes = {
            INDEX_CHANNEL: Change(add={CATALOGUE_PATH: encode_catalogue(Catalogue(columns=tuple(listed.values())))}),
            column_channel(column.column_id): Change(add=add, remove=tuple(remove), priority=priority or {}),
        }
        return self.publisher.publish_many(changes, now)[column_channel(column.column_id)].seq


def catalogue_of(*items: Courseware, column: Column = COLUMN) -> bytes:
    """The catalogue of a column's channel."""
    return encode_catalogue(Catalogue(columns=(column,), courseware=items))


def served(edge: Path) -> tuple[int, dict[str, bytes]]:
    """The edge's snapshot number, and what it offers besides the list of columns."""
    active = Store(edge).active()
    if active is None:
        return 0, {}
    files: dict[str, bytes] = {}
    for release in reversed(tuple(active.releases.values())):
        if release.channel != INDEX_CHANNEL:
            files.update({name: each.file.read_bytes() for name, each in release.files.items()})
    return active.seq, files


class StaticServer:
    """Serves a folder, ranges included; writes down what was asked; misbehaves where told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.faults: dict[str, Fault] = {}
        """By the first part of the path: ``metadata``, ``packs``…"""
        self.url = ""
        self.hung = asyncio.Event()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name = request.path.lstrip("/")
        self.asked.append(name)
        file = self.folder / name
        if not file.is_file():
            raise web.HTTPNotFound
        fault = self.faults.get(name.split("/")[0])
        return await fault(request, file) if fault else web.FileResponse(file)


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
