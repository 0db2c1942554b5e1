"""Mirrors that are silent, incomplete, limited or lying, over real sockets; and who pays for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import pytest

from runtime.clock import FakeClock
from sync import Corrupt, Missing, TooLong, Unreachable
from sync.road import NoRanges
from sync.road.answers import SKIP_MAX_BYTES
from sync.road.http import HttpSource
from sync.road.mirrors import DISPUTES_MAX, Mirrors
from sync.road.retrying import Retrying, RetryPolicy
from tests.unit.test_road_http import DATA, PACK, Asked, Script, Wire, good, part, taken, wire
from tests.unit.test_road_policies import busy, driven, send

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Group:
    def __init__(self, mirrors: Mirrors, servers: list[Wire], clock: FakeClock) -> None:
        self.mirrors, self.servers, self.clock = mirrors, servers, clock

    @property
    def asked(self) -> list[int]:
        return [len(server.asked) for server in self.servers]

    @property
    def dropped(self) -> list[bool]:
        return [bool(mirror.dropped) for mirror in self.mirrors.standing]

    async def fetch(self, name: str = PACK, limit_bytes: int = len(DATA)) -> bytes:
        return await self.mirrors.fetch(name, limit_bytes=limit_bytes, received=lambda n: None)


@asynccontextmanager
async def group(*scripts: Script) -> AsyncIterator[Group]:
    clock = FakeClock(NOW)
    async with AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(wire(script)) for script in scripts]
        yield Group(Mirrors([source for _, source in pairs], clock), [server for server, _ in pairs], clock)


async def absent(asked: Asked, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    return True


async def no_ranges(asked: Asked, writer: asyncio.StreamWriter) -> bool:
    asked.ranged = False
    return await good(asked, writer)


async def other_part(asked: Asked, writer: asyncio.StreamWriter) -> bool:
    writer.write(part(asked, said=f"bytes 0-{asked.stop - asked.start - 1}/{len(DATA)}") + DATA[:1000])
    await writer.drain()
    return False


def wrong(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)


async def lies(asked: Asked, writer: asyncio.StreamWriter) -> bool:
    writer.write(part(asked) + wrong(DATA[asked.start : asked.stop]))
    await writer.drain()
    return True


def cut_after(length: int) -> Script:
    async def script(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        return await send(asked, writer, length)

    return script


# -- Silence --------------------------------------------------------------------------------------------------------


async def test_a_silent_mirror_rests_longer_and_longer_and_comes_back() -> None:
    async with group(busy, good) as it:
        rests = []
        for _ in range(12):
            before = len(it.servers[0].asked)
            assert await taken(it.mirrors, 5, 10) == DATA[5:10]
            assert len(it.servers[0].asked) == before + 1
            rests.append(it.mirrors.standing[0].rests_until_s - it.clock.monotonic())
            for _ in range(3):  # it is left in peace
                assert await taken(it.mirrors, 5, 10) == DATA[5:10]
            assert len(it.servers[0].asked) == before + 1
            await it.clock.advance(rests[-1])
        assert [1 <= rests[0] <= 2, 2 <= rests[1] <= 4, 4 <= rests[2] <= 8, 150 <= rests[-1] <= 300] == [True] * 4
        it.servers[0].script = good
        asked = it.asked
        assert await taken(it.mirrors, 5, 10) == DATA[5:10]
        assert it.asked == [asked[0] + 1, asked[1]]
        assert it.mirrors.standing[0].failures == 0


@pytest.mark.parametrize("seed", range(3))
async def test_the_next_goes_on_at_the_exact_byte(seed: int) -> None:
    chance = random.Random(seed)

    async def cut(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        return await send(asked, writer, chance.randrange(1, 250_000))

    body, moved = bytearray(), []
    async with group(cut, cut, cut) as it:
        source = Retrying(it.mirrors, it.clock, RetryPolicy())
        await driven(it.clock, source.read(PACK, 0, len(DATA), body.extend, received=moved.append))
        assert all(n > 3 for n in it.asked)
        starts = sorted(asked.start for server in it.servers for asked in server.asked)
        assert len(set(starts)) == len(starts)
        assert sum(mirror.body_bytes for mirror in it.mirrors.standing) == len(DATA)
    assert bytes(body) == DATA and sum(moved) == len(DATA)


async def test_when_all_rest_all_are_asked() -> None:
    async with group(busy, busy) as it:
        for n in range(1, 4):
            with pytest.raises(Unreachable, match="503"):
                await taken(it.mirrors, 0, 1)
            assert it.asked == [n, n]
        it.servers[1].script = good
        assert await taken(it.mirrors, 0, 1) == DATA[:1]


async def test_a_dead_mirror_does_not_hide_that_a_file_is_not_there() -> None:
    async with group(busy, absent) as it:
        for _ in range(2):
            with pytest.raises(Missing):
                await it.fetch()


async def test_of_what_must_be_somewhere_silence_means_later_and_not_never() -> None:
    async with group(busy, absent) as it:
        for _ in range(2):
            with pytest.raises(Unreachable) as caught:
                await taken(it.mirrors, 0, 10)
            assert not isinstance(caught.value, Missing)
        it.servers[0].script = good
        source = Retrying(it.mirrors, it.clock, RetryPolicy())
        assert await driven(it.clock, taken(source, 0, 10)) == DATA[:10]


async def test_the_silence_of_one_counts_also_while_it_rests() -> None:
    async with group(busy, absent) as it:
        with pytest.raises(Unreachable):
            await taken(it.mirrors, 0, 10)
        with pytest.raises(Unreachable) as caught:
            await it.mirrors.read("packs/other", 0, 10, lambda piece: None)
        assert not isinstance(caught.value, Missing) and it.asked == [1, 2]
        await it.clock.advance(10)
        it.servers[0].script = absent
        with pytest.raises(Missing):
            await it.mirrors.read("packs/third", 0, 10, lambda piece: None)


async def test_who_breaks_off_but_brings_something_rests_shortly() -> None:
    async with group(cut_after(10)) as it:
        for _ in range(6):
            with pytest.raises(Unreachable):
                await taken(it.mirrors, 0, 100)
            assert it.mirrors.standing[0].rests_until_s - it.clock.monotonic() <= 2
            await it.clock.advance(2)


async def test_nobody_is_blamed_for_a_name_that_cannot_be() -> None:
    async with group(good) as it:
        for job in (it.fetch("../x"), it.mirrors.read("../x", 0, 1, lambda piece: None)):
            with pytest.raises(Corrupt):
                await job
        assert it.dropped == [False] and it.asked == [0]


# -- What a mirror does not have or cannot do -----------------------------------------------------------------------


async def test_who_lacks_a_pack_is_asked_once_for_it() -> None:
    async with group(absent, good) as it:
        for n in range(4):
            assert await taken(it.mirrors, n, n + 10) == DATA[n : n + 10]
        assert it.asked == [1, 4] and it.dropped == [False, False]
        it.mirrors.forgive()
        assert await taken(it.mirrors, 0, 10) == DATA[:10]
        assert it.asked == [2, 5]
    async with group(absent, absent) as it:
        for _ in range(2):
            with pytest.raises(Missing):
                await taken(it.mirrors, 0, 10)


async def test_who_has_no_ranges_serves_whole_files_and_beginnings() -> None:
    far = SKIP_MAX_BYTES + 1

    async def anything(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        writer.write(
            part(asked, said=f"bytes {asked.start}-{asked.stop - 1}/{10**9}") + DATA[: asked.stop - asked.start]
        )
        await writer.drain()
        return True

    async with group(no_ranges, anything) as it:
        assert await taken(it.mirrors, 1000, 2000) == DATA[1000:2000]
        assert it.asked == [1, 0]
        for _ in range(3):
            assert await taken(it.mirrors, far, far + 10) == DATA[:10]
        assert it.asked == [2, 3]
        assert await it.fetch() == DATA
        assert it.asked == [3, 3] and it.dropped == [False, False]
    async with group(no_ranges) as it:
        for _ in range(2):
            with pytest.raises(NoRanges):
                await taken(it.mirrors, far, far + 10)
        assert it.asked == [1]


# -- Lies -----------------------------------------------------------------------------------------------------------


async def test_who_answers_another_part_is_out() -> None:
    async with group(other_part, good) as it:
        for n in range(3):
            assert await taken(it.mirrors, 500, 1500) == DATA[500:1500]
            assert it.asked == [1, n + 1]
        assert it.dropped == [True, False]
        assert "Content-Range" in it.mirrors.standing[0].dropped
        it.mirrors.forgive()
        assert await taken(it.mirrors, 500, 1500) == DATA[500:1500]
        assert it.asked == [2, 4]


async def test_who_begins_well_and_then_sends_too_much_has_its_beginning_used() -> None:
    async def more(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        size = asked.stop - asked.start
        writer.write(part(asked, length=-1) + DATA[asked.start : asked.stop] + b"x" * size)
        await writer.drain()
        return False

    async with group(more, good) as it:
        assert await taken(it.mirrors, 0, 1_000_000) == DATA[:1_000_000]
        assert it.dropped == [True, False] and it.asked == [1, 0]


async def test_who_served_wrong_content_is_out_and_the_next_goes_on() -> None:
    async with group(lies, lies, good) as it:
        body = bytearray()
        while len(body) < 300_000:
            piece = await taken(it.mirrors, len(body), len(body) + 100_000)
            if piece == DATA[len(body) : len(body) + 100_000]:
                body += piece
            else:
                assert it.mirrors.reject(PACK, len(body), len(body) + 100_000)
        assert bytes(body) == DATA[:300_000]
        assert it.dropped == [True, True, False] and it.asked == [1, 1, 3]


async def test_a_sink_may_find_the_lie_while_it_comes() -> None:
    async with group(lies, good) as it:
        body = bytearray()

        def check(piece: bytes) -> None:
            if piece != DATA[len(body) : len(body) + len(piece)]:
                assert it.mirrors.reject(PACK, len(body), len(body) + len(piece))
                raise Corrupt("hash")
            body.extend(piece)

        with pytest.raises(Corrupt, match="hash"):
            await it.mirrors.read(PACK, 0, len(DATA), check)
        assert it.dropped == [True, False] and not body
        await it.mirrors.read(PACK, 0, len(DATA), check)
        assert bytes(body) == DATA


async def test_who_sends_too_much_of_a_whole_file_is_out() -> None:
    async with group(good, absent) as it:
        with pytest.raises(Missing):
            await it.fetch(limit_bytes=5)
        assert it.dropped == [True, False]
    async with group(good, busy) as it:
        with pytest.raises(Unreachable):
            await it.fetch(limit_bytes=5)
    async with group(good) as it:
        with pytest.raises(TooLong):
            await it.fetch(limit_bytes=5)
        for job in (it.fetch(), taken(it.mirrors, 0, 5)):
            with pytest.raises(Corrupt, match=r"no mirror is left.*5 are allowed"):
                await job
        assert not it.mirrors.reject(PACK)


async def test_a_whole_file_that_proves_wrong() -> None:
    async with group(good, good) as it:
        await it.fetch()
        assert it.mirrors.reject(PACK)
        assert it.dropped == [True, False]
        await it.fetch()
        assert not it.mirrors.reject(PACK)
        assert it.asked == [1, 1]


async def test_nobody_is_blamed_for_what_nobody_served() -> None:
    async with group(good, good) as it:
        await taken(it.mirrors, 0, 100)
        assert not it.mirrors.reject(PACK, 100, 200)
        assert not it.mirrors.reject("packs/other")
        assert it.dropped == [False, False]


async def test_when_two_served_it_the_one_that_breaks_off_is_out_after_some_times() -> None:
    async def lies_and_breaks_off(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        writer.write(part(asked) + wrong(DATA[asked.start : asked.start + 10]))
        await writer.drain()
        return False

    async with group(lies_and_breaks_off, good) as it:
        for n in range(1, DISPUTES_MAX + 1):
            assert await taken(it.mirrors, 0, 100) == wrong(DATA[:10]) + DATA[10:100]
            assert it.dropped == [False, False]
            assert it.mirrors.reject(PACK, 0, 100)
            assert it.mirrors.standing[0].disputes == n
            await it.clock.advance(1000)
        assert it.dropped == [True, False]
        assert await taken(it.mirrors, 0, 100) == DATA[:100]


async def test_only_the_part_that_proves_wrong_tells_who_lied() -> None:
    async with group(cut_after(60), lies) as it:
        await taken(it.mirrors, 0, 100)
        assert it.mirrors.reject(PACK, 60, 100)
        assert it.dropped == [False, True]
    async with group(cut_after(60), good) as it:
        await taken(it.mirrors, 0, 100)
        assert it.mirrors.reject(PACK, 10, 20)
        assert it.dropped == [True, False]
    async with group(lies, good) as it:  # what was read again counts by who served it last
        await taken(it.mirrors, 0, 100)
        it.servers[0].script = busy
        await taken(it.mirrors, 40, 60)
        assert it.mirrors.reject(PACK, 45, 50)
        assert it.dropped == [False, True]


async def test_two_at_a_time_use_both_connections_of_the_first() -> None:
    async def wait_for_the_other(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        if it.servers[0].busy == 2:
            both.set()
        await both.wait()
        return await good(asked, writer)

    both = asyncio.Event()
    async with group(wait_for_the_other, good) as it:
        parts = await asyncio.gather(*(taken(it.mirrors, n * 10, n * 10 + 10) for n in range(6)))
        assert b"".join(parts) == DATA[:60]
        assert it.asked == [6, 0]
        assert [mirror.requests for mirror in it.mirrors.standing] == [6, 0]


def test_no_mirror_at_all() -> None:
    with pytest.raises(ValueError, match="source"):
        Mirrors([], FakeClock(NOW))


def test_mirrors_are_named() -> None:
    assert str(Mirrors([HttpSource("http://a/x/"), HttpSource("http://b")], FakeClock(NOW))) == "http://a/x/, http://b/"
