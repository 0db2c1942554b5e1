"""kill -9 while publishing: the old release or the new one; the next publish leaves the same tree as without a kill.

The victim kills itself right before its n-th request to the operating system or to SQLite, in whatever code of the
publisher that is, so every run is repeatable and no timing decides anything.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sync.publishing import Publisher, packs
from tests.unit.test_publishing import NOW, Base, Edge, check_names, noise, pulled

ROOT = Path(__file__).resolve().parents[2]
KILLS = 20
PACK_MAX_BYTES = 60_000
"""So that one publish writes several packs."""
OLD: dict[str, bytes] = {"catalogue.json": b"{}" * 9, "goes.bin": noise(1, 30_000), "stays": b"stays"}
ADDED: dict[str, bytes] = {
    **{f"{n}.bin": noise(n + 10, 40_000) for n in range(5)},
    **{f"{n}.txt": bytes([n + 65]) * 1000 for n in range(4)},
    "edited.bin": noise(1, 30_000) + noise(2, 9_000),
    "catalogue.json": b"{}" * 10,
}
NEW = {**OLD, **ADDED}
del NEW["goes.bin"]

ZYGOTE = f"""
import json, os, signal, sys
from pathlib import Path
from sync.publishing import Publisher, packs
from tests.scenario.test_publishing_kill import ADDED
from tests.unit.test_publishing import NOW

packs.PACK_MAX_BYTES = {PACK_MAX_BYTES}
CALLS = {{"open", "fsync", "flush", "write", "replace", "rename", "unlink", "mkdir", "close", "execute", "executemany",
    "executescript", "connect", "truncate", "flock", "iterdir", "stat"}}

def job(order):
    publisher, at, seen = Publisher.open(Path(order["root"])), order["kill_at"], 0
    def watch(frame, event, what):
        nonlocal seen
        if event == "c_call" and what.__name__ in CALLS:
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(watch)
    publisher.publish("main", add=ADDED, remove=("goes.bin",), now=NOW)
    sys.setprofile(None)
    return {{"seen": seen}}

for line in sys.stdin:
    inward, outward = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(outward, json.dumps(job(json.loads(line))).encode())
        os._exit(0)
    os.close(outward)
    with os.fdopen(inward, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    print(json.dumps({{"status": os.waitstatus_to_exitcode(status), **json.loads(said or "{{}}")}}), flush=True)
"""


class Victims:
    """Children of one process that has everything imported already."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", ZYGOTE], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def publish(self, root: Path, kill_at: int = 0) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps({"root": str(root), "kill_at": kill_at}), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert answer["status"] == (-9 if "seen" not in answer else 0), answer
        return answer

    def end(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(timeout=10) == 0


@pytest.fixture
def victims() -> Iterator[Victims]:
    victims = Victims()
    yield victims
    victims.end()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else tmp_path))
    yield folder
    shutil.rmtree(folder)


def small_files(published: Path) -> set[str]:
    """Names of all files but signed metadata, whose versions are never used twice."""
    names = {str(file.relative_to(published)) for file in published.rglob("*") if file.is_file()}
    return {name for name in names if not name.startswith("metadata/")}


@pytest.mark.parametrize("late", [False, True])
def test_publisher_killed_at_twenty_moments(
    folder: Path, victims: Victims, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    monkeypatch.setattr(packs, "PACK_MAX_BYTES", PACK_MAX_BYTES)
    first = Publisher.init(folder / "first", NOW)
    first.publish("main", add={"catalogue.json": b"{}"}, remove=(), now=NOW)
    first.publish("main", add=OLD, remove=(), now=NOW)
    edge = Edge().pull(Base(first.published))
    shutil.copytree(folder / "first", folder / "whole")
    total = victims.publish(folder / "whole")["seen"]
    assert total > 20 * KILLS
    whole = small_files(folder / "whole" / "published")
    signing = total - total // 4  # about where release objects and signatures are written
    draw = random.Random(20260301).sample
    end = [*draw(range(signing, total - 60), KILLS // 2), *draw(range(total - 60, total + 1), KILLS // 2)]
    outcomes = []
    for kill_at in sorted(end if late else draw(range(1, signing), KILLS)):
        root = folder / "victim"
        shutil.copytree(folder / "first", root)
        assert victims.publish(root, kill_at)["status"] == -9
        publisher = Publisher.open(root)
        seq, content = (after := edge.twin().pull(Base(publisher.published))).seq, after.content
        assert (seq, content) in ((2, OLD), (3, NEW)), f"killed before request {kill_at}"
        assert pulled(publisher) == content
        outcomes.append(seq)
        assert publisher.publish("main", add=ADDED, remove=("goes.bin",) if seq == 2 else (), now=NOW).seq == 3
        assert not list((root / "incoming").iterdir())
        assert small_files(publisher.published) == whole, f"litter after a kill before request {kill_at}"
        check_names(publisher.published)
        assert pulled(publisher) == NEW and edge.twin().pull(Base(publisher.published)).content == NEW
        publisher.publish("main", add={"after": b"it goes on"}, remove=(), now=NOW)
        assert after.pull(Base(publisher.published)).content == {**NEW, "after": b"it goes on"}
        shutil.rmtree(root)
    assert set(outcomes) == ({2, 3} if late else {2})


def test_one_publish_killed_again_and_again_arrives_in_the_end(
    folder: Path, victims: Victims, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "PACK_MAX_BYTES", PACK_MAX_BYTES)
    publisher = Publisher.init(folder / "central", NOW)
    publisher.publish("main", add=OLD, remove=(), now=NOW)
    shutil.copytree(folder / "central", folder / "whole")
    total = victims.publish(folder / "whole")["seen"]
    for part in range(4, 20):  # each life a little longer than the one before
        if victims.publish(folder / "central", total * part // 16)["status"] == 0:
            break
        assert pulled(publisher) in (OLD, NEW)
        if pulled(publisher) == NEW:
            break
    assert pulled(publisher) == NEW
    whole = small_files(folder / "whole" / "published")
    assert small_files(publisher.published) == whole
