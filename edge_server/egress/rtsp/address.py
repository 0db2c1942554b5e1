"""The URLs of this egress: ``rtsp://host:port/vod/{item_id}.mpg[?rendition=R40][/trackID=1]``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

DEFAULT_RENDITION = "R12"
CONTROL = "trackID=1"

_PATH = re.compile(r"/vod/([0-9]{1,12})\.mpg\Z")
_RENDITION = re.compile(r"[A-Za-z0-9]{1,8}\Z")


@dataclass(frozen=True, slots=True)
class Address:
    """What a request URL names."""

    base: str
    """The URL without the track, as the client wrote it."""
    item_id: str
    rendition: str


def parse_address(url: str) -> Address | None:
    """Read the URL; None when it names nothing here.

    Clients append ``/trackID=1`` to the whole URL, even behind a query, and some keep a trailing slash.
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
    rendition = query.get("rendition", [DEFAULT_RENDITION])[0].rstrip("/")
    if not _RENDITION.match(rendition):
        return None
    return Address(base, match[1], rendition)
