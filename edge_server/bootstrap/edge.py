"""Puts the edge server together from its folder and its configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from domain.courseware import CatalogueError
from edge_server import portal
from edge_server.bootstrap.admission import Admission, check_admission, make_admission
from edge_server.bootstrap.boxes import make_all_logins, make_ntp, make_rules, time_server
from edge_server.bootstrap.failures import Known, briefly, explain
from edge_server.bootstrap.http_port import Crew, HttpPort
from edge_server.bootstrap.http_settings import check_api_origin, check_http, make_http_settings
from edge_server.bootstrap.intolerance import make_intolerance
from edge_server.bootstrap.lan import Lan, check_lan, make_lan
from edge_server.bootstrap.line import Line, make_line
from edge_server.bootstrap.linear import linear_groups, make_channels, make_windows, plans_of
from edge_server.bootstrap.live import listed, lives_of, make_groups, make_lives, make_whep
from edge_server.bootstrap.media import make_media
from edge_server.bootstrap.monitoring import check_monitoring, make_monitoring
from edge_server.bootstrap.pacing import check_pacing, make_pacing
from edge_server.bootstrap.records import home_of, open_recorder
from edge_server.bootstrap.segment import Segment, make_segment
from edge_server.bootstrap.village import make_village
from edge_server.bootstrap.worker import Start, shared_memory
from edge_server.catalog import CatalogReader, CatalogView
from edge_server.catalog.following import Following
from edge_server.config import EdgeConfig
from edge_server.egress import EgressContext, live, pages
from edge_server.egress.live_ts import LiveStreams
from edge_server.egress.on_air import OnAir
from edge_server.egress.rtsp import RtspService
from edge_server.linear.following import FollowingChannels
from edge_server.live.plan import LivePlan
from edge_server.packager import Shelf
from edge_server.packager.apart import Apart
from edge_server.plane.counts import Counts
from edge_server.portal import Dialect, PortalRequest, PortalState
from edge_server.records.recorder import Recorder
from edge_server.sessions.accounts import AccountBook
from edge_server.sessions.box_logins import BoxLogins
from edge_server.sessions.boxes import BoxBook
from edge_server.sessions.last_seen import SeenKeeper
from edge_server.sessions.logins import Logins
from edge_server.sessions.presence import Presence
from edge_server.sessions.viewing import Viewings
from edge_server.store import Store
from edge_server.store.judged import JudgedTime
from edge_server.uplink import relay
from edge_server.uplink.poller import Poller
from edge_server.uplink.pull import PullReport, Stage, Uplink
from edge_server.uplink.scrubber import Scrubber
from edge_server.uplink.standing import Standing, StandingFile
from edge_server.uplink.timekeeper import Timekeeper
from runtime.clock import Clock, SystemClock
from runtime.log import LEVELS
from runtime.registry import gather
from runtime.service import Service
from runtime.settings import ConfigError
from sync import SyncError
from sync.pull import Puller
from sync.pull.watch import Watch
from sync.road import OPEN, Gate, Source
from sync.road.metered import Meter
from sync.road.retrying import RetryPolicy
from sync.trust import Road

BOXES_NAME, BOXES_SEEN_NAME = "boxes.json", "boxes-seen.json"
TRUST_ANCHOR = Path("trust") / "anchor.root.json"
"""Where ``edge-server init`` puts the central platform's first root metadata."""
DISK_BYTES_PER_BYTE = 2.2
"""An MP4 with its derived transport stream and indexes (docs/adr/0010)."""

__all__ = ["TRUST_ANCHOR", "Edge", "Known", "Running", "briefly", "check_settings", "explain"]


def check_settings(config: EdgeConfig) -> None:
    """Try every setting of the line, the LAN, of admission, pacing, monitoring and the log; touches no file.

    Raises:
        runtime.settings.ConfigError: one of them makes no sense.
    """
    clock = SystemClock()
    make_line(config, clock)
    check_lan(config, clock)
    check_http(config)
    check_admission(config)
    check_pacing(config)
    lives_of(config.live, config.whip_token, plans_of(config))
    check_api_origin(config)
    check_monitoring(config)
    home_of(config)
    make_intolerance(config)
    make_segment(config.legacy_networks)
    if config.log_level not in LEVELS:
        raise ConfigError(f"log_level: {config.log_level!r}; write one of {', '.join(LEVELS)}")


@dataclass(slots=True)
class Running:
    """The services of a serving edge."""

    stack: Sequence[Service]
    http: HttpPort
    rtsp: RtspService
    heard: Callable[[], int]
    """How many boxes were heard lately."""
    watching: Callable[[], dict[str, int]]
    """How many watch now, by way."""
    studying: Callable[[], int]
    """How many study sessions are running."""

    @property
    def rtsp_address(self) -> str:
        """Base URL of the RTSP port, known once ready."""
        return f"rtsp://{self.rtsp.host}:{self.rtsp.port}/"


class Edge:
    """One edge server folder."""

    def __init__(self, root: Path, config: EdgeConfig, clock: Clock) -> None:
        """Open the folder; nothing runs yet."""
        self.root, self.config, self.clock = root, config, clock
        self._network: Uplink | None = None
        self._lan: Lan | None = None
        self._http: HttpPort | None = None
        self._presence = Presence()
        self._lives: tuple[LivePlan, ...] = ()
        self._recorder: Recorder | None = None
        self.store = Store(root)
        self.accounts = AccountBook(root / "accounts.json")
        self.boxes = BoxBook(root / BOXES_NAME)
        self.judged = JudgedTime(root, clock)
        self._shelf = Shelf(self.store.derived_root, Apart)
        self._catalogue = Following(CatalogReader(self.store, self.judged, lab=config.lab), clock)

    @property
    def trust_dir(self) -> Path:
        """Where this edge keeps what it has learned to trust."""
        return self.root / "trust"

    @property
    def columns(self) -> frozenset[str]:
        """Ids of the columns to hold; empty for all."""
        return frozenset(each.strip() for each in self.config.columns.split(",") if each.strip())

    def view(self) -> CatalogView:
        """Return the catalogue view of the active snapshot."""
        return self._catalogue.current()

    @property
    def lan(self) -> Lan:
        """What is shared with neighbours.

        Raises:
            runtime.settings.ConfigError: a setting of the LAN makes no sense.
        """
        if self._lan is None:
            self._lan = make_lan(self.config, self.root, self.store.holding, self.clock, self._http_port)
        return self._lan

    def _http_port(self) -> int:
        return self._http.port if self._http and self._http.address else 0

    @property
    def recorder(self) -> Recorder:
        """What records; the spool is opened at first use. Blocking.

        Raises:
            edge_server.records.key.KeyDamaged: the message says what to do.
            OSError: the disk fails.
        """
        if self._recorder is None:
            self._recorder = open_recorder(self.config, self.root, self.judged, self.clock)
        return self._recorder

    def standing(self) -> Standing:
        """Return what the uplink was doing last."""
        return StandingFile(self.root).read()

    def line(self) -> Line:
        """Make the line to the central platform.

        Raises:
            runtime.settings.ConfigError: a setting of the line makes no sense.
        """
        return make_line(self.config, self.clock)

    def uplink(
        self,
        source: Source,
        *,
        gate: Gate = OPEN,
        road: Road = "network",
        lacking: Callable[[str], bool] | None = None,
        retry: RetryPolicy | None = None,
        watch: Watch | None = None,
    ) -> Uplink:
        """Make what pulls from a source; ``lacking`` tells which packs the source is known not to have."""
        config = self.config
        puller = Puller(
            trust_dir=self.trust_dir,
            source=source,
            holding=self.store.holding,
            anchor=(self.root / TRUST_ANCHOR).read_bytes(),
            clock=self.clock,
            area=config.area,
            road=road,
            lacking=lacking,
            retry=retry or RetryPolicy(edge_id=config.edge_id),
            watch=watch,
            meter=Meter(self.clock, gate=gate),
            disk_bytes_per_byte=DISK_BYTES_PER_BYTE,
        )
        quota = config.quota_bytes or None
        return Uplink(self.store, puller, self._shelf, self.judged, self.clock, self.columns, quota)

    async def sync_once(self, on_progress: Callable[[float], None] | None = None) -> PullReport:
        """Pull, verify, package and switch.

        Raises:
            sync.SyncError: see its kinds; boxes keep seeing the old snapshot.
            media.MediaError: a rendition cannot be packaged; boxes keep seeing the old snapshot.
            runtime.settings.ConfigError: a setting of the line makes no sense.
        """

        def step(stage: Stage, done: float) -> None:
            if on_progress is not None:
                on_progress(done / 2 if stage == "fetch" else 0.5 + done / 2)

        if self._network is None:
            line, lan = self.line(), self.lan
            self._network = self.uplink(lan.around(line.source, self.clock), gate=line.gate, watch=lan.watch)
            self._network.bulletin = lan.bulletin
        return await self._network.pull(now=self.clock.utc, on_progress=step)

    def services(self) -> Running:
        """Make the services, lowest first.

        Raises:
            runtime.settings.ConfigError: a setting makes no sense; better now than at the first sync, by night.
        """
        check_settings(self.config)
        config = self.config
        with suppress(SyncError, CatalogueError):  # whoever asks is told; now nobody waits yet
            self.view()
        ctx = EgressContext(self.view, self._shelf, self.clock)
        channels = make_channels(config, ctx, self.store)
        self._lives = lives_of(config.live, config.whip_token, plans_of(config))
        lives = make_lives(self._lives, self.clock)
        viewings = Viewings(max_count=config.viewing_max_sessions, timeout_s=config.session_timeout_s)
        pacing = make_pacing(config, self.clock)
        windows = make_windows(ctx, channels, pacing)
        rtsp = RtspService(
            config.host,
            config.rtsp_port,
            ctx,
            viewings=viewings,
            rules=make_rules(config),
            pacing=pacing,
            windows=windows,
        )
        memory = shared_memory(config.workers)
        table, *rows = memory.pieces
        if config.workers == 1:
            memory.close()
        counts = [Counts(each) for each in rows]
        admission = make_admission(config, self.root, self.clock, memory=table)
        whep = make_whep(config, ctx, admission, lives)
        logins, boxes = make_all_logins(config, self.boxes, self.accounts)
        shared, segment = self.lan.relay, make_segment(config.legacy_networks)
        groups = linear_groups(config, ctx, channels, windows, pacing)
        monitoring = make_monitoring(
            config,
            self.root,
            ctx,
            rows=counts,
            admission=admission,
            rtsp=rtsp,
            whep=whep,
            presence=self._presence,
            logins=logins,
            boxes=boxes,
            groups=groups,
            lives=lives.channels,
        )
        state = partial(self._portal_state, logins, boxes, rtsp, admission, channels, segment)
        village = make_village(
            self.root,
            config,
            self.clock,
            open_recorder=lambda: self.recorder,
            judged=self.judged,
            view=self.view,
            book=self.boxes,
            viewings=viewings,
            boxes=lambda: self._presence.count(self.clock.monotonic()),
            admission=admission,
            state=state,
            by_address=rtsp.sent_bytes,
        )
        dialects: list[Dialect] = list(gather(portal, "DIALECT", Dialect).values())  # type: ignore[type-abstract]
        http = HttpPort(
            host=config.host,
            port=config.http_port,
            media=make_media(ctx, admission),
            routes=[
                *monitoring,
                *pages.routes(ctx),
                *OnAir(tuple(lives.channels.values()), admission.door, self.clock.monotonic).routes(),
                *live.routes(ctx, channels.round, admission.door),
                *LiveStreams(ctx, windows, pacing, admission.door).routes(),
                *whep.routes(),
                *village.routes,
                *(relay.routes(shared) if shared else ()),
            ],
            dialects=dialects,
            state=state,
            clock=self.clock,
            settings=make_http_settings(config, self.root),
            counts=counts[0],
            crew=Crew(Start(self.root, config, memory).command, counts[1:]) if config.workers > 1 else None,
        )
        self._http = http
        stack: list[Service] = [
            self._catalogue,
            channels,
            pacing,
            rtsp,
            whep,
            lives,
            http,
            Timekeeper(self.judged, self.clock),
            SeenKeeper(self.root / BOXES_SEEN_NAME, boxes, self.clock),
        ]
        stack += village.services
        stack += groups.services
        if any(each.plan.address for each in lives.channels.values()):
            stack.append(make_groups(lives, config))
        if config.ntp_port:
            stack.append(make_ntp(config, self.judged, self.clock))
        if config.lan_find:
            stack.append(self.lan.discovery)
        wake: Callable[[], None] = _nobody
        if config.poll_s > 0:
            poller = Poller(self.sync_once, every_s=config.poll_s, edge_id=config.edge_id, clock=self.clock)
            stack.append(poller)
            wake = poller.wake
        if config.verify_days > 0:
            stack.append(Scrubber(self.store, self.clock, round_days=config.verify_days, on_damage=wake))
        return Running(
            stack,
            http,
            rtsp,
            heard=lambda: self._presence.count(self.clock.monotonic()),
            watching=lambda: {"http": admission.viewers(), "rtsp": len(viewings), "whep": len(whep)},
            studying=village.studying,
        )

    def _portal_state(
        self,
        logins: Logins,
        boxes: BoxLogins,
        rtsp: RtspService,
        admission: Admission,
        channels: FollowingChannels,
        segment: Segment,
        request: PortalRequest,
    ) -> PortalState:
        linear = channels.current()
        host = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
        return PortalState(
            view=self.view(),
            logins=logins,
            rtsp_authority=f"{host}:{rtsp.port}",
            now=self.clock.utc(),
            monotonic_s=self.clock.monotonic(),
            ticket=admission.ticket,
            channels=(*linear, *listed(self._lives, max((each.number for each in linear), default=0))),
            ticketed=admission.tickets.required,
            boxes=boxes,
            is_local=segment.holds(request.remote, request.headers),
            utc_offset=timedelta(hours=self.config.utc_offset_h),
            intolerant=make_intolerance(self.config),
            time_server=time_server(self.config, host),
        )


def _nobody() -> None:
    pass
