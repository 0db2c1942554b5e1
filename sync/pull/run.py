"""Bringing objects home: looking for units, copying, fetching, writing and committing, all at the same time.

Five kinds of tasks share a board of wishes. While the line brings units, those that are held already are copied, and
the next objects are looked at before the requests run out: the line should never wait for the disk, nor for a recipe.
Shared state is changed in the event loop only; reading, hashing and writing happen in threads.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice

from runtime.clock import Clock
from sync import Corrupt, Missing, SyncError
from sync.holding import Holding, Incomplete, Part
from sync.listing import NamedFile
from sync.patch import expand
from sync.pull.begun import Begun, Key
from sync.pull.board import Board, Job, Taker
from sync.pull.catch import Catch
from sync.pull.documents import Documents, Judged
from sync.pull.guide import CARDS_AHEAD, Guide
from sync.pull.seeds import Seeds
from sync.pull.tasks import Bell, together
from sync.pull.watch import Watch
from sync.recipe import UNIT_MAX_BYTES
from sync.road import NoRanges, Source
from sync.store.threads import in_thread
from sync.want import WantedUnit

READERS = 2
"""Requests at a time: while one answer comes, the next is asked for."""
COMMITS_AT_ONCE = 4
"""File systems join flushes that are asked for at the same time; thousands of small objects take a fourth of it."""
OBJECTS_AT_ONCE = 128
"""Open parts; each takes two file descriptors."""
RECIPES_AT_ONCE_BYTES = 24 * 1024 * 1024
"""Roughly, of the recipes of open parts; a single larger one is let through."""
FIRST_BATCH_BYTES = 16 * 1024 * 1024
"""So many bytes are looked for before the first request goes out."""
BATCH_BYTES = 64 * 1024 * 1024
LOW_WATER_BYTES = 16 * 1024 * 1024
"""When less than this is asked for, the next batch is looked at."""
LANDING_MAX_BYTES = 8 * 1024 * 1024
"""No new request while so much that came waits to be written."""
DURABLE_BYTES = 32 * 1024 * 1024
DURABLE_S = 5.0
"""What was written is made to survive a power cut when it is so much or so old."""
ROUNDS_MAX = 3
"""So often an object may turn out to lack what was written into it."""

Landed = tuple[WantedUnit, bytes, list[Taker]]


class Run:
    """One pull's objects."""

    def __init__(
        self,
        *,
        source: Source,
        judge: Judged | None,
        holding: Holding,
        documents: Documents,
        guide: Guide,
        clock: Clock,
        begun: Begun,
        watch: Watch,
        report: Callable[[int, int], None],
    ) -> None:
        """``report`` hears of objects that are done and of bytes that came (or were lost again: less than 0)."""
        self._source, self._judge, self._holding = source, judge, holding
        self._documents, self._guide, self._clock, self._report = documents, guide, clock, report
        self._begun, self._watch = begun, watch
        self._board, self._bell, self._seeds = Board(), Bell(), Seeds(holding)
        self._todo: deque[NamedFile] = deque()
        self._parts: list[Part] = []
        self._jobs: set[Job] = set()
        self._to_copy: deque[Job] = deque()
        self._full: list[tuple[int, Job]] = []
        self._landing: deque[tuple[WantedUnit, bytes]] = deque()
        self._landing_bytes = 0
        self._spilling: deque[tuple[Key, int, bytes]] = deque()
        self._doubtful: set[bytes] = set()
        """Units of which a part came earlier."""
        self._dirty_bytes, self._dirty_since_s = 0, clock.monotonic()
        self._fresh_cards: set[Job] = set()
        self._left = self._number = 0
        self._is_flushing = False

    async def objects(self, todo: Sequence[NamedFile]) -> None:
        """Bring these objects into the holding, the first ones first.

        What came stays when this fails or is cancelled.

        Raises:
            Corrupt: a source gives wrong bytes and there is no other.
            NoSpace: the disk filled up.
            Unreachable: the source does not answer any more, or lacks a file (then: Missing).
            OSError: the disk fails.
        """
        self._todo.extend(todo)
        self._left = len(todo)
        if not todo:
            return
        await in_thread(self._begun.look)
        try:
            async with together() as group:
                group.create_task(self._admit(group))
                group.create_task(self._copy())
                group.create_task(self._land(group))
                for _ in range(COMMITS_AT_ONCE):
                    group.create_task(self._commit())
                for _ in range(READERS):
                    group.create_task(self._read())
        finally:
            await in_thread(self._put_down)

    @property
    def _is_done(self) -> bool:
        return not self._left

    # Looking for units

    async def _admit(self, group: asyncio.TaskGroup) -> None:
        job: Job | None = None
        batch_bytes = FIRST_BATCH_BYTES
        while job is not None or self._todo:
            going_on = job is not None
            await self._bell.until(lambda: self._is_low() and (going_on or self._has_room()))  # noqa: B023
            seen_bytes = 0
            while seen_bytes < batch_bytes and (job is not None or (self._todo and self._has_room())):
                if job is None:
                    file = self._todo.popleft()
                    self._guide.look_ahead(group, islice(self._todo, CARDS_AHEAD))
                    job = await self._begin(file)
                seen_bytes += await self._look_for_some(job, batch_bytes - seen_bytes)
                if not job.later:
                    job = None
                if self._board.unplanned_bytes and not self._board.has_request and self._guide.is_slow:
                    break
            self._board.plan()
            self._bell.ring()
            batch_bytes = BATCH_BYTES

    def _is_low(self) -> bool:
        return self._board.queued_bytes < LOW_WATER_BYTES

    def _has_room(self) -> bool:
        recipes = sum(len(job.part.recipe.skeleton) + 9 * len(job.part.recipe.run_length) for job in self._jobs)
        return not self._jobs or (len(self._jobs) < OBJECTS_AT_ONCE and recipes < RECIPES_AT_ONCE_BYTES)

    async def _begin(self, file: NamedFile) -> Job:
        way = await self._guide.way(file)
        opened: list[Part] = []

        def begin() -> list[int]:
            opened.append(self._holding.begin(way.recipe))
            self._parts.append(opened[0])
            self._watch.begun(opened[0], way)
            return opened[0].missing()

        missing = await in_thread(begin)
        self._number += 1
        job = Job(file, way, opened[0], self._number, later=deque(missing))
        self._jobs.add(job)
        self._seeds.add(job.part)
        self._count(job, job.part.held_bytes)
        return job

    async def _look_for_some(self, job: Job, most_bytes: int) -> int:
        """Look for the next units of an object; return how many bytes they have."""
        ordinals: list[int] = []
        seen_bytes = 0
        while job.later and seen_bytes < most_bytes:
            ordinals.append(job.later.popleft())
            seen_bytes += int(job.way.recipe.unit_length[ordinals[-1]])
        await self._look_for(job, ordinals)
        return seen_bytes

    async def _look_for(self, job: Job, ordinals: Sequence[int]) -> None:
        job.being_assigned = True
        recipe = job.way.recipe
        unexpected = [each for each in ordinals if not self._board.expects(recipe.unit_hash(each))]
        hashes = [recipe.unit_hash(each) for each in unexpected]
        places = await in_thread(self._seeds.find, hashes) if hashes else []
        held = {each for each, found in zip(unexpected, places, strict=True) if found}
        lost = set(unexpected) - held
        # What was expected may have come while we looked; then it is in an open part.
        held.update(each for each in ordinals if each not in lost and not self._board.expects(recipe.unit_hash(each)))
        job.copying += sorted(held)
        if held and job not in self._to_copy:
            self._to_copy.append(job)
        await self._want(job, [each for each in ordinals if each not in held])
        job.being_assigned = False
        self._settle(job)

    async def _want(self, job: Job, ordinals: Sequence[int]) -> None:
        homeless = self._board.want(job, ordinals)
        if homeless and not job.way.has_card:
            job.way.adopt(await self._documents.way_by_card(job.file))
            await in_thread(self._watch.begun, job.part, job.way)
            homeless = self._board.want(job, homeless)
        if homeless:
            raise Corrupt(f"nothing tells where {len(homeless)} units of {job.file.path!r} lie")

    # Copying

    async def _copy(self) -> None:
        while True:
            await self._bell.until(lambda: self._is_done or bool(self._to_copy))
            if self._is_done:
                return
            job = self._to_copy.popleft()
            ordinals, steps = list(job.copying), job.part.filling(self._seeds, list(job.copying))
            try:
                while (copied := await in_thread(next, steps, None)) is not None:
                    self._count(job, copied)
            finally:
                steps.close()
            job.being_assigned = True
            through = set(ordinals)
            job.copying = [each for each in job.copying if each not in through]
            if job.copying and job not in self._to_copy:
                self._to_copy.append(job)
            await self._want(job, [each for each in ordinals if not job.part.holds(each)])
            job.being_assigned = False
            if self._board.unplanned_bytes:
                self._board.plan()
                self._bell.ring()
            self._settle(job)

    # Fetching

    async def _read(self) -> None:
        while True:
            await self._bell.until(lambda: self._is_done or self._may_read())
            if self._is_done:
                return
            request = self._board.take()
            self._bell.ring()
            first = b""
            if self._begun.knows(request.units[0]):
                first = await in_thread(self._begun.take, request.units[0])
                self._doubtful.add(request.units[0].sha256)
            catch = Catch(request, first, self._begun, self._deliver, self._spill)
            try:
                await self._source.read(_pack_path(request.pack), catch.position, request.stop, catch)
            except NoRanges:
                raise
            except Missing as error:
                for unit in catch.rest:
                    if not await self._move(unit):
                        raise error from None
            finally:
                catch.put_down()

    def _may_read(self) -> bool:
        return self._board.has_request and self._landing_bytes < LANDING_MAX_BYTES

    def _deliver(self, unit: WantedUnit, stored: bytes) -> None:
        self._landing.append((unit, stored))
        self._landing_bytes += len(stored)
        self._bell.ring()

    def _spill(self, key: Key, position: int, data: bytes) -> None:
        self._spilling.append((key, position, data))
        self._bell.ring()

    async def _move(self, unit: WantedUnit) -> bool:
        """Look into the newest cards for another place of the unit, and wish it there."""
        for job, _ in self._board.takers(unit):
            if job not in self._fresh_cards:
                self._fresh_cards.add(job)
                job.way.adopt(await self._documents.way_by_card(job.file, fresh=True))
                await in_thread(self._watch.begun, job.part, job.way)
        if not self._board.takers(unit):
            return True
        moved = self._board.move(unit)
        self._board.plan(first=True)
        self._bell.ring()
        return moved

    # Writing

    async def _land(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._bell.until(lambda: self._is_done or bool(self._landing or self._spilling))
            if self._is_done:
                return
            batch = [(unit, stored, self._board.takers(unit)) for unit, stored in self._landing]
            self._landing.clear()
            wrong = await in_thread(self._write, batch)
            for unit, stored, served in batch:
                self._landing_bytes -= len(stored)
                if not self._board.expects(unit.sha256):
                    continue  # it came by two requests
                if unit.sha256 in wrong:
                    await self._refuse(unit)
                elif not self._board.came(unit, served):
                    self._deliver(unit, stored)  # somebody joined meanwhile
                else:
                    self._dirty_bytes += len(stored)
                    for job, _ in served:
                        self._count(job, unit.length)
                        self._settle(job)
            self._bell.ring()
            old = self._clock.monotonic() - self._dirty_since_s >= DURABLE_S
            if (old or self._dirty_bytes >= DURABLE_BYTES) and not self._is_flushing:
                self._is_flushing = True
                group.create_task(self._flush())

    def _write(self, batch: Sequence[Landed]) -> set[bytes]:
        """Write units into every part that wants them, and what is to be spilled; return the hashes of wrong units."""
        while self._spilling:
            self._begun.write(*self._spilling.popleft())
        wrong = set()
        for unit, stored, takers in batch:
            try:
                data = stored if unit.stored == unit.length else expand(stored, unit.length, most=UNIT_MAX_BYTES)
            except Corrupt:
                data = b""
            if not _is_right(unit, data):
                wrong.add(unit.sha256)
                continue
            for job, ordinal in takers:
                job.part.write_known(ordinal, data)
        self._begun.drop(unit for unit, _, _ in batch)
        return wrong

    async def _refuse(self, unit: WantedUnit) -> None:
        """Deal with wrong bytes: another mirror, or another place, or the end."""
        name = _pack_path(unit.pack)
        if unit.sha256 in self._doubtful:
            self._doubtful.discard(unit.sha256)
            self._board.again(unit)
            self._board.plan(first=True)
        elif self._judge is not None and self._judge.reject(name, unit.offset, unit.stop):
            self._board.again(unit)
            self._board.plan(first=True)
        elif not await self._move(unit):
            raise Corrupt(f"bytes {unit.offset} to {unit.stop} of {name} are not the unit that was signed")

    async def _flush(self) -> None:
        self._dirty_bytes, self._dirty_since_s = 0, self._clock.monotonic()
        for job in list(self._jobs):
            await in_thread(job.part.flush, durable=True)
        self._is_flushing = False

    # Committing

    async def _commit(self) -> None:
        while True:
            await self._bell.until(lambda: self._is_done or bool(self._full))
            if self._is_done:
                return
            _, job = heapq.heappop(self._full)
            try:
                await in_thread(job.part.commit)
            except Incomplete as error:
                job.rounds += 1
                if job.rounds >= ROUNDS_MAX:
                    raise Corrupt(f"the disk does not keep what is written: {error}") from error
                self._count(job, job.part.held_bytes - job.counted_bytes)
                await self._look_for(job, job.part.missing())
                self._board.plan(first=True)
            else:
                await in_thread(self._watch.ended, job.part)
                self._jobs.discard(job)
                self._seeds.remove(job.part)
                self._parts.remove(job.part)
                self._count(job, job.file.length_bytes - job.counted_bytes)
                self._report(1, 0)
                self._left -= 1
            self._bell.ring()

    def _settle(self, job: Job) -> None:
        if job.is_full and job in self._jobs and (job.number, job) not in self._full:
            heapq.heappush(self._full, (job.number, job))
            self._bell.ring()

    def _count(self, job: Job, length: int) -> None:
        job.counted_bytes += length
        self._report(0, length)

    def _put_down(self) -> None:
        """Write what came, make all of it durable as far as the disk lets us, and close every part."""
        with suppress(SyncError, OSError):
            self._write([(unit, stored, self._board.takers(unit)) for unit, stored in self._landing])
        for part in self._parts:
            with suppress(SyncError, OSError):
                part.flush(durable=True)
            part.close()


def _is_right(unit: WantedUnit, data: bytes) -> bool:
    return len(data) == unit.length and hashlib.sha256(data).digest() == unit.sha256


def _pack_path(sha256: str) -> str:
    return f"packs/{sha256[:2]}/{sha256}"
