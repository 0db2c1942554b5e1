"""Where the numbers come from: memory of this process, and memory that it shares with its workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from domain.courseware import CatalogueError
from edge_server.catalog import CatalogView
from edge_server.live.channel import LiveChannel
from edge_server.metrics.disk import Disk
from edge_server.pacing.pacer import Pacer
from edge_server.plane.counts import Counts
from edge_server.uplink.standing import Standing
from sync import SyncError


@dataclass(frozen=True, slots=True)
class Way:
    """One way to watch."""

    watching: Callable[[], int]
    """How many watch now."""
    max_count: int
    refusals: Callable[[], Mapping[str, int]]
    """How many were refused since the start, by reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What is asked at each reading; nothing here waits for a disk or a peer."""

    rows: Sequence[Counts]
    """Of all processes of the HTTP port."""
    ways: Mapping[str, Way]
    """By name: http, rtsp, whep."""
    logins: Mapping[str, Callable[[], Mapping[str, int]]]
    """Logins of boxes that were refused since the start, by reason; by kind of login: ``authenticator``, ``mac``."""
    boxes: Callable[[], int]
    """How many boxes sent a heartbeat lately."""
    pacer: Pacer
    groups: Callable[[], Mapping[str, int]] = dict
    """What was counted of multicast groups since the start."""
    bursts: Callable[[], int] = int
    """Bursts of fast channel change now."""
    fcc: Callable[[], Mapping[str, int]] = dict
    """What was counted of them since the start."""
    view: Callable[[], CatalogView]
    """Raises ``sync.Corrupt`` or ``domain.courseware.CatalogueError`` when the snapshot cannot be read."""
    to_package: Callable[[], int]
    """Renditions of a coming release that this process has still to package."""
    utc_s: Callable[[], float]
    """Seconds since 1970 by the clock of this machine."""
    monotonic_s: Callable[[], float]

    lives: Mapping[str, LiveChannel] = field(default_factory=dict)
    """Channels given live, by id."""

    def readable(self) -> CatalogView | None:
        """Return the view of what is offered; None when it cannot be read."""
        try:
            view = self.view()
            _ = view.catalogue
        except (SyncError, CatalogueError, OSError):
            return None
        return view


@dataclass(frozen=True, slots=True)
class Noted:
    """What was read from the disk, outside the event loop."""

    standing: Standing
    disk: Disk
