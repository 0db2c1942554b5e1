"""The hot way of the plane says the same as the rules of HTTP, and the reader of heads is never surprised."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import assume, example, given
from hypothesis import strategies as st

from edge_server.egress import FileRange, Resource
from edge_server.plane.answers import Piece, cut, field_lines, length_of, plan, range_fields, simple_range
from edge_server.plane.lookup import Found
from wire.http_range import evaluate
from wire.http_request import message_bytes, path_of, read_fields, read_line

WHEN = datetime(2026, 11, 24, 4, 5, 6, tzinfo=UTC)
FILE = bytes(range(256)) * 2

parts = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=12),
        st.tuples(st.integers(0, 100), st.integers(1, 60)).map(lambda t: FileRange(Path("/film"), *t)),
    ),
    max_size=5,
)
numbers = st.one_of(st.integers(0, 30), st.integers(0, 10**16)).map(str)
specs = st.one_of(
    st.builds("{}-{}".format, numbers, numbers),
    st.builds("{}-".format, numbers),
    st.builds("-{}".format, numbers),
    st.text("0123456789-, x=", max_size=12),
)


def resource_of(pieces: list[Piece]) -> Resource:
    length = sum(map(length_of, pieces))
    return Resource(tuple(pieces), length, '"tag"', WHEN, "video/mp4", "no-cache", (("X-Y", "z"),))


def content(pieces: tuple[Piece, ...]) -> bytes:
    return b"".join(
        each if isinstance(each, bytes) else FILE[each.offset_bytes : each.offset_bytes + each.length_bytes]
        for each in pieces
    )


def read(lines: bytes) -> dict[str, str]:
    return dict(email.message_from_bytes(lines, policy=email.policy.HTTP).items())


@given(
    parts, st.lists(specs, min_size=1, max_size=3).map(",".join), st.sampled_from(["bytes=", "Bytes=", "bytes =", ""])
)
@example([b"abc"], "0-0", "bytes=")
@example([], "0-", "bytes=")
def test_the_hot_way_of_a_range_is_the_way_of_the_rules(pieces: list[Piece], spec: str, unit: str) -> None:
    fields = read_fields(f"\r\nHost: x\r\nRange: {unit}{spec}".encode())
    assert fields is not None
    resource = resource_of(pieces)
    made = plan("GET", resource, fields.conditions)
    hot = simple_range(fields.first_last, resource.length_bytes) if fields.first_last else None
    if hot is None:
        return
    start, stop = hot
    assert made.status == 206
    assert content(made.body) == content(tuple(cut(resource.parts, start, stop))) == content(resource.parts)[start:stop]
    common = [(n, v) for n, v in plan("GET", resource, {}).fields if n != "Content-Length"]
    assert read(field_lines(common) + range_fields(start, stop, resource.length_bytes)) == dict(made.fields)


@given(parts)
def test_a_plain_get_is_the_way_of_the_rules(pieces: list[Piece]) -> None:
    resource = resource_of(pieces)
    made = plan("GET", resource, {})
    answer = evaluate("GET", {}, etag='"tag"', last_modified=WHEN, length_bytes=resource.length_bytes)
    assert made.status == answer.status == 200
    assert content(made.body) == content(resource.parts)
    assert set(answer.headers) <= set(made.fields)
    if not any(isinstance(each, FileRange) for each in pieces):
        found = Found("/p", resource, {})
        assert read(found.whole) == dict(made.fields)
        assert b"".join(each for each in found.pieces if isinstance(each, bytes)) == content(made.body)


@given(parts, st.data())
def test_a_cut_is_the_slice(pieces: list[Piece], data: st.DataObject) -> None:
    whole = content(tuple(pieces))
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    assert content(tuple(cut(pieces, start, stop))) == whole[start:stop]


@given(parts, st.lists(specs, min_size=2, max_size=4).map(",".join))
def test_the_length_that_is_promised_is_the_length_of_the_body(pieces: list[Piece], spec: str) -> None:
    made = plan("GET", resource_of(pieces), {"Range": f"bytes={spec}"})
    promised = dict(made.fields).get("Content-Length")
    assert promised is not None and int(promised) == sum(map(length_of, made.body))
    assert plan("HEAD", resource_of(pieces), {"Range": f"bytes={spec}"}).body == ()


tokens = st.text("abcdefgXYZ-", min_size=1, max_size=8)
values = st.text("abc 123,;=/\t", max_size=20).map(str.strip)


@given(st.lists(st.tuples(tokens, values), max_size=8), st.binary(max_size=40), st.integers(0, 40))
def test_the_end_of_a_message_is_found_from_any_amount_of_it(
    fields: list[tuple[str, str]], behind: bytes, length: int
) -> None:
    assume(all(name.lower() not in ("expect", "upgrade", "trailer", "connection", "host") for name, _ in fields))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    head = f"POST /x HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {length}\r\n\r\n".encode()
    assert message_bytes(head + behind) == len(head) + length
    for at in range(1, len(head), 7):
        assert message_bytes(head[:at]) is None


@given(st.binary(max_size=200))
@example(b"\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
def test_no_bytes_are_a_surprise(data: bytes) -> None:
    length = message_bytes(data)
    assert length is None or length == -1 or length >= 4
    read_line(data)
    read_fields(b"\r\n" + data)
    path = path_of(data)
    assert path is None or (path.startswith("/") and path.isprintable())
