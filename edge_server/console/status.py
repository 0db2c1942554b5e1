"""How an edge stands, as its operator is told: by the page and by ``edge-server status --json``. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from domain.courseware import ItemClass
from edge_server.catalog import CatalogView
from edge_server.records.spool import SpoolState
from edge_server.uplink.standing import Standing
from sync.pacing import Windows, forecast

Light = Literal["good", "look", "bad"]
AGE_LOOK, AGE_BAD = timedelta(days=3), timedelta(days=30)
FREE_LOOK, FREE_BAD = 0.10, 0.03
EVICT_SHOWN_MAX_COUNT = 50


class UplinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The line to the centre."""

    light: Light
    words: str
    """Chinese / English: the state, and why it waits."""
    contact_at: datetime | None
    succeeded_at: datetime | None
    failure: str
    missing_bytes: int
    total_bytes: int
    measured_bps: float | None
    arrives_at: datetime | None
    """When all will be here, at the line's own speed inside its hours."""


class DiskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The disk."""

    light: Light
    total_bytes: int
    free_bytes: int
    pinned_bytes: int
    """Of lessons that are always kept (教育类)."""
    evictable_bytes: int
    """Of lessons that may be left out (服务类)."""
    next_out: list[str]
    """Titles that would go first, were the room short: the largest of the evictable ones."""


class LessonsStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is offered."""

    seq: int
    offered: int
    hidden: dict[str, int]
    """Listed but not offered, by reason: ``expired``, ``not_held``, ``parity_missing``."""


class EdgeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    edge_id: str
    at: datetime
    uplink: UplinkStatus
    disk: DiskStatus
    lessons: LessonsStatus
    records: SpoolState | None
    boxes_registered: int
    boxes_heard: int | None = None
    """Lately; None when asked from another process."""
    watching: dict[str, int] | None = None
    """Now, by way."""
    studying: int | None = None


def status_of(
    *,
    edge_id: str,
    now: datetime,
    contact: datetime | None,
    view: CatalogView,
    standing: Standing,
    windows: Windows,
    disk: tuple[int, int],
    records: SpoolState | None,
    boxes_registered: int,
    boxes_heard: int | None = None,
    watching: dict[str, int] | None = None,
    studying: int | None = None,
) -> EdgeStatus:
    """Judge it; ``disk`` is total and free bytes, ``now`` in the zone of ``windows``."""
    return EdgeStatus(
        edge_id=edge_id,
        at=now,
        uplink=_uplink(now, contact, standing, windows),
        disk=_disk(view, *disk),
        lessons=_lessons(view),
        records=records,
        boxes_registered=boxes_registered,
        boxes_heard=boxes_heard,
        watching=watching,
        studying=studying,
    )


def _uplink(now: datetime, contact: datetime | None, standing: Standing, windows: Windows) -> UplinkStatus:
    missing = standing.missing_bytes
    arrives = forecast(missing, windows, standing.measured_bps, now) if missing else None
    light: Light = "good"
    if contact is None:
        light, words = "look", "还没有同步过 / never synced"
    elif now - contact >= AGE_BAD:
        light, words = "bad", f"{(now - contact).days} 天没有联系上中心 / no contact for {(now - contact).days} days"
    elif standing.failure:
        light, words = "look", "上次同步没有成功 / the last sync failed"
    elif missing and windows.rate_at(now) == 0:
        light, words = "look", "等下载时段，现在不下载 / waits for its hours"
    elif missing:
        words = "正在下载 / coming"
    elif now - contact >= AGE_LOOK:
        light, words = "look", f"{(now - contact).days} 天没有联系上中心 / no contact for {(now - contact).days} days"
    else:
        words = "已到齐 / everything is here"
    return UplinkStatus(
        light=light,
        words=words,
        contact_at=contact,
        succeeded_at=standing.succeeded_at,
        failure=standing.failure,
        missing_bytes=missing,
        total_bytes=sum(each.total_bytes for each in standing.channels.values()),
        measured_bps=standing.measured_bps,
        arrives_at=arrives,
    )


def _disk(view: CatalogView, total_bytes: int, free_bytes: int) -> DiskStatus:
    pinned = evictable = 0
    out: list[tuple[int, str]] = []
    for item in view.listed.courseware:
        files = [view.file(path) for path in item.paths()]
        held = sum(each.length_bytes for each in files if each is not None)
        if item.item_class is ItemClass.SERVICE:
            evictable += held
            if held:
                out.append((held, item.title))
        else:
            pinned += held
    share = free_bytes / total_bytes if total_bytes else 0.0
    light: Light = "bad" if share < FREE_BAD else "look" if share < FREE_LOOK else "good"
    return DiskStatus(
        light=light,
        total_bytes=total_bytes,
        free_bytes=free_bytes,
        pinned_bytes=pinned,
        evictable_bytes=evictable,
        next_out=[title for _, title in sorted(out, reverse=True)[:EVICT_SHOWN_MAX_COUNT]],
    )


def _lessons(view: CatalogView) -> LessonsStatus:
    hidden: dict[str, int] = {}
    for item in view.listed.courseware:
        why = view.why_hidden(item)
        if why is not None:
            hidden[why] = hidden.get(why, 0) + 1
    return LessonsStatus(seq=view.seq, offered=len(view.catalogue.courseware), hidden=hidden)
