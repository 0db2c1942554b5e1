"""What the JSON API tells of lessons and channels, as plain values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from domain.courseware import Column, Courseware, MediaFamily
from edge_server.catalog import CatalogView
from edge_server.linear import LinearChannel, Programme
from edge_server.portal import PortalState

RENDITION_FOR_NEW = ("R40", "R12")
_PLAY = "/play"


def before_media(state: PortalState) -> str:
    """Return what stands before media addresses: links that are good for as long as the catalogue."""
    return _PLAY if state.ticketed else ""


def moment(at: datetime) -> str:
    """Write a moment as RFC 3339, UTC, whole seconds."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def catalogue(view: CatalogView, before: str) -> list[dict[str, Any]]:
    """List columns with their lessons."""
    return [
        {**column(each), "items": [entry(i, before) for i in view.items_in(each.column_id)]} for each in view.columns
    ]


def column(of: Column) -> dict[str, Any]:
    """Describe a column."""
    return {"id": of.column_id, "title": of.title}


def entry(item: Courseware, before: str) -> dict[str, Any]:
    """Describe a lesson as the catalogue lists it: one address for each way to play."""
    told: dict[str, Any] = {
        "id": item.item_id,
        "title": item.title,
        "summary": item.summary,
        "class": item.item_class.value,
        "family": item.family.value,
        "duration_s": item.duration_s,
        "issued_at": item.issued_at,
        "poster": f"/posters/{item.item_id}.jpg" if item.poster is not None else None,
    }
    if item.family is MediaFamily.PICTURE_TEXT:
        return {**told, "page": f"/lessons/{item.item_id}/"}
    best = next((name for name in RENDITION_FOR_NEW if item.rendition(name) is not None), None)
    if best is None:
        return {**told, "play": {}}  # listed on every box, playable on none: better than no catalogue at all
    play = {
        "progressive": f"{before}/media/{item.item_id}/{best}.mp4",
        "hls_fmp4": f"{before}/hls/{item.item_id}/fmp4/master.m3u8",
        "hls_ts": f"{before}/hls/{item.item_id}/ts/master.m3u8",
        "dash": f"{before}/dash/{item.item_id}/manifest.mpd",
    }
    return {**told, "play": play, "subtitles": _subtitles(item)}


def lesson(item: Courseware, state: PortalState) -> dict[str, Any]:
    """Describe a lesson with everything there is to play it by."""
    before = before_media(state)
    told = {**entry(item, before), "column": item.column_id}
    if not told.get("play"):
        return told
    play = {
        **told["play"],
        "rtsp": f"rtsp://{state.rtsp_authority}/vod/{item.item_id}.mpg",
        "whep": f"{before}/whep/{item.item_id}",
    }
    renditions = [
        {
            "name": each.name,
            "duration_s": each.duration_s,
            "length_bytes": each.length_bytes,
            "width": each.display_width,
            "height": each.height,
            "frame_rate": each.frame_rate,
            "codecs": ",".join(codec for codec in (each.video_codec, each.audio_codec) if codec),
            "peak_bps": each.peak_bps,
            "average_bps": each.average_bps,
            "progressive": f"{before}/media/{item.item_id}/{each.name}.mp4",
        }
        for each in item.renditions
    ]
    return {**told, "play": play, "renditions": renditions}


def channel(of: LinearChannel, state: PortalState) -> dict[str, Any]:
    """Describe a linear channel, with what is on now."""
    before = before_media(state)
    play = {
        "hls": f"{before}/live/{of.channel_id}/index.m3u8",
        "ts": f"{before}/live/{of.channel_id}.ts",
    }
    if of.by_rtsp:
        play["rtsp"] = f"rtsp://{state.rtsp_authority}/live/{of.channel_id}.mpg"
    if of.multicast:
        play["multicast"] = f"{'rtp' if of.rtp else 'udp'}://@{of.multicast}"
    running, _ = of.at(state.now)
    return {
        "id": of.channel_id,
        "number": of.number,
        "name": of.name,
        "time_shift_s": of.time_shift_s,
        "play": play,
        "now": programme(running),
    }


def programme(of: Programme) -> dict[str, Any]:
    """Describe a programme."""
    return {"item": of.item_id, "title": of.title, "start": moment(of.start), "stop": moment(of.stop)}


def _subtitles(item: Courseware) -> list[dict[str, str]]:
    return [
        {"language": each.language, "label": each.label, "url": f"/subtitles/{item.item_id}/{each.language}.vtt"}
        for each in item.subtitles
    ]
