"""What an edge hands on to its neighbours: kept files, parts of packs out of objects, and how it is asked."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from edge_server.uplink.relay import RELAY_CONNECTIONS_MAX, Relay, is_on_lan, routes
from sync import Corrupt, Missing, Unreachable
from sync.holding.spans import BATCH_BYTES
from sync.ids import sha256_hex
from sync.publishing import Publisher
from sync.relay import Keep, Keeping, PackWindow
from sync.relay.book import SPAN_MAX_BYTES
from sync.relay.window import BOOK_NAME, RELAY_RANGE_MAX_BYTES
from sync.road.folder import FolderSource
from sync.road.http import HttpSource
from sync.road.mirrors import Mirrors
from sync.road.neighbours import Bulletin
from sync.road.standing import decode_standing
from sync.road.throttle import Throttle
from tests.lan_lab import CLOCK, NOW, LanEdge, listening

HEAD = "targets/ch/main/{}.head.json"


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


def release(data: bytes) -> str:
    return f"releases/{sha256_hex(data)}"


def kept(keep: Keep, name: str) -> bytes | None:
    try:
        return keep.path(name).read_bytes()
    except Missing:
        return None


# Keeping


def test_what_is_kept_and_what_is_not(tmp_path: Path) -> None:
    keep = Keep(tmp_path / "relay")
    data = b"something"
    good = [
        "metadata/timestamp.json",
        "metadata/12.snapshot.json",
        "metadata/1.root.json",
        "metadata/3.ch-a.json",
        HEAD.format(sha256_hex(data)),
        release(data),
        f"skips/{sha256_hex(data)}",
        f"cards/ab/{'ab' * 32}",
    ]
    bad = [
        f"packs/ab/{'ab' * 32}",
        "metadata/../timestamp.json",
        "metadata/timestamp.json.tmp",
        "standing",
        f"releases/{sha256_hex(b'else')}",
        HEAD.format(sha256_hex(b"else")),
        "targets/ch/" + sha256_hex(data) + f"/{sha256_hex(b'else')}.head.json",
    ]
    for name in good + bad:
        keep.put(name, data)
    assert [kept(keep, name) for name in good] == [data] * len(good)
    assert [kept(keep, name) for name in bad] == [None] * len(bad)
    again = Keep(tmp_path / "relay")
    assert [kept(again, name) for name in good] == [data] * len(good)


def test_what_can_change_is_replaced(tmp_path: Path) -> None:
    keep = Keep(tmp_path / "relay")
    for name in ("metadata/timestamp.json", "metadata/2.snapshot.json", f"cards/ab/{'ab' * 32}"):
        keep.put(name, b"bad")
        keep.put(name, b"good")
        assert kept(keep, name) == b"good"
    keep.put(release(b"x"), b"x")
    before = keep.path(release(b"x")).stat().st_mtime_ns
    keep.put(release(b"x"), b"x")
    assert keep.path(release(b"x")).stat().st_mtime_ns == before
    keep.drop(release(b"x"))
    assert kept(keep, release(b"x")) is None and not (tmp_path / "relay" / release(b"x")).exists()


def test_the_oldest_go_first_and_large_ones_do_not_push_out_small_ones(tmp_path: Path) -> None:
    keep = Keep(tmp_path / "relay", most_bytes=5_000, small_bytes=1_000)
    keep.put("metadata/timestamp.json", b"t" * 500)
    keep.put("metadata/1.snapshot.json", b"s" * 400)
    blobs = [bytes([n]) * 1_000 for n in range(7)]
    for blob in blobs:
        keep.put(release(blob), blob)
    assert [kept(keep, release(blob)) is not None for blob in blobs] == [False] * 3 + [True] * 4
    assert kept(keep, "metadata/1.snapshot.json") is not None
    keep.put("metadata/2.snapshot.json", b"s" * 400)
    assert kept(keep, "metadata/1.snapshot.json") is None and kept(keep, "metadata/timestamp.json") is not None
    keep.put(release(b"z" * 4_001), b"z" * 4_001)
    assert kept(keep, release(b"z" * 4_001)) is None, "longer than all may be"
    assert sum(path.stat().st_size for path in (tmp_path / "relay").rglob("*") if path.is_file()) <= 5_000
    again = Keep(tmp_path / "relay", most_bytes=3_000, small_bytes=1_000)
    again.put(release(b"new"), b"new")
    assert [kept(again, release(blob)) is not None for blob in blobs] == [False] * 6 + [True]


def test_litter_of_crashes_is_not_handed_on(tmp_path: Path) -> None:
    keep = Keep(tmp_path / "relay")
    keep.put(release(b"x"), b"x")
    keep.path(release(b"x")).write_bytes(b"")
    litter = tmp_path / "relay" / "releases" / ".abc.1.tmp"
    litter.write_bytes(b"half")
    again = Keep(tmp_path / "relay")
    assert kept(again, release(b"x")) is None and not litter.exists()


def test_what_another_process_keeps_is_found(tmp_path: Path) -> None:
    serving, pulling = Keep(tmp_path / "relay"), Keep(tmp_path / "relay")
    assert kept(serving, release(b"x")) is None
    pulling.put(release(b"x"), b"x")
    pulling.put("metadata/timestamp.json", b"1")
    assert kept(serving, release(b"x")) == b"x" and kept(serving, "metadata/timestamp.json") == b"1"
    pulling.put("metadata/timestamp.json", b"2")
    assert kept(serving, "metadata/timestamp.json") == b"2"


def test_a_disk_that_takes_nothing_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "relay").write_bytes(b"a file where the folder should be")
    keep = Keep(tmp_path / "relay")
    keep.put(release(b"x"), b"x")
    assert kept(keep, release(b"x")) is None


async def test_keeping_keeps_what_arrived_whole(tmp_path: Path) -> None:
    published = tmp_path / "published"
    (published / "releases").mkdir(parents=True)
    (published / release(b"abc")).write_bytes(b"abc")
    keep = Keep(tmp_path / "relay")
    source = Keeping(Mirrors([FolderSource(published)], CLOCK), keep)
    moved: list[int] = []
    assert await source.fetch(release(b"abc"), limit_bytes=3, received=moved.append) == b"abc"
    assert kept(keep, release(b"abc")) == b"abc" and moved == [3]
    with pytest.raises(Missing):
        await source.fetch("metadata/2.root.json", limit_bytes=99, received=moved.append)
    assert kept(keep, "metadata/2.root.json") is None
    with pytest.raises(Corrupt):
        await source.fetch("../x", limit_bytes=99, received=moved.append)
    assert not source.reject(release(b"abc")), "the only mirror is dropped"
    assert kept(keep, release(b"abc")) is None
    source.forgive()
    assert await source.fetch(release(b"abc"), limit_bytes=3, received=moved.append) == b"abc"
    assert not Keeping(FolderSource(published), keep).reject("x"), "a source that does not judge"


# Packs

TEXT = b"".join(b"<p>line %d of a page that squeezes well</p>\n" % n for n in range(4_000))
FILES = {
    "a.bin": noise(1, 3_000_000),
    "b.bin": noise(2, 5_500_000),
    "again.bin": noise(3, 100_000) + noise(2, 5_500_000)[1_000_000:2_000_000],
    "page.html": TEXT,
    "table.dat": TEXT * 3 + noise(4, 300_000),
    "small.json": b"{}",
}


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    publisher = Publisher.init(tmp_path_factory.mktemp("central") / "central", NOW)
    publisher.publish("main", add=FILES, remove=(), now=NOW)
    return publisher


@pytest.fixture
def edge(tmp_path: Path, publisher: Publisher) -> Iterator[LanEdge]:
    anchor = publisher.trust_anchor.read_bytes()
    edge = LanEdge(tmp_path / "edge", anchor, FolderSource(publisher.published), list, attempts=1)
    yield edge
    edge.holding.close()
    edge.window.close()


def packs(publisher: Publisher) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (publisher.published / "packs").rglob("*") if path.is_file()}


def given(window: PackWindow, pack: str, start: int, stop: int) -> bytes:
    return b"".join(window.pieces(pack, start, stop))


async def test_every_part_of_a_pack_comes_out_of_the_objects(edge: LanEdge, publisher: Publisher) -> None:
    await edge.pull()
    table = edge.holding.recipe_of(sha256_hex(FILES["table.dat"]))
    spans = edge.window._book.of(sha256_hex(FILES["table.dat"]))
    assert table is not None and sum(int(span.stored.sum()) for span in spans) < int(table.unit_length.sum()) * 0.7, (
        "some units lie squeezed in the pack"
    )
    source = random.Random(7)
    for pack, data in packs(publisher).items():
        assert given(edge.window, pack, 0, len(data)) == data
        for _ in range(60):
            start = source.randrange(len(data))
            stop = min(len(data), start + source.choice((1, 700, 60_000, 4 << 20)))
            assert given(edge.window, pack, start, stop) == data[start:stop]
        for start, stop in ((len(data), len(data) + 1), (0, len(data) + 1), (5, 5), (-1, 4), (9, 3)):
            with pytest.raises(Missing):
                given(edge.window, pack, start, stop)
    with pytest.raises(Missing):
        given(edge.window, "ab" * 32, 0, 1)
    with pytest.raises(Missing):
        given(edge.window, pack, 0, RELAY_RANGE_MAX_BYTES + 1)


async def test_it_is_remembered_and_forgotten(edge: LanEdge, publisher: Publisher) -> None:
    await edge.pull()
    edge.window.close()
    (pack, data), *_ = packs(publisher).items()
    window = PackWindow(edge.holding)
    assert given(window, pack, 0, len(data)) == data
    for name in ("b.bin", "again.bin"):
        edge.holding.remove(sha256_hex(FILES[name]))
    with pytest.raises(Missing):
        given(window, pack, 0, len(data))
    window.sweep()
    held = {sha256_hex(data) for name, data in FILES.items() if name not in ("b.bin", "again.bin")}
    assert sha256_hex(FILES["a.bin"]) in window._book.objects() and window._book.objects() <= held
    window.close()
    (edge.holding.root / BOOK_NAME).write_bytes(b"not a database" * 1000)
    with pytest.raises(Missing):
        given(window, pack, 0, 10)
    assert window._book.objects() == set()
    window.close()


async def test_an_unfinished_object_gives_what_it_has(edge: LanEdge, publisher: Publisher) -> None:
    """The pull breaks off; what had come by then can be had by others, and nothing else."""
    broken = Broken(FolderSource(publisher.published), 6_000_000)
    edge = LanEdge(edge.root, publisher.trust_anchor.read_bytes(), broken, list, attempts=1)
    with pytest.raises(Unreachable):
        await edge.pull()
    got = lost = 0
    for pack, data in packs(publisher).items():
        for start in range(0, len(data), 20_000):
            stop = min(len(data), start + 20_000)
            try:
                assert given(edge.window, pack, start, stop) == data[start:stop]
                got += stop - start
            except Missing:
                lost += stop - start
    assert got > 3_000_000 and lost > 1_000_000
    edge.holding.close()
    edge.window.close()


class Broken:
    """A source whose packs end after so many bytes."""

    def __init__(self, inner: FolderSource, left: int) -> None:
        self.inner, self.left = inner, left
        self.fetch, self.close = inner.fetch, inner.close
        self.turn = asyncio.Lock()

    async def read(self, name: str, start: int, stop: int, sink: Any, *, received: Any = None) -> None:
        async with self.turn:
            end = min(stop, start + self.left)
            await self.inner.read(name, start, end, sink, received=received)
            self.left -= end - start
        if end < stop:
            raise Unreachable("cut")


async def test_rot_is_not_handed_on(edge: LanEdge, publisher: Publisher) -> None:
    await edge.pull()
    sha256 = sha256_hex(FILES["a.bin"])
    rot(edge.holding.path(sha256), 1_500_000)
    refused = 0
    for pack, data in packs(publisher).items():
        for start in range(0, len(data), 100_000):
            stop = min(len(data), start + 100_000)
            try:
                assert given(edge.window, pack, start, stop) == data[start:stop]
            except Missing:
                refused += 1
    assert 1 <= refused <= 3
    assert edge.holding.damaged() == (sha256,)


async def test_a_unit_that_rotted_in_one_object_comes_from_another(edge: LanEdge, publisher: Publisher) -> None:
    await edge.pull()
    rot(edge.holding.path(sha256_hex(FILES["again.bin"])), 600_000)
    for pack, data in packs(publisher).items():
        assert given(edge.window, pack, 0, len(data)) == data


def rot(path: Path, position: int) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)
        file.seek(position)
        file.write(bytes([byte[0] ^ 1]))


async def test_places_survive_that_somebody_else_writes(edge: LanEdge, publisher: Publisher) -> None:
    await edge.pull()
    (pack, data), *_ = packs(publisher).items()
    other = sqlite3.connect(edge.holding.root / BOOK_NAME)
    other.execute("begin immediate")
    edge.window._book.remove(sha256_hex(FILES["a.bin"]))  # does not get to it, and gives up
    other.rollback()
    other.close()
    assert given(edge.window, pack, 0, len(data)) == data


async def test_an_object_that_another_process_brings(edge: LanEdge, publisher: Publisher) -> None:
    """Asked too early, the serving process does not forget what the pulling one wrote down."""
    serving = PackWindow(edge.holding)
    await edge.pull()
    path = edge.holding.path(sha256_hex(FILES["a.bin"]))
    (pack, data), *_ = packs(publisher).items()
    path.rename(path.with_suffix(".away"))
    with pytest.raises(Missing):
        given(serving, pack, 0, len(data))
    path.with_suffix(".away").rename(path)
    assert given(serving, pack, 0, len(data)) == data
    serving.close()


async def test_places_are_cut_into_rows(edge: LanEdge) -> None:
    await edge.pull()
    spans = edge.window._book.of(sha256_hex(FILES["b.bin"]))
    assert len(spans) >= 2 and all(span.stop - span.start <= SPAN_MAX_BYTES for span in spans)
    assert sum(len(span.stored) for span in spans) == edge.holding.recipe_of(sha256_hex(FILES["b.bin"])).units  # type: ignore[union-attr]


# HTTP


@pytest.fixture
async def served(edge: LanEdge) -> AsyncIterator[LanEdge]:
    await edge.pull()
    async with edge.serving():
        yield edge


@pytest.fixture
async def source(served: LanEdge) -> AsyncIterator[HttpSource]:
    source = HttpSource(served.url)
    yield source
    await source.close()


async def test_over_http(served: LanEdge, publisher: Publisher, source: HttpSource) -> None:
    (pack, data), *_ = packs(publisher).items()
    name = f"packs/{pack[:2]}/{pack}"
    body = bytearray()
    await source.read(name, 1_000, 4_000_000, body.extend)
    assert body == data[1_000:4_000_000]
    folder = served.root / "relay"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"metadata/timestamp.json", "metadata/2.snapshot.json"} <= names
    assert {name.split("/")[0] for name in names} >= {"metadata", "targets", "releases"}
    for each in names:
        data_there = (publisher.published / each).read_bytes()
        assert await source.fetch(each, limit_bytes=1 << 20, received=lambda _: None) == data_there
    for lacking in ("metadata/99.root.json", f"releases/{'ab' * 32}", name, "metadata/..%2Fplaces.sqlite"):
        with pytest.raises((Missing, Corrupt)):
            await source.fetch(lacking, limit_bytes=1 << 30, received=lambda _: None)
    with pytest.raises(Missing):
        await source.read(name, len(data), len(data) + 10, body.extend)
    async with aiohttp.ClientSession() as client:
        async with client.head(served.url + "metadata/timestamp.json") as answer:
            size = (publisher.published / "metadata/timestamp.json").stat().st_size
            assert answer.status == 200 and int(answer.headers["Content-Length"]) == size
        for asked in ("bytes=0-1,4-5", "bytes=-5", "bytes=5-", "bytes=9-3", "chapters=1-2", f"bytes=0-{10**11}"):
            async with client.get(served.url + name, headers={"Range": asked}) as answer:
                assert answer.status == 404, asked
        async with client.head(served.url + name, headers={"Range": "bytes=0-9"}) as answer:
            assert answer.status == 206 and answer.headers["Content-Range"] == "bytes 0-9/*"
        async with client.post(served.url + "metadata/timestamp.json") as answer:
            assert answer.status == 405
        async with client.get(served.url + "standing") as answer:
            assert decode_standing(await answer.read()).channels == {"main": (1, 0)}


async def test_an_answer_that_cannot_be_finished_is_cut_off(
    served: LanEdge, publisher: Publisher, source: HttpSource
) -> None:
    """The head is sent with the first megabytes; what rotted behind them is never sent."""
    (pack, data), *_ = packs(publisher).items()
    assert len(data) > 2 * BATCH_BYTES
    rot(served.holding.path(sha256_hex(FILES["b.bin"])), 5_400_000)
    rot(served.holding.path(sha256_hex(FILES["a.bin"])), 2_900_000)
    body = bytearray()
    with pytest.raises(Unreachable):
        await source.read(f"packs/{pack[:2]}/{pack}", 0, len(data), body.extend)
    assert bytes(body) == data[: len(body)]


async def test_few_requests_at_a_time(served: LanEdge, publisher: Publisher) -> None:
    (pack, _), *_ = packs(publisher).items()
    served.relay.gate = Throttle(CLOCK, lambda: 0)  # nothing moves
    headers = {"Range": "bytes=0-99999"}
    url = f"{served.url}packs/{pack[:2]}/{pack}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client, asyncio.TaskGroup() as group:
        waiting = [group.create_task(_status(client, url, headers)) for _ in range(RELAY_CONNECTIONS_MAX)]
        await until(lambda: served.relay.busy == RELAY_CONNECTIONS_MAX)
        async with client.get(url, headers=headers) as answer:
            assert answer.status == 503 and int(answer.headers["Retry-After"]) >= 1
        async with client.get(served.url + "standing") as answer:
            assert answer.status == 200, "that one is in no queue"
        for task in waiting:
            task.cancel()
    await until(lambda: served.relay.busy == 0)


async def until(fits: Callable[[], bool]) -> None:
    while not fits():
        await CLOCK.sleep_until(CLOCK.monotonic() + 0.01)


async def _status(client: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> int:
    async with client.get(url, headers=headers) as answer:
        await answer.read()
        return answer.status


async def test_a_cap_holds_for_all_together(served: LanEdge, publisher: Publisher, source: HttpSource) -> None:
    (pack, _), *_ = packs(publisher).items()
    served.relay.gate = Throttle(CLOCK, lambda: 8e6)
    before_s = CLOCK.monotonic()
    async with asyncio.TaskGroup() as group:
        for start in (0, 2_000_000):
            group.create_task(source.read(f"packs/{pack[:2]}/{pack}", start, start + 400_000, lambda _: None))
    assert 0.65 < CLOCK.monotonic() - before_s < 2.5


@pytest.mark.parametrize(
    ("address", "fits"),
    [
        ("10.0.0.1", True),
        ("172.16.3.4", True),
        ("172.32.0.1", False),
        ("192.168.1.1", True),
        ("169.254.1.1", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("fd00::5", True),
        ("::ffff:192.168.0.9", True),
        ("::ffff:8.8.8.8", False),
        ("8.8.8.8", False),
        ("100.64.0.1", False),
        ("2001:db8::1", False),
        ("", False),
        (None, False),
        ("unix", False),
    ],
)
async def test_for_the_lan_only(edge: LanEdge, address: str | None, fits: bool) -> None:
    assert is_on_lan(address) is fits
    standing = next(each for each in routes(edge.relay) if each.path == "/sync/standing")
    transport = SimpleNamespace(get_extra_info=lambda key: (address, 5) if key == "peername" and address else None)
    request = make_mocked_request("GET", "/sync/standing", transport=transport)
    if fits:
        answer = await standing.handler(request)  # type: ignore[arg-type,misc]
        assert answer.status == 200
    else:
        with pytest.raises(web.HTTPNotFound):
            await standing.handler(request)  # type: ignore[arg-type,misc]


async def test_a_relay_without_anything(tmp_path: Path, edge: LanEdge) -> None:
    relay = Relay(Bulletin("x", "county"), Keep(tmp_path / "nothing"), PackWindow(edge.holding))
    async with listening(*routes(relay)) as (url, _):
        source = HttpSource(url + "sync/")
        with pytest.raises(Missing):
            await source.fetch("metadata/timestamp.json", limit_bytes=9, received=lambda _: None)
        with pytest.raises(Missing):
            await source.read("packs/ab/" + "ab" * 32, 0, 9, lambda _: None)
        standing = decode_standing(await source.fetch("standing", limit_bytes=999, received=lambda _: None))
        assert (standing.id, standing.area, standing.channels) == ("x", "county", {})
        await source.close()
    relay.window.close()
    assert not (tmp_path / "nothing").exists()
