"""A box by hand, written from the description of the dialect: each transport carries the file to its end."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.served import Served, serving

pytestmark = pytest.mark.timeout(90)
UDP = ("MP2T/RTP/UDP", "MP2T/UDP", "RTP/AVP")
TCP = ("MP2T/TCP", "MP2T/RTP/TCP", "RTP/AVP/TCP")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("rtsp")) as running:
        yield running


@pytest.fixture
def box(served: Served) -> Iterator[Box]:
    found = Box(served)
    yield found
    found.socket.close()


OPEN: list[socket.socket] = []


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


class Box:
    """One RTSP connection; text in, text out; ``$`` frames are put aside."""

    def __init__(self, served: Served) -> None:
        self.url = f"rtsp://127.0.0.1:{served.rtsp_port}/vod/{served.video}.mpg"
        self.socket = socket.create_connection(("127.0.0.1", served.rtsp_port), timeout=10)
        OPEN.append(self.socket)
        self.buffer, self.frames, self.cseq, self.notices = b"", [], 0, []

    def ask(self, method: str, *lines: str, url: str = "") -> tuple[int, str]:
        self.cseq += 1
        head = [f"{method} {url or self.url} RTSP/1.0", f"CSeq: {self.cseq}", "User-Agent: CTC/2.0", *lines]
        self.socket.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        while True:
            text = self.message()
            if text.startswith("RTSP/1.0"):
                assert f"CSeq: {self.cseq}\r\n" in text
                return int(text.split()[1]), text

    def message(self) -> str:
        while True:
            if self.buffer[:1] == b"$" and len(self.buffer) >= 4:
                length = struct.unpack(">H", self.buffer[2:4])[0]
                if len(self.buffer) >= 4 + length:
                    self.frames.append((self.buffer[1], self.buffer[4 : 4 + length]))
                    self.buffer = self.buffer[4 + length :]
                    continue
            elif b"\r\n\r\n" in self.buffer and self.buffer[:1] != b"$":
                head, _, rest = self.buffer.partition(b"\r\n\r\n")
                found = re.search(rb"(?i)content-length: *(\d+)", head)
                size = int(found[1]) if found else 0
                if len(rest) >= size:
                    self.buffer = rest[size:]
                    text = head.decode() + "\r\n\r\n" + rest[:size].decode()
                    if text.startswith("ANNOUNCE"):
                        self.notices.append(text)
                    return text
            piece = self.socket.recv(65536)
            assert piece, "the server closed the connection"
            self.buffer += piece

    def until_end(self) -> None:
        deadline = time.monotonic() + 30
        while not self.notices and time.monotonic() < deadline:
            self.message()
        assert "x-notice: 2101" in self.notices[0]


def packaged_ts(served: Served) -> bytes:
    """The R12 transport stream as it lies on the edge: of the two, the one that RTSP serves by default."""
    newest = max((served.edge / "snapshots").glob("col-*/*.json"), key=lambda path: int(path.stem))
    names = {name: sha256 for name, sha256, *_ in json.loads(newest.read_text())["files"]}
    sha256 = names[f"courseware/{served.video}/R12.mp4"]
    (file,) = Path(served.edge / "derived").rglob(f"{sha256}/*/media.ts")
    return file.read_bytes()


def stripped(packet: bytes, rtp: bool) -> bytes:
    if not rtp:
        assert packet[0] == 0x47
        return packet
    assert packet[0] == 0x80 and packet[1] & 0x7F == 33
    return packet[12:]


def in_order(packets: list[bytes]) -> None:
    numbers = [struct.unpack(">H", packet[2:4])[0] for packet in packets]
    assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))


@pytest.mark.parametrize("profile", TCP)
def test_interleaved(served: Served, box: Box, profile: str) -> None:
    status, text = box.ask("DESCRIBE", "Accept: application/sdp", "x-Burst")
    assert status == 200 and "a=range:npt=0" in text and "a=control:trackID=1" in text
    status, text = box.ask("SETUP", f"Transport: {profile};unicast;interleaved=0-1", url=box.url + "/trackID=1")
    assert status == 200 and f"Transport: {profile};unicast" in text
    session = re.search(r"Session: ([^;\r]+)", text)
    assert session is not None
    assert box.ask("PLAY", f"Session: {session[1]}", "Range: npt=0-", "Scale: 1")[0] == 200
    box.until_end()
    media = [payload for channel, payload in box.frames if channel == 0]
    rtp = profile != "MP2T/TCP"
    assert max(map(len, media)) <= (1328 if rtp else 1316)
    if rtp:
        in_order(media)
    assert b"".join(stripped(each, rtp) for each in media) == packaged_ts(served)
    assert box.ask("TEARDOWN", f"Session: {session[1]}")[0] == 200


@pytest.mark.parametrize("profile", UDP)
def test_datagrams(served: Served, box: Box, profile: str) -> None:
    data = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    data.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    data.bind(("127.0.0.1", 0))
    data.settimeout(0.2)
    port = data.getsockname()[1]
    offer = f"Transport: {profile};unicast;destination=127.0.0.1;client_port={port}-{port + 1}"
    status, text = box.ask("SETUP", offer, url=box.url + "/trackID=1")
    assert status == 200 and f"Transport: {profile};unicast" in text and f"client_port={port}-{port + 1}" in text
    session = re.search(r"Session: ([^;\r]+)", text)
    assert session is not None
    assert box.ask("PLAY", f"Session: {session[1]}", "Range: npt=beginning-")[0] == 200
    packets: list[bytes] = []
    box.socket.settimeout(0.01)
    deadline = time.monotonic() + 30
    while not box.notices and time.monotonic() < deadline:
        try:
            packets.append(data.recv(2048))
        except TimeoutError:
            with contextlib.suppress(TimeoutError):
                box.message()
    data.close()
    rtp = profile != "MP2T/UDP"
    if rtp:
        in_order(packets)
    assert b"".join(stripped(each, rtp) for each in packets) == packaged_ts(served)


def test_the_first_supported_offer_is_taken_and_nonsense_is_refused(served: Served, box: Box) -> None:
    track = box.url + "/trackID=1"
    assert box.ask("SETUP", "Transport: RAW/RAW/UDP;unicast;client_port=1-2,MP2T/DVBC/QAM;unicast", url=track)[0] == 461
    order = "Transport: RAW/RAW/UDP;unicast;client_port=4000-4001,MP2T/RTP/TCP;unicast;interleaved=2-3,MP2T/TCP;unicast"
    status, text = box.ask("SETUP", order, url=track)
    assert status == 200 and "MP2T/RTP/TCP;unicast" in text and "interleaved=2-3" in text
    session = re.search(r"Session: ([^;\r]+)", text)
    assert session is not None
    assert box.ask("PLAY", "Session: 0000")[0] == 454
    assert box.ask("PLAY", f"Session: {session[1]}", "Range: npt=9999-")[0] == 457
    status, text = box.ask("PLAY", f"Session: {session[1]}", "Range: npt=2.5-")
    assert status == 200 and "Range: npt=2.000-" in text and "RTP-Info: " in text
    assert box.ask("PAUSE", f"Session: {session[1]}")[0] == 200
    assert box.ask("GET_PARAMETER", f"Session: {session[1]}", "x-Timeshift_Range")[0] == 200
    assert box.ask("RECORD")[0] == 405
    assert box.ask("DESCRIBE", url=box.url.replace(served.video, "99"))[0] == 404
    assert "SET_PARAMETER" in box.ask("OPTIONS")[1]
