"""A large snapshot is read beside the event loop: until it is ready everybody is given the one before, whole."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from edge_server.catalog import CatalogReader, CatalogView
from edge_server.catalog.following import Following
from edge_server.store import Store
from runtime.clock import FakeClock, settle
from sync import Corrupt
from tests.unit.test_catalog import FIRST, FLAGGED, LASTING, NOW, lesson, release
from tests.unit.test_edge_uplink import Lab


class ByHand(Executor):
    """Reads when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def submit(self, work: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(work(*args, **more))
            except Exception as error:
                future.set_exception(error)

        self.waiting.append(run)
        return future

    def go(self) -> None:
        (run,) = self.waiting
        self.waiting.clear()
        run()


def following(lab: Lab, thread: Executor | None = None, **more: int) -> Following:
    """As a process of its own has."""
    return Following(CatalogReader(Store(lab.root / "edge"), lab.judged), FakeClock(NOW), thread=thread, **more)


def ids(view: CatalogView) -> set[str]:
    return {item.item_id for item in view.catalogue.courseware}


async def bring(lab: Lab, *items: str) -> None:
    lab.publish(release(*(lesson(each, "1") for each in items), column=FIRST), column=FIRST)
    await lab.sync()


async def test_the_view_before_is_given_until_the_next_is_read(tmp_path: Path) -> None:
    lab, thread = Lab(tmp_path), ByHand()
    await bring(lab, "1")
    it = following(lab, thread, at_once_max_bytes=0)
    first = it.current()
    assert ids(first) == {"1"} and not thread.waiting, "at the start there is nothing else to give"
    await bring(lab, "1", "2")
    assert all(it.current() is first for _ in range(3)) and len(thread.waiting) == 1
    thread.go()
    second = it.current()
    assert ids(second) == {"1", "2"} and it.current() is second and not thread.waiting
    assert {"listed", "catalogue", "mark", "_by_id"} <= vars(second).keys(), "nothing is left to the first who asks"


async def test_what_comes_while_one_is_read_comes_next(tmp_path: Path) -> None:
    lab, thread = Lab(tmp_path), ByHand()
    await bring(lab, "1")
    it = following(lab, thread, at_once_max_bytes=0)
    it.current()
    await bring(lab, "1", "2")
    it.current()
    thread.go()
    await bring(lab, "3")
    assert ids(it.current()) == {"1", "2"}
    assert ids(it.current()) == {"1", "2"} and len(thread.waiting) == 1
    thread.go()
    assert ids(it.current()) == {"3"}


async def test_a_small_snapshot_is_there_at_once(tmp_path: Path) -> None:
    lab, thread = Lab(tmp_path), ByHand()
    await bring(lab, "1", "2")
    it = following(lab, thread)
    it.current()
    await bring(lab, "2")
    assert ids(it.current()) == {"2"} and not thread.waiting


@pytest.mark.parametrize("at_once_max_bytes", [0, 10**6])
async def test_what_was_read_by_another_user_of_the_store_is_seen(tmp_path: Path, at_once_max_bytes: int) -> None:
    """As in `serve`, where the uplink activates what it brought."""
    lab, thread, store = Lab(tmp_path), ByHand(), Store(tmp_path / "edge")
    await bring(lab, "1")
    it = Following(CatalogReader(store, lab.judged), FakeClock(NOW), thread=thread, at_once_max_bytes=at_once_max_bytes)
    assert ids(it.current()) == {"1"}
    await bring(lab, "1", "2")
    assert store.active() is not None and store.is_read()
    it.current()
    for run in thread.waiting:
        run()
    thread.waiting.clear()
    assert ids(it.current()) == {"1", "2"} and not thread.waiting
    assert it.current() is it.current()


async def test_what_expires_is_worked_out_beside_the_loop_too(tmp_path: Path) -> None:
    clock, thread = FakeClock(NOW), ByHand()
    lab = Lab(tmp_path, clock=clock)
    lab.publish(release(FLAGGED, LASTING, column=FIRST), column=FIRST)
    await lab.sync()
    it = following(lab, thread, at_once_max_bytes=0)
    assert ids(it.current()) == {"6", "7"}
    await clock.advance(7 * 86400)
    assert ids(it.current()) == {"6", "7"}
    thread.go()
    assert ids(it.current()) == {"6"}


async def test_damage_is_told_to_everybody_until_it_is_mended(tmp_path: Path) -> None:
    lab, thread = Lab(tmp_path), ByHand()
    await bring(lab, "1")
    it = following(lab, thread, at_once_max_bytes=0)
    it.current()
    await bring(lab, "2")
    (listing,) = [file for file in (lab.root / "edge" / "snapshots").rglob("2.json")]
    good = listing.read_bytes()
    listing.chmod(0o644)
    listing.write_bytes(b"{")
    it.current()
    thread.go()
    for _ in range(3):
        with pytest.raises(Corrupt):
            it.current()
    listing.write_bytes(good)
    assert ids(it.current()) == {"2"} and not thread.waiting


async def test_a_thread_of_its_own_reads_and_a_change_is_found_though_nobody_asks(tmp_path: Path) -> None:
    lab, clock, where = Lab(tmp_path), FakeClock(NOW), []

    class Told(CatalogReader):
        def current(self) -> CatalogView:
            where.append(threading.current_thread().name)
            return super().current()

    await bring(lab, "1")
    it = Following(Told(Store(lab.root / "edge"), lab.judged), clock, at_once_max_bytes=0)
    it.current()
    await bring(lab, "2")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(it.run(lambda: None))
        await settle()
        while len(where) < 2:  # noqa: ASYNC110 - the thread tells nobody
            await asyncio.sleep(0.001)
        running.cancel()
    while ids(it.current()) != {"2"}:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert [name.split("_")[0] for name in where] == ["MainThread", "catalogue"]
