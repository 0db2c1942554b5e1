"""Pulls again and again while the edge serves; a dead line is a state, not an error."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

import structlog

from domain.courseware import CatalogueError
from edge_server.uplink.pull import PullReport
from media import MediaError
from runtime.clock import Clock
from sync import SyncError

SPREAD = 0.1
"""Polls are up to this share of the period earlier or later, the same for one edge, so that edges do not all come at
once (reference/sync.md C.4)."""

WAKE_S = 10.0
"""So soon a wake is noticed."""

log = structlog.get_logger()


class Poller:
    """A ``runtime.service.Service`` around one pull."""

    def __init__(
        self, pull: Callable[[], Awaitable[PullReport]], *, every_s: float, edge_id: str, clock: Clock
    ) -> None:
        """``every_s`` seconds between the end of one pull and the start of the next."""
        self._pull, self._clock = pull, clock
        self._woken = False
        share = int.from_bytes(hashlib.sha256(edge_id.encode()).digest()[:4], "big") / 2**32
        self.period_s = every_s * (1 + SPREAD * (2 * share - 1))
        self.last: PullReport | None = None
        """What the last successful pull did."""
        self.failure = ""
        """Why the last pull failed; empty when it did not."""

    async def run(self, ready: Callable[[], None]) -> None:
        """Pull until cancelled; boxes are served meanwhile, whatever comes of it."""
        ready()
        while True:
            try:
                self.last = await self._pull()
                self.failure = ""
                if self.last.changed:
                    log.info("new releases active", channels=self.last.channels, bytes_moved=self.last.bytes_moved)
            except (SyncError, MediaError, CatalogueError, OSError) as error:
                self.failure = f"{type(error).__name__}: {error}"
                log.warning("sync failed; serving what is here", reason=self.failure)
            due = self._clock.monotonic() + self.period_s
            while (now := self._clock.monotonic()) < due and not self._woken:
                await self._clock.sleep_until(min(due, now + WAKE_S))
            self._woken = False

    def wake(self) -> None:
        """Pull soon, not only when the period is over."""
        self._woken = True

    async def drain(self) -> None:
        """Nothing to finish: a pull that is cut off goes on next time where it stopped."""
