"""Lets python-tuf's Updater, which runs in a thread, fetch through a source of the event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol

from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError, RepositoryError
from tuf.api.metadata import Metadata
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface

from sync import Corrupt, Missing, SyncError, TooLong, Unreachable
from sync.trust import TARGETS_MAX_BYTES, TIMESTAMP_MAX_BYTES, Road
from sync.trust.documents import BIN_MEMBER, ROAD_MEMBER, TIMESTAMP_NAME

METADATA_BASE = "metadata/"
_TIMESTAMP = METADATA_BASE + TIMESTAMP_NAME
_ODD_SIGNATURE = re.compile(rb'"sig":\s*"[0-9a-f]*[^0-9a-f"]')
"""A signature whose letters changed case still verifies; publishers write lower case, so somebody touched it."""

PATIENCE_S = 300.0
SLOWEST_BYTES_PER_S = 1024
"""A source gives up when no byte comes for a while; whoever lets one drip now and then is found out here. Metadata is
small, and a second try costs little, so that the whole may be limited (packs are another matter)."""

_Job = concurrent.futures.Future[bytes]

Received = Callable[[int], None]
"""Called with the number of body bytes each time some arrive, wanted or not."""


class Fetcher(Protocol):
    """The part of a source that is needed here."""

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        """Return the whole file; raises Missing, Unreachable, TooLong or Corrupt."""


class Bridge(FetcherInterface):
    """Called in the Updater's thread, fetches in the event loop.

    With the first root that is asked for, ``timestamp.json`` is fetched as well: nearly always there is no newer root,
    and one round trip is saved. When there is one, the timestamp is fetched again after it, since the one that came
    together with it may be signed with the keys before.
    """

    def __init__(
        self, source: Fetcher, loop: asyncio.AbstractEventLoop, received: Received, road: Road, patience_s: float
    ) -> None:
        """Nothing is fetched yet. ``patience_s`` is how long a file may take beside what its length excuses."""
        self._source, self._loop, self._received, self._road = source, loop, received, road
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._jobs: set[_Job] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._early: _Job | None = None
        self._begun = self._closed = False

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Fetch with the limit of the role, not of the largest role."""
        if url == _TIMESTAMP and self._early is not None:
            job, self._early = self._early, None
        else:
            job = self._start(url, max_length)
        if url != _TIMESTAMP and not self._begun:
            self._begun = True
            self._early = self._start(_TIMESTAMP, TIMESTAMP_MAX_BYTES)
        data = self._wait(job)
        if url != _TIMESTAMP and self._early is not None:
            self._early.cancel()
            self._early = None
        self._check(url, data)
        return data

    def _wait(self, job: _Job) -> bytes:
        try:
            return job.result()
        except Missing as error:
            raise DownloadHTTPError(str(error), 404) from error
        except TooLong as error:
            raise DownloadLengthMismatchError(str(error)) from error
        except Corrupt as error:
            raise RepositoryError(str(error)) from error
        except (SyncError, concurrent.futures.CancelledError) as error:
            raise DownloadError(str(error)) from error

    def _check(self, url: str, data: bytes) -> None:
        if _ODD_SIGNATURE.search(data):
            raise RepositoryError(f"{url}: a signature is not written in lower-case hexadecimal")
        with suppress(DeserializationError):  # the Updater will say so
            signed = Metadata[Any].from_bytes(data).signed
            if signed.to_dict() != json.loads(data)["signed"]:  # what was signed is made anew from what was understood
                raise RepositoryError(f"{url}: something is spelt otherwise than when it was signed")
            extra = signed.unrecognized_fields
            road = extra.get(ROAD_MEMBER, "network")
            if url == _TIMESTAMP and road != self._road:
                raise RepositoryError(f"a timestamp that is good for the road {road!r} came by the {self._road}")
            if BIN_MEMBER in extra and not url.endswith(f".{extra[BIN_MEMBER]}.json"):
                raise RepositoryError(f"{url} holds the hash bin {extra[BIN_MEMBER]}")

    def _fetch(self, url: str) -> Iterator[bytes]:
        return iter([self.download_bytes(url, TARGETS_MAX_BYTES)])

    def _start(self, url: str, max_length: int) -> _Job:
        with self._lock:
            if self._closed:
                raise DownloadError("given up")
            future = asyncio.run_coroutine_threadsafe(self._run(url, max_length), self._loop)
            self._jobs.add(future)
            return future

    async def _run(self, url: str, max_length: int) -> bytes:
        task = asyncio.current_task()
        assert task is not None  # it was made for this
        self._tasks.add(task)
        due = self._loop.time() + self._patience_s

        def count(length: int) -> None:
            nonlocal due
            due += length / SLOWEST_BYTES_PER_S
            limit.reschedule(due)
            self._received(length)

        try:
            async with asyncio.timeout_at(due) as limit:
                return await self._source.fetch(url, limit_bytes=max_length, received=count)
        except TimeoutError as error:
            raise Unreachable(f"{url}: comes so slowly that somebody may be holding it back") from error
        finally:
            self._tasks.discard(task)

    async def close(self) -> None:
        """Let the thread go: what it waits for is cancelled, and nothing more is fetched for it."""
        with self._lock:
            self._closed = True
            for job in self._jobs:
                job.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))
