"""A client of HTTP/1.1 by hand: sends any bytes, reads answers strictly by RFC 9112, trusts nothing."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2}) [\t \x21-\x7e\x80-\xff]*\Z")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t \x21-\x7e\x80-\xff]*?)[ \t]*\Z")
HEAD_MAX_BYTES = 65536


class BrokenAnswer(AssertionError):
    """What came is no HTTP/1.1 answer."""


class Closed(Exception):
    """The server closed instead of beginning (another) answer."""


@dataclass(frozen=True)
class Answer:
    minor: int
    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.fields if each == name.lower()]

    def one(self, name: str) -> str | None:
        """The value of a field that may stand once only."""
        values = self.all(name)
        if len(values) > 1:
            raise BrokenAnswer(f"{name} stands {len(values)} times: {values}")
        return values[0] if values else None


class Line:
    """One connection. Unread bytes stay for the next answer."""

    def __init__(self, port: int, *, timeout_s: float = 15.0, receive_buffer_bytes: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(timeout_s)
        if receive_buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = bytearray()
        self.ended = False

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send; a server that has closed is found out when reading."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.ended = True

    def _more(self) -> bool:
        try:
            piece = self.socket.recv(1 << 18)
        except ConnectionResetError:
            piece = b""
        self.unread += piece
        return bool(piece)

    def _take(self, size: int) -> bytes:
        while len(self.unread) < size:
            if not self._more():
                raise BrokenAnswer(f"closed after {len(self.unread)} of {size} bytes of a body")
        taken = bytes(self.unread[:size])
        del self.unread[:size]
        return taken

    def _take_line(self) -> bytes:
        while (at := self.unread.find(b"\r\n")) < 0:
            if not self._more():
                raise BrokenAnswer(f"closed inside a line: {bytes(self.unread[:80])!r}")
        return self._take(at + 2)[:-2]

    def answer(self, method: str = "GET") -> Answer:
        """Read one final answer (to ``method``); interim answers are skipped."""
        while True:
            found = self._answer(method)
            if found.status >= 200:
                return found

    def interim(self) -> Answer:
        """Read one answer of any kind."""
        return self._answer("GET")

    def _answer(self, method: str) -> Answer:
        while (end := self.unread.find(b"\r\n\r\n")) < 0:
            if len(self.unread) > HEAD_MAX_BYTES:
                raise BrokenAnswer("a head without end")
            if not self._more():
                if self.unread:
                    raise BrokenAnswer(f"closed inside a head: {bytes(self.unread[:200])!r}")
                raise Closed
        first, *rest = self._take(end + 4)[:-4].split(b"\r\n")
        status_line = _STATUS_LINE.match(first)
        if status_line is None:
            raise BrokenAnswer(f"no status line: {first[:200]!r}")
        fields = []
        for each in rest:
            field = _FIELD.match(each)
            if field is None:
                raise BrokenAnswer(f"no field line: {each[:200]!r}")
            fields.append((field[1].decode().lower(), field[2].decode("latin-1")))
        head = Answer(int(status_line[1]), int(status_line[2]), tuple(fields), b"")
        return Answer(head.minor, head.status, head.fields, self._body(head, method))

    def _body(self, head: Answer, method: str) -> bytes:
        coding, length = head.one("transfer-encoding"), head.one("content-length")
        if coding is not None and length is not None:
            raise BrokenAnswer("both Content-Length and Transfer-Encoding")
        if method == "HEAD" or head.status < 200 or head.status in (204, 304):
            return b""
        if coding is not None:
            if coding.lower() != "chunked":
                raise BrokenAnswer(f"Transfer-Encoding: {coding}")
            return self._chunks()
        if length is not None:
            if not re.fullmatch("[0-9]+", length):
                raise BrokenAnswer(f"Content-Length: {length}")
            return self._take(int(length))
        while self._more():
            pass
        return self._take(len(self.unread))

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._take_line().split(b";")[0], 16):
            body += self._take(size)
            if self._take(2) != b"\r\n":
                raise BrokenAnswer("a chunk without end")
        while self._take_line():
            pass
        return body

    def until_closed(self) -> bytes:
        """Everything to the end of the connection."""
        while self._more():
            pass
        return self._take(len(self.unread))

    def answers_until_closed(self, methods: Sequence[str]) -> list[Answer]:
        """As many answers as come before the end, at most one for each method; none may follow."""
        answers: list[Answer] = []
        for method in methods:
            try:
                answers.append(self.answer(method))
            except Closed:
                return answers
        if rest := self.until_closed():
            raise BrokenAnswer(f"more than {len(methods)} answers: {rest[:80]!r}")
        return answers


def request(target: str, *fields: str, method: str = "GET", version: str = "HTTP/1.1", host: str = "edge") -> bytes:
    """The head of a request, field values as Latin-1."""
    lines = (f"{method} {target} {version}", *((f"Host: {host}",) if host else ()), *fields, "", "")
    return "\r\n".join(lines).encode("latin-1")
