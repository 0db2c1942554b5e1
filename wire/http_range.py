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
from email.utils import format_datetime

RANGES_MAX_COUNT = 16
"""More parts than that in one request are ignored (200), as RFC 9110 §14.2 allows for abusive sets."""
FIELD_MAX_CHARS = 4096
"""A longer If-Match, If-None-Match or Range counts as one that cannot be read; cutting it would change its meaning."""
FIELDS = ("If-Match", "If-Unmodified-Since", "If-None-Match", "If-Modified-Since", "If-Range", "Range")
"""The request fields that `evaluate` looks at."""
_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_ETAG = re.compile(_TAG)
_TAGS = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
_SPEC = re.compile(r"([0-9]+)-([0-9]*)|-([0-9]+)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH, _CLOCK = f"(?P<month>{'|'.join(_MONTHS)})", "(?P<h>[0-9]{2}):(?P<m>[0-9]{2}):(?P<s>[0-9]{2})"
_DATES = (
    re.compile(rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_CLOCK} GMT"),
    re.compile(
        r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, "
        rf"(?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_CLOCK} GMT"
    ),
    re.compile(rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {_MONTH} (?P<day>[ 0-9][0-9]) {_CLOCK} (?P<year>[0-9]{{4}})"),
)
"""IMF-fixdate, and the two obsolete formats that recipients must still read (§5.6.7)."""


_NO_BODY = ("Content-Length", "0")


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
    ranges_max_count: int = RANGES_MAX_COUNT,
) -> Answer:
    """Decide the answer to one request for a representation that exists.

    Args:
        method: GET and HEAD read; any other method only sees the preconditions.
        headers: request fields by the names of `FIELDS`; several lines of one field joined by commas.
        etag: strong validator with its quotes.
        last_modified: whole seconds are compared. It must be a strong validator too: no two versions in one second.
        length_bytes: length of the representation.
        ranges_max_count: 1 for a caller that cannot send ``multipart/byteranges``; larger sets get the whole.
    """
    modified = last_modified.astimezone(UTC).replace(microsecond=0)
    base = (("ETag", etag), ("Last-Modified", http_date(modified)), ("Accept-Ranges", "bytes"))
    reads = method in ("GET", "HEAD")

    if (field := headers.get("If-Match")) is not None:
        if not _any_match(field, etag, strong=True):
            return Answer(412, (), (*base, _NO_BODY))
    elif (since := http_moment(headers.get("If-Unmodified-Since"))) is not None and modified > since:
        return Answer(412, (), (*base, _NO_BODY))

    if (field := headers.get("If-None-Match")) is not None:
        if _any_match(field, etag, strong=False):
            return Answer(304, (), base) if reads else Answer(412, (), (*base, _NO_BODY))
    elif reads and (since := http_moment(headers.get("If-Modified-Since"))) is not None and modified <= since:
        return Answer(304, (), base)

    whole = Answer(200, ((0, length_bytes),) if length_bytes else (), (*base, ("Content-Length", str(length_bytes))))
    wanted = headers.get("Range") if method == "GET" else None
    if wanted is None or not _if_range_holds(headers.get("If-Range"), etag, modified):
        return whole
    asked = _parse_ranges(wanted)
    if asked is None or len(asked) > ranges_max_count:
        return whole
    ranges = _satisfiable(asked, length_bytes)
    if not ranges:
        if length_bytes == 0 and any(first is None and last for first, last in asked):
            return whole  # "the last N bytes" of nothing is satisfiable (§14.1.2), but no Content-Range can say so
        return Answer(416, (), (*base, ("Content-Range", f"bytes */{length_bytes}"), _NO_BODY))
    if _overlap(ranges):
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
    """Compare an If-Match or If-None-Match list with our strong tag (§8.8.3.2); a list that is none matches nothing."""
    if field.strip(" \t") == "*":
        return True
    if len(field) > FIELD_MAX_CHARS or _TAGS.fullmatch(field) is None:
        return False
    return any(tag == etag or (not strong and tag == f"W/{etag}") for tag in _ETAG.findall(field))


def http_moment(field: str | None) -> datetime | None:
    """Read an HTTP date in any of its three formats; an invalid one counts as absent (§13.1.3, §13.1.4).

    A year of two digits is 1970 to 2069.
    """
    if field is None or len(field) > 64:
        return None
    match = next((found for pattern in _DATES if (found := pattern.fullmatch(field.strip(" \t")))), None)
    if match is None:
        return None
    year = int(match["year"]) if len(match["year"]) == 4 else 1970 + (int(match["year"]) - 70) % 100
    month, day, second = _MONTHS.index(match["month"]) + 1, int(match["day"]), int(match["s"])
    try:
        # A leap second, which datetime cannot hold, counts as the second before.
        return datetime(year, month, day, int(match["h"]), int(match["m"]), second - (second == 60), tzinfo=UTC)
    except ValueError:
        return None


def _if_range_holds(field: str | None, etag: str, modified: datetime) -> bool:
    """Judge If-Range (§13.1.5): a strong tag that is ours, or exactly our date; anything else fails."""
    if field is None:
        return True
    value = field.strip(" \t")
    return value == etag or http_moment(value) == modified


def _parse_ranges(field: str) -> list[tuple[int | None, int | None]] | None:
    """Read a ``bytes`` range set as (first, last) or (None, suffix length); None when it must be ignored."""
    unit, separator, rest = field.partition("=")
    if not separator or unit.lstrip(" \t").lower() != "bytes" or len(field) > FIELD_MAX_CHARS:
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


def _overlap(ranges: tuple[tuple[int, int], ...]) -> bool:
    """Tell whether some bytes were asked for twice (§17.15)."""
    return any(a[1] > b[0] for a, b in itertools.pairwise(sorted(ranges)))
