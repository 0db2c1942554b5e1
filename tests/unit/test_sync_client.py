"""Pulling over a real loopback HTTP server that counts requests and misbehaves where told, and from a folder."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from runtime.clock import FakeClock, settle
from sync import Corrupt, Missing, NoSpace, SyncError, Unreachable
from sync.chunker import CHUNK_MAX_BYTES
from sync.client import Progress
from sync.ids import sha256_hex
from sync.manifest import manifest_of
from sync.store import Source
from sync.store.folder import FolderSource
from sync.store.http import HttpSource
from sync.store.wrappers import RetryPolicy
from tests.sync_lab import BIG, NOW, Lab, StaticServer, serving

FILES = {"catalogue.json": b"{}", "课件/第一课.mp4": BIG, "copy": b"{}", "empty": b""}
REST_BYTES = len(BIG) - CHUNK_MAX_BYTES


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    lab.publish({"old": b"old"})
    return lab


@pytest.fixture
async def server(lab: Lab) -> AsyncIterator[StaticServer]:
    async with serving(lab.publisher.published) as server:
        yield server


def http(server: StaticServer) -> HttpSource:
    return HttpSource(server.url, progress_timeout_s=0.3)


async def test_pulled_bytes_are_the_published_bytes(lab: Lab, server: StaticServer) -> None:
    lab.publish(FILES, remove=("old",))
    seen: list[Progress] = []
    pulled = await lab.client(http(server)).pull("main", now=NOW, on_progress=seen.append)
    assert pulled.changed and pulled.snapshot.seq == 2
    for name, data in FILES.items():
        with lab.store.objects.open(pulled.snapshot.files[name].sha256) as file:
            assert file.read() == data
    assert seen[0].bytes_done == 0 and seen[-1] == Progress(3, 3, len(BIG) + 2, len(BIG) + 2)
    # root, timestamp, snapshot, targets, bin, head, snapshot object, one manifest, two chunks of BIG and one of "{}"
    assert pulled.requests == len(server.asked) == 11
    assert pulled.bytes_moved == sum(
        (server.folder / n).stat().st_size for n in server.asked if n != "metadata/2.root.json"
    )


async def test_second_pull_moves_only_freshness(lab: Lab, server: StaticServer) -> None:
    lab.publish(FILES)
    await lab.sync(http(server))
    for refresh in (False, True):
        if refresh:
            lab.publisher.refresh(NOW)
        server.asked.clear()
        report = await lab.sync(http(server))
        assert (report.changed, report.requests) == (False, 2)
        assert report.bytes_moved == (server.folder / "metadata" / "timestamp.json").stat().st_size < 600
        assert server.asked == ["metadata/2.root.json", "metadata/timestamp.json"]


async def test_only_what_changed_is_fetched(lab: Lab, server: StaticServer) -> None:
    lab.publish(FILES)
    await lab.sync(http(server))
    server.asked.clear()
    lab.publish({"new": b"new", "renamed.mp4": BIG}, remove=("课件/第一课.mp4",))
    await lab.sync(http(server))
    assert [n for n in server.asked if n.startswith(("chunks", "manifests"))] == [
        f"chunks/{sha256_hex(b'new')[:2]}/{sha256_hex(b'new')}"
    ]
    assert lab.served()[1]["renamed.mp4"] == BIG


async def test_release_of_another_channel_moves_only_metadata(lab: Lab, server: StaticServer) -> None:
    await lab.sync(http(server))
    lab.publisher.publish("other", add={"x": b"x"}, remove=(), now=NOW)
    server.asked.clear()
    report = await lab.sync(http(server))
    assert (report.changed, report.requests) == (False, 3)  # it is in another bin
    assert {name.split("/")[0] for name in server.asked} == {"metadata"}


async def test_missing_object_is_fetched_again_without_a_new_release(lab: Lab, server: StaticServer) -> None:
    await lab.sync(http(server))
    lab.store.objects.remove(sha256_hex(b"old"))
    pulled = await lab.client(http(server)).pull("main", now=NOW)
    assert pulled.changed and pulled.requests == 3
    assert lab.served()[1] == {"old": b"old"}


# -- A server that misbehaves ---------------------------------------------------------------------------------------


def content(file: Path) -> bytes:
    return file.read_bytes()


async def cut_short(request: web.Request, file: Path) -> web.StreamResponse:
    """The file itself lost its tail."""
    return web.Response(body=content(file)[:-1])


async def too_long(request: web.Request, file: Path) -> web.StreamResponse:
    return web.Response(body=content(file) + b"x")


async def endless(request: web.Request, file: Path) -> web.StreamResponse:
    """No Content-Length, and it never stops by itself."""
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    for _ in range(1000):
        await response.write(b"x" * 65536)
    return response


async def hang_up(request: web.Request, file: Path) -> web.StreamResponse:
    """Promise the whole, send half, close."""
    data = content(file)
    response = web.StreamResponse(headers={"Content-Length": str(len(data))})
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


async def hang(request: web.Request, file: Path) -> web.StreamResponse:
    """Promise the whole, send half, and say nothing more."""
    data = content(file)
    response = web.StreamResponse(headers={"Content-Length": str(len(data))})
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    await asyncio.Event().wait()
    return response


async def fail(request: web.Request, file: Path) -> web.StreamResponse:
    raise web.HTTPServiceUnavailable


async def redirect(request: web.Request, file: Path) -> web.StreamResponse:
    if request.query:
        return web.Response(body=content(file))
    raise web.HTTPFound(f"/{request.path.lstrip('/')}?again=1")


async def vanish(request: web.Request, file: Path) -> web.StreamResponse:
    raise web.HTTPNotFound


FAULTS = [
    (cut_short, Corrupt),
    (too_long, Corrupt),
    (endless, Corrupt),
    (hang_up, Unreachable),
    (hang, Unreachable),
    (fail, Unreachable),
    (redirect, Unreachable),
    (vanish, Missing),
]


@pytest.mark.parametrize("part", ["metadata", "targets", "snapshots", "manifests", "chunks"])
@pytest.mark.parametrize(("fault", "kind"), FAULTS, ids=lambda x: getattr(x, "__name__", ""))
async def test_bad_answers_change_nothing_that_is_served(
    lab: Lab, server: StaticServer, fault: object, kind: type[SyncError], part: str
) -> None:
    await lab.sync(http(server))
    lab.publish(FILES, remove=("old",))
    server.faults[part] = fault  # type: ignore[assignment]
    expected: tuple[type[SyncError], ...] = (kind,) if part != "metadata" else (SyncError,)
    with pytest.raises(expected):
        await lab.sync(http(server))
    assert lab.served() == (1, {"old": b"old"})
    server.faults.clear()
    await lab.sync(http(server))
    assert lab.served() == (2, FILES)


@pytest.mark.parametrize("part", ["targets", "chunks"])
async def test_content_encoding_is_refused(lab: Lab, server: StaticServer, part: str) -> None:
    async def gzip(request: web.Request, file: Path) -> web.StreamResponse:
        return web.Response(body=content(file), headers={"Content-Encoding": "gzip"})

    server.faults[part] = gzip
    with pytest.raises(Corrupt, match="turn it off"):
        await lab.sync(http(server))
    assert lab.served() == (0, {})


async def test_endless_answers_are_cut_at_the_signed_length(lab: Lab, server: StaticServer) -> None:
    server.faults["chunks"] = endless
    client = lab.client(http(server))
    with pytest.raises(Corrupt):
        await client.pull("main", now=NOW)
    source, moved = http(server), []
    with pytest.raises(Corrupt):
        await source.fetch(server.asked[-1], limit_bytes=10, received=moved.append)
    await source.close()
    await source.close()
    assert sum(moved) <= 65536


# -- Trying again, going on ------------------------------------------------------------------------------------------


async def test_broken_answers_are_asked_for_again_after_growing_pauses(lab: Lab, server: StaticServer) -> None:
    left = 2

    async def twice(request: web.Request, file: Path) -> web.StreamResponse:
        nonlocal left
        left -= 1
        return await (hang_up(request, file) if left >= 0 else asyncio.to_thread(lambda: web.FileResponse(file)))

    server.faults["chunks"] = twice
    clock = FakeClock(NOW)
    policy = RetryPolicy(attempts=3, first_pause_s=10, longest_pause_s=300)
    job = asyncio.ensure_future(lab.sync(http(server), clock=clock, retry=policy))
    async with asyncio.timeout(10):
        while not job.done():
            await clock.advance(1)
            await asyncio.sleep(0.001)
    assert (await job).changed and lab.served()[1] == {"old": b"old"}
    assert clock.monotonic() >= 10 * 0.8 + 20 * 0.8


def test_pauses_grow_are_bounded_and_are_spread() -> None:
    policy = RetryPolicy(attempts=9, first_pause_s=1, longest_pause_s=30)
    pauses = [policy.pause_s("x", n) for n in range(1, 10)]
    assert all(0.8 * 2 ** (n - 1) <= pause <= 1.2 * 2 ** (n - 1) or pause == 30 for n, pause in enumerate(pauses, 1))
    assert pauses[-1] == 30
    assert len({policy.pause_s(f"{n}", 1) for n in range(20)}) > 10


async def test_absent_and_wrong_files_are_not_asked_for_again(lab: Lab, server: StaticServer) -> None:
    for fault in (vanish, too_long):
        server.faults["chunks"] = fault
        server.asked.clear()
        with pytest.raises(SyncError):
            await lab.sync(http(server), retry=RetryPolicy(attempts=5, first_pause_s=1000))
        assert sum(name.startswith("chunks") for name in server.asked) == 1


async def test_verified_chunks_survive_a_broken_pull(lab: Lab, server: StaticServer) -> None:
    lab.publish({"lesson": BIG})
    rest = manifest_of(BIG).chunks[1]

    async def no_rest(request: web.Request, file: Path) -> web.StreamResponse:
        return await (vanish(request, file) if file.name == rest else asyncio.to_thread(web.FileResponse, file))

    server.faults["chunks"] = no_rest
    with pytest.raises(Missing):
        await lab.sync(http(server))
    server.faults.clear()
    server.asked.clear()
    report = await lab.sync(http(server))
    chunks = [name for name in server.asked if name.startswith("chunks")]
    assert lab.served()[1]["lesson"] == BIG
    assert chunks == [f"chunks/{rest[:2]}/{rest}"] and report.bytes_moved < REST_BYTES + 5000


async def test_cancelled_pull_lets_go_and_can_be_repeated(lab: Lab, server: StaticServer) -> None:
    lab.publish(FILES)
    for part in ("metadata", "targets", "chunks"):
        server.hung.clear()

        async def hang_and_tell(request: web.Request, file: Path) -> web.StreamResponse:
            server.hung.set()
            return await hang(request, file)

        server.faults[part] = hang_and_tell
        source = HttpSource(server.url, progress_timeout_s=30)
        job = asyncio.ensure_future(lab.sync(source))
        async with asyncio.timeout(10):
            await server.hung.wait()
        await settle()
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        server.faults.clear()
        server.asked.clear()
    await lab.sync(http(server))  # also shows that the lock was given back
    assert lab.served()[1]["课件/第一课.mp4"] == BIG


async def test_nobody_listens(lab: Lab) -> None:
    with pytest.raises(Unreachable):
        await lab.sync(HttpSource("http://127.0.0.1:9"))


@pytest.mark.parametrize("address", ["ftp://x", "127.0.0.1", ""])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ValueError, match="http"):
        HttpSource(address)


# -- Space ----------------------------------------------------------------------------------------------------------


class Cramped:
    """An object store that says how little is left; everything else is the real one."""

    def __init__(self, lab: Lab, free: int | None) -> None:
        self._inner, self._free = lab.store.objects, free

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def free_bytes(self) -> int | None:
        return self._free


@pytest.mark.parametrize(("free", "fits"), [(999, False), (3 + 1000, True), (3 + 999, False), (None, True)])
async def test_space_is_checked_before_the_first_object(
    lab: Lab, server: StaticServer, free: int | None, fits: bool
) -> None:
    client = lab.client(http(server), spare_bytes=1000)
    client._objects = Cramped(lab, free)  # type: ignore[assignment]
    if fits:
        assert (await client.pull("main", now=NOW)).changed
        return
    with pytest.raises(NoSpace) as caught:
        await client.pull("main", now=NOW)
    assert (caught.value.needed_bytes, caught.value.free_bytes) == (1003, free)
    assert f"{1003 - (free or 0):,} more" in str(caught.value)
    assert not any(name.startswith("chunks") for name in server.asked)


async def test_derived_files_need_space_too(lab: Lab) -> None:
    client = lab.client(spare_bytes=0, disk_bytes_per_byte=3.0)
    client._objects = Cramped(lab, 8)  # type: ignore[assignment]
    with pytest.raises(NoSpace) as caught:
        await client.pull("main", now=NOW)
    assert caught.value.needed_bytes == 9


# -- Folder -----------------------------------------------------------------------------------------------------------


async def test_folder_gives_the_same_as_http(lab: Lab, server: StaticServer, tmp_path: Path) -> None:
    lab.publish(FILES)
    sources: list[Source] = [http(server), FolderSource(lab.publisher.published)]
    reports = []
    for n, source in enumerate(sources):
        twin = Lab(tmp_path / str(n), lab.publisher)
        reports.append((await twin.sync(source), twin.served()))
    (first, served), (second, served_too) = reports
    assert served == served_too and served[1]["copy"] == b"{}"
    assert (first.bytes_moved, first.requests) == (second.bytes_moved, second.requests)


async def test_folder_that_is_not_there_or_not_readable(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no folder"):
        await lab.sync(FolderSource(tmp_path / "usb"))
    source = FolderSource(lab.publisher.published)
    for name in ("metadata", "nothing", "trust/none", "metadata/timestamp.json/x"):
        with pytest.raises(Missing):
            await source.fetch(name, limit_bytes=10, received=lambda _: None)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mounting a small disk is not permitted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_disk_that_fills_up(lab: Lab, small_disk: Path) -> None:
    twin = Lab(small_disk, lab.publisher)
    await twin.sync(spare_bytes=0)
    lab.publish({"a": os.urandom(5_000_000), "b": os.urandom(5_000_000)})
    with pytest.raises(NoSpace):
        await twin.sync(spare_bytes=0)  # refused beforehand
    client = twin.client(spare_bytes=0)
    client._objects = Cramped(twin, 10**12)  # type: ignore[assignment]  # looked well, but somebody else takes the space
    with pytest.raises(NoSpace):
        await client.pull("main", now=NOW)
    assert twin.served() == (1, {"old": b"old"})
    lab.publish({}, remove=("b",))
    await twin.sync(spare_bytes=0)  # makes room first: what came of "b" is of no use any more
    assert twin.served()[0] == 3
