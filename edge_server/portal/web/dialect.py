"""What is answered when: pages for people, and addresses that send a player on with a ticket."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from urllib.parse import quote, urlencode

from domain.courseware import Courseware
from edge_server.linear import LinearChannel, by_id
from edge_server.portal import PortalReply, PortalRequest, PortalState
from edge_server.portal.web import listing, pad, schedule
from edge_server.portal.web.lessons import RENDITION_FOR_NEW, poster, shown_columns, subtitles
from edge_server.portal.web.paper import Asker, Papers, asker_of, text

PLAY_PREFIX = "/play"
FULL_RETRY_S = 30
_MEDIA_PATH = re.compile(r"/(?:hls|dash|media)/([0-9]{1,12})/[^/\s]+(?:/[^/\s]+)*\Z")
_LIVE_PATH = re.compile(r"/live/([0-9]{1,12})(?:\.ts|/index\.m3u8)", re.ASCII)
_WHEP_PATH = re.compile(PLAY_PREFIX + r"/whep/([0-9]{1,12})\Z")
_NEVER_KEPT = (("Cache-Control", "no-store"),)
_SCRIPT_FIELDS = (("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff"))


class WebDialect:
    """See the package."""

    name = "web"
    prefixes = ("/",)

    def __init__(self) -> None:
        """Load the templates that come with the package."""
        self._papers = Papers()
        self._pages: dict[str, Callable[[Asker, PortalState], PortalReply]] = {
            "/": self._home,
            "/columns": self._columns,
            "/channels": self._channels,
            "/search": self._search,
            "/keys": self._keys,
        }

    def reply(self, request: PortalRequest, state: PortalState) -> PortalReply:
        """Answer one request; unknown paths get the 404 page."""
        if request.method == "POST" and (match := _WHEP_PATH.match(request.path)):
            return self._offer(match[1], request, state)
        if request.method not in ("GET", "HEAD"):
            return PortalReply(405, b"", headers=(("Allow", "GET, HEAD"),))
        if (script := self._papers.scripts.get(request.path)) is not None:
            return PortalReply(200, script, "text/javascript; charset=utf-8", _SCRIPT_FIELDS)
        asker = asker_of(request, state)
        if (page := self._pages.get(request.path)) is not None:
            return page(asker, state)
        if request.path.startswith("/watch/"):
            item = state.view.item(request.path.removeprefix("/watch/"))
            if item is not None and item.renditions:
                return self._watch(item, asker, state)
        if request.path.startswith("/channel/"):
            channel = by_id(state.channels, request.path.removeprefix("/channel/"))
            if channel is not None:
                return self._channel(channel, asker, state)
        if request.path.startswith(PLAY_PREFIX + "/"):
            return self._play(request, state)
        return self._missing(asker)

    def _home(self, asker: Asker, state: PortalState) -> PortalReply:
        """One column, a page at a time; the others are a key away."""
        view, query = state.view, asker.request.query
        columns = shown_columns(view)
        first = next((each for each in columns if view.items_in(each.column_id)), columns[0] if columns else None)
        chosen = next((each for each in columns if each.column_id == query.get("column")), first)
        tabs, more = listing.tabs_around(view, chosen.column_id if chosen else None, asker.room.tabs)
        items = view.items_in(chosen.column_id) if chosen else ()
        number, left = asker.number("page"), view.item(query.get("at", "")) if "page" not in query else None
        if left is not None:  # who comes back from a lesson that does not know its page
            number = listing.page_with(left, view, asker.room.cards)
        part = listing.part_of([listing.card(each, asker.room) for each in items], number, asker.room.cards)
        return self._papers.write(
            "home.html",
            asker,
            view=view,
            tabs=tabs,
            more=more,
            chosen=chosen,
            part=part,
            begin=query.get("at", part.entries[0].item_id if part.entries else ""),
            updated=view.active.issued.astimezone(schedule.PEOPLES_CLOCK) if view.seq else None,
            has_channels=bool(state.channels),
        )

    def _columns(self, asker: Asker, state: PortalState) -> PortalReply:
        view = state.view
        columns = [(each, len(view.items_in(each.column_id))) for each in shown_columns(view)]
        part = listing.part_of(columns, asker.number("page"), 3 * asker.room.rows)
        return self._papers.write("columns.html", asker, part=part)

    def _search(self, asker: Asker, state: PortalState) -> PortalReply:
        query = " ".join(text(asker.request.query.get("q", ""))[: listing.QUERY_MAX_CHARS].split())
        found = listing.search(state.view, query)
        part = listing.part_of(found, asker.number("page"), asker.room.found)
        lines = [listing.card(each, asker.room, asker.room.found_units) for each in part.entries]
        keys = pad.keys(state.view, query, found)
        pressed = asker.request.query.get("key", "")
        begin = pad.begin(keys, pressed, query, found=bool(lines))
        return self._papers.write(
            "search.html",
            asker,
            query=query,
            part=part,
            lines=lines,
            count=len(found),
            rows=pad.rows(keys),
            shorter=query[:-1].rstrip(),
            begin=begin,
        )

    def _channels(self, asker: Asker, state: PortalState) -> PortalReply:
        now = state.now.astimezone(UTC)
        part = listing.part_of(schedule.on_air(state.channels, now), asker.number("page"), asker.room.rows // 2)

        def short(title: str) -> str:
            return listing.shorten(title, asker.room.title_units)

        return self._papers.write("channels.html", asker, part=part, short=short)

    def _channel(self, channel: LinearChannel, asker: Asker, state: PortalState) -> PortalReply:
        prefix = state.ticket(channel.channel_id)
        if prefix is None:
            return self._full(asker)
        media = f"{prefix}/live/{channel.channel_id}/index.m3u8"
        now = state.now.astimezone(UTC)
        return self._papers.write(
            "channel.html",
            asker,
            channel=channel,
            media=media,
            stream=f"rtsp://{state.rtsp_authority}/live/{channel.channel_id}.mpg" if channel.by_rtsp else media,
            lines=schedule.coming(channel, now),
            again=schedule.past(channel, now, media),
        )

    def _keys(self, asker: Asker, state: PortalState) -> PortalReply:
        return self._papers.write("keys.html", asker)

    def _watch(self, item: Courseware, asker: Asker, state: PortalState) -> PortalReply:
        prefix = state.ticket(item.item_id)
        if prefix is None:
            return self._full(asker)
        names = [name for name in RENDITION_FOR_NEW if item.rendition(name) is not None]
        before, after = listing.neighbours(item, state.view)
        return self._papers.write(
            "watch.html",
            asker,
            item=item,
            sources=[f"{prefix}/media/{item.item_id}/{name}.mp4" for name in names],
            playlist=f"{prefix}/hls/{item.item_id}/ts/master.m3u8",
            stream=f"rtsp://{state.rtsp_authority}/vod/{item.item_id}.mpg",
            poster=poster(item),
            subtitles=subtitles(item),
            back=asker.link(
                "/",
                column=item.column_id,
                page=listing.page_with(item, state.view, asker.room.cards),
                at=item.item_id,
            ),
            before=listing.address(before) if before else None,
            after=listing.address(after) if after else None,
        )

    def _play(self, request: PortalRequest, state: PortalState) -> PortalReply:
        """Send a player on to a media path with a fresh ticket; such links live as long as the catalogue."""
        path = request.path.removeprefix(PLAY_PREFIX)
        if live := _LIVE_PATH.fullmatch(path):
            channel_id = live[1] if by_id(state.channels, live[1]) else ""
            return self._send_on(302, channel_id, path + _query(request), request, state)
        match = _MEDIA_PATH.match(path)
        item_id = match[1] if match and state.view.item(match[1]) else ""
        return self._send_on(302, item_id, quote(path), request, state)

    def _offer(self, item_id: str, request: PortalRequest, state: PortalState) -> PortalReply:
        """Send an offer on to WHEP with a fresh ticket; 307 keeps method and body (RFC 9110 §15.4.8)."""
        known = item_id if state.view.item(item_id) else ""
        return self._send_on(307, known, f"/whep/{item_id}{_query(request)}", request, state)

    def _send_on(
        self, status: int, item_id: str, target: str, request: PortalRequest, state: PortalState
    ) -> PortalReply:
        if not item_id:
            return self._missing(asker_of(request, state))
        prefix = state.ticket(item_id)
        if prefix is None:
            return self._full(asker_of(request, state))
        headers = (("Location", prefix + target), ("Access-Control-Allow-Origin", "*"), *_NEVER_KEPT)
        return PortalReply(status, headers=headers)

    def _missing(self, asker: Asker) -> PortalReply:
        return self._papers.write("missing.html", asker, 404)

    def _full(self, asker: Asker) -> PortalReply:
        reply = self._papers.write("full.html", asker, 503)
        return replace(reply, headers=(*reply.headers, ("Retry-After", str(FULL_RETRY_S))))


def _query(request: PortalRequest) -> str:
    return f"?{urlencode(request.query)}" if request.query else ""
