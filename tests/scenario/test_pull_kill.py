"""kill -9 at random moments of a pull over a slow line: held objects are whole, the listing is the old or the new one,
little is fetched again, and in the end nothing is left over.

The longer drill: ``python -m tests.scenario.test_pull_kill 200``.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sync.holding import Holding
from sync.ids import sha256_hex
from sync.listing import decode_listing
from sync.publishing import Publisher

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RATE_BYTES_PER_S = 4_000_000
PIECE_BYTES = 4096
KILLS = 5
AGAIN_MAX_BYTES = 1024 * 1024
"""Per kill."""


def film(frames: int) -> bytes:
    """A film whose units are long: noise, about 110 KB a picture, in groups of about nine pictures."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        video.options = {"preset": "ultrafast", "qp": "18", "g": "250", "threads": "1"}
        source = np.random.default_rng(1)
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(source.integers(0, 255, (360, 320), dtype=np.uint8), format="yuv420p")
            picture.pts = number
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
    return out.getvalue()


LESSON = random.Random(1).randbytes(2_000_000)
OLD = {"catalogue.json": b'{"n": 1}', "lesson.bin": LESSON, "goes.bin": LESSON[:50_000][::-1]}
NEW = {
    "catalogue.json": b'{"n": 2}',
    "lesson.bin": LESSON[:500_000] + random.Random(2).randbytes(800_000) + LESSON[600_000:],
    "other.bin": random.Random(3).randbytes(100_000) + LESSON[1_000_000:1_300_000],
    "film.mp4": film(frames=12),
    **{f"page{n}.html": b"<p>page %d</p>" % n for n in range(10)},
}

ZYGOTE = """
import asyncio, json, os, sys
from pathlib import Path
from tests.scenario.test_pull_kill import edge_life

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        asyncio.run(edge_life(**json.loads(line)))
        os._exit(0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


async def edge_life(root: str, url: str) -> None:
    """What an edge does with a new release: pull, activate, collect."""
    from sync.listing import encode_listing
    from sync.pull import Puller
    from sync.road.http import HttpSource
    from sync.store.files import write_file

    edge = Path(root)
    holding = Holding(edge)
    anchor = (edge / "anchor").read_bytes()
    puller = Puller(trust_dir=edge / "trust", source=HttpSource(url), holding=holding, anchor=anchor)
    pulled = await puller.pull("main", now=NOW)
    write_file(edge / "current", encode_listing(pulled.listing))
    keep = {file.sha256 for file in pulled.listing.files.values()}
    for sha256 in list(holding.ids()):
        if sha256 not in keep:
            holding.remove(sha256)
    holding.prune_staged(lambda _: False)
    holding.prune_meta()
    holding.prune_recipes()
    holding.close()


class SlowServer:
    """Serves files and ranges of files at a rate; counts what was read from it of packs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pack_bytes = 0
        self.port = 0
        self._free_at = 0.0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(10)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        writer.transport.set_write_buffer_limits(0)
        try:
            while True:
                await self._answer((await reader.readuntil(b"\r\n\r\n")).decode(), writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        name = head.split(" ")[1].lstrip("/")
        file = self.folder / name
        if not file.is_file():
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        data = file.read_bytes()
        asked = re.search(r"(?i)\r\nrange: bytes=(\d+)-(\d+)\r\n", head)
        if asked is None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data))
        else:
            start, stop, whole = int(asked[1]), int(asked[2]) + 1, len(data)
            data = data[start:stop]
            writer.write(
                b"HTTP/1.1 206 Partial Content\r\nContent-Length: %d\r\nContent-Range: bytes %d-%d/%d\r\n\r\n"
                % (len(data), start, stop - 1, whole)
            )
        for at in range(0, len(data), PIECE_BYTES):
            piece = data[at : at + PIECE_BYTES]
            now = self._loop.time()
            self._free_at = max(self._free_at, now) + len(piece) / RATE_BYTES_PER_S
            await asyncio.sleep(self._free_at - now)
            writer.write(piece)
            await writer.drain()
            if name.startswith("packs/"):
                self.pack_bytes += len(piece)


class Edges:
    """Lives of an edge: children of one process that has everything imported already."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", ZYGOTE], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def live(self, root: Path, url: str, kill_after_s: float | None) -> bool:
        """Let an edge live so long; return True when it came to its end by itself."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"root": str(root), "url": url}).encode() + b"\n")
        self._process.stdin.flush()
        child = int(self._process.stdout.readline())
        ended, _, _ = select.select([self._process.stdout], [], [], kill_after_s)
        if not ended:
            os.kill(child, signal.SIGKILL)
        code = int(self._process.stdout.readline())
        assert code in (0, -signal.SIGKILL), code
        return code == 0

    def end(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(timeout=10) == 0


@contextmanager
def scene(folder: Path) -> Iterator[tuple[SlowServer, Edges, Path]]:
    """A publisher with two releases, and an edge that holds the first."""
    publisher = Publisher.init(folder / "central", NOW)
    edge = folder / "first"
    edge.mkdir()
    (edge / "anchor").write_bytes(publisher.trust_anchor.read_bytes())
    publisher.publish("main", add=OLD, remove=(), now=NOW)
    edges = Edges()
    server = SlowServer(publisher.published)
    try:
        assert edges.live(edge, f"http://127.0.0.1:{server.port}", None)
        changed = {name: data for name, data in NEW.items() if OLD.get(name) != data}
        publisher.publish("main", add=changed, remove=[name for name in OLD if name not in NEW], now=NOW)
        yield server, edges, edge
    finally:
        server.end()
        edges.end()


def served(edge: Path) -> dict[str, bytes]:
    """What an edge that starts now would serve. Every object that is visible must be whole."""
    for path in (edge / "objects").rglob("*"):
        if path.is_file():
            assert sha256_hex(path.read_bytes()) == path.name
    listing = decode_listing((edge / "current").read_bytes())
    return {
        name: (edge / "objects" / file.sha256[:2] / file.sha256).read_bytes() for name, file in listing.files.items()
    }


def leftovers(edge: Path) -> list[str]:
    """Files that nothing needs once the new release is active."""
    wanted = {sha256_hex(data) for data in NEW.values()}
    objects = [path.name for path in (edge / "objects").rglob("*") if path.is_file() and path.name not in wanted]
    staged = [path.name for path in (edge / "staging").rglob("*") if path.is_file()]
    recipes = [path.name for path in (edge / "recipes").rglob("*") if path.is_file()]
    return objects + staged + recipes[len(wanted) :]


def drill(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill so many edges; return what it cost."""
    source = random.Random(seed)
    worst = total_again = done = 0
    seen = set()
    with scene(folder) as (server, edges, first):
        url = f"http://127.0.0.1:{server.port}"
        loop = asyncio.new_event_loop()
        whole = shutil.copytree(first, folder / "whole")
        began_s, before = loop.time(), server.pack_bytes
        assert edges.live(whole, url, None)
        whole_s, whole_bytes = loop.time() - began_s, server.pack_bytes - before
        loop.close()
        assert served(whole) == NEW and leftovers(whole) == []
        assert 2_000_000 < whole_bytes < 2_600_000
        while done < kills:
            edge = shutil.copytree(first, folder / "edge")
            before, lives = server.pack_bytes, 0
            while not edges.live(edge, url, source.uniform(0.0, whole_s) if done < kills else None):
                lives, done = lives + 1, done + 1
                files = served(edge)
                assert files in (OLD, NEW)
                seen.add(files == NEW)
            assert served(edge) == NEW and leftovers(edge) == []
            again = server.pack_bytes - before - whole_bytes
            total_again += again
            if lives:
                worst = max(worst, again // lives)
                assert again <= lives * AGAIN_MAX_BYTES
            shutil.rmtree(edge)
    return {"kills": done, "again_bytes_per_kill": total_again // done, "worst": worst, "ended_new": True in seen}


@pytest.mark.timeout(60)
def test_an_edge_is_killed_again_and_again(tmp_path: Path) -> None:
    outcome = drill(tmp_path, KILLS, 20260301)
    assert outcome["kills"] >= KILLS


def main() -> None:
    """Run the long drill and print what it cost."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as folder:
        print(drill(Path(folder), kills, kills))


if __name__ == "__main__":
    main()
