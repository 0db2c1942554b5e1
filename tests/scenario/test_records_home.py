"""Records come home over a line that breaks: exactly once, through kills, lost answers and full disks."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from central_platform.intake.ledger import Ledger
from central_platform.site import records as site_records
from central_platform.site.records import RecordsDesk
from edge_server.records.spool import Spool, SpoolFull
from edge_server.uplink.push import NotDelivered, Pusher, deliver
from runtime.clock import FakeClock, SystemClock, settle
from tests.mounts import mounted
from tests.records_lab import T0, a_beat, a_fault, a_roster, a_session, a_spool, an_answer, fill
from wire.records import read_line


class Central:
    """The real route on a real port, with a line that loses every so many answers."""

    def __init__(self, root: Path, *, lose: int = 0) -> None:
        self.ledger, self._lose, self.asked = Ledger(root), lose, 0
        self._desk = RecordsDesk(self.ledger, a_roster(root), SystemClock())
        self.base = ""

    async def __aenter__(self) -> Central:
        @web.middleware
        async def line(request: web.Request, handler: object) -> web.StreamResponse:
            self.asked += 1
            answer: web.StreamResponse = await handler(request)  # type: ignore[operator]
            if self._lose and self.asked % self._lose:
                assert request.transport is not None
                request.transport.abort()
            return answer

        app = web.Application(middlewares=[line])
        app.add_routes(self._desk.routes())
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.base = f"http://{host}:{port}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        self.ledger.close()


async def test_thirty_days_offline_then_home_exactly_once(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    for day in range(30):
        at = T0 + timedelta(days=day)
        fill(spool, [a_session(day * 10 + n, at) for n in range(7 if day % 3 else 6)], at)
        fill(spool, [a_fault(day, at), an_answer(day * 2), an_answer(day * 2 + 1)][: 3 if day < 20 else 2], at)
    spool.close()
    (tmp_path / "central").mkdir()
    async with Central(tmp_path / "central", lose=3) as central, aiohttp.ClientSession() as session:
        for _ in range(100):
            spool = a_spool(tmp_path)  # the power fails after each attempt
            try:
                done = await deliver(session, central.base, spool)
            except NotDelivered:
                continue
            finally:
                spool.close()
            assert done.refused == ""
            break
        (state,) = central.ledger.states()
        assert state.kinds == {"answer": 50, "fault": 30, "session": 200}
        assert state.doubts == []
        assert central.asked > 2
    assert a_spool(tmp_path).state().waiting == 0


async def test_an_edge_that_is_not_entered_is_told_so_and_loses_nothing(tmp_path: Path) -> None:
    spool = a_spool(tmp_path, edge="nobody")
    fill(spool, [a_session(1)])
    (tmp_path / "central").mkdir()
    async with Central(tmp_path / "central") as central, aiohttp.ClientSession() as session:
        done = await deliver(session, central.base, spool)
    assert (done.home, "edge add" in done.refused, spool.state().waiting) == (0, True, 1)


async def test_bodies_that_are_too_long_or_no_records_harm_nobody(tmp_path: Path) -> None:
    async with Central(tmp_path) as central, aiohttp.ClientSession() as session:
        url = central.base + "records/v1"
        async with session.post(url, data=b"x" * (site_records.DELIVERY_MAX_BYTES + 1)) as answer:
            assert answer.status == 413

        async def endless() -> object:
            for _ in range(40):
                yield b"y" * 65536

        async with session.post(url, data=endless()) as answer:
            assert answer.status == 413
        async with session.post(url, data=b"\n\n{}\nhello\n" + b"0" * 70_000) as answer:
            assert (answer.status, await answer.json()) == (200, {"format": 1, "held": []})
        assert [count for _, _, count, _ in central.ledger.refused()] == [3]


async def test_the_pusher_waits_longer_after_each_failure_and_delivers_when_the_line_is_back(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    fill(spool, [a_session(1)])
    clock = FakeClock(T0)
    (tmp_path / "central").mkdir()
    async with Central(tmp_path / "central") as central:
        pusher = Pusher(spool, "http://127.0.0.1:1/", clock, every_s=60.0)
        task = asyncio.ensure_future(pusher.run(lambda: None))
        try:
            await until(lambda: "127.0.0.1:1" in spool.state().failure and clock._callbacks)
            pusher._base = central.base
            await clock.advance(59.0)
            await settle()
            assert spool.state().waiting == 1
            await clock.advance(2.0)
            await until(lambda: spool.state().waiting == 0 and not spool.state().failure)
        finally:
            task.cancel()
            await asyncio.wait([task])


async def until(said: object, *, within_s: float = 10.0) -> None:
    for _ in range(int(within_s / 0.02)):
        if said():  # type: ignore[operator]
            return
        await asyncio.sleep(0.02)
    pytest.fail("it did not come about")


WRITER = """
import sys
from pathlib import Path
from tests.records_lab import T0, a_session, a_spool
spool = a_spool(Path(sys.argv[1]))
n = spool.state().last_seq
while True:
    n += 1
    assert spool.append(a_session(n), station="v", now=T0, sure=True) == n
    print(n, flush=True)
"""


def test_what_was_acknowledged_survives_kill(tmp_path: Path) -> None:
    acknowledged = 0
    for _ in range(12):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(15):
            acknowledged = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        acknowledged = max([acknowledged, *(int(each) for each in process.stdout.read().split("\n")[:-1] if each)])
        process.wait()
        process.stdout.close()
        spool = a_spool(tmp_path)
        read = [read_line(each) for each in spool.waiting(max_bytes=1 << 30)]
        spool.close()
        assert [each.record.seq for each in read] == list(range(1, len(read) + 1))
        assert [each.record.prev for each in read] == ["", *(each.digest for each in read[:-1])]
        assert len(read) - acknowledged in (0, 1), "one may be on the disk that was not told"


def test_a_full_disk_is_said_and_what_is_recorded_stays(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=600k", "none") as disk:
        spool: Spool = a_spool(disk)
        noted = 0
        with pytest.raises(SpoolFull, match="磁盘已满"):
            for _ in range(5000):
                spool.append(a_session(noted), station="v", now=T0, sure=True)
                noted += 1
        assert spool.state().last_seq == noted > 0
        assert len(spool.waiting(max_bytes=1 << 30)) == noted
        spool.close()
        spool = a_spool(disk)
        assert spool.state().last_seq == noted
        with pytest.raises(SpoolFull):
            for _ in range(100):
                spool.append(a_beat(), station="", now=T0, sure=True)
        spool.close()
