"""Conditional and range requests that a server of HTTP/1.1 has to answer rightly, for any representation."""

# ruff: noqa: E501 - tables

from __future__ import annotations

import calendar
import time
from collections.abc import Iterator

from tests.peers.http_oracle import IMF, Fields, Representation, date_of

Case = tuple[str, str, Fields]
"""Name, method, fields."""


def ranges(size: int) -> list[str]:
    n = size
    good = ["0-0", "0-", "-1", f"-{n}", f"-{n + 1}", f"{n - 1}-", f"{n}-", f"{n}-{n}", f"0-{n - 1}", f"0-{n}", "1-1"]
    huge = ["0-99999999999999999999", f"-{'9' * 40}", f"{'9' * 40}-", "18446744073709551616-18446744073709551617"]
    huge += ["18446744073709551615-", "0-18446744073709551615", "9223372036854775808-", "0-9223372036854775807"]
    huge += [f"{'0' * 40}1-00000{'0' * 30}5", "4294967296-4294967299", "-4294967297"]
    none = [
        "-0",
        "5-3",
        "",
        "-",
        "a-b",
        "1-2-3",
        "1.5-2",
        "0x0-1",
        "+1-2",
        "-+1",
        "--1",
        "0-1;",
        "1",
        "\xb2-\xb3",
        "0-b",
    ]
    none += [
        "0 -1",
        "0- 1",
        "0 - 1",
        "0-1 2-3",
        "*",
        "0-1/10",
        "1_0-2_0",
        '"0-1"',
        "0-1,5-3",
        "0-1,x",
        "x,0-1",
        ",",
        " , ",
    ]
    several = ["0-1,4-5", "4-5,0-1", "0-1,0-1", "0-10,5-15", f"0-1,{n}-", f"{n}-,{n + 5}-", "0-1,-0", "0-0,-1", "0-,-1"]
    several += [
        "0-1,",
        ",0-1",
        ",,0-1,,",
        "0-1 , 4-5",
        "0-1\t,\t4-5",
        " 0-1",
        "0-1,2-3",
        "-1,0-0",
        f"-{n},0-0",
        "0-,0-",
    ]
    several += [",".join(f"{2 * i}-{2 * i}" for i in range(40)), ",".join(["0-"] * 40), ",".join(["0-0"] * 1000)]
    several += [f"{n},0-1", f"{n - 2}-{n + 3},0-1", "0-1,4-5,8-9,-2", "-0,-0", f"0-{n // 2},{n // 2 + 1}-"]
    return [f"bytes={each}" for each in good + huge + none + several] + [
        "bytes", "", "items=0-1", "Bytes=0-1", "BYTES=0-1", "bytes:0-1", "byte=0-1", "=0-1", "bytes==0-1", "0-1",
        "bytes =0-1", "bytes\t=0-1",
    ]  # fmt: skip


def tags(etag: str) -> dict[str, str]:
    """Values of If-Match and If-None-Match by name."""
    opaque = etag.removeprefix("W/")
    return {
        "same": etag, "weak": f"W/{opaque}", "other": '"other"', "star": "*", "empty-tag": '""', "list": f'"a", {etag}, "b"',
        "list-weak": f'"a",W/{opaque}', "list-others": '"a", W/"b", "c"', "blanks": f'"a"\t,  {etag}', "empties": f", ,{etag},,",
        "comma-inside": f'"a,{opaque[1:-1]}"', "comma-tag": f'"x,y", {etag}', "prefix": f'"{opaque[1:-2]}"', "longer": f'"{opaque[1:-1]}0"',
        "high-bytes": '"\xe4\xb8"', "upper": opaque.upper() if opaque.upper() != opaque else '"Z"',
    }  # fmt: skip


def dates(last_modified: str) -> dict[str, str]:
    at = date_of(last_modified)
    assert at is not None
    forms = {"same": 0, "second-before": -1, "second-after": 1, "day-before": -86400, "year-after": 365 * 86400}
    found = {name: time.strftime(IMF, time.gmtime(at + shift)) for name, shift in forms.items()}
    moment = time.gmtime(at)
    found["rfc850"] = time.strftime("%A, %d-%b-%y %H:%M:%S GMT", moment)
    found["asctime"] = time.strftime("%a %b ", moment) + f"{moment.tm_mday:2d}" + time.strftime(" %H:%M:%S %Y", moment)
    found["rfc850-old"] = "Sunday, 06-Nov-94 08:49:37 GMT"
    found["asctime-old"] = "Sun Nov  6 08:49:37 1994"
    found["epoch"] = "Thu, 01 Jan 1970 00:00:00 GMT"
    found["far"] = "Fri, 31 Dec 9999 23:59:59 GMT"
    assert calendar.timegm(moment) == at
    found |= {
        "no-date": "yesterday", "number": str(at), "no-zone": found["same"][:-4], "other-zone": found["same"][:-3] + "+0800",
        "iso": time.strftime("%Y-%m-%dT%H:%M:%SZ", moment), "day-40": "Sun, 40 Nov 2026 08:49:37 GMT", "two": f"{found['same']}, {found['same']}",
        "tag": '"tag"', "hour-25": "Sun, 06 Nov 1994 25:49:37 GMT",
    }  # fmt: skip
    return found


def cases(what: Representation) -> Iterator[Case]:
    size, etag, last = len(what.body), what.etag or '"none"', what.last_modified or "Sun, 06 Nov 1994 08:49:37 GMT"
    tag, date, part = tags(etag), dates(last), ("Range", "bytes=2-5")
    for method in ("GET", "HEAD"):
        yield f"{method} plain", method, ()
        for number, each in enumerate(ranges(size)):
            yield f"{method} range {number} {each[:40]}", method, (("Range", each),)
        for name, value in tag.items():
            yield f"{method} if-match {name}", method, (("If-Match", value),)
            yield f"{method} if-none-match {name}", method, (("If-None-Match", value),)
            yield f"{method} if-match {name} range", method, (("If-Match", value), part)
            yield f"{method} if-none-match {name} range", method, (("If-None-Match", value), part)
            if name not in ("star", "list", "list-weak", "list-others", "blanks", "empties", "comma-tag"):
                yield f"{method} if-range {name}", method, (("If-Range", value), part)
                yield (
                    f"{method} if-range {name} unsatisfiable",
                    method,
                    (("If-Range", value), ("Range", f"bytes={size}-")),
                )
                yield f"{method} if-range {name} alone", method, (("If-Range", value),)
        for name, value in date.items():
            yield f"{method} if-modified-since {name}", method, (("If-Modified-Since", value),)
            yield f"{method} if-unmodified-since {name}", method, (("If-Unmodified-Since", value),)
            yield f"{method} if-modified-since {name} range", method, (("If-Modified-Since", value), part)
            yield f"{method} if-unmodified-since {name} range", method, (("If-Unmodified-Since", value), part)
            if name not in ("tag", "rfc850", "asctime"):
                yield f"{method} if-range date {name}", method, (("If-Range", value), part)
    for match in ("same", "other", "weak", "star"):
        for since in ("same", "day-before", "year-after", "no-date"):
            yield (
                f"precedence match {match} {since}",
                "GET",
                (("If-Match", tag[match]), ("If-Unmodified-Since", date[since])),
            )
            yield (
                f"precedence none-match {match} {since}", "GET", (("If-None-Match", tag[match]), ("If-Modified-Since", date[since])),
            )  # fmt: skip
            for none in ("same", "other"):
                yield (
                    f"all {match} {since} {none}",
                    "GET",
                    (part, ("If-Range", etag), ("If-None-Match", tag[none]), ("If-Unmodified-Since", date[since]), ("If-Match", tag[match])),
                )  # fmt: skip


_NGINX_RANGES = {f"GET range {number}" for number in (11, 12, 16, *range(23, 50), 59, 60, 61, 63, 72, 85)}
"""Numbers beyond 64 bits and no valid syntax: 416; empty elements and elements in a strange order: 416 or whole."""
NGINX_DIFFERS = {
    "HEAD is answered like GET when there is a Range": lambda name: name.startswith("HEAD") and "range" in name,
    "a Range of no valid syntax, or with empty elements, is 416": lambda name: (
        " ".join(name.split()[:3]) in _NGINX_RANGES
    ),
    "a date with something behind it is that date": lambda name: name.startswith("GET if-range date"),
    "both If-Match and If-Unmodified-Since, and both If-None-Match and If-Modified-Since, have to hold": lambda name: (
        name.startswith(("precedence", "all "))
    ),
    "a date that is none is an old one": lambda name: "-since" in name and name.split()[2] in _NO_DATES,
}
_NO_DATES = {"no-date", "number", "no-zone", "other-zone", "iso", "day-40", "two", "tag", "hour-25"}
