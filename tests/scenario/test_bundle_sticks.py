"""A set of three sticks, in any order, also again, also from the middle; the ordinary client takes them in."""

from __future__ import annotations

import asyncio
import random
import resource
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from sync import Corrupt, Missing, Unreachable
from sync.bundle.export import write_part
from sync.bundle.inspect import Inspected, inspect
from sync.bundle.plan import plan_bundle
from sync.bundle.receipt import make_receipt, read_receipts, since_of, write_receipt
from sync.bundle.split import TooSmall
from sync.bundle.words import StickRefused, words_for
from sync.holding import Holding
from sync.publishing import Publisher
from sync.pull import Progress, Pulled, Puller
from sync.pull.aside import OnOtherSticks
from sync.pull.memory import kept_listing
from sync.road import Received, Sink
from sync.road.folder import FolderSource
from sync.road.retrying import RetryPolicy

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ONCE = RetryPolicy(attempts=1, scale=0.0)
PACK_BYTES = 300_000


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


A, B, C = noise(1, PACK_BYTES), noise(2, PACK_BYTES), noise(3, PACK_BYTES)
OLD = {"catalogue.json": b'{"n": 0}', "goes.bin": noise(9, 5_000)}
STEPS = (
    {"catalogue.json": b'{"n": 1}', "a.bin": A},
    {"catalogue.json": b'{"n": 2}', "b.bin": B},
    # Objects that need two packs, and three.
    {"catalogue.json": b'{"n": 3}', "c.bin": C, "ab.bin": A[:150_000] + B[150_000:], "abc.bin": A + B + C},
)
NEW = {name: data for step in STEPS for name, data in step.items()}


class Centre:
    """A publisher with a release that edges have, and three more on three sticks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.publisher = Publisher.init(root / "central", NOW)
        self.publisher.publish("main", add=OLD, remove=(), now=NOW)
        self.anchor = self.publisher.trust_anchor.read_bytes()
        edge = Edge(root / "first", self.anchor)
        edge.online(self.publisher)
        for number, files in enumerate(STEPS, start=1):
            gone = ["goes.bin"] if number == 3 else []
            self.publisher.publish("main", add=files, remove=gone, now=NOW + timedelta(hours=number))
        plan = plan_bundle(self.publisher, {"main": 1}, max_bytes=PACK_BYTES + 180_000)
        assert plan.parts == 3
        self.sticks = [root / f"stick{part}" for part in (1, 2, 3)]
        for part, stick in enumerate(self.sticks, start=1):
            write_part(self.publisher, plan, part, stick, NOW)

    def edge(self, name: str) -> Edge:
        """One that holds the old release."""
        shutil.copytree(self.root / "first", self.root / name)
        return Edge(self.root / name, self.anchor)


class Edge:
    def __init__(self, root: Path, anchor: bytes) -> None:
        self.root, self.anchor = root, anchor
        self.holding = Holding(root)

    def online(self, publisher: Publisher) -> None:
        puller = self.puller(FolderSource(publisher.published), road="network")
        asyncio.run(puller.pull("main", now=NOW))
        self.tidy()
        self.holding.close()

    def puller(self, source: Any, **options: Any) -> Puller:
        settings: dict[str, Any] = {"road": "bundle", "retry": ONCE, "spare_bytes": 0, **options}
        return Puller(
            trust_dir=self.root / "trust", source=source, holding=self.holding, anchor=self.anchor, **settings
        )

    def held(self) -> int:
        listing = kept_listing(self.root / "trust", "main")
        return listing.seq if listing else 0

    def look(self, stick: Path) -> Inspected:
        return inspect(stick, area="", held={"main": self.held()}, on_progress=lambda done, whole: None)

    async def load(self, stick: Path, **calls: Any) -> Pulled:
        inspected = self.look(stick)
        pulled = await self.puller(FolderSource(stick), lacking=inspected.lacking).pull("main", now=NOW, **calls)
        self.tidy()
        return pulled

    def tidy(self) -> None:
        self.holding.prune_meta()
        self.holding.prune_staged(lambda _: False)

    def files(self) -> dict[str, bytes]:
        """What is served: the listing that was kept, every object of it whole."""
        listing = kept_listing(self.root / "trust", "main")
        assert listing is not None
        return {name: self.holding.path(file.sha256).read_bytes() for name, file in listing.files.items()}


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Centre:
    return Centre(tmp_path_factory.mktemp("sticks"))


@pytest.fixture
def another(tmp_path: Path) -> Centre:
    return Centre(tmp_path / "another")


@pytest.fixture
def edge(centre: Centre, tmp_path: Path) -> Iterator[Edge]:
    edge = centre.edge(tmp_path.name)
    yield edge
    edge.holding.close()


async def through(edge: Edge, sticks: Sequence[Path]) -> list[OnOtherSticks]:
    """Take the sticks in one after the other; all but the last must ask for more."""
    asked = []
    for stick in sticks[:-1]:
        with pytest.raises(OnOtherSticks) as caught:
            await edge.load(stick)
        asked.append(caught.value)
        assert edge.files() == OLD
    await edge.load(sticks[-1])
    return asked


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_three_sticks_in_any_order(centre: Centre, edge: Edge, order: tuple[int, ...]) -> None:
    asked = await through(edge, [centre.sticks[n] for n in order])
    assert edge.files() == NEW and list((edge.root / "staging/meta").iterdir()) == []
    assert [len(each.packs) for each in asked] == [2, 1]
    assert asked[0].missing_bytes > asked[1].missing_bytes >= PACK_BYTES


async def test_what_is_missing_is_told_by_the_number_of_the_stick(centre: Centre, edge: Edge) -> None:
    inspected = edge.look(centre.sticks[0])
    assert (inspected.part, inspected.parts) == (1, 3)
    with pytest.raises(OnOtherSticks) as caught:
        await edge.load(centre.sticks[0])
    assert inspected.sticks_with(caught.value.packs) == (2, 3)
    # a.bin is whole; of the others what lies in the packs of sticks 2 and 3
    missing = 2 * PACK_BYTES + 150_000 + 2 * PACK_BYTES
    assert abs(caught.value.missing_bytes - missing) < 200_000
    words = words_for(caught.value, next_sticks=(2, 3))
    assert "第 2、3 号U盘" in words and "insert disk 2 or 3 of the set" in words and "MB" in words
    assert "下一个U盘" in words_for(caught.value) and "the next disk" in words_for(caught.value)
    inspected = edge.look(centre.sticks[2])
    with pytest.raises(OnOtherSticks) as caught:
        await edge.load(centre.sticks[2])
    assert inspected.sticks_with(caught.value.packs) == (2,)


async def test_a_stick_twice_changes_nothing(centre: Centre, edge: Edge) -> None:
    for _ in range(2):
        with pytest.raises(OnOtherSticks) as caught:
            await edge.load(centre.sticks[1])
    first = caught.value
    with pytest.raises(OnOtherSticks) as caught:
        await edge.load(centre.sticks[1])
    assert (caught.value.missing_bytes, caught.value.packs) == (first.missing_bytes, first.packs)
    await through(edge, [centre.sticks[0], centre.sticks[2]])
    assert edge.files() == NEW
    with pytest.raises(StickRefused) as refused:
        edge.look(centre.sticks[0])
    assert refused.value.reason == "older"


async def test_what_one_stick_has_is_complete_before_the_next(centre: Centre, edge: Edge) -> None:
    last = Progress(0, 0, 0, 0)

    def note(progress: Progress) -> None:
        nonlocal last
        last = progress

    with pytest.raises(OnOtherSticks) as caught:
        await edge.load(centre.sticks[0], on_progress=note)
    # catalogue and a.bin are there as whole objects already
    assert last.objects_done == 2 and last.objects_total == 6
    assert last.bytes_total - last.bytes_done == caught.value.missing_bytes


async def test_no_byte_is_read_twice_over_three_sticks(centre: Centre, edge: Edge) -> None:
    counted = 0

    class Counting(FolderSource):
        async def read(self, name: str, start: int, stop: int, sink: Sink, *, received: Received | None = None) -> None:
            nonlocal counted
            counted += stop - start
            await super().read(name, start, stop, sink, received=received)

    for stick in centre.sticks:
        puller = edge.puller(Counting(stick), lacking=edge.look(stick).lacking)
        try:
            await puller.pull("main", now=NOW)
        except OnOtherSticks:
            continue
    assert edge.files() == NEW
    assert counted <= sum((centre.publisher.published / name).stat().st_size for name in packs_of(centre))


def packs_of(centre: Centre) -> list[str]:
    return [
        str(path.relative_to(stick))
        for stick in centre.sticks
        for path in (stick / "packs").rglob("*")
        if path.is_file()
    ]


async def test_without_being_told_a_missing_pack_ends_the_pull(centre: Centre, edge: Edge) -> None:
    with pytest.raises(Missing) as caught:
        await edge.puller(FolderSource(centre.sticks[0])).pull("main", now=NOW)
    assert not isinstance(caught.value, OnOtherSticks)
    await through(edge, centre.sticks)
    assert edge.files() == NEW


async def test_the_line_finishes_what_sticks_began_and_the_other_way_round(centre: Centre, edge: Edge) -> None:
    with pytest.raises(OnOtherSticks):
        await edge.load(centre.sticks[2])
    online = edge.puller(FolderSource(centre.publisher.published), road="network")
    pulled = await online.pull("main", now=NOW + timedelta(hours=4))
    assert edge.files() == NEW and pulled.bytes_moved < 2 * PACK_BYTES + 50_000


async def test_a_stick_pulled_out_in_the_middle_is_gone_on_with(centre: Centre, edge: Edge, tmp_path: Path) -> None:
    stick = Path(shutil.copytree(centre.sticks[0], tmp_path / "stick"))
    lacking, moved = edge.look(stick).lacking, 0

    def pull_out() -> None:
        if stick.exists():
            stick.rename(tmp_path / "pocket")

    class Loose(FolderSource):
        """A stick that is pulled out in the middle of its pack."""

        async def read(self, name: str, start: int, stop: int, sink: Sink, *, received: Received | None = None) -> None:
            nonlocal moved
            await super().read(name, start, start + (stop - start) // 2, sink, received=received)
            moved += (stop - start) // 2
            pull_out()
            await super().read(name, start + (stop - start) // 2, stop, sink, received=received)

    with pytest.raises(Unreachable) as caught:
        await edge.puller(Loose(stick), lacking=lacking).pull("main", now=NOW)
    assert not isinstance(caught.value, Missing) and "plug it in again" in words_for(caught.value)
    assert moved > PACK_BYTES // 3 and edge.files() == OLD
    (tmp_path / "pocket").rename(stick)
    await through(edge, [stick, *centre.sticks[1:]])
    assert edge.files() == NEW


async def test_a_stick_that_goes_bad_after_the_inspection_changes_nothing(
    centre: Centre, edge: Edge, tmp_path: Path
) -> None:
    stick = Path(shutil.copytree(centre.sticks[0], tmp_path / "stick"))
    lacking = edge.look(stick).lacking
    for pack in (stick / "packs").rglob("*"):
        if pack.is_file():
            pack.write_bytes(bytes(pack.stat().st_size))
    with pytest.raises(Corrupt) as caught:
        await edge.puller(FolderSource(stick), lacking=lacking).pull("main", now=NOW)
    assert "make the disk again" in words_for(caught.value)
    await through(edge, centre.sticks)
    assert edge.files() == NEW


async def test_a_newer_set_takes_over_what_an_older_one_began(another: Centre, tmp_path: Path) -> None:
    """Stick 1 of the first set, then everything changes at the centre, then one large stick."""
    edge = another.edge("edge")
    with pytest.raises(OnOtherSticks):
        await edge.load(another.sticks[0])
    newest = NEW | {"d.bin": noise(4, 20_000)}
    another.publisher.publish("main", add={"d.bin": newest["d.bin"]}, remove=(), now=NOW + timedelta(hours=9))
    stick = tmp_path / "large"
    write_part(another.publisher, plan_bundle(another.publisher, {"main": 1}), 1, stick, NOW + timedelta(hours=9))
    pulled = await edge.load(stick)
    assert edge.files() == newest and pulled.bytes_moved < 3 * PACK_BYTES - 150_000
    with pytest.raises(StickRefused):  # the rest of the first set is of no use any more
        edge.look(another.sticks[1])
    edge.holding.close()


async def test_a_receipt_shortens_the_next_stick(another: Centre, tmp_path: Path) -> None:
    edge = another.edge("edge")
    await through(edge, another.sticks)
    assert write_receipt(another.sticks[2], make_receipt("edge-1", NOW, {"main": edge.held()})) is None
    another.publisher.publish("main", add={"d.bin": noise(4, 20_000)}, remove=(), now=NOW + timedelta(hours=9))
    since = since_of(read_receipts(another.sticks[2]).found)
    assert since == {"main": 4}
    report = write_part(
        another.publisher, plan_bundle(another.publisher, since), 1, another.sticks[2], NOW + timedelta(hours=9)
    )
    assert report.bytes < 40_000 and report.removed > 0
    await edge.load(another.sticks[2])
    assert edge.files() == NEW | {"d.bin": noise(4, 20_000)}
    edge.holding.close()


async def test_hundreds_of_objects_on_another_stick_take_no_open_files(another: Centre, tmp_path: Path) -> None:
    lessons = {f"{n}.bin": noise(n, 12_000) for n in range(600)}
    another.publisher.publish("main", add=lessons, remove=(), now=NOW + timedelta(hours=9))
    with pytest.raises(TooSmall) as small:
        plan_bundle(another.publisher, {"main": 1}, max_bytes=1)
    plan = plan_bundle(another.publisher, {"main": 1}, max_bytes=small.value.needed_bytes)
    assert plan.parts == 2  # the first has all lessons
    sticks = [tmp_path / "one", tmp_path / "two"]
    for part, stick in enumerate(sticks, start=1):
        write_part(another.publisher, plan, part, stick, NOW + timedelta(hours=9))
    edge = another.edge("edge")
    most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
    try:
        with pytest.raises(OnOtherSticks) as caught:
            await edge.load(sticks[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    assert 7_100_000 < caught.value.missing_bytes <= 600 * 12_000
    await edge.load(sticks[0])
    assert edge.files() == NEW | lessons
    edge.holding.close()
