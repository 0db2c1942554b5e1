"""Disks that fail while a release comes in: power cuts, full, broken, read-only. The old release stays; the new one
comes when the disk works again. Real file systems in loop images and in memory; only root may mount them.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import random
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sync import NoSpace
from sync.holding import Holding
from sync.ids import sha256_hex
from sync.listing import encode_listing
from sync.publishing import Publisher
from sync.pull import Progress, Puller
from sync.road.folder import FolderSource
from sync.store.files import write_file
from tests.lives import served
from tests.mounts import mounted, run

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EXT4_IOC_SHUTDOWN = 0x8004587D
GOING_DOWN_WITHOUT_LOG = 2
"""The device is gone from now on, and what the journal had not written is lost: a power cut at a chosen moment."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting file systems needs root")

LESSON = random.Random(1).randbytes(3_000_000)
OLD = {"catalogue.json": b'{"n": 1}', "lesson.bin": LESSON}
NEW = {
    "catalogue.json": b'{"n": 2}',
    "lesson.bin": LESSON[:1_000_000] + random.Random(2).randbytes(800_000) + LESSON[1_100_000:],
    "other.bin": random.Random(3).randbytes(600_000),
}

LESSON_ID = sha256_hex(NEW["lesson.bin"])


async def life(
    edge: Path,
    publisher: Publisher,
    *,
    spare_bytes: int = 0,
    on_progress: Callable[[Progress], None] = lambda _: None,
    moment: Callable[[str], None] = lambda _: None,
) -> None:
    """What an edge does with a new release: pull, activate, collect. ``moment`` hears where it is."""
    holding = Holding(edge)
    try:
        puller = Puller(
            trust_dir=edge / "trust",
            source=FolderSource(publisher.published),
            holding=holding,
            anchor=publisher.trust_anchor.read_bytes(),
            spare_bytes=spare_bytes,
        )
        pulled = await puller.pull("main", now=NOW, on_progress=on_progress)
        moment("pulled")
        write_file(edge / "current", encode_listing(pulled.listing))
        moment("activated")
        keep = {file.sha256 for file in pulled.listing.files.values()}
        for sha256 in list(holding.ids()):
            if sha256 not in keep:
                holding.remove(sha256)
        holding.prune_staged(lambda _: False)
        holding.prune_meta()
        moment("collected")
    finally:
        with suppress(OSError):
            holding.close()


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    publisher = Publisher.init(tmp_path / "central", NOW)
    publisher.publish("main", add=OLD, remove=(), now=NOW)
    return publisher


def publish_new(publisher: Publisher) -> None:
    publisher.publish("main", add=NEW, remove=(), now=NOW)


@pytest.fixture
async def image(tmp_path: Path, publisher: Publisher) -> Path:
    """An ext4 image on which an edge holds the old release; the new one is published."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(48 << 20)
    if run("mkfs.ext4", "-q", "-F", image):
        pytest.skip("mkfs.ext4 does not work here")
    with mounted(tmp_path / "disk", "-o", "loop,noauto_da_alloc,commit=1", image) as disk:
        await life(disk / "edge", publisher)
    publish_new(publisher)
    return image


async def check_after_power_cut(image: Path, tmp_path: Path, publisher: Publisher) -> dict[str, bytes]:
    """Start again on what is on the disk; return what was served before anything was pulled again."""
    assert run("e2fsck", "-fy", image) <= 1
    with mounted(tmp_path / "again", "-o", "loop", image) as disk:
        before = served(disk / "edge")
        assert before in (OLD, NEW)
        await life(disk / "edge", publisher)
        assert served(disk / "edge") == NEW
        holding = Holding(disk / "edge")
        assert holding.verify() == ()
        assert sorted(holding.ids()) == sorted(map(sha256_hex, NEW.values()))
        holding.close()
        staged = [path.name for path in (disk / "edge" / "staging").rglob("*") if path.is_file()]
        assert staged == []
    return before


@pytest.mark.parametrize("cut_at", [0, 1, 300_000, 900_000, 1_200_000, 3_400_000, 4_300_000])
async def test_power_cut_while_bytes_come(image: Path, tmp_path: Path, publisher: Publisher, cut_at: int) -> None:
    with mounted(tmp_path / "disk", "-o", "loop,noauto_da_alloc,commit=1", image) as disk:
        handle = os.open(disk, os.O_RDONLY | os.O_DIRECTORY)
        is_cut = False

        def cut(progress: Progress) -> None:
            nonlocal is_cut
            if progress.bytes_done >= cut_at and not is_cut:
                is_cut = True
                fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, struct.pack("I", GOING_DOWN_WITHOUT_LOG))

        try:
            with pytest.raises(OSError):
                await life(disk / "edge", publisher, on_progress=cut)
        finally:
            os.close(handle)
        assert is_cut
    assert await check_after_power_cut(image, tmp_path, publisher) == OLD


@pytest.mark.parametrize("cut_at", ["pulled", "activated", "collected"])
async def test_power_cut_around_activation(image: Path, tmp_path: Path, publisher: Publisher, cut_at: str) -> None:
    with mounted(tmp_path / "disk", "-o", "loop,noauto_da_alloc,commit=1", image) as disk:
        handle = os.open(disk, os.O_RDONLY | os.O_DIRECTORY)

        def cut(moment: str) -> None:
            if moment == cut_at:
                fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, struct.pack("I", GOING_DOWN_WITHOUT_LOG))

        try:
            with suppress(OSError):
                await life(disk / "edge", publisher, moment=cut)
        finally:
            os.close(handle)
    before = await check_after_power_cut(image, tmp_path, publisher)
    assert before == (OLD if cut_at == "pulled" else NEW)


async def test_the_image_of_a_disk_in_the_middle_of_work(image: Path, tmp_path: Path, publisher: Publisher) -> None:
    copy = tmp_path / "copy"
    with mounted(tmp_path / "disk", "-o", "loop,noauto_da_alloc,commit=1", image) as disk:

        def snapshot(progress: Progress) -> None:
            if progress.bytes_done >= 1_000_000 and not copy.exists():
                shutil.copyfile(image, copy)

        await life(disk / "edge", publisher, on_progress=snapshot)
        assert served(disk / "edge") == NEW
    assert await check_after_power_cut(copy, tmp_path, publisher) == OLD


@pytest.mark.parametrize("full_at", [0, 1, 700_000, 1_400_000, 4_000_000])
async def test_the_disk_fills_up(tmp_path: Path, publisher: Publisher, full_at: int) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=16M", "tmpfs") as disk:
        await life(disk / "edge", publisher)
        publish_new(publisher)
        filler = disk / "filler"

        def fill(progress: Progress) -> None:
            if progress.bytes_done >= full_at and not filler.exists():
                with filler.open("wb", buffering=0) as file, suppress(OSError):
                    while True:
                        file.write(bytes(4096))

        with pytest.raises(NoSpace) as error:
            await life(disk / "edge", publisher, on_progress=fill)
        assert error.value.needed_bytes > error.value.free_bytes
        assert served(disk / "edge") == OLD
        filler.unlink()
        await life(disk / "edge", publisher)
        assert served(disk / "edge") == NEW


async def test_too_small_a_disk_is_told_exactly_before_anything_is_fetched(
    tmp_path: Path, publisher: Publisher
) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=6M", "tmpfs") as disk:
        await life(disk / "edge", publisher)
        publish_new(publisher)
        free = Holding(disk / "edge").free_bytes()
        needed = sum(map(len, NEW.values()))
        steps: list[Progress] = []
        with pytest.raises(NoSpace) as error:
            await life(disk / "edge", publisher, on_progress=steps.append)
        assert error.value.needed_bytes == needed > error.value.free_bytes > free - 100_000
        assert f"free at least {needed - error.value.free_bytes:,} more" in str(error.value)
        assert steps == []
        assert served(disk / "edge") == OLD


LIFE = """
import asyncio, sys
from pathlib import Path
from sync.publishing import Publisher
from tests.scenario.test_pull_power import life
asyncio.run(life(Path(sys.argv[1]), Publisher.open(Path(sys.argv[2]))))
"""


@pytest.mark.stranger("strace")
@pytest.mark.parametrize(
    "file", ["trust/channels", "trust/network", f"staging/{LESSON_ID}.part", f"objects/{LESSON_ID[:2]}", "."]
)
async def test_a_disk_that_refuses_to_flush(tmp_path: Path, publisher: Publisher, file: str) -> None:
    edge = tmp_path / "edge"
    await life(edge, publisher)
    publish_new(publisher)
    (edge / f"objects/{LESSON_ID[:2]}").mkdir(exist_ok=True)
    inject = ("-P", edge / file, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO")
    child = await asyncio.create_subprocess_exec(
        *("strace", "-f", "-o", tmp_path / "trace", *inject),
        *(sys.executable, "-c", LIFE, edge, tmp_path / "central"),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await child.communicate()
    assert child.returncode == 1
    assert "INJECTED" in (tmp_path / "trace").read_text()
    assert said.decode().strip().splitlines()[-1] == f"OSError: [Errno {errno.EIO}] {os.strerror(errno.EIO)}"
    assert served(edge) == (NEW if file == "." else OLD)  # the rename of ``current`` was done, and cannot be undone
    await life(edge, publisher)
    assert served(edge) == NEW


async def test_a_disk_that_became_read_only(image: Path, tmp_path: Path, publisher: Publisher) -> None:
    with mounted(tmp_path / "disk", "-o", "loop,ro", image) as disk:
        with pytest.raises(OSError) as error:
            await life(disk / "edge", publisher)
        assert error.value.errno == errno.EROFS
        assert served(disk / "edge") == OLD


def make_unreadable(image: Path, name: str, entry: int) -> None:
    """Let one entry of the first block list of a file point beyond the disk: the kernel answers EIO there."""
    told = subprocess.run(["debugfs", "-R", f"stat {name}", image], capture_output=True, text=True, check=True).stdout
    block = int(re.findall(r"\(IND\):(\d+)", told)[0])
    with image.open("r+b") as file:
        file.seek(block * 1024 + entry * 4)
        file.write(struct.pack("<I", 99_999_999))


async def test_an_object_on_a_bad_sector_is_healed_by_its_bad_units(tmp_path: Path, publisher: Publisher) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(48 << 20)
    if run("mkfs.ext4", "-q", "-F", "-b", "1024", "-O", "^metadata_csum,^extent,^64bit", image):
        pytest.skip("mkfs.ext4 does not work here")
    sha256 = sha256_hex(LESSON)
    with mounted(tmp_path / "disk", "-o", "loop", image) as disk:
        await life(disk / "edge", publisher)
    make_unreadable(image, f"/edge/objects/{sha256[:2]}/{sha256}", 100)
    with mounted(tmp_path / "disk", "-o", "loop,errors=continue", image) as disk:
        holding = Holding(disk / "edge")
        (damage,) = holding.verify()
        assert (damage.sha256, damage.reason) == (sha256, "unreadable")
        recipe = holding.recipe_of(sha256)
        assert recipe is not None
        part = holding.reopen_damaged(recipe)
        assert 1 <= len(part.missing()) <= 4
        part.close()
        holding.close()
        await life(disk / "edge", publisher)
        assert served(disk / "edge") == OLD
        assert Holding(disk / "edge").verify() == ()
