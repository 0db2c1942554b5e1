"""One clock hand for all flows of the process: each has its turn every 25 ms, in one of five slots."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from edge_server.pacing.lateness import Lateness
from runtime.clock import Clock

PERIOD_S = 0.025
SLOTS_COUNT = 5
SLOT_S = PERIOD_S / SLOTS_COUNT
SLOT_FULL_COUNT = 128
"""Flows of a slot before the next slot is used: waking up costs as much as sending for ten of them, and the 10 kB each
of so many flows of 4 Mb/s are half a period's time of a gigabit line."""
LATE_MAX_S = 0.120
"""Default lateness (p99 of the last seconds) above which nobody more is taken: about half of what each viewer is given
in advance, so that nobody stutters yet, and one busy moment of a small machine turns nobody away."""


class Flow(Protocol):
    """Something that sends by the clock."""

    def pump(self, now: float, unix_s: float) -> None:
        """Send what is due.

        Raises:
            OSError: the file cannot be read any more.
        """


class Pacer:
    """Runs while anything plays; sleeps otherwise. After a stall the missed turns are skipped, not made up for."""

    def __init__(self, clock: Clock, *, late_max_s: float = LATE_MAX_S) -> None:
        """Start with nothing to do."""
        self.lateness = Lateness()
        self._clock, self._late_max_s = clock, late_max_s
        self._slots: list[dict[Flow, Callable[[], None]]] = [{} for _ in range(SLOTS_COUNT)]
        self._where: dict[Flow, int] = {}
        self._left_count = 0
        """Removals until now."""
        self._deadline, self._slot = 0.0, 0
        self._cancel: Callable[[], None] | None = None
        """Calls the next turn off; None while there is none."""
        self._over: asyncio.Future[None] | None = None
        """Never done but by a fault; None while nobody runs the pacer."""

    def add(self, flow: Flow, failed: Callable[[], None]) -> None:
        """Send for this flow from now on; ``failed`` is called when its file cannot be read."""
        if flow not in self._where:
            self._where[flow] = min(
                range(SLOTS_COUNT), key=lambda slot: max(SLOT_FULL_COUNT - 1, len(self._slots[slot]))
            )
        self._slots[self._where[flow]][flow] = failed
        self._begin()

    def remove(self, flow: Flow) -> None:
        """Send no more for this flow."""
        slot = self._where.pop(flow, None)
        if slot is not None:
            del self._slots[slot][flow]
            self._left_count += 1
        if not self._where:
            self._rest()

    def __len__(self) -> int:
        """Count the flows."""
        return len(self._where)

    def busy(self) -> bool:
        """Tell whether one more viewer would make the others stutter."""
        return self.lateness.p99_s(self._clock.monotonic()) > self._late_max_s

    def turn(self, slot: int) -> None:
        """Send what is due in one slot."""
        now, unix_s = self._clock.monotonic(), self._clock.utc().timestamp()
        flows, left_count = self._slots[slot], self._left_count
        for flow, failed in tuple(flows.items()):
            # Somebody was closed a moment ago, together with a sibling on its connection.
            if self._left_count != left_count and flow not in flows:
                continue
            try:
                flow.pump(now, unix_s)
            except OSError:
                failed()

    async def run(self) -> None:
        """Take turns until cancelled."""
        self._over = asyncio.get_running_loop().create_future()
        try:
            self._begin()
            await self._over
        finally:
            self._over = None
            self._rest()

    def _begin(self) -> None:
        if self._where and self._cancel is None and self._over is not None:
            self._deadline, self._slot = self._clock.monotonic() - SLOT_S, SLOTS_COUNT - 1
            self._plan()

    def _rest(self) -> None:
        if self._cancel is not None:
            self._cancel()
            self._cancel = None

    def _plan(self) -> None:
        """Set the timer for the next slot that is used. A callback wakes the event loop once, a sleeping task twice."""
        while True:
            self._deadline, self._slot = self._deadline + SLOT_S, (self._slot + 1) % SLOTS_COUNT
            if self._slots[self._slot]:
                break
        self._cancel = self._clock.call_at(self._deadline, self._take)

    def _take(self) -> None:
        mine, over = self._cancel, self._over
        assert over is not None
        try:
            self.turn(self._slot)
        except Exception as error:
            over.set_exception(error)  # a fault of ours ends the service, aloud
            return
        now = self._clock.monotonic()
        self.lateness.note(now, now - self._deadline)
        if now - self._deadline > PERIOD_S:
            self._deadline = now
        if self._cancel is mine:  # otherwise all have left, or left and come, meanwhile
            self._plan()
