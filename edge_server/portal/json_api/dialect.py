"""The requests of the JSON API and what is answered. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from importlib.resources import files
from typing import Any

import msgspec

from edge_server.linear import PROGRAMMES_MAX_COUNT, by_id
from edge_server.portal import PortalReply, PortalRequest, PortalState, unless_known
from edge_server.portal.json_api import content
from edge_server.sessions.presence import BOX_ID
from wire.catchup import CatchupError, read_moment, span

FORMAT = 1
PREFIX = "/api/v1/"
HEARTBEAT_INTERVAL_S = 300
PROGRAMMES_DEFAULT_S = 86400.0
PROGRAMMES_SPAN_MAX_S = 10 * 86400.0
_JSON = "application/json; charset=utf-8"
_LESSON = re.compile(r"lessons/([0-9]{1,12})", re.ASCII)
_PROGRAMMES = re.compile(r"channels/([0-9]{1,12})/programmes", re.ASCII)
_ITEM = re.compile(r"[0-9]{0,12}", re.ASCII)
_VARY = (("Vary", "Origin"),)


class JsonApiDialect:
    """See the package."""

    name = "json_api"
    prefixes = (PREFIX,)

    def __init__(self) -> None:
        """Read the schema that comes with the package."""
        self._schema = files(__package__).joinpath("schema.json").read_bytes()

    def reply(self, request: PortalRequest, state: PortalState) -> PortalReply:
        """See Dialect."""
        path = request.path.removeprefix(PREFIX)
        wanted = ("POST",) if path == "heartbeat" else ("GET", "HEAD")
        if request.method not in wanted:
            return _refuse(405, "方法不对", "method not allowed", state, ("Allow", ", ".join(wanted)))
        match path:
            case "heartbeat":
                return _heartbeat(request, state)
            case "catalogue":
                return _catalogue(request, state)
            case "columns":
                return _answer(request, state, {"columns": _columns(state)})
            case "channels":
                return _answer(request, state, {"channels": [content.channel(each, state) for each in state.channels]})
            case "time":
                return _told(200, _time(state), state, ("Cache-Control", "no-store"))
            case "schema.json":
                return unless_known(request, state, self._schema, "application/schema+json", _shared(state))
        if found := _LESSON.fullmatch(path):
            item = state.view.item(found[1])
            if item is None:
                return _refuse(404, "没有这个课件，可能已下架", "no such lesson; it may have been withdrawn", state)
            return _answer(request, state, {"lesson": content.lesson(item, state)})
        if found := _PROGRAMMES.fullmatch(path):
            return _programmes(found[1], request, state)
        return _refuse(404, "没有这个地址", "no such address", state)


def _catalogue(request: PortalRequest, state: PortalState) -> PortalReply:
    """Write the catalogue; it is made only for who has an older one."""
    before, view = content.before_media(state), state.view

    def write() -> bytes:
        told = {"format": FORMAT, "seq": view.seq, "columns": content.catalogue(view, before)}
        return msgspec.json.encode(told)

    mark = f"catalogue-{FORMAT}-{view.mark}{'-tickets' if before else ''}"
    return unless_known(request, state, write, _JSON, _shared(state), mark=mark)


def _columns(state: PortalState) -> list[dict[str, Any]]:
    view = state.view
    return [
        {**content.column(each), "lessons": [item.item_id for item in view.items_in(each.column_id)]}
        for each in view.columns
    ]


def _time(state: PortalState) -> dict[str, Any]:
    return {
        "utc": content.moment(state.now),
        "unix_s": state.now.timestamp(),
        "zone_minutes": round(state.utc_offset.total_seconds() / 60),
    }


def _programmes(channel_id: str, request: PortalRequest, state: PortalState) -> PortalReply:
    channel = by_id(state.channels, channel_id)
    if channel is None:
        return _refuse(404, "没有这个频道", "no such channel", state)
    try:
        since = read_moment(request.query["since"]) if "since" in request.query else state.now
        ahead = since + timedelta(seconds=PROGRAMMES_DEFAULT_S)
        until = read_moment(request.query["until"]) if "until" in request.query else ahead
        span(since, until)
    except (CatchupError, OverflowError) as error:
        return _refuse(400, "时间不对", str(error), state)
    if (until - since).total_seconds() > PROGRAMMES_SPAN_MAX_S:
        most = f"at most {PROGRAMMES_SPAN_MAX_S / 86400:g} days in one answer"
        return _refuse(400, "时间太长", most, state)
    found = channel.programmes(since, until)
    told = {"channel": channel_id, "programmes": [content.programme(each) for each in found]}
    return _answer(request, state, {**told, "truncated": len(found) >= PROGRAMMES_MAX_COUNT})


def _heartbeat(request: PortalRequest, state: PortalState) -> PortalReply:
    """Count a box; it learns whether to fetch the catalogue again."""
    fields = {**request.query, **request.form}
    box, item_id = fields.get("box", ""), fields.get("item", "")
    if not BOX_ID.fullmatch(box) or not _ITEM.fullmatch(item_id):
        words = "box: 1 to 64 letters, digits or : . _ -; item: the id of a lesson, or nothing"
        return _refuse(400, "box 或 item 不对", words, state)
    state.presence.hear(box, request.remote, state.monotonic_s, item_id)
    told = {"interval_s": HEARTBEAT_INTERVAL_S, "catalogue": state.view.mark, **_time(state)}
    return _told(200, told, state, ("Cache-Control", "no-store"))


def _shared(state: PortalState) -> tuple[tuple[str, str], ...]:
    """Let pages of another origin read the answer, if the edge is told so."""
    return (("Access-Control-Allow-Origin", state.api_origin), *_VARY) if state.api_origin else ()


def _answer(request: PortalRequest, state: PortalState, told: dict[str, Any]) -> PortalReply:
    body = msgspec.json.encode({"format": FORMAT, **told})
    return unless_known(request, state, body, _JSON, _shared(state))


def _told(status: int, told: dict[str, Any], state: PortalState, *headers: tuple[str, str]) -> PortalReply:
    body = msgspec.json.encode({"format": FORMAT, **told})
    return PortalReply(status, body, _JSON, (*headers, *_shared(state)))


def _refuse(status: int, words: str, english: str, state: PortalState, *headers: tuple[str, str]) -> PortalReply:
    return _told(status, {"error": f"{words} / {english}"}, state, *headers)
