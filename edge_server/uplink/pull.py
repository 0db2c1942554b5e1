"""Pull, verify, prepare, activate, collect: how a new release reaches the boxes, all of it or nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Literal

from edge_server.catalog import CatalogView
from edge_server.packager import Shelf
from edge_server.store import Store
from runtime.clock import Clock, SystemClock
from sync.client import Client, Progress
from sync.store.threads import in_thread

DEFAULT_CHANNEL = "main"
Stage = Literal["fetch", "package"]
OnProgress = Callable[[Stage, float], None]
"""Called with the stage and how much of it is done, 0 to 1; from another thread while packaging."""


@dataclass(frozen=True)
class PullReport:
    """What one pull did."""

    changed: bool
    """True when another release became active."""
    seq: int
    """Of the release that is active now."""
    bytes_moved: int
    """Bodies of all answers of the publisher."""
    requests: int
    packaged: int
    """How many renditions were packaged."""
    seconds: float
    freed_bytes: int = 0
    """Objects that no kept release names any more."""


def _ignore(_stage: Stage, _done: float) -> None:
    pass


async def pull(
    store: Store,
    client: Client,
    shelf: Shelf,
    *,
    now: datetime,
    on_progress: OnProgress = _ignore,
    channel: str = DEFAULT_CHANNEL,
    clock: Clock | None = None,
) -> PullReport:
    """Bring the store up to the newest release of the channel.

    What boxes see changes once, at the end, when every object was verified and every rendition can be played.
    Whatever fails before leaves the active release as it is, and what was fetched and packaged for the next attempt.

    Raises:
        SyncError: any of sync's failures, also Busy when another pull is running.
        MediaError: a rendition cannot be packaged.
        CatalogueError: the catalogue of the release cannot be read by this version.
    """
    clock = clock or SystemClock()
    began = clock.monotonic()
    with store.lock() as changes:
        pulled = await client.pull(
            channel,
            now=now,
            on_progress=lambda step: on_progress("fetch", _fraction(step)),
            make_room=changes.collect,  # what an abandoned release left must not block the next one
        )
        active = store.active()
        snapshot = pulled.snapshot
        freed = 0
        stale = active is None or (active.seq, active.channel) != (snapshot.seq, snapshot.channel)
        view = CatalogView(store.resolve(snapshot))
        prepare = partial(shelf.prepare, view, lambda done: on_progress("package", done), active=not stale)
        packaged = await asyncio.to_thread(prepare)  # also mends what was deleted since the last release
        if stale:
            await in_thread(changes.activate, snapshot)
            freed = await in_thread(changes.collect)
    return PullReport(
        changed=stale,
        seq=snapshot.seq,
        bytes_moved=pulled.bytes_moved,
        requests=pulled.requests,
        packaged=packaged,
        seconds=clock.monotonic() - began,
        freed_bytes=freed,
    )


def _fraction(step: Progress) -> float:
    return step.bytes_done / step.bytes_total if step.bytes_total else 1.0
