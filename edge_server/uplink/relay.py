"""Handing on to edges on the LAN what this edge has: ``/sync/…`` in the layout of published files.

Read only, and for private addresses only. Boxes come first: few requests at a time, and a cap on the rate.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from sync import Missing, SyncError
from sync.relay import Keep, PackWindow
from sync.road import OPEN, Gate
from sync.road.standing import STANDING_NAME, Bulletin, encode_standing
from sync.store.threads import in_thread

PREFIX = "/sync/"
RELAY_CONNECTIONS_MAX = 8
"""Requests at a time; a neighbour has two connections."""
RETRY_AFTER_S = 2
PIECE_BYTES = 64 * 1024
GONE_CHECK_S = 0.5
STUCK_S = 30.0
"""A neighbour that takes no piece for so long is cut off."""
_LAN_4 = "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 127.0.0.0/8"
_LAN_6 = "::1/128 fe80::/10 fc00::/7"
LAN = tuple(ipaddress.ip_network(each) for each in f"{_LAN_4} {_LAN_6}".split())
_PACK = re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{62})")
_RANGE = re.compile(r"bytes=([0-9]{1,12})-([0-9]{1,12})")


@dataclass(eq=False)
class Relay:
    """What is handed on."""

    bulletin: Bulletin
    keep: Keep
    window: PackWindow
    gate: Gate = OPEN
    """The cap for everything that is sent here, together."""
    sent_bytes: int = 0
    """Bodies, for reports."""
    requests: int = 0
    busy: int = 0
    """Requests that are answered now."""


def is_on_lan(address: str | None) -> bool:
    """Tell whether an address is one of a LAN, of the link, or of this machine."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in LAN if network.version == parsed.version)


def routes(relay: Relay) -> Sequence[web.RouteDef]:
    """Return the routes for the edge's HTTP port."""

    async def standing(request: web.Request) -> web.StreamResponse:
        _check_address(request)
        body = encode_standing(relay.bulletin.standing())
        return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})

    async def file(request: web.Request) -> web.StreamResponse:
        _check_address(request)
        name = request.path.removeprefix(PREFIX)
        async with _place(relay):
            if (pack := _PACK.fullmatch(name)) is not None:
                return await _send_part(relay, request, pack[2])
            return await _send_kept(relay, request, name)

    return [
        web.get(PREFIX + STANDING_NAME, standing),
        web.get(PREFIX + "{name:.+}", file),
    ]


def _check_address(request: web.Request) -> None:
    if not is_on_lan(request.remote):
        raise web.HTTPNotFound


@asynccontextmanager
async def _place(relay: Relay) -> AsyncIterator[None]:
    if relay.busy >= RELAY_CONNECTIONS_MAX:
        raise web.HTTPServiceUnavailable(headers={"Retry-After": str(RETRY_AFTER_S)})
    relay.busy += 1
    relay.requests += 1
    try:
        yield
    finally:
        relay.busy -= 1


async def _send_kept(relay: Relay, request: web.Request, name: str) -> web.StreamResponse:
    try:
        path = await in_thread(relay.keep.path, name)
        source, length = await in_thread(_opened, path)
    except (Missing, OSError) as error:
        raise web.HTTPNotFound from error
    try:
        return await _send(relay, request, web.StreamResponse(status=200), length, _slices(source))
    finally:
        await in_thread(source.close)


async def _send_part(relay: Relay, request: web.Request, pack: str) -> web.StreamResponse:
    asked = _RANGE.fullmatch(request.headers.get("Range", ""))
    if asked is None:
        raise web.HTTPNotFound  # whole packs are on no edge
    start, stop = int(asked[1]), int(asked[2]) + 1
    pieces = relay.window.pieces(pack, start, stop)
    try:
        first = await in_thread(_next, pieces)
    except SyncError as error:
        raise web.HTTPNotFound from error
    response = web.StreamResponse(status=206, headers={"Content-Range": f"bytes {start}-{stop - 1}/*"})
    return await _send(relay, request, response, stop - start, pieces, first)


async def _send(
    relay: Relay,
    request: web.Request,
    response: web.StreamResponse,
    length: int,
    pieces: Iterator[bytes],
    piece: bytes = b"",
) -> web.StreamResponse:
    """Send exactly so many bytes; when they are not there after all, the connection ends early."""
    response.content_length = length
    response.content_type = "application/octet-stream"
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    left = length
    with suppress(SyncError, OSError):  # TimeoutError among them
        while left > 0 and (piece := piece or await in_thread(_next, pieces)):
            await _write(relay, request, response, piece[:left])
            left -= len(piece)
            piece = b""
    if left > 0 and request.transport is not None:
        request.transport.abort()
    return response


async def _write(relay: Relay, request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    view = memoryview(data)
    for at in range(0, len(view), PIECE_BYTES):
        piece = bytes(view[at : at + PIECE_BYTES])
        await _pass_gate(relay, request)
        relay.gate.passed(len(piece))
        async with asyncio.timeout(STUCK_S):
            await response.write(piece)
        relay.sent_bytes += len(piece)


async def _pass_gate(relay: Relay, request: web.Request) -> None:
    """Wait for the cap, but not for one who went away meanwhile."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(GONE_CHECK_S):
                return await relay.gate.ready()
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("the neighbour went away")


def _opened(path: Path) -> tuple[BinaryIO, int]:
    source = path.open("rb")
    return source, path.stat().st_size


def _slices(source: BinaryIO) -> Iterator[bytes]:
    while piece := source.read(PIECE_BYTES):
        yield piece


def _next(pieces: Iterator[bytes]) -> bytes:
    return next(pieces, b"")
