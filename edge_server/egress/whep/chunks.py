"""Chunks in memory: each made once for all who want it, in a worker thread; the least used go first."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable

from edge_server.egress.whep.frames import Chunk
from media import MediaError

KEPT_MAX_BYTES = 128 << 20
"""Chunks kept for others; what viewers hold at the moment comes on top: two chunks each at most."""
MAKING_MAX_COUNT = 2
"""Chunks made at the same time."""

Ready = Callable[[Chunk | Exception], None]


class Chunks:
    """Gives chunks, or makes them and calls back. All methods are called on the loop."""

    def __init__(self, group: asyncio.TaskGroup, *, kept_max_bytes: int = KEPT_MAX_BYTES) -> None:
        """``group``: owns the work."""
        self.counters: Counter[str] = Counter()
        self.kept_bytes = 0
        self._group, self._kept_max = group, kept_max_bytes
        self._kept: OrderedDict[Hashable, Chunk] = OrderedDict()
        self._waiting: dict[Hashable, list[Ready]] = {}
        self._turns = asyncio.Semaphore(MAKING_MAX_COUNT)

    def take(self, key: Hashable, make: Callable[[], Chunk], ready: Ready) -> Chunk | None:
        """Return the chunk when it is here; else None, and ``ready`` is called with it, or with what went wrong."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            self.counters["found"] += 1
            return found
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(ready)
        else:
            self._waiting[key] = [ready]
            self._group.create_task(self._make(key, make))
        return None

    async def _make(self, key: Hashable, make: Callable[[], Chunk]) -> None:
        made: Chunk | Exception
        try:
            async with self._turns:
                made = await asyncio.to_thread(make)
        except (OSError, MediaError) as error:
            made = error
        self.counters["made"] += 1
        if isinstance(made, Chunk):
            self._kept[key] = made
            self.kept_bytes += made.cost_bytes
            while self.kept_bytes > self._kept_max and len(self._kept) > 1:
                self.kept_bytes -= self._kept.popitem(last=False)[1].cost_bytes
        for ready in self._waiting.pop(key):
            ready(made)
