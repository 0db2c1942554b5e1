"""One viewer from its answer to its end: connect, send, linger, give everything back."""

from __future__ import annotations

import asyncio
from collections import Counter

from edge_server.egress.whep.inside import NoConnection, Peer
from edge_server.egress.whep.negotiate import Credentials
from edge_server.egress.whep.pacing import Pacing
from edge_server.egress.whep.viewer import Viewer
from runtime.clock import Clock

CONNECT_MAX_S = 15.0
"""From the answer to the end of the DTLS handshake."""
LINGER_S = 5.0
"""After the last frame, for what is asked for again."""


class Session:
    """Owns a peer and a viewer."""

    def __init__(self, peer: Peer, theirs: Credentials, viewer: Viewer, clock: Clock, counters: Counter[str]) -> None:
        """Put together; nothing runs yet."""
        self.peer, self.viewer = peer, viewer
        self._theirs, self._clock, self._counters = theirs, clock, counters
        self._end = asyncio.Event()

    def end(self) -> None:
        """Let ``run`` come to its end."""
        self._end.set()

    def feedback(self, data: bytes) -> None:
        """Take an RTCP datagram of the viewer."""
        if self.viewer.take_feedback(data, self._clock.monotonic()):
            self.end()

    def failed(self, error: Exception) -> None:
        """End, since the lesson cannot be read."""
        self._counters[f"lessons unreadable: {type(error).__name__}"] += 1
        self.end()

    async def run(self, pacing: Pacing) -> None:
        """Serve until the lesson is over, the viewer is gone, or ``end``."""
        clock = self._clock
        try:
            async with asyncio.timeout(CONNECT_MAX_S), asyncio.TaskGroup() as group:
                connecting = group.create_task(self._connect())
                ending = group.create_task(self._end.wait())
                await asyncio.wait({connecting, ending}, return_when=asyncio.FIRST_COMPLETED)
                ending.cancel()
                connecting.cancel()
            if self._end.is_set() or connecting.cancelled() or not connecting.result():
                self._counters["viewers never connected"] += 1
                return
            self._counters["viewers connected"] += 1
            now_s, unix_s = clock.monotonic(), clock.utc().timestamp()
            peer = self.peer
            self.viewer.start(peer.datagrams, peer.protect, peer.protect_rtcp, now_s=now_s, unix_s=unix_s)
            pacing.wake(self.viewer)
            await self._watch()
        except TimeoutError:
            self._counters["viewers never connected"] += 1
        finally:
            pacing.remove(self.viewer)
            self.viewer.goodbye(clock.monotonic())
            await self.peer.close()

    async def _connect(self) -> bool:
        try:
            await self.peer.connect(self._theirs)
        except NoConnection:
            return False
        return True

    async def _watch(self) -> None:
        """Wait for the end, or for the end of the lesson and then a while."""
        clock, linger_s = self._clock, LINGER_S
        while not self._end.is_set() and linger_s > 0:
            try:
                async with asyncio.timeout(1.0):
                    await self._end.wait()
            except TimeoutError:
                linger_s = linger_s - 1.0 if self.viewer.over else LINGER_S
        await clock.sleep_until(clock.monotonic())
