"""One way out a module: files (progressive, pages), HLS, RTSP. They do not know each other.

HTTP egresses offer routes for the one aiohttp application that ``bootstrap`` builds; egresses with sockets of their
own are services (``runtime.service.Service``). Here is what HTTP egresses share: sending a slice of a file.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from edge_server.catalog import CatalogView
from edge_server.packager import Shelf
from runtime.clock import Clock
from wire.http_range import FIELDS, Answer, evaluate, part_end, part_head

SERVER_BANNER = "EdgeServer"
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"


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
    """Strong validator, with quotes; at most 60 characters that a multipart boundary may have (RFC 2046 §5.1.1)."""
    modified: datetime
    media_type: str
    cache_control: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class FileRange:
    """Bytes of a stored file that go to the socket without passing through Python."""

    file: Path
    offset_bytes: int
    length_bytes: int


@dataclass(frozen=True, slots=True)
class Resource:
    """One HTTP representation: bytes made for it, and ranges of stored files, in order."""

    parts: tuple[bytes | FileRange, ...]
    length_bytes: int
    """Of all parts together."""
    etag: str
    """Strong validator, with quotes; at most 60 characters that a multipart boundary may have (RFC 2046 §5.1.1)."""
    modified: datetime
    media_type: str
    cache_control: str
    headers: tuple[tuple[str, str], ...] = ()


def from_file(head: bytes, file: Path, ranges: Iterable[tuple[int, int]]) -> tuple[bytes | FileRange, ...]:
    """Put bytes in front of ranges (position, length in bytes) of a file."""
    return (head, *(FileRange(file, at, length_bytes) for at, length_bytes in ranges))


Find = Callable[[str], Resource | None]
"""Looks a decoded URL path (no query) up in the active snapshot; None: no such thing. Does no file I/O beyond what
finding it needs, so that it may run on the event loop."""


def first_of(*finds: Find) -> Find:
    """Ask one after the other."""

    def look(path: str) -> Resource | None:
        return next((found for find in finds if (found := find(path)) is not None), None)

    return look


def etag_of(sha256: str, part: str = "") -> str:
    """Make a strong validator from the hash of the stored object and the part of it that is sent."""
    return f'"{sha256[:32]}{"-" if part else ""}{part}"'


def not_found() -> web.HTTPNotFound:
    """Say that a lesson is not here (unknown, withdrawn or not yet packaged)."""
    return web.HTTPNotFound(text="没有这个课件，可能已下架 / no such lesson; it may have been withdrawn\n")


def request_fields(request: web.Request) -> dict[str, str]:
    """Gather what `evaluate` looks at; several lines of one field are one list (RFC 9110 §5.3)."""
    return {name: ", ".join(request.headers.getall(name)) for name in FIELDS if name in request.headers}


def moment(rfc3339: str) -> datetime:
    """Read ``issued_at`` of a courseware; the epoch when it is no date."""
    try:
        return datetime.fromisoformat(rfc3339).astimezone(UTC)
    except ValueError:
        return datetime(1970, 1, 1, tzinfo=UTC)


async def send(request: web.Request, piece: Slice) -> web.StreamResponse:
    """Answer a GET or HEAD for a slice, ranges and preconditions included; the body goes by ``sendfile``.

    The file stays open until the last byte, so that neither a new snapshot nor a clean-up can cut a download.

    Raises:
        web.HTTPNotFound: the file is gone.
        OSError: the file cannot be read.
    """
    answer = evaluate(
        request.method,
        request_fields(request),
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
    boundary = f"part-{piece.etag.strip(chr(34))}"  # made from the content's hash: the content cannot hold it
    if answer.status in (200, 206):
        response.headers["Content-Type"] = piece.media_type
    if len(parts) > 1:
        response.headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
        length = piece.length_bytes
        parts = [(part_head(boundary, piece.media_type, a, b, length), a, b) for _, a, b in parts]
        tail = part_end(boundary)
        response.content_length = sum(len(head) + b - a for head, a, b in parts) + len(tail)
    await response.prepare(request)
    transport = request.transport
    if request.method == "HEAD" or transport is None:
        return response
    for head, start, stop in parts:
        if head:
            await response.write(head)
        if not await _send_bytes(transport, source, piece.start + start, stop - start):
            return response
    if tail:
        await response.write(tail)
    await response.write_eof()
    return response


async def _send_bytes(transport: asyncio.Transport, source: BinaryIO, offset_bytes: int, length_bytes: int) -> bool:
    """Send one run of bytes; False when the client left or the port is being closed, which nobody needs to hear of.

    Raises:
        OSError: the file cannot be read to its end. The connection is cut, since the length was promised.
    """
    if transport.is_closing():
        return False
    try:
        sent = await asyncio.get_running_loop().sendfile(transport, source, offset_bytes, length_bytes)
    except OSError as error:
        gone = transport.is_closing() or isinstance(error, ConnectionError)
        transport.abort()
        if gone:
            return False
        raise
    if sent != length_bytes:
        transport.abort()
        raise OSError(errno.EIO, f"the file ended after {sent} of {length_bytes} bytes", source.name)
    return True
