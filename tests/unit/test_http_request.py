"""The reader of request heads, line by line of RFC 9112 and RFC 9110."""

from __future__ import annotations

import pytest

from wire.http_request import FIELDS_MAX_COUNT, HEAD_MAX_BYTES, message_bytes, path_of, read_fields, read_line


def fields_of(*lines: str) -> bytes:
    return "".join(f"\r\n{line}" for line in lines).encode("latin-1")


def test_request_lines() -> None:
    assert read_line(b"GET /a?b=c HTTP/1.1") == ("GET", b"/a?b=c", 1)
    assert read_line(b"HEAD * HTTP/1.0") == ("HEAD", b"*", 0)
    for bad in (
        b"",
        b"GET",
        b"GET /",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET / http/1.1",
        b"GET / HTTP/2.0",
        b"GET / HTTP/1.2",
        b"GET / HTTP/1.1\r",
        b"GET /a b HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"G(T / HTTP/1.1",
    ):
        assert read_line(bad) is None, bad


@pytest.mark.parametrize(
    "line",
    [
        "Host : x",  # a space before the colon smuggles requests (RFC 9112 §5.1)
        " Host: x",  # folded lines are obsolete (§5.2)
        "\tfolded",
        ": x",
        "Host",
        "Ho st: x",
        "X: a\x00b",
        "X: a\rb",
        "X: a\nY: b",
        "X: a\x7f",
        "",
    ],
)
def test_what_is_no_field_line(line: str) -> None:
    assert read_fields(fields_of("Host: x", line)) is None


def test_values_are_trimmed_and_lists_joined() -> None:
    found = read_fields(fields_of("Host:x", 'IF-none-MATCH: \t"a" ', 'If-None-Match: "b"', "X: \xe9", "Empty:"))
    assert found is not None and found.conditions == {"If-None-Match": '"a", "b"'}
    assert (found.hosts, found.odd, found.length_bytes, found.usual) == (1, False, 0, False)


@pytest.mark.parametrize(
    ("value", "first_last"),
    [
        ("bytes=0-", (0, -1)),
        ("bytes=5-9", (5, 9)),
        ("bytes=-5", None),
        ("bytes=0-1,3-4", None),
        ("Bytes=0-1", None),
        ("bytes=0 -1", None),
        ("bytes=0-1 ", (0, 1)),
        ("bytes=" + "9" * 16 + "-", None),
        ("bytes=٣-", None),
    ],
)
def test_only_the_simplest_range_is_told_apart(value: str, first_last: tuple[int, int] | None) -> None:
    found = read_fields(f"\r\nHost: x\r\nRange: {value}".encode())
    assert found is not None and found.first_last == first_last


def test_a_range_with_another_condition_is_not_simple() -> None:
    found = read_fields(fields_of("Range: bytes=0-1", 'If-Range: "a"'))
    assert found is not None and found.first_last is None and set(found.conditions) == {"Range", "If-Range"}
    twice = read_fields(fields_of("Range: bytes=0-1", "Range: bytes=2-3"))
    assert twice is not None and twice.first_last is None


@pytest.mark.parametrize(
    ("lines", "minor", "stays"),
    [
        ((), 1, True),
        ((), 0, False),
        (("Connection: close",), 1, False),
        (("Connection: keep-alive",), 0, True),
        (("Connection: Keep-Alive, CLOSE",), 1, False),
        (("Connection: close", "Connection: keep-alive"), 1, False),
        (("Connection: te",), 1, True),
    ],
)
def test_who_keeps_the_connection(lines: tuple[str, ...], minor: int, stays: bool) -> None:
    found = read_fields(fields_of(*lines))
    assert found is not None and found.stays[minor] == stays


@pytest.mark.parametrize(
    ("line", "hosts"),
    [
        ("Host: edge.example:8800", 1),
        ("Host: [::1]:80", 1),
        ("Host:", 1),
        ("Host: a b", -1),
        ("Host: a/b", -1),
        ("Host: u@h", -1),
        ("X: y", 0),
    ],
)
def test_hosts(line: str, hosts: int) -> None:
    found = read_fields(fields_of(line))
    assert found is not None and found.hosts == hosts


@pytest.mark.parametrize(
    "lines",
    [
        ("Transfer-Encoding: chunked",),
        ("Expect: 100-continue",),
        ("Upgrade: h2c", "Connection: upgrade"),
        ("Content-Length: 5", "Content-Length: 5"),
        ("Content-Length: +5",),
        ("Content-Length: 5, 5",),
        ("Content-Length: ",),
        ("Content-Length: " + "9" * 16,),
    ],
)
def test_framing_that_others_must_judge(lines: tuple[str, ...]) -> None:
    found = read_fields(fields_of("Host: x", *lines))
    assert found is not None and found.odd
    head = b"POST / HTTP/1.1" + fields_of("Host: x", *lines) + b"\r\n\r\n"
    assert message_bytes(head) == -1


def test_the_number_of_lines_is_bounded() -> None:
    assert read_fields(fields_of(*["X: y"] * FIELDS_MAX_COUNT)) is not None
    assert read_fields(fields_of(*["X: y"] * (FIELDS_MAX_COUNT + 1))) is None


def test_the_length_of_a_message() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
    assert message_bytes(head) == message_bytes(head + b"abcdefghij") == len(head) + 5
    assert message_bytes(head[:-1]) is None
    assert message_bytes(b"G" * (HEAD_MAX_BYTES + 1)) == -1
    assert message_bytes(b"no request\r\n\r\n") == -1


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", "/"),
        (b"/a/b?c=d&e=%zz", "/a/b"),
        (b"/%E6%B0%B4", "/水"),
        (b"http://h:80/a", "/a"),
        (b"HTTPS://h", "/"),
        (b"http://h?x", "/"),
        (b"//h/a", "//h/a"),
        (b"/a/../b", "/a/../b"),  # another path than /b: nothing is resolved
        (b"/%2e%2e/b", "/../b"),
        (b"*", None),
        (b"h:80", None),
        (b"http:///a", None),
        (b"http://u@h/a", None),
        (b"ftp://h/a", None),
        (b"/a#b", None),
        (b"/%", None),
        (b"/%4", None),
        (b"/%g0", None),
        (b"/%ff", None),
        (b"/%00", None),
        (b"/%0d%0a", None),
        (b"/\xe6\xb0\xb4", None),
        (b"/" + b"a" * 5000, None),
        (b"", None),
    ],
)
def test_paths(target: bytes, path: str | None) -> None:
    assert path_of(target) == path
