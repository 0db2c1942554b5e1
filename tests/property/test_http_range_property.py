"""RFC 9110 §13 and §14 by hypothesis: whatever is asked, the answer is one that a client can act on without harm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import assume, given
from hypothesis import strategies as st

from wire.http_range import FIELD_MAX_CHARS, RANGES_MAX_COUNT, evaluate, http_date, http_moment

ETAG = '"0123456789abcdef0123456789abcdef"'
MODIFIED = datetime(2026, 11, 24, 4, 5, 6, tzinfo=UTC)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
moments = st.integers(0, 36523 * 86400).map(lambda second: EPOCH + timedelta(seconds=second))
dates = moments.map(http_date) | st.just(http_date(MODIFIED))
opaque = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"'), max_size=8)
tags = st.builds('{}"{}"'.format, st.sampled_from(["", "W/"]), opaque) | st.sampled_from([ETAG, "W/" + ETAG])
tag_lists = st.just("*") | st.lists(tags, min_size=1, max_size=4).map(", ".join)
anything = st.text(max_size=40)
numbers = st.integers(0, 3000).map(str)
specs = st.builds("{}-{}".format, numbers, numbers | st.just("")) | numbers.map("-{}".format)
ranges = st.lists(specs, min_size=1, max_size=20).map(lambda each: "bytes=" + ", ".join(each))
requests = st.fixed_dictionaries(
    {},
    optional={
        "If-Match": tag_lists | anything,
        "If-None-Match": tag_lists | anything,
        "If-Modified-Since": dates | anything,
        "If-Unmodified-Since": dates | anything,
        "If-Range": tags | dates | anything,
        "Range": ranges | anything,
    },
)
methods = st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "POST"])


def ask(method: str, fields: dict[str, str], length: int = 2000, etag: str = ETAG):
    return evaluate(method, fields, etag=etag, last_modified=MODIFIED, length_bytes=length)


@given(methods, requests, st.integers(0, 3000))
def test_every_answer_is_whole_and_inside_the_file(method: str, fields: dict[str, str], length: int) -> None:
    answer = ask(method, fields, length)
    said = dict(answer.headers)
    assert said["ETag"] == ETAG and said["Accept-Ranges"] == "bytes" and len(said) == len(answer.headers)
    assert all(0 <= start < stop <= length for start, stop in answer.ranges)
    sent = sum(stop - start for start, stop in answer.ranges)
    assert sent <= length, "nobody may make us send more than the file"
    match answer.status:
        case 200:
            assert sent == length and said["Content-Length"] == str(length) and "Content-Range" not in said
        case 206:
            assert method == "GET" and 1 <= len(answer.ranges) <= RANGES_MAX_COUNT
            if len(answer.ranges) == 1:
                ((start, stop),) = answer.ranges
                assert said["Content-Range"] == f"bytes {start}-{stop - 1}/{length}"
                assert said["Content-Length"] == str(stop - start)
            else:
                assert "Content-Range" not in said and "Content-Length" not in said
        case 304:
            assert method in ("GET", "HEAD") and not answer.ranges
        case 412:
            assert not answer.ranges and {"If-Match", "If-Unmodified-Since", "If-None-Match"} & fields.keys()
        case 416:
            assert method == "GET" and said["Content-Range"] == f"bytes */{length}"
        case _:
            raise AssertionError(answer.status)


@given(requests)
def test_a_part_is_only_sent_of_the_version_that_the_client_holds(fields: dict[str, str]) -> None:
    assume("If-Range" in fields and fields["If-Range"].strip(" \t") not in (ETAG, http_date(MODIFIED)))
    assume(http_moment(fields["If-Range"]) != MODIFIED)
    assert ask("GET", fields).status not in (206, 416)


@given(requests)
def test_head_says_what_get_without_range_says(fields: dict[str, str]) -> None:
    get = ask("GET", {name: value for name, value in fields.items() if name != "Range"})
    assert ask("HEAD", fields) == get


@given(st.integers(1, 2000), st.data())
def test_pieces_asked_for_one_after_another_make_the_file(length: int, data: st.DataObject) -> None:
    held = 0
    while held < length:
        step = data.draw(st.integers(1, 700))
        answer = ask("GET", {"Range": f"bytes={held}-{held + step - 1}", "If-Range": ETAG}, length)
        assert answer.status == 206 and answer.ranges[0][0] == held
        held = answer.ranges[0][1]
    assert ask("GET", {"Range": f"bytes={held}-", "If-Range": ETAG}, length).status == 416


@given(tags)
def test_strong_and_weak_comparison(tag: str) -> None:
    """The table of §8.8.3.2, our own tag being strong."""
    strong, weak = tag == ETAG, tag.removeprefix("W/") == ETAG
    assert ask("GET", {"If-Match": tag}).status == (200 if strong else 412)
    assert ask("GET", {"If-None-Match": tag}).status == (304 if weak else 200)
    assert ask("GET", {"If-Range": tag, "Range": "bytes=0-0"}).status == (206 if strong else 200)


@given(moments)
def test_all_three_date_formats_are_read(moment: datetime) -> None:
    obsolete = moment.strftime("%A, %d-%b-%y %H:%M:%S GMT")
    asctime = f"{moment:%a %b} {moment.day:2d} {moment:%H:%M:%S %Y}"
    assert {http_moment(text) for text in (http_date(moment), obsolete, asctime)} == {moment}


@given(moments, st.sampled_from(["+0000", "UTC", "EST", "", "gmt"]))
def test_a_date_in_another_zone_or_style_is_none(moment: datetime, zone: str) -> None:
    text = http_date(moment).replace("GMT", zone)
    assert http_moment(text) is None
    assert ask("GET", {"If-Unmodified-Since": text}).status == 200


@given(st.integers(0, FIELD_MAX_CHARS), st.integers(0, 99))
def test_a_long_field_is_never_read_in_part(blanks: int, first: int) -> None:
    field = f"bytes={' ' * blanks}0-0,{' ' * (FIELD_MAX_CHARS - blanks)}{first}-1999"
    assert ask("GET", {"Range": field}).status == 200
    assert ask("GET", {"If-None-Match": f"{ETAG},{' ' * FIELD_MAX_CHARS}"}).status == 200


@given(st.timedeltas(timedelta(0), timedelta(microseconds=999_999)))
def test_parts_of_a_second_do_not_matter(rest: timedelta) -> None:
    answer = evaluate(
        "GET", {"If-Modified-Since": http_date(MODIFIED)}, etag=ETAG, last_modified=MODIFIED + rest, length_bytes=1
    )
    assert answer.status == 304
