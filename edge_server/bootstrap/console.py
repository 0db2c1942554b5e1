"""Puts the operator's console beside a serving edge."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_server.bootstrap.edge import BOXES_SEEN_NAME, Edge, Running, briefly, check_settings
from edge_server.bootstrap.failures import explain, explain_stick
from edge_server.bootstrap.http_port import read_request
from edge_server.bootstrap.sticks import import_stick
from edge_server.catalog import CatalogView
from edge_server.config import load
from edge_server.console.access import CODE_DIGITS
from edge_server.console.jobs import Jobs, OnProgress, Work, sticks
from edge_server.console.pages import ConsolePages, Workings
from edge_server.console.password import PasswordFile
from edge_server.console.status import EdgeStatus, status_of
from edge_server.records.key import KeyDamaged
from edge_server.records.spool import SpoolState
from edge_server.sessions.last_seen import read_seen
from runtime.recent import RecentEvents
from runtime.settings import ConfigError
from sync import SyncError

BOXES_SHOWN_MAX_COUNT = 2000


@dataclass(frozen=True, slots=True)
class Console:
    """What the start tells."""

    code: str
    """Set-up code; empty when a password is set."""


def look_at(
    edge: Edge,
    view: CatalogView,
    boxes_registered: int,
    *,
    boxes_heard: int | None = None,
    watching: dict[str, int] | None = None,
    studying: int | None = None,
) -> EdgeStatus:
    """Return how an edge stands, from its folder and from what is given. Blocking.

    Raises:
        domain.courseware.CatalogueError: the snapshot cannot be read.
        runtime.settings.ConfigError: a setting of the line makes no sense.
        OSError: the disk fails.
    """
    line, disk = edge.line(), shutil.disk_usage(edge.root)
    _, contact = edge.judged.moments()
    records: SpoolState | None = None
    with suppress(KeyDamaged, OSError):  # shown as "nothing can be recorded"; the log has said why
        records = edge.recorder.spool.state()
    return status_of(
        edge_id=edge.config.edge_id,
        now=edge.clock.utc().astimezone(line.zone),
        contact=contact if contact.year > 1970 else None,
        view=view,
        standing=edge.standing(),
        windows=line.windows,
        disk=(disk.total, disk.free),
        records=records,
        boxes_registered=boxes_registered,
        boxes_heard=boxes_heard,
        watching=watching,
        studying=studying,
    )


def add_console(edge: Edge, running: Running, recent: RecentEvents) -> Console:
    """Give a serving edge its operator's pages; call it before the services run."""
    password = PasswordFile(edge.root)
    code = "" if password.is_set() else f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
    jobs = Jobs(_explain)
    places = [each for word in edge.config.usb_places.split(",") if (each := word.strip())]

    async def status() -> EdgeStatus:
        view, registered = edge.view(), sum(not each.until for each in edge.boxes)  # both belong to the loop
        return await asyncio.to_thread(
            look_at,
            edge,
            view,
            registered,
            boxes_heard=running.heard(),
            watching=running.watching(),
            studying=running.studying(),
        )

    def boxes() -> list[tuple[str, str, str]]:
        seen = read_seen(edge.root / BOXES_SEEN_NAME)
        listed = [each for each in edge.boxes if not each.until][:BOXES_SHOWN_MAX_COUNT]
        return [(each.mac, each.station, seen[each.mac].at if each.mac in seen else "") for each in listed]

    def settings() -> list[str]:
        try:
            config, _ = load(edge.root, {})
            check_settings(config)
        except ConfigError as error:
            return [str(error)]
        return []

    async def sync(on_progress: OnProgress) -> str:
        report = await edge.sync_once(on_progress)
        return "有更新 / updated" if report.changed else "已是最新 / nothing new"

    def take_in(stick: Path) -> Work:
        async def work(on_progress: OnProgress) -> str:
            report = await import_stick(edge, stick, on_progress)
            if report.missing_bytes:
                rest = "、".join(map(str, report.next_parts))
                return f"第 {report.part}/{report.parts} 个已导入，请插入第 {rest} 个 / insert stick {rest}"
            what = "课件已更新 / lessons updated" if report.changed else "没有新内容 / nothing new"
            return " ".join(filter(None, (what, f"带回记录 / records taken: {report.records_taken}", report.warning)))

        return work

    pages = ConsolePages(
        Workings(status, boxes, recent.newest, settings, lambda: sticks(places), sync, take_in),
        jobs,
        password,
        edge.clock,
        code=code,
        read=read_request,
        state=running.http.state,
    )
    running.http.routes = [*running.http.routes, *pages.routes()]
    running.stack = [*running.stack, jobs]
    return Console(code)


def _explain(error: Exception) -> str | None:
    known = explain_stick(error) or explain(error)
    if known is not None:
        return known.words
    return briefly(str(error)) if isinstance(error, SyncError | OSError) else None
