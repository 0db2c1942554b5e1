"""One byte flipped anywhere in what is published: the edge refuses it and keeps serving what it had."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_server.packager import Shelf
from edge_server.store import Store
from edge_server.uplink.pull import pull
from sync import Corrupt, SyncError, Untrusted
from sync.client import Client
from sync.publisher import Publisher
from sync.store.folder import FolderSource

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
CHANNEL = "library"
pytestmark = pytest.mark.timeout(120)


async def sync_from(published: Path, edge: Path, anchor: bytes, now: datetime = LATER) -> int:
    store = Store(edge)
    client = Client(
        trust_dir=edge / "trust",
        source=FolderSource(published),
        objects=store.objects,
        anchor=anchor,
        spare_bytes=0,
    )
    return (await pull(store, client, Shelf(store.derived_root), now=now, channel=CHANNEL)).seq


def served(edge: Path) -> dict[str, bytes]:
    active = Store(edge).active()
    assert active is not None
    return {name: stored.file.read_bytes() for name, stored in active.files.items()}


@pytest.fixture
async def releases(tmp_path: Path) -> tuple[Path, Path, bytes]:
    """Two releases are published; the edge holds the first, and the anchor, brought by a trusted way."""
    publisher = Publisher.init(tmp_path / "central", NOW)
    publisher.publish(CHANNEL, add={"a.txt": b"first lesson" * 50, "b.bin": bytes(range(256)) * 20}, remove=(), now=NOW)
    edge, anchor = tmp_path / "edge", await asyncio.to_thread(publisher.trust_anchor.read_bytes)
    assert await sync_from(publisher.published, edge, anchor, NOW) == 1
    publisher.publish(CHANNEL, add={"a.txt": b"second edition" * 50, "c.txt": b"new"}, remove=("b.bin",), now=LATER)
    return publisher.published, edge, anchor


async def test_every_published_file(releases: tuple[Path, Path, bytes], tmp_path: Path) -> None:
    published, edge, anchor = releases
    before = served(edge)
    refused, harmless = [], []
    files = sorted(p for p in published.rglob("*") if p.is_file())
    for file in files:
        clean = file.read_bytes()
        for offset in sorted({0, len(clean) // 2, len(clean) - 1}):
            case = f"{file.relative_to(published)} @{offset}"
            victim = tmp_path / "victim"
            shutil.copytree(edge, victim)
            file.chmod(0o644)
            file.write_bytes(clean[:offset] + bytes([clean[offset] ^ 0x01]) + clean[offset + 1 :])
            try:
                seq = await sync_from(published, victim, anchor)
                assert seq == 2 and served(victim)["a.txt"] == b"second edition" * 50, case
                harmless.append(case)
            except (Untrusted, Corrupt):
                assert served(victim) == before, case
                refused.append(case)
            except SyncError as error:
                assert served(victim) == before, f"{case}: {error}"
                refused.append(case)
            file.write_bytes(clean)
            shutil.rmtree(victim)
    assert len(refused) >= 15, refused
    # What could be changed without being noticed was not needed: files of the first release, and the first root, which
    # the edge has by a trusted way.
    needed = ("timestamp.json", "2.snapshot", "chunks", "manifests", "snapshots", "targets")
    assert any(word in case for word in needed for case in refused)
    assert await sync_from(published, edge, anchor) == 2
    assert set(served(edge)) == {"a.txt", "c.txt"}


async def test_an_older_release_is_refused(releases: tuple[Path, Path, bytes], tmp_path: Path) -> None:
    published, edge, anchor = releases
    old = tmp_path / "old"
    shutil.copytree(published, old)
    publisher = Publisher.open(published.parent)
    assert await sync_from(published, edge, anchor) == 2
    publisher.publish(CHANNEL, add={"d.txt": b"third"}, remove=(), now=LATER)
    assert await sync_from(published, edge, anchor) == 3
    before = served(edge)
    with pytest.raises(Untrusted) as caught:
        await sync_from(old, edge, anchor)
    assert caught.value.reason == "rollback" and served(edge) == before


async def test_metadata_that_has_run_out_is_refused_but_serving_goes_on(releases: tuple[Path, Path, bytes]) -> None:
    published, edge, anchor = releases
    before = served(edge)
    with pytest.raises(Untrusted) as caught:
        await sync_from(published, edge, anchor, LATER + timedelta(days=30))
    assert caught.value.reason == "freeze" and served(edge) == before


async def test_the_case_of_a_signature_is_not_free(releases: tuple[Path, Path, bytes]) -> None:
    published, edge, anchor = releases
    before = served(edge)
    for name in ("timestamp.json", "3.snapshot.json", "3.targets.json"):
        file = published / "metadata" / name
        clean = file.read_bytes()
        start = clean.index(b'"sig"') + 5
        letter = next(i for i in range(clean.index(b'"', start) + 1, len(clean)) if clean[i] in b"abcdef")
        file.write_bytes(clean[:letter] + clean[letter : letter + 1].upper() + clean[letter + 1 :])
        with pytest.raises(Untrusted):
            await sync_from(published, edge, anchor)
        assert served(edge) == before, name
        file.write_bytes(clean)
