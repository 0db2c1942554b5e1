"""Looking for the units of objects: on the line already, held, in which pack, or on another stick."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice

from sync import Corrupt
from sync.holding import Holding, Part
from sync.pull.aside import Lacking
from sync.pull.board import Job
from sync.pull.documents import Documents
from sync.pull.guide import CARDS_AHEAD, Guide
from sync.pull.names import pack_path
from sync.pull.state import State
from sync.pull.watch import Watch
from sync.store.threads import in_thread
from sync.want import WantedUnit

FIRST_BATCH_BYTES = 16 * 1024 * 1024
"""So many bytes are looked for before the first request goes out."""
BATCH_BYTES = 64 * 1024 * 1024
LOW_WATER_BYTES = 16 * 1024 * 1024
"""When less than this is asked for, the next batch is looked at."""


class Seeker:
    """Begins objects and puts wishes for their units on the board, a batch at a time, before the requests run out."""

    def __init__(
        self,
        state: State,
        holding: Holding,
        documents: Documents,
        guide: Guide,
        watch: Watch,
        lacking: Lacking | None,
    ) -> None:
        """``lacking`` tells which packs the source is known not to have; None: it has them all."""
        self._state, self._holding, self._documents, self._guide = state, holding, documents, guide
        self._watch, self._lacking = watch, lacking
        self._fresh_cards: set[Job] = set()

    async def admit(self, group: asyncio.TaskGroup) -> None:
        """Go through all objects that are to come."""
        state, job, batch_bytes = self._state, None, FIRST_BATCH_BYTES
        while job is not None or state.todo:
            await state.bell.until(lambda: self._is_low() and state.has_room if job is None else self._is_low())  # noqa: B023
            seen_bytes = 0
            while seen_bytes < batch_bytes and (job is not None or (state.todo and state.has_room)):
                if job is None:
                    job = await self._begin(group)
                seen_bytes += await self._look_for_some(job, batch_bytes - seen_bytes)
                if not job.later:
                    job = None
                if self._guide.is_slow and state.board.unplanned_bytes and not state.board.has_request:
                    break
            state.plan()
            batch_bytes = BATCH_BYTES

    def _is_low(self) -> bool:
        return self._state.board.queued_bytes < LOW_WATER_BYTES

    async def _begin(self, group: asyncio.TaskGroup) -> Job:
        state, opened = self._state, list[Part]()
        file = state.todo.popleft()
        self._guide.look_ahead(group, islice(state.todo, CARDS_AHEAD))
        way = await self._guide.way(file)

        def begin() -> list[int]:
            opened.append(self._holding.begin(way.recipe))
            self._watch.begun(opened[0], way)
            state.parts.append(opened[0])  # here, so that it is closed even when nobody waits for it any more
            return opened[0].missing()

        missing = await in_thread(begin)
        job = Job(file, way, opened[0], state.next_number(), later=deque(missing))
        state.begin(job)
        return job

    async def _look_for_some(self, job: Job, most_bytes: int) -> int:
        """Look for the next units of an object; return how many bytes they have."""
        ordinals: list[int] = []
        seen_bytes = 0
        while job.later and seen_bytes < most_bytes:
            ordinals.append(job.later.popleft())
            seen_bytes += int(job.way.recipe.unit_length[ordinals[-1]])
        await self.look_for(job, ordinals)
        return seen_bytes

    async def look_for(self, job: Job, ordinals: Sequence[int]) -> None:
        """Have these units copied where they are held, else wish them."""
        state, board, recipe = self._state, self._state.board, job.way.recipe
        job.being_assigned = True
        unexpected = [each for each in ordinals if not board.expects(recipe.unit_hash(each))]
        hashes = [recipe.unit_hash(each) for each in unexpected]
        places = await in_thread(state.seeds.find, hashes) if hashes else []
        held = {each for each, found in zip(unexpected, places, strict=True) if found}
        lost = set(unexpected) - held
        # What was expected may have come while we looked; then it is in an open part.
        held.update(each for each in ordinals if each not in lost and not board.expects(recipe.unit_hash(each)))
        job.copying += sorted(held)
        if held and job not in state.to_copy:
            state.to_copy.append(job)
            state.bell.ring()
        await self.want(job, [each for each in ordinals if each not in held])
        job.being_assigned = False
        state.settle(job)

    async def want(self, job: Job, ordinals: Sequence[int]) -> None:
        """Wish these units.

        Raises:
            Corrupt: neither release nor card tells where they lie.
        """
        homeless = self._state.board.want(job, self._not_aside(job, ordinals))
        if homeless and not job.way.has_card:
            await self._use_card(job, fresh=False)
            homeless = self._state.board.want(job, self._not_aside(job, homeless))
        if homeless:
            raise Corrupt(f"nothing tells where {len(homeless)} units of {job.file.path!r} lie")

    def _not_aside(self, job: Job, ordinals: Sequence[int]) -> Sequence[int]:
        """Leave out what the source is known not to have; note it with the object."""
        if self._lacking is None:
            return ordinals
        here = []
        for ordinal in ordinals:
            place = job.way.place(ordinal)
            is_coming = self._state.board.expects(job.way.recipe.unit_hash(ordinal))
            if is_coming or place is None or not self._lacking(pack_path(place[0])):
                here.append(ordinal)
            else:
                name = pack_path(place[0])
                job.elsewhere[name] = job.elsewhere.get(name, 0) + int(job.way.recipe.unit_length[ordinal])
        return here

    async def _use_card(self, job: Job, *, fresh: bool) -> None:
        job.way.adopt(await self._documents.way_by_card(job.file, fresh=fresh))
        await in_thread(self._watch.begun, job.part, job.way)

    async def move(self, unit: WantedUnit) -> bool:
        """Look into the newest cards for another place of a unit, and wish it there; False when there is none."""
        board = self._state.board
        for job, _ in board.takers(unit):
            if job not in self._fresh_cards:
                self._fresh_cards.add(job)
                await self._use_card(job, fresh=True)
        if not board.takers(unit):
            return True
        moved = board.move(unit)
        self._state.plan(first=True)
        return moved
