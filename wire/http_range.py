"""Conditional and range requests of HTTP (RFC 9110 §13 and §14): which bytes to send, and with which status. Pure.

The order of §13.2.2 is kept, and a failed If-Range answers 200 with the whole representation, never 206: a resumed
download must not join two versions of a file.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

RANGES_MAX_COUNT = 16
"""More parts than that in one request are ignored (200), as RFC 9110 §14.2 allows for abusive sets."""
FIELD_MAX_CHARS = 4096
_ETAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_SPEC = re.compile(r"(\d{1,18})-(\d{0,18})|-(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send. For 206 with several ranges the body is ``multipart/byteranges``; see ``part_head``."""

    status: int
    """200, 206, 304, 412 or 416."""
    ranges: tuple[tuple[int, int], ...]
    """(first byte, byte after the last); the whole body for 200; empty when no body is sent."""
    headers: tuple[tuple[str, str], ...]
    """ETag, Last-Modified, Accept-Ranges, and Content-Range and Content-Length where they apply."""


def http_date(moment: datetime) -> str:
    """Write a moment as an HTTP date (RFC 9110 §5.6.7)."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def evaluate(
    method: str,
    headers: Mapping[str, str],
    *,
    etag: str,
    last_modified: datetime,
    length_bytes: int,
) -> Answer:
    """Decide the answer to one request for a representation that exists.

    Args:
        method: GET and HEAD read; any other method only sees the preconditions.
        headers: request fields, looked up without regard to case if the mapping does so.
        etag: strong validator with its quotes.
        last_modified: whole seconds are compared.
        length_bytes: length of the representation.
    """
    modified = last_modified.astimezone(UTC).replace(microsecond=0)
    base = (("ETag", etag), ("Last-Modified", http_date(modified)), ("Accept-Ranges", "bytes"))
    reads = method in ("GET", "HEAD")

    if (field := headers.get("If-Match")) is not None:
        if not _any_match(field, etag, strong=True):
            return Answer(412, (), base)
    elif (since := _date(headers.get("If-Unmodified-Since"))) is not None and modified > since:
        return Answer(412, (), base)

    if (field := headers.get("If-None-Match")) is not None:
        if _any_match(field, etag, strong=False):
            return Answer(304 if reads else 412, (), base)
    elif reads and (since := _date(headers.get("If-Modified-Since"))) is not None and modified <= since:
        return Answer(304, (), base)

    whole = Answer(200, ((0, length_bytes),) if length_bytes else (), (*base, ("Content-Length", str(length_bytes))))
    wanted = headers.get("Range") if method == "GET" else None
    if wanted is None or not _if_range_holds(headers.get("If-Range"), etag, modified):
        return whole
    asked = _parse_ranges(wanted)
    if asked is None:
        return whole
    ranges = _satisfiable(asked, length_bytes)
    if not ranges:
        return Answer(416, (), (*base, ("Content-Range", f"bytes */{length_bytes}"), ("Content-Length", "0")))
    if len(ranges) > 1 and _is_abusive(ranges, length_bytes):
        return whole
    if len(ranges) == 1:
        start, stop = ranges[0]
        fields = (("Content-Range", content_range(start, stop, length_bytes)), ("Content-Length", str(stop - start)))
        return Answer(206, ranges, (*base, *fields))
    return Answer(206, ranges, base)


def content_range(start: int, stop: int, length_bytes: int) -> str:
    """Write the Content-Range value of one part."""
    return f"bytes {start}-{stop - 1}/{length_bytes}"


def part_head(boundary: str, media_type: str, start: int, stop: int, length_bytes: int) -> bytes:
    """Write what stands before one part of a ``multipart/byteranges`` body (RFC 9110 §14.6)."""
    value = content_range(start, stop, length_bytes)
    return f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {value}\r\n\r\n".encode("ascii")


def part_end(boundary: str) -> bytes:
    """Write the end of a ``multipart/byteranges`` body."""
    return f"\r\n--{boundary}--\r\n".encode("ascii")


def _any_match(field: str, etag: str, *, strong: bool) -> bool:
    """Compare an If-Match or If-None-Match list with our strong tag (§8.8.3.2)."""
    if field.strip() == "*":
        return True
    tags = _ETAG.findall(field[:FIELD_MAX_CHARS])
    return any(f'"{opaque}"' == etag and not (strong and weak) for weak, opaque in tags)


def _date(field: str | None) -> datetime | None:
    """Read an HTTP date; an invalid one counts as absent (§13.1.3, §13.1.4)."""
    if field is None or len(field) > 64:
        return None
    try:
        moment = parsedate_to_datetime(field)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _if_range_holds(field: str | None, etag: str, modified: datetime) -> bool:
    """Judge If-Range (§13.1.5): a strong tag that is ours, or exactly our date; anything else fails."""
    if field is None:
        return True
    value = field.strip()
    if value.startswith(('"', "W/")):
        return value == etag
    return _date(value) == modified


def _parse_ranges(field: str) -> list[tuple[int | None, int | None]] | None:
    """Read a ``bytes`` range set as (first, last) or (None, suffix length); None when it must be ignored."""
    unit, separator, rest = field[:FIELD_MAX_CHARS].partition("=")
    if not separator or unit.strip().lower() != "bytes":
        return None
    asked: list[tuple[int | None, int | None]] = []
    for text in rest.split(","):
        part = text.strip(" \t")
        if not part:
            continue  # empty list elements are allowed (§5.6.1)
        match = _SPEC.fullmatch(part)
        if match is None or len(asked) == RANGES_MAX_COUNT:
            return None
        first, last, suffix = match.groups()
        if suffix is not None:
            asked.append((None, int(suffix)))
        elif last and int(last) < int(first):
            return None  # an invalid spec makes the whole field invalid (§14.1.1)
        else:
            asked.append((int(first), int(last) if last else None))
    return asked or None


def _satisfiable(asked: list[tuple[int | None, int | None]], length_bytes: int) -> tuple[tuple[int, int], ...]:
    found = []
    for first, last in asked:
        if first is None:
            start, stop = max(0, length_bytes - (last or 0)), length_bytes
        else:
            start, stop = first, length_bytes if last is None else min(last + 1, length_bytes)
        if start < stop:
            found.append((start, stop))
    return tuple(found)


def _is_abusive(ranges: tuple[tuple[int, int], ...], length_bytes: int) -> bool:
    """Tell whether several ranges overlap or add up to more than the file (§17.15)."""
    ordered = sorted(ranges)
    overlap = any(a[1] > b[0] for a, b in itertools.pairwise(ordered))
    return overlap or sum(stop - start for start, stop in ranges) > length_bytes
