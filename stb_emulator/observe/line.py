"""The box's network line over HTTP: allowed hosts only, every wait and every body bounded, bytes counted."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urljoin, urlsplit

import aiohttp
from multidict import MultiMapping
from yarl import URL

from stb_emulator.observe import NotAllowed, PlayError, Stage, Unreachable

REPLY_MAX_BYTES = 4 * 1024 * 1024
"""Largest portal page, playlist or picture that a box takes."""
PIECE_BYTES = 64 * 1024
REDIRECTS = (301, 302, 303, 307, 308)


class Guard:
    """Says which hosts a box may talk to: loopback, and those a person allowed."""

    def __init__(self, allowed: Collection[str] = ()) -> None:
        """``allowed``: host names or addresses without port."""
        self._allowed = frozenset(h.strip().lower() for h in allowed if h.strip())

    def permits(self, host: str) -> bool:
        """Names are never resolved: a name must be ``localhost`` or stand on the list itself."""
        host = host.lower().strip("[]")
        if host in self._allowed or host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def check(self, url: str, stage: Stage) -> None:
        """Refuse an address on a host that is not permitted.

        Raises:
            NotAllowed: with the host, and how to allow it.
        """
        try:
            host = urlsplit(url).hostname or ""
        except ValueError:
            host = ""
        if not self.permits(host):
            raise NotAllowed(
                stage,
                f"主机 {host or url} 不在允许名单中",
                f"host {host or url!r} is not loopback; allow it by --allow",
            )


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP reply."""

    url: str
    status: int
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    body: bytes

    @property
    def location(self) -> str:
        """Absolute address of a redirect, or empty."""
        target = self.headers.get("Location", "")
        return urljoin(self.url, target) if target else ""


@dataclass(frozen=True, slots=True)
class Body:
    """The head of a reply whose body is read piece by piece."""

    url: str
    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]

    @property
    def location(self) -> str:
        """Absolute address of a redirect, or empty."""
        target = self.headers.get("Location", "") if self.status in REDIRECTS else ""
        return urljoin(self.url, target) if target else ""


class Line:
    """One box's HTTP connections and cookie jar. An async context manager."""

    def __init__(self, guard: Guard, user_agent: str, *, connect_s: float = 5.0, silence_s: float = 10.0) -> None:
        """Bound every connection attempt by ``connect_s`` and every wait for the next byte by ``silence_s``."""
        self.guard, self.connect_s, self.silence_s = guard, connect_s, silence_s
        self.bytes_in = self.redirects = 0
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open."""
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            headers={"User-Agent": self._user_agent},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.connect_s, sock_read=self.silence_s),
            auto_decompress=True,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        stage: Stage,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> AsyncIterator[Body]:
        """Send one request (redirects are not followed) and read its body piece by piece.

        Raises:
            NotAllowed: the host is not permitted.
            Unreachable: no connection.
            PlayError: the peer broke off or fell silent.
        """
        self.guard.check(url, stage)
        assert self._session is not None, "use the line inside `async with`"
        try:
            async with self._session.request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=form if body is None else body,
                allow_redirects=False,
            ) as response:
                self.redirects += response.status in REDIRECTS and "Location" in response.headers
                yield Body(url, response.status, response.headers, self._pieces(response))
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(
                stage, f"无法连接 {_host(url)}", f"cannot connect to {_host(url)}: {error.os_error}"
            ) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise Unreachable(stage, f"连接 {_host(url)} 超时", f"no connection to {_host(url)} in time") from error
        except TimeoutError as error:
            raise PlayError(stage, f"{self.silence_s:g} 秒没有数据", f"no data for {self.silence_s:g} s") from error
        except (aiohttp.ClientError, ConnectionError, ValueError) as error:
            raise PlayError(
                stage, "连接中断或应答有误", f"broken reply: {type(error).__name__}: {error}"[:200]
            ) from error

    async def _pieces(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        async for piece in response.content.iter_chunked(PIECE_BYTES):
            self.bytes_in += len(piece)
            yield piece

    async def ask(
        self,
        method: str,
        url: str,
        stage: Stage,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        body: bytes | None = None,
        hops: int = 0,
    ) -> Reply:
        """Send one request and read the whole reply, following at most ``hops`` redirects.

        Raises:
            PlayError: as ``stream``; also a body larger than REPLY_MAX_BYTES, or too many redirects.
        """
        for _ in range(hops + 1):
            async with self.stream(method, url, stage, headers=headers, form=form, body=body) as answer:
                whole = bytearray()
                async for piece in answer.pieces:
                    whole += piece
                    if len(whole) > REPLY_MAX_BYTES:
                        raise PlayError(stage, "应答过大", f"reply larger than {REPLY_MAX_BYTES} bytes from {url}")
                reply = Reply(url, answer.status, answer.headers, _cookies(answer.headers), bytes(whole))
            if hops == 0 or reply.status not in REDIRECTS or not reply.location:
                return reply
            url = reply.location
        raise PlayError(stage, "重定向过多", f"more than {hops} redirects")


def _cookies(headers: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    values = headers.getall("Set-Cookie", []) if isinstance(headers, MultiMapping) else []
    for value in values:
        name, _, rest = value.partition("=")
        found[name.strip()] = rest.partition(";")[0].strip()
    return found


def _host(url: str) -> str:
    return urlsplit(url).netloc
