"""Puts the edge server together from its folder and its configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge_server import portal
from edge_server.bootstrap.failures import Known, explain
from edge_server.bootstrap.http_port import HttpPort
from edge_server.catalog import CatalogReader, CatalogView
from edge_server.config import EdgeConfig
from edge_server.egress import EgressContext, files, hls
from edge_server.egress.rtsp import RtspService, Rules
from edge_server.packager import Shelf
from edge_server.portal import Dialect, PortalRequest, PortalState
from edge_server.sessions.accounts import AccountBook
from edge_server.sessions.logins import LoginLimits, Logins
from edge_server.sessions.viewing import Viewings
from edge_server.store import Store
from edge_server.uplink.poller import Poller
from edge_server.uplink.pull import PullReport, Stage, pull
from runtime.clock import Clock
from runtime.registry import gather
from runtime.service import Service
from sync.client import Client
from sync.store import Source
from sync.store.folder import FolderSource
from sync.store.http import HttpSource

TRUST_ANCHOR = Path("trust") / "anchor.root.json"
"""Where ``edge-server init`` puts the central platform's first root metadata."""
DISK_BYTES_PER_BYTE = 3.2
"""An MP4 with its derived transport stream and fragmented MP4 (docs/adr/0001)."""

__all__ = ["TRUST_ANCHOR", "Edge", "Known", "Running", "explain"]


@dataclass(slots=True)
class Running:
    """The services of a serving edge."""

    stack: Sequence[Service]
    http: HttpPort
    rtsp: RtspService

    @property
    def rtsp_address(self) -> str:
        """Base URL of the RTSP port, known once ready."""
        return f"rtsp://{self.rtsp.host}:{self.rtsp.port}/"


class Edge:
    """One edge server folder."""

    def __init__(self, root: Path, config: EdgeConfig, clock: Clock) -> None:
        """Open the folder; nothing runs yet."""
        self.root, self.config, self._clock = root, config, clock
        self.store = Store(root)
        self.accounts = AccountBook(root / "accounts.json")
        self._shelf = Shelf(self.store.derived_root)
        self._reader = CatalogReader(self.store)

    def view(self) -> CatalogView:
        """Return the catalogue view of the active snapshot."""
        return self._reader.current()

    async def sync_once(self, on_progress: Callable[[float], None] | None = None) -> PullReport:
        """Pull, verify, package and switch.

        Raises:
            sync.SyncError: see its kinds; boxes keep seeing the old snapshot.
            media.MediaError: a rendition cannot be packaged; boxes keep seeing the old snapshot.
        """

        def step(stage: Stage, done: float) -> None:
            if on_progress is not None:
                on_progress(done / 2 if stage == "fetch" else 0.5 + done / 2)

        client = Client(
            trust_dir=self.root / "trust",
            source=self._source(),
            objects=self.store.objects,
            anchor=(self.root / TRUST_ANCHOR).read_bytes(),
            clock=self._clock,
            disk_bytes_per_byte=DISK_BYTES_PER_BYTE,
        )
        return await pull(
            self.store,
            client,
            self._shelf,
            now=self._clock.utc(),
            on_progress=step,
            channel=self.config.channel,
            clock=self._clock,
        )

    def services(self) -> Running:
        """Make the services, lowest first."""
        config = self.config
        ctx = EgressContext(self.view, self._shelf, self._clock)
        viewings = Viewings(max_count=config.viewing_max_sessions, timeout_s=config.session_timeout_s)
        rtsp = RtspService(config.host, config.rtsp_port, ctx, viewings=viewings, rules=Rules(config.rtsp_banner))
        logins = Logins(self.accounts.find, limits=LoginLimits(logins_max=config.login_max_sessions))
        dialects: list[Dialect] = list(gather(portal, "DIALECT", Dialect).values())  # type: ignore[type-abstract]
        http = HttpPort(
            host=config.host,
            port=config.http_port,
            routes=[*files.routes(ctx), *hls.routes(ctx)],
            dialects=dialects,
            state=partial(self._portal_state, logins, rtsp),
            grace_s=config.grace_s,
        )
        stack: list[Service] = [rtsp, http]
        if config.poll_s > 0:
            stack.append(Poller(self.sync_once, every_s=config.poll_s, edge_id=config.edge_id, clock=self._clock))
        return Running(stack, http, rtsp)

    def _portal_state(self, logins: Logins, rtsp: RtspService, request: PortalRequest) -> PortalState:
        host = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
        return PortalState(
            view=self.view(),
            logins=logins,
            rtsp_authority=f"{host}:{rtsp.port}",
            now=self._clock.utc(),
            monotonic_s=self._clock.monotonic(),
        )

    def _source(self) -> Source:
        address = self.config.central
        return HttpSource(address) if address.startswith(("http://", "https://")) else FolderSource(Path(address))
