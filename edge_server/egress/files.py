"""Whole files over HTTP: progressive MP4, posters, and the pages of picture-text lessons with their images."""

from __future__ import annotations

import posixpath

from aiohttp import web

from domain.courseware import Asset, Courseware
from edge_server.egress import REVALIDATE, EgressContext, Slice, etag_of, moment, not_found, send
from edge_server.store import StoredFile

_LESSON_POLICY = (
    ("Content-Security-Policy", "default-src 'self' data: 'unsafe-inline'; script-src 'none'; object-src 'none'"),
    ("X-Content-Type-Options", "nosniff"),
)
"""Pages and pictures were cleaned when they were published; a browser is told so too (an SVG is a page as well)."""


def routes(ctx: EgressContext) -> list[web.RouteDef]:
    """Offer the routes of this egress."""

    async def progressive(request: web.Request) -> web.StreamResponse:
        item = ctx.view().item(request.match_info["item_id"])
        rendition = item.rendition(request.match_info["rendition"]) if item else None
        stored = ctx.view().file(rendition.path) if rendition else None
        if item is None or stored is None:
            raise not_found()
        return await send(request, _whole(item, stored, "video/mp4"))

    async def poster(request: web.Request) -> web.StreamResponse:
        item = ctx.view().item(request.match_info["item_id"])
        return await _asset(request, item, item.poster if item else None)

    async def lesson(request: web.Request) -> web.StreamResponse:
        item = ctx.view().item(request.match_info["item_id"])
        return await _asset(request, item, _asset_of(item, request.match_info["asset"]) if item else None)

    async def lesson_without_slash(request: web.Request) -> web.StreamResponse:
        item = ctx.view().item(request.match_info["item_id"])
        if item is None or item.page is None:
            raise not_found()
        raise web.HTTPMovedPermanently(f"/lessons/{item.item_id}/")

    async def _asset(request: web.Request, item: Courseware | None, asset: Asset | None) -> web.StreamResponse:
        stored = ctx.view().file(asset.path) if asset else None
        if item is None or asset is None or stored is None:
            raise not_found()
        is_page = asset is item.page
        media_type = "text/html; charset=utf-8" if is_page else asset.media_type
        return await send(request, _whole(item, stored, media_type, _LESSON_POLICY))

    return [
        web.get("/media/{item_id}/{rendition}.mp4", progressive),
        web.get("/posters/{item_id}.jpg", poster),
        web.get("/lessons/{item_id}", lesson_without_slash),
        web.get("/lessons/{item_id}/{asset:.*}", lesson),
    ]


def _whole(item: Courseware, stored: StoredFile, media_type: str, headers: tuple[tuple[str, str], ...] = ()) -> Slice:
    return Slice(
        file=stored.file,
        start=0,
        length_bytes=stored.length_bytes,
        etag=etag_of(stored.sha256),
        modified=moment(item.issued_at),
        media_type=media_type,
        cache_control=REVALIDATE,
        headers=headers,
    )


def _asset_of(item: Courseware, name: str) -> Asset | None:
    """Find a file of a picture-text lesson by its name beside the page; no path is ever built from the request."""
    if item.page is None:
        return None
    if name in ("", posixpath.basename(item.page.path)):
        return item.page
    folder = posixpath.dirname(item.page.path)
    return next((asset for asset in item.page_assets if posixpath.relpath(asset.path, folder) == name), None)
