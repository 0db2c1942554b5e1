"""What an edge believes: the standard TUF client work-flow, fed from our sources.

python-tuf's Updater is blocking and does its own downloads one after the other; it runs in a thread, and each
download is handed back to the event loop, so that there is one HTTP client with one set of limits.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import threading
from collections.abc import Coroutine, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    RepositoryError,
)
from tuf.ngclient import FetcherInterface, TargetFile, Updater, UpdaterConfig

from sync import Corrupt, Missing, SyncError, TooLong, Unreachable, Untrusted
from sync.store import Received, Source
from sync.store.files import make_directory, sync_directory, sync_file
from sync.trust import (
    ROOT_MAX_BYTES,
    ROOT_ROTATIONS_MAX,
    SNAPSHOT_METADATA_MAX_BYTES,
    TARGETS_MAX_BYTES,
    TIMESTAMP_MAX_BYTES,
)

_METADATA_BASE = "metadata/"
_ODD_SIGNATURE = re.compile(rb'"sig":\s*"[0-9a-f]*[^0-9a-f"]')
"""A signature whose letters changed case still verifies; publishers write lower case, so somebody touched it."""


async def trusted_target(
    path: str, *, anchor: bytes, folder: Path, source: Source, now: datetime, received: Received
) -> TargetFile | None:
    """Refresh the metadata in ``folder`` and return what it says of the target; None when it names no such target.

    Two requests when nothing is new: the next root (absent) and ``timestamp.json``. What was believed stays believed:
    a refusal changes at most which newer version must be shown next time.

    Raises:
        Untrusted: the metadata is forged, damaged, older than what was seen, expired at ``now``, or too long.
        Unreachable: the source did not answer.
    """
    make_directory(folder)
    bridge = _Bridge(source, asyncio.get_running_loop(), received)
    try:
        return await asyncio.to_thread(_refresh, path, anchor, folder, bridge, now)
    finally:
        bridge.close()


def _refresh(path: str, anchor: bytes, folder: Path, bridge: _Bridge, now: datetime) -> TargetFile | None:
    try:
        updater = _UpdaterAt(now, folder, bridge, anchor)
        target = updater.get_targetinfo(path)
    except ExpiredMetadataError as error:
        raise Untrusted(
            "freeze", f"{error} at {now:%Y-%m-%d %H:%M} UTC; is the publisher refreshing, and is this clock right?"
        ) from error
    except BadVersionNumberError as error:
        raise Untrusted("rollback", str(error)) from error
    except RepositoryError as error:
        raise Untrusted("tampered", str(error)) from error
    except DownloadLengthMismatchError as error:
        raise Untrusted("oversized", str(error)) from error
    except DownloadHTTPError as error:
        raise Missing(str(error)) from error
    except DownloadError as error:
        raise Unreachable(str(error)) from error
    for each in folder.rglob("*.json"):
        sync_file(each)
    sync_directory(folder)
    return target


class _UpdaterAt(Updater):
    """An Updater that judges expiry at a given moment.

    python-tuf reads the wall clock once, when the trusted set is made, and offers no argument for it. The set's
    ``reference_time`` is replaced before the first expiry check (which belongs to the timestamp, not to the anchor);
    ``tests/unit/test_sync_trust.py`` notices when a new release of python-tuf no longer works like that.
    """

    def __init__(self, now: datetime, folder: Path, fetcher: FetcherInterface, anchor: bytes) -> None:
        config = UpdaterConfig(
            max_root_rotations=ROOT_ROTATIONS_MAX,
            max_delegations=1,
            root_max_length=ROOT_MAX_BYTES,
            timestamp_max_length=TIMESTAMP_MAX_BYTES,
            snapshot_max_length=SNAPSHOT_METADATA_MAX_BYTES,
            targets_max_length=TARGETS_MAX_BYTES,
        )
        super().__init__(str(folder), _METADATA_BASE, fetcher=fetcher, config=config, bootstrap=anchor)
        self._trusted_set.reference_time = now


class _Bridge(FetcherInterface):
    """Called in the Updater's thread, fetches in the event loop."""

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop, received: Received) -> None:
        self._source, self._loop, self._received = source, loop, received
        self._lock = threading.Lock()
        self._pending: concurrent.futures.Future[bytes] | None = None
        self._closed = False

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Fetch with the limit of the role, not of the largest role."""
        job = self._source.fetch(url, limit_bytes=max_length, received=self._received)
        try:
            data = self._hand_over(job).result()
        except Missing as error:
            raise DownloadHTTPError(str(error), 404) from error
        except TooLong as error:
            raise DownloadLengthMismatchError(str(error)) from error
        except Corrupt as error:
            raise RepositoryError(str(error)) from error
        except (SyncError, concurrent.futures.CancelledError) as error:
            raise DownloadError(str(error)) from error
        if _ODD_SIGNATURE.search(data):
            raise RepositoryError(f"{url}: a signature is not written in lower-case hexadecimal")
        return data

    def _fetch(self, url: str) -> Iterator[bytes]:
        return iter([self.download_bytes(url, TARGETS_MAX_BYTES)])

    def _hand_over(self, job: Coroutine[Any, Any, bytes]) -> concurrent.futures.Future[bytes]:
        with self._lock:
            if self._closed:
                job.close()
                raise concurrent.futures.CancelledError
            self._pending = asyncio.run_coroutine_threadsafe(job, self._loop)
            return self._pending

    def close(self) -> None:
        """Let the thread go: what it waits for is cancelled, and nothing more is fetched for it."""
        with self._lock:
            self._closed = True
            if self._pending is not None:
                self._pending.cancel()
