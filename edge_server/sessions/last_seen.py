"""When each registered or watching box was heard last: kept on disk, so that ``edge-server box list`` can tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import structlog

from edge_server.sessions.box_logins import BoxLogins
from runtime.clock import Clock
from sync import SyncError
from sync.store.files import write_file

SEEN_MAX_COUNT = 20_000
SEEN_MAX_BYTES = 8 * 1024 * 1024
WRITE_EVERY_S = 60.0
log = structlog.get_logger()


class Seen(msgspec.Struct, frozen=True):
    """The last sign of life of a box."""

    at: str
    """RFC 3339 UTC, whole seconds, by this machine's clock."""
    remote: str
    """IP address."""


def read_seen(path: Path) -> dict[str, Seen]:
    """Read the file; what cannot be read counts as nothing seen: it is for people to look at only."""
    try:
        with path.open("rb") as file:
            raw = file.read(SEEN_MAX_BYTES + 1)
        return msgspec.json.decode(raw, type=dict[str, Seen]) if len(raw) <= SEEN_MAX_BYTES else {}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}


def merged(seen: dict[str, Seen], logins: BoxLogins, now: datetime, monotonic_s: float) -> dict[str, Seen]:
    """Add those who are in; the longest unheard go when there are too many."""
    fresh = dict(seen)
    for each in logins:
        at = now - timedelta(seconds=max(0.0, monotonic_s - each.last_seen_s))
        fresh.pop(each.mac, None)
        fresh[each.mac] = Seen(at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), each.remote)
    return dict(list(fresh.items())[-SEEN_MAX_COUNT:])


class SeenKeeper:
    """A ``runtime.service.Service``."""

    def __init__(self, path: Path, logins: BoxLogins, clock: Clock) -> None:
        """Nothing is read yet."""
        self._path, self._logins, self._clock = path, logins, clock

    async def run(self, ready: Callable[[], None]) -> None:
        """Write what is new now and then until cancelled."""
        ready()
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + WRITE_EVERY_S)
            await self.note()

    async def drain(self) -> None:
        """Write what is new before the end."""
        await self.note()

    async def note(self) -> None:
        """Write the file when somebody was heard since."""
        if not len(self._logins):
            return
        seen = await asyncio.to_thread(read_seen, self._path)
        fresh = merged(seen, self._logins, self._clock.utc(), self._clock.monotonic())
        if fresh == seen:
            return
        try:
            await asyncio.to_thread(write_file, self._path, msgspec.json.encode(fresh), mode=0o600)
        except (SyncError, OSError) as error:
            log.warning("cannot note which boxes were heard", reason=str(error))
