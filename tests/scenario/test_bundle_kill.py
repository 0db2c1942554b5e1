"""kill -9 at random moments of an import from three sticks: whatever is served is wholly the old or the new release,
every object that is visible is whole, and in the end everything is there byte for byte.

The longer drill: ``python -m tests.scenario.test_bundle_kill 200``.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sync.holding import Holding
from sync.ids import sha256_hex
from sync.publishing import Publisher
from tests.lives import Lives, activate, served

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KILLS = 30
PACK_BYTES = 500_000
PARTIAL = 3
"""Exit code of a life that wants another stick."""


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


A, B, C = noise(1, PACK_BYTES), noise(2, PACK_BYTES), noise(3, PACK_BYTES)
OLD = {"catalogue.json": b'{"n": 0}', "goes.bin": noise(9, 50_000), "stays.bin": noise(8, 50_000)}
STEPS = (
    {"a.bin": A},
    {"b.bin": B, "ab.bin": A[:200_000] + B[200_000:]},
    {"c.bin": C, "abc.bin": A + B + C, "catalogue.json": b'{"n": 3}', **{f"{n}.html": b"<p>%d" % n for n in range(9)}},
)
NEW = {"stays.bin": OLD["stays.bin"]} | {name: data for step in STEPS for name, data in step.items()}


async def edge_life(root: str, stick: str) -> int:
    """What an edge does with a stick: inspect it, import it, activate, collect, write the receipt."""
    from sync.bundle.inspect import inspect
    from sync.bundle.receipt import make_receipt, write_receipt
    from sync.pull import Puller
    from sync.pull.aside import OnOtherSticks
    from sync.pull.memory import kept_listing
    from sync.road.folder import FolderSource

    edge, folder = Path(root), Path(stick)
    listing = kept_listing(edge / "trust", "main")
    held = listing.seq if listing else 0
    source, holding = FolderSource(folder), Holding(edge)
    lacking = None
    if (folder / "bundle.json").exists():  # else it is what the publisher serves
        if held < 4:
            lacking = inspect(folder, area="", held={"main": held}, on_progress=lambda done, whole: None).lacking
        road: Any = "bundle"
    else:
        road = "network"
    anchor = (edge / "anchor").read_bytes()
    puller = Puller(trust_dir=edge / "trust", source=source, holding=holding, anchor=anchor, road=road, lacking=lacking)
    try:
        pulled = await puller.pull("main", now=NOW)
    except OnOtherSticks:
        holding.close()
        return PARTIAL
    activate(edge, holding, pulled.listing)
    if road == "bundle":
        assert write_receipt(folder, make_receipt("edge", NOW, {"main": pulled.listing.seq})) is None
    return 0


def leftovers(edge: Path) -> list[str]:
    """Files that nothing needs once the new release is active."""
    wanted = {sha256_hex(data) for data in NEW.values()}
    objects = [path.name for path in (edge / "objects").rglob("*") if path.is_file() and path.name not in wanted]
    return objects + [path.name for path in (edge / "staging").rglob("*") if path.is_file()]


def three_sticks(folder: Path, publisher: Publisher) -> list[Path]:
    from sync.bundle.export import write_part
    from sync.bundle.plan import plan_bundle

    plan = plan_bundle(publisher, {"main": 1}, max_bytes=PACK_BYTES + 300_000)
    assert plan.parts == 3
    sticks = [folder / f"stick{part}" for part in (1, 2, 3)]
    for part, stick in enumerate(sticks, start=1):
        write_part(publisher, plan, part, stick, NOW)
    return sticks


def drill(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill so many edges; return what was seen."""
    source = random.Random(seed)
    publisher = Publisher.init(folder / "central", NOW)
    first = folder / "first"
    first.mkdir()
    (first / "anchor").write_bytes(publisher.trust_anchor.read_bytes())
    publisher.publish("main", add=OLD, remove=(), now=NOW)
    edges = Lives("tests.scenario.test_bundle_kill")
    try:
        assert edges.live(None, root=str(first), stick=str(publisher.published)) == 0
        for number, files in enumerate(STEPS, start=1):
            gone = ["goes.bin"] if number == 3 else []
            publisher.publish("main", add=files, remove=gone, now=NOW + timedelta(hours=number))
        sticks = three_sticks(folder, publisher)
        clock = asyncio.new_event_loop()
        began_s = clock.time()
        assert edges.live(None, root=str(shutil.copytree(first, folder / "whole")), stick=str(sticks[0])) == PARTIAL
        whole_s = clock.time() - began_s
        clock.close()
        done = rounds = 0
        seen, ends = set(), list[int]()

        def live(edge: Path, stick: Path) -> int | None:
            nonlocal done
            kill_after_s = source.uniform(0.0, 1.2 * whole_s) if done < kills else None
            code = edges.live(kill_after_s, root=str(edge), stick=str(stick))
            assert code in (0, PARTIAL, None), code
            files = served(edge)
            assert files in (OLD, NEW)
            if code is None:
                done += 1
                seen.add("new" if files == NEW else "old")
            else:
                ends.append(code)
                assert files == (OLD if code == PARTIAL else NEW)
            return code

        while done < kills:
            edge = shutil.copytree(first, folder / "edge")
            for _ in range(4):  # whatever stick comes to hand, again and again
                live(edge, source.choice(sticks))
            for stick in source.sample(sticks, 3):  # and each until it is through
                while (code := live(edge, stick)) is None:
                    pass
            assert code == 0 and served(edge) == NEW and leftovers(edge) == []
            rounds += 1
            shutil.rmtree(edge)
    finally:
        edges.end()
    return {"kills": done, "rounds": rounds, "partial": ends.count(PARTIAL), "after a kill": sorted(seen)}


@pytest.mark.timeout(60)  # 6 s on an idle machine
def test_an_import_is_killed_again_and_again(tmp_path: Path) -> None:
    outcome = drill(tmp_path, KILLS, 20260301)
    assert outcome["kills"] >= KILLS and outcome["rounds"] >= 2 and outcome["partial"] >= 4


def main() -> None:
    """Run the long drill and print what was seen."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as folder:
        print(drill(Path(folder), kills, kills))


if __name__ == "__main__":
    main()
