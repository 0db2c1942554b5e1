"""A publisher behind a counting, slow line, and edges that hand on to each other: real pullers, real HTTP servers."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from edge_server.uplink.relay import Relay, routes
from runtime.clock import SystemClock
from sync.holding import Holding
from sync.listing import Listing
from sync.pull import Pulled, Puller
from sync.pull.memory import kept_listing
from sync.relay import Keep, Keeping, PackWindow
from sync.road import Source
from sync.road.http import HttpSource
from sync.road.neighbours import Bulletin, Neighbourly, Peer
from sync.road.retrying import RetryPolicy
from sync.road.throttle import Throttle

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PIECE_BYTES = 32 * 1024
CLOCK = SystemClock()


class Uplink:
    """Serves a folder with ranges, at a rate for all together; counts bodies; can be cut."""

    def __init__(self, folder: Path, rate_bps: float | None) -> None:
        self.folder = folder
        self.gate = Throttle(CLOCK, lambda: rate_bps)
        self.sent: Counter[str] = Counter()
        """Bytes by the first part of names."""
        self.is_cut = False
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        name = request.path.lstrip("/")
        if self.is_cut:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        file = self.folder / name
        if not file.is_file():
            raise web.HTTPNotFound
        data = file.read_bytes()
        response = web.StreamResponse()
        if (asked := re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))) is not None:
            start, stop = int(asked[1]), int(asked[2]) + 1
            response = web.StreamResponse(
                status=206, headers={"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}
            )
            data = data[start:stop]
        response.content_length = len(data)
        await response.prepare(request)
        for at in range(0, len(data), PIECE_BYTES):
            await self.gate.ready()
            piece = data[at : at + PIECE_BYTES]
            self.gate.passed(len(piece))
            if self.is_cut:
                assert request.transport is not None
                request.transport.abort()
                return response
            self.sent[name.split("/")[0]] += len(piece)
            await response.write(piece)
        return response


@asynccontextmanager
async def listening(*defs: web.RouteDef) -> AsyncIterator[tuple[str, web.AppRunner]]:
    app = web.Application()
    app.add_routes(defs)
    runner = web.AppRunner(app, shutdown_timeout=0.05, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/", runner
    finally:
        await runner.cleanup()


@asynccontextmanager
async def uplink_to(folder: Path, rate_bps: float | None = None) -> AsyncIterator[Uplink]:
    uplink = Uplink(folder, rate_bps)
    async with listening(web.get("/{name:.+}", uplink.answer)) as (url, _):
        uplink.url = url
        yield uplink


class LanEdge:
    """An edge with everything that it needs to be a neighbour."""

    def __init__(
        self,
        root: Path,
        anchor: bytes,
        source: Source,
        peers: Callable[[], Sequence[Peer]],
        *,
        attempts: int = 3,
        spoil: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """``spoil`` changes what it sends of packs: a liar."""
        self.root = root
        self.holding = Holding(root)
        self.window = PackWindow(self.holding)
        if spoil is not None:
            honest = self.window.pieces
            self.window.pieces = lambda *part: map(spoil, honest(*part))  # type: ignore[method-assign,assignment]
        self.keep = Keep(root / "relay")
        self.bulletin = Bulletin(root.name)
        self.relay = Relay(self.bulletin, self.keep, self.window)
        self.neighbourly = Neighbourly(self.bulletin, source, peers, CLOCK)
        self.source = Keeping(self.neighbourly, self.keep)
        self.puller = Puller(
            trust_dir=root / "trust",
            source=self.source,
            holding=self.holding,
            anchor=anchor,
            retry=RetryPolicy(attempts=attempts, edge_id=root.name, scale=0.05),
            watch=self.window,
        )
        self.url = ""
        self.runner: web.AppRunner | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[LanEdge]:
        async with listening(*routes(self.relay)) as (url, self.runner):
            self.url = url + "sync/"
            try:
                yield self
            finally:
                await self.puller.close()
                self.holding.close()
                self.window.close()

    async def pull(self, channel: str = "main") -> Pulled:
        """What the edge's uplink does with a new release."""
        try:
            seen = (await self.puller.look([channel], now=NOW)).seen[channel]
            coming = await self.puller.prepare(seen)
            self.bulletin.is_coming(channel, seen.head.seq)
            try:
                pulled = await self.puller.fetch(coming)
            except BaseException:
                self.bulletin.is_given_up(channel)
                raise
            self.bulletin.is_held(channel, seen.head.seq)
            return pulled
        finally:
            await self.puller.close()

    def listing(self, channel: str = "main") -> Listing:
        listing = kept_listing(self.root / "trust", channel)
        assert listing is not None
        return listing

    def files(self) -> dict[str, bytes]:
        return {name: self.holding.path(file.sha256).read_bytes() for name, file in self.listing().files.items()}


def over(url: str) -> Source:
    return HttpSource(url, progress_timeout_s=5.0)


async def together(*edges: LanEdge) -> None:
    """Let them pull at the same time."""
    async with asyncio.TaskGroup() as group:
        for each in edges:
            group.create_task(each.pull())
