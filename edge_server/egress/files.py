"""Whole files over HTTP: progressive MP4, posters, subtitles, and pages of picture-text lessons with their images."""

from __future__ import annotations

import posixpath

from domain.courseware import Asset, Courseware
from edge_server.catalog import CatalogView
from edge_server.egress import REVALIDATE, EgressContext, FileRange, Find, Resource, etag_of, moment, screens_of
from edge_server.store import StoredFile

_NOSNIFF = ("X-Content-Type-Options", "nosniff")
_LESSON_POLICY = (
    ("Content-Security-Policy", "default-src 'self' data: 'unsafe-inline'; script-src 'none'; object-src 'none'"),
    _NOSNIFF,
)
"""Pages and pictures were cleaned when they were published; a browser is told so too (an SVG is a page as well)."""
_SCREEN_POLICY = (
    (
        "Content-Security-Policy",
        "default-src 'self' data: 'unsafe-inline'; script-src 'self'; object-src 'none'; base-uri 'none'",
    ),
    _NOSNIFF,
)
"""A screen is walked by a script, ours; no file of a lesson is served as one."""


_ANYWHERE = (("Access-Control-Allow-Origin", "*"),)
PREFIXES = ("/media/", "/posters/", "/subtitles/", "/lessons/")


def find(ctx: EgressContext) -> Find:
    """Offer whole files by path."""

    def look(path: str) -> Resource | None:
        if not path.startswith(PREFIXES):
            return None
        _, kind, name, *rest = path.split("/", 3)
        view = ctx.view()
        if kind == "media" and rest and rest[0].endswith(".mp4"):
            item = view.item(name)
            rendition = item.rendition(rest[0].removesuffix(".mp4")) if item else None
            stored = view.file(rendition.path) if rendition else None
            return _whole(item, stored, "video/mp4") if item and stored else None
        if kind == "posters" and not rest and name.endswith(".jpg"):
            item = view.item(name.removesuffix(".jpg"))
            return _asset(view, item, item.poster if item else None)
        if kind == "subtitles" and rest and rest[0].endswith(".vtt"):
            item = view.item(name)
            words = item.subtitle(rest[0].removesuffix(".vtt")) if item else None
            stored = view.file(words.path) if words else None
            return _whole(item, stored, "text/vtt; charset=utf-8", _ANYWHERE) if item and stored else None
        if kind == "lessons" and rest:
            item = view.item(name)
            return _asset(view, item, _asset_of(item, rest[0]) if item else None)
        return None

    return look


def _asset(view: CatalogView, item: Courseware | None, asset: Asset | None) -> Resource | None:
    stored = view.file(asset.path) if asset else None
    if item is None or asset is None or stored is None:
        return None
    if asset is item.page:
        return _whole(item, stored, "text/html; charset=utf-8", _LESSON_POLICY)
    is_screen = asset.media_type.startswith("text/html;")
    return _whole(item, stored, asset.media_type, _SCREEN_POLICY if is_screen else _LESSON_POLICY)


def _whole(
    item: Courseware, stored: StoredFile, media_type: str, headers: tuple[tuple[str, str], ...] = ()
) -> Resource:
    return Resource(
        parts=(FileRange(stored.file, 0, stored.length_bytes),) if stored.length_bytes else (),
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
    if name == "" and screens_of(item) is not None:
        return None  # which of them depends on who asks: see pages
    if name in ("", posixpath.basename(item.page.path)):
        return item.page
    folder = posixpath.dirname(item.page.path)
    return next((asset for asset in item.page_assets if posixpath.relpath(asset.path, folder) == name), None)
