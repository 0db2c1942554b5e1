"""The edge's HTTP port: HTTP egresses by route, every other path to the portal dialects.

Dialects decide and do no I/O; this module reads the request and writes the reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import structlog
from aiohttp import web

from edge_server.egress import SERVER_BANNER
from edge_server.portal import REQUEST_BODY_MAX_BYTES, Dialect, PortalReply, PortalRequest, PortalState

log = structlog.get_logger()

FORM_FIELDS_MAX = 200
GONE = PortalReply(404, "没有这个页面 / no such page\n".encode(), "text/plain; charset=utf-8")
_FORM = "application/x-www-form-urlencoded"


def dialect_for(path: str, dialects: Sequence[Dialect]) -> Dialect | None:
    """Choose the dialect with the longest prefix of the path."""
    matches = [(len(prefix), dialect) for dialect in dialects for prefix in dialect.prefixes if path.startswith(prefix)]
    return max(matches, key=lambda match: match[0])[1] if matches else None


async def read_request(request: web.Request) -> PortalRequest:
    """Take the bytes of one request.

    Raises:
        web.HTTPRequestEntityTooLarge: the body is over ``REQUEST_BODY_MAX_BYTES``.
    """
    form: dict[str, str] = {}
    if request.body_exists:
        body = await request.content.read(REQUEST_BODY_MAX_BYTES + 1)
        while len(body) <= REQUEST_BODY_MAX_BYTES and not request.content.at_eof():
            body += await request.content.read(REQUEST_BODY_MAX_BYTES + 1 - len(body))
        if len(body) > REQUEST_BODY_MAX_BYTES:
            raise web.HTTPRequestEntityTooLarge(REQUEST_BODY_MAX_BYTES, len(body))
        # Old boxes often send no type or a wrong one; the body of a POST to a portal page is always a form.
        if request.content_type in (_FORM, "application/octet-stream", "text/plain"):
            text = body.decode("utf-8", "replace")
            form = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
    local = request.transport.get_extra_info("sockname") if request.transport else None
    host = request.headers.get("Host") or (f"{local[0]}:{local[1]}" if local else "127.0.0.1")
    return PortalRequest(
        method=request.method,
        path=request.path,
        query=dict(request.query),
        form=form,
        headers=request.headers,
        cookies=request.cookies,
        remote=request.remote or "",
        host=host,
    )


@dataclass(slots=True)
class HttpPort:
    """A ``runtime.service.Service`` that owns the port."""

    host: str
    port: int
    routes: Sequence[web.RouteDef]
    dialects: Sequence[Dialect]
    state: Callable[[PortalRequest], PortalState]
    """What the dialects may read, as of now."""
    grace_s: float
    address: str = ""
    """Base URL, known once ready."""
    _runner: web.AppRunner | None = field(default=None)

    async def run(self, ready: Callable[[], None]) -> None:
        """Listen until cancelled."""
        app = web.Application(client_max_size=REQUEST_BODY_MAX_BYTES)
        app.on_response_prepare.append(_sign)
        app.add_routes(self.routes)
        app.router.add_route("*", "/{path:.*}", self._portal)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=self.grace_s)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port).start()
            host, port = self._runner.addresses[0][:2]
            self.port = int(port)
            self.address = f"http://{host}:{port}/"
            ready()
            await asyncio.Event().wait()
        finally:
            await self._runner.cleanup()

    async def drain(self) -> None:
        """Stop accepting; running downloads finish inside the grace period."""
        if self._runner is not None:
            await self._runner.shutdown()

    async def _portal(self, request: web.Request) -> web.Response:
        taken = await read_request(request)
        dialect = dialect_for(taken.path, self.dialects)
        reply = dialect.reply(taken, self.state(taken)) if dialect else GONE
        response = web.Response(status=reply.status, body=reply.body)  # aiohttp leaves it out for HEAD
        response.headers["Content-Type"] = reply.media_type
        for name, value in reply.headers:
            response.headers.add(name, value)
        return response


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER_BANNER
