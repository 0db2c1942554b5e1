"""What a page saw while a film played (``/player.js``): recorded as a fault, few of them however much a page says."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from domain.records import RecordError
from edge_server.portal import PortalRequest, PortalState
from edge_server.village.asked import is_own_form, station_in
from edge_server.village.desk import VillageDesk

SEEN = ("no-picture", "stall", "cannot-play")
"""The words of a person's report, of those that a page can see."""
ADDRESS_EVERY_S = 60.0
"""One address is heard so often."""
ALL_MAX_COUNT, ALL_WINDOW_S = 60, 3600.0
"""All addresses together."""
ADDRESSES_MAX_COUNT = 512
_WAY = re.compile(r"[A-Za-z0-9_.-]{1,32}\Z")
Read = Callable[[web.Request], Awaitable[PortalRequest]]
log = structlog.get_logger()


class Patience:
    """Decides whether one more report is taken. Bounded; times are monotonic seconds."""

    def __init__(self) -> None:
        """Nothing was heard."""
        self._heard: OrderedDict[str, float] = OrderedDict()
        self._all: list[float] = []

    def takes(self, address: str, now_s: float) -> bool:
        """Tell whether to take a report, and remember that it was taken."""
        self._all = [each for each in self._all if now_s - each < ALL_WINDOW_S]
        if len(self._all) >= ALL_MAX_COUNT or now_s - self._heard.get(address, -ADDRESS_EVERY_S) < ADDRESS_EVERY_S:
            return False
        self._all.append(now_s)
        self._heard[address] = now_s
        self._heard.move_to_end(address)
        while len(self._heard) > ADDRESSES_MAX_COUNT:
            self._heard.popitem(last=False)
        return True


def routes(desk: VillageDesk, read: Read, state: Callable[[PortalRequest], PortalState]) -> list[web.RouteDef]:
    """Offer the address that the player's script tells."""
    patience = Patience()

    async def seen(request: web.Request) -> web.Response:
        asked = await read(request)
        if not is_own_form(asked.headers, asked.host):
            raise web.HTTPForbidden
        what, item_id, way = (asked.form.get(name, "") for name in ("what", "item", "way"))
        at = asked.form.get("at", "")
        if what not in SEEN:
            raise web.HTTPBadRequest
        known = state(asked)
        if not patience.takes(asked.remote, known.monotonic_s):
            raise web.HTTPTooManyRequests
        words = f"{way if _WAY.match(way) else '?'} at {at if at.isascii() and at.isdigit() else '?'} s"[:80]
        item_id = item_id if known.view.item(item_id) or item_id in {c.channel_id for c in known.channels} else ""
        log.warning("a page saw a fault", what=what, item=item_id, way=words, address=asked.remote)
        try:
            await desk.fault(station_in(asked.cookies), what, item_id=item_id, words=words, source="page")
        except (RecordError, OSError) as error:
            log.error("a fault was not recorded", why=str(error))
            raise web.HTTPServiceUnavailable from error
        return web.Response(status=204)

    return [web.post("/study/seen", seen)]
