"""The routes of WHEP, who may begin a session, and the answers that need nothing of WebRTC."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from edge_server.live.channel import LiveChannel
from edge_server.sessions.tickets import Allowed, Refused

OFFER_TYPE = "application/sdp"
ANYWHERE = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Location, ETag, Accept-Post"}
_PREFLIGHT = {
    **ANYWHERE,
    "Access-Control-Allow-Methods": "POST, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Authorization",
    "Accept-Post": OFFER_TYPE,
}
_WHIP_PREFLIGHT = {
    **_PREFLIGHT,
    "Access-Control-Allow-Methods": "POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Authorization, If-Match",
}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
FindLive = Callable[[str], LiveChannel | None]
"""Finds the live channel of an id."""
Door = Callable[[str], Allowed | Refused]
"""Judges a decoded path, ticket and all, as for every other medium."""


def routes(post: Answer, delete: Answer, door: Door = Allowed) -> list[web.RouteDef]:
    """Join what begins and what ends a session with preflights and refusals of other methods.

    Only beginning asks the door: the address of a session is a secret of its own (RFC 9725 §5), and whoever has it may
    end it, even when the ticket has run out.
    """

    async def begin(request: web.Request) -> web.StreamResponse:
        ticket, item_id = request.match_info.get("ticket"), request.match_info["item_id"]
        judged = door(f"/whep/{item_id}" if ticket is None else f"/t/{ticket}/whep/{item_id}")
        if isinstance(judged, Refused):
            return words(judged.status, judged.words.rstrip())
        return await post(request)

    found = []
    for item in ("/whep/{item_id}", "/t/{ticket}/whep/{item_id}"):
        found += [web.post(item, begin), web.options(item, _preflight)]
        found.append(web.route("*", item, _not_allowed("POST, OPTIONS")))
        session = item + "/{session_id}"
        found += [web.delete(session, delete), web.options(session, _preflight)]
        found.append(web.route("*", session, _not_allowed("DELETE, OPTIONS")))
    return found


def whip_routes(post: Answer, patch: Answer, delete: Answer) -> list[web.RouteDef]:
    """Join what begins, changes and ends a publication with preflights and refusals of other methods."""
    channel = "/whip/{channel}"
    session = channel + "/{session_id}"
    return [
        web.post(channel, post),
        web.options(channel, _whip_preflight),
        web.route("*", channel, _not_allowed("POST, OPTIONS")),
        web.patch(session, patch),
        web.delete(session, delete),
        web.options(session, _whip_preflight),
        web.route("*", session, _not_allowed("PATCH, DELETE, OPTIONS")),
    ]


def no_live(_: str) -> LiveChannel | None:
    """Find nothing: there are no live channels."""
    return None


def words(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """Make a reply for people."""
    return web.Response(status=status, text=text + "\n", headers={**ANYWHERE, **(headers or {})})


def no_session() -> web.Response:
    """Answer a DELETE of a session that is not there."""
    return words(404, "没有这个观看会话，可能已结束 / no such session; it may have ended")


def stopping() -> web.Response:
    """Answer an offer that comes while the server ends."""
    return words(503, "服务正在停止 / the server is stopping", {"Retry-After": "10"})


async def _whip_preflight(_: web.Request) -> web.Response:
    return web.Response(status=204, headers=_WHIP_PREFLIGHT)


async def _preflight(_: web.Request) -> web.Response:
    return web.Response(status=204, headers=_PREFLIGHT)


def _not_allowed(allowed: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return words(405, "不支持这个方法 / not supported here", {"Allow": allowed})

    return answer
