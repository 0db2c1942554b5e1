"""The way to a page of a lesson whose address was written without its last slash."""

from __future__ import annotations

from aiohttp import web

from edge_server.egress import NO_LESSON, EgressContext


def routes(ctx: EgressContext) -> list[web.RouteDef]:
    """Offer the redirections; what they lead to is a resource."""

    async def lesson_without_slash(request: web.Request) -> web.StreamResponse:
        item = ctx.view().item(request.match_info["item_id"])
        if item is None or item.page is None:
            raise web.HTTPNotFound(text=NO_LESSON)
        raise web.HTTPMovedPermanently(f"/lessons/{item.item_id}/")

    return [web.get("/lessons/{item_id}", lesson_without_slash)]
