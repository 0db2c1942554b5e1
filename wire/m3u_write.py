"""Writer of extended M3U playlists with the attributes of IPTV players (``tvg-…``, ``group-title``, ``catchup…``).

Source: the README of Kodi's pvr.iptvsimple, "Supported M3U elements" (the format has no standard); stb_protocols §6.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

MEDIA_TYPE = "audio/x-mpegurl; charset=utf-8"
# Players take a value from quote to quote and the name from the last comma on, and none unescapes anything; the twins
# look right on screen.
_TWINS = str.maketrans({'"': "＂", ",": "，"})
_GROUP_TWINS = str.maketrans({";": "；"})
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One channel or lesson."""

    name: str
    url: str
    """Absolute; written as it is."""
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """In their order; ``tvg-name`` and ``group-title`` are made from the other fields. Empty values are left out."""
    group: str = ""
    length_s: int = -1
    """Whole seconds; -1 for what has no end."""


def plain_text(text: str) -> str:
    """Make free text safe on a line of the playlist: quotes and commas become full-width, breaks become a blank."""
    return _BREAKS.sub(" ", _SURROGATES.sub("�", text)).strip().translate(_TWINS)


def write_playlist(entries: Iterable[Entry], *, guide_url: str = "", remarks: Iterable[str] = ()) -> str:
    """Write a playlist; ``guide_url`` is where its XMLTV guide is, under both names that players look for.

    Raises:
        ValueError: an address cannot stand on a line.
    """
    head = "#EXTM3U" + (f' x-tvg-url="{_value(guide_url)}" url-tvg="{_value(guide_url)}"' if guide_url else "")
    lines = [head, *(f"# {plain_text(each)}" for each in remarks)]
    for each in entries:
        if not each.url or _BREAKS.search(each.url) or each.url.startswith("#"):
            raise ValueError(f"an address that a playlist cannot hold: {each.url!r}")
        name = plain_text(each.name) or "-"
        group = plain_text(each.group).translate(_GROUP_TWINS)
        told = {**each.attributes, "tvg-name": name, "group-title": group}
        if each.length_s >= 0:  # Kodi puts what has an end among its recordings, by folder
            told |= {"media": "true", "media-dir": group.replace("/", "／")}
        attributes = "".join(f' {key}="{_value(value)}"' for key, value in told.items() if value)
        lines.append(f"#EXTINF:{each.length_s}{attributes},{name}")
        if each.length_s >= 0:
            lines.append("#EXT-X-PLAYLIST-TYPE:VOD")
        lines.append(each.url)
    return "\n".join(lines) + "\n"


def _value(text: str) -> str:
    """Write a value between quotes; commas may stay, since addresses need theirs."""
    return _BREAKS.sub(" ", _SURROGATES.sub("�", text)).replace('"', "＂")
