"""Bringing objects home: looking for units, copying, fetching, writing and committing, all at the same time.

The tasks share a board of wishes. While the line brings units, those that are held already are copied, and the next
objects are looked at before the requests run out: the line should never wait for the disk, nor for a recipe. Shared
state is changed in the event loop only; reading, hashing and writing happen in threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from runtime.clock import Clock
from sync import Corrupt, SyncError
from sync.holding import Holding, Incomplete, Part
from sync.listing import NamedFile
from sync.pull.aside import Lacking
from sync.pull.begun import Begun
from sync.pull.documents import Documents, Judged
from sync.pull.guide import Guide
from sync.pull.intake import Intake
from sync.pull.seeking import Seeker
from sync.pull.state import Report, State
from sync.pull.tasks import together
from sync.pull.watch import Watch
from sync.road import Source
from sync.store.threads import in_thread

READERS = 2
"""Requests at a time: while one answer comes, the next is asked for."""
COMMITS_AT_ONCE = 4
"""File systems join flushes that are asked for at the same time; thousands of small objects take a fourth of it."""
ROUNDS_MAX = 3
"""So often an object may turn out to lack what was written into it."""


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
        report: Report,
        lacking: Lacking | None = None,
    ) -> None:
        """See Puller and the parts."""
        self._source, self._judge, self._holding, self._clock = source, judge, holding, clock
        self._documents, self._guide, self._begun = documents, guide, begun
        self._watch, self._report, self._lacking = watch, report, lacking

    async def objects(self, todo: Sequence[NamedFile]) -> None:
        """Bring these objects into the holding, the first ones first.

        What came stays when this fails or is cancelled.

        Raises:
            Corrupt: a source gives wrong bytes and there is no other.
            NoSpace: the disk filled up.
            Unreachable: the source does not answer any more, or lacks a file (then: Missing).
            OnOtherSticks: all came but what the source is known not to have.
            OSError: the disk fails.
        """
        if not todo:
            return
        await in_thread(self._begun.look)
        state = State(self._holding, todo, self._report)
        seeker = Seeker(state, self._holding, self._documents, self._guide, self._watch, self._lacking)
        intake = Intake(state, seeker, self._source, self._judge, self._begun, self._clock)
        try:
            async with together() as group:
                group.create_task(seeker.admit(group))
                group.create_task(_copy(state, seeker))
                group.create_task(intake.land(group))
                for _ in range(COMMITS_AT_ONCE):
                    group.create_task(_commit(state, seeker, self._watch))
                for _ in range(READERS):
                    group.create_task(intake.read())
        finally:
            await in_thread(_put_down, state, intake)
        state.check_complete()


async def _copy(state: State, seeker: Seeker) -> None:
    """Copy units of objects from what is held; what turns out to be damaged there is wished from the line."""
    while True:
        await state.bell.until(lambda: state.is_done or bool(state.to_copy))
        if state.is_done:
            return
        job = state.to_copy.popleft()
        ordinals = list(job.copying)
        steps = job.part.filling(state.seeds, ordinals)
        try:
            while (copied := await in_thread(next, steps, None)) is not None:
                state.count(job, copied)
        finally:
            steps.close()
        job.being_assigned = True
        through = set(ordinals)
        job.copying = [each for each in job.copying if each not in through]
        if job.copying and job not in state.to_copy:
            state.to_copy.append(job)
        await seeker.want(job, [each for each in ordinals if not job.part.holds(each)])
        job.being_assigned = False
        state.plan()
        state.settle(job)


async def _commit(state: State, seeker: Seeker, watch: Watch) -> None:
    """Commit objects that are full; put those down of which the rest lies elsewhere."""
    while True:
        await state.bell.until(lambda: state.is_done or state.has_full)
        if state.is_done:
            return
        job = state.take_full()
        if job.elsewhere and job.part.missing():
            await in_thread(_set_down, job.part)
            state.set_aside(job)
            state.bell.ring()
            continue
        try:
            await in_thread(job.part.commit)
        except Incomplete as error:
            job.rounds += 1
            if job.rounds >= ROUNDS_MAX:
                raise Corrupt(f"the disk does not keep what is written: {error}") from error
            state.count(job, job.part.held_bytes - job.counted_bytes)
            job.is_settled = False
            await seeker.look_for(job, job.part.missing())
            state.plan(first=True)
        else:
            await in_thread(watch.ended, job.part)
            state.finish(job)
        state.bell.ring()


def _set_down(part: Part) -> None:
    part.flush(durable=True)
    part.close()


def _put_down(state: State, intake: Intake) -> None:
    """Write what came, make all of it durable as far as the disk lets us, and close every part."""
    with suppress(SyncError, OSError):
        intake.put_down()
    for part in state.parts:
        with suppress(SyncError, OSError):
            part.flush(durable=True)
        part.close()
