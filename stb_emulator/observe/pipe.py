"""A bounded byte pipe from the event loop to the decoder's thread, which remembers when each byte arrived."""

from __future__ import annotations

import asyncio
import threading
from bisect import bisect_left
from collections import deque

PIPE_MAX_BYTES = 8 * 1024 * 1024
"""Room for about 50 s of the old boxes' rendition; a pull player waits when it is full."""
ARRIVAL_GRAIN_S = 0.01
"""Arrivals closer together than this share one entry."""

ARRIVALS_MAX_ENTRIES = 50_000


class PipeClosed(Exception):
    """The reader has gone."""


class BytePipe:
    """Bytes in on the loop, bytes out (blocking) in a thread. ``read`` makes it a file for PyAV."""

    def __init__(self, *, max_bytes: int = PIPE_MAX_BYTES, silence_s: float) -> None:
        """``silence_s`` bounds a wait in ``read``."""
        self._max_bytes, self._silence_s = max_bytes, silence_s
        self._lock = threading.Condition()
        self._parts: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._abandoned = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room = asyncio.Event()
        self._offsets: list[int] = []
        self._times: list[float] = []
        self.bytes_in = 0
        self.overruns = 0
        self.starved = False

    def put(self, data: bytes, arrived: float) -> bool:
        """Store without waiting; False (and an overrun counted) when there is no room."""
        with self._lock:
            if self._abandoned:
                raise PipeClosed
            if self._held + len(data) > self._max_bytes and self._held:
                self.overruns += 1
                return False
            self._store(data, arrived)
            return True

    async def write(self, data: bytes, arrived: float) -> None:
        """Store, waiting for room.

        Raises:
            PipeClosed: the reader has gone.
        """
        self._loop = asyncio.get_running_loop()
        while True:
            with self._lock:
                if self._abandoned:
                    raise PipeClosed
                if not self._held or self._held + len(data) <= self._max_bytes:
                    self._store(data, arrived)
                    return
                self._room.clear()
            await self._room.wait()

    def _forget(self) -> None:
        """Drop the older half of the arrivals: the decoder asks about recent bytes only."""
        if len(self._offsets) > ARRIVALS_MAX_ENTRIES:
            del self._offsets[: ARRIVALS_MAX_ENTRIES // 2]
            del self._times[: ARRIVALS_MAX_ENTRIES // 2]

    def _store(self, data: bytes, arrived: float) -> None:
        self._parts.append(data)
        self._held += len(data)
        self.bytes_in += len(data)
        if self._times and arrived - self._times[-1] < ARRIVAL_GRAIN_S:
            self._offsets[-1] = self.bytes_in
        else:
            self._offsets.append(self.bytes_in)
            self._times.append(arrived)
            self._forget()
        self._lock.notify_all()

    def end(self) -> None:
        """No more bytes will come."""
        with self._lock:
            self._ended = True
            self._lock.notify_all()

    def abandon(self) -> None:
        """Let the reader say that it will read no more: writers get PipeClosed, waiting readers an end."""
        with self._lock:
            self._abandoned = self._ended = True
            self._parts.clear()
            self._held = 0
            self._lock.notify_all()
        self._wake()

    def read(self, size: int) -> bytes:
        """Block for at least one byte; empty at the end or after ``silence_s`` without any."""
        with self._lock:
            if not self._lock.wait_for(lambda: bool(self._parts) or self._ended, timeout=self._silence_s):
                self.starved = True
                return b""
            if not self._parts:
                return b""
            part = self._parts.popleft()
            if len(part) > size:
                self._parts.appendleft(part[size:])
                part = part[:size]
            self._held -= len(part)
        self._wake()
        return part

    def _wake(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._room.set)

    def arrival_of(self, offset: int) -> float | None:
        """When the byte before ``offset`` had arrived; None when that is unknown."""
        with self._lock:
            at = bisect_left(self._offsets, offset)
            return self._times[at] if at < len(self._times) else None
