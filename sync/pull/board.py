"""Who wants which unit, and which request comes next. Decides only; fetches and writes nothing.

A unit is fetched once, however many objects want it. Requests are planned for a batch of objects at a time, so that
neighbours in a pack become one request, and so that a terabyte is not planned at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sync import Corrupt
from sync.holding import Part
from sync.listing import NamedFile
from sync.pull.ways import Way
from sync.want import PackRange, WantedUnit, ranges

ATTEMPTS_MAX = 8
"""Of one unit that comes wrong again and again."""


@dataclass(eq=False)
class Job:
    """One object on its way in."""

    file: NamedFile
    way: Way
    part: Part
    number: int
    """In the order of urgency."""
    waiting: int = 0
    """Units that are expected from the line."""
    later: deque[int] = field(default_factory=deque)
    """Units that nobody looked for yet."""
    copying: list[int] = field(default_factory=list)
    """Units that are to be copied from what is held."""
    being_assigned: bool = False
    is_settled: bool = False
    """Whether it was handed on, to be committed or set aside."""
    elsewhere: dict[str, int] = field(default_factory=dict)
    """Bytes of units that the source is known not to have, by name of pack."""
    counted_bytes: int = 0
    """Reported as done."""
    rounds: int = 0
    """How often it turned out incomplete when it was thought to be complete."""

    @property
    def is_full(self) -> bool:
        """Whether nothing more is expected."""
        return not (self.waiting or self.later or self.copying or self.being_assigned)


Taker = tuple[Job, int]
"""Object and ordinal."""


@dataclass(eq=False)
class _Wish:
    unit: WantedUnit
    takers: list[Taker]
    attempts: int = 0


class Board:
    """The open wishes."""

    def __init__(self) -> None:
        """Begin without any."""
        self._wishes: dict[bytes, _Wish] = {}
        self._new: list[WantedUnit] = []
        self._queue: deque[PackRange] = deque()
        self._order = 0
        self.queued_bytes = 0
        """Of requests that nobody took yet."""
        self.unplanned_bytes = 0
        """Of wishes that are in no request yet."""

    @property
    def has_request(self) -> bool:
        """Whether ``take`` would give one."""
        return bool(self._queue)

    def expects(self, sha256: bytes) -> bool:
        """Tell whether the unit is coming anyway."""
        return sha256 in self._wishes

    def want(self, job: Job, ordinals: Iterable[int]) -> list[int]:
        """Wish units for an object; return those whose place the object's way does not tell."""
        homeless = []
        for ordinal in ordinals:
            sha256 = job.way.recipe.unit_hash(ordinal)
            wish = self._wishes.get(sha256)
            if wish is None:
                unit = self._unit(job, ordinal)
                if unit is None:
                    homeless.append(ordinal)
                    continue
                self._wishes[sha256] = wish = _Wish(unit, [])
                self._new.append(unit)
                self.unplanned_bytes += unit.stored
            wish.takers.append((job, ordinal))
            job.waiting += 1
        return homeless

    def plan(self, *, first: bool = False) -> None:
        """Make requests of the new wishes; with ``first`` they come before those that were planned earlier."""
        requests = ranges(self._new)
        self._new, self.unplanned_bytes = [], 0
        self.queued_bytes += sum(each.stop - each.start for each in requests)
        if first:
            self._queue.extendleft(reversed(requests))
        else:
            self._queue.extend(requests)

    def take(self) -> PackRange:
        """Take the next request off the board; there must be one."""
        request = self._queue.popleft()
        self.queued_bytes -= request.stop - request.start
        return request

    def takers(self, unit: WantedUnit) -> list[Taker]:
        """Return who wants the unit now; nobody when it came already."""
        wish = self._wishes.get(unit.sha256)
        return list(wish.takers) if wish else []

    def came(self, unit: WantedUnit, served: Sequence[Taker]) -> bool:
        """Note that the unit was given to these; return False when others joined meanwhile and still want it."""
        wish = self._wishes[unit.sha256]
        if len(wish.takers) > len(served):
            return False
        del self._wishes[unit.sha256]
        for job, _ in served:
            job.waiting -= 1
        return True

    def again(self, unit: WantedUnit) -> None:
        """Wish a unit again that came wrong, where it was.

        Raises:
            Corrupt: it came wrong too often.
        """
        wish = self._wishes[unit.sha256]
        wish.attempts += 1
        if wish.attempts >= ATTEMPTS_MAX:
            raise Corrupt(f"{unit.pack} gave wrong bytes {ATTEMPTS_MAX} times")
        self._new.append(unit)
        self.unplanned_bytes += unit.stored

    def move(self, unit: WantedUnit) -> bool:
        """Wish a unit again at the place that the ways of its takers tell now; return False when it is the same."""
        wish = self._wishes[unit.sha256]
        for job, ordinal in wish.takers:
            moved = self._unit(job, ordinal)
            if moved is not None and (moved.pack, moved.offset, moved.stored) != (unit.pack, unit.offset, unit.stored):
                wish.unit = moved
                self.again(moved)
                return True
        return False

    def _unit(self, job: Job, ordinal: int) -> WantedUnit | None:
        place = job.way.place(ordinal)
        if place is None:
            return None
        self._order += 1
        length = int(job.way.recipe.unit_length[ordinal])
        return WantedUnit(job.way.recipe.unit_hash(ordinal), length, *place, job.file.priority, self._order)
