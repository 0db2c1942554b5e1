"""Disks that fail while the edge's own program brings a publication: power cuts, full, read-only, refusing to flush.
Each channel stays wholly old or new, the exit code and the words are those of the manual, and the next sync ends well.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.output import Exit
from tests.drill import EDGE_SERVER, World, fill_up, world
from tests.mounts import mounted, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting file systems needs root")

RATE_BYTES_PER_S = 6_000_000
COPIES = 5
"""Of the dirty disk while one sync runs."""
IMAGE_MIB = 96
"""More than what an edge leaves free whatever it fetches (32 MiB), and what a lesson will need in the end."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("power")) as made:
        made.server.rate_bytes_per_s = RATE_BYTES_PER_S
        yield made


@pytest.fixture
def image(here: World, tmp_path: Path) -> Path:
    """An ext4 image with an edge that holds the old publication."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(IMAGE_MIB << 20)
    if run("mkfs.ext4", "-q", "-F", image):
        pytest.skip("mkfs.ext4 does not work here")
    with mounted(tmp_path / "disk", "-o", "loop", image) as disk:
        shutil.copytree(here.first, disk / "edge")
    return image


def comes_to_its_end(here: World, edge: Path) -> None:
    life = here.lives.live("sync", "--dir", edge)
    assert life.code == 0, life.said
    here.check_end(edge)


@pytest.mark.timeout(90)
def test_power_cuts_while_the_program_runs(here: World, image: Path, tmp_path: Path) -> None:
    """The disk is copied while it is dirty; each copy is what a power cut at that moment would leave."""
    copies, moved = list[Path](), threading.Event()
    whole_bytes = 2_850_000
    before = here.server.pack_bytes

    def copy(pack_bytes: int) -> None:
        if pack_bytes - before >= (len(copies) + 1) * whole_bytes // (COPIES + 1) and len(copies) < COPIES:
            there = tmp_path / f"copy{len(copies)}"
            shutil.copyfile(image, there)
            copies.append(there)
            moved.set()

    with mounted(tmp_path / "disk", "-o", "loop,noauto_da_alloc,commit=1", image) as disk:
        here.server.on_pack_bytes = copy
        try:
            comes_to_its_end(here, disk / "edge")
        finally:
            here.server.on_pack_bytes = lambda _: None
        last = tmp_path / "last"
        shutil.copyfile(image, last)
    assert moved.is_set() and len(copies) == COPIES
    seen = list[int]()
    for each in (*copies, last):
        assert run("e2fsck", "-fy", each) <= 1
        with mounted(tmp_path / "again", "-o", "loop", each) as disk:
            seen.append(list(here.served(disk / "edge").values()).count("new"))
            comes_to_its_end(here, disk / "edge")
        each.unlink()
    assert seen == sorted(seen) and seen[0] < len(here.new) and seen[-1] == len(here.new)


STEPS = {
    "before anything": ("", 100_000),
    "metadata": (r"^rename .*/trust/network/tmp", 100_000),
    "release object": (r"^rename .*/staging/meta/", 32 << 20),
    "new object": (r"^mkdir .*/recipes/", 1),
    "object": (r"^rename .*/objects/", 1),
    "held listing": (r"^rename .*\.listing\.json$", 1),
    "packaging": (r"^Popen .*packager", 500_000),
    "activation": (r"^rename .*/snapshots/", 1),
}
"""By name: before which step the disk fills up, and how many missing bytes are told at least."""


@pytest.mark.parametrize("step", STEPS)
def test_the_disk_fills_up_at_any_step(here: World, tmp_path: Path, step: str) -> None:
    pattern, least_bytes = STEPS[step]
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={IMAGE_MIB}M", "tmpfs") as disk:
        edge = shutil.copytree(here.first, disk / "edge")
        if not pattern:
            fill_up(disk)
        life = here.lives.live("sync", "--dir", edge, fill_at=(pattern, str(disk)) if pattern else None)
        assert (disk / "filler").exists()
        assert life.code == Exit.DISK_FULL, life.said
        assert "Traceback" not in life.said and "继续使用原有课件" in life.said, life.said
        told = re.search(r"free at least ([\d,]+) more", life.said)
        assert told and int(told[1].replace(",", "")) >= least_bytes, life.said
        assert here.served(edge)["col-101"] == "old"
        (disk / "filler").unlink()
        comes_to_its_end(here, edge)


@pytest.mark.parametrize("size_mib", [10, 16, 24, 32])
def test_too_small_a_disk_is_told_before_a_lesson_is_fetched(here: World, tmp_path: Path, size_mib: int) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={size_mib}M", "tmpfs") as disk:
        edge, before = shutil.copytree(here.first, disk / "edge"), here.server.pack_bytes
        life = here.lives.live("sync", "--dir", edge)
        assert life.code == Exit.DISK_FULL and here.server.pack_bytes == before
        told = re.search(r"free at least ([\d,]+) more", life.said)
        assert told and 0 < int(told[1].replace(",", "")) < 64 << 20, life.said
        assert set(here.served(edge).values()) == {"old"}
        assert run("mount", "-o", f"remount,size={IMAGE_MIB}M", disk) == 0
        comes_to_its_end(here, edge)


def test_a_disk_that_became_read_only(here: World, image: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-o", "loop,ro", image) as disk:
        life = here.lives.live("sync", "--dir", disk / "edge")
        assert life.code == Exit.FAILED, life.said
        assert "Traceback" not in life.said and "Read-only file system" in life.said, life.said
        assert set(here.served(disk / "edge").values()) == {"old"}
    with mounted(tmp_path / "disk", "-o", "loop", image) as disk:
        comes_to_its_end(here, disk / "edge")


@pytest.mark.stranger("strace")
@pytest.mark.parametrize("file", ["trust/channels", "staging/*.part", "snapshots/col-101", ""])
def test_a_disk_that_refuses_to_flush(here: World, tmp_path: Path, file: str) -> None:
    edge = here.edge("refusing")
    name = here.new["col-101"]["courseware/14/R12.mp4"]
    where = edge / file.replace("*", name)
    inject: list[str | Path] = ["-P", where, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"]
    command: list[str | Path] = ["strace", "-f", "-o", tmp_path / "trace", *inject, EDGE_SERVER, "sync", "--dir", edge]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "INJECTED" in (tmp_path / "trace").read_text()
    assert done.returncode == Exit.FAILED
    assert "Traceback" not in done.stderr and "Input/output error" in done.stderr, done.stderr
    assert here.served(edge)["col-101"] == "old"
    comes_to_its_end(here, edge)
