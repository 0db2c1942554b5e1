"""Properly signed but wrong, as a client of format 1 meets it."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from sync import Corrupt, NoChannel, Untrusted
from sync.ids import sha256_hex
from sync.snapshot import NamedFile, Snapshot, encode_snapshot, head_of, make_snapshot
from sync.store.files import write_file
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


async def test_heads_of_two_channels_cannot_be_swapped(lab: Lab) -> None:
    lab.publisher.publish("evil", add={"evil": b"x"}, remove=(), now=NOW)
    targets = lab.publisher.published / "targets" / "ch"
    (main,), (other,) = (list((targets / channel).iterdir()) for channel in ("main", "evil"))
    shutil.copyfile(other, main)
    before = lab.served()
    with pytest.raises(Corrupt, match="not the signed one"):
        await lab.sync()
    assert lab.served() == before


async def test_channel_that_does_not_exist(lab: Lab) -> None:
    with pytest.raises(NoChannel, match="'nothing'"):
        await lab.client().pull("nothing", now=NOW)


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
