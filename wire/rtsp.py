"""RTSP/1.0 messages and interleaved frames, both directions, no I/O (RFC 2326 §4, §6, §7, §10.12).

One ``Reader`` reads what a client sends and what a server sends. It reports deviations and judges none: who
tolerates what is decided by the edge and by each emulated box.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wire.rtsp_headers import (
    HEAD_LINES_MAX,
    Deviation,
    Headers,
    WireError,
    has_control,
    is_token,
    parse_headers,
    write_headers,
)
from wire.rtsp_range import ClockRange, NptRange, NptTime, parse_range, write_clock, write_npt
from wire.rtsp_transport import Transport, parse_transport, write_transport

__all__ = [
    "FRAME_PAYLOAD_MAX_BYTES",
    "HEAD_LINES_MAX",
    "HEAD_MAX_BYTES",
    "ClockRange",
    "Deviation",
    "Headers",
    "Interleaved",
    "Message",
    "NptRange",
    "NptTime",
    "Reader",
    "Request",
    "Response",
    "Transport",
    "WireError",
    "parse_range",
    "parse_transport",
    "write_clock",
    "write_interleaved",
    "write_npt",
    "write_request",
    "write_response",
    "write_transport",
]

VERSION = "RTSP/1.0"
HEAD_MAX_BYTES = 16384
BODY_MAX_BYTES = 65536
FRAME_PAYLOAD_MAX_BYTES = 65535
NO_HEADERS = Headers()
_DOLLAR = 0x24


@dataclass(frozen=True, slots=True)
class Request:
    """A request, from either side (the server sends ANNOUNCE)."""

    method: str
    """Upper case."""
    uri: str
    headers: Headers = NO_HEADERS
    body: bytes = b""
    deviations: tuple[Deviation, ...] = ()


@dataclass(frozen=True, slots=True)
class Response:
    """An answer."""

    status: int
    """Three digits, 100 to 999."""
    reason: str
    headers: Headers = NO_HEADERS
    body: bytes = b""
    deviations: tuple[Deviation, ...] = ()


@dataclass(frozen=True, slots=True)
class Interleaved:
    """One ``$`` frame: media or RTCP inside the RTSP connection (RFC 2326 §10.12)."""

    channel: int
    payload: bytes


Message = Request | Response | Interleaved


class Reader:
    """Bytes in, messages out; any split of the stream gives the same messages."""

    def __init__(self, max_head_bytes: int = HEAD_MAX_BYTES, max_body_bytes: int = BODY_MAX_BYTES) -> None:
        """Bound the start line with headers, and the body."""
        self._buffer = bytearray()
        self._searched = 0
        self._max_head = max_head_bytes
        self._max_body = max_body_bytes
        self._head: tuple[Request | Response, int] | None = None
        self._broken: WireError | None = None

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take bytes; iterate over the messages that are now complete.

        Raises:
            WireError: (while iterating) the stream cannot be read any further; so does every later call.
        """
        self._buffer += data
        return self._messages()

    def _messages(self) -> Iterator[Message]:
        while True:
            if self._broken is not None:
                raise self._broken
            try:
                message = self._next()
            except WireError as error:
                self._broken = error
                self._buffer.clear()
                raise
            if message is None:
                return
            yield message

    def _next(self) -> Message | None:
        if self._head is None:
            if not self._skip_blank_lines():
                return None
            if self._buffer[0] == _DOLLAR:
                return self._frame()
            if not self._read_head():
                return None
        assert self._head is not None
        message, length = self._head
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._head = None
        if isinstance(message, Request):
            return Request(message.method, message.uri, message.headers, body, message.deviations)
        return Response(message.status, message.reason, message.headers, body, message.deviations)

    def _skip_blank_lines(self) -> bool:
        """Drop line ends between messages (RFC 2326 §4.1 asks for it); tell whether anything is left."""
        blank = 0
        while blank < len(self._buffer) and self._buffer[blank] in b"\r\n":
            blank += 1
        if blank:
            del self._buffer[:blank]
        return bool(self._buffer)

    def _frame(self) -> Interleaved | None:
        if len(self._buffer) < 4:
            return None
        end = 4 + int.from_bytes(self._buffer[2:4], "big")
        if len(self._buffer) < end:
            return None
        frame = Interleaved(self._buffer[1], bytes(self._buffer[4:end]))
        del self._buffer[:end]
        return frame

    def _read_head(self) -> bool:
        end = self._end_of_head()
        if end is None:
            return False
        raw = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._searched = 0
        self._head = _parse_head(raw, self._max_body)
        return True

    def _end_of_head(self) -> int | None:
        """Find the first empty line; None while it has not come."""
        buffer, at = self._buffer, self._searched
        while True:
            feed = buffer.find(b"\n", at, self._max_head)
            if feed < 0:
                self._searched = len(buffer)
                if len(buffer) >= self._max_head:
                    raise WireError(f"no end of headers within {self._max_head} bytes")
                return None
            following = bytes(buffer[feed + 1 : feed + 3])
            if following[:1] == b"\n":
                return feed + 2
            if following == b"\r\n":
                return feed + 3
            if following in (b"", b"\r"):
                self._searched = feed
                return None
            at = feed + 1


def _parse_head(raw: bytes, max_body: int) -> tuple[Request | Response, int]:
    found: list[Deviation] = []
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
        found.append(Deviation("not-utf8", "head"))
    lines = text.split("\n")
    if any(not line.endswith("\r") for line in lines[:-1]):
        found.append(Deviation("bare-lf", "end of line"))
    start, *rest = (line.removesuffix("\r") for line in lines[:-2])
    if has_control(start):
        raise WireError("control character in the start line")
    headers = parse_headers(rest, found)
    length = _content_length(headers, max_body)
    if start.startswith("RTSP/"):
        return _parse_status(start, headers, found), length
    return _parse_request(start, headers, found), length


def _parse_request(start: str, headers: Headers, found: list[Deviation]) -> Request:
    words = start.split(" ")
    if "" in words:
        found.append(Deviation("extra-space", "request line"))
        words = [word for word in words if word]
    if len(words) < 3 or not words[-1].startswith("RTSP/"):
        raise WireError("expected METHOD URI RTSP/1.0")
    if len(words) > 3:
        found.append(Deviation("space-in-uri", start))
    method, uri, version = words[0], " ".join(words[1:-1]), words[-1]
    if not is_token(method):
        raise WireError(f"method {method!r} is not a token")
    if method != method.upper():
        found.append(Deviation("lower-case-method", method))
    if version != VERSION:
        found.append(Deviation("version", version))
    return Request(method.upper(), uri, headers, b"", tuple(found))


def _parse_status(start: str, headers: Headers, found: list[Deviation]) -> Response:
    version, _, rest = start.partition(" ")
    code, space, reason = rest.partition(" ")
    if not (code.isascii() and code.isdigit() and len(code) == 3 and code >= "100"):
        raise WireError(f"status {code!r} is not a number of three digits")
    if not space:
        found.append(Deviation("no-reason", start))
    if version != VERSION:
        found.append(Deviation("version", version))
    return Response(int(code), reason, headers, b"", tuple(found))


def _content_length(headers: Headers, max_body: int) -> int:
    values = set(headers.get_all("Content-Length"))
    if not values:
        return 0
    value = values.pop()
    if values or not (value.isascii() and value.isdigit() and len(value) <= 10):
        raise WireError("Content-Length is not one number")
    if int(value) > max_body:
        raise WireError(f"body of {value} bytes; at most {max_body}")
    return int(value)


def write_request(request: Request) -> bytes:
    """Write a request; Content-Length is added when there is a body.

    Raises:
        ValueError: it cannot be written without a deviation.
    """
    if not is_token(request.method) or request.method != request.method.upper():
        raise ValueError(f"method {request.method!r} is not an upper-case token")
    if not request.uri or has_control(request.uri) or any(mark in request.uri for mark in " \t"):
        raise ValueError(f"uri {request.uri!r} cannot stand in a request line")
    return _write(f"{request.method} {request.uri} {VERSION}", request.headers, request.body)


def write_response(response: Response) -> bytes:
    """Write an answer; Content-Length is added when there is a body.

    Raises:
        ValueError: it cannot be written without a deviation.
    """
    if not 100 <= response.status <= 999:
        raise ValueError(f"status {response.status} has not three digits")
    if has_control(response.reason):
        raise ValueError("control character in the reason")
    return _write(f"{VERSION} {response.status} {response.reason}", response.headers, response.body)


def write_interleaved(channel: int, payload: bytes | memoryview) -> bytes:
    """Write one ``$`` frame.

    Raises:
        ValueError: channel beyond 255 or payload beyond 65535 bytes.
    """
    if not 0 <= channel <= 255 or len(payload) > FRAME_PAYLOAD_MAX_BYTES:
        raise ValueError(f"channel {channel} with {len(payload)} bytes does not fit a frame")
    return b"".join((bytes((_DOLLAR, channel)), len(payload).to_bytes(2, "big"), payload))


def _write(start: str, headers: Headers, body: bytes) -> bytes:
    lengths = headers.get_all("Content-Length")
    if any(value != str(len(body)) for value in lengths) or len(lengths) > 1:
        raise ValueError(f"Content-Length {lengths} for a body of {len(body)} bytes")
    if len(headers) > HEAD_LINES_MAX:
        raise ValueError(f"more than {HEAD_LINES_MAX} header lines")
    added = f"Content-Length: {len(body)}\r\n" if body and not lengths else ""
    return f"{start}\r\n{write_headers(headers)}{added}\r\n".encode() + body
