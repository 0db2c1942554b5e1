"""What is signed, how long it lasts, and what an edge makes of it; attacks are in scenario/test_trust_attacks.py."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tuf.api.metadata import Metadata, Timestamp

from sync import Corrupt, Missing, TooLong, Unreachable, Untrusted
from sync.head import decode_head, encode_head, head_path
from sync.road.folder import FolderSource
from sync.store.files import write_file
from sync.trust import (
    ANCHOR_NAME,
    BIN_BITS,
    BIN_EXPIRY_DAYS,
    BIN_PREFIX,
    BUNDLE_EXPIRY_DAYS,
    ROOT_EXPIRY_DAYS,
    SNAPSHOT_EXPIRY_DAYS,
    TARGETS_EXPIRY_DAYS,
    TIMESTAMP_EXPIRY_DAYS,
)
from sync.trust.bridge import Fetcher, Received
from sync.trust.clock import judged_now
from sync.trust.documents import TIMESTAMP_NAME
from sync.trust.memory import ChannelMemory, floor_of
from sync.trust.refresh import trusted_target, trusted_targets
from tests.trust_lab import DAY, NOW, Edge, House, head_of


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path / "central")
    house.publish()
    return house


@pytest.fixture
def edge(house: House, tmp_path: Path) -> Edge:
    return Edge(tmp_path / "edge", house.anchor)


def signed(house: House, name: str) -> dict[str, object]:
    loaded: dict[str, object] = json.loads(house.metadata(name).read_bytes())["signed"]
    return loaded


async def refused(edge: Edge, source: FolderSource, reason: str, *, now: datetime = NOW) -> str:
    before = edge.seq
    with pytest.raises(Untrusted) as caught:
        await edge.pull(source, now=now)
    assert caught.value.reason == reason and edge.seq == before
    return str(caught.value)


# -- What is signed ----------------------------------------------------------------------------------------------------


def test_expiries_are_what_is_documented(house: House) -> None:
    found = {
        name: (datetime.fromisoformat(str(signed(house, f"{name}.json")["expires"])) - NOW).days
        for name in ("1.root", "1.targets", "1.ch-d", "2.snapshot", "timestamp")
    }
    assert found == {
        "1.root": ROOT_EXPIRY_DAYS,
        "1.targets": TARGETS_EXPIRY_DAYS,
        "1.ch-d": BIN_EXPIRY_DAYS,
        "2.snapshot": SNAPSHOT_EXPIRY_DAYS,
        "timestamp": TIMESTAMP_EXPIRY_DAYS,
    }
    assert list(found.values()) == [3650, 365, 365, 365, 14]


def test_each_role_has_its_own_keys(house: House) -> None:
    ledger = house.ledger()
    delegated = ledger.targets.delegations
    assert delegated is not None and delegated.succinct_roles is not None
    roles = {**ledger.root.roles, "channels": delegated.succinct_roles}
    assert {role: (each.threshold, len(each.keyids)) for role, each in roles.items()} == {
        "root": (2, 3),
        "targets": (2, 3),
        "snapshot": (1, 1),
        "timestamp": (1, 1),
        "channels": (1, 1),
    }
    assert len({keyid for each in roles.values() for keyid in each.keyids}) == 9
    assert ledger.root.consistent_snapshot is True
    assert {key.scheme for key in [*ledger.root.keys.values(), *delegated.keys.values()]} == {"ed25519"}


def test_targets_metadata_names_nothing_and_a_bin_names_a_channel(house: House) -> None:
    ledger = house.ledger()
    assert ledger.targets.targets == {}
    delegated = ledger.targets.delegations
    assert delegated is not None and delegated.succinct_roles is not None
    assert (delegated.succinct_roles.bit_length, BIN_BITS) == (4, 4)
    assert (delegated.succinct_roles.name_prefix, BIN_PREFIX) == ("ch", "ch")
    assert list(ledger.bins) == ["ch-d"] and ledger.paths() == ("ch/main/head.json",)
    assert signed(house, "2.snapshot.json")["meta"] == {"targets.json": {"version": 1}, "ch-d.json": {"version": 1}}


def test_metadata_stays_small_however_many_channels(house: House) -> None:
    def length(suffix: str) -> int:
        return max(len(raw) for name, raw in house.ledger().files() if name.endswith(suffix))

    assert (length(TIMESTAMP_NAME), length("snapshot.json"), length("ch-d.json")) < (400, 420, 500)
    channels = {f"course-{number:03d}": number for number in range(60)}
    heads = {head_path(name): encode_head(head_of(name, 1, NOW)) for name in channels}
    house.write(house.ledger().naming(heads, house.keys, NOW, house.taken))
    assert len(house.ledger().bins) == 16 and len(house.ledger().paths()) == 61
    assert length(TIMESTAMP_NAME) < 400 and length("snapshot.json") < 800
    assert max(len(raw) for name, raw in house.ledger().files() if ".ch-" in name) < 1600


def test_several_paths_make_one_new_version_of_each_bin_and_leave_the_others(house: House) -> None:
    before = house.ledger()
    after = before.naming({f"ch/c{n}/head.json": b"{}" for n in range(40)}, house.keys, NOW, house.taken)
    assert {each.version for role, each in after.bins.items() if role != "ch-d"} == {1}
    again = after.naming({"ch/c1/head.json": b"{ }"}, house.keys, NOW, house.taken)
    changed = [role for role in again.bins if again.bins[role] != after.bins[role]]
    assert len(changed) == 1 and again.bins[changed[0]].version == after.bins[changed[0]].version + 1
    assert (again.snapshot.version, again.timestamp.version) == (before.snapshot.version + 2, 4)
    assert after.target("ch/c1/head.json") != again.target("ch/c1/head.json")


async def test_a_channel_that_was_taken_off_is_gone_and_the_others_stay(house: House, edge: Edge) -> None:
    house.publish("other")
    assert await edge.pull(house.source, "other") == 1
    ledger = house.ledger().without([head_path("other"), "never/there"], house.keys, NOW, house.taken)
    house.write(ledger)
    assert ledger.target(head_path("other")) is None and house.ledger().paths() == (head_path("main"),)
    found = await look_up(house, edge, [head_path("other"), head_path("main"), head_path("never-there")])
    assert found == [False, True, False]


async def look_up(house: House, edge: Edge, paths: list[str], source: Fetcher | None = None) -> list[bool]:
    trusted = await trusted_targets(
        paths, anchor=house.anchor, folder=edge.folder, source=source or house.source, now=NOW, received=lambda _: None
    )
    return [trusted[path].target is not None for path in paths]


def test_a_leftover_of_a_crash_keeps_its_name(house: House) -> None:
    for name in ("2.ch-d.json", "3.snapshot.json", "4.snapshot.json"):
        house.metadata(name).write_bytes(b"of a publish that was killed")
    house.publish(seq=2)
    assert (house.ledger().bins["ch-d"].version, house.ledger().snapshot.version) == (3, 5)


@pytest.mark.parametrize("name", ["1.root.json", "1.targets.json", "1.ch-d.json", "2.snapshot.json", "timestamp.json"])
def test_what_was_damaged_is_not_signed_over(house: House, name: str) -> None:
    good = house.metadata(name).read_bytes()
    for bad in (
        good.replace(b'"version":', b'"version":1'),
        good[:-1],
        b"",
        b"[]",
        good.replace(b'"sig":"', b'"sig":"0'),
    ):
        house.metadata(name).write_bytes(bad)
        with pytest.raises(Corrupt):
            house.ledger()
    house.metadata(name).unlink()
    with pytest.raises(Corrupt):
        house.ledger()


def test_a_bin_is_not_read_as_another(house: House) -> None:
    house.publish("other")
    (other,) = (role for role in house.ledger().bins if role != "ch-d")
    shutil.copyfile(house.metadata("1.ch-d.json"), house.metadata(f"1.{other}.json"))
    with pytest.raises(Corrupt, match=f"bin {other} is another"):
        house.ledger()


def test_a_bundle_has_the_same_versions_for_longer(house: House) -> None:
    ledger = house.ledger()
    metadata = Metadata[Timestamp].from_bytes(ledger.bundle_timestamp(house.keys, NOW))
    ledger.root.verify_delegate("timestamp", metadata.signed_bytes, metadata.signatures)
    assert metadata.signed.version == ledger.timestamp.version
    assert metadata.signed.snapshot_meta == ledger.timestamp.snapshot_meta
    assert metadata.signed.expires == NOW + BUNDLE_EXPIRY_DAYS * DAY
    assert metadata.signed.unrecognized_fields == {"x-road": "bundle"}
    assert ledger.timestamp.unrecognized_fields == {}


async def test_whatever_lies_under_a_bundle_outlives_it(house: House, edge: Edge, tmp_path: Path) -> None:
    """Nothing is published for two years, only refreshed; a bundle made on any day lasts 120 days."""
    for day in range(0, 720, 13):
        now = NOW + day * DAY
        house.refresh(now)
        if day % 65 == 0:
            stick = house.bundle(tmp_path / "stick", now)
            trial = Edge(tmp_path / f"edge{day}", house.anchor)
            last = now + BUNDLE_EXPIRY_DAYS * DAY - timedelta(seconds=1)
            assert await trial.pull(stick, road="bundle", now=last) == 1


# -- Moments -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("year", [1999, 2026, 2101])
async def test_expiry_is_judged_by_the_given_moment_not_by_the_wall_clock(tmp_path: Path, year: int) -> None:
    """Would fail with a python-tuf that keeps its reference time elsewhere: see sync/trust/refresh.py."""
    then = datetime(year, 6, 1, tzinfo=UTC)
    house = House(tmp_path / "central", then)
    house.publish(now=then)
    edge = Edge(tmp_path / "edge", house.anchor)
    last = then + timedelta(days=TIMESTAMP_EXPIRY_DAYS)
    assert await edge.pull(house.source, now=last - timedelta(seconds=1)) == 1
    await refused(edge, house.source, "freeze", now=last)


async def test_freeze_ends_with_a_refresh(house: House, edge: Edge) -> None:
    await edge.pull(house.source)
    assert "is this clock right?" in await refused(edge, house.source, "freeze", now=NOW + 15 * DAY)
    house.refresh(NOW + 15 * DAY)
    assert await edge.pull(house.source, now=NOW + 15 * DAY) == 1


async def test_a_clock_that_was_set_back_does_not_stretch_freshness(house: House, edge: Edge, tmp_path: Path) -> None:
    frozen = FolderSource(house.copy(tmp_path / "frozen"))
    house.publish("other", now=NOW + 20 * DAY)
    assert await edge.pull(house.source, "other", now=NOW + 20 * DAY) == 1  # the head of any channel counts
    shutil.rmtree(edge.folder / "network")  # else it would be a rollback: the versions are there
    await refused(edge, frozen, "freeze", now=NOW - 400 * DAY)
    assert await edge.pull(house.source, now=NOW - 400 * DAY) == 1


async def test_a_clock_that_is_ahead_stops_updating_until_it_is_set_right(house: House, edge: Edge) -> None:
    await refused(edge, house.source, "freeze", now=NOW + 9000 * DAY)
    await edge.pull(house.source)
    house.publish(seq=2)
    await refused(edge, house.source, "freeze", now=NOW + 9000 * DAY)
    assert await edge.pull(house.source) == 2


@given(st.datetimes(), st.none() | st.datetimes())
def test_time_is_judged_at_the_later_of_clock_and_floor(clock: datetime, floor: datetime | None) -> None:
    judged = judged_now(clock, floor)
    assert judged >= clock and judged in (clock, floor) and (floor is None or judged >= floor)


# -- What an edge remembers --------------------------------------------------------------------------------------------


def memory(edge: Edge, channel: str = "main") -> ChannelMemory:
    return ChannelMemory(edge.folder, channel, edge.anchor)


def test_a_head_is_remembered_byte_by_byte(edge: Edge) -> None:
    raw = encode_head(head_of("main", 7, NOW)) + b"\n \n"
    memory(edge).keep_head(raw, head_of("main", 7, NOW), era="e")
    kept = memory(edge).head
    assert kept is not None and (kept.raw, kept.seq, kept.issued, kept.era) == (raw, 7, NOW, "e")
    assert memory(edge, "other").head is None


def test_only_a_newer_head_of_the_channel_is_taken(edge: Edge) -> None:
    held = memory(edge)
    first, same = head_of("main", 7, NOW), head_of("main", 7, NOW + DAY)
    held.keep_head(encode_head(first), first, era="e")
    held.keep_head(encode_head(first), first, era="e")
    for head in (same, head_of("main", 6, NOW + DAY)):
        with pytest.raises(Untrusted, match="was offered after release 7"):
            held.keep_head(encode_head(head), head, era="e")
    with pytest.raises(Untrusted, match="is that of other"):
        held.keep_head(b"{}", head_of("other", 9, NOW), era="e")
    assert memory(edge).head == held.head and held.head is not None and held.head.raw == encode_head(first)
    held.keep_head(encode_head(same), same, era="the next")
    assert held.head.era == "the next"


def test_the_floor_is_the_newest_head_of_all_channels_in_this_era(edge: Edge) -> None:
    assert floor_of(edge.folder, "e") is None
    for channel, days, era in [("a", 1, "e"), ("b", 5, "e"), ("c", 9, "before"), ("b", 2, "e")]:
        held = memory(edge, channel)
        seq = held.head.seq + 1 if held.head else 1  # the second of b was issued before the first: the floor stays
        head = head_of(channel, seq, NOW + days * DAY)
        held.keep_head(encode_head(head), head, era=era)
    assert floor_of(edge.folder, "e") == NOW + 5 * DAY
    assert floor_of(edge.folder, "before") == NOW + 9 * DAY


@pytest.mark.parametrize("left", [b"", b"\n", b"{}\n{}", b"\xff\x00", b'{"era":"e","seq":1,"issued":"2026-01-01"}\nx'])
async def test_a_damaged_memory_counts_as_none(house: House, edge: Edge, left: bytes) -> None:
    await edge.pull(house.source)
    write_file(edge.folder / "channels" / "main.head", left)
    assert memory(edge).head is None and floor_of(edge.folder, "e") is None
    assert await edge.pull(house.source) == 1


async def test_what_is_held_need_not_be_fetched(house: House, edge: Edge) -> None:
    await edge.pull(house.source)
    held = memory(edge)
    target = house.ledger().target(head_path("main"))
    assert target is not None and held.head is not None and held.held(target) == held.head.raw
    house.publish(seq=2)
    newer = house.ledger().target(head_path("main"))
    assert newer is not None and held.held(newer) is None and memory(edge, "other").held(newer) is None
    assert decode_head(held.head.raw).seq == 1


def test_no_anchor_no_trust(house: House, tmp_path: Path) -> None:
    trust = tmp_path / "trust"
    anchor = house.anchor
    for given_now in (None, b"", b"{}", b"not json", anchor.replace(b'"version":1', b'"version":3')):
        with pytest.raises(Untrusted) as caught:
            ChannelMemory(trust, "main", given_now)
        assert caught.value.reason == "no-anchor" and not (trust / ANCHOR_NAME).exists()
    assert ChannelMemory(trust, "main", anchor).anchor == anchor
    assert ChannelMemory(trust, "main", None).anchor == anchor  # from now on the kept one serves
    other = House(tmp_path / "other")
    with pytest.raises(Untrusted, match="another publisher"):
        ChannelMemory(trust, "main", other.anchor)


async def test_an_empty_source_is_unreachable_not_untrusted(house: House, edge: Edge, tmp_path: Path) -> None:
    await edge.pull(house.source)
    with pytest.raises(Unreachable):
        await edge.pull(FolderSource(tmp_path))
    with pytest.raises(Unreachable):
        await edge.pull(FolderSource(tmp_path / "nowhere"))


# -- Requests ----------------------------------------------------------------------------------------------------------


class Watched:
    """Writes down what is asked; lets the first two answers wait for each other."""

    def __init__(self, inner: FolderSource, waits: Callable[[str], bool] = lambda _: False) -> None:
        self.inner, self.waits = inner, waits
        self.asked: list[str] = []
        self.ended = 0
        self.both = asyncio.Barrier(2)

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        self.asked.append(name)
        try:
            if self.waits(name):
                await self.both.wait()
            return await self.inner.fetch(name, limit_bytes=limit_bytes, received=received)
        finally:
            self.ended += 1


async def test_root_and_timestamp_are_asked_for_at_once(house: House, edge: Edge) -> None:
    """Each of the two answers comes only after the other was asked for."""
    await edge.pull(house.source)
    source = Watched(house.source, lambda _: True)
    assert await edge.pull(source) == 1
    assert source.asked == ["metadata/2.root.json", "metadata/timestamp.json"]


async def test_after_a_new_root_the_timestamp_is_asked_for_again(house: House, edge: Edge) -> None:
    """The one that came together with the root may be older than it, and signed with a key that it replaced."""
    await edge.pull(house.source)
    old = house.metadata(TIMESTAMP_NAME).read_bytes()
    house.rotate("timestamp")

    class Late(Watched):
        async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
            data = await super().fetch(name, limit_bytes=limit_bytes, received=received)
            return old if name.endswith(TIMESTAMP_NAME) and self.asked.count(name) == 1 else data

    source = Late(house.source)
    assert await edge.pull(source) == 1
    names = [name.removeprefix("metadata/") for name in source.asked]
    assert names == ["2.root.json", "timestamp.json", "3.root.json", "timestamp.json"]


async def test_whoever_is_called_off_leaves_nothing_behind(house: House, edge: Edge) -> None:
    source = Watched(house.source, lambda name: name.endswith("root.json"))  # waits for ever

    async def refresh() -> None:
        await trusted_target(
            head_path("main"),
            anchor=house.anchor,
            folder=edge.folder,
            source=source,
            now=NOW,
            received=lambda _: None,
        )

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await refresh()
    assert source.ended == len(source.asked) == 2
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_failure_at_once_ends_the_other_request(house: House, edge: Edge, tmp_path: Path) -> None:
    source = Watched(FolderSource(tmp_path / "nowhere"), lambda name: name.endswith(TIMESTAMP_NAME))
    with pytest.raises(Unreachable):
        await edge.pull(source)
    assert source.ended == len(source.asked) == 2


# -- Whatever the line says --------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


class Lying:
    """Hands out forged files, and the honest ones for the rest."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        if name not in self.files:
            raise Missing(name)
        if len(self.files[name]) > limit_bytes:
            raise TooLong(name)
        return self.files[name]


def places(value: object, at: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*at, key))


def replaced(value: Any, at: tuple[Any, ...], new: object) -> Any:
    if not at:
        return new
    copied = value.copy()
    copied[at[0]] = replaced(copied[at[0]], at[1:], new)
    return copied


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_any_value_in_any_place_is_refused_as_ours(house: House, edge: Edge, data: st.DataObject) -> None:
    files = {f"metadata/{name}": raw for name, raw in house.ledger().files()}
    name = data.draw(st.sampled_from([*(name for name in files if "root" not in name), "metadata/2.root.json"]))
    honest = json.loads(files.get(name, house.anchor))
    at = data.draw(st.sampled_from(sorted(places(honest), key=repr)))
    value = data.draw(JSON)
    files[name] = json.dumps(replaced(honest, at, value)).encode()
    with contextlib.suppress(Untrusted, Unreachable):
        assert await look_up(house, edge, [head_path("main")], Lying(files)) == [True]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(raw=st.binary(max_size=200) | st.just(b"[" * 100_000) | st.just(b'{"signed":' * 5_000))
async def test_any_bytes_are_refused_as_ours(house: House, edge: Edge, raw: bytes) -> None:
    for name in ("metadata/2.root.json", "metadata/timestamp.json"):
        files = {f"metadata/{name}": raw for name, raw in house.ledger().files()} | {name: raw}
        with pytest.raises(Untrusted):
            await look_up(house, edge, [], Lying(files))
