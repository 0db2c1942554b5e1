"""A connection in the hands of aiohttp, which gives it back as soon as its next request is one for a medium."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable

from aiohttp import StreamReader, web

from edge_server.plane.counts import Count, Counts
from edge_server.plane.limits import REST_MAX_BYTES
from wire.http_request import message_bytes

Wanted = Callable[[bytes], bool]
"""Tells whether the request at the start of these bytes is one for the plane."""
GiveBack = Callable[[socket.socket, bytes], None]


class HandedOver(web.RequestHandler):
    """Feeds aiohttp one request at a time, as long as it is certain where each ends; between two, others may take over.

    From the first request whose end is not certain (chunked, an upgrade, no HTTP at all) aiohttp has the connection
    for good.
    """

    __slots__ = (
        "_answering",
        "_back",
        "_body",
        "_counts",
        "_due_bytes",
        "_ended",
        "_first",
        "_for_good",
        "_head_asked",
        "_left",
        "_waiting",
        "_wanted",
    )

    def __init__(
        self,
        server: web.Server,
        first: bytes,
        *,
        loop: asyncio.AbstractEventLoop,
        wanted: Wanted,
        back: GiveBack,
        counts: Counts,
        logger: logging.Logger,
        keepalive_timeout: float,
    ) -> None:
        """``first`` is what was read of the connection already; ``back`` takes it again."""
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            logger=logger,
            keepalive_timeout=keepalive_timeout,
        )
        self._first, self._wanted, self._back, self._counts = first, wanted, back, counts
        self._waiting = b""
        """Not fed yet."""
        self._body: StreamReader | None = None
        """Of the last request, once aiohttp has the connection for good."""
        self._due_bytes = 0
        """Of the present request, still to come."""
        self._answering = self._for_good = self._left = self._ended = False
        self._head_asked = False
        """The present request is a HEAD, whether aiohttp can read it or not."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the bytes that came along."""
        super().connection_made(transport)
        first, self._first = self._first, b""
        if message_bytes(first) is None:
            self._for_good = True  # no head that anybody could wait for
            self._head_asked = _is_head(first)
        self.data_received(first)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count a connection that ended here."""
        super().connection_lost(exc)
        if not self._left:
            self._left = True
            self._counts.row[Count.OPEN] -= 1

    def data_received(self, data: bytes) -> None:
        """Feed what belongs to the present request; keep the rest for later."""
        if self._for_good:
            self._feed_for_good(data)
            return
        if self._due_bytes:
            now, data = data[: self._due_bytes], data[self._due_bytes :]
            self._due_bytes -= len(now)
            super().data_received(now)
        if data:
            self._waiting += data
        if not self._answering:
            self._next()
        elif len(self._waiting) > REST_MAX_BYTES and isinstance(self.transport, asyncio.Transport):
            self.transport.pause_reading()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio asks for it, aiohttp has no use for it
        """Answer what was asked before a client closed its half; True keeps the other half open for that."""
        super().eof_received()
        if self._for_good:
            self._ended = self._has_all()
        else:
            self._ended = self._answering and not self._due_bytes
        return self._ended

    def _has_all(self) -> bool:
        """Tell whether the last request that aiohttp has is whole, and not answered yet."""
        idle = self._waiter is not None and not self._messages
        return not idle and self._payload_parser is None and self._body is not None and self._body.is_eof()

    def _feed_for_good(self, data: bytes) -> None:
        super().data_received(data)
        if self._messages:
            self._body = self._messages[-1][1]

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """See aiohttp, which does not know the method of a request that it cannot read."""
        response = super().handle_error(request, status, exc, message)
        if self._head_asked and isinstance(response, web.Response) and isinstance(response.body, bytes):
            length_bytes = len(response.body)
            response.body = None  # RFC 9110 §9.3.2
            response.headers["Content-Length"] = str(length_bytes)
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """See aiohttp; afterwards the next request has its turn."""
        response, reset = await super().finish_response(request, resp, start_time)
        self._counts.status(response.status)
        if not self._for_good:
            if reset or not response.keep_alive or self._due_bytes:
                self._for_good = True
            else:
                self._answering = False
                self._loop.call_soon(self._next)
        elif self._ended and not self._messages:
            self.close()
        return response, reset

    def _next(self) -> None:
        transport = self.transport
        if self._answering or self._for_good or transport is None or transport.is_closing():
            return
        transport.resume_reading()
        data = self._waiting
        if not data:
            if self._ended:
                transport.close()
            return
        if transport.get_write_buffer_size() == 0 and len(data) <= REST_MAX_BYTES and self._wanted(data):
            self._give_back(transport, data)
            return
        length = message_bytes(data)
        if length is None or (self._ended and length > len(data)):
            if self._ended:
                transport.close()
            return
        self._answering = True
        self._head_asked = _is_head(data)
        if length < 0:
            self._for_good, self._waiting = True, b""
            self._feed_for_good(data)
            return
        now, self._waiting = data[:length], data[length:]
        self._due_bytes = length - len(now)
        super().data_received(now)

    def _give_back(self, transport: asyncio.Transport, data: bytes) -> None:
        """Let the transport end on its own descriptor of the socket; the connection lives on in another."""
        self._left = True
        own = transport.get_extra_info("socket")
        sock = socket.socket(fileno=os.dup(own.fileno()))
        sock.setblocking(False)
        self._waiting = b""
        self.force_close()
        self._counts.row[Count.CAME_BACK] += 1
        self._back(sock, data)


def _is_head(data: bytes) -> bool:
    return data.lstrip(b"\r\n").startswith(b"HEAD ")
