"""Genres, channels and lessons as a Stalker box lists them; the same lessons, in the same order, as every other box.

Where the edge has no linear channels each lesson is a channel too, for boxes that know TV lists only (docs/adr/0003).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from domain.courseware import Courseware, MediaFamily
from edge_server.portal import PortalState

ALL = "*"
LINEAR_GENRE = "1"
_LINEAR_TITLE, _ALL_TITLE = "教育频道 / Channels", "全部 / All"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the TV list."""

    id: str
    number: int
    """On the remote control."""
    name: str
    genre: str
    path: str
    """Where the edge plays it; ``/play/…`` sends on with a fresh ticket."""
    logo: str = ""
    """Path of a picture."""


def genre_of(column_id: str) -> str:
    """Return the genre of a column: seven digits, unlike 10, which clients ask for as the adult genre."""
    return f"1{column_id:0>6}"


def columns(state: PortalState) -> dict[str, str]:
    """Titles by column, in order. One that lessons name but the catalogue does not list is shown by its id."""
    titles = {each.column_id: each.title for each in state.view.columns}
    for item in state.view.catalogue.courseware:
        titles.setdefault(item.column_id, item.column_id)
    return titles


def genres(state: PortalState) -> list[dict[str, object]]:
    """List the groups of the TV list."""
    found = {ALL: _ALL_TITLE}
    if state.channels:
        found[LINEAR_GENRE] = _LINEAR_TITLE
    else:
        found |= {genre_of(column_id): title for column_id, title in columns(state).items()}
    return _groups(found)


def categories(state: PortalState) -> list[dict[str, object]]:
    """List the columns, as categories of lessons."""
    return _groups({ALL: _ALL_TITLE, **columns(state)})


def _groups(titles: dict[str, str]) -> list[dict[str, object]]:
    return [{"id": key, "title": title, "alias": key, "censored": 0} for key, title in titles.items()]


def lesson_path(item: Courseware) -> str:
    """Return where a lesson plays, or its page; empty when there is nothing to play."""
    if item.family is MediaFamily.PICTURE_TEXT:
        return f"/lessons/{item.item_id}/"
    return f"/play/hls/{item.item_id}/ts/master.m3u8" if item.renditions else ""


def channel_path(channel_id: str) -> str:
    """Return where a linear channel plays."""
    return f"/play/live/{channel_id}/index.m3u8"


def lines(state: PortalState) -> Sequence[Line]:
    """List linear channels, or lessons where there are none."""
    if state.channels:
        return [
            Line(each.channel_id, each.number, each.name, LINEAR_GENRE, channel_path(each.channel_id))
            for each in state.channels
        ]
    return [
        Line(item.item_id, place, item.title, genre_of(item.column_id), lesson_path(item), poster(item))
        for place, item in enumerate(state.view.catalogue.courseware, start=1)
    ]


def poster(item: Courseware) -> str:
    """Return the path of a lesson's picture; empty without one."""
    return f"/posters/{item.item_id}.jpg" if item.poster is not None else ""


def channel(line: Line, base: str) -> dict[str, object]:
    """Write one line of the TV list; clients take numbers as text (stb_protocols §5.2)."""
    cmd = command(base, line.path)
    return {
        "id": line.id,
        "name": line.name,
        "number": str(line.number),
        "cmd": cmd,
        "cmds": [{"id": line.id, "ch_id": line.id, "url": cmd, "use_http_tmp_link": "1"}],
        "logo": f"{base}{line.logo}" if line.logo else "",
        "tv_genre_id": line.genre,
        "xmltv_id": line.id,
        "use_http_tmp_link": "1",
        "use_load_balancing": "0",
        "censored": 0,
        "status": 1,
        "hd": 0,
        "fav": 0,
        "archive": 0,
        "lock": 0,
    }


def video(item: Courseware, base: str) -> dict[str, object]:
    """Write one lesson; ``time`` is in minutes, rounded up."""
    picture = f"{base}{poster(item)}" if item.poster is not None else ""
    return {
        "id": item.item_id,
        "name": item.title,
        "o_name": item.title,
        "description": item.summary,
        "category_id": item.column_id,
        "cmd": command(base, lesson_path(item)),
        "time": str(ceil(item.duration_s / 60)),
        "duration": round(item.duration_s),
        "added": item.issued_at.replace("T", " ").removesuffix("Z"),
        "year": item.issued_at[:4],
        "screenshot_uri": picture,
        "pic": picture,
        "genres_str": "",
        "is_series": 0,
        "series": [],
        "censored": 0,
        "hd": 0,
        "fav": 0,
        "lock": 0,
    }


def command(base: str, path: str) -> str:
    """Write a ``cmd``: a word for the box's player, then the URL (``ffmpeg`` is the one that all clients cut off)."""
    return f"ffmpeg {base}{path}" if path else ""
