"""How the pages of a village are sent: never kept, since each shows what is so now."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from edge_server.portal import PortalReply


def to(path: str, *fields: tuple[str, str]) -> PortalReply:
    """Lead on to another page by GET, so that reloading repeats no form."""
    return PortalReply(303, headers=(("Location", quote(path, safe="/?=&")), ("Cache-Control", "no-store"), *fields))


def sent(reply: PortalReply) -> web.Response:
    """Make the answer of a reply."""
    response = web.Response(status=reply.status, body=reply.body)
    response.headers["Content-Type"] = reply.media_type
    for name, value in reply.headers:
        if name != "Cache-Control":
            response.headers.add(name, value)
    response.headers["Cache-Control"] = "no-store"
    return response
