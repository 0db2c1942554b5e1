"""A bounded queue of H.264 access units from the event loop to the decoder's thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from stb_emulator.observe.pipe import PIPE_MAX_BYTES, PipeClosed


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One picture's NAL units with start codes (H.264 Annex B)."""

    annex_b: bytes
    time_90khz: int
    """Presentation time, unwrapped."""
    arrived: float


class UnitQueue:
    """Access units in on the loop, out (blocking) in a thread."""

    def __init__(self, *, max_bytes: int = PIPE_MAX_BYTES, silence_s: float) -> None:
        """``silence_s`` bounds the wait for the next unit."""
        self._max_bytes, self._silence_s = max_bytes, silence_s
        self._lock = threading.Condition()
        self._units: deque[AccessUnit] = deque()
        self._held = 0
        self._ended = self._abandoned = False
        self.bytes_in = 0
        self.overruns = 0
        self.starved = False

    def put(self, unit: AccessUnit) -> bool:
        """Store without waiting; False (and an overrun counted) when there is no room.

        Raises:
            PipeClosed: the reader has gone.
        """
        with self._lock:
            if self._abandoned:
                raise PipeClosed
            if self._held and self._held + len(unit.annex_b) > self._max_bytes:
                self.overruns += 1
                return False
            self._units.append(unit)
            self._held += len(unit.annex_b)
            self.bytes_in += len(unit.annex_b)
            self._lock.notify_all()
            return True

    def end(self) -> None:
        """No more units will come."""
        with self._lock:
            self._ended = True
            self._lock.notify_all()

    def abandon(self) -> None:
        """Say that no more will be read."""
        with self._lock:
            self._abandoned = self._ended = True
            self._units.clear()
            self._held = 0
            self._lock.notify_all()

    def __iter__(self) -> Iterator[AccessUnit]:
        """Yield units until the end, or until none came for ``silence_s``."""
        while True:
            with self._lock:
                if not self._lock.wait_for(lambda: bool(self._units) or self._ended, timeout=self._silence_s):
                    self.starved = True
                    return
                if not self._units:
                    return
                unit = self._units.popleft()
                self._held -= len(unit.annex_b)
            yield unit
