"""One clock hand for all sessions: every 20 ms each playing sink sends what is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edge_server.egress.rtsp.sink import Sink
from runtime.clock import Clock

TICK_S = 0.020
_LATE_MAX_S = 1.0


class Pacer:
    """Runs while anything plays; sleeps otherwise."""

    def __init__(self, clock: Clock) -> None:
        """Start with nothing to do."""
        self._clock = clock
        self._playing: dict[Sink, Callable[[], None]] = {}
        self._work = asyncio.Event()

    def add(self, sink: Sink, failed: Callable[[], None]) -> None:
        """Send for this sink from now on; ``failed`` is called when its file cannot be read."""
        self._playing[sink] = failed
        self._work.set()

    def remove(self, sink: Sink) -> None:
        """Send no more for this sink."""
        self._playing.pop(sink, None)
        if not self._playing:
            self._work.clear()

    def __len__(self) -> int:
        """Count the playing sinks."""
        return len(self._playing)

    def tick(self) -> None:
        """Send what is due now, for all."""
        now, unix_s = self._clock.monotonic(), self._clock.utc().timestamp()
        for sink, failed in tuple(self._playing.items()):
            if sink not in self._playing:  # closed a moment ago, together with a sibling on its connection
                continue
            try:
                sink.pump(now, unix_s)
            except OSError:
                failed()
                continue
            if sink.stream.ended(now):
                sink.ended()

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            await self._work.wait()
            deadline = self._clock.monotonic()
            while self._playing:
                self.tick()
                now = self._clock.monotonic()
                deadline = max(deadline + TICK_S, now - _LATE_MAX_S)
                await self._clock.sleep_until(max(deadline, now))
