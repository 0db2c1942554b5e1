"""Where edges deliver their records: ``POST /records/v1``, signed lines in, what is held out."""

from __future__ import annotations

import asyncio

import structlog
from aiohttp import web

from central_platform.intake.ledger import Ledger
from central_platform.roster import Roster, RosterError
from runtime.clock import Clock
from wire.records import encode_held

DELIVERY_MAX_BYTES = 512 * 1024
WAITING_MAX_COUNT = 64
"""Deliveries at the same time; more are told to come again."""
RETRY_AFTER_S = "60"
log = structlog.get_logger()


class RecordsDesk:
    """The one route. Nobody has to log in: a record is believed for its signature, whoever brings it."""

    def __init__(self, ledger: Ledger, roster: Roster, clock: Clock) -> None:
        """Nothing is read yet."""
        self._ledger, self._roster, self._clock = ledger, roster, clock
        self._waiting = 0

    def routes(self) -> list[web.RouteDef]:
        """Offer the route."""
        return [web.post("/records/v1", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        if (request.content_length or 0) > DELIVERY_MAX_BYTES:
            return _too_long()
        if self._waiting >= WAITING_MAX_COUNT:
            return _later()
        self._waiting += 1
        try:
            raw = bytearray()
            async for piece in request.content.iter_any():
                raw += piece
                if len(raw) > DELIVERY_MAX_BYTES:
                    return _too_long()
            taken = await asyncio.to_thread(
                self._ledger.take, bytes(raw), self._roster.keys_of, now=self._clock.utc(), road="line"
            )
        except (OSError, RosterError) as error:
            log.error("records not taken", why=str(error))
            return _later()
        finally:
            self._waiting -= 1
        if taken.forged or taken.unreadable or taken.rewritten or taken.unknown:
            log.warning(
                "records refused or doubted",
                remote=request.remote,
                forged=taken.forged,
                unreadable=taken.unreadable,
                rewritten=taken.rewritten,
                unknown=taken.unknown[:10],
            )
        return web.Response(body=encode_held(list(taken.held)), content_type="application/json")


def _later() -> web.Response:
    words = "中心平台暂时不能收，请稍后再送 / cannot be taken now; come again later\n"
    return web.Response(status=503, text=words, headers={"Retry-After": RETRY_AFTER_S})


def _too_long() -> web.Response:
    return web.Response(status=413, text=f"一次最多 {DELIVERY_MAX_BYTES} 字节 / at most {DELIVERY_MAX_BYTES} bytes\n")
