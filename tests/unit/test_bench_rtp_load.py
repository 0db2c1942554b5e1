"""The load client's TCP reader: what is wrong with a stream is seen, wherever the pieces of it end."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from benchmarks.rtp_load.ledger import Ledger
from benchmarks.rtp_load.session import Session
from benchmarks.rtp_load.tcp import UNFINISHED_MAX_BYTES, TcpReader
from benchmarks.rtp_load.whole import Whole

SSRC = 0x01020304
MESSAGE = b"RTSP/1.0 200 OK\r\nCSeq: 7\r\n\r\n"


class Playing:
    """What the reader needs of a session that plays, and the server's end of it."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.rtsp = socket.create_connection(listener.getsockname())
            self.server, _ = listener.accept()
        self.rest = b""

    def send(self, octets: bytes) -> None:
        """Send, and wait until it is there."""
        self.server.sendall(octets)
        assert select.select([self.rtsp], [], [], 10)[0]

    def close(self) -> None:
        self.rtsp.close()
        self.server.close()


class Watching:
    """A reader of two sessions, the first compared with a file, the second timed too."""

    def __init__(self, file: Path) -> None:
        self.ledger = Ledger(2, Whole(file))
        self.ledger.timed[1] = True
        self.ledger.measuring = True
        self.reader = TcpReader(self.ledger, {0})
        self.playing = [Playing(), Playing()]
        for index, each in enumerate(self.playing):
            self.reader.add(index, cast("Session", each))

    def read(self, session: int, octets: bytes) -> None:
        self.playing[session].send(octets)
        self.reader.drain()


def packets_of(file: Path) -> list[bytes]:
    return [file.read_bytes()[at : at + 1316] for at in range(0, file.stat().st_size, 1316)]


def frame(sequence: int, payload: bytes, *, channel: int = 0, ssrc: int = SSRC, kind: int = 33) -> bytes:
    head = bytes((0x80, kind)) + sequence.to_bytes(2, "big") + (sequence * 240).to_bytes(4, "big")
    packet = head + ssrc.to_bytes(4, "big") + payload
    return bytes((0x24, channel)) + len(packet).to_bytes(2, "big") + packet


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "lesson.ts"
    path.write_bytes(b"".join(b"\x47" + bytes((n % 251,)) * 187 for n in range(70)))
    return path


@pytest.fixture
def watching(file: Path) -> Iterator[Watching]:
    found = Watching(file)
    yield found
    for each in found.playing:
        each.close()


def test_every_packet_is_counted_however_it_is_cut(watching: Watching, file: Path) -> None:
    payloads = packets_of(file)
    frames = [frame(n + 65_530, payload) if n < 6 else frame(n - 6, payload) for n, payload in enumerate(payloads)]
    report = frame(0, b"", channel=1)
    stream = b"".join([*frames[:3], report, *frames[3:5], MESSAGE, *frames[5:]])
    for at in range(0, len(stream), 1001):
        watching.read(0, stream[at : at + 1001])
    ledger = watching.ledger
    assert ledger.packets.tolist() == [len(payloads), 0]
    assert ledger.octets[0] == file.stat().st_size + 12 * len(payloads)
    assert (ledger.lost.sum(), ledger.reordered.sum(), ledger.odd.sum()) == (0, 0, 0)
    assert (ledger.compared, ledger.differing) == (len(payloads), 0)


@pytest.mark.parametrize("session", [0, 1])
def test_gaps_repeats_and_foreign_packets_are_seen_in_every_session(
    watching: Watching, file: Path, session: int
) -> None:
    payload = packets_of(file)[0]
    watching.read(session, frame(10, payload) + frame(11, payload))
    watching.read(session, frame(15, payload) + frame(15, payload))
    watching.read(session, frame(16, payload, ssrc=9) + frame(17, payload, kind=96) + frame(18, b"\x48" + payload[1:]))
    ledger = watching.ledger
    assert (ledger.lost[session], ledger.reordered[session], ledger.odd[session]) == (3, 1, 3)


def test_other_bytes_are_seen_in_a_compared_session(watching: Watching, file: Path) -> None:
    first, second, *_ = packets_of(file)
    watching.read(0, frame(1, first))
    watching.read(0, frame(2, second[:-1] + b"\x00"))
    assert (watching.ledger.compared, watching.ledger.differing) == (2, 1)


def test_arrival_is_when_the_kernel_got_it_not_when_it_was_read(watching: Watching, file: Path) -> None:
    payload = packets_of(file)[0]
    watching.read(1, frame(1, payload))
    before = time.time()
    watching.playing[1].send(frame(2, payload))
    time.sleep(0.2)  # the kernel hands it over when it likes, but long before this
    late = time.time()
    watching.reader.drain()
    (_, first, _), (_, arrivals, _) = watching.ledger.samples
    assert first[0] <= before <= arrivals[0] < late


def test_who_hangs_up_or_sends_no_frames_is_closed(watching: Watching) -> None:
    watching.playing[0].server.close()
    select.select([watching.playing[0].rtsp], [], [], 10)
    watching.reader.drain()
    assert watching.reader.closed == 1
    for _ in range(2 + UNFINISHED_MAX_BYTES // 60_000):
        watching.read(1, bytes(60_000))
    assert watching.reader.closed == 2
