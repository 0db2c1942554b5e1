"""One box dialect a module. A dialect is a pure function of (request, catalogue view, login state, now)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from edge_server.catalog import CatalogView
from edge_server.linear import LinearChannel
from edge_server.sessions.box_logins import BoxLogins
from edge_server.sessions.logins import Logins
from edge_server.sessions.presence import Presence
from wire.http_range import evaluate

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
    scheme: str = "http"
    """Or ``https``."""

    @property
    def base(self) -> str:
        """What absolute URLs of this edge begin with, no slash at the end."""
        return f"{self.scheme}://{self.host}"


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
    presence: Presence = field(default_factory=Presence)
    """Boxes heard from."""
    intolerant: frozenset[str] = frozenset()
    """Disagreements that are not lived with, D5 to D20 (docs/protocols/disagreements.md); for laboratories."""
    time_server: str = ""
    """``host`` or ``host:port`` that boxes may ask for the time; empty: none."""
    api_origin: str = ""
    """Origin whose pages may read the JSON API in a browser, ``*`` for all; empty: none."""


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


def unless_known(
    request: PortalRequest,
    state: PortalState,
    body: bytes | Callable[[], bytes],
    media_type: str,
    headers: tuple[tuple[str, str], ...] = (),
    *,
    mark: str = "",
) -> PortalReply:
    """Answer with the body, or 304 when the asker has it already (RFC 9110 §13).

    ``mark`` names the body, when it is known without making it: then asking again costs nothing. By default it is the
    body's hash.
    """
    if not mark:
        body = body if isinstance(body, bytes) else body()
        mark = hashlib.sha256(body).hexdigest()[:32]
    etag = f'"{mark}"'
    fields = (("ETag", etag), ("Cache-Control", "no-cache"), *headers)
    asked = {name: request.headers[name] for name in ("If-Match", "If-None-Match") if name in request.headers}
    status = evaluate(request.method, asked, etag=etag, last_modified=state.now, length_bytes=0).status
    if status != 200:
        return PortalReply(status, b"", media_type, fields)
    return PortalReply(200, body if isinstance(body, bytes) else body(), media_type, fields)
