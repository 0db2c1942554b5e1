"""Trying again, counting and capping, over real sockets and with a clock that only the test moves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any, TypeVar

import pytest

from runtime.clock import FakeClock
from sync import Corrupt, Missing, SyncError, Unreachable
from sync.pacing import Windows
from sync.road import NoRanges
from sync.road.answers import SKIP_MAX_BYTES
from sync.road.http import HttpSource
from sync.road.metered import Meter, Metered, Tally
from sync.road.retrying import QUICK_MIN_BYTES, Retrying, RetryPolicy
from sync.road.throttle import Throttle
from tests.unit.test_road_http import DATA, PACK, Asked, good, part, taken, wire

T = TypeVar("T")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


async def driven(clock: FakeClock, job: Coroutine[Any, Any, T], *, step_s: float = 0.25) -> T:
    task = asyncio.ensure_future(job)
    while not task.done():
        await asyncio.sleep(0.001)  # the sockets are real
        await clock.advance(step_s)
    return await task


async def busy(asked: Asked, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    return True


async def send(asked: Asked, writer: asyncio.StreamWriter, length: int) -> bool:
    """So much of what was asked for, then the end of the connection."""
    writer.write(part(asked) + DATA[asked.start : min(asked.stop, asked.start + length)])
    await writer.drain()
    return False


# -- Trying again ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
async def test_any_number_of_cuts_costs_nothing_but_time(seed: int) -> None:
    chance = random.Random(seed)

    async def cut(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        return await send(asked, writer, chance.randrange(1, 300_000))

    clock, body, moved = FakeClock(NOW), bytearray(), []
    async with wire(cut) as (server, inner):
        source = Retrying(inner, clock, RetryPolicy(attempts=2))
        await driven(clock, source.read(PACK, 0, len(DATA), body.extend, received=moved.append))
    assert bytes(body) == DATA and sum(moved) == len(DATA)
    assert len(server.asked) > 10
    for before, after in pairwise(server.asked):
        assert before.start < after.start and after.stop == len(DATA)
    short = sum(after.start - before.start < QUICK_MIN_BYTES for before, after in pairwise(server.asked))
    assert 0 < short < len(server.asked) - 1
    assert short <= clock.monotonic() <= 3 * short  # pauses of one to two seconds, none where the line did its best


async def test_only_attempts_that_bring_nothing_count() -> None:
    turn = 0

    async def now_and_then(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        nonlocal turn
        turn += 1
        return await (send(asked, writer, 400_000) if turn % 3 == 0 else busy(asked, writer))

    clock = FakeClock(NOW)
    async with wire(now_and_then) as (server, inner):
        assert await driven(clock, taken(Retrying(inner, clock, RetryPolicy(attempts=3)), 0, len(DATA))) == DATA
        assert len(server.asked) == 24
        turn = 0
        with pytest.raises(Unreachable, match="503"):
            await driven(clock, taken(Retrying(inner, clock, RetryPolicy(attempts=2)), 0, len(DATA)))
        assert len(server.asked) == 26


async def test_pauses_grow_between_attempts_in_vain() -> None:
    clock = FakeClock(NOW)
    for job in ("read", "fetch"):
        began = clock.monotonic()
        async with wire(busy) as (server, inner):
            source = Retrying(inner, clock, RetryPolicy(attempts=4, edge_id="e"))
            with pytest.raises(Unreachable, match="503"):
                if job == "read":
                    await driven(clock, taken(source, 0, 10))
                else:
                    await driven(clock, source.fetch(PACK, limit_bytes=10, received=lambda n: None))
        assert len(server.asked) == 4
        assert 1 + 2 + 4 <= clock.monotonic() - began <= 2 + 4 + 8 + 3


async def test_a_whole_file_is_fetched_again_from_its_start() -> None:
    turn = 0

    async def once_cut(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        nonlocal turn
        turn += 1
        if turn > 1:
            return await good(asked, writer)
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(DATA)}\r\n\r\n".encode() + DATA[:1000])
        await writer.drain()
        return False

    clock, moved = FakeClock(NOW), []
    async with wire(once_cut) as (_, inner):
        source = Retrying(inner, clock, RetryPolicy())
        assert await driven(clock, source.fetch(PACK, limit_bytes=len(DATA), received=moved.append)) == DATA
    assert sum(moved) == len(DATA) + 1000


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ("404 Not Found", Missing),
        ("416 Range Not Satisfiable", Missing),
        ("206 Partial Content\r\nContent-Range: bytes 0-5/6", Corrupt),
        ("200 OK\r\nContent-Encoding: gzip", Corrupt),
        ("200 OK", NoRanges),
    ],
)
async def test_what_is_missing_or_wrong_is_not_asked_for_again(head: str, kind: type[SyncError]) -> None:
    async def no(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        writer.write(f"HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        return True

    async with wire(no) as (server, inner):
        source = Retrying(inner, FakeClock(NOW), RetryPolicy())
        with pytest.raises(kind):
            await taken(source, SKIP_MAX_BYTES + 1, SKIP_MAX_BYTES + 2)
    assert len(server.asked) == 1


async def test_a_break_behind_the_last_byte_is_none() -> None:
    async def no_end(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        writer.write(part(asked, length=-1, extra="Transfer-Encoding: chunked\r\n"))
        writer.write(b"3e8\r\n" + DATA[:1000] + b"\r\n")
        await writer.drain()
        return False

    async with wire(no_end) as (server, inner):
        with pytest.raises(Unreachable):
            await taken(inner, 0, 1000)
        assert await taken(Retrying(inner, FakeClock(NOW), RetryPolicy()), 0, 1000) == DATA[:1000]
    assert len(server.asked) == 2


def test_edges_do_not_try_again_in_step() -> None:
    policies = [RetryPolicy(edge_id=f"edge-{n}") for n in range(100)]
    pauses = [policy.pause_s("x", 1) for policy in policies]
    assert pauses == [policy.pause_s("x", 1) for policy in policies]
    assert 1 <= min(pauses) < 1.1 and 1.9 < max(pauses) <= 2
    assert RetryPolicy(scale=0.01).pause_s("x", 20) <= 3


# -- Counting -------------------------------------------------------------------------------------------------------


async def test_what_is_counted_is_what_was_sent() -> None:
    turn = 0

    async def once_cut(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        nonlocal turn
        turn += 1
        return await (send(asked, writer, 700) if turn == 1 else good(asked, writer))

    clock = FakeClock(NOW)
    meter = Meter(clock)
    async with wire(once_cut) as (server, inner):
        source = Retrying(Metered(inner, meter), clock, RetryPolicy())
        await driven(clock, taken(source, 0, 1000))
        await source.fetch("metadata/timestamp.json", limit_bytes=len(DATA), received=lambda n: None)
        await taken(Metered(inner, meter, label="main"), 0, 5)
    assert meter.tallies == {"packs": Tally(2, 1000), "metadata": Tally(1, len(DATA)), "main": Tally(1, 5)}
    assert (meter.requests, meter.body_bytes) == (len(server.asked), 1000 + len(DATA) + 5)


async def test_speed_is_that_of_the_line_under_all_transfers_and_not_of_the_pauses_between_them() -> None:
    clock = FakeClock(NOW)
    meter = Meter(clock)
    assert meter.speed.bps is None
    for _ in range(5):
        meter.begin("a")
        meter.begin("b")
        for _ in range(20):
            await clock.advance(0.1)
            meter.count("a", 5_000)
            meter.count("b", 7_000)
        meter.end()
        meter.end()
        await clock.advance(600)
    assert meter.speed.bps == pytest.approx(12_000 * 8 * 10, rel=0.15)


async def test_a_transfer_that_begins_beside_another_does_not_hide_its_time() -> None:
    clock = FakeClock(NOW)
    meter = Meter(clock)
    meter.begin("a")
    for _ in range(100):
        await clock.advance(0.5)
        meter.begin("b")
        meter.count("b", 10_000)
        meter.end()
    meter.end()
    assert meter.speed.bps == pytest.approx(160_000, rel=0.01)


async def test_the_cap_is_not_taken_for_the_speed_of_the_line() -> None:
    clock, cap = FakeClock(NOW), None
    gate = Throttle(clock, lambda: cap)
    meter = Meter(clock, gate=gate)

    async def transfer(bytes_per_s: int) -> None:
        meter.begin("a")
        for _ in range(100):
            await clock.advance(1)
            meter.count("a", bytes_per_s)
        meter.end()

    await transfer(1_000_000)
    cap = 256_000
    await transfer(32_000)
    assert meter.speed.bps == pytest.approx(8e6)


# -- Capping --------------------------------------------------------------------------------------------------------


async def flood(asked: Asked, writer: asyncio.StreamWriter) -> bool:
    return await good(asked, writer)


@pytest.mark.parametrize("cap_bps", [64_000, 256_000, 2_000_000])
async def test_two_transfers_together_keep_to_the_cap_over_any_ten_seconds(cap_bps: int) -> None:
    clock = FakeClock(NOW)
    gate = Throttle(clock, lambda: cap_bps)
    came: list[tuple[float, int]] = []
    length = min(len(DATA) // 2, cap_bps // 8 * 20)

    async def both(source: HttpSource) -> None:
        async with asyncio.TaskGroup() as group:
            for start in (0, length):
                group.create_task(
                    source.read(PACK, start, start + length, lambda piece: came.append((clock.monotonic(), len(piece))))
                )

    async with wire(flood) as (server, _):
        source = HttpSource(server.url, gate=gate)
        await driven(clock, both(source), step_s=0.05)
        await source.close()
    assert sum(n for _, n in came) == 2 * length
    allowed = cap_bps / 8 * 10
    last = came[-1][0]
    for start in range(int(last) - 10):
        moved = sum(n for moment, n in came if start <= moment < start + 10)
        assert 0.9 * allowed <= moved <= 1.1 * allowed, start
    assert last == pytest.approx(2 * length * 8 / cap_bps, rel=0.1)


async def test_a_cap_that_changes_counts_for_what_is_under_way() -> None:
    clock, cap = FakeClock(NOW), 80_000.0
    body = bytearray()
    async with wire(flood) as (server, _):
        source = HttpSource(server.url, gate=Throttle(clock, lambda: cap))
        job = asyncio.ensure_future(source.read(PACK, 0, len(DATA), body.extend))

        async def run(seconds: int) -> int:
            before = len(body)
            for _ in range(seconds * 10):
                await asyncio.sleep(0.001)
                await clock.advance(0.1)
            return len(body) - before

        await run(5)
        assert 90_000 <= await run(10) <= 110_000
        cap = 400_000
        await run(2)
        assert 450_000 <= await run(10) <= 550_000
        cap = 0
        await run(2)
        assert await run(50) == 0
        cap = 1e9
        async with asyncio.timeout(10):
            while not job.done():
                await run(1)
        await job
        await source.close()
    assert bytes(body) == DATA


async def test_while_nothing_may_move_nothing_is_even_asked_for() -> None:
    clock = FakeClock(datetime(2026, 3, 1, 13, 0, tzinfo=UTC))  # 21:00 there
    gate = Throttle.by_windows(clock, Windows.parse("22:00-06:00 full, else off"), timezone(timedelta(hours=8)))
    assert gate.rate_bps == 0
    async with wire(flood) as (server, _):
        source = HttpSource(server.url, gate=gate)
        job = asyncio.ensure_future(taken(source, 0, len(DATA)))
        for _ in range(59):
            await asyncio.sleep(0.001)
            await clock.advance(60)
        assert not server.asked
        await clock.advance(61)
        assert gate.rate_bps is None
        assert await job == DATA
        await source.close()


async def test_a_small_answer_after_a_pause_is_not_held_up() -> None:
    clock = FakeClock(NOW)
    async with wire(flood) as (server, _):
        source = HttpSource(server.url, gate=Throttle(clock, lambda: 8_000))
        async with asyncio.timeout(5):
            assert await taken(source, 0, 4000) == DATA[:4000]  # nobody moves the clock
        await source.close()
