"""New keys for old, rehearsed with the real client: what a thief signed before does not bind an edge afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tuf.api.metadata import MetaFile, Root, Snapshot, Timestamp

from sync import Missing, Untrusted
from sync.head import head_path
from sync.listing import SEQ_MAX
from sync.trust import BUNDLE_EXPIRY_DAYS, ROOT_EXPIRY_DAYS, TARGETS_EXPIRY_DAYS, TIMESTAMP_EXPIRY_DAYS
from sync.trust.clock import ClockDoubtful
from sync.trust.documents import TIMESTAMP_NAME, sign
from sync.trust.keys import KeyUnavailable
from sync.trust.rotation import EVERYTHING_ONLINE, rotated
from sync.trust.signing import Ledger
from tests.trust_lab import DAY, NOW, Edge, House, head_of

FAR = 1_000_000


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path / "central")
    house.publish()
    return house


@pytest.fixture
async def edge(house: House, tmp_path: Path) -> Edge:
    edge = Edge(tmp_path / "edge", house.anchor)
    assert await edge.pull(house.source) == 1
    return edge


def files_in(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.is_file())


async def refused(edge: Edge, source: object, reason: str, **options: object) -> str:
    before = edge.seq
    with pytest.raises(Untrusted) as caught:
        await edge.pull(source, **options)  # type: ignore[arg-type]
    assert caught.value.reason == reason and edge.seq == before
    return str(caught.value)


@pytest.mark.parametrize(
    "names",
    [
        ("timestamp",),
        ("snapshot",),
        ("channels",),
        ("root",),
        ("targets",),
        ("root-2",),
        ("targets-1", "targets-2"),
        (*EVERYTHING_ONLINE, "root", "targets"),
        (),
    ],
    ids=lambda names: "+".join(names) or "renewal",
)
async def test_every_key_can_be_replaced(house: House, edge: Edge, tmp_path: Path, names: tuple[str, ...]) -> None:
    before = house.ledger().key_names
    house.rotate(*names)
    after = house.ledger().key_names
    assert len(after) == len(before) == 9
    assert {name.partition("-")[0] for name in before - after} == {name.partition("-")[0] for name in names}
    house.keys.retire(after)
    assert {file.stem for file in files_in(tmp_path / "central" / "keys")} == after
    shutil.move(house.keys.offline, tmp_path / "safe")
    house.publish(seq=2)
    assert await edge.pull(house.source) == 2
    assert await Edge(tmp_path / "new", house.anchor).pull(house.source) == 2


async def test_a_chain_of_roots_is_followed_from_the_first(house: House, edge: Edge, tmp_path: Path) -> None:
    for _ in range(5):
        house.rotate("root", "timestamp", "snapshot")
        house.keys.retire(house.ledger().key_names)
    assert house.ledger().root.version == 6
    assert all(house.metadata(f"{n}.root.json").is_file() for n in range(1, 7))
    assert await edge.pull(house.source) == 1
    assert await Edge(tmp_path / "new", house.anchor).pull(house.source) == 1


@pytest.mark.parametrize("name", ["timestamp", "snapshot", "channels"])
async def test_a_replaced_key_signs_no_more(house: House, edge: Edge, name: str) -> None:
    stolen = house.keys.signer(name)
    house.rotate(name)
    await edge.pull(house.source)
    house.publish(seq=2)
    ledger = house.ledger()
    file, document = {
        "timestamp": (TIMESTAMP_NAME, ledger.timestamp),
        "snapshot": (f"{ledger.snapshot.version}.snapshot.json", ledger.snapshot),
        "channels": (f"{ledger.bins['ch-d'].version}.ch-d.json", ledger.bins["ch-d"]),
    }[name]
    house.metadata(file).write_bytes(sign(document, [stolen]))
    await refused(edge, house.source, "tampered")


# -- Fast forward ------------------------------------------------------------------------------------------------------


def thief_of_the_timestamp_key(house: House, road: str = "network") -> Callable[[Path], None]:
    """Keeps a copy of the key; signs version 1,000,000 into any published folder."""
    stolen = house.keys.signer("timestamp")
    extra = {} if road == "network" else {"x-road": road}

    def strike(published: Path) -> None:
        held = json.loads((published / "metadata" / TIMESTAMP_NAME).read_bytes())["signed"]["meta"]["snapshot.json"]
        forged = Timestamp(FAR, None, NOW + 14 * DAY, MetaFile(held["version"]), dict(extra))
        (published / "metadata" / TIMESTAMP_NAME).write_bytes(sign(forged, [stolen]))

    return strike


async def test_a_stolen_timestamp_key_blocks_an_edge_until_it_is_replaced(
    house: House, edge: Edge, tmp_path: Path
) -> None:
    struck = house.copy(tmp_path / "line")
    strike = thief_of_the_timestamp_key(house)
    strike(struck)
    house.publish(seq=2)
    assert await edge.pull(type(house.source)(struck)) == 1
    assert "1000000" in await refused(edge, house.source, "rollback")
    house.rotate("timestamp", "snapshot")
    assert await edge.pull(house.source) == 2
    strike(house.published)  # once more, with the key that was replaced
    await refused(edge, house.source, "tampered")


async def test_the_cure_also_comes_with_a_bundle(house: House, edge: Edge, tmp_path: Path) -> None:
    """Both roads are blocked by the thief; the bundle brings the new root, and that counts on the line as well."""
    strike, strike_bundle = thief_of_the_timestamp_key(house), thief_of_the_timestamp_key(house, "bundle")
    line = house.copy(tmp_path / "line")
    strike(line)
    assert await edge.pull(type(house.source)(line)) == 1
    stick = house.bundle(tmp_path / "stick")
    strike_bundle(tmp_path / "stick")
    assert await edge.pull(stick, road="bundle") == 1
    house.publish(seq=2)
    await refused(edge, house.bundle(tmp_path / "stick"), "rollback", road="bundle")
    house.rotate("timestamp", "snapshot")
    house.publish(seq=3)
    assert await edge.pull(house.bundle(tmp_path / "stick"), road="bundle") == 3
    await refused(edge, type(house.source)(line), "tampered")  # the thief still sits on the line, with the old root
    assert await edge.pull(house.source) == 3


def strike_with_all_online_keys(house: House) -> Callable[[Path], None]:
    """Signs the last release there can be, in the year 9999, above everything."""
    stolen = {name: house.keys.signer(name) for name in EVERYTHING_ONLINE}
    raw = house.put_head(head_of("main", SEQ_MAX, datetime(9999, 12, 30, tzinfo=UTC)))
    late = datetime(9999, 12, 31, tzinfo=UTC)
    ledger = house.ledger().naming({head_path("main"): raw}, house.keys, NOW, house.taken)

    def strike(published: Path) -> None:
        held = ledger.bins["ch-d"]
        held.version, held.expires = FAR, late
        snapshot = Snapshot(
            FAR, None, late, {"targets.json": ledger.snapshot.meta["targets.json"], "ch-d.json": MetaFile(FAR)}
        )
        folder = published / "metadata"
        (folder / f"{FAR}.ch-d.json").write_bytes(sign(held, [stolen["channels"]]))
        (folder / f"{FAR}.snapshot.json").write_bytes(sign(snapshot, [stolen["snapshot"]]))
        forged = Timestamp(FAR, None, late, MetaFile(FAR))
        (folder / TIMESTAMP_NAME).write_bytes(sign(forged, [stolen["timestamp"]]))

    return strike


async def struck(house: House, edge: Edge, folder: Path) -> None:
    strike = strike_with_all_online_keys(house)
    shutil.copytree(house.published, folder)
    strike(folder)
    assert await edge.pull(type(house.source)(folder)) == SEQ_MAX


async def test_a_break_in_is_healed_by_replacing_all_online_keys(house: House, edge: Edge, tmp_path: Path) -> None:
    await struck(house, edge, tmp_path / "line")
    house.publish(seq=2)
    await refused(edge, house.source, "freeze")  # its clock has seen the year 9999
    house.rotate(*EVERYTHING_ONLINE)
    assert await edge.pull(house.source) == 2
    await refused(edge, house.source, "freeze", now=NOW + 15 * DAY)  # which counts no more, but the own clock does
    house.publish(seq=3, now=NOW + 15 * DAY)
    assert await edge.pull(house.source, now=NOW + 15 * DAY) == 3


async def test_the_timestamp_key_alone_would_not_heal_it(house: House, edge: Edge, tmp_path: Path) -> None:
    await struck(house, edge, tmp_path / "line")
    house.rotate("timestamp")
    house.publish(seq=2)
    await refused(edge, house.source, "rollback")  # the snapshot metadata of the thief is still believed
    house.rotate("snapshot")
    assert await edge.pull(house.source) == 2


async def test_a_rollback_is_still_refused_in_the_new_era(house: House, edge: Edge, tmp_path: Path) -> None:
    house.rotate(*EVERYTHING_ONLINE)
    old = house.copy(tmp_path / "old")
    house.publish(seq=2)
    assert await edge.pull(house.source) == 2
    await refused(edge, type(house.source)(old), "rollback")
    shutil.rmtree(edge.folder / "network")  # nothing is left but the heads
    assert "release 1 of main was offered after release 2" in await refused(edge, type(house.source)(old), "rollback")


# -- Ceremonies that go wrong ------------------------------------------------------------------------------------------


async def test_one_root_key_is_not_enough_and_makes_no_key(house: House, tmp_path: Path) -> None:
    for name in ("root-1", "root-3"):
        (house.keys.offline / f"{name}.pem").unlink()
    before = files_in(tmp_path)
    with pytest.raises(KeyUnavailable) as caught:
        house.rotate("timestamp")
    for part in ("as root needs 2 keys, 1 are there", "offline/root-1.pem", "offline/root-3.pem"):
        assert part in str(caught.value)
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("names", [("root-2",), ("timestamp", "root-2")])
async def test_a_lost_key_is_replaced_by_the_other_two(house: House, edge: Edge, names: tuple[str, ...]) -> None:
    (house.keys.offline / "root-2.pem").unlink()
    house.rotate(*names)
    assert "root-4" in house.ledger().key_names and "root-2" not in house.ledger().key_names
    assert await edge.pull(house.source) == 1


def test_a_root_is_signed_by_as_few_as_both_quorums_need(house: House) -> None:
    signatures = []
    for names in ((), ("root-1",), ("root",)):
        house.rotate(*names)
        raw = house.metadata(f"{house.ledger().root.version}.root.json").read_bytes()
        signatures.append(len(json.loads(raw)["signatures"]))
    assert signatures == [2, 2, 4]


@pytest.mark.parametrize("name", ["nobody", "root-9", "snapshot-2", "", "../root-1"])
def test_an_unknown_key_is_named_in_the_refusal(house: House, name: str) -> None:
    with pytest.raises(KeyUnavailable, match="in use are channels, root-1"):
        house.rotate("timestamp", name)


@pytest.mark.parametrize("names", [("timestamp", "snapshot"), ("channels",), (*EVERYTHING_ONLINE, "root", "targets")])
async def test_a_ceremony_that_was_cut_off_anywhere_can_go_on(
    house: House, edge: Edge, tmp_path: Path, names: tuple[str, ...]
) -> None:
    planned = rotated(house.ledger(), names, house.keys, NOW, house.taken)
    for written in range(len(planned.files()) + 1):
        trial = House.__new__(House)
        trial.keys, trial.published = house.keys, house.copy(tmp_path / f"cut{written}")
        trial.write(planned, only_first=written)
        trial.refresh()
        assert trial.ledger().root.version in (1, planned.root.version)
        raw = trial.put_head(head_of("main", 2, NOW))
        trial.write(trial.ledger().naming({head_path("main"): raw}, trial.keys, NOW, trial.taken))
        one = Edge(Path(shutil.copytree(edge.folder, tmp_path / f"edge{written}", symlinks=True)), house.anchor)
        assert await one.pull(trial.source) == 2


def test_a_new_key_never_takes_the_place_of_a_file(house: House) -> None:
    house.rotate("timestamp")
    left = house.keys.online / "timestamp-3.pem"
    left.write_bytes(b"of a ceremony that was cut off")
    house.rotate("timestamp")
    assert left.read_bytes() == b"of a ceremony that was cut off"
    assert "timestamp-4" in house.ledger().key_names


# -- Without the offline keys ------------------------------------------------------------------------------------------


async def test_a_year_without_the_offline_keys_and_then_their_return(house: House, edge: Edge, tmp_path: Path) -> None:
    safe = Path(shutil.move(house.keys.offline, tmp_path / "safe"))
    last = NOW + (TARGETS_EXPIRY_DAYS - 1) * DAY
    moment = NOW
    while moment < last:
        moment = min(moment + 10 * DAY, last)
        house.refresh(moment)
        assert await edge.pull(house.source, now=moment) == 1
    assert house.ledger().targets.version == 1
    assert house.ledger().offline_due == NOW + (TARGETS_EXPIRY_DAYS - BUNDLE_EXPIRY_DAYS - TIMESTAMP_EXPIRY_DAYS) * DAY
    with pytest.raises(KeyUnavailable, match=r"as targets needs 2 keys, 0 are there: .*offline/targets-1\.pem"):
        house.refresh(last + DAY)
    house.keys.offline = safe
    house.refresh(last + DAY)
    assert house.ledger().targets.version == 2
    assert await edge.pull(house.source, now=last + DAY) == 1


def test_targets_metadata_is_renewed_early_when_the_keys_happen_to_be_there(house: House) -> None:
    house.refresh(house.ledger().offline_due - DAY)
    assert house.ledger().targets.version == 1
    house.refresh(house.ledger().offline_due + DAY)
    assert house.ledger().targets.version == 2


def test_a_key_of_another_house_is_not_used(house: House, tmp_path: Path) -> None:
    other = House(tmp_path / "other")
    shutil.copyfile(other.keys.path("snapshot"), house.keys.path("snapshot"))
    with pytest.raises(KeyUnavailable, match=r"snapshot\.pem is another key than the one that the metadata names"):
        house.publish(seq=2)


def test_renewal_gives_the_root_its_full_time_again(house: House) -> None:
    house.rotate(now=NOW + 20 * DAY)
    root: Root = house.ledger().root
    assert (root.version, root.expires) == (2, NOW + (20 + ROOT_EXPIRY_DAYS) * DAY)


# -- The publisher's clock ---------------------------------------------------------------------------------------------


def test_time_does_not_run_back_at_the_publisher(house: House) -> None:
    before = house.ledger()
    for act in (
        lambda now: before.naming({head_path("b"): b"{}"}, house.keys, now, house.taken),
        lambda now: before.without([head_path("main")], house.keys, now, house.taken),
        lambda now: before.refreshed(house.keys, now, house.taken),
        lambda now: rotated(before, ["snapshot"], house.keys, now, house.taken),
    ):
        act(NOW - DAY / 1440)  # what a time server may do
        with pytest.raises(ClockDoubtful, match="set the clock right"):
            act(NOW - DAY)
        act(NOW + 30 * DAY)
        with pytest.raises(ClockDoubtful, match="31 days after the last signing"):
            act(NOW + 31 * DAY)
    assert isinstance(before.refreshed(house.keys, NOW + 31 * DAY, house.taken, sure=True), Ledger)


async def test_a_house_that_signed_with_a_wrong_clock_recovers_by_a_new_timestamp_key(house: House, edge: Edge) -> None:
    wrong = NOW + 900 * DAY
    raw = house.put_head(head_of("main", 2, wrong))
    house.write(house.ledger().naming({head_path("main"): raw}, house.keys, wrong, house.taken, sure=True))
    assert await edge.pull(house.source) == 2
    with pytest.raises(ClockDoubtful):
        house.publish(seq=3)
    raw = house.put_head(head_of("main", 3, NOW))
    ledger = rotated(house.ledger(), ["timestamp", "snapshot"], house.keys, NOW, house.taken)
    house.write(ledger.naming({head_path("main"): raw}, house.keys, NOW, house.taken))
    assert await edge.pull(house.source) == 3
    await refused(edge, house.source, "freeze", now=NOW + 14 * DAY)  # the wrong date is forgotten
    with pytest.raises(Missing):
        await edge.pull(type(house.source)(house.published / "metadata"), now=NOW)
