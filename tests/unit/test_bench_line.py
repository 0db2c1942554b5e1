"""The benchmark's line: counts exactly, keeps its rate and its round trip, cuts where it should."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from benchmarks.sync.line import Direction, LineProcess, Shape

QUESTION = b"give me bytes\n"
TRIES = 3
"""A busy machine may wake us late, but not each time; too early is wrong at once."""


class Giver:
    """A server that answers each question line with as many bytes as it was told."""

    def __init__(self) -> None:
        self.answer = b""
        self.broken = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                end, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._one, args=(end,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _one(self, end: socket.socket) -> None:
        with end:
            try:
                while question := end.recv(len(QUESTION), socket.MSG_WAITALL):
                    assert question == QUESTION
                    end.sendall(self.answer)
            except OSError:
                self.broken += 1

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)


@pytest.fixture
def giver() -> Iterator[Giver]:
    one = Giver()
    yield one
    one.close()


def read(end: socket.socket, length: int) -> bytes:
    got = bytearray()
    while len(got) < length:
        piece = end.recv(65536)
        if not piece:
            break
        got += piece
    return bytes(got)


def connect(line: LineProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", line.port), timeout=10)


def settled(line: LineProcess, enough: Callable[[int], bool]) -> int:
    """Ask for the number of bytes down until it is enough: the last piece is counted just after it was sent."""
    for _ in range(200):
        if enough(line.stats().down):
            break
    return line.stats().down


def test_counts_are_exact_and_rounds_are_turns(giver: Giver) -> None:
    giver.answer = bytes(range(256)) * 4096 + b"odd"
    with LineProcess(giver.port) as line:
        with connect(line) as end, connect(line) as other:
            for _ in range(3):
                end.sendall(QUESTION)
                assert read(end, len(giver.answer)) == giver.answer
            other.sendall(QUESTION)
            assert read(other, len(giver.answer)) == giver.answer
        settled(line, lambda down: down == 4 * len(giver.answer))
        count = line.stats()
        assert (count.down, count.up, count.lost) == (4 * len(giver.answer), 4 * len(QUESTION), 0)
        assert (count.connections, count.rounds, count.cuts) == (2, 4, 0)
        assert count.wire == count.up + count.down
        line.reset()
        assert line.stats().wire == 0


def test_two_connections_share_one_rate(giver: Giver) -> None:
    giver.answer = b"r" * 500_000
    took = []
    with LineProcess(giver.port, Shape(rate_bits_per_s=8e6)) as line, connect(line) as one, connect(line) as other:
        for _ in range(TRIES):
            began = time.monotonic()
            one.sendall(QUESTION)
            other.sendall(QUESTION)
            first = threading.Thread(target=read, args=(one, 500_000))
            first.start()
            assert len(read(other, 500_000)) == 500_000
            first.join()
            took.append(time.monotonic() - began)
            if took[-1] < 1.05:
                break
    assert min(took) == pytest.approx(1.0, rel=0.05)


def test_a_round_trip_takes_its_time_and_the_handshake_one_more(giver: Giver) -> None:
    giver.answer = b"pong"
    with LineProcess(giver.port, Shape(rtt_s=0.2)) as line, connect(line) as end:
        took = []
        for _ in range(1 + TRIES):
            began = time.monotonic()
            end.sendall(QUESTION)
            assert read(end, 4) == b"pong"
            took.append(time.monotonic() - began)
    assert 0.4 <= took[0] < 0.8
    assert min(took[1:]) == pytest.approx(0.2, abs=0.02)


def test_a_cut_resets_every_connection_and_what_was_under_way_is_lost(giver: Giver) -> None:
    giver.answer = b"c" * 1_000_000
    rate, rtt, cut = 16e6, 0.1, 300_000
    with LineProcess(giver.port, Shape(rate, rtt, cut)) as line:
        with connect(line) as idle, connect(line) as end:
            end.sendall(QUESTION)
            got = bytearray()
            with pytest.raises(ConnectionError):
                while piece := end.recv(65536):
                    got += piece
                raise AssertionError("an orderly end instead of a reset")
            with pytest.raises(ConnectionError):
                idle.recv(1)
        count = line.stats()
        assert count.cuts == 1
        assert count.down == len(got)
        assert count.down + count.lost == cut
        assert count.lost == pytest.approx(rate / 8 * rtt / 2, rel=0.2)
        giver.answer = b"after"
        with connect(line) as end:
            end.sendall(QUESTION)
            assert read(end, 5) == b"after"


def test_what_a_client_that_leaves_did_not_take_is_lost_not_delivered(giver: Giver) -> None:
    giver.answer = b"l" * 2_000_000
    with LineProcess(giver.port, Shape(rate_bits_per_s=8e6, rtt_s=0.2)) as line:
        with connect(line) as end:
            end.sendall(QUESTION)
            got = len(end.recv(65536))
        time_out = time.monotonic() + 5
        while (count := line.stats()).lost == 0 and time.monotonic() < time_out:
            pass
        assert count.lost > 0
        assert got <= count.down < 1_000_000


def test_the_end_of_a_server_reaches_the_client_and_only_after_the_bytes() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, LineProcess(listener.getsockname()[1], Shape(rtt_s=0.05)) as line, connect(line) as end:
        far, _ = listener.accept()
        with far:
            far.sendall(b"last words")
            far.shutdown(socket.SHUT_WR)
            assert read(end, 100) == b"last words"
            end.sendall(b"still here")
            assert read(far, 10) == b"still here"


def test_a_direction_splits_a_piece_where_the_cut_falls() -> None:
    cuts: list[float] = []
    way = Direction(8000.0, 1500, cuts.append)
    assert way.take(1000, 5.0) == (1000, 6.0)
    assert way.take(1000, 5.5) == (500, 6.5)
    assert cuts == [6.5]
    assert way.take(1000, 6.0) == (0, 6.0)
    way.joined(6.5)
    assert way.take(1000, 7.0) == (1000, 8.0)
