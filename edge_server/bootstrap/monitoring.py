"""Joins what an edge's services know of themselves to what is told over HTTP (docs/monitoring.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from aiohttp import web

from edge_server.bootstrap.admission import Admission
from edge_server.bootstrap.linear import Groups
from edge_server.config import EdgeConfig
from edge_server.egress import EgressContext
from edge_server.egress.rtsp import RtspService
from edge_server.egress.whep import WhepOnDemand
from edge_server.live.channel import LiveChannel
from edge_server.metrics.disk import DiskCount
from edge_server.metrics.doors import routes
from edge_server.metrics.sources import Sources, Way
from edge_server.plane.counts import Count, Counts, total
from edge_server.sessions.box_logins import BoxLogins
from edge_server.sessions.logins import Logins
from edge_server.sessions.presence import Presence
from edge_server.uplink.standing import StandingFile
from runtime.networks import Network, parse_networks
from runtime.settings import ConfigError

_REFUSED = "refused "


def check_monitoring(config: EdgeConfig) -> tuple[Network, ...]:
    """Read who may have the numbers; touches no file.

    Raises:
        runtime.settings.ConfigError: a setting makes no sense; the message says what to write.
    """
    try:
        return parse_networks(config.metrics_from)
    except ValueError as error:
        raise ConfigError(f"metrics_from: {error}; write addresses or networks, e.g. 10.1.0.0/16") from error


def make_monitoring(
    config: EdgeConfig,
    root: Path,
    ctx: EgressContext,
    *,
    rows: Sequence[Counts],
    admission: Admission,
    rtsp: RtspService,
    whep: WhepOnDemand,
    presence: Presence,
    logins: Logins,
    boxes: BoxLogins,
    lives: Mapping[str, LiveChannel],
    groups: Groups,
) -> list[web.RouteDef]:
    """Make the routes; ``rows`` are the counts of all processes of the HTTP port.

    Raises:
        runtime.settings.ConfigError: a setting makes no sense.
    """
    clock = ctx.clock

    def of_http() -> dict[str, int]:
        return {**_refusals(lambda: admission.counters)(), "connections": total(rows, Count.REFUSED)}

    ways = {
        "http": Way(lambda: admission.watching.count(clock.monotonic()), config.http_max_viewings, of_http),
        "rtsp": Way(lambda: len(rtsp.viewings), config.viewing_max_sessions, _refusals(lambda: rtsp.counters)),
        "whep": Way(lambda: len(whep), config.whep_max_viewers, _refusals(lambda: whep.counters)),
    }
    sources = Sources(
        rows=rows,
        ways=ways,
        logins={"authenticator": lambda: dict(logins.refusals), "mac": lambda: dict(boxes.refusals)},
        boxes=lambda: presence.count(clock.monotonic()),
        pacer=rtsp.pacing.pacer,
        groups=lambda: groups.sent,
        bursts=lambda: len(groups.fcc) if groups.fcc is not None else 0,
        fcc=lambda: groups.fcc.counters if groups.fcc is not None else {},
        view=ctx.view,
        to_package=lambda: ctx.shelf.waiting,
        utc_s=lambda: clock.utc().timestamp(),
        monotonic_s=clock.monotonic,
        lives=lives,
    )
    return routes(sources, DiskCount(root), StandingFile(root).read, check_monitoring(config))


def _refusals(counters: Callable[[], Counter[str]]) -> Callable[[], dict[str, int]]:
    """Pick refusals out of a service's counters, by status."""

    def pick() -> dict[str, int]:
        found = {name.removeprefix(_REFUSED): times for name, times in counters().items() if name.startswith(_REFUSED)}
        return {**found, "connections": counters()["connections refused"]}

    return pick
