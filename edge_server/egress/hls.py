"""HLS (RFC 8216) with fMP4 and with transport stream segments: every segment is a byte range of one derived file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from domain.courseware import Courseware, Rendition
from edge_server.egress import (
    IMMUTABLE,
    REVALIDATE,
    EgressContext,
    Slice,
    etag_of,
    moment,
    not_found,
    send,
)
from edge_server.packager import NotPackaged, Packaged
from media.fmp4 import Fmp4Segment
from media.ts_index import TsSegment
from wire.http_range import evaluate
from wire.m3u8 import MasterPlaylist, MediaPlaylist, Segment, Variant, write_master, write_media

PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
LADDER = ("R40", "R12")
"""Best first: many old players begin with the first variant that they can play."""
_ANYWHERE = (("Access-Control-Allow-Origin", "*"),)
_VERSION_CHARS = 8


@dataclass(frozen=True, slots=True)
class _Flavour:
    """One segment format."""

    suffix: str
    media_type: str
    playlist_version: int


FLAVOURS = {"ts": _Flavour("ts", "video/mp2t", 3), "fmp4": _Flavour("m4s", "video/mp4", 7)}


def routes(ctx: EgressContext) -> list[web.RouteDef]:
    """Offer the routes of this egress."""
    egress = _Hls(ctx)
    base = "/hls/{item_id}/{flavour:ts|fmp4}"
    return [
        web.get(base + "/master.m3u8", egress.master),
        web.get(base + "/{rendition}/index.m3u8", egress.media),
        web.get(base + "/{rendition}/{version}/{name}", egress.piece),
    ]


def master_playlist(item: Courseware) -> MasterPlaylist:
    """List the renditions of an item, best first."""
    renditions = [found for name in LADDER if (found := item.rendition(name)) is not None]
    return MasterPlaylist(tuple(_variant(rendition) for rendition in renditions), version=4)


def _variant(rendition: Rendition) -> Variant:
    codecs = [rendition.video_codec, rendition.audio_codec]
    return Variant(
        uri=f"{rendition.name}/index.m3u8",
        bandwidth_bps=rendition.peak_bps,
        average_bandwidth_bps=rendition.average_bps,
        codecs=",".join(codec for codec in codecs if codec),
        resolution=(rendition.display_width, rendition.height),
        frame_rate=rendition.frame_rate,
    )


def media_playlist(segments: Sequence[TsSegment | Fmp4Segment], flavour: str, version: str) -> MediaPlaylist:
    """List the segments of one rendition; names carry the version, so that they never change their meaning."""
    shape = FLAVOURS[flavour]
    uris = (f"{version}/seg-{number:05d}.{shape.suffix}" for number in range(1, len(segments) + 1))
    return MediaPlaylist(
        segments=tuple(Segment(uri, each.duration_s) for uri, each in zip(uris, segments, strict=True)),
        target_duration_s=max(1, math.ceil(max((each.duration_s for each in segments), default=1.0))),
        version=shape.playlist_version,
        map_uri=f"{version}/init.mp4" if flavour == "fmp4" else None,
    )


class _Hls:
    """Looks things up and sends slices."""

    def __init__(self, ctx: EgressContext) -> None:
        self._ctx = ctx

    async def master(self, request: web.Request) -> web.StreamResponse:
        view = self._ctx.view()
        item = view.item(request.match_info["item_id"])
        if item is None or not item.renditions:
            raise not_found()
        return self._playlist(request, write_master(master_playlist(item)), item, etag_of(f"{view.seq:032d}", "m"))

    async def media(self, request: web.Request) -> web.StreamResponse:
        item, sha256, packaged = self._find(request)
        flavour = request.match_info["flavour"]
        segments = packaged.ts_index.segments if flavour == "ts" else packaged.fmp4_index.segments
        text = write_media(media_playlist(segments, flavour, sha256[:_VERSION_CHARS]))
        return self._playlist(request, text, item, etag_of(sha256, flavour))

    async def piece(self, request: web.Request) -> web.StreamResponse:
        item, sha256, packaged = self._find(request)
        flavour, name = request.match_info["flavour"], request.match_info["name"]
        found = _piece_of(packaged, flavour, name)
        if request.match_info["version"] != sha256[:_VERSION_CHARS] or found is None:
            raise not_found()
        file, start, length = found
        piece = Slice(
            file=file,
            start=start,
            length_bytes=length,
            etag=etag_of(sha256, f"{flavour}-{start:x}"),
            modified=moment(item.issued_at),
            media_type=FLAVOURS[flavour].media_type,
            cache_control=IMMUTABLE,
            headers=_ANYWHERE,
        )
        return await send(request, piece)

    def _find(self, request: web.Request) -> tuple[Courseware, str, Packaged]:
        view = self._ctx.view()
        item = view.item(request.match_info["item_id"])
        rendition = item.rendition(request.match_info["rendition"]) if item else None
        stored = view.file(rendition.path) if rendition else None
        if item is None or stored is None:
            raise not_found()
        try:
            return item, stored.sha256, self._ctx.shelf.packaged(stored)
        except NotPackaged as error:
            raise not_found() from error

    def _playlist(self, request: web.Request, text: str, item: Courseware, etag: str) -> web.Response:
        body = text.encode()
        answer = evaluate(
            request.method,
            {name: request.headers[name] for name in ("If-None-Match", "If-Match") if name in request.headers},
            etag=etag,
            last_modified=moment(item.issued_at),
            length_bytes=len(body),
        )
        sent = body if answer.status == 200 else b""
        response = web.Response(status=answer.status, body=sent)
        response.headers["Content-Type"] = PLAYLIST_TYPE
        response.headers["ETag"] = etag
        response.headers["Cache-Control"] = REVALIDATE
        response.headers.update(_ANYWHERE)
        return response


def _piece_of(packaged: Packaged, flavour: str, name: str) -> tuple[Path, int, int] | None:
    """Find (file, offset, length) of ``init.mp4`` or ``seg-NNNNN.<suffix>``."""
    if flavour == "fmp4" and name == "init.mp4":
        return packaged.fmp4, 0, packaged.fmp4_index.init_length_bytes
    stem, _, suffix = name.partition(".")
    number = stem.removeprefix("seg-")
    if suffix != FLAVOURS[flavour].suffix or not number.isascii() or not number.isdigit() or len(number) != 5:
        return None
    file = packaged.ts if flavour == "ts" else packaged.fmp4
    segments = packaged.ts_index.segments if flavour == "ts" else packaged.fmp4_index.segments
    if not 1 <= int(number) <= len(segments):
        return None
    segment = segments[int(number) - 1]
    return file, segment.offset_bytes, segment.length_bytes
