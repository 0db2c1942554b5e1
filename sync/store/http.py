"""Published files on any HTTP server or bucket."""

from __future__ import annotations

import aiohttp

from sync import Corrupt, Missing, TooLong, Unreachable
from sync.store import Received

PROGRESS_TIMEOUT_S = 30.0
"""A transfer is given up when no byte came for so long; there is no limit on the whole (sync.md C.4)."""
CONNECTIONS_MAX = 4
_READ_BYTES = 64 * 1024
_ABSENT = (403, 404, 410)
"""Buckets answer 403 for a name they do not have when listing is forbidden."""


class HttpSource:
    """See Source; ``base_url`` is the address of the folder that holds ``metadata/``, ``targets/`` and the rest."""

    def __init__(self, base_url: str, *, progress_timeout_s: float = PROGRESS_TIMEOUT_S) -> None:
        """Connections are opened with the first fetch.

        Raises:
            ValueError: not an http or https URL.
        """
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"{base_url!r}: give a URL that begins with http:// or https://")
        self._base = base_url.rstrip("/") + "/"
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=progress_timeout_s, sock_read=progress_timeout_s)
        self._session: aiohttp.ClientSession | None = None

    def __str__(self) -> str:
        """Name the address."""
        return self._base

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        """See Source. Redirects are not followed."""
        url = self._base + name
        try:
            async with self._open().get(url, allow_redirects=False) as response:
                if response.status in _ABSENT:
                    raise Missing(f"{url}: status {response.status}")
                if response.status != 200:
                    raise Unreachable(f"{url}: status {response.status}")
                encoding = response.headers.get("Content-Encoding", "identity")
                if encoding.lower() != "identity":
                    raise Corrupt(f"{url}: sent with Content-Encoding {encoding}; turn it off on the server or proxy")
                if (response.content_length or 0) > limit_bytes:
                    raise TooLong(
                        f"{url}: {response.content_length} bytes; at most {limit_bytes} are allowed or signed"
                    )
                body = bytearray()
                async for piece in response.content.iter_chunked(_READ_BYTES):
                    received(len(piece))
                    body += piece
                    if len(body) > limit_bytes:
                        raise TooLong(f"{url}: longer than the {limit_bytes} bytes that are allowed or signed")
                return bytes(body)
        except TimeoutError as error:
            raise Unreachable(f"{url}: no byte for {self._timeout.sock_read:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"{url}: {error or type(error).__name__}") from error

    async def close(self) -> None:
        """See Source."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout,
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,
            )
        return self._session
