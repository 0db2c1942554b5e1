"""Records what happens, from the event loop: a thread waits for the disk, and the caller for the thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from domain.records import DISPENSABLE, Body, kind_of
from edge_server.records.spool import Spool, SpoolFull

Judge = Callable[[], tuple[datetime, bool]]
"""Tells the time, and whether there is reason to believe it."""
log = structlog.get_logger()


class Recorder:
    """One spool and one clock."""

    def __init__(self, spool: Spool, judge: Judge) -> None:
        """Nothing is recorded yet."""
        self.spool, self._judge = spool, judge
        self.on_new: Callable[[], None] = _nobody
        """Called when something was recorded."""

    async def note(self, body: Body, *, station: str = "") -> int:
        """Record something and wait until it is on the disk; returns its number, 0 for what there was no room for.

        Only probes and heartbeats may be left out.

        Raises:
            domain.records.RecordError: a member is out of its bounds.
            SpoolFull, OSError: it is not recorded; say so to whoever waits.
        """
        now, sure = self._judge()
        try:
            seq = await asyncio.to_thread(self.spool.append, body, station=station, now=now, sure=sure)
        except SpoolFull:
            if kind_of(body) not in DISPENSABLE:
                raise
            log.warning("no room for a record", kind=kind_of(body))
            return 0
        self.on_new()
        return seq


def _nobody() -> None:
    pass
