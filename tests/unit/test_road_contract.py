"""What every source promises, asked of each of them, and of each policy around one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from runtime.clock import FakeClock
from sync import Corrupt, Missing, TooLong, Unreachable
from sync.road import Source
from sync.road.folder import PIECE_BYTES, FolderSource
from sync.road.http import HttpSource
from sync.road.metered import Meter, Metered
from sync.road.mirrors import Mirrors
from sync.road.retrying import Retrying, RetryPolicy
from sync.road.throttle import Throttle

DATA = random.Random(2).randbytes(PIECE_BYTES * 2 + 77)
NAME = "packs/ab/" + "cd" * 32
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

Make = Callable[[Path, str], Source]


def clock() -> FakeClock:
    return FakeClock(NOW)


def around(wrap: Callable[[Source], Source], inner: Make) -> Make:
    return lambda folder, url: wrap(inner(folder, url))


def over_http(folder: Path, url: str) -> Source:
    return HttpSource(url)


def from_folder(folder: Path, url: str) -> Source:
    return FolderSource(folder)


SOURCES: dict[str, Make] = {
    "http": over_http,
    "folder": from_folder,
    "http behind a gate": lambda folder, url: HttpSource(url, gate=Throttle(clock(), lambda: None)),
    "folder behind a gate": lambda folder, url: FolderSource(folder, gate=Throttle(clock(), lambda: None)),
    "metered": around(lambda inner: Metered(inner, Meter(clock())), over_http),
    "retrying": around(lambda inner: Retrying(inner, clock(), RetryPolicy()), over_http),
    "mirrors": lambda folder, url: Mirrors([FolderSource(folder), HttpSource(url)], clock()),
    "all of them": lambda folder, url: Retrying(
        Mirrors([Metered(HttpSource(url), Meter(clock())), FolderSource(folder)], clock()), clock(), RetryPolicy()
    ),
}


@asynccontextmanager
async def published(root: Path) -> AsyncIterator[tuple[Path, str]]:
    folder = root / "published"
    (folder / NAME).parent.mkdir(parents=True)
    (folder / NAME).write_bytes(DATA)
    (folder / "empty").write_bytes(b"")
    app = web.Application()
    app.router.add_static("/", folder)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield folder, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture(params=SOURCES)
async def source(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Source]:
    async with published(tmp_path) as (folder, url):
        source = SOURCES[request.param](folder, url)
        yield source
        await source.close()
        await source.close()


async def test_a_whole_file(source: Source) -> None:
    moved: list[int] = []
    assert await source.fetch(NAME, limit_bytes=len(DATA), received=moved.append) == DATA
    assert sum(moved) == len(DATA)
    assert await source.fetch("empty", limit_bytes=0, received=moved.append) == b""
    with pytest.raises(TooLong):
        await source.fetch(NAME, limit_bytes=len(DATA) - 1, received=moved.append)


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, len(DATA)),
        (0, 1),
        (len(DATA) - 1, len(DATA)),
        (PIECE_BYTES - 1, PIECE_BYTES + 1),
        (5, 2 * PIECE_BYTES + 5),
        (9, 9),
        (len(DATA), len(DATA)),
    ],
)
async def test_a_part_of_a_file(source: Source, start: int, stop: int) -> None:
    body, moved = bytearray(), list[int]()
    await source.read(NAME, start, stop, body.extend, received=moved.append)
    assert bytes(body) == DATA[start:stop]
    assert sum(moved) == stop - start
    body.clear()
    await source.read(NAME, start, stop, body.extend)
    assert bytes(body) == DATA[start:stop]


async def test_parts_at_the_same_time(source: Source) -> None:
    async def part(start: int) -> bytes:
        body = bytearray()
        await source.read(NAME, start, start + 100_000, body.extend)
        return bytes(body)

    starts = range(0, 2_000_000, 100_000)
    assert b"".join(await asyncio.gather(*(part(start) for start in starts))) == DATA[:2_000_000]


async def test_what_is_not_there(source: Source) -> None:
    for name in ("nothing", "packs/none/x", NAME + "/x"):
        with pytest.raises(Missing):
            await source.fetch(name, limit_bytes=10, received=lambda n: None)
        with pytest.raises(Missing):
            await source.read(name, 0, 10, lambda piece: None)
    with pytest.raises(Missing):
        await source.read(NAME, len(DATA), len(DATA) + 1, lambda piece: None)


async def test_a_part_that_ends_behind_the_end(source: Source) -> None:
    body = bytearray()
    with pytest.raises(Corrupt):
        await source.read(NAME, len(DATA) - 5, len(DATA) + 5, body.extend)
    assert not body


async def test_what_is_no_part(source: Source) -> None:
    for start, stop in ((-1, 5), (5, 4)):
        with pytest.raises(ValueError, match="range"):
            await source.read(NAME, start, stop, lambda piece: None)


@pytest.mark.parametrize("name", ["../published/empty", "/etc/passwd", "a/../empty", "packs//x", "", "empty\0", "."])
async def test_what_is_no_name(source: Source, name: str) -> None:
    for _ in range(2):
        with pytest.raises(Corrupt):
            await source.fetch(name, limit_bytes=10_000, received=lambda n: None)
        with pytest.raises(Corrupt):
            await source.read(name, 0, 1, lambda piece: None)


@pytest.mark.parametrize("kind", [Corrupt, Unreachable, Missing, OSError, KeyError, MemoryError])
async def test_what_a_sink_raises_ends_the_transfer_and_comes_out_as_it_is(
    source: Source, kind: type[Exception]
) -> None:
    error = kind("mine")
    seen = 0

    def fail(piece: bytes) -> None:
        nonlocal seen
        seen += 1
        raise error

    with pytest.raises(kind) as caught:
        await source.read(NAME, 0, len(DATA), fail)
    assert caught.value is error and seen == 1
    body = bytearray()
    await source.read(NAME, 0, 10, body.extend)
    assert bytes(body) == DATA[:10]
