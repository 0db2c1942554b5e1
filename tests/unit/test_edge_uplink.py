"""A release reaches the boxes whole or not at all, a withdrawal at once; the poller lives through everything."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from domain.courseware import (
    CATALOGUE_PATH,
    INDEX_CHANNEL,
    Catalogue,
    CatalogueError,
    Column,
    Courseware,
    ItemClass,
    MediaFamily,
    Rendition,
    encode_catalogue,
)
from edge_server.store.changes import changing
from edge_server.uplink.poller import WAKE_S, Poller
from edge_server.uplink.pull import PullReport
from edge_server.uplink.scrubber import Scrubber
from media import MediaError
from runtime.clock import FakeClock
from runtime.service import running
from sync import Busy, NoSpace, Unreachable, Untrusted
from sync.publishing import Publisher
from sync.road import Received, Sink
from sync.road.folder import FolderSource
from tests.sync_lab import CHANNEL, NOW, Lab, catalogue_of


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
    report = await lab.uplink().pull(now=lambda: NOW, on_progress=lambda *step: stages.append(step))
    assert (report.changed, report.channels, report.packaged) == (True, {"col-101": 1, "index": 1}, 0)
    assert report.bytes_moved > 0 and report.requests > 5
    assert stages[0] == ("fetch", 0.0) and ("fetch", 1.0) in stages
    again = await lab.sync()
    assert (again.changed, again.channels, again.requests) == (False, report.channels, 2)
    assert again.bytes_moved < 1500


async def test_looking_costs_the_same_with_many_columns(lab: Lab) -> None:
    for number in range(20):
        column = Column(column_id=str(200 + number), title=f"专栏{number}", order=number)
        lab.publish({"catalogue.json": catalogue_of(column=column), f"x{number}": b"x"}, column=column)
    await lab.sync()
    again = await lab.sync()
    assert (again.changed, again.requests, len(again.channels)) == (False, 2, 22)
    assert again.bytes_moved < 1500


async def test_an_edge_holds_the_columns_it_is_told_to(lab: Lab) -> None:
    other = Column(column_id="102", title="另一个", order=2)
    lab.publish({"b": b"2"}, column=other)
    await lab.sync(columns=["102"])
    assert lab.served() == (2, {"b": b"2"})
    await lab.sync()
    assert lab.served() == (3, {"a": b"1", "b": b"2"})
    report = await lab.sync(columns=["101"])
    assert report.changed and lab.served() == (4, {"a": b"1"})


async def test_a_column_that_is_gone_is_not_offered_any_more(lab: Lab) -> None:
    await lab.sync()
    lab.publisher.publish(INDEX_CHANNEL, add={CATALOGUE_PATH: encode_catalogue(Catalogue())}, remove=(), now=NOW)
    await lab.sync()
    assert lab.served()[1] == {}


async def test_what_no_kept_release_names_is_removed(lab: Lab) -> None:
    await lab.sync()
    for data in (b"22", b"333"):
        lab.publish({"a": data})
        report = await lab.sync()
    assert report.freed_bytes == 1
    active = lab.store.active()
    assert active is not None
    kept = {each.sha256 for release in active.releases.values() for each in release.files.values()}
    assert len(set(lab.store.holding.ids()) - kept) == 1, "the release before is kept"


@pytest.mark.parametrize(
    ("release", "error"),
    [(lesson(b"this is no MP4"), MediaError), ({CATALOGUE_PATH: b'{"format":99}'}, CatalogueError)],
    ids=["rendition", "catalogue"],
)
async def test_release_that_cannot_be_played_is_not_activated(
    lab: Lab, release: dict[str, bytes | Path], error: type[Exception]
) -> None:
    await lab.sync()
    before = lab.served()
    lab.publish(release)
    for _ in range(2):
        with pytest.raises(error):
            await lab.sync()
        assert lab.served() == before
    lab.publish({}, remove=tuple(release))
    assert (await lab.sync()).channels["col-101"] == 3


async def test_release_that_was_fetched_but_not_activated_is_activated_next_time(lab: Lab) -> None:
    for channel in (INDEX_CHANNEL, CHANNEL):
        await lab.puller().pull(channel, now=NOW)  # as when the process ended right here
    report = await lab.sync()
    assert (report.changed, report.channels) == (True, {CHANNEL: 1, INDEX_CHANNEL: 1})
    assert lab.served()[1] == {"a": b"1"}


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
    with changing(lab.store) as changes:
        changes.discard(lab.store.verify())
    await lab.sync()
    assert lab.served()[1] == {"a": b"1"} and lab.store.verify() == ()


class Holding:
    """A source that lets small files through and keeps packs back until told."""

    def __init__(self, folder: Path) -> None:
        self.inner, self.asked, self.release = FolderSource(folder), asyncio.Event(), asyncio.Event()

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        return await self.inner.fetch(name, limit_bytes=limit_bytes, received=received)

    async def read(self, name: str, start: int, stop: int, sink: Sink, *, received: Received | None = None) -> None:
        self.asked.set()
        await self.release.wait()
        await self.inner.read(name, start, stop, sink, received=received)

    async def close(self) -> None:
        pass


async def test_a_withdrawal_does_not_wait_for_the_new_lesson_of_the_same_release(lab: Lab) -> None:
    lab.publish({"b": b"stays"})
    await lab.sync()
    lab.publish({"new.bin": bytes(range(256)) * 200}, remove=["a"])
    source = Holding(lab.publisher.published)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        pull = group.create_task(lab.sync(source))
        await source.asked.wait()
        assert lab.served()[1] == {"b": b"stays"}, "gone before its release is here"
        source.release.set()
        await pull
    assert lab.served()[1].keys() == {"b", "new.bin"}


async def test_a_small_column_does_not_wait_for_a_large_one_and_news_are_looked_for_meanwhile(lab: Lab) -> None:
    small = Column(column_id="90", title="小", order=9)
    lab.publish({"c": b"3"}, column=small)
    await lab.sync()
    lab.publish({"course.bin": bytes(range(256)) * 300})
    lab.publish({"c": b"corrected"}, column=small)
    source = Holding(lab.publisher.published)
    uplink = lab.uplink(source)
    uplink.slice_s = 0.3
    async with asyncio.timeout(15), asyncio.TaskGroup() as group:
        pull = group.create_task(uplink.pull(now=lambda: NOW))
        await source.asked.wait()
        assert lab.served()[1] == {"a": b"1", "c": b"corrected"}
        lab.publish({}, remove=["a"])
        while "a" in lab.served()[1]:
            assert not pull.done()
            await asyncio.sleep(0.05)
        source.release.set()
        await pull
    assert lab.served()[1].keys() == {"c", "course.bin"}


async def test_the_quota_leaves_out_what_may_be_left_out(lab: Lab) -> None:
    files = {f"s{number}.bin": bytes([number]) * 3000 for number in range(3)}
    lab.publish(dict(files), priority=dict.fromkeys(files, 3))
    report = await lab.sync(quota_bytes=8000)
    assert report.left_out == 1 and len(lab.served()[1]) == 3
    again = await lab.sync(quota_bytes=8000)
    assert (again.changed, again.requests) == (False, 2)
    lab.publish({"pinned.bin": bytes(7500)})
    with pytest.raises(NoSpace):
        await lab.sync(quota_bytes=7000)
    report = await lab.sync(quota_bytes=9000)
    assert report.left_out == 3 and lab.served()[1].keys() == {"a", "pinned.bin"}


async def test_another_area_is_refused(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Publisher.init(tmp_path / "central", NOW, area="county-7"))
    lab.publish({"a": b"1"})
    with pytest.raises(Untrusted) as caught:
        await lab.sync(area="county-8")
    assert caught.value.reason == "other-area" and lab.served() == (0, {})
    await lab.sync(area="county-7")
    assert lab.served()[1] == {"a": b"1"}


async def test_standing_tells_what_is_missing_and_why(lab: Lab) -> None:
    lab.publish({"new.bin": bytes(range(256)) * 200})
    source = Holding(lab.publisher.published)
    uplink = lab.uplink(source)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        pull = group.create_task(uplink.pull(now=lambda: NOW))
        await source.asked.wait()
        standing = uplink.standing.read()
        assert standing.channels["col-101"].coming_seq == 2 and standing.missing_bytes >= 200 * 256
        source.release.set()
        await pull
    standing = uplink.standing.read()
    assert standing.missing_bytes == 0 and standing.succeeded_at == NOW and standing.failure == ""
    lab.publisher.published.rename(lab.root / "away")
    with pytest.raises(Unreachable):
        await lab.sync()
    standing = uplink.standing.read()
    assert standing.failure.startswith("Unreachable") and standing.succeeded_at == NOW


# -- Scrubber ---------------------------------------------------------------------------------------------------------


async def test_the_scrubber_finds_rot_and_has_it_mended(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    lab = Lab(tmp_path, clock=clock)
    lab.publish({"a": b"1", "b.bin": bytes(range(256)) * 100})
    await lab.sync()
    active = lab.store.active()
    assert active is not None
    file = active.files["b.bin"].file
    file.chmod(0o644)
    with file.open("r+b") as rotten:
        rotten.seek(5000)
        rotten.write(b"rot")
    woken: list[bool] = []
    scrubber = Scrubber(lab.store, clock, round_days=7, on_damage=lambda: woken.append(True))
    async with asyncio.timeout(10), running(scrubber, grace=1):
        while not woken:
            await clock.advance(60)
            await asyncio.sleep(0.01)
    assert not lab.store.holding.has(active.files["b.bin"].sha256)
    await lab.sync()
    assert lab.served()[1]["b.bin"] == bytes(range(256)) * 100 and lab.store.verify() == ()


# -- Poller -----------------------------------------------------------------------------------------------------------


async def test_poller_lives_through_every_failure_and_says_why(lab: Lab) -> None:
    clock = FakeClock(NOW)
    done = asyncio.Event()

    async def sync() -> PullReport:
        try:
            return await lab.sync(clock=clock, now=clock.utc())
        finally:
            done.set()

    async def turn() -> None:
        done.clear()
        for _ in range(int(poller.period_s / WAKE_S) + 2):  # it looks up every ten seconds
            await clock.advance(WAKE_S)
        async with asyncio.timeout(10):
            await done.wait()
        await clock.advance(0)

    poller = Poller(sync, every_s=900, edge_id="township-7", clock=clock)
    published, away = lab.publisher.published, lab.root / "away"
    async with running(poller, grace=1):
        async with asyncio.timeout(10):
            await done.wait()
        await clock.advance(0)
        assert poller.last is not None and poller.last.channels["col-101"] == 1 and poller.failure == ""
        published.rename(away)
        await turn()
        assert poller.failure.startswith("Unreachable") and poller.last.channels["col-101"] == 1
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
        with changing(lab.store) as changes:
            changes.collect()
        await turn()
        assert poller.failure == "" and poller.last is not None and poller.last.channels["col-101"] == 3
    assert lab.served()[1] == {"a": b"1"}


def test_periods_differ_between_edges_and_stay_within_a_tenth() -> None:
    async def never() -> PullReport:
        raise AssertionError

    clock = FakeClock(NOW)
    periods = [Poller(never, every_s=900, edge_id=f"edge-{n}", clock=clock).period_s for n in range(200)]
    assert all(810 <= period <= 990 for period in periods)
    assert min(periods) < 840 and max(periods) > 960
    assert Poller(never, every_s=900, edge_id="edge-1", clock=clock).period_s == periods[1]
