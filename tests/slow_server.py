"""A publisher's files over a slow line."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from pathlib import Path

RATE_BYTES_PER_S = 3_000_000
PIECE_BYTES = 4096
LATE_MAX_S = 0.02
"""A sleep that took too long is made up for."""


class SlowServer:
    """Serves files and ranges of files at a rate; counts what it sent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rate_bytes_per_s = RATE_BYTES_PER_S
        self.sent_bytes = 0
        """Of bodies."""
        self.pack_bytes = 0
        """Of these, of packs."""
        self.on_pack_bytes: Callable[[int], None] = lambda _: None
        """Told in the server's thread how many bytes of packs were sent so far."""
        self.port = 0
        self._free_at = 0.0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        writer.transport.set_write_buffer_limits(0)
        try:
            while True:
                await self._answer((await reader.readuntil(b"\r\n\r\n")).decode(), writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        name = head.split(" ")[1].lstrip("/")
        file = self.folder / name
        if not file.is_file():
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        data = file.read_bytes()
        asked = re.search(r"(?i)\r\nrange: bytes=(\d+)-(\d+)\r\n", head)
        if asked is None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data))
        else:
            start, stop, whole = int(asked[1]), int(asked[2]) + 1, len(data)
            data = data[start:stop]
            writer.write(
                b"HTTP/1.1 206 Partial Content\r\nContent-Length: %d\r\nContent-Range: bytes %d-%d/%d\r\n\r\n"
                % (len(data), start, stop - 1, whole)
            )
        for at in range(0, len(data), PIECE_BYTES):
            piece = data[at : at + PIECE_BYTES]
            now = self._loop.time()
            self._free_at = max(self._free_at, now - LATE_MAX_S) + len(piece) / self.rate_bytes_per_s
            await asyncio.sleep(max(0.0, self._free_at - now))
            writer.write(piece)
            await writer.drain()
            self.sent_bytes += len(piece)
            if name.startswith("packs/"):
                self.pack_bytes += len(piece)
                self.on_pack_bytes(self.pack_bytes)
