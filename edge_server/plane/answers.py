"""What to answer to a media request: status, field lines, and the pieces of the body in order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_server.egress import FileRange, Resource
from wire.http_range import content_range, evaluate, part_end, part_head

REASONS = {
    200: "OK",
    206: "Partial Content",
    304: "Not Modified",
    400: "Bad Request",
    408: "Request Timeout",
    412: "Precondition Failed",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
REFUSALS = {
    400: "请求有误 / bad request\n",
    408: "请求太慢 / the request took too long\n",
    414: "地址太长 / the address is too long\n",
    431: "请求头太长 / the head of the request is too long\n",
    505: "只支持 HTTP/1.1 / HTTP/1.1 only\n",
    503: "服务器忙，请稍后再试 / busy; try again soon\n",
}
RETRY_AFTER_S = 5
Piece = bytes | FileRange


@dataclass(frozen=True, slots=True)
class Plan:
    """One answer."""

    status: int
    fields: tuple[tuple[str, str], ...]
    """With Content-Length wherever a body could be; without what belongs to the connection, Date and Server."""
    body: tuple[Piece, ...]
    """Empty for HEAD."""


def plan(method: str, resource: Resource, conditions: Mapping[str, str]) -> Plan:
    """Decide the answer to a GET or HEAD (RFC 9110 §13, §14).

    ``conditions`` are what `wire.http_range.evaluate` looks at.
    """
    length = resource.length_bytes
    answer = evaluate(method, conditions, etag=resource.etag, last_modified=resource.modified, length_bytes=length)
    fields = [*answer.headers, *resource.headers, ("Cache-Control", resource.cache_control)]
    body: list[Piece] = []
    if len(answer.ranges) > 1:
        boundary = f"part-{resource.etag.strip(chr(34))}"  # made from the content's hash: the content cannot hold it
        fields.append(("Content-Type", f"multipart/byteranges; boundary={boundary}"))
        for start, stop in answer.ranges:
            body += [part_head(boundary, resource.media_type, start, stop, length), *cut(resource.parts, start, stop)]
        body.append(part_end(boundary))
        fields.append(("Content-Length", str(sum(map(length_of, body)))))
    else:
        if answer.status in (200, 206):
            fields.append(("Content-Type", resource.media_type))
        for start, stop in answer.ranges:
            body += cut(resource.parts, start, stop)
    return Plan(answer.status, tuple(fields), tuple(body) if method == "GET" else ())


def simple_range(first_last: tuple[int, int], length_bytes: int) -> tuple[int, int] | None:
    """Return (start, stop) of one range ``first-last`` that can be answered by 206 at once; None: ask `plan`."""
    first, last = first_last
    if 0 <= last < first or first >= length_bytes:
        return None
    return first, length_bytes if last < 0 else min(last + 1, length_bytes)


def range_fields(start: int, stop: int, length_bytes: int) -> bytes:
    """Write the field lines that a single range adds to those of the whole."""
    return f"Content-Range: {content_range(start, stop, length_bytes)}\r\nContent-Length: {stop - start}\r\n".encode()


def field_lines(fields: Iterable[tuple[str, str]]) -> bytes:
    """Write field lines, each with its end.

    Raises:
        ValueError: a value would end the line or cannot be written in Latin-1.
    """
    lines = [f"{name}: {value}" for name, value in fields]
    if any(not line.isprintable() for line in lines):
        raise ValueError(f"a field with a control character: {lines!r}")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def status_line(status: int) -> bytes:
    """Write the status line."""
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}\r\n".encode()


def length_of(piece: Piece) -> int:
    """Return the number of bytes of a piece."""
    return len(piece) if isinstance(piece, bytes) else piece.length_bytes


def cut(parts: Iterable[Piece], start: int, stop: int) -> Iterable[Piece]:
    """Yield the pieces that bytes [start, stop) of a resource lie in."""
    at = 0
    for part in parts:
        end = at + length_of(part)
        first, last = max(start, at) - at, min(stop, end) - at
        if first < last:
            yield part[first:last] if isinstance(part, bytes) else _within(part, first, last)
        at = end
        if at >= stop:
            return


def _within(part: FileRange, first: int, last: int) -> FileRange:
    if first == 0 and last == part.length_bytes:
        return part
    return FileRange(part.file, part.offset_bytes + first, last - first)
