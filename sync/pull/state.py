"""What the tasks of one pull share. Changed in the event loop only; no task waits while it changes anything."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Sequence

from sync.holding import Holding, Part
from sync.listing import NamedFile
from sync.pull.aside import OnOtherSticks
from sync.pull.board import Board, Job
from sync.pull.seeds import Seeds
from sync.pull.tasks import Bell

OBJECTS_AT_ONCE = 128
"""Open parts; each takes two file descriptors."""
RECIPES_AT_ONCE_BYTES = 24 * 1024 * 1024
"""Roughly, of the recipes of open parts; a single larger one is let through."""

Report = Callable[[int, int], None]
"""Hears of objects that are done, and of bytes that came (or were lost again: less than 0)."""


class State:
    """Objects that are to come, those on their way, and what is wished for them."""

    def __init__(self, holding: Holding, todo: Sequence[NamedFile], report: Report) -> None:
        """Begin with all objects to come."""
        self.board, self.bell, self.seeds = Board(), Bell(), Seeds(holding)
        self.todo = deque(todo)
        self.jobs: set[Job] = set()
        """Objects on their way."""
        self.to_copy: deque[Job] = deque()
        self.parts: list[Part] = []
        """Open ones."""
        self._full: list[tuple[int, Job]] = []
        self._left = len(todo)
        self._report = report
        self._number = 0
        self._elsewhere = Counter[str]()
        """Bytes of units that the source is known not to have, by name of pack."""

    @property
    def is_done(self) -> bool:
        """Whether every object came, or was set aside."""
        return not self._left

    @property
    def has_room(self) -> bool:
        """Whether another object may be begun."""
        recipes = sum(len(job.part.recipe.skeleton) + 9 * len(job.part.recipe.run_length) for job in self.jobs)
        return not self.jobs or (len(self.jobs) < OBJECTS_AT_ONCE and recipes < RECIPES_AT_ONCE_BYTES)

    @property
    def has_full(self) -> bool:
        """Whether ``take_full`` would give one."""
        return bool(self._full)

    def next_number(self) -> int:
        """Return 1, 2, …: the order in which objects are begun."""
        self._number += 1
        return self._number

    def begin(self, job: Job) -> None:
        """Note that an object is on its way."""
        self.jobs.add(job)
        self.seeds.add(job.part)
        self.count(job, job.part.held_bytes)

    def count(self, job: Job, length: int) -> None:
        """Report bytes of an object."""
        job.counted_bytes += length
        self._report(0, length)

    def plan(self, *, first: bool = False) -> None:
        """Make requests of new wishes."""
        if self.board.unplanned_bytes:
            self.board.plan(first=first)
            self.bell.ring()

    def settle(self, job: Job) -> None:
        """Look whether an object waits for nothing any more: then it is to be committed, or to be set aside."""
        if job.is_full and not job.is_settled:
            job.is_settled = True
            heapq.heappush(self._full, (job.number, job))
            self.bell.ring()

    def take_full(self) -> Job:
        """Take the most urgent object that is to be committed or set aside; there must be one."""
        return heapq.heappop(self._full)[1]

    def finish(self, job: Job) -> None:
        """Note that an object was committed."""
        self.count(job, job.file.length_bytes - job.counted_bytes)
        self._report(1, 0)
        self._forget(job)

    def set_aside(self, job: Job) -> None:
        """Note that an object was closed of which the rest lies elsewhere. There may be thousands: none is kept."""
        self._elsewhere.update(job.elsewhere)
        self._forget(job)

    def _forget(self, job: Job) -> None:
        self.jobs.discard(job)
        self.seeds.remove(job.part)
        self.parts.remove(job.part)
        self._left -= 1

    def check_complete(self) -> None:
        """Do nothing when every object came.

        Raises:
            OnOtherSticks: some were set aside.
        """
        if self._elsewhere:
            raise OnOtherSticks(self._elsewhere.total(), self._elsewhere)
