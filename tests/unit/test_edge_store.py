"""The edge's disk: activation, what another process sees, withdrawal, clean-up, locks, re-verification."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from edge_server.store import Damage, Store
from edge_server.store.changes import Changes, changing
from sync import Busy, Corrupt, Missing
from sync.ids import sha256_hex
from sync.listing import Listing, NamedFile, make_listing
from sync.recipe import encode_recipe
from sync.recipe.cutter import make_recipe
from tests.sync_lab import NOW, served

ROOT = Path(__file__).resolve().parents[2]


def put(store: Store, seq: int, files: dict[str, bytes], channel: str = "main") -> Listing:
    """Take the objects in, as a pull does, and return the listing that names them."""
    rows = []
    for name, data in files.items():
        recipe = make_recipe(data)
        if not store.holding.has(recipe.sha256):
            part = store.holding.begin(recipe)
            part.commit()  # all these are small: the skeleton is the file
        rows.append(NamedFile(name, recipe.sha256, len(data), sha256_hex(encode_recipe(recipe))))
    return make_listing(channel, seq, NOW, rows)


def activate(store: Store, listing: Listing, absent: Iterable[str] = ()) -> None:
    with changing(store) as changes:
        changes.activate(listing, frozenset(absent))


def collect(store: Store) -> int:
    with changing(store) as changes:
        return changes.collect()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_nothing_was_synced_yet(store: Store, tmp_path: Path) -> None:
    assert store.active() is None
    assert store.verify() == ()
    assert collect(store) == 0
    assert served(tmp_path) == (0, {})


def test_activate(store: Store, tmp_path: Path) -> None:
    files = {"catalogue.json": b"{}", "课件/a.mp4": b"film", "twin": b"film", "empty": b""}
    activate(store, put(store, 3, files))
    active = store.active()
    assert active is not None and active.seq == 1, "the edge counts its own switches"
    release = active.releases["main"]
    assert (release.seq, release.channel, release.issued, release.absent) == (3, "main", NOW, frozenset())
    assert active.issued == NOW
    film = active.files["课件/a.mp4"]
    assert (film.path, film.sha256, film.length_bytes) == ("课件/a.mp4", sha256_hex(b"film"), 4)
    assert film.file.read_bytes() == b"film" and film.file.stat().st_mode & 0o222 == 0
    assert active.files["twin"].file == film.file
    assert served(tmp_path) == (1, files)


def test_channels_change_one_at_a_time(store: Store, tmp_path: Path) -> None:
    activate(store, put(store, 1, {"catalogue.json": b"b", "b": b"bb"}, "col-2"))
    activate(store, put(store, 7, {"catalogue.json": b"a", "a": b"aa"}, "col-1"))
    active = store.active()
    assert active is not None and active.seq == 2
    assert [(name, each.seq) for name, each in active.releases.items()] == [("col-1", 7), ("col-2", 1)]
    assert active.releases["col-2"].files["catalogue.json"].file.read_bytes() == b"b"
    assert served(tmp_path) == (2, {"catalogue.json": b"a", "a": b"aa", "b": b"bb"}), "the first channel's name counts"
    with changing(store) as changes:
        changes.drop(["col-1", "unknown"])
    assert served(tmp_path) == (3, {"catalogue.json": b"b", "b": b"bb"})
    with changing(store) as changes:
        changes.drop(["col-1"])
    assert served(tmp_path)[0] == 3, "what changes nothing is no switch"


def test_asking_for_the_active_snapshot_reads_no_file_unless_it_changed(store: Store, tmp_path: Path) -> None:
    activate(store, put(store, 1, {"a": b"1"}))
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
    activate(other, put(other, 2, {"a": b"2"}))
    second = store.active()
    assert second is not None and second.seq == 2
    assert str(tmp_path / "current") in opened
    recording = False
    assert first is not None and first.files["a"].file.read_bytes() == b"1"  # whoever began with it keeps it


def test_another_process_is_seen(store: Store, tmp_path: Path) -> None:
    activate(store, put(store, 1, {"a": b"1"}))
    assert store.active() is not None
    code = (
        "import sys; from pathlib import Path; from tests.unit.test_edge_store import activate, put; "
        "from edge_server.store import Store; s = Store(Path(sys.argv[1])); activate(s, put(s, 2, {'a': b'2'}))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True)
    active = store.active()
    assert active is not None and active.files["a"].file.read_bytes() == b"2"


@pytest.mark.parametrize("harm", [Path.unlink, lambda file: os.truncate(file, 1)], ids=["missing", "short"])
def test_release_whose_objects_are_not_all_here_is_not_activated(
    store: Store, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    activate(store, put(store, 1, {"a": b"1"}))
    listing = put(store, 2, {"a": b"1", "b": b"two"})
    harm(store.holding.path(sha256_hex(b"two")))
    with pytest.raises(Missing, match="'b'"):
        activate(store, listing)
    assert served(tmp_path) == (1, {"a": b"1"})
    activate(store, listing, absent=["b"])
    assert served(tmp_path) == (2, {"a": b"1"}), "what is left out on purpose is not needed"


def test_withdrawn_names_are_refused_before_the_next_release_is_here(store: Store, tmp_path: Path) -> None:
    activate(store, put(store, 1, {"a": b"1", "b": b"2"}))
    for _ in range(2):
        with changing(store) as changes:
            changes.withdraw("main", ["b", "never there"])
            changes.withdraw("other", ["a"])
        assert served(tmp_path) == (2, {"a": b"1"})
    active = Store(tmp_path).active()
    assert active is not None and active.releases["main"].absent == {"b"}
    assert collect(store) == 1 and not store.holding.has(sha256_hex(b"2"))
    activate(store, put(store, 2, {"a": b"1", "b": b"2"}))
    assert served(tmp_path) == (3, {"a": b"1", "b": b"2"}), "a later release may bring it back"


def test_collect_keeps_active_and_previous(store: Store, tmp_path: Path) -> None:
    for seq in range(1, 4):
        activate(store, put(store, seq, {"both": b"both", f"only{seq}": f"{seq}".encode() * seq}))
        for data in (f"{seq}".encode() * seq, b"both"):
            sha256 = sha256_hex(data)
            (store.derived_root / sha256[:2] / sha256 / "v1").mkdir(parents=True, exist_ok=True)
    store.holding.begin(make_recipe(b"unfinished")).close()
    litter = tmp_path / ".current.123.tmp"
    litter.touch()
    assert collect(store) == 1
    kept = {sha256_hex(data) for data in (b"22", b"333", b"both")}
    assert set(store.holding.ids()) == kept
    assert {folder.name for folder in store.derived_root.glob("??/*")} == kept
    assert sorted(file.name for file in (tmp_path / "snapshots" / "main").iterdir()) == ["2.json", "3.json"]
    assert not litter.exists() and [each.name for each in (tmp_path / "staging").iterdir()] == ["meta"]
    assert collect(store) == 0
    assert served(tmp_path)[0] == 3


def test_collect_spares_a_release_on_its_way_in(store: Store, tmp_path: Path) -> None:
    coming = put(store, 2, {"here": b"here", "half": b"half"})
    store.holding.remove(sha256_hex(b"half"))
    put(store, 9, {"abandoned": b"abandoned"})
    for data in (b"half", b"abandoned half"):
        store.holding.begin(make_recipe(data)).close()
    for first in (True, False):
        with changing(store) as changes:
            assert changes.collect([coming]) == (len(b"abandoned") if first else 0)
        expected = {sha256_hex(b"here")} if first else {sha256_hex(b"here"), sha256_hex(b"old")}
        assert set(store.holding.ids()) == expected
        staged = {file.name for file in (tmp_path / "staging").iterdir()}
        assert f"{sha256_hex(b'half')}.part" in staged
        assert not any(sha256_hex(b"abandoned half") in name for name in staged)
        activate(store, put(store, 1, {"old": b"old"}))


def test_activating_the_same_release_again_keeps_the_previous_one(store: Store) -> None:
    for seq in (1, 2, 2):
        activate(store, put(store, seq, {"a": f"{seq}".encode()}))
    collect(store)
    assert store.holding.has(sha256_hex(b"1")) and store.holding.has(sha256_hex(b"2"))


def test_collect_does_nothing_when_it_cannot_know_what_is_needed(store: Store, tmp_path: Path) -> None:
    for seq in (1, 2):
        activate(store, put(store, seq, {"a": f"{seq}".encode()}))
    put(store, 3, {"a": b"fetched but not active yet"})
    (tmp_path / "snapshots" / "main" / "1.json").write_bytes(b"{")
    before = list(store.holding.ids())
    with pytest.raises(Corrupt):
        collect(store)
    assert list(store.holding.ids()) == before


def test_lock(store: Store, tmp_path: Path) -> None:
    listing = put(store, 1, {"a": b"1"})
    with changing(store) as changes:
        for holder in (store, Store(tmp_path)):  # also not twice in one process
            with pytest.raises(Busy, match=str(os.getpid())), changing(holder):
                raise AssertionError("two hold the lock")
        changes.activate(listing)
        changes.collect()
    collect(store)
    assert served(tmp_path) == (1, {"a": b"1"})


@pytest.mark.parametrize("spoilt", ["current", "snapshots/main/1.json"])
@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\x00" * 300, b'{"format":2,"seq":"x"}', b'{"format":1,"seq":1,"previous":null}'],
)
def test_damaged_pointer_is_reported_and_repaired_by_activating(
    store: Store, tmp_path: Path, spoilt: str, data: bytes
) -> None:
    listing = put(store, 1, {"a": b"1"})
    activate(store, listing)
    (tmp_path / spoilt).write_bytes(data)
    for _ in range(2):
        with pytest.raises(Corrupt):
            Store(tmp_path).active()
    activate(store, listing)
    assert served(tmp_path)[1] == {"a": b"1"}


def test_a_channel_name_in_the_pointer_cannot_lead_elsewhere(store: Store, tmp_path: Path) -> None:
    activate(store, put(store, 1, {"a": b"1"}))
    (tmp_path / "current").write_bytes(b'{"format":2,"seq":1,"channels":{"../x":{"seq":1}}}')
    with pytest.raises(Corrupt):
        Store(tmp_path).active()


def test_verify_finds_every_damage_and_discarding_keeps_what_is_good(store: Store, tmp_path: Path) -> None:
    activate(store, put(store, 1, {"good": b"good", "bad": b"flipped", "twin": b"flipped", "gone": b"gone"}))
    put(store, 2, {"stray": b"stray"})
    assert store.verify() == ()
    for data in (b"flipped", b"stray"):
        file = store.holding.path(sha256_hex(data))
        file.chmod(0o644)
        file.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    store.holding.remove(sha256_hex(b"gone"))
    seen: list[str] = []
    damages = store.verify(seen.append)
    assert sorted(damages, key=lambda each: each.names) == [
        Damage(sha256_hex(b"stray"), "altered", ()),
        Damage(sha256_hex(b"flipped"), "altered", ("bad", "twin")),
        Damage(sha256_hex(b"gone"), "missing", ("gone",)),
    ]
    assert seen == list(store.holding.ids()) and len(seen) == 3
    with changing(store) as changes:
        changes.discard(damages)
    assert list(store.holding.ids()) == [sha256_hex(b"good")]


def test_changes_need_the_lock_for_writing_only(store: Store) -> None:
    """The class is made by ``changing``; this shows that reading is free of locks while somebody changes."""
    activate(store, put(store, 1, {"a": b"1"}))
    with changing(store) as changes:
        assert isinstance(changes, Changes) and store.active() is not None
