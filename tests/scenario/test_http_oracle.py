"""Conditions, ranges and grammar of HTTP/1.1 against a running edge; the RFC and the file's bytes are the answer key.

The same catalogue runs against nginx, as a check of the key itself: where nginx differs is written down.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.edge_lab import Running, noisy_lesson, publish, serve
from tests.http_catalogue import NGINX_DIFFERS, Case, cases, dates, ranges, tags
from tests.peers.http_oracle import Representation, judge
from tests.peers.http_wire import Answer, BrokenAnswer, Closed, Line, request

pytestmark = [pytest.mark.timeout(90), pytest.mark.stranger("ffmpeg")]
KINDS = ["mp4", "ts", "m4s", "playlist", "poster"]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("oracle")
    lesson = noisy_lesson(root / "lesson.mp4", seconds=8)
    items = publish(root, [lesson])
    with serve(root) as running:
        running.videos = [items[lesson]]
        yield running


@pytest.fixture(scope="module")
def targets(edge: Running) -> dict[str, Representation]:
    item = edge.videos[0]
    paths = {
        "mp4": f"/media/{item}/R40.mp4",
        "ts": edge.uris(f"/hls/{item}/ts/R12/index.m3u8")[-1],
        "m4s": edge.uris(f"/hls/{item}/fmp4/R12/index.m3u8")[0],
        "playlist": f"/hls/{item}/fmp4/R12/index.m3u8",
        "poster": f"/posters/{item}.jpg",
    }
    return {kind: edge.representation(path) for kind, path in paths.items()}


def ask_all(port: int, what: Representation, wanted: list[Case], *, batch: int = 16) -> list[str]:
    """Send the cases in pipelines over one connection and judge every answer in its order."""
    wrong, line = [], Line(port)
    try:
        for at in range(0, len(wanted), batch):
            block = wanted[at : at + batch]
            line.send(b"".join(
                request(what.path, *(f"{name}: {value}" for name, value in fields), method=method)
                for _, method, fields in block
            ))  # fmt: skip
            for name, method, fields in block:
                try:
                    answer = line.answer(method)
                except Closed:
                    raise AssertionError(f"closed at {name}: {fields}") from None
                problems = judge(what, method, fields, answer)
                if batch == 1 and answer.status == 412:  # nginx closes behind it
                    line.socket.close()
                    line = Line(port)
                wrong += [f"{name}: {'; '.join(problems)} ({fields})"[:300]] if problems else []
    finally:
        line.socket.close()
    return wrong


@pytest.mark.parametrize("kind", KINDS)
def test_catalogue(edge: Running, targets: dict[str, Representation], kind: str) -> None:
    what = targets[kind]
    wanted = list(cases(what))
    assert len(wanted) > 400
    wrong = ask_all(edge.port, what, wanted)
    assert not wrong, f"{len(wrong)} of {len(wanted)}:\n" + "\n".join(wrong[:60])


def test_the_whole_file_is_a_stored_object(edge: Running, targets: dict[str, Representation]) -> None:
    """The key's bytes are those of the file, not only what the server says of itself."""
    stored = {path.name for path in (edge.root / "edge" / "objects").rglob("*") if path.is_file()}
    for kind in ("mp4", "poster"):
        assert hashlib.sha256(targets[kind].body).hexdigest() in stored
    item = edge.videos[0]
    whole = b"".join(edge.get(uri) for uri in edge.uris(f"/hls/{item}/ts/R12/index.m3u8"))
    derived = [path.read_bytes() for path in (edge.root / "edge" / "derived").rglob("*.ts")]
    assert whole in derived


def test_validators(targets: dict[str, Representation]) -> None:
    """Every media answer has a strong tag; ranges of files a date as well."""
    for kind, what in targets.items():
        assert what.etag is not None and what.etag.startswith('"') and what.etag.endswith('"'), kind
        assert kind not in ("mp4", "ts", "m4s") or what.last_modified is not None, kind
    assert len({what.etag for what in targets.values()}) == len(targets)


@pytest.fixture(scope="module")
def open_line(edge: Running) -> Iterator[Line]:
    with Line(edge.port) as line:
        yield line


def _fields(data: st.DataObject, what: Representation) -> tuple[tuple[str, str], ...]:
    size = len(what.body)
    edge_number = st.sampled_from([0, 1, size - 1, size, size + 1, 2**31, 2**63, 2**64]) | st.integers(0, size + 9)
    spec = st.one_of(
        st.tuples(edge_number, edge_number).map(lambda both: f"{both[0]}-{both[1]}"),
        edge_number.map(lambda number: f"{number}-"),
        edge_number.map(lambda number: f"-{number}"),
        st.text("0123456789-, \tx", max_size=9),
    )
    any_range = st.lists(spec, min_size=1, max_size=5).map(lambda specs: "bytes=" + ",".join(specs))
    tag = st.sampled_from([value for name, value in tags(what.etag or '"x"').items() if name != "empties"])
    date = st.sampled_from(list(dates(what.last_modified or "Sun, 06 Nov 1994 08:49:37 GMT").values()))
    one_tag = st.sampled_from([what.etag or '"x"', '"other"', f"W/{what.etag}"])
    some = {
        "Range": any_range | st.sampled_from(ranges(size)),
        "If-Range": one_tag,
        "If-Match": tag,
        "If-None-Match": tag,
        "If-Modified-Since": date,
        "If-Unmodified-Since": date,
    }
    names = data.draw(st.sets(st.sampled_from(list(some)), max_size=4))
    return tuple((name, data.draw(some[name])) for name in sorted(names))


@settings(max_examples=150, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_random_conditions_over_one_connection(
    edge: Running, targets: dict[str, Representation], open_line: Line, data: st.DataObject
) -> None:
    asked = []
    for _ in range(12):
        what = targets[data.draw(st.sampled_from(KINDS))]
        asked.append((what, data.draw(st.sampled_from(["GET", "GET", "HEAD"])), _fields(data, what)))
    open_line.send(b"".join(
        request(what.path, *(f"{name}: {value}" for name, value in fields), method=method)
        for what, method, fields in asked
    ))  # fmt: skip
    problems = [
        (judge(what, method, fields, open_line.answer(method)), what.path, method, fields)
        for what, method, fields in asked
    ]
    assert [each for each in problems if each[0]] == []


# What a parser of requests has to refuse or to understand: (name, bytes, statuses allowed, does the line go on?)
GOOD = "GET {path} HTTP/1.1\r\nHost: edge\r\n"
LINES: list[tuple[str, str, set[int], bool | None]] = [
    ("no host", "GET {path} HTTP/1.1\r\n\r\n", {400}, None),
    ("two hosts", GOOD + "Host: other\r\n\r\n", {400}, None),
    ("two equal hosts", GOOD + "Host: edge\r\n\r\n", {400}, None),
    ("empty host", "GET {path} HTTP/1.1\r\nHost:\r\n\r\n", {200, 400}, None),
    ("bad host", "GET {path} HTTP/1.1\r\nHost: a b\r\n\r\n", {200, 400}, None),
    ("blank before colon", GOOD + "Range : bytes=0-1\r\n\r\n", {400}, None),
    ("blank before the first field", "GET {path} HTTP/1.1\r\n Host: edge\r\n\r\n", {400}, None),
    ("obs-fold", GOOD + "X-A: b\r\n c\r\n\r\n", {200, 400}, None),
    ("obs-fold of a range", GOOD + "Range: bytes=0-1,\r\n 4-5\r\n\r\n", {206, 400}, None),
    ("field without colon", GOOD + "nonsense\r\n\r\n", {400}, None),
    ("field without name", GOOD + ": x\r\n\r\n", {400}, None),
    ("NUL in a value", GOOD + "X-A: a\0b\r\n\r\n", {400}, None),
    ("bare CR in a value", GOOD + "X-A: a\rb\r\n\r\n", {400}, None),
    ("NUL in the target", "GET {path}\0 HTTP/1.1\r\nHost: edge\r\n\r\n", {400}, None),
    ("control in the target", "GET {path}\x01 HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 404}, None),
    ("two blanks", "GET  {path} HTTP/1.1\r\nHost: edge\r\n\r\n", {200, 400}, None),
    ("blank in the target", "GET {path} x HTTP/1.1\r\nHost: edge\r\n\r\n", {400}, None),
    ("no version", "GET {path}\r\nHost: edge\r\n\r\n", {400, 505}, None),
    ("HTTP/2.0", "GET {path} HTTP/2.0\r\nHost: edge\r\n\r\n", {400, 505}, None),
    ("HTTP/1.10", "GET {path} HTTP/1.10\r\nHost: edge\r\n\r\n", {400, 505}, None),
    ("http/1.1", "GET {path} http/1.1\r\nHost: edge\r\n\r\n", {400, 505}, None),
    ("lower get", "get {path} HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 405, 501}, None),
    ("unknown method", "BREW {path} HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 405, 501}, None),
    ("DELETE", "DELETE {path} HTTP/1.1\r\nHost: edge\r\nContent-Length: 0\r\n\r\n", {405}, None),
    ("POST", "POST {path} HTTP/1.1\r\nHost: edge\r\nContent-Length: 0\r\n\r\n", {405}, None),
    ("PUT", "PUT {path} HTTP/1.1\r\nHost: edge\r\nContent-Length: 0\r\n\r\n", {405}, None),
    ("TRACE", "TRACE {path} HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 405, 501}, None),
    ("method of no token", "G@T {path} HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 405, 501}, None),
    ("relative target", "GET media HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 404}, None),
    ("asterisk", "GET * HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 404}, None),
    ("garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}, False),
    ("absolute form", "GET http://edge{path} HTTP/1.1\r\nHost: edge\r\n\r\n", {200}, True),
    ("absolute form, other host", "GET http://else{path} HTTP/1.1\r\nHost: edge\r\n\r\n", {200, 404, 421}, None),
    ("absolute form, capitals", "GET HTTP://edge{path} HTTP/1.1\r\nHost: edge\r\n\r\n", {200}, True),
    ("query", "GET {path}?a=b&c=%00 HTTP/1.1\r\nHost: edge\r\n\r\n", {200}, True),
    ("empty lines before", "\r\n\r\nGET {path} HTTP/1.1\r\nHost: edge\r\n\r\n", {200}, True),
    ("capitals of names", "GET {path} HTTP/1.1\r\nhOsT:edge\r\nRANGE:bytes=0-1\r\n\r\n", {206}, True),
    ("tabs around", "GET {path} HTTP/1.1\r\nHost:\tedge \t\r\nRange:\t bytes=0-1\t \r\n\r\n", {206}, True),
    ("two ranges in two fields", GOOD + "Range: bytes=0-1\r\nRange: bytes=4-5\r\n\r\n", {200, 400}, None),
    ("latin-1 in a value", GOOD + "X-A: \xe4\xf6\r\n\r\n", {200}, True),
    ("100 fields", GOOD + "".join(f"X-{i}: {i}\r\n" for i in range(60)) + "\r\n", {200, 431}, None),
    ("huge field", GOOD + f"X-A: {'a' * 100000}\r\n\r\n", {400, 413, 431}, False),
    ("huge target", f"GET /{'a' * 100000} HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 404, 414, 431}, None),
    ("long target", f"GET /media/{'a' * 3000} HTTP/1.1\r\nHost: edge\r\n\r\n", {404, 414}, None),
    ("dots", "GET /media/../media/../../../../etc/passwd HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 404}, None),
    ("percent dots", "GET /media/%2e%2e/%2E%2E/etc/passwd HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 404}, None),
    ("percent slashes", "GET /media/..%2f..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 404}, None),
    ("double percent", "GET /media/%252e%252e/x HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 404}, None),
    ("percent NUL", "GET {path}%00 HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 404}, None),
    ("percent NUL .mp4", "GET {path}%00.mp4 HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 404}, None),
    ("bad percent", "GET /media/%zz HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 404}, None),
    ("cut percent", "GET /media/% HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 404}, None),
    ("not UTF-8", "GET /media/%ff%fe HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 404}, None),
    ("backslash", "GET /media/..\\..\\x HTTP/1.1\r\nHost: edge\r\n\r\n", {400, 404}, None),
    ("two slashes", "GET /{path} HTTP/1.1\r\nHost: edge\r\n\r\n", {200, 301, 302, 308, 400, 404}, None),
    ("trailing slash", "GET {path}/ HTTP/1.1\r\nHost: edge\r\n\r\n", {301, 302, 308, 400, 404}, None),
    ("fragment", "GET {path}#x HTTP/1.1\r\nHost: edge\r\n\r\n", {200, 400, 404}, None),
    ("huge Content-Length", GOOD + f"Content-Length: {'9' * 30}\r\n\r\n", {200, 400, 413}, False),
    ("unknown expectation", GOOD + "Expect: cookies\r\n\r\n", {200, 417}, None),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["mp4", "ts", "playlist"])
def test_grammar(edge: Running, targets: dict[str, Representation], kind: str) -> None:
    """Each has one of its statuses; a second request behind it is answered fully or not at all."""
    what, wrong = targets[kind], []
    for name, text, allowed, goes_on in LINES:
        with Line(edge.port, timeout_s=5) as line:
            line.send(text.format(path=what.path).encode("latin-1"))
            line.send(request(what.path, "Range: bytes=3-6", "Connection: close"))
            try:
                answers = line.answers_until_closed(["GET", "GET"])
            except (BrokenAnswer, TimeoutError) as error:
                wrong.append(f"{name}: {error!r}")
                continue
        if not answers or answers[0].status not in allowed:
            wrong.append(f"{name}: {[each.status for each in answers]}, not {allowed}")
        elif len(answers) == 2 and (goes_on is False or answers[1].body != what.body[3:7]):
            wrong.append(f"{name}: went on with {answers[1].status}")
        elif len(answers) == 1 and goes_on:
            wrong.append(f"{name}: closed")
        if answers and answers[0].status == 200 and answers[0].body != what.body:
            wrong.append(f"{name}: another body")
        if answers and answers[0].status in (405,) and answers[0].one("allow") is None:
            wrong.append(f"{name}: 405 without Allow")
    assert not wrong, "\n".join(wrong)


BARE_LF = [
    "GET {path} HTTP/1.1\nHost: edge\nRange: bytes=0-1\n\n",
    "GET {path} HTTP/1.1\r\nHost: edge\nRange: bytes=0-1\r\n\r\n",
    "GET {path} HTTP/1.1\r\nHost: edge\r\nX: y\n\r\n",
    "GET {path} HTTP/1.1\r\nHost: edge\r\n\nGET {path} HTTP/1.1\r\nHost: edge\r\n\r\n",
]


@pytest.mark.parametrize("text", BARE_LF)
def test_bare_line_feeds_are_read_well_or_refused(edge: Running, targets: dict[str, Representation], text: str) -> None:
    """RFC 9112 §2.2 allows both; silence until the time runs out, or another meaning, it does not."""
    what = targets["mp4"]
    with Line(edge.port, timeout_s=5) as line:
        line.send(text.format(path=what.path).encode() + request(what.path, "Connection: close"))
        first = line.answer()
    assert first.status in (200, 206, 400)
    assert first.status != 206 or first.body == what.body[:2]


SECRET = "Range: bytes=100-106"
"""Of the request hidden in a body: its 7 bytes must never come."""
BODIES: list[tuple[str, str]] = [
    ("length", "Content-Length: {size}\r\n\r\n{hidden}"),
    ("chunked", "Transfer-Encoding: chunked\r\n\r\n{hex}\r\n{hidden}\r\n0\r\n\r\n"),
    ("chunked capitals", "Transfer-Encoding: Chunked\r\n\r\n{hex}\r\n{hidden}\r\n0\r\n\r\n"),
    ("chunk extension", "Transfer-Encoding: chunked\r\n\r\n{hex};a=b\r\n{hidden}\r\n0\r\n\r\n"),
    ("trailer", "Transfer-Encoding: chunked\r\n\r\n{hex}\r\n{hidden}\r\n0\r\nX: y\r\n\r\n"),
    ("length and chunked", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
    ("chunked and length", "Transfer-Encoding: chunked\r\nContent-Length: {size}\r\n\r\n{hidden}"),
    ("two lengths", "Content-Length: 0\r\nContent-Length: {size}\r\n\r\n{hidden}"),
    ("two lengths other way", "Content-Length: {size}\r\nContent-Length: 0\r\n\r\n{hidden}"),
    ("list of lengths", "Content-Length: 0, {size}\r\n\r\n{hidden}"),
    ("equal lengths", "Content-Length: {size}, {size}\r\n\r\n{hidden}"),
    ("plus", "Content-Length: +{size}\r\n\r\n{hidden}"),
    ("minus", "Content-Length: -1\r\n\r\n{hidden}"),
    ("hex", "Content-Length: 0x10\r\n\r\n{hidden}"),
    ("underscore", "Content-Length: 0_0\r\n\r\n{hidden}"),
    ("empty length", "Content-Length:\r\n\r\n{hidden}"),
    ("blank before colon", "Content-Length : {size}\r\n\r\n{hidden}"),
    ("coding blank before colon", "Transfer-Encoding : chunked\r\n\r\n{hex}\r\n{hidden}\r\n0\r\n\r\n"),
    ("coding unknown", "Transfer-Encoding: xchunked\r\n\r\n{hidden}"),
    ("coding identity", "Transfer-Encoding: identity\r\nContent-Length: {size}\r\n\r\n{hidden}"),
    ("coding list", "Transfer-Encoding: chunked, identity\r\n\r\n{hidden}"),
    ("coding gzip", "Transfer-Encoding: gzip, chunked\r\n\r\n{hex}\r\n{hidden}\r\n0\r\n\r\n"),
    ("coding folded", "Transfer-Encoding:\r\n chunked\r\n\r\n{hex}\r\n{hidden}\r\n0\r\n\r\n"),
    ("coding vertical tab", "Transfer-Encoding: \x0bchunked\r\n\r\n{hidden}"),
    ("coding twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n{hidden}"),
    ("bad chunk size", "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n{hidden}"),
    ("minus chunk size", "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n{hidden}"),
    ("huge chunk size", "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{hidden}"),
    ("chunk too short", "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n{hidden}"),
    ("upgrade", "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: {size}\r\n\r\n{hidden}"),
    ("underscore name", "Content_Length: {size}\r\nContent-Length: {size}\r\n\r\n{hidden}"),
]
WELL_FORMED = {"length", "chunked", "chunked capitals", "chunk extension", "trailer"}
KNOWN_LENGTH = {"equal lengths", "underscore name", "upgrade", "coding gzip"}
"""Odd, but where the body ends is beyond doubt: either answer is right."""


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("kind", ["mp4", "playlist"])
def test_a_body_is_never_the_next_request(
    edge: Running, targets: dict[str, Representation], kind: str, method: str
) -> None:
    what, wrong = targets[kind], []
    hidden = request(what.path, SECRET).decode()
    for name, shape in BODIES:
        if method == "HEAD" and name not in WELL_FORMED:
            continue  # see test_refusals_of_head_have_no_body
        text = shape.format(size=len(hidden), hex=f"{len(hidden):x}", hidden=hidden)
        # a server may wait for the rest of a body that has none: then silence is an answer
        with Line(edge.port, timeout_s=5 if name in WELL_FORMED else 0.15) as line:
            line.send(f"{method} {what.path} HTTP/1.1\r\nHost: edge\r\n{text}".encode("latin-1"))
            line.send(request(what.path, "Range: bytes=3-6", "Connection: close"))
            answers = []
            try:
                for each in (method, "GET"):
                    answers.append(line.answer(each))
            except Closed:
                pass
            except BrokenAnswer as error:
                wrong.append(f"{name}: {error!r}")
            except TimeoutError:
                if name in WELL_FORMED:
                    wrong.append(f"{name}: silence after {len(answers)} answers")
                answers = answers or [Answer(1, 400, (), b"")]
        if any(each.body == what.body[100:107] for each in answers):
            wrong.append(f"{name}: the hidden request was answered")
        if not answers or answers[0].status not in {200, 400, 405, 411, 413, 501}:
            wrong.append(f"{name}: {[each.status for each in answers]}")
        if len(answers) == 2 and answers[0].status < 400 and answers[1].body != what.body[3:7]:
            wrong.append(f"{name}: second answer {answers[1].status} {len(answers[1].body)}")
        if name not in WELL_FORMED and len(answers) == 2 and name not in KNOWN_LENGTH:
            wrong.append(f"{name}: the line goes on after a length that nobody can know")
        if (
            name in WELL_FORMED
            and method == "GET"
            and answers
            and answers[0].status == 200
            and answers[0].body != what.body
        ):
            wrong.append(f"{name}: another body")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("fields", "host", "version", "status"),
    [
        (("Content-Length: 0", "Content-Length: 5"), "edge", "HTTP/1.1", 400),  # by aiohttp
        (("X\x00: 1",), "edge", "HTTP/1.1", 400),
        ((), "", "HTTP/1.1", 400),  # by the plane
        ((), "edge", "HTTP/2.0", 505),
        (("X: " + "x" * 40_000,), "edge", "HTTP/1.1", 431),
    ],
)
def test_refusals_of_head_have_no_body(
    edge: Running, targets: dict[str, Representation], fields: tuple[str, ...], host: str, version: str, status: int
) -> None:
    for before in (b"", request(targets["poster"].path)):  # alone, and behind another request
        with Line(edge.port, timeout_s=5) as line:
            line.send(before + request(targets["mp4"].path, *fields, method="HEAD", host=host, version=version))
            found = line.answers_until_closed(["GET", "HEAD"][not before :])
            assert [each.status for each in found] == [200, status][not before :]
            assert int(found[-1].one("content-length") or 0) > 0  # as for GET


@pytest.mark.parametrize("path", ["mp4", "page"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("fields", "body"),
    [(("Content-Length: 5",), b"hello"), (("Transfer-Encoding: chunked",), b"5\r\nhello\r\n0\r\n\r\n"), ((), b"")],
)
def test_a_client_that_closes_its_half_behind_a_request_is_answered(
    edge: Running, targets: dict[str, Representation], path: str, count: int, fields: tuple[str, ...], body: bytes
) -> None:
    """Every request before the end of its half, whoever answers it; then the server closes, too."""
    target = targets["mp4"].path if path == "mp4" else "/no/such/page"
    with Line(edge.port, timeout_s=10) as line:
        line.send((request(target, *fields) + body) * count)
        line.socket.shutdown(socket.SHUT_WR)
        found = line.answers_until_closed(["GET"] * count)
        assert [each.status for each in found] == [200 if path == "mp4" else 404] * count
        assert path != "mp4" or all(each.body == targets["mp4"].body for each in found)


def test_bad_requests_do_not_fill_the_log(edge: Running) -> None:
    """However many come: one line, no stack."""
    log = edge.root / "serve.log"
    for sent in [b"GET /x\x00 HTTP/1.1\r\nHost: edge\r\n\r\n", b"\x16\x03\x01\x02\0\x01\r\n\r\n"] * 20:
        with Line(edge.port, timeout_s=5) as line:
            line.send(sent)
            assert all(each.status == 400 for each in line.answers_until_closed(["GET"]))
    bad = request("/no/such/page", "Transfer-Encoding: chunked", method="POST") + b"no length\r\n"
    for _ in range(20):
        with Line(edge.port, timeout_s=5) as line:
            line.send(bad)
            assert all(each.status >= 400 for each in line.answers_until_closed(["POST"]))
    for _ in range(20):  # gone before the answer
        with Line(edge.port, timeout_s=5) as line:
            line.send(request("/no/such/page"))
            line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with Line(edge.port) as line:
        line.send(request("/no/such/page"))
        assert line.answer().status == 404
    said = log.read_text()
    assert "Traceback" not in said
    assert said.count("bad requests") == 1


@pytest.mark.parametrize("rest", [b"hel", b"5\r\nhel", b"5\r\nhello\r\n"])
def test_half_a_body_is_not_waited_for_when_no_more_can_come(edge: Running, rest: bytes) -> None:
    length = "Content-Length: 5" if rest == b"hel" else "Transfer-Encoding: chunked"
    with Line(edge.port, timeout_s=5) as line:
        line.send(request("/no/such/page", length, method="POST") + rest)
        line.socket.shutdown(socket.SHUT_WR)
        assert all(each.status >= 400 for each in line.answers_until_closed(["POST"]))


@pytest.mark.parametrize("kind", KINDS)
def test_split_at_every_byte(edge: Running, targets: dict[str, Representation], kind: str) -> None:
    """Two requests cut in two at every place; a whole exchange in between lets the server read the first piece."""
    what = targets[kind]
    both = request(what.path, "Range: bytes=3-60", f"If-Range: {what.etag}") + request(
        what.path, "Range: bytes=-7", "Connection: close", method="GET"
    )
    lines = [Line(edge.port) for _ in range(1, len(both))]
    try:
        for at, line in enumerate(lines, 1):
            line.send(both[:at])
        with Line(edge.port) as barrier:
            barrier.send(request(what.path))
            assert barrier.answer().status == 200
        for at, line in enumerate(lines, 1):
            line.send(both[at:])
        for at, line in enumerate(lines, 1):
            found = [each.body for each in line.answers_until_closed(["GET", "GET"])]
            assert found == [what.body[3:61], what.body[-7:]], at
    finally:
        for line in lines:
            line.socket.close()


def test_byte_by_byte(edge: Running, targets: dict[str, Representation]) -> None:
    what = targets["ts"]
    with Line(edge.port) as line:
        for each in request(what.path, "Range: bytes=3-60"):
            line.send(bytes([each]))
        assert line.answer().body == what.body[3:61]


def test_pipeline_behind_a_large_body(edge: Running, targets: dict[str, Representation]) -> None:
    """A slow reader asks for more while a large body is on its way: all comes, in order."""
    large = targets["mp4"]
    assert len(large.body) > 2_000_000
    order = [targets[kind] for kind in ("mp4", "playlist", "poster", "ts", "mp4", "m4s", "playlist")]
    with Line(edge.port, receive_buffer_bytes=8192) as line:
        line.send(request(large.path))
        while len(line.unread) < 50_000:
            assert line._more()
        line.send(b"".join(request(what.path) for what in order[1:]))
        for what in order:
            assert line.answer().body == what.body, what.path


def test_http_1_0_and_close(edge: Running, targets: dict[str, Representation]) -> None:
    for what in targets.values():
        for fields, version in (
            ((), "HTTP/1.0"),
            (("Connection: close",), "HTTP/1.1"),
            (("Connection: Close, x",), "HTTP/1.1"),
        ):
            with Line(edge.port) as line:
                line.send(request(what.path, *fields, version=version, host="" if version == "HTTP/1.0" else "edge"))
                found = line.answers_until_closed(["GET"])
                assert [each.body for each in found] == [what.body], (what.path, version)
                assert "close" in (found[0].one("connection") or "close").lower()
                assert found[0].one("transfer-encoding") is None or version == "HTTP/1.1"
        with Line(edge.port) as line:
            again = request(what.path, "Connection: keep-alive", version="HTTP/1.0")
            line.send(again)
            first = line.answer()
            assert first.body == what.body
            if "keep-alive" in (first.one("connection") or "").lower():
                line.send(again)
                assert line.answer().body == what.body


@pytest.mark.parametrize("kind", ["mp4", "playlist"])
def test_expect_continue(edge: Running, targets: dict[str, Representation], kind: str) -> None:
    """100 or a final answer comes before the body; what follows is read as the body it is."""
    what = targets[kind]
    with Line(edge.port) as line:
        line.send(request(what.path, "Expect: 100-continue", "Content-Length: 5"))
        first = line.interim()
        assert first.status in (100, 200, 400, 417)
        if first.status == 100:
            line.send(b"hello")
            assert line.answer().status == 200
    with Line(edge.port) as line:
        line.send(request(what.path, "Expect: 100-continue"))
        assert line.answer().body == what.body


NGINX = """
daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log; events {{ worker_connections 512; }}
http {{ access_log off; client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
  uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  if_modified_since before; keepalive_requests 100000; large_client_header_buffers 4 32k;
  types {{ }} default_type video/mp4; server {{ listen 127.0.0.1:{port}; root {root}/www; }} }}
"""


@pytest.mark.stranger("/usr/sbin/nginx")
def test_the_key_agrees_with_nginx(tmp_path: Path) -> None:
    """Every case; what nginx answers otherwise is named, each name is needed, and the large rest agrees."""
    (tmp_path / "www").mkdir()
    body = tmp_path / "www" / "file.mp4"
    body.write_bytes(bytes(number * number % 251 for number in range(100_000)))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "conf").write_text(NGINX.format(root=tmp_path, port=port))
    tmp_path.chmod(0o755)
    command = [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(tmp_path / "conf"), "-p", str(tmp_path)]
    process = subprocess.Popen([*command, "-g", "user root;"], stderr=subprocess.DEVNULL)
    try:
        line, deadline = None, time.monotonic() + 10
        while line is None:
            try:
                line = Line(port)
            except ConnectionRefusedError:
                assert process.poll() is None and time.monotonic() < deadline
        with line:
            line.send(request("/file.mp4"))
            plain = line.answer()
        assert plain.body == body.read_bytes()
        what = Representation("/file.mp4", plain.body, plain.one("etag"), plain.one("last-modified"), "video/mp4")
        wanted = list(cases(what))
        wrong = {each.split(": ")[0] for each in ask_all(port, what, wanted, batch=1)}
    finally:
        process.terminate()
        process.wait(10)
    unknown = sorted(name for name in wrong if not any(differs(name) for differs in NGINX_DIFFERS.values()))
    assert unknown == []
    assert [why for why, differs in NGINX_DIFFERS.items() if not any(map(differs, wrong))] == []
    assert len([name for name in wrong if not name.startswith("HEAD")]) < len(wanted) / 6
