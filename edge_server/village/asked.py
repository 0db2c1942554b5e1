"""What the pages of a village are asked: who asks from which station, and whether a form is one of ours. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

STATION_COOKIE = "station"
STATION_KEPT_S = 400 * 24 * 3600
STATION_MAX_LETTERS = 32
HEADS_MAX_COUNT = 9999
_STATION = re.compile(r"[A-Za-z0-9_.-]{1,32}\Z")


def station_in(cookies: Mapping[str, str]) -> str:
    """Return the station that was chosen on this box or phone; empty before."""
    return checked_station(cookies.get(STATION_COOKIE, ""))


def checked_station(text: str) -> str:
    """Return a station's code as it may stand in a cookie; empty when it is none."""
    return text.strip() if _STATION.match(text.strip()) else ""


def is_own_form(headers: Mapping[str, str], host: str) -> bool:
    """Tell whether a form comes from a page of this edge: a page of others must not end a session here (CSRF).

    Old browsers say nothing of it, or only ``Referer``; who says where the form comes from must say: from here.
    """
    if headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    for name in ("Origin", "Referer"):
        said = headers.get(name, "")
        if said:
            return urlsplit(said).netloc == host
    return True


def count_in(text: str) -> int | None:
    """Read a head-count; None when it is none."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else None
