"""The routes of WHEP, and the answers that need nothing of WebRTC."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

OFFER_TYPE = "application/sdp"
ANYWHERE = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Location, Accept-Post"}
_PREFLIGHT = {
    **ANYWHERE,
    "Access-Control-Allow-Methods": "POST, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Authorization",
    "Accept-Post": OFFER_TYPE,
}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(post: Answer, delete: Answer) -> list[web.RouteDef]:
    """Join what begins and what ends a session with preflights and refusals of other methods."""
    return [
        web.post("/whep/{item_id}", post),
        web.options("/whep/{item_id}", _preflight),
        web.delete("/whep/{item_id}/{session_id}", delete),
        web.options("/whep/{item_id}/{session_id}", _preflight),
        web.route("*", "/whep/{item_id}", _not_allowed("POST, OPTIONS")),
        web.route("*", "/whep/{item_id}/{session_id}", _not_allowed("DELETE, OPTIONS")),
    ]


def words(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """Make a reply for people."""
    return web.Response(status=status, text=text + "\n", headers={**ANYWHERE, **(headers or {})})


def no_session() -> web.Response:
    """Answer a DELETE of a session that is not there."""
    return words(404, "没有这个观看会话，可能已结束 / no such session; it may have ended")


def stopping() -> web.Response:
    """Answer an offer that comes while the server ends."""
    return words(503, "服务正在停止 / the server is stopping", {"Retry-After": "10"})


async def _preflight(_: web.Request) -> web.Response:
    return web.Response(status=204, headers=_PREFLIGHT)


def _not_allowed(allowed: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return words(
            405, "不支持这个方法；没有 trickle ICE / not supported here; there is no trickle ICE", {"Allow": allowed}
        )

    return answer
