"""Fetching units and writing them into the parts that want them."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Sequence

from runtime.clock import Clock
from sync import Corrupt, Missing
from sync.patch import expand
from sync.pull.begun import Begun, Key
from sync.pull.board import Taker
from sync.pull.catch import Catch
from sync.pull.documents import Judged
from sync.pull.names import pack_path
from sync.pull.seeking import Seeker
from sync.pull.state import State
from sync.recipe import UNIT_MAX_BYTES
from sync.road import NoRanges, Source
from sync.store.threads import in_thread
from sync.want import WantedUnit

LANDING_MAX_BYTES = 8 * 1024 * 1024
"""No new request while so much that came waits to be written."""
DURABLE_BYTES = 32 * 1024 * 1024
DURABLE_S = 5.0
"""What was written is made to survive a power cut when it is so much or so old."""

_Landed = tuple[WantedUnit, bytes, list[Taker]]


class Intake:
    """The line of one pull."""

    def __init__(
        self, state: State, seeker: Seeker, source: Source, judge: Judged | None, begun: Begun, clock: Clock
    ) -> None:
        """``judge`` is told of wrong bytes; ``begun`` has the beginnings of units from earlier."""
        self._state, self._seeker, self._source, self._judge = state, seeker, source, judge
        self._begun, self._clock = begun, clock
        self._landing: deque[tuple[WantedUnit, bytes]] = deque()
        self._landing_bytes = 0
        """Also of what is being written at the moment."""
        self._spilling: deque[tuple[Key, int, bytes]] = deque()
        self._doubtful: set[bytes] = set()
        """Units of which a part came earlier."""
        self._dirty_bytes, self._dirty_since_s = 0, clock.monotonic()
        self._is_flushing = False

    async def read(self) -> None:
        """Make one request after the other."""
        state = self._state
        while True:
            await state.bell.until(lambda: state.is_done or self._may_read())
            if state.is_done:
                return
            request = state.board.take()
            state.bell.ring()
            first = b""
            if self._begun.knows(request.units[0]):
                first = await in_thread(self._begun.take, request.units[0])
                self._doubtful.add(request.units[0].sha256)
            catch = Catch(request, first, self._begun, self._deliver, self._spill)
            try:
                await self._source.read(pack_path(request.pack), catch.position, request.stop, catch)
            except NoRanges:
                raise
            except Missing as error:
                for unit in catch.rest:
                    if not await self._seeker.move(unit):
                        raise error from None
            finally:
                catch.put_down()

    async def land(self, group: asyncio.TaskGroup) -> None:
        """Write what came."""
        state = self._state
        while True:
            await state.bell.until(lambda: state.is_done or bool(self._landing or self._spilling))
            if state.is_done:
                return
            batch = self._take_batch()
            wrong = await in_thread(self._write, batch)
            for unit, stored, served in batch:
                self._landing_bytes -= len(stored)
                if not state.board.expects(unit.sha256):
                    continue  # it came by two requests
                if unit.sha256 in wrong:
                    await self._refuse(unit)
                elif not state.board.came(unit, served):
                    self._deliver(unit, stored)  # somebody joined meanwhile
                else:
                    self._dirty_bytes += len(stored)
                    for job, _ in served:
                        state.count(job, unit.length)
                        state.settle(job)
            state.bell.ring()
            old = self._clock.monotonic() - self._dirty_since_s >= DURABLE_S
            if (old or self._dirty_bytes >= DURABLE_BYTES) and not self._is_flushing:
                self._is_flushing = True
                group.create_task(self._flush())

    def put_down(self) -> None:
        """Write what came and was not written yet; call it when the tasks are over. Blocking."""
        self._write(self._take_batch())

    def _may_read(self) -> bool:
        return self._state.board.has_request and self._landing_bytes < LANDING_MAX_BYTES

    def _deliver(self, unit: WantedUnit, stored: bytes) -> None:
        self._landing.append((unit, stored))
        self._landing_bytes += len(stored)
        self._state.bell.ring()

    def _spill(self, key: Key, position: int, data: bytes) -> None:
        self._spilling.append((key, position, data))
        self._state.bell.ring()

    def _take_batch(self) -> list[_Landed]:
        batch = [(unit, stored, self._state.board.takers(unit)) for unit, stored in self._landing]
        self._landing.clear()
        return batch

    def _write(self, batch: Sequence[_Landed]) -> set[bytes]:
        """Write units into every part that wants them, and what is to be spilled; return the hashes of wrong units."""
        while self._spilling:
            self._begun.write(*self._spilling.popleft())
        wrong = set()
        for unit, stored, takers in batch:
            try:
                data = stored if unit.stored == unit.length else expand(stored, unit.length, most=UNIT_MAX_BYTES)
            except Corrupt:
                data = b""
            if len(data) != unit.length or hashlib.sha256(data).digest() != unit.sha256:
                wrong.add(unit.sha256)
                continue
            for job, ordinal in takers:
                job.part.write_known(ordinal, data)
        self._begun.drop(unit for unit, _, _ in batch)
        return wrong

    async def _refuse(self, unit: WantedUnit) -> None:
        """Deal with wrong bytes: once more, another mirror, another place, or the end."""
        name = pack_path(unit.pack)
        if unit.sha256 in self._doubtful:
            self._doubtful.discard(unit.sha256)
            self._state.board.again(unit)
        elif self._judge is not None and self._judge.reject(name, unit.offset, unit.stop):
            self._state.board.again(unit)
        elif not await self._seeker.move(unit):
            raise Corrupt(f"bytes {unit.offset} to {unit.stop} of {name} are not the unit that was signed")
        self._state.plan(first=True)

    async def _flush(self) -> None:
        self._dirty_bytes, self._dirty_since_s = 0, self._clock.monotonic()
        for job in list(self._state.jobs):
            await in_thread(job.part.flush, durable=True)
        self._is_flushing = False
