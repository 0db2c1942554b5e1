"""The catalogue in the shapes of Xtream clients (stb_protocols §6.2): which values are strings is what they expect."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from domain.courseware import Courseware, MediaFamily
from edge_server.linear import LinearChannel, Programme
from edge_server.linear.guide import guide_id
from edge_server.portal import PortalRequest, PortalState

LIVE_CATEGORY, SERIES_CATEGORY = "1000001", "1000002"
"""Not to be mistaken for a column, whose id has at most six digits: clients look a category up among all kinds."""
RENDITIONS = ("R40", "R12")
LocalTime = "%Y-%m-%d %H:%M:%S"
_DAY_S = 86400


def why_not(item: Courseware) -> str:
    """Say why such a player cannot show a lesson; empty when it can."""
    if item.family is MediaFamily.PICTURE_TEXT:
        return "no-browser"
    return "" if best_rendition(item) else "no-rendition"


def best_rendition(item: Courseware) -> str:
    """Return the name of the rendition to play; empty when there is none."""
    return next((name for name in RENDITIONS if item.rendition(name) is not None), "")


def lessons(state: PortalState, column_id: str = "") -> list[Courseware]:
    """List what can be played, in the order of the catalogue; of one column, or of all."""
    found = state.view.catalogue.courseware
    return [item for item in found if not why_not(item) and column_id in ("", item.column_id)]


def left_out(state: PortalState) -> list[dict[str, str]]:
    """List the other lessons with the reason."""
    return [{"id": i.item_id, "reason": reason} for i in state.view.catalogue.courseware if (reason := why_not(i))]


def columns(state: PortalState) -> dict[str, str]:
    """Titles by id, in the order in which boxes show them; a column that is not listed is shown by its id."""
    titles = {each.column_id: each.title for each in state.view.columns}
    for item in state.view.catalogue.courseware:
        titles.setdefault(item.column_id, item.column_id)
    return titles


def categories(named: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Write categories."""
    return [{"category_id": each, "category_name": name, "parent_id": 0} for each, name in named]


def live_streams(state: PortalState) -> list[dict[str, Any]]:
    """Write the linear channels."""
    return [
        {
            "num": each.number,
            "name": each.name,
            "stream_type": "live",
            "stream_id": int(each.channel_id),
            "stream_icon": None,
            "epg_channel_id": guide_id(each),
            "added": str(int(each.epoch.timestamp())),
            "is_adult": "0",
            "category_id": LIVE_CATEGORY,
            "custom_sid": "",
            "tv_archive": int(each.time_shift_s > 0),
            "direct_source": "",
            "tv_archive_duration": max(1, -(-int(each.time_shift_s) // _DAY_S)),
        }
        for each in state.channels
    ]


def vod_streams(state: PortalState, request: PortalRequest, column_id: str) -> list[dict[str, Any]]:
    """Write the lessons."""
    numbers = {item.item_id: number for number, item in enumerate(lessons(state), start=1)}
    return [
        {
            "num": numbers[item.item_id],
            "name": item.title,
            "stream_type": "movie",
            "stream_id": int(item.item_id),
            "stream_icon": poster(item, request),
            "rating": "0",
            "rating_5based": 0,
            "added": added(item),
            "is_adult": "0",
            "category_id": item.column_id,
            "container_extension": "mp4",
            "custom_sid": "",
            "direct_source": "",
        }
        for item in lessons(state, column_id)
    ]


def vod_info(item: Courseware, request: PortalRequest) -> dict[str, Any]:
    """Write one lesson with its length."""
    rendition = item.rendition(best_rendition(item))
    length_s = round(item.duration_s)
    picture = poster(item, request) or ""
    return {
        "info": {
            "name": item.title,
            "o_name": item.title,
            "plot": item.summary,
            "description": item.summary,
            "movie_image": picture,
            "cover_big": picture,
            "releasedate": item.issued_at[:10],
            "duration_secs": length_s,
            "duration": f"{length_s // 3600:02d}:{length_s // 60 % 60:02d}:{length_s % 60:02d}",
            "bitrate": rendition.average_bps // 1000 if rendition else 0,
            "video": {"width": rendition.display_width, "height": rendition.height} if rendition else {},
            "audio": {},
        },
        "movie_data": {
            "stream_id": int(item.item_id),
            "name": item.title,
            "added": added(item),
            "category_id": item.column_id,
            "container_extension": "mp4",
            "custom_sid": "",
            "direct_source": "",
        },
    }


def series(state: PortalState, request: PortalRequest) -> list[dict[str, Any]]:
    """Write each column that has lessons as a series."""
    found = []
    for number, (column_id, title) in enumerate(columns(state).items(), start=1):
        items = lessons(state, column_id)
        if items and column_id.isdecimal():
            found.append({"num": number, **_series(column_id, title, items, request)})
    return found


def series_info(state: PortalState, request: PortalRequest, column_id: str) -> dict[str, Any] | None:
    """Write the lessons of a column as the episodes of one season; None when there are none."""
    items, title = lessons(state, column_id) if column_id else [], columns(state).get(column_id, "")
    if not items:
        return None
    episodes = [
        {
            "id": item.item_id,
            "episode_num": number,
            "title": item.title,
            "container_extension": "mp4",
            "info": {
                "plot": item.summary,
                "duration_secs": round(item.duration_s),
                "movie_image": poster(item, request) or "",
            },
            "custom_sid": "",
            "added": added(item),
            "season": 1,
            "direct_source": "",
        }
        for number, item in enumerate(items, start=1)
    ]
    season = {"id": 1, "season_number": 1, "name": title, "episode_count": len(items), "overview": ""}
    return {"seasons": [season], "info": _series(column_id, title, items, request), "episodes": {"1": episodes}}


def _series(column_id: str, title: str, items: list[Courseware], request: PortalRequest) -> dict[str, Any]:
    return {
        "name": title,
        "series_id": int(column_id),
        "cover": next((url for item in items if (url := poster(item, request))), ""),
        "plot": "",
        "cast": "",
        "director": "",
        "genre": "",
        "last_modified": max(map(added, items), key=int),
        "rating": "0",
        "rating_5based": 0,
        "backdrop_path": [],
        "youtube_trailer": "",
        "episode_run_time": "0",
        "category_id": SERIES_CATEGORY,
    }


def programmes(
    channel: LinearChannel, found: Iterable[Programme], state: PortalState, *, archive: bool = False
) -> dict[str, Any]:
    """Write what is on; texts are Base64, times are local and Unix."""
    oldest = state.now - timedelta(seconds=channel.time_shift_s)
    listed = []
    for each in found:
        item = state.view.item(each.item_id)
        told: dict[str, Any] = {
            "id": f"{channel.channel_id}{int(each.start.timestamp())}",
            "epg_id": channel.channel_id,
            "channel_id": guide_id(channel),
            "title": _packed(each.title),
            "lang": "zh",
            "description": _packed(item.summary if item else ""),
            "start": local(each.start, state),
            "end": local(each.stop, state),
            "start_timestamp": str(int(each.start.timestamp())),
            "stop_timestamp": str(int(each.stop.timestamp())),
        }
        if archive:
            told["now_playing"] = int(each.start <= state.now < each.stop)
            told["has_archive"] = int(oldest <= each.start and each.stop <= state.now)
        listed.append(told)
    return {"epg_listings": listed}


def local(moment: datetime, state: PortalState) -> str:
    """Write a moment as local time."""
    return f"{moment + state.utc_offset:{LocalTime}}"


def poster(item: Courseware, request: PortalRequest) -> str | None:
    """Return the address of the poster."""
    return f"{request.base}/posters/{item.item_id}.jpg" if item.poster is not None else None


def added(item: Courseware) -> str:
    """Return when a lesson was issued as Unix seconds."""
    try:
        return str(int(datetime.fromisoformat(item.issued_at).timestamp()))
    except (ValueError, OverflowError):
        return "0"


def _packed(text: str) -> str:
    return b64encode(text.encode("utf-8", "replace")).decode()
