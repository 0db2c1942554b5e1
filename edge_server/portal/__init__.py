"""One box dialect a module. A dialect is a pure function of (request, catalogue view, login state, now)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from edge_server.catalog import CatalogView
from edge_server.linear import LinearChannel
from edge_server.sessions.box_logins import BoxLogins
from edge_server.sessions.logins import Logins

REQUEST_BODY_MAX_BYTES = 64 * 1024
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class PortalRequest:
    """One HTTP request as a dialect sees it; already size-limited and decoded."""

    method: str
    path: str
    """Percent-decoded path, without the query."""
    query: Mapping[str, str]
    form: Mapping[str, str]
    """Fields of an ``application/x-www-form-urlencoded`` body; empty otherwise."""
    headers: Mapping[str, str]
    """Case-insensitive."""
    cookies: Mapping[str, str]
    remote: str
    """Peer IP address."""
    host: str
    """``host:port`` under which the box reached us; used to build absolute URLs."""
    body: bytes = b""
    """The body as it came, at most ``REQUEST_BODY_MAX_BYTES``."""
    port: int = 0
    """TCP port that the request came in by; 0 when unknown."""


@dataclass(frozen=True, slots=True)
class PortalReply:
    """What goes back: whole body in memory (portal pages are small)."""

    status: int = 200
    body: bytes = b""
    media_type: str = "text/html; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = field(default=())


def is_usable_host(host: str) -> bool:
    """Tell whether the Host header may be written into URLs of our pages."""
    return _HOST.fullmatch(host) is not None


def open_to_all(item_id: str) -> str | None:
    """Give the empty prefix: media need no ticket."""
    return ""


@dataclass(frozen=True, slots=True)
class PortalState:
    """What a dialect may read. ``rtsp_authority`` is ``host:port`` of the RTSP egress for this box."""

    view: CatalogView
    logins: Logins
    rtsp_authority: str
    now: datetime
    monotonic_s: float
    ticket: Callable[[str], str | None] = open_to_all
    """Gives what to put in front of an item's media path; None when as many watch as may."""
    channels: tuple[LinearChannel, ...] = ()
    """Linear channels, by number."""
    ticketed: bool = False
    """Media are refused without a ticket: links that live longer than a page go through ``/play``."""
    is_local: bool = True
    """The box is on the local segment; a login that protects nothing is spoken to no other (SEC-07)."""
    boxes: BoxLogins = field(default_factory=BoxLogins)
    """Boxes known by their MAC."""
    utc_offset: timedelta = timedelta(hours=8)
    """How far the wall clock of the boxes is ahead of UTC; old ones show times as they are told (D12)."""


@runtime_checkable
class Dialect(Protocol):
    """One box dialect. Its module has one constant ``DIALECT`` of this type."""

    @property
    def name(self) -> str:
        """Name, unique in the folder."""

    @property
    def prefixes(self) -> tuple[str, ...]:
        """URL path prefixes that this dialect answers, e.g. ``("/EDS/", "/EPG/")``."""

    def reply(self, request: PortalRequest, state: PortalState) -> PortalReply:
        """Answer one request; unknown paths get a 404 reply, never an exception."""
