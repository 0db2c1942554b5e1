"""The URLs of this egress.

Lessons: ``rtsp://host:port/vod/{item_id}.mpg[?rendition=R40][/trackID=1]``, and for linear channels
``rtsp://host:port/live/{channel_id}.mpg[?playseek=A-B]``. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from wire.playseek import Playseek, PlayseekError, find_playseek

DEFAULT_RENDITION = "R12"
"""What every old box decodes (D24)."""
LARGE_RENDITION = "R40"
CONTROL = "trackID=1"

_PATH = re.compile(r"/(vod|live)/([0-9]{1,12})\.mpg\Z")
_RENDITION = re.compile(r"[A-Za-z0-9]{1,8}\Z")


@dataclass(frozen=True, slots=True)
class Air:
    """A linear channel, live or a span of the past."""

    span: Playseek | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """What a request URL names."""

    base: str
    """The URL without the track, as the client wrote it."""
    item_id: str
    rendition: str
    air: Air | None = None


def parse_address(url: str, *, intolerant: Collection[str] = ()) -> Address | None:
    """Read the URL; None when it names nothing here.

    Clients append ``/trackID=1`` to the whole URL, even behind a query, and some keep a trailing slash.

    ``intolerant`` names disagreements that are not lived with: D12 reads no time zone, D24 has one rendition for all.
    """
    base = url.rstrip("/").removesuffix("/" + CONTROL).rstrip("/")
    try:
        parts = urlsplit(base)
        query = parse_qs(parts.query, max_num_fields=16)
    except ValueError:
        return None
    match = _PATH.match(parts.path)
    if match is None or parts.scheme.lower() not in ("rtsp", "rtspt", "rtspu"):
        return None
    usual = LARGE_RENDITION if "D24" in intolerant else DEFAULT_RENDITION
    rendition = query.get("rendition", [usual])[0].rstrip("/")
    if not _RENDITION.match(rendition):
        return None
    if "D12" in intolerant:
        query.pop("zoneoffset", None)
    if match[1] == "vod":
        return Address(base, match[2], rendition)
    try:
        return Address(base, match[2], rendition, Air(find_playseek({name: each[0] for name, each in query.items()})))
    except PlayseekError:
        return None
