"""HTTPS: every connection is aiohttp's for good, fed and counted as those that the plane hands over."""

from __future__ import annotations

import asyncio
import logging
import ssl

from aiohttp import web

from edge_server.bootstrap.http_settings import HttpSettings, Tls
from edge_server.plane.counts import Count, Counts
from edge_server.plane.handover import HandedOver


class OverTls(HandedOver):
    """A connection from its first byte, after the handshake. Nobody takes it back: its bytes are TLS."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with nothing."""
        self._counts.row[Count.ACCEPTED] += 1
        self._counts.row[Count.OPEN] += 1
        web.RequestHandler.connection_made(self, transport)

    def eof_received(self) -> bool:  # type: ignore[override]  # as the class above
        """Close: TLS has no halves that could stay open."""
        web.RequestHandler.eof_received(self)
        return False


async def listen_tls(
    server: web.Server, host: str, port: int, settings: HttpSettings, tls: Tls, counts: Counts, logger: logging.Logger
) -> asyncio.Server:
    """Open the port; ``server`` answers what comes.

    Raises:
        OSError: the address or a file of the certificate cannot be used; ssl.SSLError is one.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.certificate, tls.key)
    loop = asyncio.get_running_loop()

    def made() -> OverTls:
        return OverTls(
            server,
            b"",
            loop=loop,
            wanted=lambda data: False,
            back=lambda sock, data: sock.close(),
            counts=counts,
            logger=logger,
            keepalive_timeout=settings.limits.idle_timeout_s,
        )

    return await loop.create_server(made, host, port, ssl=context)
