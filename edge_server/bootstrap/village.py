"""Puts together what a village does beside watching: the recording, the running sessions, and their pages."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from aiohttp import web

from domain.courseware import CatalogueError
from edge_server.bootstrap.admission import Admission
from edge_server.bootstrap.http_port import read_request
from edge_server.bootstrap.records import Heart, Pulse, make_pusher
from edge_server.catalog import CatalogView
from edge_server.config import EdgeConfig
from edge_server.portal import PortalRequest, PortalState
from edge_server.records.key import KeyDamaged
from edge_server.records.recorder import Recorder
from edge_server.sessions.boxes import BoxBook
from edge_server.sessions.viewing import Viewings
from edge_server.store.judged import JudgedTime
from edge_server.uplink.standing import StandingFile
from edge_server.village import seen
from edge_server.village.desk import VillageDesk
from edge_server.village.health import Vitals
from edge_server.village.pages import VillagePages
from runtime.clock import Clock
from runtime.service import Service
from sync import SyncError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Village:
    """What serves the village; empty when nothing can be recorded, for lessons come first."""

    services: tuple[Service, ...] = ()
    routes: tuple[web.RouteDef, ...] = ()
    studying: Callable[[], int] = lambda: 0
    """How many sessions are running."""


def make_village(
    root: Path,
    config: EdgeConfig,
    clock: Clock,
    *,
    open_recorder: Callable[[], Recorder],
    judged: JudgedTime,
    view: Callable[[], CatalogView],
    book: BoxBook,
    viewings: Viewings,
    boxes: Callable[[], int],
    admission: Admission,
    state: Callable[[PortalRequest], PortalState],
    by_address: Callable[[str], int],
) -> Village:
    """Make it; ``boxes`` counts those that were heard lately, ``by_address`` what left by RTSP.

    Raises:
        runtime.settings.ConfigError: a setting makes no sense.
    """
    try:
        recorder = open_recorder()
    except (KeyDamaged, OSError) as error:
        log.error("nothing can be recorded", why=str(error))
        return Village()

    def snapshot() -> tuple[int, int]:
        try:
            offered = view()
            return offered.seq, len(offered.catalogue.courseware)
        except (SyncError, CatalogueError, OSError):
            return 0, 0

    def read() -> tuple[Vitals, OSError | None]:
        standing, disk = StandingFile(root).read(), shutil.disk_usage(root)
        now, contact = judged.moments()
        failure: OSError | None = None
        try:
            waiting = recorder.spool.state().waiting
        except OSError as error:
            waiting, failure = 0, error
        return (
            Vitals(
                age=now - contact if contact.year > 1970 else None,
                uplink_failed=bool(standing.failure),
                uplink_tried=standing.at is not None,
                free_share=disk.free / disk.total,
                boxes=boxes(),
                recording=failure is None,
                waiting=waiting,
            ),
            failure,
        )

    async def look() -> Vitals:
        vitals, failure = await asyncio.to_thread(read)
        if failure is not None:
            log.error("the spool of records cannot be read", why=str(failure))
        return vitals

    def prefix(item_id: str, viewing: int) -> str:
        return admission.tickets.prefix(item_id, viewing, clock.monotonic())

    def stations() -> tuple[str, ...]:
        return tuple(sorted({each.station for each in book if not each.until}))

    desk = VillageDesk(
        root,
        recorder,
        clock,
        random=secrets.SystemRandom().randrange,
        delivered=admission.watching.sent_bytes,
        by_address=by_address,
    )
    pages = VillagePages(desk, read=read_request, state=state, look=look, prefix=prefix, stations=stations)
    heart = None
    if config.heartbeat_s:
        pulse = Pulse(snapshot, boxes, lambda: len(viewings))
        heart = Heart(recorder, judged, root, pulse, clock, config.heartbeat_s)
    pusher = make_pusher(config, recorder, clock)
    routes = (*pages.routes(), *seen.routes(desk, read_request, state))
    return Village(tuple(each for each in (desk, heart, pusher) if each is not None), routes, desk.sessions.count)
