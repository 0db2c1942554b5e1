"""Boxes that knock and say nothing, vanish, or ask a thousand times a second: others play on, and all is given back."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.scenario.test_rtsp_transports import OPEN, Box, in_order, packaged_ts, stripped
from tests.served import LATE, Served, published, serve

pytestmark = pytest.mark.timeout(120)
TIMEOUT_S = 8
HALF_OPEN, VANISHED, RATE = 200, 50, 1000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("hostile")
    settings = {"EDGE_SERVER_SESSION_TIMEOUT_S": str(TIMEOUT_S), **LATE}
    with serve(root, *published(root), settings) as running:
        yield running


def counted(served: Served, name: str) -> float:
    text = urllib.request.urlopen(f"{served.http}metrics", timeout=20).read().decode()
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, f"no {name} in\n{text}"
    return float(found[1])


def descriptors(served: Served) -> int:
    return len(list(Path(f"/proc/{served.pid}/fd").iterdir()))


def udp_ports(served: Served) -> int:
    """Bound by the edge: whose sockets those are is told by their inodes."""
    mine = set()
    for each in Path(f"/proc/{served.pid}/fd").iterdir():
        with suppress(OSError):
            mine.add(each.readlink().name)
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return sum(f"socket:[{line.split()[9]}]" in mine for line in lines)


@pytest.fixture(autouse=True)
def all_is_given_back(served: Served) -> Iterator[None]:
    """Sessions, streams, ports and descriptors are what they were; the test's time limit bounds the wait."""
    play(served)
    with urllib.request.urlopen(f"{served.http}media/{served.video}/R12.mp4", timeout=20) as media:
        media.read()  # the plane keeps a file open that is asked for
    while counted(served, "edge_pacing_streams"):
        time.sleep(0.1)
    time.sleep(0.3)
    before = descriptors(served), udp_ports(served)
    yield
    for each in OPEN:
        each.close()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        viewers = counted(served, 'edge_viewers{way="rtsp"}')
        now = descriptors(served), udp_ports(served)
        if not viewers and not counted(served, "edge_pacing_streams") and now <= before:
            return
        time.sleep(0.2)
    raise AssertionError(f"{viewers} viewers, descriptors and ports {now}, before {before}")


def play(served: Served) -> None:
    """Play a lesson by interleaved TCP to its end, and get every byte of it in order."""
    box = Box(served)
    assert box.ask("DESCRIBE", "Accept: application/sdp")[0] == 200
    status, text = box.ask("SETUP", "Transport: MP2T/RTP/TCP;unicast;interleaved=0-1")
    assert status == 200, text
    session = re.search(r"Session: *([^;\r]+)", text)
    assert session
    assert box.ask("PLAY", f"Session: {session[1]}", "Range: npt=0-")[0] == 200
    box.until_end()
    packets = [data for channel, data in box.frames if channel == 0]
    in_order(packets)
    whole = packaged_ts(served)
    assert b"".join(stripped(each, True) for each in packets)[-len(whole) :] == whole
    box.socket.close()


def test_two_hundred_half_open_connections(served: Served) -> None:
    """Some say nothing, some half a request, some a byte now and then; the edge hangs up on all of them."""
    lines = [socket.create_connection(("127.0.0.1", served.rtsp_port), timeout=20) for _ in range(HALF_OPEN)]
    request = f"DESCRIBE rtsp://127.0.0.1/vod/{served.video}.mpg RTSP/1.0\r\nCSeq: 1\r\nx-Slow: ".encode()
    over = threading.Event()

    def drip() -> None:
        at = 0
        while not over.is_set():
            for line in lines[::3]:
                with suppress(OSError):
                    line.send(request[at : at + 1] or b"a")
            at += 1
            time.sleep(0.05)

    for line in lines[1::3]:
        line.sendall(request)
    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        play(served)
        for line in lines:
            with suppress(ConnectionError):  # a reset is a hang-up, too
                assert line.recv(100) == b""
    finally:
        over.set()
        dripping.join()
        for line in lines:
            line.close()


VANISHING = """
import re, socket, sys, time
port, video, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
kept = []
for number in range(count):
    line = socket.create_connection(("127.0.0.1", port), timeout=30)
    ears = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ears.bind(("127.0.0.1", 0))
    here = ears.getsockname()[1]
    way = f"MP2T/RTP/UDP;unicast;client_port={here}" if number % 2 else "MP2T/TCP;unicast;interleaved=0-1"
    url = f"rtsp://127.0.0.1:{port}/vod/{video}.mpg"
    def ask(text):
        line.sendall(text.encode())
        data = b""
        while b"\\r\\n\\r\\n" not in data:
            data += line.recv(65536)
        return data.decode("latin-1")
    told = ask(f"SETUP {url} RTSP/1.0\\r\\nCSeq: 1\\r\\nTransport: {way}\\r\\n\\r\\n")
    session = re.search(r"Session: *([^;\\r]+)", told)[1]
    if number % 5 != 4:  # every fifth stays at SETUP
        ask(f"PLAY {url} RTSP/1.0\\r\\nCSeq: 2\\r\\nSession: {session}\\r\\nRange: npt=0-\\r\\n\\r\\n")
    kept.append((line, ears))
print("playing", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_fifty_vanished_boxes(served: Served, how: signal.Signals) -> None:
    """Killed ones hang up at least; frozen ones keep their sockets and neither read nor say anything, as if cut off."""
    command = [sys.executable, "-c", VANISHING, str(served.rtsp_port), served.video, str(VANISHED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as boxes:
        assert boxes.stdout is not None
        assert boxes.stdout.readline() == b"playing\n"
        boxes.send_signal(how)
        try:
            play(served)
            while counted(served, 'edge_viewers{way="rtsp"}'):
                time.sleep(0.2)
        finally:
            boxes.kill()


def flood(served: Served, over: threading.Event, done: list[int]) -> None:
    """Ask portal, media and RTSP, each a third of ``RATE`` a second, ten at a time, and read what comes back."""
    host = f"Host: 127.0.0.1:{served.http_port}\r\n"
    asked = {
        "portal": (served.http_port, f"GET /EPG/jsp/AuthenticationURL?UserID=x&Action=Login HTTP/1.1\r\n{host}\r\n"),
        "media": (served.http_port, f"GET /media/{served.video}/R12.mp4 HTTP/1.1\r\n{host}Range: bytes=0-999\r\n\r\n"),
        "rtsp": (served.rtsp_port, "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"),
    }
    lines = {name: socket.create_connection(("127.0.0.1", port), timeout=5) for name, (port, _) in asked.items()}
    try:
        began = time.monotonic()
        while not over.is_set():
            for name, (port, request) in asked.items():
                line = lines[name]
                try:
                    line.sendall(request.encode() * 10)
                    line.setblocking(False)
                    with suppress(BlockingIOError):
                        while line.recv(1 << 16):
                            pass
                    line.settimeout(5)
                    done[0] += 10
                except OSError:  # turned away: it comes again
                    line.close()
                    lines[name] = socket.create_connection(("127.0.0.1", port), timeout=5)
            time.sleep(max(0.0, began + done[0] / RATE - time.monotonic()))
    finally:
        for line in lines.values():
            line.close()


def test_a_box_that_asks_a_thousand_times_a_second(served: Served) -> None:
    """Others get every byte in order, and every page they ask for."""
    over, done = threading.Event(), [0]
    hostile = threading.Thread(target=flood, args=(served, over, done))
    hostile.start()
    try:
        players = [threading.Thread(target=play, args=(served,)) for _ in range(2)]
        heard: list[BaseException] = []
        threading.excepthook = lambda told: heard.append(told.exc_value or AssertionError())
        for each in players:
            each.start()
        pages = 0
        while any(each.is_alive() for each in players):
            assert urllib.request.urlopen(f"{served.http}api/v1/time", timeout=20).status == 200
            page = f"{served.http}EPG/jsp/AuthenticationURL?UserID=edu001@itv&Action=Login"
            assert urllib.request.urlopen(page, timeout=20).status == 200
            pages += 2
            time.sleep(0.05)
        for each in players:
            each.join()
    finally:
        threading.excepthook = threading.__excepthook__
        over.set()
        hostile.join()
    assert not heard, heard
    assert pages > 10 and done[0] > RATE
