"""Clients that mean no good, or are merely bad: others get their bytes, and nothing is left behind."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.edge_lab import Running, noisy_lesson, publish, serve
from tests.peers.http_oracle import Representation
from tests.peers.http_wire import Line
from tests.peers.http_wire import request as head

pytestmark = [pytest.mark.timeout(90), pytest.mark.stranger("ffmpeg")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("hostile")
    lesson = noisy_lesson(root / "lesson.mp4", seconds=8)
    return root, publish(root, [lesson])[lesson]


@pytest.fixture(scope="module")
def edge(made: tuple[Path, str]) -> Iterator[Running]:
    root, item = made
    with serve(root) as running:
        running.videos = [item]
        yield running


@pytest.fixture(scope="module")
def lesson(edge: Running) -> Representation:
    return edge.representation(f"/media/{edge.videos[0]}/R40.mp4")


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """As many descriptors afterwards as before; the test's time limit bounds the wait."""
    if "edge" not in request.fixturenames:
        yield
        return
    edge: Running = request.getfixturevalue("edge")
    target: Representation = request.getfixturevalue("lesson")
    _plays(edge, target)
    before = _settled(edge, 0)
    yield
    assert _settled(edge, before) <= before


def _settled(edge: Running, at_most: int) -> int:
    """Descriptors when they have come down to ``at_most``, or no longer change for a second."""
    last, since = edge.descriptors(), time.monotonic()
    while last > at_most and time.monotonic() - since < (20 if at_most else 1):
        time.sleep(0.05)
        now = edge.descriptors()
        if now != last and not at_most:
            since = time.monotonic()
        last = now
    return last


def _plays(edge: Running, target: Representation) -> None:
    with Line(edge.port, timeout_s=30) as line:
        line.send(head(target.path, "Connection: close"))
        assert line.answer().body == target.body


def test_slow_heads(edge: Running, lesson: Representation) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(Line(edge.port)) for _ in range(300)]
        for round_ in range(20):
            for line in slow:
                line.send(head(lesson.path, f"X-Slow: {'a' * 200}")[round_ : round_ + 1])
        _plays(edge, lesson)


def test_slow_readers(edge: Running, lesson: Representation) -> None:
    """Many that take next to nothing; one of them then wants its body after all and gets it whole."""
    with ExitStack() as stack:
        slow = [stack.enter_context(Line(edge.port, timeout_s=30, receive_buffer_bytes=4096)) for _ in range(200)]
        for line in slow:
            line.send(head(lesson.path) * 3)
        for line in slow:
            line.socket.recv(1)
        _plays(edge, lesson)
        slow[7].unread += b"H"
        assert [slow[7].answer().body == lesson.body for _ in range(3)] == [True] * 3


def test_half_open(edge: Running, lesson: Representation) -> None:
    """A client that says it will send no more, after its request, still reads its answer."""
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(edge.port)) for _ in range(20)]
        for line in lines:
            line.send(head(lesson.path))
            line.socket.shutdown(1)
        for line in lines:
            assert line.answer().body == lesson.body


def test_vanishing_in_the_middle(edge: Running, lesson: Representation) -> None:
    """By FIN and by RST, at every stage of a body."""
    linger_off = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
    for number in range(300):
        with Line(edge.port, receive_buffer_bytes=4096) as line:
            line.send(head(lesson.path) * (1 + number % 3))
            for _ in range(number % 5):
                line.socket.recv(4000)
            if number % 2:
                line.socket.setsockopt(1, 13, linger_off)  # SOL_SOCKET, SO_LINGER: close by RST
    _plays(edge, lesson)


def test_a_flood_beside_a_player(edge: Running, lesson: Representation) -> None:
    """A client asks for thousands of small and large things without reading; another one plays to the end."""
    with Line(edge.port, timeout_s=30, receive_buffer_bytes=16384) as player, ExitStack() as stack:
        player.send(head(lesson.path))
        flood = [stack.enter_context(Line(edge.port)) for _ in range(50)]
        for line in flood:
            line.socket.settimeout(0.05)
            with suppress(OSError):  # the server reads no more of it: as it should
                line.socket.sendall((head(lesson.path) + head("/nosuch") + head("/")) * 50)
        assert player.answer().body == lesson.body
        _plays(edge, lesson)


def test_thousands_of_connections(edge: Running, lesson: Representation) -> None:
    """2,000 idle ones, a request on each tenth of them, none refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(edge.port, timeout_s=30)) for _ in range(2000)]
        for line in lines[::10]:
            line.send(head(lesson.path, "Range: bytes=5-11"))
        for line in lines[::10]:
            assert line.answer().body == lesson.body[5:12]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_running_download_outlives_the_signal(made: tuple[Path, str]) -> None:
    """SIGTERM: what is on its way comes whole, nobody new comes in, and the program ends by itself."""
    root, item = made
    with serve(root, environment={"EDGE_SERVER_GRACE_S": "20"}) as running:
        target = running.representation(f"/media/{item}/R40.mp4")
        with Line(running.port, timeout_s=30, receive_buffer_bytes=32768) as line:
            line.send(head(target.path))
            assert line._more()
            running.process.send_signal(signal.SIGTERM)
            while _accepts(running.port):
                time.sleep(0.02)
            assert line.answer().body == target.body
        assert running.process.wait(20) == 0


def _accepts(port: int) -> bool:
    try:
        with Line(port, timeout_s=2):
            return True
    except OSError:
        return False
