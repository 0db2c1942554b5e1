"""RFC 9110 §13 and §14: every combination of preconditions, judged by a second reading of the text."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.http_range import RANGES_MAX_COUNT, evaluate, http_date, http_moment, part_end, part_head

ETAG = '"abc"'
MODIFIED = datetime(2026, 11, 24, 4, 5, 6, 789, tzinfo=UTC)
LENGTH = 1000
AGO, SAME, AHEAD = (http_date(MODIFIED + timedelta(seconds=s)) for s in (-10, 0, 10))


def ask(method: str = "GET", length: int = LENGTH, **fields: str):
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return evaluate(method, headers, etag=ETAG, last_modified=MODIFIED, length_bytes=length)


IF_MATCH = [None, "*", ETAG, 'W/"abc"', '"x"', '"x", "abc"']
IF_UNMODIFIED = [None, AGO, SAME, AHEAD, "rubbish"]
IF_NONE_MATCH = [None, "*", ETAG, 'W/"abc"', '"x"']
IF_MODIFIED = [None, AGO, SAME, AHEAD, "rubbish"]
CASES = list(itertools.product(["GET", "HEAD", "PUT"], IF_MATCH, IF_UNMODIFIED, IF_NONE_MATCH, IF_MODIFIED))


def by_the_text(method: str, match: str | None, unmodified: str | None, none: str | None, modified: str | None) -> int:
    """§13.2.2, step by step, with the truth of each condition written out by hand."""
    if match is not None and match not in ("*", ETAG, '"x", "abc"'):  # 1: strong comparison
        return 412
    if match is None and unmodified == AGO:  # 2: modified after the given date
        return 412
    if none is not None and none in ("*", ETAG, 'W/"abc"'):  # 3: weak comparison
        return 304 if method in ("GET", "HEAD") else 412
    if none is None and method in ("GET", "HEAD") and modified in (SAME, AHEAD):  # 4: not modified since
        return 304
    return 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_every_combination_of_preconditions(method: str) -> None:
    wrong = []
    for case in CASES:
        if case[0] != method:
            continue
        names = ("If_Match", "If_Unmodified_Since", "If_None_Match", "If_Modified_Since")
        fields = {name: value for name, value in zip(names, case[1:], strict=True) if value is not None}
        if ask(method, **fields).status != by_the_text(*case):
            wrong.append(case)
    assert not wrong
    assert len(CASES) >= 2000


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (ETAG, 206),
        ('W/"abc"', 200),  # a weak tag never matches here
        ('"other"', 200),
        (SAME, 206),
        (AGO, 200),
        (AHEAD, 200),  # exact match is asked for, not "not later than"
        ("rubbish", 200),
        ("*", 200),
    ],
)
def test_a_failed_if_range_gets_the_whole_file(value: str, status: int) -> None:
    answer = ask(Range="bytes=10-19", If_Range=value)
    assert answer.status == status
    assert answer.ranges == (((10, 20),) if status == 206 else ((0, LENGTH),))


@pytest.mark.parametrize(
    ("value", "ranges"),
    [
        ("bytes=0-0", ((0, 1),)),
        ("bytes=0-", ((0, 1000),)),
        ("bytes=990-2000", ((990, 1000),)),
        ("bytes=-5", ((995, 1000),)),
        ("bytes=-5000", ((0, 1000),)),
        ("BYTES=1-2", ((1, 3),)),
        ("bytes=0-1, 5-6", ((0, 2), (5, 7))),
        ("bytes=0-1,2000-", ((0, 2),)),
        ("bytes= ,5-6,", ((5, 7),)),
    ],
)
def test_satisfiable_ranges(value: str, ranges: tuple[tuple[int, int], ...]) -> None:
    answer = ask(Range=value)
    assert (answer.status, answer.ranges) == (206, ranges)
    if len(ranges) == 1:
        start, stop = ranges[0]
        assert ("Content-Range", f"bytes {start}-{stop - 1}/1000") in answer.headers
        assert ("Content-Length", str(stop - start)) in answer.headers


@pytest.mark.parametrize("value", ["bytes=1000-", "bytes=1000-1001,2000-", "bytes=-0"])
def test_unsatisfiable_ranges(value: str) -> None:
    answer = ask(Range=value)
    assert answer.status == 416 and not answer.ranges
    assert ("Content-Range", "bytes */1000") in answer.headers


BAD = ["bytes=5-4", "bytes=a-b", "items=0-1", "bytes", "bytes=", "bytes=1-2-3", "bytes=0-500,400-600", "bytes=0-,0-"]


@pytest.mark.parametrize("value", [*BAD, "bytes=" + "0-1," * (RANGES_MAX_COUNT + 1)])
def test_invalid_and_abusive_ranges_are_ignored(value: str) -> None:
    assert ask(Range=value).status == 200


def test_range_is_for_get_only_and_an_empty_file_has_none() -> None:
    assert ask("HEAD", Range="bytes=0-1").status == 200
    assert ask(length=0, Range="bytes=0-").status == 416
    assert ask(length=0).ranges == ()


def test_the_last_bytes_of_an_empty_file_are_the_empty_file() -> None:
    answer = ask(length=0, Range="bytes=-5")
    assert (answer.status, answer.ranges) == (200, ())
    assert ("Content-Length", "0") in answer.headers
    assert ask(length=0, Range="bytes=-0").status == 416


RANGED = list(itertools.product(["GET", "HEAD"], IF_MATCH, IF_NONE_MATCH, IF_MODIFIED, [None, ETAG, '"x"', SAME, AGO]))


@pytest.mark.parametrize(("value", "status"), [("bytes=10-19", 206), ("bytes=5000-", 416), ("lines=1-2", 200)])
def test_preconditions_come_before_ranges(value: str, status: int) -> None:
    """§13.2.2, steps 5 and 6: a range counts only once every precondition has let the request through."""
    wrong = []
    for method, match, none, modified, if_range in RANGED:
        names = ("If_Match", "If_None_Match", "If_Modified_Since", "If_Range")
        given_ = zip(names, (match, none, modified, if_range), strict=True)
        fields = {name: each for name, each in given_ if each is not None}
        expected = by_the_text(method, match, None, none, modified)
        if expected == 200 and method == "GET" and if_range in (None, ETAG, SAME):
            expected = status
        if ask(method, Range=value, **fields).status != expected:
            wrong.append(fields)
    assert not wrong
    assert len(RANGED) >= 1000


def test_a_caller_without_multipart_gets_one_range_or_all() -> None:
    fields = {"Range": "bytes=0-1,5-6"}
    answer = evaluate("GET", fields, etag=ETAG, last_modified=MODIFIED, length_bytes=LENGTH, ranges_max_count=1)
    assert (answer.status, answer.ranges) == (200, ((0, LENGTH),))
    fields = {"Range": "bytes=5-6"}
    answer = evaluate("GET", fields, etag=ETAG, last_modified=MODIFIED, length_bytes=LENGTH, ranges_max_count=1)
    assert (answer.status, answer.ranges) == (206, ((5, 7),))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),  # the three of §5.6.7
        ("Sunday, 06-Nov-94 08:49:37 GMT", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sun Nov  6 08:49:37 1994", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sat, 31 Dec 2016 23:59:60 GMT", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("Sun, 06 Nov 1994 08:49:37 +0100", None),
        ("06 Nov 1994 08:49:37 GMT", None),
        ("Sun, 31 Feb 2016 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 24:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov \u0661994 08:49:37 GMT", None),
        ("", None),
    ],
)
def test_dates(text: str, moment: datetime | None) -> None:
    assert http_moment(text) == moment


@pytest.mark.parametrize("field", ['"abc', 'abc"', "abc", 'w/"abc"', '"x" "abc"', '"abc"; q=1', '"abc", *', ""])
def test_a_list_that_is_no_list_of_tags_matches_nothing(field: str) -> None:
    assert ask(If_Match=field).status == 412
    assert ask(If_None_Match=field).status == 200


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("bytes=0-99999999999999999999999999", 206),
        ("bytes=99999999999999999999999999-", 416),
        ("bytes=\u0660-\u0669", 200),  # digits, but not those of the grammar
        ("bytes=+1-2", 200),
        ("bytes=1_0-20", 200),
        ("bytes=0x1-2", 200),
        ("bytes=1 -2", 200),
        ("bytes:0-1", 200),
        ("bytes=0-1;5-6", 200),
    ],
)
def test_numbers_are_those_of_the_grammar(value: str, status: int) -> None:
    assert ask(Range=value).status == status


def test_multipart_pieces() -> None:
    assert part_head("b", "video/mp4", 0, 2, 9) == (
        b"\r\n--b\r\nContent-Type: video/mp4\r\nContent-Range: bytes 0-1/9\r\n\r\n"
    )
    assert part_end("b") == b"\r\n--b--\r\n"


@given(st.text(max_size=60), st.integers(0, 2000))
def test_no_range_field_can_make_us_send_what_is_not_there(value: str, length: int) -> None:
    answer = ask(length=length, Range="bytes=" + value)
    assert answer.status in (200, 206, 416)
    assert all(0 <= start < stop <= length for start, stop in answer.ranges)


@given(st.integers(0, 1200), st.integers(0, 1200), st.integers(1, 1000))
def test_one_plain_range(first: int, last: int, length: int) -> None:
    answer = ask(length=length, Range=f"bytes={first}-{last}")
    if last < first:
        assert answer.status == 200
    elif first >= length:
        assert answer.status == 416
    else:
        assert answer.ranges == ((first, min(last + 1, length)),)
