"""Whom an edge asks, for what, in which order, and how long it waits; time is the tests' own."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_server.uplink.discovery import PEERS_MAX, Discovery, own_addresses, static_peer
from runtime.clock import FakeClock, SystemClock, settle
from runtime.service import running
from sync import Corrupt, Missing, NoSpace, SyncError, TooLong, Unreachable
from sync.ids import sha256_hex
from sync.road import Received, Sink
from sync.road.circle import BUSY_MAX, KNOWN_MAX, LACKING_MAX, SLOW_S
from sync.road.neighbours import (
    ASKED_MAX,
    GRACE_S,
    PATIENCE_S,
    SLOT_BYTES,
    STALL_S,
    UPLINK_REST_S,
    Bulletin,
    Neighbourly,
    Peer,
    weight,
)
from sync.road.standing import STANDING_MAX_BYTES, Errand, Standing, decode_standing, encode_standing

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DATA = random.Random(5).randbytes(300_000)
PACK = "packs/ab/" + "ab" * 32
BLOB = b"a release object"
RELEASE = f"releases/{sha256_hex(BLOB)}"
CARD = "cards/cd/" + "cd" * 32
PIECE = 10_000


class World:
    """The edge under test, its uplink, and neighbours that do as they are told."""

    def __init__(self, edge_id: str = "me") -> None:
        self.clock = FakeClock(NOW)
        self.bulletin = Bulletin(edge_id)
        self.bulletin.is_coming("main", 7)
        self.uplink = Place(self.clock, {PACK: DATA, RELEASE: BLOB, CARD: b"card", "metadata/timestamp.json": b"t"})
        self.others: dict[str, Place] = {}
        self.source = Neighbourly(
            self.bulletin,
            self.uplink,
            lambda: [Peer(url) for url in self.others],
            self.clock,
            connect=lambda peer: self.others[peer.url],
        )

    def add(self, edge_id: str, files: dict[str, bytes] | None = None, *, coming: int = 7, held: int = 0) -> Place:
        place = Place(self.clock, files or {}, Bulletin(edge_id))
        assert place.bulletin is not None
        if held:
            place.bulletin.is_held("main", held)
        if coming and not held:
            place.bulletin.is_coming("main", coming)
        self.others[edge_id] = place
        return place

    async def read(self, start: int = 0, stop: int = len(DATA)) -> bytes:
        body = bytearray()
        await self.source.read(PACK, start, stop, body.extend)
        return bytes(body)

    async def fetch(self, name: str) -> bytes:
        return await self.source.fetch(name, limit_bytes=1 << 20, received=lambda _: None)

    async def going(self, work: Awaitable[Any], seconds: float, step_s: float = 0.25) -> asyncio.Future[Any]:
        """Let time pass until the work is done, at most so long."""
        task = asyncio.ensure_future(work)
        await settle()
        passed_s = 0.0
        while not task.done() and passed_s < seconds:
            await self.clock.advance(step_s)
            passed_s += step_s
        return task


@dataclass(eq=False)
class Place:
    """A source out of a dictionary."""

    clock: FakeClock
    files: dict[str, bytes]
    bulletin: Bulletin | None = None
    area: str = ""
    asked: list[str] = field(default_factory=list)
    error: SyncError | None = None
    error_after: int = 0
    """Pieces of packs."""
    slow_s: float = 0.0
    rejected: list[str] = field(default_factory=list)
    is_deaf: bool = False
    closed: int = 0

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        self.asked.append(name)
        if name == "standing":
            assert self.bulletin is not None
            if self.is_deaf:
                raise Unreachable("gone")
            return encode_standing(self.bulletin.standing())
        if self.error is not None:
            raise self.error
        if name not in self.files:
            raise Missing(name)
        if len(self.files[name]) > limit_bytes:
            raise TooLong(name)
        received(len(self.files[name]))
        return self.files[name]

    async def read(self, name: str, start: int, stop: int, sink: Sink, *, received: Received | None = None) -> None:
        self.asked.append(name)
        if self.slow_s:
            await self.clock.sleep_until(self.clock.monotonic() + self.slow_s)
            raise Unreachable("nothing came in time")
        if name not in self.files:
            raise self.error or Missing(name)
        for pieces, at in enumerate(range(start, stop, PIECE)):
            if self.error is not None and pieces >= self.error_after:
                raise self.error
            sink(self.files[name][at : min(stop, at + PIECE)])

    def reject(self, name: str, start: int = 0, stop: int | None = None) -> bool:
        self.rejected.append(name)
        return False

    def forgive(self) -> None:
        pass

    async def close(self) -> None:
        self.closed += 1

    @property
    def packs(self) -> int:
        return self.asked.count(PACK)


def near(world: World, key: str = f"{PACK} 0") -> str:
    """An id that has a better right than the edge under test."""
    return next(f"n{n}" for n in range(1000) if weight(f"n{n}", key) > weight(world.bulletin.edge_id, key))


def far(world: World, key: str = f"{PACK} 0") -> str:
    return next(f"n{n}" for n in range(1000) if weight(f"n{n}", key) < weight(world.bulletin.edge_id, key))


async def test_without_neighbours_it_is_the_uplink() -> None:
    world = World()
    assert await world.read(7, 70_000) == DATA[7:70_000]
    assert await world.fetch(RELEASE) == BLOB and await world.fetch("metadata/timestamp.json") == b"t"
    with pytest.raises(Missing):
        await world.fetch("metadata/2.root.json")
    assert world.uplink.asked == [PACK, RELEASE, "metadata/timestamp.json", "metadata/2.root.json"]
    assert world.source.neighbours == () and world.clock.monotonic() == 0
    assert world.source.uplink_meter.tallies["packs"].requests == 1 and not world.source.lan_meter.tallies
    await world.source.close()
    assert world.uplink.closed == 1


async def test_whoever_has_the_release_gives_it() -> None:
    world = World()
    other = world.add("other", {PACK: DATA, RELEASE: BLOB, CARD: b"card"}, held=7)
    assert await world.read() == DATA
    assert await world.fetch(RELEASE) == BLOB and await world.fetch(CARD) == b"card"
    assert world.uplink.asked == [] and other.packs == 1
    assert world.bulletin.moved == len(DATA)
    await world.source.close()
    assert other.closed == 2, "with the connection for its standing"


async def test_freshness_comes_from_the_uplink() -> None:
    world = World()
    other = world.add("other", {"metadata/timestamp.json": b"old", "metadata/2.snapshot.json": b"s"}, held=7)
    assert await world.fetch("metadata/timestamp.json") == b"t"
    with pytest.raises(Missing):
        await world.fetch("metadata/2.snapshot.json")
    assert other.asked == [], "a poll with a good line costs neighbours nothing"


async def test_without_an_uplink_it_comes_from_a_neighbour() -> None:
    world = World()
    other = world.add("other", {"metadata/timestamp.json": b"old", PACK: DATA}, held=7)
    world.uplink.error = Unreachable("no line")
    with pytest.raises(Missing):
        await world.fetch("metadata/2.root.json")
    assert await world.fetch("metadata/timestamp.json") == b"old"
    with pytest.raises(Unreachable) as caught:
        await world.fetch("metadata/9.snapshot.json")
    assert not isinstance(caught.value, Missing), "nobody knows whether there is one"
    before = len(world.uplink.asked)
    assert await world.fetch("metadata/timestamp.json") == b"old"
    assert len(world.uplink.asked) == before, "the uplink rests"
    await world.clock.advance(UPLINK_REST_S)
    world.uplink.error = None
    assert await world.fetch("metadata/timestamp.json") == b"t"
    assert other.asked.count("metadata/timestamp.json") == 2


async def test_wrong_bytes_that_the_name_betrays() -> None:
    world = World()
    liar = world.add("liar", {RELEASE: b"something else", PACK: DATA}, held=7)
    assert await world.fetch(RELEASE) == BLOB
    assert world.source.neighbours[0].left_out == f"wrong bytes in {RELEASE}"
    assert await world.read() == DATA and liar.packs == 0
    world.source.forgive()
    assert await world.read() == DATA and liar.packs == 1


async def test_wrong_bytes_that_somebody_else_finds() -> None:
    world = World()
    liar = world.add("liar", {CARD: b"lie", PACK: DATA}, held=7)
    assert await world.fetch(CARD) == b"lie"
    assert world.source.reject(CARD) and liar.rejected == []
    assert await world.fetch(CARD) == b"card"
    assert not world.source.reject(CARD), "the uplink itself: it decides"
    assert world.uplink.rejected == [CARD]
    assert not world.source.reject("cards/never-served") and len(world.uplink.rejected) == 1


async def test_who_gave_which_part_is_known() -> None:
    world = World()
    other = world.add("other", {PACK: DATA}, held=7)
    other.error, other.error_after = Unreachable("broke off"), 3
    body = bytearray()
    await world.source.read(PACK, 0, 90_000, body.extend)
    assert bytes(body) == DATA[:90_000], "goes on at the exact byte"
    neighbour = world.source.neighbours[0]
    assert neighbour.left_out.startswith("broke off") and neighbour.body_bytes == 3 * PIECE
    neighbour.left_out = ""
    assert not world.source.reject(PACK, 3 * PIECE, 90_000) and not neighbour.left_out
    assert world.source.reject(PACK, 3 * PIECE - 1, 3 * PIECE + 1) and neighbour.left_out == f"wrong bytes in {PACK}"


async def test_one_who_fetches_it_is_waited_for() -> None:
    world = World()
    other = world.add(far(world))
    assert other.bulletin is not None
    with other.bulletin.claim(PACK, 0, 150_000) as claim:
        claim.begun = True
        task = await world.going(world.read(), 1.0)
        for _ in range(200):
            other.bulletin.moved += 1
            await world.clock.advance(1.0)
        assert not task.done() and world.uplink.asked == []
        other.files[PACK] = DATA
    await world.clock.advance(1.0)
    assert await task == DATA and world.uplink.asked == []


async def test_one_who_gets_nowhere_is_left_out() -> None:
    world = World()
    other = world.add(far(world))
    assert other.bulletin is not None
    with other.bulletin.claim(PACK, 100_000, 150_000) as claim:
        claim.begun = True
        before_s = world.clock.monotonic()
        assert await (await world.going(world.read(), 60)) == DATA
    assert STALL_S <= world.clock.monotonic() - before_s <= STALL_S + 2
    assert "did not bring" in world.source.neighbours[0].left_out


async def test_patience_ends() -> None:
    world = World()
    other = world.add(near(world))
    assert other.bulletin is not None
    with other.bulletin.claim(PACK, 0, 1) as claim:
        claim.begun = True
        task = asyncio.ensure_future(world.read())
        while not task.done() and world.clock.monotonic() < 2 * PATIENCE_S:
            other.bulletin.moved += 1
            await world.clock.advance(1.0)
    assert await task == DATA
    assert PATIENCE_S <= world.clock.monotonic() <= PATIENCE_S + 5


async def test_an_owner_that_does_not_begin_is_overtaken() -> None:
    world = World()
    owner = world.add(near(world))
    task = await world.going(world.read(), 30, 0.05)
    assert await task == DATA
    assert GRACE_S <= world.clock.monotonic() <= GRACE_S + 1 and not world.source.neighbours[0].left_out
    assert owner.packs >= 2, "asked again and again"


async def test_the_nearer_one_fetches_at_once() -> None:
    world = World()
    other = world.add(far(world))
    assert await world.read() == DATA
    assert world.clock.monotonic() == 0 and other.packs == 1 and world.uplink.packs == 1


async def test_of_two_that_mean_to_fetch_one_yields() -> None:
    """Both say what they mean to do before they look; the farther one waits for the nearer one."""
    world = World()
    other = world.add(far(world))
    assert other.bulletin is not None
    with other.bulletin.claim(PACK, 0, 10):
        task = await world.going(world.read(), 0.1, 0.01)
        assert not task.done() and world.uplink.asked == [], "not before the other has yielded"
    assert await (await world.going(task, 5, 0.05)) == DATA

    world = World()
    other = world.add(near(world), coming=0)
    assert other.bulletin is not None
    with other.bulletin.claim(PACK, 0, 10):
        task = await world.going(world.read(), STALL_S / 2)
        assert not task.done() and world.uplink.asked == []
        other.files[PACK] = DATA
    assert await (await world.going(task, 5)) == DATA and world.uplink.asked == []


async def test_slow_and_busy_ones() -> None:
    world = World()
    slow = world.add("slow", {PACK: DATA}, held=7)
    slow.slow_s = SLOW_S
    assert await (await world.going(world.read(), 60)) == DATA
    assert world.source.neighbours[0].left_out and slow.packs == 1

    world = World()
    busy = world.add("busy", {}, held=7)
    busy.error = Unreachable("status 503")
    for _ in range(BUSY_MAX + 5):
        assert await world.read(0, 10) == DATA[:10]
    assert busy.packs == BUSY_MAX and world.source.neighbours[0].left_out
    assert world.clock.monotonic() == 0


async def test_one_that_never_has_anything_is_not_asked_for_ever() -> None:
    world = World()
    other = world.add("other", held=7)
    for _ in range(LACKING_MAX + 5):
        assert await world.read(0, 10) == DATA[:10]
        assert await world.fetch(CARD) == b"card"
    assert other.packs == LACKING_MAX and other.asked.count(CARD) == LACKING_MAX
    assert not world.source.neighbours[0].left_out


async def test_who_is_not_asked() -> None:
    world = World()
    myself = world.add("me", {PACK: DATA}, held=7)
    elsewhere = world.add("elsewhere", {PACK: DATA}, held=7)
    assert elsewhere.bulletin is not None
    elsewhere.bulletin.area = "another"
    gone = world.add("gone", {PACK: DATA})
    gone.is_deaf = True
    assert await world.read() == DATA
    assert [each.packs for each in (myself, elsewhere, gone)] == [0, 0, 0] and world.uplink.packs == 1
    assert gone.asked == ["standing"], "not again in this pull"


async def test_one_edge_under_two_addresses_is_one() -> None:
    world = World()
    place = world.add("twice", held=7)
    world.others["twice again"] = place
    assert await world.read() == DATA
    assert place.packs == 1


async def test_a_crowd_costs_little() -> None:
    world = World()
    for number in range(3 * KNOWN_MAX):
        world.add(f"n{number}", held=7)
    assert await world.read() == DATA
    assert sum(each.packs for each in world.others.values()) == ASKED_MAX
    assert sum(each.asked.count("standing") for each in world.others.values()) <= 2 * 32


async def test_the_uplink_dies_and_somebody_else_brings_it() -> None:
    world = World()
    other = world.add(far(world))
    assert other.bulletin is not None
    world.uplink.error = Unreachable("no line")
    task = await world.going(world.read(), 10)
    for _ in range(60):
        other.bulletin.moved += 1
        await world.clock.advance(0.5)
    assert not task.done()
    other.files[PACK] = DATA
    other.bulletin.is_held("main", 7)
    await world.clock.advance(2.0)
    assert await task == DATA


async def test_the_uplink_dies_and_nobody_brings_it() -> None:
    world = World()
    world.add(far(world))
    world.uplink.error = Unreachable("no line")
    task = await world.going(world.read(), 60)
    with pytest.raises(Unreachable, match="no line"):
        await task
    assert world.clock.monotonic() <= STALL_S + 2

    world = World()
    world.add("holds another", held=3)
    world.uplink.error = Unreachable("no line")
    with pytest.raises(Unreachable):
        await world.read()
    assert world.clock.monotonic() == 0


async def test_an_uplink_that_breaks_off_is_not_given_up() -> None:
    """Whoever is outside tries again there; waiting for a neighbour would cost more."""
    world = World()
    world.add(far(world))
    world.uplink.error, world.uplink.error_after = Unreachable("broke off"), 4
    body = bytearray()
    with pytest.raises(Unreachable):
        await world.source.read(PACK, 0, len(DATA), body.extend)
    assert bytes(body) == DATA[: 4 * PIECE] and world.clock.monotonic() == 0


async def test_a_pack_that_the_uplink_lacks() -> None:
    world = World()
    world.add(far(world))
    world.uplink.files.clear()
    with pytest.raises(Missing):
        await world.read()


async def test_a_sink_that_refuses_blames_nobody() -> None:
    world = World()
    world.add("other", {PACK: DATA}, held=7)

    def full(piece: bytes) -> None:
        raise NoSpace(1, 0)

    with pytest.raises(NoSpace):
        await world.source.read(PACK, 0, 10, full)
    assert not world.source.neighbours[0].left_out and world.uplink.asked == []


async def test_ranges_and_names_are_checked() -> None:
    world = World()
    other = world.add("other", {PACK: DATA}, held=7)
    await world.source.read(PACK, 5, 5, lambda _: None)
    for wrong in ((5, 4), (-1, 4)):
        with pytest.raises(ValueError, match="no range"):
            await world.source.read(PACK, *wrong, lambda _: None)
    for name in ("../x", "packs/./a", ""):
        with pytest.raises(Corrupt):
            await world.source.read(name, 0, 4, lambda _: None)
        with pytest.raises(Corrupt):
            await world.fetch(name)
    assert other.asked == [] and world.uplink.asked == []


def test_all_agree_and_the_work_is_spread() -> None:
    edges = [f"edge-{n}" for n in range(5)]
    owners = Counter(
        max(edges, key=lambda edge: weight(edge, f"{PACK} {slot}")) for slot in range(256 * 1024 * 1024 // SLOT_BYTES)
    )
    assert set(owners) == set(edges) and max(owners.values()) <= 30
    assert max(reversed(edges), key=lambda edge: weight(edge, "k")) == max(edges, key=lambda edge: weight(edge, "k"))


# Standings


def test_a_standing_says_what_is_so() -> None:
    bulletin = Bulletin("edge-1", "county")
    bulletin.is_held("a", 3)
    bulletin.is_coming("a", 4)
    bulletin.is_coming("b", 1)
    with bulletin.claim(PACK, 5, 9) as claim:
        claim.begun = True
        said = decode_standing(encode_standing(bulletin.standing()))
    assert said == Standing(
        format=1,
        id="edge-1",
        area="county",
        channels={"a": (3, 4), "b": (0, 1)},
        moved=0,
        fetching=[Errand(PACK, 5, 9, True)],
    )
    assert said.fetching[0].overlaps(PACK, 8, 99) and not said.fetching[0].overlaps(PACK, 9, 99)
    bulletin.is_held("a", 4)
    bulletin.is_given_up("b")
    assert bulletin.standing().channels == {"a": (4, 0)} and bulletin.standing().fetching == []


def test_a_standing_stays_within_its_bounds() -> None:
    bulletin = Bulletin("x" * 128, "y" * 64)
    for number in range(2000):
        bulletin.is_held(f"{number:064}", 2**53 - 1)
    bulletin.is_coming("z", 5)
    raw = encode_standing(bulletin.standing())
    assert len(raw) <= STANDING_MAX_BYTES and decode_standing(raw).channels["z"] == (0, 5)


GOOD = json.loads(encode_standing(Bulletin("x").standing()))


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"id": ""},
        {"id": 5},
        {"moved": -1},
        {"channels": {"a": [1]}},
        {"channels": {"a": [1, -2]}},
        {"channels": {"a" * 65: [1, 2]}},
        {"fetching": [["p", 0, 1]]},
        {"fetching": [["p", -1, 1, True]]},
        {"fetching": [["p", 0, 2**60, True]]},
        {"fetching": [["p", 0, 1, True]] * 17},
        {"area": "a" * 65},
    ],
)
def test_a_wrong_standing_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Corrupt):
        decode_standing(json.dumps({**GOOD, **change}).encode())


VALUES = st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=4))


@given(st.binary(max_size=200) | VALUES.map(json.dumps).map(str.encode))
def test_any_standing_is_refused_or_read(raw: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_standing(raw)
    with pytest.raises(TooLong):
        decode_standing(raw + b" " * (STANDING_MAX_BYTES + 1))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(Corrupt):
        decode_standing(b'{"format":' + b"[" * 60_000)


# Finding


def found(**options: Any) -> Discovery:
    return Discovery("me", "county", port=lambda: 80, clock=SystemClock(), **options)


def test_the_static_list() -> None:
    discovery = found(static=["http://10.0.0.7:8080", "http://edge2.lan/ ", "https://[fd00::1]:81/"])
    assert [each.url for each in discovery.peers()] == [
        "http://10.0.0.7:8080/sync/",
        "http://edge2.lan/sync/",
        "https://[fd00::1]:81/sync/",
    ]
    for wrong in ("10.0.0.7", "ftp://x", "http://x/y", "http://x?y", "http://a@b", "http://x y", ""):
        with pytest.raises(ValueError, match="write a neighbour as"):
            static_peer(wrong)
    with pytest.raises(ValueError, match="an edge's id"):
        Discovery("x" * 129, "", port=lambda: 80, clock=SystemClock())
    many = found(static=[f"http://10.0.0.{n}" for n in range(200)])
    assert len(many.peers()) == PEERS_MAX


def no_addresses() -> list[str]:
    return []


def addresses_of_another() -> list[str]:
    return ["10.254.253.252"]


@pytest.mark.parametrize("addresses", [no_addresses, addresses_of_another])
async def test_no_network_is_no_error(
    addresses: Callable[[], list[str]], capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock(NOW)
    discovery = Discovery("me", "", port=lambda: 80, clock=clock, static=["http://10.0.0.7"], addresses=addresses)
    async with running(discovery, grace=1):
        for _ in range(3):
            await asyncio.to_thread(int)
            await clock.advance(60)
        assert len(discovery.peers()) == 1
    assert capfd.readouterr() == ("", "") and not caplog.records


def test_own_addresses_are_those_of_lans() -> None:
    assert all(not each.startswith("127.") for each in own_addresses())
