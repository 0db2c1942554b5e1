"""The ways into and out of a picture-text lesson: screens for who cannot scroll, the flowing page for the others."""

from __future__ import annotations

import posixpath
from urllib.parse import urlencode

from aiohttp import web

from edge_server.egress import NO_LESSON, REVALIDATE, EgressContext, screens_of
from edge_server.sessions.screens import screen_of

_BY_BROWSER = {"Cache-Control": REVALIDATE, "Vary": "User-Agent"}


def routes(ctx: EgressContext) -> list[web.RouteDef]:
    """Offer the redirections; what they lead to is a resource."""

    async def lesson_without_slash(request: web.Request) -> web.StreamResponse:
        item = ctx.view().item(request.match_info["item_id"])
        if item is None or item.page is None:
            raise web.HTTPNotFound(text=NO_LESSON)
        raise web.HTTPMovedPermanently(f"/lessons/{item.item_id}/")

    async def lesson(request: web.Request) -> web.StreamResponse:
        item = ctx.view().item(request.match_info["item_id"])
        if item is None or item.page is None:
            raise web.HTTPNotFound(text=NO_LESSON)
        screen, screens, name = screen_of(request.headers), screens_of(item), posixpath.basename(item.page.path)
        if screens is not None and (screen.old or screen.television):
            name = screens.old if screen.old else screens.television
        raise web.HTTPFound(f"/lessons/{item.item_id}/{name}", headers=_BY_BROWSER)

    async def back(request: web.Request) -> web.StreamResponse:
        item = ctx.view().item(request.match_info["item_id"])
        query = f"?{urlencode({'column': item.column_id, 'at': item.item_id})}" if item else ""
        raise web.HTTPFound(f"/{query}", headers={"Cache-Control": REVALIDATE})

    return [
        web.get("/lessons/{item_id}", lesson_without_slash),
        web.get("/lessons/{item_id}/", lesson),
        web.get("/lessons/{item_id}/back", back),
    ]
