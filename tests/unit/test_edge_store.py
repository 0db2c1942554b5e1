"""The edge's disk: activation, what another process sees, clean-up, locks, re-verification."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_server.store import Damage, Store
from sync import Busy, Corrupt, Missing
from sync.ids import sha256_hex
from sync.manifest import encode_manifest, manifest_of
from sync.snapshot import NamedFile, Snapshot, make_snapshot
from tests.sync_lab import NOW, served

ROOT = Path(__file__).resolve().parents[2]


def put(store: Store, seq: int, files: dict[str, bytes], channel: str = "main") -> Snapshot:
    """Take the objects in, as a pull does, and return the snapshot that names them."""
    rows = []
    for name, data in files.items():
        manifest = manifest_of(data)
        if not store.objects.has(manifest.sha256):
            incoming = store.objects.begin(manifest)
            for _ in manifest.chunks:
                incoming.append(data)
            incoming.commit()
        rows.append(NamedFile(name, manifest.sha256, len(data), sha256_hex(encode_manifest(manifest))))
    return make_snapshot(channel, seq, NOW, rows)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_nothing_was_synced_yet(store: Store, tmp_path: Path) -> None:
    assert store.active() is None
    assert store.verify() == ()
    assert store.collect() == 0
    assert served(tmp_path) == (0, {})


def test_activate(store: Store, tmp_path: Path) -> None:
    files = {"catalogue.json": b"{}", "课件/a.mp4": b"film", "twin": b"film", "empty": b""}
    store.activate(put(store, 3, files))
    active = store.active()
    assert active is not None
    assert (active.seq, active.channel, active.issued) == (3, "main", NOW)
    film = active.files["课件/a.mp4"]
    assert (film.path, film.sha256, film.length_bytes) == ("课件/a.mp4", sha256_hex(b"film"), 4)
    assert film.file.read_bytes() == b"film" and film.file.stat().st_mode & 0o222 == 0
    assert active.files["twin"].file == film.file
    assert served(tmp_path) == (3, files)


def test_asking_for_the_active_snapshot_reads_no_file_unless_it_changed(store: Store, tmp_path: Path) -> None:
    store.activate(put(store, 1, {"a": b"1"}))
    first = store.active()
    opened: list[str] = []
    recording = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if recording and event == "open" and str(arguments[0]).startswith(str(tmp_path)):
            opened.append(str(arguments[0]))

    sys.addaudithook(watch)
    assert store.active() is first
    assert opened == []
    other = Store(tmp_path)
    other.activate(put(other, 2, {"a": b"2"}))
    second = store.active()
    assert second is not None and second.seq == 2
    assert str(tmp_path / "current") in opened
    recording = False
    assert first is not None and first.files["a"].file.read_bytes() == b"1"  # whoever began with it keeps it


def test_another_process_is_seen(store: Store, tmp_path: Path) -> None:
    store.activate(put(store, 1, {"a": b"1"}))
    assert store.active() is not None
    code = (
        "import sys; from pathlib import Path; from tests.unit.test_edge_store import put; "
        "from edge_server.store import Store; s = Store(Path(sys.argv[1])); s.activate(put(s, 2, {'a': b'2'}))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True)
    active = store.active()
    assert active is not None and active.files["a"].file.read_bytes() == b"2"


@pytest.mark.parametrize("harm", [Path.unlink, lambda file: os.truncate(file, 1)], ids=["missing", "short"])
def test_snapshot_whose_objects_are_not_all_here_is_not_activated(
    store: Store, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    store.activate(put(store, 1, {"a": b"1"}))
    snapshot = put(store, 2, {"a": b"1", "b": b"two"})
    harm(store.objects.path(sha256_hex(b"two")))
    with pytest.raises(Missing, match="'b'"):
        store.activate(snapshot)
    assert served(tmp_path) == (1, {"a": b"1"})


def test_collect_keeps_active_and_previous(store: Store, tmp_path: Path) -> None:
    for seq in range(1, 4):
        store.activate(put(store, seq, {"both": b"both", f"only{seq}": f"{seq}".encode() * seq}))
        for data in (f"{seq}".encode() * seq, b"both"):
            sha256 = sha256_hex(data)
            (store.derived_root / sha256[:2] / sha256 / "v1").mkdir(parents=True, exist_ok=True)
    half = store.objects.begin(manifest_of(b"unfinished"))
    half.append(b"unfinished")
    half.close()
    litter = tmp_path / ".current.123.tmp"
    litter.touch()
    assert store.collect() == 1
    kept = {sha256_hex(data) for data in (b"22", b"333", b"both")}
    assert set(store.objects.ids()) == kept
    assert {folder.name for folder in store.derived_root.glob("??/*")} == kept
    assert sorted(file.name for file in (tmp_path / "snapshots").iterdir()) == ["2.json", "3.json"]
    assert not litter.exists() and not any((tmp_path / "staging").iterdir())
    assert store.collect() == 0
    assert served(tmp_path)[0] == 3


def test_collect_spares_a_release_on_its_way_in(store: Store, tmp_path: Path) -> None:
    coming = put(store, 2, {"here": b"here", "half": b"half"})
    store.objects.remove(sha256_hex(b"half"))
    put(store, 9, {"abandoned": b"abandoned"})
    for data in (b"half", b"abandoned half"):
        incoming = store.objects.begin(manifest_of(data))
        incoming.append(data)
        incoming.close()
    for first in (True, False):
        with store.lock() as changes:
            assert changes.collect(coming) == (len(b"abandoned") if first else 0)
        expected = {sha256_hex(b"here")} if first else {sha256_hex(b"here"), sha256_hex(b"old")}
        assert set(store.objects.ids()) == expected
        assert [file.name for file in (tmp_path / "staging").iterdir()] == [f"{sha256_hex(b'half')}.part"]
        store.activate(put(store, 1, {"old": b"old"}))


def test_activating_the_same_release_again_keeps_the_previous_one(store: Store) -> None:
    for seq in (1, 2, 2):
        store.activate(put(store, seq, {"a": f"{seq}".encode()}))
    store.collect()
    assert store.objects.has(sha256_hex(b"1")) and store.objects.has(sha256_hex(b"2"))


def test_collect_does_nothing_when_it_cannot_know_what_is_needed(store: Store, tmp_path: Path) -> None:
    for seq in (1, 2):
        store.activate(put(store, seq, {"a": f"{seq}".encode()}))
    put(store, 3, {"a": b"fetched but not active yet"})
    (tmp_path / "snapshots" / "1.json").write_bytes(b"{")
    before = list(store.objects.ids())
    with pytest.raises(Corrupt):
        store.collect()
    assert list(store.objects.ids()) == before


def test_lock(store: Store, tmp_path: Path) -> None:
    snapshot = put(store, 1, {"a": b"1"})
    with store.lock() as changes:
        for holder in (store, Store(tmp_path)):  # also not twice in one process
            with pytest.raises(Busy, match=str(os.getpid())):
                holder.collect()
            with pytest.raises(Busy):
                holder.activate(snapshot)
        changes.activate(snapshot)
        changes.collect()
    store.collect()
    assert served(tmp_path) == (1, {"a": b"1"})


@pytest.mark.parametrize("spoilt", ["current", "snapshots/1.json"])
@pytest.mark.parametrize("data", [b"", b"{}", b"\x00" * 300, b'{"format":1,"seq":"x","previous":null}'])
def test_damaged_pointer_is_reported_and_repaired_by_activating(
    store: Store, tmp_path: Path, spoilt: str, data: bytes
) -> None:
    snapshot = put(store, 1, {"a": b"1"})
    store.activate(snapshot)
    (tmp_path / spoilt).write_bytes(data)
    for _ in range(2):
        with pytest.raises(Corrupt):
            Store(tmp_path).active()
    store.activate(snapshot)
    assert served(tmp_path) == (1, {"a": b"1"})


def test_verify_finds_every_damage(store: Store, tmp_path: Path) -> None:
    store.activate(put(store, 1, {"good": b"good", "bad": b"flipped", "twin": b"flipped", "gone": b"gone"}))
    put(store, 2, {"stray": b"stray"})
    assert store.verify() == ()
    for data in (b"flipped", b"stray"):
        file = store.objects.path(sha256_hex(data))
        file.chmod(0o644)
        file.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    store.objects.remove(sha256_hex(b"gone"))
    seen: list[str] = []
    damages = store.verify(seen.append)
    assert sorted(damages, key=lambda each: each.names) == [
        Damage(sha256_hex(b"stray"), "altered", ()),
        Damage(sha256_hex(b"flipped"), "altered", ("bad", "twin")),
        Damage(sha256_hex(b"gone"), "missing", ("gone",)),
    ]
    assert seen == list(store.objects.ids()) and len(seen) == 3
    with store.lock() as changes:
        changes.discard(damages)
    assert list(store.objects.ids()) == [sha256_hex(b"good")]
