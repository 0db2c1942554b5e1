"""The same resources through aiohttp: over TLS, and for requests that the plane does not read."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO

from aiohttp import web

from edge_server.egress import NO_LESSON, FileRange, Resource
from edge_server.plane.answers import plan
from wire.http_range import FIELDS

STUCK_S = 60.0
"""A client that does not take one slice in that time is cut off."""
SLICE_BYTES = 512 * 1024


async def answer(request: web.Request, resource: Resource) -> web.StreamResponse:
    """Answer a GET or HEAD. Files stay open until the last byte, so that no clean-up can cut a download.

    Raises:
        web.HTTPNotFound: a file is gone, or shorter than promised.
        OSError: a file cannot be read to its end; the connection is cut, since the length was promised.
    """
    made = plan(request.method, resource, _fields(request))
    with ExitStack() as opened:
        files = {each.file: _open(each, opened) for each in _ranges(resource)}
        response = web.StreamResponse(status=made.status)
        response.headers.update(made.fields)
        await response.prepare(request)
        transport = request.transport
        if transport is None or not made.body:
            return response
        for piece in made.body:
            if isinstance(piece, bytes):
                await response.write(piece)
            elif not await _send(transport, files[piece.file], piece.offset_bytes, piece.length_bytes):
                return response
        await response.write_eof()
        return response


def _fields(request: web.Request) -> dict[str, str]:
    """Gather what `plan` looks at; several lines of one field are one list (RFC 9110 §5.3)."""
    return {name: ", ".join(request.headers.getall(name)) for name in FIELDS if name in request.headers}


def _ranges(resource: Resource) -> Iterator[FileRange]:
    return (part for part in resource.parts if isinstance(part, FileRange))


def _open(part: FileRange, opened: ExitStack) -> BinaryIO:
    try:
        file = opened.enter_context(part.file.open("rb"))
        size_bytes = file.seek(0, 2)
    except OSError as error:
        raise web.HTTPNotFound(text=NO_LESSON) from error
    if size_bytes < part.offset_bytes + part.length_bytes:
        raise web.HTTPNotFound(text=NO_LESSON)
    return file


async def _send(transport: asyncio.Transport, source: BinaryIO, offset_bytes: int, length_bytes: int) -> bool:
    """Send one run of bytes; False when the client left or took nothing, which nobody needs to hear of."""
    loop, stop = asyncio.get_running_loop(), offset_bytes + length_bytes
    for at in range(offset_bytes, stop, SLICE_BYTES):
        wanted = min(SLICE_BYTES, stop - at)
        if transport.is_closing():
            return False
        try:
            async with asyncio.timeout(STUCK_S):
                sent = await loop.sendfile(transport, source, at, wanted)
        except OSError as error:  # TimeoutError among them
            gone = transport.is_closing() or isinstance(error, ConnectionError | TimeoutError)
            transport.abort()
            if gone:
                return False
            raise
        if sent != wanted:
            transport.abort()
            raise OSError(errno.EIO, f"the file ended after {sent} of {wanted} bytes", str(source.name))
    return True
