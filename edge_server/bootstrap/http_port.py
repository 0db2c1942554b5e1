"""The edge's HTTP port: media by the plane, a few routes by aiohttp, every other path by the portal dialects.

Dialects decide and do no I/O; this module reads the request and writes the reply.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from edge_server.bootstrap.http_settings import HttpSettings, Tls
from edge_server.bootstrap.https import listen_tls
from edge_server.egress import NO_LESSON, SERVER_BANNER
from edge_server.plane.bad_requests import BadRequests
from edge_server.plane.counts import Count, Counts
from edge_server.plane.front import Front
from edge_server.plane.handover import GiveBack, HandedOver, Wanted
from edge_server.plane.journal import Journal
from edge_server.plane.listener import listen, room_for
from edge_server.plane.lookup import Media
from edge_server.plane.pages import Pages
from edge_server.plane.through_aiohttp import answer
from edge_server.plane.workers import Command, Passed, Workers
from edge_server.portal import REQUEST_BODY_MAX_BYTES, Dialect, PortalReply, PortalRequest, PortalState
from edge_server.sessions.tickets import Refused, of_account
from runtime.clock import Clock
from wire.http_request import path_of

FORM_FIELDS_MAX = 200
BODY_TIMEOUT_S = 30.0
"""For a form of at most ``REQUEST_BODY_MAX_BYTES``."""
GONE = PortalReply(404, "没有这个页面 / no such page\n".encode(), "text/plain; charset=utf-8")
_FAULTS = logging.getLogger("edge_server.http")
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Crew:
    """How to start workers, and where each counts."""

    command: Command
    rows: Sequence[Counts]


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
    body = b""
    if request.body_exists:
        body = await request.content.read(REQUEST_BODY_MAX_BYTES + 1)
        while len(body) <= REQUEST_BODY_MAX_BYTES and not request.content.at_eof():
            body += await request.content.read(REQUEST_BODY_MAX_BYTES + 1 - len(body))
        if len(body) > REQUEST_BODY_MAX_BYTES:
            raise web.HTTPRequestEntityTooLarge(REQUEST_BODY_MAX_BYTES, len(body))
        # Old boxes often send no type or a wrong one; the body of a POST to a portal page is always a form.
        if request.content_type in (_FORM, "application/octet-stream", "text/plain"):
            text = body.decode("utf-8", "replace")
            try:
                form = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
            except ValueError as error:
                raise web.HTTPBadRequest(text="表单项太多 / too many fields in the form\n") from error
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
        body=body,
        port=local[1] if local else 0,
        scheme=request.scheme,
    )


@dataclass(slots=True)
class HttpPort:
    """A ``runtime.service.Service`` that owns the port: media by the plane, everything else by aiohttp."""

    host: str
    port: int
    media: Media
    routes: Sequence[web.RouteDef]
    """Of aiohttp: what is neither a medium nor a page."""
    dialects: Sequence[Dialect]
    state: Callable[[PortalRequest], PortalState]
    """What the dialects may read, as of now."""
    clock: Clock
    settings: HttpSettings = field(default_factory=HttpSettings)
    counts: Counts = field(default_factory=Counts)
    pages: Pages | None = None
    """What knows the disk; made here unless somebody else does."""
    crew: Crew | None = None
    """Worker processes that serve media instead of this one."""
    address: str = ""
    """Base URL, known once ready."""
    _runner: web.AppRunner | None = None
    _front: Front | None = None
    _workers: Workers | None = None
    _tls: asyncio.Server | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        """Listen until cancelled.

        Raises:
            OSError: the address, a certificate or the access log cannot be used.
        """
        app = web.Application(client_max_size=REQUEST_BODY_MAX_BYTES)
        app.on_response_prepare.append(_sign)
        app.add_routes(self.routes)
        app.router.add_route("*", "/{path:.*}", self._other)
        limits = self.settings.limits
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_FAULTS,
            shutdown_timeout=self.settings.grace_s,
            keepalive_timeout=limits.idle_timeout_s,
        )
        bad_requests = BadRequests(self.clock)
        _FAULTS.addFilter(bad_requests)
        await self._runner.setup()
        try:
            if self.settings.tls is not None:
                await self._serve_tls(self._runner, self.settings.tls, ready)
            else:
                await self._serve_plain(self._runner, ready)
        finally:
            await self._runner.cleanup()
            _FAULTS.removeFilter(bad_requests)

    async def drain(self) -> None:
        """Stop accepting; running downloads finish inside the grace period."""
        if self._workers is not None:
            await self._workers.drain()
        if self._front is not None:
            await self._front.drain()
        if self._tls is not None:
            self._tls.close()
        if self._runner is not None:
            await self._runner.shutdown()

    async def _serve_tls(self, runner: web.AppRunner, tls: Tls, ready: Callable[[], None]) -> None:
        assert runner.server is not None, "set up"
        listening = self._tls = await listen_tls(
            runner.server, self.host, self.port, self.settings, tls, self.counts, _FAULTS
        )
        try:
            self._named("https", listening.sockets[0].getsockname())
            ready()
            await asyncio.Event().wait()
        finally:
            listening.close()

    async def _serve_plain(self, runner: web.AppRunner, ready: Callable[[], None]) -> None:
        settings = self.settings
        room = room_for(settings.limits.connections_max_count, settings.limits.files_max_count)
        limits = replace(settings.limits, connections_max_count=room)
        async with asyncio.TaskGroup() as group:
            front: Front

            def hand_over(sock: socket.socket, data: bytes, peer: str) -> None:
                take(sock, data, lambda back, rest: front.plane.take(back, peer, rest))

            def take(sock: socket.socket, data: bytes, back: GiveBack) -> None:
                connecting = group.create_task(self._connect(runner, front.plane.wants, sock, data, back))
                connecting.add_done_callback(lambda task: sock.close() if task.cancelled() else None)

            def received(passed: Passed) -> None:
                self.counts.row[Count.OPEN] += 1

                def back(sock: socket.socket, rest: bytes) -> None:
                    if not passed.channel.open:
                        front.plane.take(sock, passed.peer, rest)
                        return
                    self.counts.row[Count.OPEN] -= 1
                    passed.channel.pass_on(sock, rest, passed.peer)

                take(passed.sock, passed.data, back)

            if self.crew is None:
                listening = listen(self.host, self.port)
                self._named("http", listening.getsockname())
            else:
                listening = None
                self._workers = Workers(self.clock, self.crew.command, self.crew.rows, received)
                self._named("http", self._workers.listen(self.host, self.port))
            front = self._front = Front(
                self.clock,
                self.media,
                hand_over,
                limits=limits,
                counts=self.counts,
                rows=[self.counts, *(self.crew.rows if self.crew else ())],
                listening=listening,
                journal=Journal(settings.access_log) if settings.access_log is not None else None,
                accel=settings.accel,
                pages=self.pages,
            )
            if self._workers is not None:
                group.create_task(self._workers.run(ready))
                await front.run(lambda: None)
            else:
                await front.run(ready)

    async def _connect(
        self, runner: web.AppRunner, wanted: Wanted, sock: socket.socket, data: bytes, back: GiveBack
    ) -> None:
        """Give a connection to aiohttp."""
        loop, server = asyncio.get_running_loop(), runner.server
        try:
            if server is None:
                raise ConnectionAbortedError("the port is closed")
            await loop.connect_accepted_socket(
                lambda: HandedOver(
                    server,
                    data,
                    loop=loop,
                    wanted=wanted,
                    back=back,
                    counts=self.counts,
                    logger=_FAULTS,
                    keepalive_timeout=self.settings.limits.idle_timeout_s,
                ),
                sock,
            )
        except OSError:  # the client is gone
            sock.close()
            self.counts.row[Count.OPEN] -= 1

    def _named(self, scheme: str, address: tuple[Any, ...]) -> None:
        host, port = address[:2]
        self.port = int(port)
        self.address = f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"

    async def _other(self, request: web.Request) -> web.StreamResponse:
        path = path_of(request.raw_path)
        if path is not None and request.method in ("GET", "HEAD"):
            now_s = self.clock.monotonic()
            allowed = self.media.door(path, now_s)
            if isinstance(allowed, Refused):
                return web.Response(status=allowed.status, text=allowed.words)
            if (resource := self.media.find(allowed.path)) is not None:
                self.media.seen(allowed.viewing, resource.length_bytes, now_s)
                return await answer(request, resource)
            if allowed.path.startswith(self.media.prefixes) and not of_account(allowed.path):
                raise web.HTTPNotFound(text=NO_LESSON)
        return await self._portal(request)

    async def _portal(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                taken = await read_request(request)
        except TimeoutError as error:
            raise web.HTTPRequestTimeout from error
        dialect = dialect_for(taken.path, self.dialects)
        reply = dialect.reply(taken, self.state(taken)) if dialect else GONE
        response = web.Response(status=reply.status, body=reply.body)  # aiohttp leaves it out for HEAD
        response.headers["Content-Type"] = reply.media_type
        for name, value in reply.headers:
            response.headers.add(name, value)
        return response


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER_BANNER
