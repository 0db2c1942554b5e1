"""A publisher of heads only, edges that believe them, and a loopback server that misbehaves where told.

Real keys, real metadata, real files and a real HTTP server; what a head names does not exist, since nothing here
fetches it.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web

from sync.head import HEAD_MAX_BYTES, Head, decode_head, encode_head, head_path
from sync.ids import sha256_hex
from sync.road.folder import FolderSource
from sync.store.files import write_file
from sync.trust import ANCHOR_NAME, Road
from sync.trust.bridge import Fetcher
from sync.trust.documents import TIMESTAMP_NAME
from sync.trust.keys import Keys
from sync.trust.memory import ChannelMemory
from sync.trust.refresh import trusted_targets
from sync.trust.rotation import rotated
from sync.trust.signing import Ledger

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
PATIENCE_S = 1.0
"""For a file of the metadata: short, for the sake of the tests."""


def head_of(channel: str, seq: int, issued: datetime) -> Head:
    return Head(
        format=2,
        area="",
        channel=channel,
        seq=seq,
        issued=issued.strftime("%Y-%m-%dT%H:%M:%SZ"),
        root="0" * 64,
        files=0,
        release=("0" * 64, 100),
        skips=("0" * 64, 100),
    )


class House:
    """The publishing side."""

    def __init__(self, root: Path, now: datetime = NOW) -> None:
        self.keys = Keys(root / "keys")
        self.published = root / "published"
        self.keys.generate()
        self.write(Ledger.first(self.keys, now))

    @property
    def anchor(self) -> bytes:
        return self.metadata(ANCHOR_NAME).read_bytes()

    @property
    def source(self) -> FolderSource:
        return FolderSource(self.published)

    def metadata(self, name: str) -> Path:
        return self.published / "metadata" / name

    def ledger(self) -> Ledger:
        return Ledger.read(lambda name: self.metadata(name).read_bytes())

    def taken(self, name: str) -> bool:
        return self.metadata(name).exists()

    def write(self, ledger: Ledger, only_first: int | None = None) -> None:
        for name, data in ledger.files()[:only_first]:
            if name != TIMESTAMP_NAME and self.taken(name):
                assert self.metadata(name).read_bytes() == data, f"{name} was about to be replaced"
            write_file(self.metadata(name), data)

    def put_head(self, head: Head) -> bytes:
        raw = encode_head(head)
        write_file(self.published / "targets" / "ch" / head.channel / f"{sha256_hex(raw)}.head.json", raw)
        return raw

    def publish(self, channel: str = "main", seq: int = 1, now: datetime = NOW) -> None:
        raw = self.put_head(head_of(channel, seq, now))
        self.write(self.ledger().naming({head_path(channel): raw}, self.keys, now, self.taken))

    def refresh(self, now: datetime = NOW) -> None:
        self.write(self.ledger().refreshed(self.keys, now, self.taken, sure=True))

    def rotate(self, *names: str, now: datetime = NOW) -> None:
        self.write(rotated(self.ledger(), names, self.keys, now, self.taken))

    def bundle(self, folder: Path, now: datetime = NOW) -> FolderSource:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.published, folder)
        write_file(folder / "metadata" / TIMESTAMP_NAME, self.ledger().bundle_timestamp(self.keys, now))
        return FolderSource(folder)

    def copy(self, folder: Path) -> Path:
        """What somebody recorded on the line."""
        return Path(shutil.copytree(self.published, folder))


class Edge:
    """The believing side. ``seq`` is what it would serve after its last pull that succeeded."""

    def __init__(self, folder: Path, anchor: bytes) -> None:
        self.folder, self.anchor = folder, anchor
        self.seq = 0

    async def pull(self, source: Fetcher, channel: str = "main", *, now: datetime = NOW, road: Road = "network") -> int:
        memory = ChannelMemory(self.folder, channel, self.anchor)
        path = head_path(channel)
        found = await trusted_targets(
            [path],
            anchor=memory.anchor,
            folder=self.folder,
            source=source,
            now=now,
            received=_uncounted,
            road=road,
            patience_s=PATIENCE_S,
        )
        trusted = found[path]
        assert trusted.target is not None
        raw = memory.held(trusted.target)
        if raw is None:
            name = f"targets/ch/{channel}/{trusted.target.hashes['sha256']}.head.json"
            raw = await source.fetch(name, limit_bytes=HEAD_MAX_BYTES, received=_uncounted)
            trusted.target.verify_length_and_hashes(raw)
        head = decode_head(raw)
        memory.keep_head(raw, head, era=trusted.era)
        self.seq = head.seq
        return head.seq


def _uncounted(_: int) -> None:
    pass


Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Line:
    """A server on the loopback: hands out a folder, and something else where told."""

    folder: Path
    url: str = ""
    asked: list[str] = field(default_factory=list)
    faults: dict[str, Fault] = field(default_factory=dict)
    """By the whole name."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        name = request.path.lstrip("/")
        self.asked.append(name)
        if name in self.faults:
            return await self.faults[name](request)
        file = self.folder / name
        if not file.is_file():
            raise web.HTTPNotFound
        return web.Response(body=file.read_bytes())


@asynccontextmanager
async def line_to(folder: Path) -> AsyncIterator[Line]:
    line = Line(folder)
    app = web.Application()
    app.router.add_get("/{name:.*}", line.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        line.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield line
    finally:
        await runner.cleanup()
