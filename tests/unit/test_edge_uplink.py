"""A release reaches the boxes whole or not at all; the poller lives through everything."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from pathlib import Path

import pytest

from domain.courseware import (
    CATALOGUE_PATH,
    Catalogue,
    CatalogueError,
    Column,
    Courseware,
    ItemClass,
    MediaFamily,
    Rendition,
    encode_catalogue,
)
from edge_server.packager import Shelf
from edge_server.uplink.poller import Poller
from edge_server.uplink.pull import PullReport, pull
from media import MediaError
from runtime.clock import FakeClock
from runtime.service import running
from sync import Busy, Untrusted
from tests.sync_lab import NOW, Lab


def lesson(data: bytes) -> dict[str, bytes | Path]:
    """A release with one video lesson whose rendition has these bytes."""
    path = "courseware/10000001/R12.mp4"
    rendition = Rendition(
        name="R12",
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        length_bytes=len(data),
        duration_s=1.0,
        width=320,
        height=240,
        display_width=320,
        frame_rate=25.0,
        frames=25,
        video_codec="avc1.42C01E",
        audio_codec=None,
        peak_bps=1_000_000,
        average_bps=500_000,
    )
    item = Courseware(
        item_id="10000001",
        title="第一课",
        item_class=ItemClass.EDUCATION,
        column_id="100001",
        family=MediaFamily.VIDEO,
        issued_at="2026-03-01T12:00:00Z",
        renditions=(rendition,),
    )
    column = Column(column_id="100001", title="农业", order=1)
    return {path: data, CATALOGUE_PATH: encode_catalogue(Catalogue(columns=(column,), courseware=(item,)))}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    lab.publish({"a": b"1"})
    return lab


async def test_report(lab: Lab) -> None:
    stages: list[tuple[str, float]] = []
    shelf = Shelf(lab.store.derived_root)
    report = await pull(lab.store, lab.client(), shelf, now=NOW, on_progress=lambda *step: stages.append(step))
    assert (report.changed, report.seq, report.packaged, report.requests) == (True, 1, 0, 8)
    assert report.bytes_moved > 0 and report.seconds > 0
    assert stages[0] == ("fetch", 0.0) and ("fetch", 1.0) in stages
    again = await lab.sync()
    assert (again.changed, again.seq, again.requests) == (False, 1, 2)


async def test_what_no_kept_release_names_is_removed(lab: Lab) -> None:
    await lab.sync()
    for data in (b"22", b"333"):
        lab.publish({"a": data})
        report = await lab.sync()
    assert report.freed_bytes == 1
    assert len(list(lab.store.objects.ids())) == 2


@pytest.mark.parametrize(
    ("release", "error"),
    [(lesson(b"this is no MP4"), MediaError), ({CATALOGUE_PATH: b'{"format":99}'}, CatalogueError)],
    ids=["rendition", "catalogue"],
)
async def test_release_that_cannot_be_played_is_not_activated(
    lab: Lab, release: dict[str, bytes | Path], error: type[Exception]
) -> None:
    await lab.sync()
    lab.publish(release)
    for _ in range(2):
        with pytest.raises(error):
            await lab.sync()
        assert lab.served() == (1, {"a": b"1"})
    lab.publish({}, remove=tuple(release))
    assert (await lab.sync()).seq == 3


async def test_release_that_was_fetched_but_not_activated_is_activated_next_time(lab: Lab) -> None:
    await lab.client().pull("main", now=NOW)  # as when the process ended right here
    report = await lab.sync()
    assert (report.changed, report.seq, report.requests) == (True, 1, 2)
    assert lab.served() == (1, {"a": b"1"})


async def test_two_pulls_at_once(lab: Lab) -> None:
    with lab.store.lock(), pytest.raises(Busy):
        await lab.sync()
    await lab.sync()


async def test_damaged_object_is_found_discarded_and_fetched_again(lab: Lab) -> None:
    await lab.sync()
    active = lab.store.active()
    assert active is not None
    file = active.files["a"].file
    file.chmod(0o644)
    file.write_bytes(b"2")
    with lab.store.lock() as changes:
        changes.discard(lab.store.verify())
    await lab.sync()
    assert lab.served() == (1, {"a": b"1"}) and lab.store.verify() == ()


# -- Poller -----------------------------------------------------------------------------------------------------------


async def test_poller_lives_through_every_failure_and_says_why(lab: Lab) -> None:
    clock = FakeClock(NOW)
    done = asyncio.Event()

    async def sync() -> PullReport:
        try:
            return await lab.sync(clock=clock)
        finally:
            done.set()

    async def turn() -> None:
        done.clear()
        await clock.advance(poller.period_s)
        async with asyncio.timeout(10):
            await done.wait()
        await clock.advance(0)

    poller = Poller(sync, every_s=900, edge_id="township-7", clock=clock)
    published, away = lab.publisher.published, lab.root / "away"
    async with running(poller, grace=1):
        async with asyncio.timeout(10):
            await done.wait()
        await clock.advance(0)
        assert poller.last is not None and poller.last.seq == 1 and poller.failure == ""
        published.rename(away)
        await turn()
        assert poller.failure.startswith("Unreachable") and poller.last.seq == 1
        away.rename(published)
        timestamp = published / "metadata" / "timestamp.json"
        good = timestamp.read_bytes()
        timestamp.write_bytes(good.replace(b'"version":', b'"versiom":', 1))
        await turn()
        assert poller.failure.startswith(f"{Untrusted.__name__}: tampered")
        timestamp.write_bytes(good)
        lab.publish(lesson(b"no MP4"))
        await turn()
        assert "PackagingFailed" in poller.failure
        lab.publish({}, remove=tuple(lesson(b"")))
        shutil.rmtree(lab.root / "edge" / "staging")
        (lab.root / "edge" / "staging").mkdir()
        await turn()
        assert poller.failure == "" and poller.last is not None and poller.last.seq == 3
    assert lab.served() == (3, {"a": b"1"})


def test_periods_differ_between_edges_and_stay_within_a_tenth() -> None:
    async def never() -> PullReport:
        raise AssertionError

    clock = FakeClock(NOW)
    periods = [Poller(never, every_s=900, edge_id=f"edge-{n}", clock=clock).period_s for n in range(200)]
    assert all(810 <= period <= 990 for period in periods)
    assert min(periods) < 840 and max(periods) > 960
    assert Poller(never, every_s=900, edge_id="edge-1", clock=clock).period_s == periods[1]
