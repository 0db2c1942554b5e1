"""New boxes, phones and PCs: the JSON catalogue, and pages for people that work without JavaScript. Pure.

Media, posters and picture-text pages are files; ``egress`` serves those.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
import msgspec

from domain.courseware import Courseware, MediaFamily
from edge_server.catalog import CatalogView
from edge_server.portal import PortalReply, PortalRequest, PortalState
from wire.http_range import evaluate

CATALOGUE_FORMAT = 1
CATALOGUE_PATH = "/api/v1/catalogue"
RENDITION_FOR_NEW = ("R40", "R12")
PLAY_PREFIX = "/play"
FULL_RETRY_S = 30
_MEDIA_PATH = re.compile(r"/(?:hls|dash|media)/([0-9]{1,12})/[^/\s]+(?:/[^/\s]+)*\Z")
_WHEP_PATH = re.compile(PLAY_PREFIX + r"/whep/([0-9]{1,12})\Z")
_JSON = "application/json; charset=utf-8"


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
        if request.path == CATALOGUE_PATH:
            return _catalogue(request, state.view, PLAY_PREFIX if state.ticketed else "")
        if request.path == "/":
            return self._home(state.view)
        if request.path.startswith("/watch/"):
            item = state.view.item(request.path.removeprefix("/watch/"))
            if item is not None and item.renditions:
                return self._watch(item, state)
        if request.path.startswith(PLAY_PREFIX + "/"):
            return self._play(request.path.removeprefix(PLAY_PREFIX), state)
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

    def _play(self, path: str, state: PortalState) -> PortalReply:
        """Send a player on to a media path with a fresh ticket; such links live as long as the catalogue."""
        match = _MEDIA_PATH.match(path)
        return self._send_on(302, match[1] if match else "", quote(path), state)

    def _offer(self, item_id: str, request: PortalRequest, state: PortalState) -> PortalReply:
        """Send an offer on to WHEP with a fresh ticket; 307 keeps method and body (RFC 9110 §15.4.8)."""
        asked = f"?{urlencode(request.query)}" if request.query else ""
        return self._send_on(307, item_id, f"/whep/{item_id}{asked}", state)

    def _send_on(self, status: int, item_id: str, target: str, state: PortalState) -> PortalReply:
        if state.view.item(item_id) is None:
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


def _catalogue(request: PortalRequest, view: CatalogView, before: str) -> PortalReply:
    """Write the JSON catalogue; its ETag is another when the content is: polling costs nothing."""
    etag = f'"catalogue-{CATALOGUE_FORMAT}-{view.mark}{"-tickets" if before else ""}"'
    fields = (("ETag", etag), ("Cache-Control", "no-cache"), ("Access-Control-Allow-Origin", "*"))
    asked = {name: request.headers[name] for name in ("If-Match", "If-None-Match") if name in request.headers}
    answer = evaluate(request.method, asked, etag=etag, last_modified=view.active.issued, length_bytes=0)
    if answer.status != 200:
        return PortalReply(answer.status, b"", _JSON, fields)
    columns = [
        {
            "id": column.column_id,
            "title": column.title,
            "items": [_entry(i, before) for i in view.items_in(column.column_id)],
        }
        for column in view.columns
    ]
    body = msgspec.json.encode({"format": CATALOGUE_FORMAT, "seq": view.seq, "columns": columns})
    return PortalReply(200, body, _JSON, fields)


def _entry(item: Courseware, before: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": item.item_id,
        "title": item.title,
        "summary": item.summary,
        "class": item.item_class.value,
        "family": item.family.value,
        "duration_s": item.duration_s,
        "issued_at": item.issued_at,
        "poster": _poster(item),
    }
    if item.family is MediaFamily.PICTURE_TEXT:
        return {**entry, "page": f"/lessons/{item.item_id}/"}
    best = next((name for name in RENDITION_FOR_NEW if item.rendition(name) is not None), None)
    if best is None:
        return {**entry, "play": {}}  # listed on every box, playable on none: better than no catalogue at all
    play = {
        "progressive": f"{before}/media/{item.item_id}/{best}.mp4",
        "hls_fmp4": f"{before}/hls/{item.item_id}/fmp4/master.m3u8",
        "hls_ts": f"{before}/hls/{item.item_id}/ts/master.m3u8",
        "dash": f"{before}/dash/{item.item_id}/manifest.mpd",
    }
    return {**entry, "play": play, "subtitles": _subtitles(item)}


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
