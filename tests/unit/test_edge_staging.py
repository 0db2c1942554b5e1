"""What is half fetched is not thrown away because something else arrived; what is damaged is mended by a sync."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from domain.courseware import Column
from edge_server.store import Store
from sync import Unreachable
from sync.road import Received, Sink
from sync.road.folder import FolderSource
from tests.sync_lab import NOW, Lab

OTHER = Column(column_id="102", title="另一个", order=2)


class Breaking(FolderSource):
    """A line that gives so many bytes of packs, then nothing more; counts what it gave."""

    def __init__(self, folder: Path, most: int = 1 << 62) -> None:
        super().__init__(folder)
        self.left, self.given = most, 0

    async def read(self, name: str, start: int, stop: int, sink: Sink, *, received: Received | None = None) -> None:
        stop_here = min(stop, start + self.left)
        await super().read(name, start, stop_here, sink, received=received)
        self.left -= stop_here - start
        self.given += stop_here - start
        if stop_here < stop:
            raise Unreachable("the line broke")


def noise(length: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(length)


async def half(lab: Lab) -> bytes:
    """Publish a course of 3 MB and bring two thirds of it."""
    await lab.sync()
    course = noise(3_000_000, 1)
    lab.publish({"course.bin": course})
    with pytest.raises(Unreachable):
        await lab.sync(Breaking(lab.publisher.published, 2_000_000))
    return course


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    lab.publish({"a": b"1"})
    return lab


async def test_a_new_column_does_not_cost_what_is_half_fetched(lab: Lab) -> None:
    course = await half(lab)
    lab.publish({"b": b"2"}, column=OTHER)
    line = Breaking(lab.publisher.published)
    await lab.sync(line)
    assert lab.served()[1] == {"a": b"1", "b": b"2", "course.bin": course}
    assert line.given < 1_300_000


async def test_a_stick_with_another_column_does_not_cost_what_is_half_fetched(lab: Lab) -> None:
    course = await half(lab)
    lab.publish({"b": b"2"}, column=OTHER)
    uplink = lab.uplink()
    uplink.only = frozenset({"index", "col-102"})
    await uplink.pull(now=lambda: NOW)
    assert lab.served()[1] == {"a": b"1", "b": b"2"}
    line = Breaking(lab.publisher.published)
    await lab.sync(line)
    assert lab.served()[1]["course.bin"] == course and line.given < 1_300_000


@pytest.mark.parametrize("spoilt", ["current", "snapshots/col-101/1.json", "snapshots/index/2.json"])
@pytest.mark.parametrize("how", ["garbage", "gone"])
async def test_a_sync_mends_a_damaged_pointer_or_listing_and_fetches_nothing_again(
    lab: Lab, spoilt: str, how: str
) -> None:
    data = noise(500_000, 2)
    lab.publish({"b": b"2", "b.bin": data}, column=OTHER)
    await lab.sync()
    before = lab.served()[1]
    file = lab.root / "edge" / spoilt
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(b"\0" * 100)
    lab.store = Store(lab.root / "edge")  # another process
    line = Breaking(lab.publisher.published)
    await lab.sync(line)
    assert lab.served()[1] == before and line.given == 0
    assert Store(lab.root / "edge").active() is not None
