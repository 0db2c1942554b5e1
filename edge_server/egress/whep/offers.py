"""An offer as it comes by HTTP, and the address at which it came."""

from __future__ import annotations

from aiohttp import web

from edge_server.egress.whep.doors import OFFER_TYPE
from edge_server.egress.whep.negotiate import Refused
from wire.sdp import SDP_MAX_BYTES


async def offer_of(request: web.Request) -> bytes:
    """Read the body.

    Raises:
        Refused: it is no SDP by its type (415), or too long (413).
    """
    if request.content_type != OFFER_TYPE:
        raise Refused(415, f"请用 Content-Type: {OFFER_TYPE} / send the offer as {OFFER_TYPE}")
    raw = b""
    while len(raw) <= SDP_MAX_BYTES and not request.content.at_eof():
        raw += await request.content.read(SDP_MAX_BYTES + 1 - len(raw))
    if len(raw) > SDP_MAX_BYTES:
        raise Refused(413, f"SDP 太大 / an offer has at most {SDP_MAX_BYTES} bytes")
    return raw


def reached_at(request: web.Request) -> str:
    """Return our address, as whoever asks has reached us.

    Raises:
        Refused: the connection is gone, or the server stops.
    """
    transport = request.transport
    local = transport.get_extra_info("sockname") if transport is not None else None
    if local is None:
        raise Refused(503, "服务正在停止 / the server is stopping")
    return str(local[0])
