"""HLS (RFC 8216) with fMP4 and with transport stream segments: every segment is a byte range of one derived file.

A segment's URL carries the hash of its rendition and the version of the packager, so it never changes its meaning
and may be kept for ever; playlists are asked for again each time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from domain.courseware import Courseware, Rendition
from edge_server.catalog import CatalogView
from edge_server.egress import (
    IMMUTABLE,
    REVALIDATE,
    EgressContext,
    Slice,
    etag_of,
    moment,
    not_found,
    request_fields,
    send,
)
from edge_server.packager import PACKAGER_VERSION, NotPackaged, Packaged
from media.fmp4 import Fmp4Segment
from media.ts_index import TsSegment
from wire.http_range import evaluate
from wire.m3u8 import MasterPlaylist, MediaPlaylist, Segment, Variant, write_master, write_media

PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
LADDER = ("R40", "R12")
"""Best first: many old players begin with the first variant that they can play."""
_ANYWHERE = (("Access-Control-Allow-Origin", "*"),)
Segments = Sequence[TsSegment | Fmp4Segment]


@dataclass(frozen=True, slots=True)
class _Flavour:
    """One segment format."""

    suffix: str
    media_type: str
    playlist_version: int


FLAVOURS = {"ts": _Flavour("ts", "video/mp2t", 3), "fmp4": _Flavour("m4s", "video/mp4", 7)}


@dataclass(frozen=True, slots=True)
class _Found:
    """One packaged rendition of an item."""

    item: Courseware
    rendition: Rendition
    sha256: str
    packaged: Packaged


def routes(ctx: EgressContext) -> list[web.RouteDef]:
    """Offer the routes of this egress."""
    egress = _Hls(ctx)
    base = "/hls/{item_id}/{flavour:ts|fmp4}"
    return [
        web.get(base + "/master.m3u8", egress.master),
        web.get(base + "/{rendition}/index.m3u8", egress.media),
        web.get(base + "/{rendition}/{version}/{name}", egress.piece),
    ]


def version_of(sha256: str) -> str:
    """Return what a segment's URL carries: 8 hexadecimal digits of the rendition's hash, and the packager's version."""
    return f"{sha256[:8]}-{PACKAGER_VERSION}"


def segments_of(packaged: Packaged, flavour: str) -> Segments:
    """Return the segments of one flavour."""
    return packaged.ts_index.segments if flavour == "ts" else packaged.fmp4_index.segments


def variant(rendition: Rendition, segments: Segments) -> Variant:
    """Describe one rendition; rates are those of the segments as they are sent, containers included."""
    codecs = (rendition.video_codec, rendition.audio_codec)
    return Variant(
        uri=f"{rendition.name}/index.m3u8",
        bandwidth_bps=peak_bps(segments),
        average_bandwidth_bps=math.ceil(8 * _rate(segments)),
        codecs=",".join(codec for codec in codecs if codec),
        resolution=(rendition.display_width, rendition.height),
        frame_rate=rendition.frame_rate,
    )


def peak_bps(segments: Segments) -> int:
    """Return the peak segment bit rate (RFC 8216 §4.1).

    The largest rate of any run of segments that lasts between 0.5 and 1.5 target durations; the rate of the whole
    when no run does.
    """
    target_s = target_duration_s(segments)
    peak = _rate(segments)
    for first in range(len(segments)):
        length_s, length_bytes = 0.0, 0
        for each in segments[first:]:
            length_s, length_bytes = length_s + each.duration_s, length_bytes + each.length_bytes
            if length_s > 1.5 * target_s:
                break
            if length_s >= 0.5 * target_s:
                peak = max(peak, length_bytes / length_s)
    return math.ceil(8 * peak)


def _rate(segments: Segments) -> float:
    """Return the mean rate in bytes a second; no lesson counts as shorter than one picture."""
    return sum(each.length_bytes for each in segments) / max(0.04, sum(each.duration_s for each in segments))


def target_duration_s(segments: Segments) -> int:
    """Return the target duration: the longest segment to the nearest second (RFC 8216 §4.3.3.1), at least 1."""
    return max(1, math.floor(max(each.duration_s for each in segments) + 0.5))


def media_playlist(segments: Segments, flavour: str, version: str) -> MediaPlaylist:
    """List the segments of one rendition; names carry the version, so that they never change their meaning."""
    shape = FLAVOURS[flavour]
    uris = (f"{version}/seg-{number:05d}.{shape.suffix}" for number in range(1, len(segments) + 1))
    return MediaPlaylist(
        segments=tuple(Segment(uri, each.duration_s) for uri, each in zip(uris, segments, strict=True)),
        target_duration_s=target_duration_s(segments),
        version=shape.playlist_version,
        map_uri=f"{version}/init.mp4" if flavour == "fmp4" else None,
    )


class _Hls:
    """Looks things up and sends slices."""

    def __init__(self, ctx: EgressContext) -> None:
        self._ctx = ctx

    async def master(self, request: web.Request) -> web.StreamResponse:
        view, flavour = self._ctx.view(), request.match_info["flavour"]
        found = [self._find(view, request.match_info["item_id"], name) for name in LADDER]
        variants = [variant(each.rendition, segments_of(each.packaged, flavour)) for each in found if each is not None]
        if not variants:
            raise not_found()
        text = write_master(MasterPlaylist(tuple(variants), version=FLAVOURS[flavour].playlist_version))
        return _playlist(request, text, view)

    async def media(self, request: web.Request) -> web.StreamResponse:
        view, flavour = self._ctx.view(), request.match_info["flavour"]
        found = self._asked(view, request)
        segments = segments_of(found.packaged, flavour)
        return _playlist(request, write_media(media_playlist(segments, flavour, version_of(found.sha256))), view)

    async def piece(self, request: web.Request) -> web.StreamResponse:
        flavour, found = request.match_info["flavour"], self._version(request)
        part = _piece_of(found.packaged, flavour, request.match_info["name"])
        if part is None:
            raise not_found()
        file, start, length = part
        piece = Slice(
            file=file,
            start=start,
            length_bytes=length,
            etag=etag_of(found.sha256, f"{PACKAGER_VERSION}-{flavour}-{start:x}"),
            modified=moment(found.item.issued_at),
            media_type=FLAVOURS[flavour].media_type,
            cache_control=IMMUTABLE,
            headers=_ANYWHERE,
        )
        return await send(request, piece)

    def _version(self, request: web.Request) -> _Found:
        """Find the version of a rendition that was asked for; one that was replaced plays on, a withdrawn item ends."""
        view, item_id = self._ctx.view(), request.match_info["item_id"]
        for each in (view, *view.earlier) if view.item(item_id) else ():
            found = self._find(each, item_id, request.match_info["rendition"])
            if found is not None and version_of(found.sha256) == request.match_info["version"]:
                return found
        raise not_found()

    def _asked(self, view: CatalogView, request: web.Request) -> _Found:
        found = self._find(view, request.match_info["item_id"], request.match_info["rendition"])
        if found is None:
            raise not_found()
        return found

    def _find(self, view: CatalogView, item_id: str, name: str) -> _Found | None:
        """Look a rendition up; None when it is unknown, withdrawn, or not packaged."""
        item = view.item(item_id)
        rendition = item.rendition(name) if item else None
        stored = view.file(rendition.path) if rendition else None
        if item is None or rendition is None or stored is None:
            return None
        try:
            return _Found(item, rendition, stored.sha256, self._ctx.shelf.packaged(stored))
        except NotPackaged:
            return None


def _playlist(request: web.Request, text: str, view: CatalogView) -> web.Response:
    """Answer with a playlist; its validator is made from its text."""
    body = text.encode()
    fields = request_fields(request)
    answer = evaluate(
        request.method,
        {name: fields[name] for name in ("If-Match", "If-None-Match") if name in fields},
        etag=etag_of(hashlib.sha256(body).hexdigest()),
        last_modified=view.active.issued,  # of no consequence: dates are not looked at
        length_bytes=len(body),
    )
    response = web.Response(status=answer.status, body=body if answer.status == 200 else None)
    response.headers["ETag"] = dict(answer.headers)["ETag"]
    response.headers["Cache-Control"] = REVALIDATE
    response.headers.update(_ANYWHERE)
    if answer.status == 200:
        response.headers["Content-Type"] = PLAYLIST_TYPE
    return response


def _piece_of(packaged: Packaged, flavour: str, name: str) -> tuple[Path, int, int] | None:
    """Find (file, offset, length) of ``init.mp4`` or ``seg-NNNNN.<suffix>``."""
    if flavour == "fmp4" and name == "init.mp4":
        return packaged.fmp4, 0, packaged.fmp4_index.init_length_bytes
    stem, _, suffix = name.partition(".")
    number = stem.removeprefix("seg-")
    if not stem.startswith("seg-") or suffix != FLAVOURS[flavour].suffix:
        return None
    if not number.isascii() or not number.isdigit() or len(number) != 5:
        return None
    segments = segments_of(packaged, flavour)
    if not 1 <= int(number) <= len(segments):
        return None
    segment = segments[int(number) - 1]
    return packaged.ts if flavour == "ts" else packaged.fmp4, segment.offset_bytes, segment.length_bytes
