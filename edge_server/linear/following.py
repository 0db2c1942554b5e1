"""Gives the linear channels of the active snapshot to an event loop: the lessons' indexes are read in a thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from math import inf

from domain.courseware import CatalogueError, Courseware
from edge_server.catalog import CatalogView
from edge_server.linear import LinearChannel
from edge_server.linear.plan import ChannelPlan, make_channel
from edge_server.packager import NotPackaged, Packaged
from edge_server.store import StoredFile
from runtime.clock import Clock
from sync import SyncError

LOOK_S = 1.0
BUSY_LOOK_S = 0.05
FIRST_WAIT_S = 2.0
"""The edge is ready with its channels if they are known so soon, else without."""
AGAIN_S = 30.0
"""A lesson that was not packaged when its channel was made is looked for again after this time."""
RENDITION = "R12"
"""What every box plays: a channel has one stream for all."""
LENGTHS_MAX_COUNT = 20_000
"""Lengths of renditions remembered, by hash."""


class FollowingChannels:
    """A ``runtime.service.Service``; ``current`` never waits. Used from one thread."""

    def __init__(
        self,
        plans: tuple[ChannelPlan, ...],
        view: Callable[[], CatalogView],
        load: Callable[[StoredFile], Packaged],
        clock: Clock,
        *,
        thread: Executor | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            plans: what the setting names.
            view: gives the catalogue view of the active snapshot.
            load: reads the index of a rendition; called in a thread, raises NotPackaged.
            clock: says when to look again.
            thread: reads; by default one of its own.
        """
        self._plans, self._view, self._load, self._clock = plans, view, load, clock
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix="channels")
        self._channels: tuple[LinearChannel, ...] = ()
        self._made_of: CatalogView | None = None
        self._again_at = 0.0
        self._coming: tuple[CatalogView, Future[tuple[tuple[LinearChannel, ...], bool]]] | None = None
        self._lengths: dict[str, float] = {}

    def current(self) -> tuple[LinearChannel, ...]:
        """Return the channels, by number; those of the snapshot before while the new ones are worked out."""
        return self._channels

    async def run(self, ready: Callable[[], None]) -> None:
        """Look for changes now and then until cancelled."""
        if not self._plans:
            ready()
            return
        clock = self._clock
        deadline = clock.monotonic() + FIRST_WAIT_S
        self.look()
        while self._coming is not None and clock.monotonic() < deadline:
            await clock.sleep_until(clock.monotonic() + BUSY_LOOK_S)
            self.look()
        ready()
        while True:
            busy = self._coming is not None
            await clock.sleep_until(clock.monotonic() + (BUSY_LOOK_S if busy else LOOK_S))
            self.look()

    def look(self) -> None:
        """Take over what has been worked out, and begin anew when the snapshot is another one."""
        now = self._clock.monotonic()
        if self._coming is not None:
            made_of, coming = self._coming
            if not coming.done():
                return
            self._coming = None
            self._channels, whole = coming.result()
            self._made_of, self._again_at = made_of, inf if whole else now + AGAIN_S
        with suppress(SyncError, CatalogueError, OSError):  # whoever asks for the view is told
            view = self._view()
            if view is not self._made_of or now >= self._again_at:
                self._coming = view, self._thread.submit(self._make, view)

    async def drain(self) -> None:
        """Nothing to finish."""

    def _make(self, view: CatalogView) -> tuple[tuple[LinearChannel, ...], bool]:
        """Work out all channels; also tell whether every lesson was packaged."""
        lacking: list[str] = []

        def duration_s(item: Courseware) -> float | None:
            rendition = item.rendition(RENDITION)
            stored = view.file(rendition.path) if rendition is not None else None
            if stored is None:
                return None
            known = self._lengths.get(stored.sha256)
            if known is None:
                try:
                    known = self._load(stored).ts_index.duration_s
                except NotPackaged:
                    lacking.append(item.item_id)
                    return None
                if len(self._lengths) >= LENGTHS_MAX_COUNT:
                    self._lengths.clear()
                self._lengths[stored.sha256] = known
            return known

        made = [make_channel(plan, view, duration_s) for plan in self._plans]
        return tuple(each for each in made if each is not None), not lacking
