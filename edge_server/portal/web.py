"""New boxes, phones and PCs: pages for people that work without JavaScript. Pure.

Media, posters and picture-text pages are files; ``egress`` serves those.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlencode

import jinja2

from domain.courseware import Courseware, MediaFamily
from edge_server.catalog import CatalogView
from edge_server.linear import by_id
from edge_server.portal import PortalReply, PortalRequest, PortalState

RENDITION_FOR_NEW = ("R40", "R12")
PLAY_PREFIX = "/play"
FULL_RETRY_S = 30
_MEDIA_PATH = re.compile(r"/(?:hls|dash|media)/([0-9]{1,12})/[^/\s]+(?:/[^/\s]+)*\Z")
_LIVE_PATH = re.compile(r"/live/([0-9]{1,12})(?:\.ts|/index\.m3u8)", re.ASCII)
_WHEP_PATH = re.compile(PLAY_PREFIX + r"/whep/([0-9]{1,12})\Z")


class WebDialect:
    """See the module."""

    name = "web"
    prefixes = ("/",)

    def __init__(self) -> None:
        """Load the templates that come with the package."""
        self._pages = jinja2.Environment(
            loader=jinja2.PackageLoader("edge_server.portal", "templates"),
            autoescape=True,
            trim_blocks=True,
            undefined=jinja2.StrictUndefined,
        )

    def reply(self, request: PortalRequest, state: PortalState) -> PortalReply:
        """Answer one request; unknown paths get the 404 page."""
        if request.method == "POST" and (match := _WHEP_PATH.match(request.path)):
            return self._offer(match[1], request, state)
        if request.method not in ("GET", "HEAD"):
            return PortalReply(405, b"", headers=(("Allow", "GET, HEAD"),))
        if request.path == "/":
            return self._home(state.view)
        if request.path.startswith("/watch/"):
            item = state.view.item(request.path.removeprefix("/watch/"))
            if item is not None and item.renditions:
                return self._watch(item, state)
        if request.path.startswith(PLAY_PREFIX + "/"):
            return self._play(request.path.removeprefix(PLAY_PREFIX), request, state)
        return PortalReply(404, self._render("missing.html"), headers=_PAGE)

    def _home(self, view: CatalogView) -> PortalReply:
        columns = [(column, [_card(item) for item in view.items_in(column.column_id)]) for column in view.columns]
        first = next((column.column_id for column, cards in columns if cards), None)
        return PortalReply(200, self._render("home.html", columns=columns, first=first, view=view), headers=_PAGE)

    def _watch(self, item: Courseware, state: PortalState) -> PortalReply:
        prefix = state.ticket(item.item_id)
        if prefix is None:
            return self._full()
        names = [name for name in RENDITION_FOR_NEW if item.rendition(name) is not None]
        sources = [f"{prefix}/media/{item.item_id}/{name}.mp4" for name in names]
        return PortalReply(
            200,
            self._render("watch.html", item=item, sources=sources, poster=_poster(item), subtitles=_subtitles(item)),
            headers=_PAGE,
        )

    def _play(self, path: str, request: PortalRequest, state: PortalState) -> PortalReply:
        """Send a player on to a media path with a fresh ticket; such links live as long as the catalogue."""
        if live := _LIVE_PATH.fullmatch(path):
            channel_id = live[1] if by_id(state.channels, live[1]) else ""
            return self._send_on(302, channel_id, path + _query(request), state)
        match = _MEDIA_PATH.match(path)
        item_id = match[1] if match and state.view.item(match[1]) else ""
        return self._send_on(302, item_id, quote(path), state)

    def _offer(self, item_id: str, request: PortalRequest, state: PortalState) -> PortalReply:
        """Send an offer on to WHEP with a fresh ticket; 307 keeps method and body (RFC 9110 §15.4.8)."""
        known = item_id if state.view.item(item_id) else ""
        return self._send_on(307, known, f"/whep/{item_id}{_query(request)}", state)

    def _send_on(self, status: int, item_id: str, target: str, state: PortalState) -> PortalReply:
        if not item_id:
            return PortalReply(404, self._render("missing.html"), headers=_PAGE)
        prefix = state.ticket(item_id)
        if prefix is None:
            return self._full()
        headers = (("Location", prefix + target), ("Access-Control-Allow-Origin", "*"), *_NEVER_KEPT)
        return PortalReply(status, headers=headers)

    def _full(self) -> PortalReply:
        return PortalReply(503, self._render("full.html"), headers=(*_PAGE, ("Retry-After", str(FULL_RETRY_S))))

    def _render(self, template: str, **values: Any) -> bytes:
        return self._pages.get_template(template).render(values).encode()


_NEVER_KEPT = (("Cache-Control", "no-store"),)
_PAGE = (
    ("Cache-Control", "no-cache"),
    ("Content-Security-Policy", "default-src 'self' data: 'unsafe-inline'; script-src 'none'; object-src 'none'"),
    ("X-Content-Type-Options", "nosniff"),
)
"""These pages have no script, and a browser is told so: a title can never become one."""


def _query(request: PortalRequest) -> str:
    return f"?{urlencode(request.query)}" if request.query else ""


def _card(item: Courseware) -> dict[str, Any]:
    if item.family is MediaFamily.PICTURE_TEXT:
        return {"title": item.title, "href": f"/lessons/{item.item_id}/", "poster": _poster(item), "length": None}
    length = _length(item.duration_s)
    return {"title": item.title, "href": f"/watch/{item.item_id}", "poster": _poster(item), "length": length}


def _length(duration_s: float) -> str:
    """Write a duration as people do: 4:05, 1:04:05."""
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _subtitles(item: Courseware) -> list[dict[str, str]]:
    return [
        {"language": each.language, "label": each.label, "url": f"/subtitles/{item.item_id}/{each.language}.vtt"}
        for each in item.subtitles
    ]


def _poster(item: Courseware) -> str | None:
    return f"/posters/{item.item_id}.jpg" if item.poster is not None else None


DIALECT = WebDialect()
