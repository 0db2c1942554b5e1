"""Bundles: what goes onto which stick, what is refused before anything is taken in, receipts; real publisher, real
folders, the real client."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync import Corrupt, Missing, NoSpace, SyncError, TooLong, Unreachable, Untrusted
from sync.bundle import inspect as inspecting
from sync.bundle import stick as stick_module
from sync.bundle.export import write_part
from sync.bundle.inspect import Inspected, inspect
from sync.bundle.label import FILES_MAX, LABEL_MAX_BYTES, Listed, decode_label, encode_label
from sync.bundle.names import check_portable, hash_in, longest_bytes
from sync.bundle.plan import BundlePlan, plan_bundle
from sync.bundle.receipt import (
    RECEIPT_MAX_BYTES,
    Imported,
    decode_receipt,
    encode_receipt,
    make_receipt,
    read_receipts,
    since_of,
    write_receipt,
)
from sync.bundle.source import StickSource
from sync.bundle.split import TooSmall, by_urgency, split
from sync.bundle.stick import NotPlain, Stick
from sync.bundle.words import StickRefused, words_for
from sync.holding import Holding
from sync.ids import sha256_hex
from sync.publishing import Publisher, PublishError
from sync.pull import Puller
from sync.pull.aside import OnOtherSticks
from sync.road.folder import FolderSource
from sync.road.retrying import RetryPolicy

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
ONCE = RetryPolicy(attempts=1)


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


def quiet(done: int, whole: int) -> None:
    pass


FIRST = {"catalogue.json": b'{"n": 1}', "a.bin": noise(1, 90_000), "page.html": b"<p>" + b"text " * 200}
SECOND = {"catalogue.json": b'{"n": 2}', "b.bin": noise(2, 60_000)}
THIRD = {"catalogue.json": b'{"n": 3}', "c.bin": noise(3, 50_000)}
ALL = {**FIRST, **SECOND, **THIRD}


class Lab:
    """A publisher with three releases, and an edge."""

    def __init__(self, root: Path, area: str = "") -> None:
        self.root = root
        self.publisher = Publisher.init(root / "central", NOW, area=area)
        for number, files in enumerate((FIRST, SECOND, THIRD)):
            self.publisher.publish("main", add=files, remove=(), now=NOW + number * timedelta(hours=1))
        self.anchor = self.publisher.trust_anchor.read_bytes()
        self.edge = root / "edge"
        self.holding = Holding(self.edge)

    def stick(self, name: str = "stick", since: int = 0, now: datetime = NOW) -> Path:
        write_part(self.publisher, plan_bundle(self.publisher, {"main": since}), 1, self.root / name, now)
        return self.root / name

    def puller(self, stick: Path, **options: Any) -> Puller:
        settings: dict[str, Any] = {"road": "bundle", "retry": ONCE, "anchor": self.anchor, "spare_bytes": 0, **options}
        settings.setdefault("source", FolderSource(stick))
        return Puller(trust_dir=self.edge / "trust", holding=self.holding, **settings)

    async def load(self, stick: Path, *, now: datetime = NOW, **options: Any) -> dict[str, bytes]:
        pulled = await self.puller(stick, **options).pull("main", now=now)
        self.holding.prune_meta()
        return {name: self.holding.path(file.sha256).read_bytes() for name, file in pulled.listing.files.items()}

    def look(self, stick: Path, *, area: str = "", **held: int) -> Inspected:
        return inspect(stick, area=area, held=held, on_progress=quiet)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.holding.close()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(look: Callable[[], object], reason: str) -> StickRefused:
    with pytest.raises(StickRefused) as caught:
        look()
    assert caught.value.reason == reason, caught.value
    return caught.value


def forge(stick: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the label so that it fits itself, as somebody would who knows how."""
    members = json.loads((stick / "bundle.json").read_bytes())
    change(members)
    members["check"] = ""
    raw = json.dumps(members, separators=(",", ":")).encode()
    members["check"] = sha256_hex(raw)
    (stick / "bundle.json").write_bytes(json.dumps(members, separators=(",", ":")).encode())


def relist(stick: Path) -> None:
    """Let the label tell what lies on the stick now."""

    def change(members: dict[str, Any]) -> None:
        names = [name for name, _, _ in members["files"] if (stick / name).exists()]
        members["files"] = [
            [name, (stick / name).stat().st_size, sha256_hex((stick / name).read_bytes())] for name in names
        ]

    forge(stick, change)


# Export


async def test_a_stick_brings_everything_to_an_edge_that_has_nothing(lab: Lab) -> None:
    stick = lab.stick()
    inspected = lab.look(stick)
    assert [(each.channel, each.held, each.seq) for each in inspected.news] == [("main", 0, 3)]
    assert (inspected.part, inspected.parts, inspected.others, inspected.elsewhere) == (1, 1, (), {})
    assert not any(map(inspected.lacking, inspected.packs)) and len(inspected.packs) >= 3
    assert await lab.load(stick) == ALL
    assert not (stick / "bundle.unfinished").exists() and not (stick / "bundle.tmp").exists()


async def test_a_stick_since_a_release_carries_only_what_is_new(lab: Lab) -> None:
    assert await lab.load(lab.stick("first", 0)) == ALL
    lab.publisher.publish("main", add={"d.bin": noise(4, 30_000)}, remove=["a.bin"], now=NOW + DAY)
    whole, part = lab.stick("whole", 0, NOW + DAY), lab.stick("part", 3, NOW + DAY)
    assert sum(map(len, tree(part / "packs").values())) == 30_000
    assert sum(map(len, tree(whole / "packs").values())) < 90_000 + 60_000 + 50_000 + 30_000 + 10_000
    lab.look(part, main=3)
    wanted = {name: data for name, data in ALL.items() if name != "a.bin"} | {"d.bin": noise(4, 30_000)}
    assert await lab.load(part, now=NOW + DAY) == wanted


def test_a_stick_does_not_carry_what_was_removed(lab: Lab) -> None:
    lab.publisher.publish("main", add={}, remove=["a.bin"], now=NOW + DAY)
    names = {file.name for file in plan_bundle(lab.publisher, {}).content.packs[0]}
    with_a = {name for name in tree(lab.publisher.published) if name.startswith("packs/")} - names
    assert sum((lab.publisher.published / name).stat().st_size for name in with_a) == 90_000


async def test_a_stick_serves_edges_that_are_further_on(lab: Lab) -> None:
    old = Lab(lab.root / "other")
    try:
        stick = old.stick("stick", 1)
        for held in (1, 2):
            assert old.look(stick, main=held).news[0].held == held
    finally:
        old.holding.close()


def test_the_plan_is_the_same_each_time_and_another_after_publishing(lab: Lab) -> None:
    plan = plan_bundle(lab.publisher, {}, max_bytes=150_000)
    assert plan == plan_bundle(Publisher.open(lab.root / "central"), {"main": 0}, max_bytes=150_000)
    lab.publisher.refresh(NOW + DAY)
    assert plan == plan_bundle(lab.publisher, {}, max_bytes=150_000)
    assert plan.bundle != plan_bundle(lab.publisher, {}, max_bytes=300_000).bundle
    assert plan.bundle != plan_bundle(lab.publisher, {"main": 1}, max_bytes=150_000).bundle
    lab.publisher.publish("main", add={"new.json": b"{}"}, remove=(), now=NOW + DAY)
    assert plan.bundle != plan_bundle(lab.publisher, {}, max_bytes=150_000).bundle
    with pytest.raises(PublishError, match="begin it again"):
        write_part(lab.publisher, plan, 1, lab.root / "stick", NOW + DAY)
    assert not (lab.root / "stick").exists()


def test_a_release_that_does_not_exist_is_not_believed(lab: Lab) -> None:
    assert plan_bundle(lab.publisher, {"main": 99}) == plan_bundle(lab.publisher, {})
    assert plan_bundle(lab.publisher, {"main": -1}) == plan_bundle(lab.publisher, {})
    assert plan_bundle(lab.publisher, {"main": 3}).is_empty and not plan_bundle(lab.publisher, {"main": 2}).is_empty


def test_plans_of_nothing(tmp_path: Path) -> None:
    publisher = Publisher.init(tmp_path / "central", NOW)
    with pytest.raises(PublishError):
        plan_bundle(publisher, {})
    publisher.publish("main", add={"a.json": b"{}"}, remove=(), now=NOW)
    with pytest.raises(PublishError):
        plan_bundle(publisher, {}, channels=["other"])
    with pytest.raises(ValueError):
        write_part(publisher, plan_bundle(publisher, {}), 2, tmp_path / "stick", NOW)


async def test_several_channels_on_one_stick(lab: Lab) -> None:
    lab.publisher.publish("maths", add={"m.bin": noise(5, 20_000)}, remove=(), now=NOW + DAY)
    stick = lab.stick(now=NOW + DAY)
    inspected = lab.look(stick, main=3)
    assert [each.channel for each in inspected.news] == ["maths"] and [each.channel for each in inspected.others] == [
        "main"
    ]
    only = inspect(stick, area="", held={}, on_progress=quiet, channels=["main"])
    assert [each.channel for each in only.news] == ["main"]
    for channel in ("main", "maths"):
        assert (await lab.puller(stick).pull(channel, now=NOW + DAY)).changed
    alone = plan_bundle(lab.publisher, {}, channels=["maths"])
    assert list(alone.content.channels) == ["maths"]


def plan_of(lab: Lab, max_bytes: int) -> BundlePlan:
    return plan_bundle(lab.publisher, {}, max_bytes=max_bytes)


def test_urgent_packs_come_first_and_every_stick_has_the_small_files(lab: Lab) -> None:
    lab.publisher.publish(
        "main",
        add={"pinned.bin": noise(6, 40_000), "picture.jpg": noise(7, 40_000)},
        remove=(),
        now=NOW + DAY,
        priority={"a.bin": 3, "b.bin": 3},
    )
    plan = plan_of(lab, 160_000)
    assert plan.parts == 3
    small = {file.name for file in plan.content.small}
    for part in range(1, plan.parts + 1):
        report = write_part(lab.publisher, plan, part, lab.root / f"stick{part}", NOW + DAY)
        assert small <= tree(lab.root / f"stick{part}").keys() and report.bytes <= 160_000
        assert report.bytes == sum(map(len, tree(lab.root / f"stick{part}").values()))
    order = [file.length_bytes for packs in plan.content.packs for file in packs]
    assert sorted(order) == [50_000, 60_000, 80_000, 90_000]
    # the pack with the picture first, with the pinned lesson of release 3 where there is room, evictable ones last
    assert order[0] == 80_000 and order.index(50_000) < order.index(90_000)


def test_a_stick_too_small_for_a_pack_is_refused_with_numbers(lab: Lab) -> None:
    with pytest.raises(TooSmall) as caught:
        plan_of(lab, 80_000)
    assert 90_000 < caught.value.needed_bytes < 130_000 and f"{caught.value.needed_bytes:,}" in str(caught.value)
    assert plan_of(lab, caught.value.needed_bytes).parts >= 2
    with pytest.raises(TooSmall):
        plan_of(lab, caught.value.needed_bytes - 1)


@given(st.lists(st.integers(1, 1000), max_size=60), st.integers(0, 100), st.integers(1000, 3000))
def test_splitting_loses_nothing_and_exceeds_nothing(lengths: list[int], small: int, most: int) -> None:
    packs = [Listed(f"{n}", length, "") for n, length in enumerate(lengths)]
    sticks = split(packs, small, most + small)
    assert sorted(pack.name for stick in sticks for pack in stick) == sorted(pack.name for pack in packs)
    assert all(sum(pack.length_bytes for pack in stick) <= most for stick in sticks)
    assert all(sticks) or (not packs and len(sticks) == 1)
    assert sticks == split(packs, small, most + small)
    # no two sticks could have been one
    loads = [sum(pack.length_bytes for pack in stick) for stick in sticks]
    assert all(left + right > most for left, right in pairwise(loads))


def test_urgency_is_priority_then_channel_then_place() -> None:
    packs = {"d": (2, 0, 0), "c": (0, 1, 5), "b": (2, 0, 0), "a": (0, 1, 7), "e": (0, 0, 9)}
    assert by_urgency(packs) == ["e", "c", "a", "b", "d"]


# Writing again


def test_a_second_export_onto_the_stick_goes_on(lab: Lab) -> None:
    stick = lab.stick()
    before = tree(stick)
    report = write_part(lab.publisher, plan_bundle(lab.publisher, {}), 1, stick, NOW)
    assert report.written_bytes == 0 and report.removed == 0 and tree(stick) == before
    pack = next(path for path in stick.rglob("*") if path.stat().st_size == 60_000)
    pack.write_bytes(b"x" * 60_000)
    os.truncate(next(path for path in stick.rglob("*") if path.stat().st_size == 90_000), 1000)
    next(stick.glob("releases/*")).unlink()
    report = write_part(lab.publisher, plan_bundle(lab.publisher, {}), 1, stick, NOW)
    assert 150_000 < report.written_bytes < 160_000 and tree(stick) == before


def test_an_export_that_broke_off_leaves_no_bundle_and_goes_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, stick = plan_bundle(lab.publisher, {}), lab.root / "stick"
    whole = len(decode_label((lab.stick("whole") / "bundle.json").read_bytes()).files)
    write = Stick.write
    for left in range(whole + 2):
        calls = iter(range(left))

        def breaking(self: Stick, *args: Any) -> None:
            if next(calls, None) is None:  # noqa: B023
                raise OSError(errno.EIO, "gone")
            write(self, *args)

        shutil.rmtree(stick, ignore_errors=True)
        monkeypatch.setattr(Stick, "write", breaking)
        with pytest.raises(OSError, match="gone"):
            write_part(lab.publisher, plan, 1, stick, NOW)
        monkeypatch.undo()
        assert "写完" in refused(lambda: lab.look(stick), "not_a_bundle").words or left == 0
        if left % 7 == 3:
            write_part(lab.publisher, plan, 1, stick, NOW)
            assert tree(stick) == tree(lab.root / "whole")


def test_an_export_that_broke_off_over_an_older_bundle_is_neither(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    stick = lab.stick()
    lab.publisher.publish("main", add={"d.bin": noise(4, 30_000)}, remove=(), now=NOW + DAY)
    write, calls = Stick.write, iter(range(3))

    def breaking(self: Stick, *args: Any) -> None:
        if next(calls, None) is None:
            raise OSError(errno.EIO, "gone")
        write(self, *args)

    monkeypatch.setattr(Stick, "write", breaking)
    with pytest.raises(OSError, match="gone"):
        write_part(lab.publisher, plan_bundle(lab.publisher, {}), 1, stick, NOW + DAY)
    monkeypatch.undo()
    assert "写完" in refused(lambda: lab.look(stick), "not_a_bundle").words
    write_part(lab.publisher, plan_bundle(lab.publisher, {}), 1, stick, NOW + DAY)
    assert lab.look(stick).news[0].seq == 4


def test_an_older_bundle_is_cleared_away_and_other_files_stay(lab: Lab) -> None:
    stick = lab.stick()
    (stick / "photos").mkdir()
    mine = {
        "photos/village.jpg": b"v",
        "packs/readme.txt": b"r",
        "cards/ab/notes.txt": b"n",
        "receipts/edge-1.json": b"{}",
        "f" * 64: b"f",
        "metadata/my.json": b"m",
    }
    for name, data in mine.items():
        (stick / name).parent.mkdir(exist_ok=True)
        (stick / name).write_bytes(data)
    lab.publisher.publish("main", add={"d.bin": noise(4, 30_000)}, remove=["a.bin"], now=NOW + DAY)
    report = write_part(lab.publisher, plan_bundle(lab.publisher, {"main": 3}), 1, stick, NOW + DAY)
    assert report.removed > 5
    clean = lab.stick("clean", 3, NOW + DAY)
    assert tree(stick) == tree(clean) | mine
    lab.look(stick, main=3)


@pytest.mark.parametrize("where", ["central/published", "central", "central/published/packs/new", "."])
def test_the_publishing_folder_is_no_stick(lab: Lab, where: str) -> None:
    before = tree(lab.publisher.published)
    with pytest.raises(PublishError):
        write_part(lab.publisher, plan_bundle(lab.publisher, {}), 1, lab.root / where, NOW)
    assert tree(lab.publisher.published) == before


def test_a_folder_where_nothing_is_mounted_is_no_stick(lab: Lab) -> None:
    with pytest.raises(Unreachable, match="plugged in"):
        write_part(lab.publisher, plan_bundle(lab.publisher, {}), 1, lab.root / "media" / "usb", NOW)
    assert not (lab.root / "media").exists()


def test_a_mirror_is_no_stick(lab: Lab) -> None:
    mirror = Path(shutil.copytree(lab.publisher.published, lab.root / "mirror"))
    before = tree(mirror)
    with pytest.raises(PublishError, match="empty folder"):
        write_part(lab.publisher, plan_bundle(lab.publisher, {}), 1, mirror, NOW)
    assert tree(mirror) == before


def test_a_full_stick_is_told_before_it_is_touched(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    stick = lab.stick()
    lab.publisher.publish("main", add={"d.bin": noise(4, 300_000)}, remove=(), now=NOW + DAY)
    plan, before = plan_bundle(lab.publisher, {}), tree(stick)
    monkeypatch.setattr(Stick, "free_bytes", lambda self: 100_000)
    with pytest.raises(NoSpace) as caught:
        write_part(lab.publisher, plan, 1, stick, NOW + DAY)
    assert 200_000 <= caught.value.needed_bytes - caught.value.free_bytes < 300_000
    assert tree(stick) == before
    # What the new bundle has in common with the old one, or what is cleared away, needs no room.
    monkeypatch.setattr(Stick, "free_bytes", lambda self: 400_000)
    write_part(lab.publisher, plan, 1, stick, NOW + DAY)


def test_a_disk_that_fills_up_in_the_middle_goes_on_later(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, stick = plan_bundle(lab.publisher, {}), lab.root / "stick"
    fsync, calls = os.fsync, iter(range(4))

    def full(file: int) -> None:
        if next(calls, None) is None and stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.ENOSPC, "full")
        fsync(file)

    monkeypatch.setattr(stick_module.os, "fsync", full)
    with pytest.raises(NoSpace):
        write_part(lab.publisher, plan, 1, stick, NOW)
    monkeypatch.undo()
    assert not (stick / "bundle.tmp").exists()
    assert write_part(lab.publisher, plan, 1, stick, NOW).kept_bytes > 0
    lab.look(stick)


def test_a_damaged_published_pack_goes_onto_no_stick(lab: Lab) -> None:
    plan = plan_bundle(lab.publisher, {})
    pack = lab.publisher.published / plan.content.packs[0][0].name
    data = bytearray(pack.read_bytes())
    data[100] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    with pytest.raises(Corrupt, match="damaged"):
        write_part(lab.publisher, plan, 1, lab.root / "stick", NOW)
    assert not list((lab.root / "stick" / "packs").rglob("*.*")) and not (lab.root / "stick/bundle.json").exists()
    card = lab.publisher.published / plan.content.small[0].name
    card.unlink()
    with pytest.raises(Corrupt):
        plan_bundle(lab.publisher, {})


@pytest.mark.parametrize("folder", ["packs", "metadata", "targets/ch", "cards"])
def test_nothing_is_written_through_a_link(lab: Lab, folder: str) -> None:
    stick, outside = lab.root / "stick", lab.root / "outside"
    outside.mkdir()
    (stick / folder).parent.mkdir(parents=True)
    (stick / "bundle.unfinished").write_bytes(b"")
    (stick / folder).symlink_to(outside)
    with pytest.raises(NotPlain):
        write_part(lab.publisher, plan_bundle(lab.publisher, {}), 1, stick, NOW)
    assert list(outside.iterdir()) == []


def test_links_in_place_of_files_are_replaced_not_followed(lab: Lab) -> None:
    stick, victim = lab.root / "stick", lab.root / "victim"
    victim.write_bytes(b"mine")
    (stick / "metadata").mkdir(parents=True)
    (stick / "bundle.unfinished").write_bytes(b"")
    for name in ("bundle.tmp", "metadata/timestamp.json", "metadata/1.root.json"):
        (stick / name).symlink_to(victim)
    write_part(lab.publisher, plan_bundle(lab.publisher, {}), 1, stick, NOW)
    assert victim.read_bytes() == b"mine"
    assert tree(stick) == tree(lab.stick("clean"))


# Names


@pytest.mark.parametrize(
    "names",
    [["a:b"], ["a/con"], ["a/nul.json"], ["COM1"], ["a."], ["a "], ["a//b"], ["x" * 256], ["a?"], ["a", "A"],
     ["ab/c", "AB/d"], ["a\\b"], ["a\x01"]],
)  # fmt: skip
def test_names_that_sticks_cannot_hold(names: list[str]) -> None:
    with pytest.raises(Corrupt):
        check_portable(names)


def test_every_published_name_can_lie_on_a_stick_and_is_known(lab: Lab) -> None:
    names = list(tree(lab.publisher.published))
    check_portable([*names, "receipts/edge.json", "console/nulls.json", "x" * 255])
    for name in names:
        length = longest_bytes(name)
        assert length is not None and (lab.publisher.published / name).stat().st_size <= length
        assert hash_in(name) in (None, sha256_hex((lab.publisher.published / name).read_bytes()))
    for name in ("../x", "packs/ab/" + "c" * 64, "metadata/0.root.json", "packs/../" + "a" * 64, "cards/x", ""):
        assert longest_bytes(name) is None


def test_a_channel_that_is_a_device_on_windows_is_refused(lab: Lab) -> None:
    lab.publisher.publish("con", add={"a.json": b"{}"}, remove=(), now=NOW + DAY)
    with pytest.raises(Corrupt, match="con"):
        plan_bundle(lab.publisher, {})


# Inspection


async def test_one_wrong_byte_anywhere_is_refused_and_changes_nothing(lab: Lab) -> None:
    assert await lab.load(lab.stick("first", 0)) == ALL
    lab.publisher.publish("main", add={"d.bin": noise(4, 30_000), "e.html": b"<p>e"}, remove=(), now=NOW + DAY)
    stick = lab.stick("stick", 3, NOW + DAY)
    before = tree(lab.edge)
    names = list(tree(stick))
    assert len(names) >= 10
    for name in names:
        good = (stick / name).read_bytes()
        spots = {0, 1, len(good) // 3, len(good) // 2, len(good) - 2, len(good) - 1}
        spots |= set(range(0, len(good), 7)) if name == "bundle.json" else set()
        for spot in spots & set(range(len(good))):
            for bit in (1, 0x20):
                bad = bytearray(good)
                bad[spot] ^= bit
                (stick / name).write_bytes(bad)
                error = refused(lambda: lab.look(stick, main=3), "damaged")
                assert name in error.words
        (stick / name).write_bytes(good)
    assert tree(lab.edge) == before
    lab.look(stick, main=3)


def test_cut_short_or_grown_files_are_refused_without_reading(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    stick = lab.stick()
    monkeypatch.setattr(inspecting, "_heads", None)  # nobody comes that far
    for name, good in tree(stick).items():
        if name != "bundle.json":
            for bad in (b"", good[:-1], good + b"\0"):
                (stick / name).write_bytes(bad)
                assert name in refused(lambda: lab.look(stick), "damaged").words
            (stick / name).write_bytes(good)
    good = (stick / "bundle.json").read_bytes()
    for bad in (b"", good[:-1], good[: len(good) // 2], good + b"\0", b"{}", b"\xff" * 100, b"[" * 100_000):
        (stick / "bundle.json").write_bytes(bad)
        refused(lambda: lab.look(stick), "damaged")


def test_missing_files_are_refused_by_name(lab: Lab) -> None:
    stick = lab.stick()
    for name, good in tree(stick).items():
        (stick / name).unlink()
        if name == "bundle.json":
            refused(lambda: lab.look(stick), "not_a_bundle")
        else:
            error = refused(lambda: lab.look(stick), "unsigned" if name.startswith("metadata/") else "incomplete")
            assert name in error.words
        (stick / name).write_bytes(good)


@pytest.mark.parametrize("kind", ["timestamp", "root", "snapshot", "targets"])
async def test_a_stick_without_signatures_is_refused_even_if_its_label_knows(lab: Lab, kind: str) -> None:
    stick = lab.stick()
    for path in (stick / "metadata").glob(f"*{kind}.json"):
        path.unlink()
    relist(stick)
    refused(lambda: lab.look(stick), "unsigned")
    if kind != "root":  # the edge has that one
        with pytest.raises((Missing, Untrusted)):
            await lab.load(stick)
        assert list(lab.holding.ids()) == []


async def test_the_timestamp_of_the_line_in_place_of_the_bundles_is_refused(lab: Lab) -> None:
    stick = lab.stick()
    shutil.copy(lab.publisher.published / "metadata/timestamp.json", stick / "metadata/timestamp.json")
    refused(lambda: lab.look(stick), "damaged")
    relist(stick)
    lab.look(stick)
    with pytest.raises(Untrusted) as caught:
        await lab.load(stick)
    assert caught.value.reason == "tampered" and "签名" in words_for(caught.value)
    assert list(lab.holding.ids()) == []


async def test_a_bundle_is_refused_by_the_line(lab: Lab) -> None:
    with pytest.raises(Untrusted) as caught:
        await lab.load(lab.stick(), road="network")
    assert caught.value.reason == "tampered" and list(lab.holding.ids()) == []


async def test_a_bundle_runs_out_after_120_days_and_says_so(lab: Lab) -> None:
    stick = lab.stick()
    lab.look(stick)
    with pytest.raises(Untrusted) as caught:
        await lab.load(stick, now=NOW + 121 * DAY)
    assert caught.value.reason == "freeze" and list(lab.holding.ids()) == []
    text = words_for(caught.value)
    assert "120 天" in text and "120 days" in text and "ask the centre for a new disk" in text
    assert await lab.load(stick, now=NOW + 119 * DAY) == ALL


async def test_an_older_bundle_after_a_newer_one_is_refused(lab: Lab) -> None:
    old = lab.stick("old")
    lab.publisher.publish("main", add={"d.bin": noise(4, 30_000)}, remove=(), now=NOW + DAY)
    assert len(await lab.load(lab.stick("new", 0, NOW + DAY), now=NOW + DAY)) == len(ALL) + 1
    before = tree(lab.edge / "objects")
    for held in (3, 4, 9):
        error = refused(lambda held=held: lab.look(old, main=held), "older")  # type: ignore[misc]
        assert f"release {held} here, 3 on the disk" in error.words
    forge(old, lambda members: members["channels"].update(main=[0, 99]))
    refused(lambda: lab.look(old, main=4), "damaged")
    # Whoever comes past the inspection is stopped by the signatures.
    with pytest.raises(Untrusted) as caught:
        await lab.load(old, now=NOW + DAY)
    assert caught.value.reason == "rollback" and tree(lab.edge / "objects") == before
    assert "旧" in words_for(caught.value) and "disks of the newest set" in words_for(caught.value)


async def test_a_bundle_for_another_area_is_refused(tmp_path: Path) -> None:
    lab = Lab(tmp_path, area="hami")
    try:
        stick = lab.stick()
        assert "hami" in refused(lambda: lab.look(stick, area="turpan"), "other_area").words
        assert lab.look(stick, area="hami").news and lab.look(stick).news
        forge(stick, lambda members: members.update(area="turpan"))
        refused(lambda: lab.look(stick, area="turpan"), "other_area")
        forge(stick, lambda members: members.update(area=""))
        refused(lambda: lab.look(stick, area="turpan"), "other_area")
        with pytest.raises(Untrusted) as caught:
            await lab.load(stick, area="turpan")
        assert caught.value.reason == "other-area" and "其他地区" in words_for(caught.value)
        assert list(lab.holding.ids()) == []
    finally:
        lab.holding.close()


def test_a_bundle_that_begins_too_late_is_refused(lab: Lab) -> None:
    stick = lab.stick(since=2)
    for held in (0, 1):
        error = refused(lambda held=held: lab.look(stick, main=held), "starts_later")  # type: ignore[misc]
        assert "after release 2" in error.words and f"has release {held}" in error.words
    assert lab.look(stick, main=2).news


async def test_another_publishers_stick_is_refused(lab: Lab) -> None:
    other = Lab(lab.root / "other")
    try:
        stick = other.stick()
        lab.look(stick)
        with pytest.raises(Untrusted):
            await lab.load(stick)
        assert list(lab.holding.ids()) == []
    finally:
        other.holding.close()


async def test_sticks_of_one_set_may_be_written_on_different_days(lab: Lab) -> None:
    plan = plan_bundle(lab.publisher, {}, max_bytes=130_000)
    sticks = [lab.root / f"stick{part}" for part in range(1, plan.parts + 1)]
    for day, stick in enumerate(sticks, start=1):
        lab.publisher.refresh(NOW + day * DAY)
        again = plan_bundle(lab.publisher, {}, max_bytes=130_000)
        assert again.bundle == plan.bundle
        write_part(lab.publisher, again, day, stick, NOW + day * DAY)
    assert len(sticks) == 3
    trust, late = lab.edge / "trust", NOW + 4 * DAY
    newest, *others = reversed(sticks)
    for stick in (newest, newest):
        with pytest.raises(OnOtherSticks):
            await lab.load(stick, source=StickSource(stick, trust), lacking=lab.look(stick).lacking, now=late)
    with pytest.raises(Untrusted) as caught:  # what a plain folder would say
        await lab.load(others[0], lacking=lab.look(others[0]).lacking, now=late)
    assert caught.value.reason == "rollback"
    for stick in others[:-1]:
        with pytest.raises(OnOtherSticks):
            await lab.load(stick, source=StickSource(stick, trust), lacking=lab.look(stick).lacking, now=late)
    last = others[-1]
    # The timestamp that counts is that of the newest stick.
    with pytest.raises(Untrusted) as caught:
        await lab.load(last, source=StickSource(last, trust), now=NOW + 124 * DAY)
    assert caught.value.reason == "freeze"
    assert await lab.load(last, source=StickSource(last, trust), lacking=lab.look(last).lacking, now=late) == ALL


async def test_a_trusted_timestamp_does_not_replace_one_of_another_snapshot(lab: Lab) -> None:
    old = lab.stick("old")
    lab.publisher.publish("main", add={"d.bin": noise(4, 30_000)}, remove=(), now=NOW + DAY)
    new, trust = lab.stick("new", 0, NOW + DAY), lab.edge / "trust"
    await lab.load(new, source=StickSource(new, trust), now=NOW + DAY)
    for source in (StickSource(old, trust), FolderSource(old)):
        with pytest.raises(Untrusted) as caught:
            await lab.load(old, source=source, now=NOW + DAY)
        assert caught.value.reason == "rollback"
    forged = trust / "bundle/timestamp.json"
    good = forged.read_bytes()
    for bad in (b"", b"{}", good[:-10], (old / "metadata/1.root.json").read_bytes()):
        forged.write_bytes(bad)
        await lab.load(new, source=StickSource(new, trust), now=NOW + DAY)


# Hostile sticks


def test_a_folder_that_is_no_bundle(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(lambda: lab.look(tmp_path / "empty"), "not_a_bundle")
    with pytest.raises(Unreachable) as caught:
        lab.look(tmp_path / "nowhere")
    assert "拔出" in words_for(caught.value)


@pytest.mark.parametrize("kind", ["link", "loop", "fifo", "folder", "socket"])
def test_what_is_no_plain_file_is_refused_at_once(lab: Lab, kind: str) -> None:
    stick = lab.stick()
    for name in ("bundle.json", next(name for name in tree(stick) if name.startswith("packs/"))):
        path = stick / name
        good = path.read_bytes()
        path.unlink()
        if kind == "link":
            (lab.root / "good").write_bytes(good)
            path.symlink_to(lab.root / "good")
        elif kind == "loop":
            path.symlink_to(path)
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            os.mknod(path, stat.S_IFSOCK | 0o600)
        refused(lambda: lab.look(stick), "not_a_bundle" if name == "bundle.json" else "damaged")
        path.rmdir() if kind == "folder" else path.unlink()
        path.write_bytes(good)
    lab.look(stick)


def test_a_folder_that_is_a_link_is_refused(lab: Lab) -> None:
    stick = lab.stick()
    (stick / "packs").rename(lab.root / "elsewhere")
    (stick / "packs").symlink_to(lab.root / "elsewhere")
    refused(lambda: lab.look(stick), "damaged")
    (stick / "packs").unlink()
    (stick / "packs").symlink_to(stick)
    refused(lambda: lab.look(stick), "damaged")


def first_pack(members: dict[str, Any]) -> list[Any]:
    return next(file for file in members["files"] if file[0].startswith("packs/"))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: first_pack(m).__setitem__(1, 1 << 62),
        lambda m: first_pack(m).__setitem__(1, 1 << 80),
        lambda m: first_pack(m).__setitem__(1, -1),
        lambda m: first_pack(m).__setitem__(1, 256 * 1024 * 1024 + 1),
        lambda m: first_pack(m).__setitem__(0, "../../etc/passwd"),
        lambda m: first_pack(m).__setitem__(0, "/etc/passwd"),
        lambda m: first_pack(m).__setitem__(0, "packs/../metadata/1.root.json"),
        lambda m: first_pack(m).__setitem__(2, "0" * 64),
        lambda m: first_pack(m).__setitem__(2, "x"),
        lambda m: m["files"].append(m["files"][-1]),
        lambda m: m["files"].reverse(),
        lambda m: m.update(part=0),
        lambda m: m.update(part=2),
        lambda m: m.update(parts=10**9),
        lambda m: m.update(area="../x"),
        lambda m: m.update(issued="yesterday"),
        lambda m: m["channels"].update(main=[0, 1 << 60]),
        lambda m: m["channels"].update({"../x": [0, 1]}),
        lambda m: m["channels"].update(other=[0, 1]),
        lambda m: m["channels"].clear(),
        lambda m: m.update(elsewhere=[[1, "packs/ab/" + "ab" * 32, 5]]),
        lambda m: m.update(elsewhere=[[7, "metadata/timestamp.json", 5]], parts=9),
        lambda m: m.update(files="all"),
        lambda m: m.pop("files"),
    ],
)
def test_a_label_that_makes_no_sense_is_refused(lab: Lab, change: Callable[[dict[str, Any]], None]) -> None:
    stick = lab.stick()
    forge(stick, change)
    refused(lambda: lab.look(stick), "damaged")


def test_a_label_of_a_newer_version_is_refused_as_such(lab: Lab) -> None:
    stick = lab.stick()
    forge(stick, lambda members: members.update(format=2, files={}))
    assert "update the software" in refused(lambda: lab.look(stick), "not_a_bundle").words


def test_labels_are_the_same_when_read_and_written(lab: Lab) -> None:
    raw = (lab.stick() / "bundle.json").read_bytes()
    assert encode_label(decode_label(raw)) == raw
    forged = lab.root / "stick"
    forge(forged, lambda members: None)
    assert (forged / "bundle.json").read_bytes() == raw


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = ("format", "bundle", "part", "parts", "area", "issued", "channels", "files", "elsewhere")
GOOD = {
    "format": 1,
    "bundle": "a" * 64,
    "part": 1,
    "parts": 2,
    "area": "",
    "issued": "2026-03-01T12:00:00Z",
    "channels": {"main": [0, 3]},
    "files": [["packs/ab/" + "ab" * 32, 5, "ab" * 32]],
    "elsewhere": [[2, "packs/cd/" + "cd" * 32, 5]],
}


def sealed(members: dict[str, Any]) -> bytes:
    raw = json.dumps({**members, "check": ""}, separators=(",", ":")).encode()
    return json.dumps({**members, "check": sha256_hex(raw)}, separators=(",", ":")).encode()


def test_the_label_that_is_changed_below_is_good() -> None:
    assert decode_label(sealed(GOOD)).parts == 2


@given(st.dictionaries(st.sampled_from(MEMBERS), JSON, min_size=1, max_size=3))
def test_forged_labels_do_no_more_than_be_refused(changes: dict[str, Any]) -> None:
    try:
        label = decode_label(sealed(GOOD | changes))
    except Corrupt:
        return
    assert label.part == 1 and all(longest_bytes(file.name) for file in label.files)


@given(st.binary(max_size=400), st.booleans())
def test_random_bytes_are_no_label(raw: bytes, ends_well: bool) -> None:
    if ends_well:
        raw = raw + b'"' + sha256_hex(raw + b'""}').encode() + b'"}'
    with pytest.raises(Corrupt):
        decode_label(raw)


def test_a_million_files_cost_nothing(lab: Lab) -> None:
    stick = lab.stick()
    name = "packs/ab/" + "ab" * 32
    line = msgspec.json.encode([name, 1, "ab" * 32])
    most = LABEL_MAX_BYTES // len(line) + 10
    raw = b'{"format":1,"files":[' + b",".join([line] * most) + b'],"check":""}'
    (stick / "bundle.json").write_bytes(raw)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(lambda: lab.look(stick), "damaged")
    with pytest.raises(TooLong):
        decode_label(raw)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
    forge(stick, lambda members: members.clear())
    refused(lambda: lab.look(stick), "damaged")


def test_more_files_than_allowed_are_refused(lab: Lab) -> None:
    stick = lab.stick()
    label = decode_label((stick / "bundle.json").read_bytes())
    files = [Listed(f"packs/ab/ab{n:062x}", 1, f"ab{n:062x}") for n in range(FILES_MAX)]
    large = msgspec.structs.replace(label, files=sorted([*files, *label.files], key=lambda f: f.name), check="")
    check = sha256_hex(msgspec.json.encode(large))
    (stick / "bundle.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(large, check=check)))
    refused(lambda: lab.look(stick), "damaged")


def test_a_pack_under_the_name_of_another_is_refused(lab: Lab) -> None:
    stick = lab.stick()
    path = next(path for path in (stick / "packs").rglob("*") if path.is_file())
    path.write_bytes(path.read_bytes()[::-1])
    relist(stick)
    refused(lambda: lab.look(stick), "damaged")


def test_a_file_that_grows_while_it_is_read_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(3_000_000))
    read = []
    with pytest.raises(TooLong):
        for piece in Stick(tmp_path).pieces("a", 2_000_000):
            read.append(len(piece))
    assert sum(read) <= 2_000_000
    assert len(Stick(tmp_path).read("a", 3_000_000)) == 3_000_000


def test_files_with_holes_that_exceed_the_stick_are_not_read(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    stick = lab.stick()
    monkeypatch.setattr(Stick, "capacity_bytes", lambda self: 100_000)
    assert "bundle.json" in refused(lambda: lab.look(stick), "damaged").words
    monkeypatch.setattr(Stick, "capacity_bytes", lambda self: 0)  # some network drives do not tell
    lab.look(stick)


def test_whatever_else_is_on_the_stick_is_not_looked_at(lab: Lab) -> None:
    stick = lab.stick()
    os.mkfifo(stick / "packs" / "pipe")
    (stick / "metadata" / "loop").symlink_to(stick)
    (stick / "packs" / "zz").mkdir()
    (stick / "System Volume Information").mkdir()
    lab.look(stick)


def test_progress_is_told_and_can_end_it(lab: Lab) -> None:
    stick, told = lab.stick(), list[tuple[int, int]]()
    inspected = inspect(stick, area="", held={}, on_progress=lambda done, whole: told.append((done, whole)))
    assert told[0] == (0, inspected.bytes) and told[-1] == (inspected.bytes, inspected.bytes)
    assert told == sorted(told)

    def enough(done: int, whole: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inspect(stick, area="", held={}, on_progress=enough)


@pytest.mark.parametrize("left", ["nothing", "empty folder"])
def test_a_stick_pulled_out_during_the_inspection(lab: Lab, left: str) -> None:
    stick = lab.stick()

    def pull_out(done: int, whole: int) -> None:
        if done > whole // 2 and stick.exists() and (stick / "bundle.json").exists():
            stick.rename(lab.root / "away")
            if left == "empty folder":
                stick.mkdir()

    with pytest.raises(Unreachable) as caught:
        inspect(stick, area="", held={}, on_progress=pull_out)
    assert "拔出" in words_for(caught.value) and "plug it in again" in words_for(caught.value)


def test_a_file_that_cannot_be_read_is_damaged(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    stick = lab.stick()
    read, calls = os.read, iter(range(12))

    def failing(file: int, most: int) -> bytes:
        if next(calls, None) is None:
            raise OSError(errno.EIO, "bad block")
        return read(file, most)

    monkeypatch.setattr(stick_module.os, "read", failing)
    refused(lambda: lab.look(stick), "damaged")


# Receipts


def test_a_receipt_goes_there_and_back(lab: Lab) -> None:
    stick = lab.stick()
    imported = Imported(bundle="ab" * 32, part=1, parts=1, channels={"main": 3}, bytes=200_000)
    receipt = make_receipt("edge-7", NOW, {"main": 3}, missing_bytes=5, imported=imported, program="0.1.0")
    assert write_receipt(stick, receipt) is None
    assert write_receipt(stick, make_receipt("edge-8", NOW, {"main": 1, "maths": 4})) is None
    found = read_receipts(stick)
    assert found.refused == () and found.found[0] == receipt and len(found.found) == 2
    assert since_of(found.found) == {"main": 1, "maths": 0}
    assert since_of([receipt]) == {"main": 3} and since_of([]) == {}
    assert read_receipts(stick / "receipts") == found
    lab.look(stick)  # a receipt does not spoil the stick
    newer = make_receipt("edge-7", NOW + DAY, {"main": 5})
    assert since_of([newer, receipt]) == since_of([receipt, newer]) == {"main": 5}
    assert write_receipt(stick, newer) is None and read_receipts(stick).found[0] == newer


def test_no_receipt_on_a_stick_that_cannot_be_written(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    stick, receipt = lab.stick(), make_receipt("edge", NOW, {"main": 3})
    before = tree(stick)

    def read_only(*args: Any, **options: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(stick_module.os, "mkdir", read_only)
    warning = write_receipt(stick, receipt)
    assert warning is not None and "U盘不可写" in warning and "Read-only file system" in warning
    monkeypatch.undo()
    assert tree(stick) == before
    warning = write_receipt(lab.root / "gone", receipt)
    assert warning is not None and "tell the centre" in warning


def test_a_receipt_is_not_written_through_links(lab: Lab) -> None:
    stick, outside = lab.stick(), lab.root / "outside"
    outside.mkdir()
    (outside / "edge.json").write_bytes(b"mine")
    (stick / "receipts").symlink_to(outside)
    assert write_receipt(stick, make_receipt("edge", NOW, {})) is not None
    assert tree(outside) == {"edge.json": b"mine"}
    (stick / "receipts").unlink()
    (stick / "receipts").mkdir()
    (stick / "receipts/edge.json").symlink_to(outside / "edge.json")
    (stick / "bundle.tmp").symlink_to(outside / "edge.json")
    assert write_receipt(stick, make_receipt("edge", NOW, {})) is None
    assert tree(outside) == {"edge.json": b"mine"} and len(read_receipts(stick).found) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b" " * (RECEIPT_MAX_BYTES + 1),
        b'{"format":1,"edge":"../x","time":"2026-03-01T12:00:00Z","channels":{},"missing_bytes":0}',
        b'{"format":1,"edge":"other","time":"2026-03-01T12:00:00Z","channels":{},"missing_bytes":0}',
        b'{"format":2,"edge":"edge","time":"2026-03-01T12:00:00Z","channels":{},"missing_bytes":0}',
        b'{"format":1,"edge":"edge","time":"now","channels":{},"missing_bytes":0}',
        b'{"format":1,"edge":"edge","time":"2026-03-01T12:00:00Z","channels":{"../x":1},"missing_bytes":0}',
        b'{"format":1,"edge":"edge","time":"2026-03-01T12:00:00Z","channels":{"a":-1},"missing_bytes":0}',
        b'{"format":1,"edge":"edge","time":"2026-03-01T12:00:00Z","channels":{"a":9007199254740992},"missing_bytes":0}',
        b'{"format":1,"edge":"edge","time":"2026-03-01T12:00:00Z","channels":{},"missing_bytes":-1}',
        b'{"format":1,"edge":"edge","time":"2026-03-01T12:00:00Z","channels":{},"missing_bytes":0,"program":"\\u001b[2J"}',
    ],
)  # fmt: skip
def test_hostile_receipts_are_refused_with_a_reason(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "receipts").mkdir()
    (tmp_path / "receipts/edge.json").write_bytes(raw)
    found = read_receipts(tmp_path)
    assert found.found == () and len(found.refused) == 1
    assert found.refused[0][0] == "edge.json" and 0 < len(found.refused[0][1]) <= 300


@given(st.binary(max_size=300))
def test_random_bytes_are_no_receipt(raw: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_receipt(raw)


@given(
    st.dictionaries(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True), st.integers(0, 2**53 - 1), max_size=5)
)
def test_every_receipt_that_is_made_can_be_read(channels: dict[str, int]) -> None:
    receipt = make_receipt("edge", NOW, channels)
    assert decode_receipt(encode_receipt(receipt)) == receipt and since_of([receipt]) == dict(sorted(channels.items()))


def test_receipts_of_strange_sticks(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        read_receipts(tmp_path / "nowhere")
    assert read_receipts(tmp_path).found == ()
    (tmp_path / "receipts").mkdir()
    os.mkfifo(tmp_path / "receipts/pipe.json")
    (tmp_path / "receipts/link.json").symlink_to("/etc/passwd")
    (tmp_path / "receipts/folder.json").mkdir()
    found = read_receipts(tmp_path)
    assert found.found == found.refused == ()
    for n in range(4097):
        (tmp_path / f"receipts/{n}.txt").touch()
    with pytest.raises(TooLong):
        read_receipts(tmp_path)
    for edge in ("../x", "", "A", "con", "x" * 65, "a.b"):
        with pytest.raises(Corrupt):
            make_receipt(edge, NOW, {})


def test_whatever_ends_an_import_there_are_words_for_it() -> None:
    for error in (
        NoSpace(5_000_000_000, 1), Corrupt("x"), Missing("x"), Unreachable("x"), OSError(errno.EIO, "x"),
        Untrusted("oversized", "x"), Untrusted("no-anchor", "x"), SyncError("x"),
    ):  # fmt: skip
        text = words_for(error)
        chinese, _, english = text.partition("。 ")
        assert chinese and english, text
        assert any("一" <= letter <= "鿿" for letter in chinese) and "一" not in english
    assert "plug it in again" in words_for(Missing("x")) and "this server" in words_for(OSError(errno.EIO, "x"))
    assert "5.0 GB" in words_for(NoSpace(5_000_000_000, 1))
