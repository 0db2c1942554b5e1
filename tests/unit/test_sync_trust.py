"""Attacks on the signed metadata, each by somebody who controls the whole line and every mirror."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sync import Corrupt, NoChannel, Unreachable, Untrusted
from sync.ids import sha256_hex
from sync.publisher import Publisher
from sync.snapshot import NamedFile, Snapshot, encode_snapshot, head_of, make_snapshot
from sync.store.files import write_file
from sync.trust import (
    BIN_BITS,
    BIN_EXPIRY_DAYS,
    BIN_PREFIX,
    ROOT_EXPIRY_DAYS,
    SNAPSHOT_EXPIRY_DAYS,
    TARGETS_EXPIRY_DAYS,
    TIMESTAMP_EXPIRY_DAYS,
    TIMESTAMP_MAX_BYTES,
)
from tests.sync_lab import NOW, Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    lab.publish({"a": b"first"})
    return lab


async def refused(lab: Lab, reason: str, *, now: datetime = NOW) -> str:
    before = lab.served()
    with pytest.raises(Untrusted) as caught:
        await lab.sync(now=now)
    assert caught.value.reason == reason
    assert lab.served() == before
    return str(caught.value)


def metadata(lab: Lab, name: str) -> Path:
    return lab.publisher.published / "metadata" / name


async def test_expiries_are_what_is_documented(lab: Lab) -> None:
    found = {}
    for name in ("1.root", "1.targets", "1.ch-d", "2.snapshot", "timestamp"):
        signed = json.loads(metadata(lab, f"{name}.json").read_bytes())["signed"]
        found[name] = (datetime.fromisoformat(signed["expires"]) - NOW).days
    assert found == {
        "1.root": ROOT_EXPIRY_DAYS,
        "1.targets": TARGETS_EXPIRY_DAYS,
        "1.ch-d": BIN_EXPIRY_DAYS,
        "2.snapshot": SNAPSHOT_EXPIRY_DAYS,
        "timestamp": TIMESTAMP_EXPIRY_DAYS,
    }
    assert list(found.values()) == [3650, 365, 365, 365, 14]


async def test_each_role_has_its_own_keys(lab: Lab) -> None:
    root = json.loads(lab.publisher.trust_anchor.read_bytes())["signed"]
    bins = json.loads(metadata(lab, "1.targets.json").read_bytes())["signed"]["delegations"]
    roles = {**root["roles"], "channels": bins["succinct_roles"]}
    assert {role: (each["threshold"], len(each["keyids"])) for role, each in roles.items()} == {
        "root": (2, 3),
        "targets": (2, 3),
        "snapshot": (1, 1),
        "timestamp": (1, 1),
        "channels": (1, 1),
    }
    assert len({keyid for each in roles.values() for keyid in each["keyids"]}) == 9
    assert root["consistent_snapshot"] is True
    assert {key["scheme"] for key in [*root["keys"].values(), *bins["keys"].values()]} == {"ed25519"}


async def test_targets_metadata_names_nothing_and_a_bin_names_a_channel(lab: Lab) -> None:
    signed = json.loads(metadata(lab, "1.targets.json").read_bytes())["signed"]
    assert signed["targets"] == {}
    assert (signed["delegations"]["succinct_roles"]["bit_length"], BIN_BITS, BIN_PREFIX) == (4, 4, "ch")
    assert list(json.loads(metadata(lab, "1.ch-d.json").read_bytes())["signed"]["targets"]) == ["ch/main/head.json"]
    listed = json.loads(metadata(lab, "2.snapshot.json").read_bytes())["signed"]["meta"]
    assert listed == {"targets.json": {"version": 1}, "ch-d.json": {"version": 1}}


@pytest.mark.parametrize("year", [1999, 2026, 2101])
async def test_expiry_is_judged_by_the_given_moment_not_by_the_wall_clock(tmp_path: Path, year: int) -> None:
    """Would fail with a python-tuf that keeps its reference time elsewhere: see sync/trust/refresh.py."""
    then = datetime(year, 6, 1, tzinfo=UTC)
    lab = Lab(tmp_path, Publisher.init(tmp_path / "central", then))
    lab.publisher.publish("main", add={"a": b"1"}, remove=(), now=then)
    last = then + timedelta(days=TIMESTAMP_EXPIRY_DAYS)
    assert (await lab.sync(now=last - timedelta(seconds=1))).changed
    await refused(lab, "freeze", now=last)


async def test_freeze(lab: Lab) -> None:
    await lab.sync()
    words = await refused(lab, "freeze", now=NOW + timedelta(days=15))
    assert "clock" in words
    lab.publisher.refresh(NOW + timedelta(days=15))
    assert not (await lab.sync(now=NOW + timedelta(days=15))).changed


async def test_a_clock_that_was_set_back_does_not_stretch_freshness(lab: Lab) -> None:
    await lab.sync()
    frozen = lab.root / "frozen"
    shutil.copytree(lab.publisher.published, frozen)
    later = NOW + timedelta(days=40)
    lab.publisher.publish("main", add={"b": b"2"}, remove=(), now=later)
    await lab.sync(now=later)
    shutil.rmtree(lab.publisher.published)
    shutil.copytree(frozen, lab.publisher.published)
    shutil.rmtree(lab.root / "edge" / "trust" / "network")  # else it would be a rollback: the versions are there
    await refused(lab, "freeze", now=NOW - timedelta(days=400))


async def test_a_clock_that_is_ahead_stops_updating_until_it_is_set_right(lab: Lab) -> None:
    await lab.sync()
    lab.publish({"b": b"second"})
    assert "is this clock right?" in await refused(lab, "freeze", now=NOW + timedelta(days=9000))
    await lab.sync(now=NOW)
    assert lab.served()[0] == 2


async def test_refresh_also_renews_what_would_run_out_first(lab: Lab) -> None:
    await lab.sync()
    for day in range(10, 400, 10):  # nothing is published for more than a year
        lab.publisher.refresh(NOW + timedelta(days=day))
        assert not (await lab.sync(now=NOW + timedelta(days=day, hours=1))).changed
    assert lab.served() == (1, {"a": b"first"})


async def test_rollback_to_the_old_timestamp(lab: Lab) -> None:
    old = lab.root / "old"
    shutil.copytree(lab.publisher.published, old)
    lab.publish({"b": b"second"})
    await lab.sync()
    shutil.rmtree(lab.publisher.published)
    shutil.copytree(old, lab.publisher.published)
    await refused(lab, "rollback")
    assert lab.served()[0] == 2


async def test_rollback_is_refused_although_the_metadata_of_the_client_were_lost(lab: Lab) -> None:
    old = lab.root / "old"
    shutil.copytree(lab.publisher.published, old)
    lab.publish({"b": b"second"})
    await lab.sync()
    shutil.rmtree(lab.root / "edge" / "trust" / "network")
    shutil.rmtree(lab.publisher.published)
    shutil.copytree(old, lab.publisher.published)
    assert "release 1 of main was offered after release 2" in await refused(lab, "rollback")


@pytest.mark.parametrize(("old", "new"), [("1.ch-d.json", "2.ch-d.json"), ("2.snapshot.json", "3.snapshot.json")])
async def test_mix_and_match_of_validly_signed_metadata(lab: Lab, old: str, new: str) -> None:
    await lab.sync()
    lab.publish({"b": b"second"})
    shutil.copyfile(metadata(lab, old), metadata(lab, new))
    await refused(lab, "rollback")


async def test_bins_cannot_be_swapped(lab: Lab) -> None:
    lab.publisher.publish("other", add={"x": b"x"}, remove=(), now=NOW)
    (other,) = (f for f in metadata(lab, "").glob("1.ch-*.json") if f.name != "1.ch-d.json")
    own = metadata(lab, "1.ch-d.json").read_bytes()
    shutil.copyfile(other, metadata(lab, "1.ch-d.json"))  # same key, same version
    assert "holds the hash bin" in await refused(lab, "tampered")
    metadata(lab, "1.ch-d.json").write_bytes(own)
    assert (await lab.sync()).changed


async def test_heads_of_two_channels_cannot_be_swapped(lab: Lab) -> None:
    lab.publisher.publish("evil", add={"evil": b"x"}, remove=(), now=NOW)
    targets = lab.publisher.published / "targets" / "ch"
    (main,), (other,) = (list((targets / channel).iterdir()) for channel in ("main", "evil"))
    shutil.copyfile(other, main)
    before = lab.served()
    with pytest.raises(Corrupt, match="not the signed one"):
        await lab.sync()
    assert lab.served() == before


async def test_metadata_of_another_publisher(lab: Lab) -> None:
    await lab.sync()
    foreign = Publisher.init(lab.root / "foreign", NOW)
    for _ in range(5):  # higher version numbers than ours
        foreign.refresh(NOW)
    shutil.copyfile(foreign.published / "metadata" / "timestamp.json", metadata(lab, "timestamp.json"))
    await refused(lab, "tampered")


async def test_forged_next_root(lab: Lab) -> None:
    await lab.sync()
    foreign = Publisher.init(lab.root / "foreign", NOW)
    forged = json.loads(foreign.trust_anchor.read_bytes())
    forged["signed"]["version"] = 2
    metadata(lab, "2.root.json").write_text(json.dumps(forged))
    await refused(lab, "tampered")


async def test_endless_timestamp_is_not_read_to_the_end(lab: Lab) -> None:
    await lab.sync()
    with metadata(lab, "timestamp.json").open("ab") as file:
        file.truncate(20_000_000)
    await refused(lab, "oversized")
    metadata(lab, "timestamp.json").write_bytes(b" " * (TIMESTAMP_MAX_BYTES + 1))
    await refused(lab, "oversized")


async def test_no_anchor_no_trust(lab: Lab) -> None:
    anchor = lab.publisher.trust_anchor.read_bytes()
    trust = lab.root / "trust2"
    for given in (None, b"", b"{}", b"not json", anchor.replace(b'"version":1', b'"version":3')):
        client = lab.client()
        client._trust_dir, client._anchor = trust, given
        with pytest.raises(Untrusted) as caught:
            await client.pull("main", now=NOW)
        assert caught.value.reason == "no-anchor"
        assert not (trust / "1.root.json").exists()
    client = lab.client()
    client._trust_dir = trust
    assert (await client.pull("main", now=NOW)).changed
    client._anchor = None  # from now on the kept one serves
    assert not (await client.pull("main", now=NOW)).changed
    client._anchor = Publisher.init(lab.root / "foreign", NOW).trust_anchor.read_bytes()
    with pytest.raises(Untrusted, match="another publisher"):
        await client.pull("main", now=NOW)


async def test_channel_that_does_not_exist(lab: Lab) -> None:
    with pytest.raises(NoChannel, match="'nothing'"):
        await lab.client().pull("nothing", now=NOW)


async def test_empty_source_is_unreachable_not_untrusted(lab: Lab) -> None:
    await lab.sync()
    shutil.rmtree(lab.publisher.published / "metadata")
    with pytest.raises(Unreachable):
        await lab.sync()
    assert lab.served() == (1, {"a": b"first"})


# -- Signed, but wrong: a publisher with a fault -----------------------------------------------------------------------


def sign(lab: Lab, head: bytes) -> None:
    """Publish this head on the channel ``main``, properly signed."""
    publisher = lab.publisher
    name = sha256_hex(head)
    write_file(publisher.published / "targets" / "ch" / "main" / f"{name}.head.json", head)
    publisher._write(publisher._ledger().naming({"ch/main/head.json": head}, publisher._keys, NOW, publisher._taken))


def object_of(lab: Lab, snapshot: Snapshot) -> bytes:
    encoded = encode_snapshot(snapshot)
    write_file(lab.publisher.published / "snapshots" / sha256_hex(encoded), encoded)
    return encoded


async def test_signed_head_of_another_channel(lab: Lab) -> None:
    await lab.sync()
    other = make_snapshot("other", 9, NOW, ())
    sign(lab, head_of(other, object_of(lab, other)))
    await refused(lab, "tampered")


async def test_signed_head_that_is_too_long(lab: Lab) -> None:
    await lab.sync()
    sign(lab, b'{"pad":"' + b"x" * 2048 + b'"}')
    await refused(lab, "oversized")


@pytest.mark.parametrize("seq", [0, 1])
async def test_signed_head_of_the_same_or_an_older_release(lab: Lab, seq: int) -> None:
    await lab.sync()
    if seq:
        changed = make_snapshot("main", 1, NOW, ())
        sign(lab, head_of(changed, object_of(lab, changed)))
        await refused(lab, "rollback")
    else:
        sign(lab, b'{"format":1}')
        with pytest.raises(Corrupt):
            await lab.sync()
    assert lab.served() == (1, {"a": b"first"})


@pytest.mark.parametrize(
    "lie",
    [
        make_snapshot("other", 2, NOW, ()),
        make_snapshot("main", 3, NOW, ()),
        make_snapshot("main", 2, NOW + timedelta(seconds=1), ()),
    ],
    ids=["channel", "seq", "issued"],
)
async def test_snapshot_object_of_another_release(lab: Lab, lie: Snapshot) -> None:
    await lab.sync()
    sign(lab, head_of(make_snapshot("main", 2, NOW, ()), object_of(lab, lie)))
    with pytest.raises(Corrupt, match="another release"):
        await lab.sync()
    assert lab.served() == (1, {"a": b"first"})


async def test_manifest_that_is_not_the_implied_one(lab: Lab) -> None:
    await lab.sync()
    file = NamedFile("b", sha256_hex(b"b"), 1, "0" * 64)
    snapshot = make_snapshot("main", 2, NOW, (file,))
    sign(lab, head_of(snapshot, object_of(lab, snapshot)))
    with pytest.raises(Corrupt, match="'b'"):
        await lab.sync()
    assert lab.served() == (1, {"a": b"first"})
