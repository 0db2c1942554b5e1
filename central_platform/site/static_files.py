"""Serves the published folder to edge servers: static files with correct ranges, nothing computed.

Any other HTTP server or bucket can do the same job; see docs/deploy.md.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from wire.http_range import evaluate

CHUNK_MAX_BYTES = 256 * 1024
MUTABLE = frozenset({"timestamp.json"})


class PublishedFiles:
    """Routes for one published folder."""

    def __init__(self, root: Path) -> None:
        """``root`` is ``published/`` of a platform folder."""
        self._root = root.resolve()

    def routes(self) -> list[web.RouteDef]:
        """Answer GET and HEAD for every file below the root."""
        return [web.get("/", self._front), web.get("/{path:.+}", self._file)]

    async def _front(self, request: web.Request) -> web.Response:
        return web.Response(
            text="中心平台：边缘服务器从这里同步。 / Central platform: edge servers sync from here.\n",
            content_type="text/plain",
        )

    async def _file(self, request: web.Request) -> web.StreamResponse:
        found = await asyncio.to_thread(self._open, request.match_info["path"])
        if found is None:
            raise web.HTTPNotFound(text="没有这个文件 / no such file\n")
        descriptor, status = found
        try:
            return await self._send(request, descriptor, status)
        finally:
            os.close(descriptor)

    def _open(self, path: str) -> tuple[int, os.stat_result] | None:
        target = (self._root / path).resolve()
        if not target.is_relative_to(self._root):
            return None
        try:
            descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            return None
        return descriptor, status

    async def _send(self, request: web.Request, descriptor: int, status: os.stat_result) -> web.StreamResponse:
        name = request.match_info["path"].rsplit("/", 1)[-1]
        answer = evaluate(
            request.method,
            request.headers,
            etag=f'"{status.st_mtime_ns:x}-{status.st_size:x}"',
            last_modified=datetime.fromtimestamp(int(status.st_mtime), UTC),
            length_bytes=status.st_size,
            ranges_max_count=1,  # several parts would need multipart/byteranges, and no edge asks for them
        )
        response = web.StreamResponse(status=answer.status)
        response.headers.update(answer.headers)
        response.headers["Cache-Control"] = "no-cache" if name in MUTABLE else "public, max-age=31536000, immutable"
        response.content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        await response.prepare(request)
        if request.method != "HEAD":
            for start, stop in answer.ranges:
                while start < stop:
                    piece = await asyncio.to_thread(os.pread, descriptor, min(CHUNK_MAX_BYTES, stop - start), start)
                    if not piece:
                        break
                    await response.write(piece)
                    start += len(piece)
        await response.write_eof()
        return response
