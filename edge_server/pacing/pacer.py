"""One clock hand for all flows of the process: each has its turn every 20 ms, in one of four slots."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from edge_server.pacing.lateness import Lateness
from runtime.clock import Clock

PERIOD_S = 0.020
SLOTS_COUNT = 4
SLOT_S = PERIOD_S / SLOTS_COUNT
SLOT_FULL_COUNT = 64
"""Flows of a slot before the next slot is used: waking up costs as much as sending for ten of them, and the 10 kB each
of so many flows of 4 Mb/s are one slot's time of a gigabit line."""
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
        self._work = asyncio.Event()

    def add(self, flow: Flow, failed: Callable[[], None]) -> None:
        """Send for this flow from now on; ``failed`` is called when its file cannot be read."""
        if flow not in self._where:
            self._where[flow] = min(
                range(SLOTS_COUNT), key=lambda slot: max(SLOT_FULL_COUNT - 1, len(self._slots[slot]))
            )
        self._slots[self._where[flow]][flow] = failed
        self._work.set()

    def remove(self, flow: Flow) -> None:
        """Send no more for this flow."""
        slot = self._where.pop(flow, None)
        if slot is not None:
            del self._slots[slot][flow]
        if not self._where:
            self._work.clear()

    def __len__(self) -> int:
        """Count the flows."""
        return len(self._where)

    def busy(self) -> bool:
        """Tell whether one more viewer would make the others stutter."""
        return self.lateness.p99_s(self._clock.monotonic()) > self._late_max_s

    def turn(self, slot: int) -> None:
        """Send what is due in one slot."""
        now, unix_s = self._clock.monotonic(), self._clock.utc().timestamp()
        flows = self._slots[slot]
        for flow, failed in tuple(flows.items()):
            if flow not in flows:  # closed a moment ago, together with a sibling on its connection
                continue
            try:
                flow.pump(now, unix_s)
            except OSError:
                failed()

    async def run(self) -> None:
        """Take turns until cancelled."""
        clock = self._clock
        while True:
            await self._work.wait()
            deadline, slot = clock.monotonic(), 0
            while self._where:
                if self._slots[slot]:
                    self.turn(slot)
                    now = clock.monotonic()
                    self.lateness.note(now, now - deadline)
                    if now - deadline > PERIOD_S:
                        deadline = now
                deadline, slot = deadline + SLOT_S, (slot + 1) % SLOTS_COUNT
                if self._slots[slot]:
                    await clock.sleep_until(deadline)
