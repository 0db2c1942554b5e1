"""Brings records home over the line: what is not acknowledged is delivered again, so a broken answer costs nothing.

``POST <central>/records/v1`` with the signed lines as they are; the answer says which numbers are held. The records are
signed one by one, so neither side needs to trust the line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urljoin

import aiohttp
import structlog

from edge_server.records.spool import Spool
from runtime.clock import Clock
from wire.records import RECORD_MAX_BYTES, Held, RecordLineError, decode_held

DELIVERY_MAX_BYTES = 256 * 1024
"""About 20 s of a line of 128 kb/s."""
ANSWER_MAX_BYTES = 1024 * 1024
ANSWER_MAX_S = 120.0
RETRY_MIN_S, RETRY_MAX_S = 15.0, 3600.0
PATH = "records/v1"
log = structlog.get_logger()


class NotDelivered(Exception):
    """The line or the central platform failed; the records wait."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one round brought home."""

    home: int
    refused: str
    """For people; empty when nothing was."""


def pause_s(failures: int, every_s: float) -> float:
    """Return how long to wait after so many failures in a row: doubled each time, at most an hour."""
    if not failures:
        return every_s
    return float(min(RETRY_MAX_S, max(RETRY_MIN_S, every_s) * 2 ** min(failures - 1, 16)))


async def deliver(session: aiohttp.ClientSession, base: str, spool: Spool) -> Delivery:
    """Deliver all that waits, a piece at a time; stops at the first piece of which nothing is taken.

    Raises:
        NotDelivered: see there.
        OSError: the own disk fails.
    """
    home = 0
    while lines := await asyncio.to_thread(spool.waiting, max_bytes=DELIVERY_MAX_BYTES):
        arrived, refused = 0, ""
        for held in await _post(session, urljoin(base, PATH), b"".join(lines)):
            arrived += await asyncio.to_thread(spool.arrived, held)
            refused = refused or held.refused
        home += arrived
        if refused or not arrived:
            return Delivery(home, refused or "the central platform took nothing and did not say why")
    return Delivery(home, "")


async def _post(session: aiohttp.ClientSession, url: str, body: bytes) -> list[Held]:
    assert len(body) <= DELIVERY_MAX_BYTES + RECORD_MAX_BYTES
    try:
        async with session.post(url, data=body, timeout=aiohttp.ClientTimeout(total=ANSWER_MAX_S)) as answer:
            raw = await answer.content.read(ANSWER_MAX_BYTES)
            if answer.status != 200:
                raise NotDelivered(f"HTTP {answer.status} for {url}: {raw[:200].decode('utf-8', 'replace')}")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise NotDelivered(f"{url}: {error or type(error).__name__}") from error
    try:
        return decode_held(raw)
    except RecordLineError as error:
        raise NotDelivered(f"{url}: {error}") from error


class Pusher:
    """A ``runtime.service.Service``: delivers every ``every_s`` seconds, and when somebody calls `wake`."""

    def __init__(self, spool: Spool, base: str, clock: Clock, *, every_s: float) -> None:
        """``base``: of the central platform, http or https."""
        self._spool, self._base, self._clock, self._every_s = spool, base.rstrip("/") + "/", clock, every_s
        self._wake = asyncio.Event()
        self._failures = 0

    def wake(self) -> None:
        """Deliver what is new at once; while the line is down, it waits for the next attempt."""
        if not self._failures:
            self._wake.set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Deliver until cancelled."""
        ready()
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    done = await deliver(session, self._base, self._spool)
                    failure, self._failures = done.refused, self._failures + 1 if done.refused else 0
                except (NotDelivered, OSError) as error:
                    failure, self._failures = str(error), self._failures + 1
                    log.info("records wait", why=failure, times=self._failures)
                await asyncio.to_thread(self._note, failure)
                await self._pause(pause_s(self._failures, self._every_s))

    async def drain(self) -> None:
        """What is on its way and not acknowledged is delivered again."""

    def _note(self, failure: str) -> None:
        try:
            now = self._clock.utc()
            self._spool.note_delivery(now, failure)
        except OSError as error:
            log.warning("cannot note the delivery", why=str(error))

    async def _pause(self, seconds: float) -> None:
        cancel = self._clock.call_at(self._clock.monotonic() + seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            cancel()
            self._wake.clear()
