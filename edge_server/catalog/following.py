"""Gives the view of the active snapshot to an event loop, which must not stand still for thousands of lessons.

What is small is read at once, so that nobody sees what was withdrawn. What is large is read in a thread; until it is
ready everybody is given the view before, whole, for some tenths of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress

from domain.courseware import CatalogueError
from edge_server.catalog import CatalogReader, CatalogView
from runtime.clock import Clock
from sync import SyncError

AT_ONCE_MAX_BYTES = 128 * 1024
"""Of listings: some six hundred files, which take 4 ms."""
LOOK_S = 1.0
"""A change is noticed so soon even when nobody asks for anything."""


class Following:
    """A ``runtime.service.Service``; ``current`` may be called before it runs. Used from one thread."""

    def __init__(
        self,
        reader: CatalogReader,
        clock: Clock,
        *,
        at_once_max_bytes: int = AT_ONCE_MAX_BYTES,
        thread: Executor | None = None,
    ) -> None:
        """Nothing is read yet; ``thread`` reads what is large."""
        self._reader, self._clock, self._at_once_max_bytes = reader, clock, at_once_max_bytes
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix="catalogue")
        self._view: CatalogView | None = None
        self._coming: Future[CatalogView] | None = None

    def current(self) -> CatalogView:
        """Return the view, with everything read that it has; the first call waits for that.

        Raises:
            sync.Corrupt: the pointer or a listing that it names is damaged.
            domain.courseware.CatalogueError: a catalogue cannot be read by this version.
        """
        view, coming = self._view, self._coming
        if coming is not None:
            if view is not None and not coming.done():
                return view
            self._coming, self._view = None, None  # what cannot be read is tried again by who asks next
            self._view = coming.result()
            return self._view
        unread_bytes = self._reader.unread_bytes()
        if view is not None and not unread_bytes:
            return view
        if view is not None and unread_bytes > self._at_once_max_bytes:
            self._coming = self._thread.submit(self._read)
            return view
        self._view = None
        self._view = self._read()
        return self._view

    async def run(self, ready: Callable[[], None]) -> None:
        """Look for changes now and then until cancelled."""
        ready()
        while True:
            with suppress(SyncError, CatalogueError, OSError):  # whoever asks is told
                self.current()
            await self._clock.sleep_until(self._clock.monotonic() + LOOK_S)

    async def drain(self) -> None:
        """Nothing to finish."""

    def _read(self) -> CatalogView:
        return self._reader.current().read_through()
