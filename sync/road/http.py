"""Published files on any HTTP server or bucket."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp

from sync import Corrupt, TooLong, Unreachable
from sync.road import OPEN, Gate, Received, Sink, check_file_name, check_range
from sync.road.answers import accept_part, accept_whole

PROGRESS_TIMEOUT_S = 30.0
"""A transfer is given up when no byte came for so long; there is no limit on the whole."""
CONNECTIONS_MAX = 2
READ_BYTES = 64 * 1024
ERROR_MAX_CHARACTERS = 200
"""Of what aiohttp says: it quotes the server at length."""

HEADERS = {"Accept-Encoding": "identity"}
_NOT_SENT = ("User-Agent", "Accept")
"""Each request costs its head on the line, so it says only what the answer depends on."""

_STEP_S = 0.1
_STEP_MIN_BYTES = 1024
_BUFFER_S = 0.25
_BUFFER_MIN_BYTES = 4 * 1024
_BUFFER_MAX_BYTES = 256 * 1024
"""Below a cap a connection takes in ``_STEP_S`` at a time and buffers no more than comes in ``_BUFFER_S``: what lies in
buffers has already crossed the line. From the upper bound on the system chooses."""


class HttpSource:
    """See Source; ``base_url`` is the address of the folder that holds ``metadata/``, ``targets/`` and the rest."""

    def __init__(self, base_url: str, *, gate: Gate = OPEN, progress_timeout_s: float = PROGRESS_TIMEOUT_S) -> None:
        """Connections are opened with the first request, kept alive, and never more than CONNECTIONS_MAX.

        Args:
            base_url: begins with http:// or https://; without query and fragment.
            gate: the cap that this source shares with others.
            progress_timeout_s: how long to wait for a byte, or for a connection.

        Raises:
            ValueError: not such a URL.
        """
        if not base_url.startswith(("http://", "https://")) or "?" in base_url or "#" in base_url:
            raise ValueError(f"{base_url!r}: give a URL that begins with http:// or https:// and has no ? or #")
        self._base = base_url.rstrip("/") + "/"
        self._gate = gate
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=progress_timeout_s, sock_read=progress_timeout_s)
        self._sessions: dict[int, aiohttp.ClientSession] = {}
        """By the size of the buffer."""

    def __str__(self) -> str:
        """Name the address."""
        return self._base

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        """See Source. Redirects are not followed."""
        async with self._answer(name, {}) as (url, response):
            accept_whole(url, response.status, response.headers, limit_bytes)
            body = bytearray()

            def take(piece: bytes) -> bool:
                body.extend(piece)
                if len(body) > limit_bytes:
                    raise TooLong(f"{url}: longer than the {limit_bytes} bytes that are allowed or signed")
                return False

            await self._pour(url, response, received, take)
            return bytes(body)

    async def read(self, name: str, start: int, stop: int, sink: Sink, *, received: Received | None = None) -> None:
        """See Source. A server that ignores ``Range`` is read from the start of the file where that wastes little."""
        left = check_range(start, stop)
        if not left:
            return
        async with self._answer(name, {"Range": f"bytes={start}-{stop - 1}"}) as (url, response):
            skip = accept_part(url, response.status, response.headers, start, stop)
            partial = response.status == 206
            measured = "Content-Length" in response.headers

            def take(piece: bytes) -> bool:
                nonlocal skip, left
                skipped = min(skip, len(piece))
                skip -= skipped
                wanted = piece[skipped : skipped + left]
                left -= len(wanted)
                if wanted:
                    sink(wanted)
                if partial and len(wanted) < len(piece):
                    raise Corrupt(f"{url}: sends more than the {stop - start} bytes that were asked for")
                return not left and (measured or not partial)

            await self._pour(url, response, received or _ignore, take)
            if left:
                raise Unreachable(f"{url}: ended {left} bytes early")

    async def close(self) -> None:
        """See Source."""
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()

    @asynccontextmanager
    async def _answer(self, name: str, headers: Mapping[str, str]) -> AsyncIterator[tuple[str, aiohttp.ClientResponse]]:
        url = self._base + check_file_name(name)
        await self._gate.ready()
        with _border(url):
            response = await self._session().get(url, headers=headers, allow_redirects=False)
        async with response:
            yield url, response

    async def _pour(
        self, url: str, response: aiohttp.ClientResponse, received: Received, take: Callable[[bytes], bool]
    ) -> None:
        """Give the body to ``take`` as it comes, until that says enough; also what had come before it broke off."""
        while True:
            broken: Unreachable | None = None
            try:
                with _border(url):
                    piece = await response.content.read(_step_bytes(self._gate.rate_bps))
            except Unreachable as error:
                broken = error
                piece = _rest(response.content)
            if piece:
                self._gate.passed(len(piece))
                received(len(piece))
                if take(piece):
                    return
            if broken is not None:
                raise broken
            if not piece:
                return
            await self._gate.ready()

    def _session(self) -> aiohttp.ClientSession:
        buffer_bytes = _buffer_bytes(self._gate.rate_bps)
        session = self._sessions.get(buffer_bytes)
        if session is None:
            whole = buffer_bytes == _BUFFER_MAX_BYTES
            session = self._sessions[buffer_bytes] = aiohttp.ClientSession(
                timeout=self._timeout,
                connector=aiohttp.TCPConnector(
                    limit=CONNECTIONS_MAX, socket_factory=None if whole else _narrow_socket(buffer_bytes)
                ),
                headers=HEADERS,
                skip_auto_headers=_NOT_SENT,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=READ_BYTES if whole else _STEP_MIN_BYTES,
            )
        return session


def _ignore(length_bytes: int) -> None:
    pass


@contextmanager
def _border(url: str) -> Iterator[None]:
    """Turn errors of the line into ours. Only around awaits on the line: a sink's errors stay what they are."""
    try:
        yield
    except TimeoutError as error:
        raise Unreachable(f"{url}: nothing came in time") from error
    except (aiohttp.ClientError, OSError) as error:
        said = " ".join(str(error).split())[:ERROR_MAX_CHARACTERS]
        raise Unreachable(f"{url}: {said or type(error).__name__}") from error


def _rest(content: aiohttp.StreamReader) -> bytes:
    """Return what came before a break and was not read yet: aiohttp reports the break first and would drop it."""
    content.set_exception(None)  # type: ignore[arg-type]
    return content.read_nowait()


def _buffer_bytes(rate_bps: float | None) -> int:
    """Return a power of two, so that a cap which varies a little keeps its connections."""
    size = _BUFFER_MAX_BYTES
    while rate_bps is not None and size > max(_BUFFER_MIN_BYTES, rate_bps / 8 * _BUFFER_S):
        size //= 2
    return size


def _step_bytes(rate_bps: float | None) -> int:
    return READ_BYTES if rate_bps is None else max(_STEP_MIN_BYTES, min(READ_BYTES, int(rate_bps / 8 * _STEP_S)))


def _narrow_socket(buffer_bytes: int) -> Callable[[Any], socket.socket]:
    def make(address: Any) -> socket.socket:
        family, kind, protocol = address[:3]
        narrow = socket.socket(family, kind, protocol)
        narrow.setblocking(False)
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        return narrow

    return make
