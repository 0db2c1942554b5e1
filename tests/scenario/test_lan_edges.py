"""Edges on one LAN fetch a release once, together; chains of edges; those that die, lie or lose their line."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import random
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from edge_server.uplink.discovery import Discovery
from runtime.service import running
from sync.ids import sha256_hex
from sync.listing import listing_root
from sync.publishing import Publisher
from sync.road.mirrors import Mirrors
from sync.road.neighbours import Peer
from tests.lan_lab import CLOCK, NOW, LanEdge, Uplink, over, together, uplink_to

REPOSITORY = Path(__file__).resolve().parents[2]
RATE_BPS = 80e6
LESSON_BYTES = 7_000_000
PART_BYTES = 4 * 1024 * 1024
"""Of one request."""


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


FILES = {
    "catalogue.json": b'{"lessons": 3}' * 40,
    **{f"lesson{n}.bin": noise(n, LESSON_BYTES) for n in range(3)},
    **{f"page{n}.html": b"<p>%d</p>" % n + b"text " * (200 + n) for n in range(20)},
}
SIZE = sum(len(data) for data in FILES.values())


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    publisher = Publisher.init(tmp_path_factory.mktemp("central") / "central", NOW)
    publisher.publish("main", add=FILES, remove=(), now=NOW)
    return publisher


class Village:
    def __init__(self, root: Path, publisher: Publisher, uplink: Uplink, stack: AsyncExitStack) -> None:
        self.root, self.publisher, self.uplink, self.stack = root, publisher, uplink, stack
        self.edges: list[LanEdge] = []
        self.more: list[Peer] = []
        self.anchor = publisher.trust_anchor.read_bytes()

    def peers(self) -> list[Peer]:
        return [Peer(each.url) for each in self.edges] + self.more

    async def edge(self, name: str, **options: object) -> LanEdge:
        edge = LanEdge(self.root / name, self.anchor, over(self.uplink.url), self.peers, **options)  # type: ignore[arg-type]
        await self.stack.enter_async_context(edge.serving())
        self.edges.append(edge)
        return edge


@asynccontextmanager
async def village(root: Path, publisher: Publisher, rate_bps: float | None = RATE_BPS) -> AsyncIterator[Village]:
    async with AsyncExitStack() as stack:
        uplink = await stack.enter_async_context(uplink_to(publisher.published, rate_bps))
        yield Village(root, publisher, uplink, stack)


async def test_every_byte_crosses_the_uplink_once(tmp_path: Path, published: Publisher) -> None:
    async with village(tmp_path, published) as it:
        edges = [await it.edge(name) for name in ("a", "b", "c")]
        await together(*edges)
        for each in edges:
            assert each.files() == FILES
        assert it.uplink.sent["packs"] <= 1.05 * SIZE
        assert sum(it.uplink.sent.values()) <= 1.05 * SIZE, "with everything else"
        uplink = sum(each.neighbourly.uplink_meter.tallies["packs"].body_bytes for each in edges)
        lan = sum(each.neighbourly.lan_meter.tallies["packs"].body_bytes for each in edges)
        assert uplink == it.uplink.sent["packs"] and uplink + lan == 3 * uplink, "each counts the two apart"


async def test_one_is_killed_in_the_middle(tmp_path: Path, published: Publisher) -> None:
    async with village(tmp_path, published) as it:
        first, second = await it.edge("a"), await it.edge("b")
        process, url = await doomed(it, tmp_path / "c")
        it.more.append(Peer(url))
        async with asyncio.TaskGroup() as group:
            for each in (first, second):
                group.create_task(each.pull())
            while process.returncode is None:
                await CLOCK.sleep_until(CLOCK.monotonic() + 0.02)
                seen = [other for each in (first, second) for other in each.neighbourly.neighbours if other.url == url]
                moved = max((other.standing.moved for other in seen if other.standing is not None), default=0)
                if any(other.body_bytes > PART_BYTES // 2 for other in seen) or moved > SIZE // 2:
                    process.kill()
                    await process.wait()
        assert process.returncode == -9
        assert first.files() == second.files() == FILES
        assert SIZE // 10 < moved < SIZE, "it died in the middle"
        assert it.uplink.sent["packs"] <= SIZE + 3 * PART_BYTES, "lost is what was on its line"


async def doomed(it: Village, root: Path) -> tuple[asyncio.subprocess.Process, str]:
    """Start an edge that is to be killed; return its address."""
    anchor = root.with_suffix(".anchor")
    await asyncio.to_thread(anchor.write_bytes, it.anchor)
    words = [str(root), str(anchor), it.uplink.url, *(each.url for each in it.edges)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.scenario.test_lan_edges", *words, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    return process, (await process.stdout.readline()).decode().strip()


async def edge_life(root: Path, anchor: bytes, uplink: str, peers: list[Peer]) -> None:
    edge = LanEdge(root, anchor, over(uplink), lambda: peers)
    async with edge.serving():
        print(edge.url, flush=True)
        await edge.pull()
        await asyncio.Event().wait()


@pytest.mark.parametrize("first", ["honest", "liar"])
async def test_a_liar_is_refused(tmp_path: Path, published: Publisher, first: str) -> None:
    """Once it already has all, so that it is asked first for everything; once it pulls at the same time."""

    def flip(piece: bytes) -> bytes:
        return piece[:1000] + bytes([piece[1000] ^ 1]) + piece[1001:]

    async with village(tmp_path, published) as it:
        liar = await it.edge("liar", spoil=flip)
        if first == "liar":
            await liar.pull()
        edges = [await it.edge("a"), await it.edge("b")]
        await together(*edges) if first == "liar" else await together(liar, *edges)
        for each in [liar, *edges]:
            assert each.files() == FILES
            assert each.holding.verify() == () and each.holding.damaged() == ()
        seen = [other for each in edges for other in each.neighbourly.neighbours if other.id == "liar"]
        assert len(seen) == 2 and any("wrong bytes in packs/" in other.left_out for other in seen)
        assert it.uplink.sent["packs"] <= (3 if first == "liar" else 2) * SIZE
        for other in seen:
            assert other.body_bytes < 4 * PART_BYTES, "asked no more after the first lies"


async def test_the_uplink_is_cut_when_one_has_all(tmp_path: Path, published: Publisher) -> None:
    async with village(tmp_path, published, None) as it:
        first, second = await it.edge("a"), await it.edge("b")
        await first.pull()
        it.uplink.is_cut = True
        pulled = await second.pull()
        assert pulled.changed and second.files() == FILES
        assert second.neighbourly.uplink_meter.body_bytes == 0
        assert second.neighbourly.lan_meter.body_bytes >= SIZE * 0.98
        again = await second.pull()
        assert not again.changed


async def test_the_uplink_of_one_is_cut_in_the_middle(tmp_path: Path, published: Publisher) -> None:
    """The others bring the rest, also for the one without a line."""
    async with village(tmp_path, published) as it, uplink_to(published.published, RATE_BPS / 2) as own:
        first, second = await it.edge("a"), await it.edge("b")
        third = LanEdge(tmp_path / "c", it.anchor, over(own.url), it.peers)
        await it.stack.enter_async_context(third.serving())
        it.edges.append(third)
        async with asyncio.TaskGroup() as group:
            for each in (first, second, third):
                group.create_task(each.pull())
            while third.bulletin.moved < SIZE // 5:
                await CLOCK.sleep_until(CLOCK.monotonic() + 0.02)
            own.is_cut = True
        for each in (first, second, third):
            assert each.files() == FILES
        assert own.sent["packs"] + it.uplink.sent["packs"] <= SIZE + 2 * PART_BYTES


async def test_a_chain_of_three(tmp_path: Path, published: Publisher) -> None:
    """publisher → A → B → C; each asks only the level above. With the middle one down C takes its second source."""
    async with village(tmp_path, published, None) as it:
        first = await it.edge("a")
        second = LanEdge(tmp_path / "b", it.anchor, over(first.url), list)
        async with second.serving():
            await first.pull()
            await second.pull()
            third = LanEdge(tmp_path / "c", it.anchor, Mirrors([over(second.url), over(it.uplink.url)], CLOCK), list)
            async with third.serving():
                before = it.uplink.sent.copy()
                await third.pull()
                assert it.uplink.sent == before, "the leaf needed nothing from the top"
                assert second.relay.sent_bytes >= SIZE * 0.98
                assert listing_root(third.listing()) == listing_root(it.publisher.listing("main"))
                assert third.files() == FILES

        fourth = LanEdge(tmp_path / "d", it.anchor, Mirrors([over(second.url), over(it.uplink.url)], CLOCK), list)
        async with fourth.serving():
            await fourth.pull()  # nobody listens any more at the second
            assert it.uplink.sent["packs"] - before["packs"] >= SIZE * 0.98
            assert listing_root(fourth.listing()) == listing_root(first.listing())
            assert fourth.files() == FILES


async def test_a_new_release_spreads_as_a_change(tmp_path: Path) -> None:
    """An edge gives what is new, and what it held before; also after a restart."""
    publisher = Publisher.init(tmp_path / "central", NOW)
    old = {"a.bin": noise(1, 2_000_000), "b.txt": b"text " * 1000}
    publisher.publish("main", add=old, remove=(), now=NOW)
    async with village(tmp_path, publisher, None) as it:
        first, second = await it.edge("a"), await it.edge("b")
        await together(first, second)
        new = {**old, "a.bin": old["a.bin"][:900_000] + noise(2, 400_000) + old["a.bin"][900_000:]}
        publisher.publish("main", add={"a.bin": new["a.bin"]}, remove=(), now=NOW)
        await first.pull()
        gone = sha256_hex(old["a.bin"])
        first.holding.remove(gone)
        first.window.sweep()
        it.uplink.is_cut = True
        before = second.neighbourly.lan_meter.tallies["packs"].body_bytes
        await second.pull()
        assert second.files() == first.files() == new
        moved = second.neighbourly.lan_meter.tallies["packs"].body_bytes - before
        assert 400_000 <= moved < 600_000

        it.edges.clear()
        fresh = LanEdge(tmp_path / "a", it.anchor, over(it.uplink.url), it.peers)  # the same folder, a new process
        async with fresh.serving():
            places = [span for span in fresh.window._book.of(sha256_hex(new["a.bin"]))]
            assert sum(int(span.stored.sum()) for span in places) == len(new["a.bin"]), "old units are not forgotten"
            for span in places:
                got = b"".join(fresh.window.pieces(span.pack.hex(), span.start, span.stop))
                pack = publisher.published / "packs" / span.pack.hex()[:2] / span.pack.hex()
                assert got == pack.read_bytes()[span.start : span.stop]


@contextmanager
def two_networks() -> Iterator[tuple[str, str]]:
    """Two network namespaces with a cable between them."""
    names = (f"edge-{os.getpid()}-0", f"edge-{os.getpid()}-1")

    def ip(*words: str) -> None:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")

    try:
        try:
            for name in names:
                ip("netns", "add", name)
            ip("link", "add", "v0", "netns", names[0], "type", "veth", "peer", "name", "v0", "netns", names[1])
            for number, name in enumerate(names):
                ip("-n", name, "addr", "add", f"10.99.7.{number + 1}/24", "dev", "v0")
                ip("-n", name, "link", "set", "v0", "up")
                ip("-n", name, "link", "set", "lo", "up")
        except OSError as error:
            pytest.skip(f"needs network namespaces: {error}")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


class Found:
    """A process that looks for others and prints, as a line of JSON, whom it knows, whenever that changes."""

    def __init__(self, network: str, edge_id: str, area: str) -> None:
        words = [sys.executable, "-m", "tests.scenario.test_lan_edges", "discover", edge_id, area]
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", network, *words],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)

    def knows(self, wanted: list[str], timeout_s: float = 12.0) -> bool:
        until = CLOCK.monotonic() + timeout_s
        seen: list[str] | None = None
        while seen != wanted and (left := until - CLOCK.monotonic()) > 0:
            with suppress(queue.Empty):
                seen = json.loads(self.lines.get(timeout=left))
        return seen == wanted

    def end(self) -> str:
        """Let it leave as an edge does that is stopped; return what it complained about."""
        _, said = self.process.communicate(timeout=10)
        self.thread.join()
        return said


def test_edges_find_each_other_by_multicast() -> None:
    with two_networks() as (left, right), ExitStack() as stack:
        edges = [Found(left, "a", "county"), Found(right, "b", "county"), Found(right, "c", "elsewhere")]
        for each in edges:
            stack.callback(each.process.kill)
        first, second, stranger = edges
        assert first.knows(["http://10.99.7.2:7102/sync/"])
        assert second.knows(["http://10.99.7.1:7101/sync/"])
        assert second.end() == ""
        assert first.knows([]), "it said goodbye"
        subprocess.run(["ip", "-n", left, "link", "set", "v0", "down"], check=True)
        assert stranger.end() == ""
        assert first.end() == "", "no network is no error"
        assert first.process.returncode == 0 and stranger.lines.get() == "[]\n" and stranger.lines.empty()


async def discover(edge_id: str, area: str) -> None:
    loop = asyncio.get_running_loop()
    discovery = Discovery(edge_id, area, port=lambda: 7100 + " abc".index(edge_id), clock=CLOCK)
    leaving = loop.run_in_executor(None, sys.stdin.read)
    said: list[str] | None = None
    slowest_s = 0.0
    async with running(discovery, grace=1):
        while not leaving.done():
            urls = [each.url for each in discovery.peers()]
            if urls != said:
                print(json.dumps(said := urls), flush=True)
            before_s = CLOCK.monotonic()
            await CLOCK.sleep_until(before_s + 0.02)
            slowest_s = max(slowest_s, CLOCK.monotonic() - before_s)
    if slowest_s > 0.5:
        print(f"the event loop was blocked for {slowest_s} s", file=sys.stderr)


if __name__ == "__main__":
    if sys.argv[1] == "discover":
        asyncio.run(discover(*sys.argv[2:]))
    else:
        folder, anchor, uplink, *others = sys.argv[1:]
        asyncio.run(edge_life(Path(folder), Path(anchor).read_bytes(), uplink, [Peer(url) for url in others]))
