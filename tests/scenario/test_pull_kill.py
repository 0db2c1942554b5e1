"""kill -9 at random moments of a pull over a slow line: held objects are whole, the listing is the old or the new one,
little is fetched again, and in the end nothing is left over.

The longer drill: ``python -m tests.scenario.test_pull_kill 200``.
"""

from __future__ import annotations

import asyncio
import io
import random
import shutil
import sys
import tempfile
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
from sync.publishing import Publisher
from tests.lives import Lives, activate, served
from tests.slow_server import SlowServer

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RATE_BYTES_PER_S = 4_000_000
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


async def edge_life(root: str, url: str) -> int:
    """What an edge does with a new release: pull, activate, collect."""
    from sync.pull import Puller
    from sync.road.http import HttpSource

    edge = Path(root)
    holding = Holding(edge)
    anchor = (edge / "anchor").read_bytes()
    puller = Puller(trust_dir=edge / "trust", source=HttpSource(url), holding=holding, anchor=anchor)
    pulled = await puller.pull("main", now=NOW)
    activate(edge, holding, pulled.listing)
    return 0


@contextmanager
def scene(folder: Path) -> Iterator[tuple[SlowServer, Lives, Path]]:
    """A publisher with two releases, and an edge that holds the first."""
    publisher = Publisher.init(folder / "central", NOW)
    edge = folder / "first"
    edge.mkdir()
    (edge / "anchor").write_bytes(publisher.trust_anchor.read_bytes())
    publisher.publish("main", add=OLD, remove=(), now=NOW)
    edges = Lives("tests.scenario.test_pull_kill")
    server = SlowServer(publisher.published)
    server.rate_bytes_per_s = RATE_BYTES_PER_S
    try:
        assert edges.live(None, root=str(edge), url=server.url) == 0
        changed = {name: data for name, data in NEW.items() if OLD.get(name) != data}
        publisher.publish("main", add=changed, remove=[name for name in OLD if name not in NEW], now=NOW)
        yield server, edges, edge
    finally:
        server.end()
        edges.end()


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

        def ended(edge: Path, kill_after_s: float | None) -> bool:
            code = edges.live(kill_after_s, root=str(edge), url=server.url)
            assert code in (0, None), code
            return code == 0

        loop = asyncio.new_event_loop()
        whole = shutil.copytree(first, folder / "whole")
        began_s, before = loop.time(), server.pack_bytes
        assert ended(whole, None)
        whole_s, whole_bytes = loop.time() - began_s, server.pack_bytes - before
        loop.close()
        assert served(whole) == NEW and leftovers(whole) == []
        assert 2_000_000 < whole_bytes < 2_600_000
        while done < kills:
            edge = shutil.copytree(first, folder / "edge")
            before, lives = server.pack_bytes, 0
            while not ended(edge, source.uniform(0.0, whole_s) if done < kills else None):
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
