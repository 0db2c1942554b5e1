"""What the publisher writes, in which order, and what it refuses."""

from __future__ import annotations

import shutil
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from sync import Busy, Corrupt
from sync.manifest import manifest_of
from sync.publisher import AlreadyThere, Publisher, PublishError
from sync.store.files import locked
from sync.trust.keys import KeyUnavailable
from tests.sync_lab import BIG, NOW


def tree(root: Path) -> dict[str, bytes]:
    return {str(f.relative_to(root)): f.read_bytes() for f in sorted(root.rglob("*")) if f.is_file()}


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher.init(tmp_path / "central", NOW)


def test_keys_are_for_the_owner_only(publisher: Publisher, tmp_path: Path) -> None:
    keys = tmp_path / "central" / "keys"
    online = [f"online/{role}.pem" for role in ("channels", "snapshot", "timestamp")]
    offline = [f"offline/{role}-{n}.pem" for role in ("root", "targets") for n in (1, 2, 3)]
    for folder in (keys, keys / "online", keys / "offline"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {str(f.relative_to(keys)): stat.S_IMODE(f.stat().st_mode) for f in keys.glob("*/*")} == dict.fromkeys(
        online + offline, 0o600
    )
    assert not any(b"PRIVATE" in data for data in tree(publisher.published).values())


def test_init_refuses_to_touch_what_is_there(publisher: Publisher, tmp_path: Path) -> None:
    before = tree(tmp_path)
    with pytest.raises(AlreadyThere):
        Publisher.init(tmp_path / "central", NOW)
    with pytest.raises(FileExistsError):
        Publisher.init(tmp_path / "central", NOW)
    assert tree(tmp_path) == before


def test_init_that_was_cut_off_can_be_repeated(publisher: Publisher, tmp_path: Path) -> None:
    (publisher.published / "metadata" / "timestamp.json").unlink()  # the last file that init writes
    with pytest.raises(PublishError):
        Publisher.open(tmp_path / "central")
    again = Publisher.init(tmp_path / "central", NOW)
    assert again.publish("main", add={"a": b"1"}, remove=(), now=NOW).seq == 1


def test_publish_is_relative_to_the_previous_release(publisher: Publisher, tmp_path: Path) -> None:
    source = tmp_path / "lesson.mp4"
    source.write_bytes(BIG)
    first = publisher.publish("main", add={"a": b"one", "lesson.mp4": source}, remove=(), now=NOW)
    second = publisher.publish("main", add={"b/c": b"two"}, remove=("a",), now=NOW + timedelta(seconds=1))
    assert (first.seq, second.seq) == (1, 2)
    assert list(second.files) == ["b/c", "lesson.mp4"]
    assert second.files["lesson.mp4"].sha256 == manifest_of(BIG).sha256
    assert Publisher.open(tmp_path / "central").files("main") == second.files
    assert publisher.read("main", "lesson.mp4") == BIG
    assert publisher.files("other") == {}


def test_channels_do_not_disturb_each_other(publisher: Publisher) -> None:
    publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW)
    assert publisher.publish("other", add={"z": b"1"}, remove=(), now=NOW).seq == 1
    assert list(publisher.files("main")) == ["a"] and list(publisher.files("other")) == ["z"]


def test_publishing_writes_only_what_is_new_and_replaces_only_the_timestamp(publisher: Publisher) -> None:
    publisher.publish("main", add={f"lesson/{n}": bytes([n]) for n in range(50)}, remove=(), now=NOW)
    before = tree(publisher.published)
    publisher.publish("main", add={"lesson/new": b"new"}, remove=("lesson/7",), now=NOW)
    after = tree(publisher.published)
    assert {name for name in before if after[name] != before[name]} == {"metadata/timestamp.json"}
    new = sorted(name.split("/")[0] for name in after.keys() - before.keys())
    assert new == ["chunks", "manifests", "metadata", "metadata", "snapshots", "targets"]


def test_no_change_is_no_release(publisher: Publisher) -> None:
    first = publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW)
    before = tree(publisher.published)
    assert publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW + timedelta(days=1)) == first
    assert {name for name, data in tree(publisher.published).items() if before.get(name) != data} == {
        "metadata/timestamp.json"
    }


@pytest.mark.parametrize(
    ("add", "remove", "error"),
    [
        ({}, ("nowhere",), PublishError),
        ({"a": b"2"}, ("a",), PublishError),
        ({"../a": b"2"}, (), Corrupt),
        ({"b": Path("/nonexistent/file")}, (), PublishError),
        ({"b": Path("/")}, (), PublishError),
    ],
)
def test_nonsense_is_refused_and_changes_nothing_visible(
    publisher: Publisher, add: dict[str, bytes | Path], remove: tuple[str, ...], error: type[Exception]
) -> None:
    publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW)
    before = tree(publisher.published)
    with pytest.raises(error):
        publisher.publish("main", add=add, remove=remove, now=NOW)
    assert tree(publisher.published) == before


def test_two_publishers_at_once_are_one_too_many(publisher: Publisher, tmp_path: Path) -> None:
    with locked(tmp_path / "central" / "publish.lock", "this test"):
        for act in (
            lambda: publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW),
            lambda: publisher.refresh(NOW),
        ):
            with pytest.raises(Busy, match="in use by process"):
                act()
    assert publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW).seq == 1


def test_damaged_publishing_folder_is_noticed_before_signing_over_it(publisher: Publisher) -> None:
    publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW)
    for folder in ("snapshots", "targets", "metadata"):
        for file in sorted((publisher.published / folder).rglob("*")):
            if not file.is_file() or file.name == "1.snapshot.json":
                continue  # of the release before
            good = file.read_bytes()
            file.write_bytes(good.replace(b'"', b"'", 1))
            with pytest.raises(Corrupt):
                publisher.publish("main", add={"b": b"2"}, remove=(), now=NOW)
            file.write_bytes(good)
    assert publisher.publish("main", add={"b": b"2"}, remove=(), now=NOW).seq == 2


def test_publishing_again_mends_a_damaged_chunk(publisher: Publisher) -> None:
    publisher.publish("main", add={"a": b"lesson"}, remove=(), now=NOW)
    (chunk,) = (f for f in (publisher.published / "chunks").rglob("*") if f.is_file())
    chunk.write_bytes(b"lessoN")
    with pytest.raises(Corrupt):
        publisher.read("main", "a")
    publisher.publish("main", add={"a": b"lesson", "b": b"2"}, remove=(), now=NOW)
    assert publisher.read("main", "a") == b"lesson"


def test_leftovers_of_a_crash_are_not_overwritten(publisher: Publisher) -> None:
    publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW)
    left = publisher.published / "metadata" / "2.ch-d.json"
    left.write_bytes(b"of a publish that was killed")
    publisher.publish("main", add={"a": b"2"}, remove=(), now=NOW)
    assert left.read_bytes() == b"of a publish that was killed"
    assert (publisher.published / "metadata" / "3.ch-d.json").is_file()


def test_the_offline_keys_may_be_locked_away_but_not_the_others(publisher: Publisher, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "central" / "keys" / "offline")
    publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW)
    (tmp_path / "central" / "keys" / "online" / "timestamp.pem").write_bytes(b"not a key")
    with pytest.raises(KeyUnavailable, match="timestamp key"):
        publisher.refresh(NOW)
