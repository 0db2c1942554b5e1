"""A catalogue and two linear channels for tests of portals of generic players, and a reader of playlists."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from domain.courseware import Catalogue, Column, Courseware, ItemClass, MediaFamily
from edge_server.catalog import CatalogView
from edge_server.linear import LinearChannel, Slot
from edge_server.portal import Dialect, PortalReply, PortalRequest, PortalState
from edge_server.sessions.logins import Logins
from tests.web_lab import ISSUED, PAGE, VIDEO, asset, rendition, view_of

NOW = datetime(2026, 11, 25, 4, 0, 30, tzinfo=UTC)
NASTY = '第一课 "安全, 用电" <b>&\n急救'
R40, R12 = (rendition(name, b"x", (1280, 720), ("avc1.640028", "mp4a.40.2")) for name in ("R40", "R12"))
CHANNELS = (
    LinearChannel(
        "900001", 1, "教育频道", datetime(2026, 1, 1, tzinfo=UTC), (Slot(VIDEO, NASTY, 245.5), Slot("3", "课", 3723.0))
    ),
    LinearChannel(
        "900002",
        2,
        "农技, 频道",
        datetime(2026, 1, 1, tzinfo=UTC),
        (Slot("3", "课", 3723.0),),
        multicast="239.1.1.2:5000",
        rtp=True,
        time_shift_s=3 * 86400,
    ),
)


def lesson(item_id: str, column_id: str, title: str = "课", **fields: object) -> Courseware:
    base = {"item_class": ItemClass.EDUCATION, "family": MediaFamily.VIDEO, "issued_at": ISSUED, "duration_s": 245.4}
    return Courseware(item_id=item_id, column_id=column_id, title=title, **{**base, **fields})  # type: ignore[arg-type]


CATALOGUE = Catalogue(
    columns=(Column(column_id="2", title="乙; <b>", order=2), Column(column_id="1", title="甲", order=1)),
    courseware=(
        lesson(VIDEO, "1", NASTY, renditions=(R12, R40), poster=asset("p.jpg", b"p", "image/jpeg"), summary="<i>简介"),
        lesson(
            PAGE, "2", "图文", family=MediaFamily.PICTURE_TEXT, duration_s=0.0, page=asset("i.html", b"h", "text/html")
        ),
        lesson("3", "2", renditions=(R12,), duration_s=3723.0),
        lesson("4", "2", "坏"),
    ),
)


def view(folder: Path) -> CatalogView:
    return view_of(folder, CATALOGUE, {})


def ask(
    dialect: Dialect,
    of: CatalogView,
    path: str,
    query: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    host: str = "edge:80",
    remote: str = "127.0.0.1",
    logins: Logins | None = None,
    **more: Any,
) -> PortalReply:
    request = PortalRequest(method, path, query or {}, form or {}, headers or {}, {}, remote, host)
    known = {"channels": CHANNELS, "now": NOW, "monotonic_s": 5.0, "utc_offset": timedelta(hours=8), **more}
    return dialect.reply(
        request, PortalState(of, Logins(lambda _: None) if logins is None else logins, "edge:554", **known)
    )


def read_m3u(text: str) -> list[dict[str, str]]:
    """Read a playlist as players do: attributes by quotes, the name from the last comma on, the address below."""
    first, *lines = text.splitlines()
    assert first.startswith("#EXTM3U")
    entries: list[dict[str, str]] = []
    pending: dict[str, str] | None = None
    for line in lines:
        if line.startswith("#EXTINF:"):
            head, _, name = line.rpartition(",")
            pending = dict(re.findall(r'([A-Za-z-]+)="([^"]*)"', head))
            pending |= {"name": name, "length": head.removeprefix("#EXTINF:").split(" ")[0]}
        elif line and not line.startswith("#"):
            assert pending is not None, line
            entries.append({**pending, "url": line})
            pending = None
    assert pending is None
    return entries
