"""The pacer and the chunks of the process, with the threads that read the disk for them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from edge_server.pacing.chunks import CHUNKS_MAX_BYTES, LOADS_MAX_COUNT, Chunks
from edge_server.pacing.limits import prefer, raise_descriptors
from edge_server.pacing.pacer import LATE_MAX_S, Pacer
from runtime.clock import Clock

log = structlog.get_logger()


class Pacing:
    """A ``runtime.service.Service``, below all that send by the clock."""

    def __init__(
        self,
        clock: Clock,
        *,
        chunks_max_bytes: int = CHUNKS_MAX_BYTES,
        late_max_s: float = LATE_MAX_S,
        priority: str = "normal",
    ) -> None:
        """Prepare; nothing runs yet. ``priority``: see ``limits.prefer``."""
        self.pacer = Pacer(clock, late_max_s=late_max_s)
        self.chunks = Chunks(self._load, secrets.token_bytes(16), max_bytes=chunks_max_bytes)
        self._priority = priority
        self._threads: ThreadPoolExecutor | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        """Send by the clock until cancelled."""
        raise_descriptors()
        self._threads = ThreadPoolExecutor(LOADS_MAX_COUNT, "chunk")
        if prefer(self._priority) != self._priority:
            log.warning("the system does not permit this priority", priority=self._priority)
        try:
            ready()
            await self.pacer.run()
        finally:
            self._threads.shutdown(cancel_futures=True)

    async def drain(self) -> None:
        """Nothing to finish: whoever sends has drained before."""

    def _load(self, work: Callable[[], memoryview], done: Callable[[memoryview | OSError], None]) -> None:
        assert self._threads is not None, "not running"
        asyncio.get_running_loop().run_in_executor(self._threads, work).add_done_callback(partial(_hand_over, done))


def _hand_over(done: Callable[[memoryview | OSError], None], future: asyncio.Future[memoryview]) -> None:
    if future.cancelled():
        done(OSError("the server stops"))
        return
    error = future.exception()
    if error is not None and not isinstance(error, OSError):
        raise error
    done(future.result() if error is None else error)
