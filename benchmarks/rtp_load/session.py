"""One RTSP session of the load client."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import time

UDP_QUEUE_BYTES, TCP_QUEUE_BYTES = 4 << 20, 1 << 20
ANSWER_S = 15.0
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35


class Refused(RuntimeError):
    """The server said no."""


class Session:
    """One RTSP session: its sockets and what is known of its numbers."""

    def __init__(self, host: str, port: int, path: str, transport: str) -> None:
        begin = time.monotonic()
        self.rtsp = socket.create_connection((host, port), timeout=ANSWER_S)
        self.rtsp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        self.cseq = 0
        self.url = f"rtsp://{host}:{port}{path}"
        self.data: socket.socket | None = None
        self.control: socket.socket | None = None
        try:
            self._play(host, transport)
        except BaseException:
            self.close()
            raise
        self.setup_s = time.monotonic() - begin

    def _play(self, host: str, transport: str) -> None:
        text = self.ask("DESCRIBE", self.url, "Accept: application/sdp")
        base = re.search(r"(?im)^content-base: *(\S+)", text)
        control = re.search(r"(?ms)^m=.*?^a=control:(\S+)", text)
        root = base[1] if base else self.url
        track = root if control is None else control[1]
        if not track.startswith("rtsp://"):
            track = root.rstrip("/") + "/" + track
        if transport == "tcp":
            self.rtsp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, TCP_QUEUE_BYTES)
            offer = "RTP/AVP/TCP;unicast;interleaved=0-1"
        else:
            self.data, self.control, port = _pair(host)
            offer = f"RTP/AVP;unicast;client_port={port}-{port + 1}"
        answer = self.ask("SETUP", track, f"Transport: {offer}")
        found = re.search(r"(?im)^session: *([^;\s]+)", answer)
        self.track, self.session = track, found[1] if found else ""
        ssrc = re.search(r"(?i)ssrc=([0-9a-f]{8})", answer)
        self.ssrc = int(ssrc[1], 16) if ssrc else -1
        answer = self.ask("PLAY", root, f"Session: {self.session}", "Range: npt=0.000-")
        first = re.search(r"(?im)^rtp-info:.*seq=(\d+)", answer)
        self.announced = int(first[1]) if first else -1

    def ask(self, method: str, url: str, *lines: str) -> str:
        self.cseq += 1
        self.rtsp.sendall("\r\n".join([f"{method} {url} RTSP/1.0", f"CSeq: {self.cseq}", *lines, "\r\n"]).encode())
        while True:
            text = self._message()
            if text.startswith("RTSP/1.0"):
                if text.split(" ", 2)[1] != "200":
                    raise Refused(f"{method}: {text.splitlines()[0]}")
                return text

    def _message(self) -> str:
        """Return the next text; what comes in frames before it is dropped (only before PLAY is answered)."""
        while True:
            while self.rest[:1] == b"$":
                (length,) = struct.unpack(">H", self._have(4)[2:4])
                self._have(4 + length)
                self.rest = self.rest[4 + length :]
            head, found, _ = self.rest.partition(b"\r\n\r\n")
            if found:
                size = re.search(rb"(?i)content-length: *(\d+)", head)
                total = len(head) + 4 + (int(size[1]) if size else 0)
                text = self._have(total)[:total]
                self.rest = self.rest[total:]
                return text.decode()
            self._have(len(self.rest) + 1)

    def _have(self, count: int) -> bytes:
        while len(self.rest) < count:
            piece = self.rtsp.recv(65536)
            if not piece:
                raise Refused("the server closed the connection")
            self.rest += piece
        return self.rest

    def close(self) -> None:
        if getattr(self, "session", ""):
            with contextlib.suppress(OSError):
                self.rtsp.setblocking(False)
                words = f"TEARDOWN {self.track} RTSP/1.0\r\nCSeq: 99\r\nSession: {self.session}\r\n\r\n"
                self.rtsp.send(words.encode())
        for each in (self.rtsp, self.data, self.control):
            if each is not None:
                each.close()


def _pair(host: str) -> tuple[socket.socket, socket.socket, int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(200):
        data, control = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
        try:
            data.bind(("", 0))
            port = int(data.getsockname()[1])
            if port % 2 == 0:
                control.bind(("", port + 1))
                with contextlib.suppress(PermissionError):
                    data.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, UDP_QUEUE_BYTES)
                data.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                data.setblocking(False)
                return data, control, port
        except OSError:
            pass
        data.close()
        control.close()
    raise OSError("no free pair of UDP ports")
