"""Takes a transport stream off the wire as it is, by raw sockets: RTSP over TCP or UDP, and multicast.

Nothing is muxed again, so that what arrives can be checked byte by byte. Run as a program it writes one round of a
multicast group to a file (for another network namespace).

usage: ts_receiver.py ADDRESS PORT INTERFACE udp|rtp OUT
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

PACKET = 188
BUFFER_BYTES = 8 << 20
SIGN_OF_LIFE_S = 20.0


@dataclass
class Capture:
    """What one receiver got, in the order of arrival."""

    payloads: list[bytes] = field(default_factory=list)
    """Transport packets of each datagram or frame."""
    numbers: list[int] = field(default_factory=list)
    """RTP sequence numbers; empty without RTP."""
    stamps: list[int] = field(default_factory=list)
    """RTP timestamps, 90 kHz."""

    @property
    def stream(self) -> bytes:
        return b"".join(self.payloads)

    @property
    def missing(self) -> list[tuple[int, int]]:
        """Pairs of sequence numbers that do not follow each other."""
        return [(a, b) for a, b in pairwise(self.numbers) if b - a & 0xFFFF != 1]

    def take(self, packet: bytes, rtp: bool) -> None:
        if rtp:
            first, kind, number, stamp = struct.unpack(">BBHI", packet[:8])
            assert first == 0x80 and kind & 0x7F == 33, f"RTP head {packet[:2].hex()}"
            self.numbers.append(number)
            self.stamps.append(stamp)
            packet = packet[12:]
        assert packet and len(packet) % PACKET == 0, f"{len(packet)} bytes are no whole packets"
        self.payloads.append(packet)


def _datagrams(bound: str = "127.0.0.1", port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        for option in (socket.SO_RCVBUF, getattr(socket, "SO_RCVBUFFORCE", 33)):
            with contextlib.suppress(PermissionError):
                sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        sock.bind((bound, port))
    except OSError:
        sock.close()
        raise
    return sock


def pair(address: str = "127.0.0.1") -> tuple[socket.socket, socket.socket]:
    """Two sockets with ports in a row, the first one even (RFC 3550 §11)."""
    for _ in range(100):
        first = _datagrams(address)
        port = first.getsockname()[1]
        try:
            if port % 2 == 0:
                return first, _datagrams(address, port + 1)
        except OSError:
            pass
        first.close()
    raise OSError("no two free ports in a row")


class _Dialogue:
    """One RTSP connection (RFC 2326 §4, §10.12): messages and interleaved frames, as they come."""

    def __init__(self, host: str, port: int, path: str) -> None:
        self.url = f"rtsp://{host}:{port}{path}"
        self.socket = socket.create_connection((host, port), timeout=20)
        self.buffer, self.cseq, self.session, self.ended = b"", 0, "", False

    def send(self, method: str, *lines: str, track: bool = False) -> None:
        self.cseq += 1
        session = [f"Session: {self.session}"] if self.session else []
        head = [f"{method} {self.url}{'/trackID=1' if track else ''} RTSP/1.0", f"CSeq: {self.cseq}", *session]
        self.socket.sendall(("\r\n".join([*head, "User-Agent: CTC/2.0", *lines]) + "\r\n\r\n").encode())

    def read(self) -> None:
        piece = self.socket.recv(1 << 16)
        if not piece:
            raise ConnectionError("the server closed the connection")
        self.buffer += piece

    def parts(self) -> Iterator[tuple[int, bytes]]:
        """(channel, packet) of whole frames and (-1, text) of whole messages that are here."""
        data, at = self.buffer, 0
        while at < len(data):
            if data[at] == 0x24:
                if len(data) < at + 4 or len(data) < (end := at + 4 + int.from_bytes(data[at + 2 : at + 4], "big")):
                    break
                yield data[at + 1], data[at + 4 : end]
            else:
                head = data.find(b"\r\n\r\n", at)
                if head < 0:
                    break
                size = re.search(rb"(?i)content-length: *(\d+)", data[at:head])
                end = head + 4 + (int(size[1]) if size else 0)
                if len(data) < end:
                    break
                yield -1, data[at:end]
            at = end
        self.buffer = data[at:]

    def answer(self) -> str:
        while True:
            for channel, text in self.parts():
                if channel == -1 and text.startswith(b"RTSP/1.0"):
                    assert text.startswith(b"RTSP/1.0 200"), text.decode()
                    return text.decode()
            self.read()


def rtsp(host: str, port: int, path: str, profile: str, *, timeout_s: float, seconds: float | None = None) -> Capture:
    """Play from the beginning to the end notice (``x-notice: 2101``), or for so long; one of the dialect's six
    profiles."""
    talk, got, rtp = _Dialogue(host, port, path), Capture(), "RTP" in profile
    data = control = None
    try:
        if "TCP" in profile:
            offer = f"Transport: {profile};unicast;interleaved=0-1"
        else:
            data, control = pair()
            number = data.getsockname()[1]
            offer = f"Transport: {profile};unicast;destination=127.0.0.1;client_port={number}-{number + 1}"
        talk.send("SETUP", offer, track=True)
        session = re.search(r"Session: *([^;\r]+)", talk.answer())
        assert session is not None
        talk.session = session[1]
        talk.send("PLAY", "Range: npt=0-", "Scale: 1")
        begun = alive = time.monotonic()
        deadline = begun + timeout_s
        while not talk.ended:
            now = time.monotonic()
            if seconds is not None and now > begun + seconds:
                break
            if now > deadline:
                raise TimeoutError(f"no end of {path} in {timeout_s:.0f} s")
            if now > alive + SIGN_OF_LIFE_S:
                talk.send("GET_PARAMETER")
                alive = now
            ready, _, _ = select.select([each for each in (talk.socket, data) if each is not None], [], [], 1.0)
            if data in ready and data is not None:
                got.take(data.recv(2048), rtp)
            elif talk.socket in ready:  # only when no datagram waits: what came before the end counts
                talk.read()
                for channel, part in talk.parts():
                    if channel == 0:
                        got.take(part, rtp)
                    elif channel == -1:
                        assert b"RTSP/1.0 4" not in part[:10], part.decode()
                        talk.ended = talk.ended or (part.startswith(b"ANNOUNCE") and b"2101" in part)
        talk.send("TEARDOWN")
        return got
    finally:
        for sock in (talk.socket, data, control):
            if sock is not None:
                sock.close()


def join(address: str, port: int, interface: str) -> socket.socket:
    """Join a group; what arrives from now on waits in the socket."""
    sock = _datagrams(address, port)
    there = socket.inet_aton(address) + socket.inet_aton(interface)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, there)
    return sock


def marked(packet: bytes) -> bool:
    """The packet has discontinuity_indicator set (ISO/IEC 13818-1 §2.4.3.4)."""
    return bool(packet[3] & 0x20 and packet[4] and packet[5] & 0x80)


def during(sock: socket.socket, *, rtp: bool, seconds: float) -> Capture:
    """Take what comes for so long."""
    got, until = Capture(), time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([sock], [], [], left)[0]:
            got.take(sock.recv(4096), rtp)
    return got


def rounds(sock: socket.socket, *, rtp: bool, count: int, timeout_s: float) -> Capture:
    """Everything from now on until packets that mark a discontinuity have come ``count`` times."""
    got, deadline, seen, before = Capture(), time.monotonic() + timeout_s, 0, False
    while seen < count:
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        got.take(sock.recv(2048), rtp)
        last = got.payloads[-1]
        for at in range(0, len(last), PACKET):
            now = marked(last[at : at + PACKET])
            seen, before = seen + (now and not before), now
    return got


def split(stream: bytes) -> list[bytes]:
    """Cut a stream into its rounds, without the packets that mark the joins."""
    found, begin, before = [], 0, False
    for at in range(0, len(stream), PACKET):
        now = marked(stream[at : at + PACKET])
        if now and not before:
            found.append(stream[begin:at])
        if now:
            begin = at + PACKET
        before = now
    return [*found, stream[begin:]]


def main(address: str, port: str, interface: str, kind: str, out: str) -> None:
    with join(address, int(port), interface) as sock:
        print("joined", flush=True)
        Path(out).write_bytes(rounds(sock, rtp=kind == "rtp", count=2, timeout_s=120).stream)


if __name__ == "__main__":
    main(*sys.argv[1:])
