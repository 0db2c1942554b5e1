"""Attacks on the signed metadata over a real line, by somebody who controls it and may hold some of the keys.

In each, the edge refuses with the reason that fits, goes on serving what it had, and takes the next honest release once
the attacker is gone (after a rotation of the keys, where keys were stolen).
"""

from __future__ import annotations

import asyncio
import copy
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from sync import Missing, TooLong, Unreachable, Untrusted
from sync.head import head_path
from sync.road.http import HttpSource
from sync.trust import (
    ROOT_MAX_BYTES,
    SNAPSHOT_METADATA_MAX_BYTES,
    TARGETS_MAX_BYTES,
    TIMESTAMP_EXPIRY_DAYS,
    TIMESTAMP_MAX_BYTES,
    Road,
)
from sync.trust.documents import TIMESTAMP_NAME, bin_of, sign
from sync.trust.rotation import EVERYTHING_ONLINE
from tests.trust_lab import DAY, NOW, Edge, Fault, House, Line, head_of, line_to

TIMESTAMP = f"metadata/{TIMESTAMP_NAME}"


class Scene:
    """A house at its second release, a line that still shows the first, and an edge that believes that."""

    def __init__(self, house: House, line: Line, edge: Edge) -> None:
        self.house, self.line, self.edge = house, line, edge
        self.source = HttpSource(line.url, progress_timeout_s=0.5)

    def show(self, folder: Path | None = None) -> None:
        """Let the line hand out that folder, or what the house publishes now."""
        self.line.folder = folder or self.house.published
        self.line.faults.clear()

    async def refused(self, reason: str, *, road: Road = "network", now: object = NOW) -> str:
        seq = self.edge.seq
        with pytest.raises(Untrusted) as caught:
            await self.edge.pull(self.source, road=road, now=now)  # type: ignore[arg-type]
        assert caught.value.reason == reason, str(caught.value)
        assert self.edge.seq == seq
        return str(caught.value)

    async def recovers(self, seq: int) -> None:
        """The attacker is gone."""
        self.show()
        assert await self.edge.pull(self.source) == seq


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    house = House(tmp_path / "central")
    house.publish()
    async with line_to(house.copy(tmp_path / "first")) as line:
        scene = Scene(house, line, Edge(tmp_path / "edge", house.anchor))
        try:
            assert await scene.edge.pull(scene.source) == 1
            house.publish(seq=2)
            scene.show()
            yield scene
        finally:
            await scene.source.close()


def newest(scene: Scene, name: str) -> str:
    """Name the newest version of a file."""
    versions = [int(file.name.split(".")[0]) for file in scene.house.metadata("").glob(f"*.{name}")]
    return f"metadata/{max(versions)}.{name}"


def body(data: bytes) -> Fault:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=data)

    return answer


async def test_rollback(scene: Scene, tmp_path: Path) -> None:
    assert await scene.edge.pull(scene.source) == 2
    scene.show(tmp_path / "first")
    await scene.refused("rollback")
    scene.house.publish(seq=3)
    await scene.recovers(3)


async def test_freeze(scene: Scene, tmp_path: Path) -> None:
    scene.show(tmp_path / "first")
    assert await scene.edge.pull(scene.source, now=NOW + 13 * DAY) == 1  # nobody can tell yet
    await scene.refused("freeze", now=NOW + TIMESTAMP_EXPIRY_DAYS * DAY)
    await scene.recovers(2)


@pytest.mark.parametrize("name", ["ch-d.json", "snapshot.json"])
async def test_mix_and_match(scene: Scene, tmp_path: Path, name: str) -> None:
    new = newest(scene, name)
    old = max((tmp_path / "first" / "metadata").glob(f"*.{name}"))
    scene.line.faults[new] = body(old.read_bytes())
    await scene.refused("rollback")
    await scene.recovers(2)


async def test_one_bin_in_place_of_another(scene: Scene) -> None:
    scene.house.publish("other", seq=1)
    scene.house.publish("other", seq=2)  # now both bins are at version 2
    (other,) = (file for file in scene.house.metadata("").glob("2.ch-*.json") if file.name != "2.ch-d.json")
    scene.line.faults["metadata/2.ch-d.json"] = body(other.read_bytes())
    assert "holds the hash bin" in await scene.refused("tampered")
    await scene.recovers(2)


ROLES = {
    "metadata/2.root.json": ROOT_MAX_BYTES,
    TIMESTAMP: TIMESTAMP_MAX_BYTES,
    "snapshot.json": SNAPSHOT_METADATA_MAX_BYTES,
    "ch-d.json": TARGETS_MAX_BYTES,
}


def resolved(scene: Scene, name: str) -> str:
    return name if name.startswith("metadata/") else newest(scene, name)


@pytest.mark.parametrize("name", ROLES)
async def test_endless_data(scene: Scene, name: str) -> None:
    """The server never ends the file: the edge reads no more than the role may have, and what was under way."""
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while sent < 200_000_000:
                await response.write(b" " * 65_536)
                sent += 65_536
        except (ConnectionError, asyncio.CancelledError):
            pass
        return response

    scene.line.faults[resolved(scene, name)] = endless
    await scene.refused("oversized")
    await scene.source.close()
    assert sent < ROLES[name] + 16_000_000  # buffers of two kernels and two programs
    await scene.recovers(2)


async def test_a_file_that_says_it_is_long_is_not_read(scene: Scene) -> None:
    scene.line.faults[TIMESTAMP] = body(b" " * (TIMESTAMP_MAX_BYTES + 1))
    await scene.refused("oversized")
    await scene.recovers(2)


@pytest.mark.parametrize("name", [*ROLES])
@pytest.mark.parametrize("pause_s", [60.0, 0.05], ids=["silent", "dripping"])
async def test_slow_retrieval(scene: Scene, name: str, pause_s: float) -> None:
    """Silence ends with the source's timeout; a byte now and then, which would outwit that, with trust's patience."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(int(60 / pause_s)):
                await response.write(b" ")
                await asyncio.sleep(pause_s)
        except (ConnectionError, asyncio.CancelledError):
            pass
        return response

    scene.line.faults[resolved(scene, name)] = drip
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(Unreachable) as caught:
        await scene.edge.pull(scene.source)
    assert not isinstance(caught.value, Missing) and scene.edge.seq == 1
    assert loop.time() - began < 5
    assert ("holding it back" in str(caught.value)) == (pause_s < 1)
    await scene.recovers(2)


@pytest.mark.parametrize("name", [TIMESTAMP, "snapshot.json", "ch-d.json", "metadata/2.root.json"])
async def test_wrong_key(scene: Scene, tmp_path: Path, name: str) -> None:
    """Everything is as it should be, but signed by another house; the next root by itself."""
    other = House(tmp_path / "other")
    other.publish()
    other.publish(seq=2)
    other.rotate("timestamp")
    own = resolved(scene, name)
    foreign = "2.root.json" if "root" in name else Path(own).name
    scene.line.faults[own] = body(other.metadata(foreign).read_bytes())
    await scene.refused("tampered")
    await scene.recovers(2)


async def test_head_tampered(scene: Scene) -> None:
    target = scene.house.ledger().target(head_path("main"))
    assert target is not None
    name = f"targets/ch/main/{target.hashes['sha256']}.head.json"
    good = (scene.house.published / name).read_bytes()
    for bad in (good.replace(b'"seq":2', b'"seq":3'), good[:-1], good + b" " * 4096, b""):
        scene.line.faults[name] = body(bad)
        with pytest.raises((TooLong, LengthOrHashMismatchError)):
            await scene.edge.pull(scene.source)
        assert scene.edge.seq == 1
    await scene.recovers(2)


@pytest.mark.parametrize("name", [TIMESTAMP, "snapshot.json", "ch-d.json"])
async def test_any_flipped_bit(scene: Scene, name: str) -> None:
    """Every seventh byte and the date: refused, and the next honest answer is taken."""
    own = resolved(scene, name)
    good = (scene.house.published / own).read_bytes()
    date = good.index(b'"expires":"') + 11  # python-tuf reads `t` for `T`, and ` 1` for `01`
    for at in sorted({*range(0, len(good), 7), *range(date, date + 20)}):
        for bit in (0x01, 0x10, 0x20):
            scene.line.faults[own] = body(good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :])
            with pytest.raises((Untrusted, Unreachable)):
                await scene.edge.pull(scene.source)
            assert scene.edge.seq == 1
    await scene.recovers(2)


# -- Roads -------------------------------------------------------------------------------------------------------------


async def test_the_timestamp_of_a_bundle_is_worth_nothing_on_the_line(scene: Scene, tmp_path: Path) -> None:
    """It is good for 120 days: replayed on the line, it would freeze an edge for so long."""
    scene.house.bundle(tmp_path / "stick")
    scene.show(tmp_path / "stick")
    said = await scene.refused("tampered")
    assert "good for the road 'bundle' came by the network" in said
    await scene.recovers(2)


async def test_the_timestamp_of_the_line_is_worth_nothing_in_a_bundle(scene: Scene) -> None:
    assert "good for the road 'network' came by the bundle" in await scene.refused("tampered", road="bundle")


async def test_a_road_that_was_scratched_out_spoils_the_signature(scene: Scene, tmp_path: Path) -> None:
    scene.house.bundle(tmp_path / "stick")
    forged = json.loads((tmp_path / "stick" / TIMESTAMP).read_bytes())
    for road in (None, "network"):
        if road is None:
            del forged["signed"]["x-road"]
        else:
            forged["signed"]["x-road"] = road
        scene.line.faults[TIMESTAMP] = body(json.dumps(forged).encode())
        await scene.refused("tampered")
    await scene.recovers(2)


async def test_a_bundle_lasts_longer_and_both_roads_share_the_newest_head(scene: Scene, tmp_path: Path) -> None:
    scene.house.bundle(tmp_path / "old stick")
    scene.house.publish(seq=3)
    scene.house.bundle(tmp_path / "stick")
    scene.show(tmp_path / "stick")
    assert await scene.edge.pull(scene.source, road="bundle", now=NOW + 119 * DAY) == 3
    await scene.refused("freeze", road="bundle", now=NOW + 120 * DAY)
    scene.show(tmp_path / "first")
    with pytest.raises(Untrusted, match="release 1 of main was offered after release 3"):
        await scene.edge.pull(scene.source)
    shutil.rmtree(scene.edge.folder / "bundle")
    scene.show(tmp_path / "old stick")
    with pytest.raises(Untrusted, match="release 2 of main was offered after release 3"):
        await scene.edge.pull(scene.source, road="bundle")
    assert scene.edge.seq == 3


# -- Stolen keys -------------------------------------------------------------------------------------------------------


async def test_fast_forward(scene: Scene) -> None:
    forged = Timestamp(1_000_000, None, NOW + 14 * DAY, MetaFile(scene.house.ledger().snapshot.version))
    scene.line.faults[TIMESTAMP] = body(sign(forged, [scene.house.keys.signer("timestamp")]))
    assert await scene.edge.pull(scene.source) == 2
    scene.show()
    await scene.refused("rollback")
    scene.house.rotate("timestamp", "snapshot")
    scene.house.publish(seq=3)
    await scene.recovers(3)


def forge(scene: Scene, change: Callable[[Targets], bytes]) -> None:
    """Publish targets metadata that was changed, under a snapshot and timestamp that are properly signed."""
    ledger = scene.house.ledger()
    targets = copy.deepcopy(ledger.targets)
    targets.version += 1
    raw = change(targets)
    snapshot = Snapshot(50, None, NOW + 14 * DAY, {**ledger.snapshot.meta, "targets.json": MetaFile(targets.version)})
    timestamp = Timestamp(50, None, NOW + 14 * DAY, MetaFile(50))
    signer = scene.house.keys.signer
    scene.line.faults |= {
        f"metadata/{targets.version}.targets.json": body(raw),
        "metadata/50.snapshot.json": body(sign(snapshot, [signer("snapshot")])),
        TIMESTAMP: body(sign(timestamp, [signer("timestamp")])),
    }


@pytest.mark.parametrize("stolen", [[], ["targets-1"], ["targets-3"], ["targets-2", "targets-2"]])
async def test_online_keys_and_too_few_targets_keys(scene: Scene, stolen: list[str]) -> None:
    """All online keys and one of the three: not even a signature given twice lets the thief hand the bins over."""

    def change(targets: Targets) -> bytes:
        signed = json.loads(sign(targets, [scene.house.keys.signer(name) for name in ["channels", *stolen]]))
        if len(stolen) == 2:
            signed["signatures"] = signed["signatures"][1:] * 2
        return json.dumps(signed).encode()

    forge(scene, change)
    await scene.refused("tampered")
    scene.house.rotate(*EVERYTHING_ONLINE)
    await scene.recovers(2)


async def test_two_targets_keys_are_enough_so_that_the_test_above_can_fail(scene: Scene) -> None:
    forge(scene, lambda targets: sign(targets, [scene.house.keys.signer(name) for name in ("targets-1", "targets-3")]))
    assert await scene.edge.pull(scene.source) == 2


@pytest.mark.parametrize("stolen", [["root-1"], [*EVERYTHING_ONLINE, "root-2"], ["targets-1", "targets-2", "root-3"]])
async def test_one_root_key_makes_no_root(scene: Scene, stolen: list[str]) -> None:
    root = Metadata[Root].from_bytes(scene.house.anchor).signed
    root.version = 2
    for role in root.roles.values():
        role.threshold = 1
    signers = [scene.house.keys.signer(name) for name in stolen]
    scene.line.faults["metadata/2.root.json"] = body(sign(root, signers))
    await scene.refused("tampered")
    await scene.recovers(2)


async def test_the_channels_key_alone_publishes_nothing(scene: Scene) -> None:
    """What it signs has to be listed by a snapshot; under the version of the honest bin it could be slipped in."""
    raw = scene.house.put_head(head_of("main", 9, NOW))
    planned = scene.house.ledger().naming({head_path("main"): raw}, scene.house.keys, NOW, scene.house.taken)
    forged = bin_of("ch-d", planned.bins["ch-d"].version, NOW + DAY, planned.bins["ch-d"].targets)
    signed = sign(forged, [scene.house.keys.signer("channels")])
    scene.line.faults[f"metadata/{forged.version}.ch-d.json"] = body(signed)
    await scene.recovers(2)
