"""Packaging: once, all or nothing whatever stops it, and never on the way to a viewer."""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from domain.courseware import Catalogue
from edge_server.catalog import CatalogView
from edge_server.packager import PACKAGER_VERSION, NotPackaged, PackagingFailed, Shelf, apart, load, package
from edge_server.packager import shelf as shelf_module
from edge_server.packager.apart import NICE, Apart
from edge_server.packager.package import folder_of
from edge_server.store import ActiveSnapshot, StoredFile
from tests import web_lab
from tests.sync_lab import Lab
from tests.unit.test_ts_mux import make_lesson

MODULE = importlib.import_module("edge_server.packager.package")  # the package gives this name to the function
DERIVED = ["fmp4.heads", "fmp4.index", "media.ts", "mp4.index", "ts.index"]
SHA = "ab" * 32


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_lesson(tmp_path_factory.mktemp("mp4") / "lesson.mp4", seconds=3)


@pytest.fixture(scope="module")
def done(mp4: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of derived files that tests copy and spoil."""
    root = tmp_path_factory.mktemp("derived")
    package(mp4, SHA, root)
    return root


def everything(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def folder(root: Path) -> Path:
    return root / "ab" / SHA / f"v{PACKAGER_VERSION}"


def test_it_makes_a_transport_stream_and_indexes(mp4: Path, done: Path) -> None:
    assert everything(done) == [f"ab/{SHA}/v{PACKAGER_VERSION}/{name}" for name in DERIVED]
    made = load(mp4, SHA, done)
    assert made.mp4 == mp4
    assert made.ts.stat().st_size == made.ts_index.length_bytes > 188
    assert made.heads.stat().st_size == made.fmp4_index.heads_bytes > 1000
    assert made.ts.read_bytes()[:1] == b"G" and made.heads.read_bytes()[4:8] == b"moof"
    assert sum(path.stat().st_size for path in folder(done).iterdir()) < 1.3 * mp4.stat().st_size
    assert made.ts_index.duration_s == pytest.approx(3.0, abs=0.05)
    assert made.fmp4_index.duration_s == pytest.approx(3.0, abs=0.05)


def test_a_second_time_does_nothing(mp4: Path, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: (folder(done) / name).stat() for name in DERIVED}
    for name in ("mux_ts", "segment_mp4"):
        monkeypatch.setattr(MODULE, name, lambda *_: pytest.fail("made again"))
    assert package(mp4, SHA, done).ts_index.duration_s > 0
    assert {name: (folder(done) / name).stat() for name in DERIVED} == before


class PowerCut(BaseException):
    """Nothing after it runs: what it leaves is what a disk would hold."""


@pytest.mark.parametrize("step", range(11))
def test_whatever_durable_call_it_stops_at_the_next_attempt_succeeds(
    mp4: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    left, cuts = [step], []

    def cutting(real: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                cuts.append(real)
                raise PowerCut
            return real(*given)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", cutting(os.fsync))
        patch.setattr(Path, "rename", cutting(Path.rename))
        try:
            package(mp4, SHA, tmp_path)
        except PowerCut:
            complete = folder(tmp_path).exists()
        else:
            complete = True
    assert bool(cuts) == (step < 10), "five files, their folder, the rename, three folders above"
    if complete:
        assert sorted(path.name for path in folder(tmp_path).iterdir()) == DERIVED
    else:
        with pytest.raises(NotPackaged):
            load(mp4, SHA, tmp_path)
    package(mp4, SHA, tmp_path)
    assert everything(tmp_path) == [f"ab/{SHA}/v{PACKAGER_VERSION}/{name}" for name in DERIVED]


def test_nothing_is_in_its_place_before_it_is_on_the_disk(
    mp4: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files and their folder are synced before the rename, the parents after it."""
    calls: list[str] = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(descriptor: int) -> None:
        calls.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real_fsync(descriptor)

    def rename(self: Path, target: Path) -> Path:
        calls.append("rename")
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    package(mp4, SHA, tmp_path)
    at = calls.index("rename")
    assert {*DERIVED, f".v{PACKAGER_VERSION}.part"} == set(calls[:at])
    assert calls[at + 1 :] == [SHA, "ab", tmp_path.name]


@pytest.mark.parametrize("stage", ["mux_ts", "segment_mp4"])
def test_a_full_disk_leaves_nothing(mp4: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    def full(_source: Path, out: Path) -> None:
        out.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(MODULE, stage, full)
        with pytest.raises(OSError, match="No space"):
            package(mp4, SHA, tmp_path)
    assert everything(tmp_path) == []
    package(mp4, SHA, tmp_path)


@pytest.mark.parametrize("name", [name for name in DERIVED if name != "mp4.index"])
@pytest.mark.parametrize("how", ["gone", "cut", "longer", "empty"])
def test_damage_is_seen_and_mended(mp4: Path, done: Path, tmp_path: Path, name: str, how: str) -> None:
    root = tmp_path / "derived"
    shutil.copytree(done, root)
    file = folder(root) / name
    good = file.read_bytes()
    match how:
        case "gone":
            file.unlink()
        case "cut":
            file.write_bytes(good[:-1])
        case "longer":
            file.write_bytes(good + b"\0")
        case _:
            file.write_bytes(b"")
    with pytest.raises(NotPackaged):
        load(mp4, SHA, root)
    package(mp4, SHA, root)
    assert file.read_bytes() == good


@pytest.mark.parametrize("left", [b"", b"junk", None])
def test_where_samples_lie_is_read_again_when_its_index_is_damaged(
    mp4: Path, done: Path, tmp_path: Path, left: bytes | None
) -> None:
    root = tmp_path / "derived"
    shutil.copytree(done, root)
    made = load(mp4, SHA, root)
    sound = [each.offsets.tolist() for each in made.samples().tracks]
    index = folder(root) / "mp4.index"
    if left is None:
        index.unlink()
        with pytest.raises(NotPackaged):
            load(mp4, SHA, root)
    else:
        index.write_bytes(left)
    assert [each.offsets.tolist() for each in made.samples().tracks] == sound


def test_an_mp4_of_another_length_is_not_packaged(mp4: Path, done: Path, tmp_path: Path) -> None:
    longer = tmp_path / "longer.mp4"
    longer.write_bytes(mp4.read_bytes() + b"\0")
    with pytest.raises(NotPackaged, match="other lengths"):
        load(longer, SHA, done)


def test_what_another_version_made_goes_when_ours_is_there(mp4: Path, done: Path, tmp_path: Path) -> None:
    root = tmp_path / "derived"
    shutil.copytree(done, root)
    folder(root).rename(folder(root).with_name("v0"))
    with pytest.raises(NotPackaged):
        load(mp4, SHA, root)
    package(mp4, SHA, root)
    assert everything(root) == [f"ab/{SHA}/v{PACKAGER_VERSION}/{name}" for name in DERIVED]


@pytest.mark.parametrize("content", [b"", b"no film at all" * 100])
def test_what_is_no_film_is_refused_and_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(content)
    with pytest.raises(PackagingFailed, match=f"object {SHA[:12]}"):
        package(bad, SHA, tmp_path / "derived")
    assert everything(tmp_path) == ["bad.mp4"]


def stored(mp4: Path, sha256: str = SHA) -> StoredFile:
    return StoredFile("courseware/1/R12.mp4", sha256, mp4.stat().st_size, str(mp4))


def test_the_shelf_never_packages_on_the_way_to_a_viewer(mp4: Path, tmp_path: Path) -> None:
    with pytest.raises(NotPackaged):
        Shelf(tmp_path).packaged(stored(mp4))
    assert everything(tmp_path) == []


def test_the_shelf_reads_an_index_once_and_notices_what_others_do(mp4: Path, done: Path, tmp_path: Path) -> None:
    root = tmp_path / "derived"
    shutil.copytree(done, root)
    shelf = Shelf(root)
    first = shelf.packaged(stored(mp4))
    assert shelf.packaged(stored(mp4)) is first
    shutil.rmtree(folder(root))
    with pytest.raises(NotPackaged):
        shelf.packaged(stored(mp4))
    package(mp4, SHA, root)
    again = shelf.packaged(stored(mp4))
    assert again is not first and again.ts_index == first.ts_index
    shutil.rmtree(folder(root))
    package(mp4, SHA, root)  # between two requests: the index in memory may not fit the new file
    assert shelf.packaged(stored(mp4)) is not again


def test_the_shelf_holds_indexes_of_a_bounded_size(
    mp4: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf_module, "LOADED_MAX_BYTES", 2 * load(mp4, SHA, done).held_bytes)
    names = [f"{number:02d}" * 32 for number in (1, 2, 3)]
    for name in names:
        target = folder_of(name, tmp_path)
        shutil.copytree(folder(done), target)
    shelf = Shelf(tmp_path)
    one, two = (shelf.packaged(stored(mp4, name)) for name in names[:2])
    assert shelf.packaged(stored(mp4, names[0])) is one
    shelf.packaged(stored(mp4, names[2]))  # drops the one that was asked for longest ago
    assert shelf.packaged(stored(mp4, names[0])) is one
    assert shelf.packaged(stored(mp4, names[1])) is not two


def view_with(root: Path, renditions: dict[str, bytes]):
    lessons = tuple(
        web_lab.Courseware(
            item_id=str(number),
            title="课",
            item_class=web_lab.ItemClass.EDUCATION,
            column_id="1",
            family=web_lab.MediaFamily.VIDEO,
            issued_at=web_lab.ISSUED,
            renditions=(web_lab.rendition(name, data, (320, 240), ("avc1.64000d", None)),),
        )
        for number, (name, data) in enumerate(renditions.items())
    )
    paths = {lesson.renditions[0].path: data for lesson, data in zip(lessons, renditions.values(), strict=True)}
    return web_lab.view_of(root, Catalogue(courseware=lessons), paths)


def test_prepare_packages_what_is_missing_and_says_how_far_it_is(
    mp4: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_lesson(tmp_path / "other.mp4", seconds=1, sound=False)
    view = view_with(tmp_path, {"R12": mp4.read_bytes(), "R40": other.read_bytes()})
    shelf, steps = Shelf(tmp_path / "derived"), []
    assert shelf.prepare(view, steps.append) == 2
    assert steps == sorted(steps) and len(steps) == 2 and steps[-1] == 1.0
    with monkeypatch.context() as patch:
        patch.setattr(shelf_module, "load", lambda *_: pytest.fail("what was looked at once is not read again"))
        assert shelf.prepare(view, lambda _: None) == 0
    assert Shelf(tmp_path / "derived").prepare(view, lambda _: None) == 0
    shutil.rmtree(tmp_path / "derived" / view.active.files["courseware/10000001/R12.mp4"].sha256[:2])
    assert shelf.prepare(view, lambda _: None) == 1
    for each in view.active.files.values():
        if each.path.endswith(".mp4"):
            assert shelf.packaged(each).fmp4_index.muxed.durations_s


def test_prepare_refuses_a_release_that_does_not_hold_what_it_lists(mp4: Path, tmp_path: Path) -> None:
    view = view_with(tmp_path, {"R12": mp4.read_bytes()})
    (release,) = view.active.releases.values()
    held = {path: each for path, each in release.files.items() if not path.endswith(".mp4")}
    for absent in (frozenset[str](), frozenset(["courseware/10000001/R12.mp4"])):
        lacking = CatalogView(ActiveSnapshot(7, {release.channel: replace(release, files=held, absent=absent)}))
        if absent:  # left out on purpose
            assert Shelf(tmp_path / "derived").prepare(lacking, lambda _: None) == 0
            continue
        with pytest.raises(PackagingFailed, match=r"release 7 lists courseware/10000001/R12\.mp4"):
            Shelf(tmp_path / "derived").prepare(lacking, lambda _: None)


async def test_a_sync_with_nothing_new_mends_what_was_deleted(mp4: Path, tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    view = view_with(tmp_path, {"R12": await asyncio.to_thread(mp4.read_bytes)})
    lab.publish({path: each.file for path, each in view.active.files.items() if each.length_bytes})
    assert (await lab.sync()).packaged == 1
    again = await lab.sync()
    assert (again.changed, again.packaged) == (False, 0)
    shutil.rmtree(lab.store.derived_root / view.active.files["courseware/10000001/R12.mp4"].sha256[:2])
    mended = await lab.sync()
    assert (mended.changed, mended.packaged) == (False, 1)


@pytest.mark.timeout(90)  # its low priority is the point: on a busy machine it waits
def test_a_process_of_its_own_packages_and_says_what_went_wrong(mp4: Path, done: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no film at all" * 100)
    (tmp_path / "derived").mkdir()
    with Apart() as pack:
        pack(mp4, SHA, tmp_path / "derived")
        with pytest.raises(PackagingFailed, match="object cdcdcdcdcdcd"):
            pack(bad, "cd" * 32, tmp_path / "derived")
        with pytest.raises(FileNotFoundError):
            pack(mp4, SHA, tmp_path / "nowhere")
        pack(mp4, "ef" * 32, tmp_path / "derived")
    for name in DERIVED:
        assert (folder(tmp_path / "derived") / name).read_bytes() == (folder(done) / name).read_bytes()
    assert load(mp4, "ef" * 32, tmp_path / "derived").ts_index.duration_s > 0


def test_a_packaging_process_that_is_killed_is_a_clear_failure(
    mp4: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Apart() as pack, pytest.raises(PackagingFailed, match="process ended"):
        pack(mp4, SHA, tmp_path)
    assert everything(tmp_path) == []


def test_a_packaging_process_that_hangs_is_ended(mp4: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 15\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hanging))
    monkeypatch.setattr(apart, "LIMIT_S", 0.1)
    with Apart() as pack, pytest.raises(PackagingFailed, match="did not end"):
        pack(mp4, SHA, tmp_path)


@pytest.mark.timeout(90)  # its low priority is the point: on a busy machine it waits
def test_the_process_yields_to_others_and_ends_with_its_input() -> None:
    process = subprocess.Popen([sys.executable, "-m", "edge_server.packager.apart"], stdin=subprocess.PIPE)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    while (nice := os.getpriority(os.PRIO_PROCESS, process.pid)) == before:
        assert process.poll() is None
        time.sleep(0.01)
    assert nice == min(19, before + NICE)
    process.communicate()
    assert process.returncode == 0
