"""One way out a module: files (progressive, pages), HLS, RTSP. They do not know each other.

HTTP egresses offer routes for the one aiohttp application that ``bootstrap`` builds; egresses with sockets of their
own are services (``runtime.service.Service``). Here is what HTTP egresses share: sending a slice of a file.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from edge_server.catalog import CatalogView
from edge_server.packager import Shelf
from runtime.clock import Clock
from wire.http_range import Answer, evaluate, part_end, part_head

SERVER_BANNER = "EdgeServer"
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
_BOUNDARY = "edge-part-8f3d0c5a7b21"


@dataclass(frozen=True, slots=True)
class EgressContext:
    """What an egress may ask for."""

    view: Callable[[], CatalogView]
    """The catalogue view of the active snapshot, looked up afresh for each request (cheap)."""
    shelf: Shelf
    clock: Clock


Routes = Callable[[EgressContext], Sequence[web.RouteDef]]
"""Each HTTP egress module has one function ``routes`` of this type."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes of a file as one HTTP representation."""

    file: Path
    start: int
    length_bytes: int
    etag: str
    """Strong validator, with quotes."""
    modified: datetime
    media_type: str
    cache_control: str
    headers: tuple[tuple[str, str], ...] = ()


def etag_of(sha256: str, part: str = "") -> str:
    """Make a strong validator from the hash of the stored object and the part of it that is sent."""
    return f'"{sha256[:32]}{"-" if part else ""}{part}"'


def not_found() -> web.HTTPNotFound:
    """Say that a lesson is not here (unknown, withdrawn or not yet packaged)."""
    return web.HTTPNotFound(text="没有这个课件，可能已下架 / no such lesson; it may have been withdrawn\n")


def moment(rfc3339: str) -> datetime:
    """Read ``issued_at`` of a courseware; the epoch when it is no date."""
    try:
        return datetime.fromisoformat(rfc3339).astimezone(UTC)
    except ValueError:
        return datetime(1970, 1, 1, tzinfo=UTC)


async def send(request: web.Request, piece: Slice) -> web.StreamResponse:
    """Answer a GET or HEAD for a slice, ranges and preconditions included; the body goes by ``sendfile``.

    The file is opened before anything is decided, so that neither a new snapshot nor a clean-up can cut a download.

    Raises:
        web.HTTPNotFound: the file is gone.
    """
    answer = evaluate(
        request.method,
        request.headers,
        etag=piece.etag,
        last_modified=piece.modified,
        length_bytes=piece.length_bytes,
    )
    try:
        source = piece.file.open("rb")
    except OSError as error:
        raise not_found() from error
    with source:
        if os.fstat(source.fileno()).st_size < piece.start + piece.length_bytes:
            raise not_found()
        return await _answer(request, piece, answer, source)


async def _answer(request: web.Request, piece: Slice, answer: Answer, source: BinaryIO) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status)
    response.headers.update(answer.headers)
    response.headers.update(piece.headers)
    response.headers["Cache-Control"] = piece.cache_control
    parts: list[tuple[bytes, int, int]] = [(b"", start, stop) for start, stop in answer.ranges]
    tail = b""
    if answer.status in (200, 206):
        response.headers["Content-Type"] = piece.media_type
    if len(parts) > 1:
        response.headers["Content-Type"] = f"multipart/byteranges; boundary={_BOUNDARY}"
        length = piece.length_bytes
        parts = [(part_head(_BOUNDARY, piece.media_type, a, b, length), a, b) for _, a, b in parts]
        tail = part_end(_BOUNDARY)
        response.content_length = sum(len(head) + b - a for head, a, b in parts) + len(tail)
    await response.prepare(request)
    transport = request.transport
    if request.method == "HEAD" or transport is None:
        return response
    loop = asyncio.get_running_loop()
    for head, start, stop in parts:
        if head:
            await response.write(head)
        await loop.sendfile(transport, source, piece.start + start, stop - start)
    if tail:
        await response.write(tail)
    await response.write_eof()
    return response
