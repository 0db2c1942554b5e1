"""What RFC 9110 says a server answers to GET and HEAD of a known representation: conditions (§13) and ranges (§14).

Written from the RFC, with nothing but the representation's bytes and validators. Where the RFC leaves a choice,
every allowed answer passes.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from tests.peers.http_wire import Answer

Fields = tuple[tuple[str, str], ...]
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_TIME = r"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)"
_DAY, _LONG_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)", "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_DATES = (
    re.compile(rf"{_DAY}, (?P<day>\d\d) (?P<month>\w{{3}}) (?P<year>\d{{4}}) {_TIME} GMT", re.A),
    re.compile(rf"{_LONG_DAY}, (?P<day>\d\d)-(?P<month>\w{{3}})-(?P<year>\d\d) {_TIME} GMT", re.A),
    re.compile(rf"{_DAY} (?P<month>\w{{3}}) (?P<day>[\d ]\d) {_TIME} (?P<year>\d{{4}})", re.A),
)  # fmt: skip
_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"[ \t]*(?:,[ \t]*)*({_TAG})(?:[ \t]*,[ \t]*({_TAG})?)*[ \t]*")
_SPEC = re.compile(r"(\d+)-(\d*)|-(\d+)", re.A)
IMF = "%a, %d %b %Y %H:%M:%S GMT"


@dataclass(frozen=True)
class Representation:
    """A resource as its plain 200 showed it."""

    path: str
    body: bytes
    etag: str | None
    last_modified: str | None
    media_type: str
    kept_fields: Fields = ()
    """Fields that a 304 has to repeat (§15.4.5)."""


def date_of(text: str, now_year: int = 2026) -> int | None:
    """Seconds since 1970 of an HTTP-date in any of its three forms; None when it is none."""
    for form in _DATES:
        if (found := form.fullmatch(text)) and found["month"] in _MONTHS:
            year = int(found["year"])
            if len(found["year"]) == 2:
                year += 1900 if year + 2000 > now_year + 50 else 2000
            try:
                at = datetime(year, _MONTHS.index(found["month"]) + 1, int(found["day"]), int(found["h"]),
                              int(found["m"]), min(int(found["s"]), 59), tzinfo=UTC)  # fmt: skip
            except ValueError:
                return None
            return calendar.timegm(at.utctimetuple())
    return None


def tags_of(text: str) -> list[str]:
    return re.findall(_TAG, text)


def strong(one: str, other: str) -> bool:
    return one == other and not one.startswith("W/")


def weak(one: str, other: str) -> bool:
    return one.removeprefix("W/") == other.removeprefix("W/")


def ranges_of(text: str, size: int) -> list[tuple[int, int]] | None:
    """Satisfiable (first, last) of a Range; [] when none is; None when the field is to be ignored (§14.2)."""
    unit, equals, rest = text.partition("=")
    if unit.lower() != "bytes" or not equals:
        return None
    specs = [each.strip(" \t") for each in rest.split(",")]
    found = []
    specs = [each for each in specs if each]
    if not specs:
        return None
    for each in specs:
        spec = _SPEC.fullmatch(each)
        if spec is None:
            return None
        if spec[3] is not None:
            length = min(int(spec[3]), size)
            if length:
                found.append((size - length, size - 1))
            continue
        first, last = int(spec[1]), int(spec[2]) if spec[2] else size - 1
        if spec[2] and last < first:
            return None
        if first < size:
            found.append((first, min(last, size - 1)))
    return found


def _condition(what: Representation, fields: dict[str, str]) -> int:
    """412, 304, or 0 to go on: the order of §13.2.2."""
    modified = date_of(what.last_modified) if what.last_modified else None
    if "if-match" in fields:
        value = fields["if-match"].strip(" \t")
        if value != "*" and not any(strong(each, what.etag or "") for each in tags_of(value)):
            return 412
    elif "if-unmodified-since" in fields and modified is not None:
        asked = date_of(fields["if-unmodified-since"])
        if asked is not None and modified > asked:
            return 412
    if "if-none-match" in fields:
        value = fields["if-none-match"].strip(" \t")
        if value == "*" or any(weak(each, what.etag or "") for each in tags_of(value)):
            return 304
    elif "if-modified-since" in fields and modified is not None:
        asked = date_of(fields["if-modified-since"])
        if asked is not None and modified <= asked:
            return 304
    return 0


def _range_holds(what: Representation, fields: dict[str, str]) -> tuple[bool, ...]:
    """Whether If-Range lets Range through: what is allowed (§8.8.2.2: only the server knows which date is strong)."""
    value = fields.get("if-range")
    if value is None:
        return (True,)
    if re.fullmatch(_TAG, value):
        return (what.etag is not None and strong(value, what.etag),)
    return (True, False) if what.last_modified is not None and value == what.last_modified else (False,)


def judge(what: Representation, method: str, fields: Fields, answer: Answer) -> list[str]:
    """What is wrong with the answer to a request with these fields, each at most once."""
    named = {name.lower(): value for name, value in fields}
    wrong: list[str] = []
    if answer.one("date") is None:
        wrong.append("no Date")
    condition = _condition(what, named)
    if condition == 412:
        return wrong + _is(answer, 412)
    if condition == 304:
        return wrong + _is(answer, 304) + _repeats(what, answer)
    wrong += _repeats(what, answer) if answer.status != 416 else []
    allowed: list[list[str]] = []
    for holds in _range_holds(what, named):
        found = ranges_of(named["range"].strip(" \t"), len(what.body)) if "range" in named else None
        if method != "GET" or found is None or not holds:
            allowed.append(_whole(what, method, answer))
        elif not found:
            allowed.append(_unsatisfied(what, answer))
        else:
            allowed.append(_ranges(what, found, answer))
            if _costly(found):
                allowed.append(_whole(what, method, answer))
                allowed.append(_is(answer, 416))
    return wrong + min(allowed, key=len)


def _is(answer: Answer, status: int) -> list[str]:
    return [] if answer.status == status else [f"status {answer.status}, not {status}"]


def _repeats(what: Representation, answer: Answer) -> list[str]:
    wanted = (("etag", what.etag), ("last-modified", what.last_modified), *what.kept_fields)
    optional = ("last-modified",) if answer.status in (304, 206) else ()
    found = [(name, answer.one(name), value) for name, value in wanted if value is not None]
    wrong = [each for each in found if each[1] != each[2] and not (each[1] is None and each[0] in optional)]
    return [f"{name}: {got}, not {value}" for name, got, value in wrong]


def _whole(what: Representation, method: str, answer: Answer) -> list[str]:
    wrong = _is(answer, 200)
    if answer.one("content-length") != str(len(what.body)):
        wrong.append(f"Content-Length {answer.one('content-length')}, not {len(what.body)}")
    if answer.one("content-range") is not None:
        wrong.append("Content-Range in a whole answer")
    if answer.one("content-type") != what.media_type:
        wrong.append(f"Content-Type {answer.one('content-type')}")
    if answer.body != (b"" if method == "HEAD" else what.body):
        wrong.append(f"another body ({len(answer.body)} bytes)")
    return wrong


def _unsatisfied(what: Representation, answer: Answer) -> list[str]:
    wrong = _is(answer, 416)
    if answer.one("content-range") != f"bytes */{len(what.body)}":
        wrong.append(f"Content-Range {answer.one('content-range')}")
    return wrong


def _costly(found: list[tuple[int, int]]) -> bool:
    """Sets that a server may refuse or answer whole (§14.2, §17.15): many, or overlapping ones."""
    ordered = sorted(found)
    return len(found) > 8 or any(after[0] <= before[1] for before, after in pairwise(ordered))


def _ranges(what: Representation, found: list[tuple[int, int]], answer: Answer) -> list[str]:
    wrong = _is(answer, 206)
    media_type = answer.one("content-type") or ""
    boundary = re.fullmatch(r'multipart/byteranges; ?boundary="?([^"]+?)"?', media_type)
    if boundary is None:
        if media_type != what.media_type:
            wrong.append(f"Content-Type {media_type}")
        parts = [(answer.one("content-range") or "", answer.body)]
    else:
        if len(found) == 1:
            wrong.append("several parts for one range")
        if answer.one("content-range") is not None:
            wrong.append("Content-Range beside parts")
        try:
            parts = list(_parts(what, boundary[1].encode(), answer.body))
        except ValueError as error:
            return [*wrong, str(error)]
    covered = []
    for content_range, body in parts:
        got = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", content_range)
        if got is None or int(got[3]) != len(what.body):
            wrong.append(f"Content-Range {content_range!r} of {len(what.body)}")
            continue
        first, last = int(got[1]), int(got[2])
        covered.append((first, last))
        if body != what.body[first : last + 1] or last >= len(what.body):
            wrong.append(f"other bytes for {content_range}")
    if covered != found and not _joined(found, covered):
        wrong.append(f"ranges {covered[:5]}, not {found[:5]}")
    if answer.one("content-length") not in (None, str(len(answer.body))):
        wrong.append("Content-Length")
    return wrong


def _joined(found: list[tuple[int, int]], covered: list[tuple[int, int]]) -> bool:
    """Whether ranges that touch were merged, or reordered, and nothing else (§15.3.7.2)."""

    def union(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
        merged: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return merged

    return len(covered) < len(found) and union(covered) == union(found)


def _parts(what: Representation, boundary: bytes, body: bytes) -> Iterator[tuple[str, bytes]]:
    """Content-Range and bytes of each part, by RFC 2046 §5.1 and the lengths the parts themselves claim."""
    mark = b"--" + boundary
    at = 0 if body.startswith(mark) else body.find(b"\r\n" + mark) + 2
    if at == 1:
        raise ValueError("no first boundary")
    while not body.startswith(mark + b"--", at):
        if not body.startswith(mark + b"\r\n", at):
            raise ValueError(f"no boundary at {at}: {body[at : at + 40]!r}")
        start = at + len(mark) + 2
        end = body.find(b"\r\n\r\n", start)
        if end < 0:
            raise ValueError("a part without head")
        fields = dict(line.partition(b":")[::2] for line in body[start:end].split(b"\r\n"))
        named = {name.decode().lower(): value.decode("latin-1").strip() for name, value in fields.items()}
        if named.get("content-type") != what.media_type:
            raise ValueError(f"Content-Type of a part: {named.get('content-type')}")
        claimed = re.fullmatch(r"bytes (\d+)-(\d+)/\d+", named.get("content-range", ""))
        if claimed is None:
            raise ValueError(f"Content-Range of a part: {named.get('content-range')}")
        at = end + 4 + int(claimed[2]) - int(claimed[1]) + 1
        yield named["content-range"], body[end + 4 : at]
        if body[at : at + 2] != b"\r\n":
            raise ValueError("a part longer than it claims")
        at += 2
    if body[at + len(mark) + 2 :].strip(b"\r\n"):
        raise ValueError("bytes after the last boundary")
