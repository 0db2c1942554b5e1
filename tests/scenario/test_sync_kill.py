"""kill -9 while pulling and while publishing: the old release or the new one, never a mix, and it goes on afterwards.

The victim kills itself with SIGKILL right before its n-th operation on the file system (Python's audit events count
them), so every run is repeatable and no timing decides anything.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sync_lab import BIG, NOW, Lab, served

ROOT = Path(__file__).resolve().parents[2]
KILLS = 20
OLD: dict[str, bytes] = {"catalogue.json": b"{}", "goes": b"goes away", "stays": b"stays"}
ADDED: dict[str, bytes] = {"long": BIG, "longer": BIG[::-1] + BIG, **{f"n{n}": bytes([n]) * 1000 for n in range(6)}}
NEW = {**OLD, **ADDED}
del NEW["goes"]

ZYGOTE = """
import asyncio, json, os, signal, sys
from pathlib import Path
from tests.sync_lab import NOW, Lab
from tests.scenario.test_sync_kill import ADDED
from sync.publisher import Publisher

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.chmod", "os.truncate", "os.symlink", "shutil.rmtree"}

def job(order):
    root, at, seen = Path(order["root"]), order["kill_at"], 0
    def watch(event, arguments):
        nonlocal seen
        if event in EVENTS and "/kill-" in str(arguments[0]):
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)
    if order["what"] == "pull":
        lab = Lab(root, Publisher.open(root / "central"))
        sys.addaudithook(watch)
        report = asyncio.run(lab.sync())
        return {"seen": seen, "bytes_moved": report.bytes_moved}
    publisher = Publisher.open(root / "central")
    sys.addaudithook(watch)
    publisher.publish("main", add=ADDED, remove=("goes",), now=NOW)
    return {"seen": seen}

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
    print(json.dumps({"status": os.waitstatus_to_exitcode(status), **json.loads(said or "{}")}), flush=True)
"""


class Victims:
    """Children of one process that has everything imported already."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", ZYGOTE], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, what: str, root: Path, kill_at: int = 0) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps({"what": what, "root": str(root), "kill_at": kill_at}), file=self._process.stdin, flush=True)
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


def moments(total: int, last: int) -> list[int]:
    """KILLS different moments: each of the ``last`` operations, the first, and others drawn with a fixed seed."""
    assert total > KILLS > last
    inner = random.Random(20260301).sample(range(2, total - last + 1), KILLS - last - 1)
    return sorted([1, *inner, *range(total - last + 1, total + 1)])


def copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, symlinks=True)
    return target


async def prepared(folder: Path) -> Lab:
    lab = Lab(folder)
    lab.publish(OLD)
    await lab.sync()
    return lab


async def test_pull_killed_at_twenty_moments(tmp_path: Path, victims: Victims) -> None:
    first = await prepared(tmp_path / "kill-first")
    first.publisher.publish("main", add=ADDED, remove=("goes",), now=NOW)
    whole = victims.run("pull", copy(first.root, tmp_path / "kill-whole"))
    assert served(tmp_path / "kill-whole" / "edge") == (2, NEW)
    outcomes = []
    for kill_at in moments(whole["seen"], last=8):
        root = copy(first.root, tmp_path / f"kill-{kill_at}")
        assert victims.run("pull", root, kill_at)["status"] == -9
        seq, files = served(root / "edge")
        assert (seq, files) in ((1, OLD), (2, NEW)), f"killed before operation {kill_at}"
        outcomes.append(seq)
        again = victims.run("pull", root)
        assert served(root / "edge") == (2, NEW)
        assert again["bytes_moved"] <= whole["bytes_moved"]
        lab = Lab(root, first.publisher)
        assert lab.store.verify() == ()
        assert not any((root / "edge" / "staging").iterdir())
        shutil.rmtree(root)
    assert set(outcomes) == {1, 2}


async def test_one_pull_killed_again_and_again_still_arrives(tmp_path: Path, victims: Victims) -> None:
    first = await prepared(tmp_path / "kill-first")
    first.publisher.publish("main", add=ADDED, remove=("goes",), now=NOW)
    whole = victims.run("pull", copy(first.root, tmp_path / "kill-whole"))
    # As many operations in one life as it takes to start and to bring home about one object.
    for _ in range(KILLS * 3):
        if victims.run("pull", first.root, kill_at=whole["seen"] // 2)["status"] == 0:
            break
        assert first.served() in ((1, OLD), (2, NEW))
    assert first.served() == (2, NEW)


async def test_publisher_killed_at_twenty_moments(tmp_path: Path, victims: Victims) -> None:
    first = await prepared(tmp_path / "kill-first")
    whole = victims.run("publish", copy(first.root, tmp_path / "kill-whole"))
    outcomes = []
    for kill_at in moments(whole["seen"], last=14):
        root = copy(first.root, tmp_path / f"kill-{kill_at}")
        assert victims.run("publish", root, kill_at)["status"] == -9
        fresh = Lab(tmp_path / "fresh", type(first.publisher).open(root / "central"))  # an edge that was never here
        await fresh.sync()
        seq, files = fresh.served()
        assert (seq, files) in ((1, OLD), (2, NEW)), f"killed before operation {kill_at}"
        outcomes.append(seq)
        if seq == 1:
            victims.run("publish", root)
        await fresh.sync()
        assert fresh.served() == (2, NEW)
        fresh.publish({"after": b"it goes on"})
        await fresh.sync()
        assert fresh.served() == (3, {**NEW, "after": b"it goes on"})
        shutil.rmtree(root)
        shutil.rmtree(fresh.root)
    assert 1 in outcomes
