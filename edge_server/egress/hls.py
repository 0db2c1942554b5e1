"""HLS (RFC 8216) with fMP4 and with transport stream segments: look-ups from a path to bytes and ranges of files.

A segment of a transport stream is a range of the derived file; one of fMP4 is a head that was made when the lesson
arrived, and ranges of the MP4 itself. A segment's address carries the hash of its rendition and the version of the
packager, so it never changes its meaning and may be kept for ever; playlists are asked for again each time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

from domain.courseware import Subtitle
from edge_server.catalog import CatalogView
from edge_server.egress import (
    IMMUTABLE,
    REVALIDATE,
    EgressContext,
    FileRange,
    Find,
    Resource,
    etag_of,
    from_file,
    moment,
)
from edge_server.packager import PACKAGER_VERSION, Offered, Packaged, ladder, offered, offered_version
from edge_server.store import StoredFile
from media import DamagedIndex
from media.mp4.fmp4 import Form
from media.ts_index import TsKeyframe, TsSegment
from wire.m3u8 import MasterPlaylist, MediaPlaylist, Segment, Subtitles, Variant
from wire.m3u8_write import write_master, write_media

PREFIX, LIVE_PREFIX = "/hls/", "/live/"
PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
ANYWHERE = (("Access-Control-Allow-Origin", "*"),)
WORDS = "subtitles"
"""In place of a rendition; also the group in the master playlist."""
SEGMENT_PARTS_COUNT = 3
"""Of a segment's address behind its lesson: rendition, version, name."""
VTT_HEAD_MAX_BYTES = 1024
PICTURES_VERSION = 4
"""Of a playlist of I-frames, at least (§7)."""
_PTS_HZ = 90000

Span = tuple[float, int]
"""Of one segment: seconds, bytes."""


@dataclass(frozen=True, slots=True)
class _Flavour:
    """One segment format."""

    suffix: str
    media_type: str
    playlist_version: int


FLAVOURS = {"ts": _Flavour("ts", "video/mp2t", 3), "fmp4": _Flavour("m4s", "video/mp4", 7)}


def find(ctx: EgressContext) -> Find:
    """Offer playlists, init segments, segments and subtitles by path."""
    hls = _Hls(ctx)

    def look(path: str) -> Resource | None:
        if path.startswith(LIVE_PREFIX):  # the segments of a linear channel are its lessons' own
            _, item_id, *rest = [*path[len(LIVE_PREFIX) :].split("/"), ""]
            return hls.look(item_id, "ts", rest[:-1]) if len(rest) == SEGMENT_PARTS_COUNT + 1 else None
        if not path.startswith(PREFIX):
            return None
        item_id, *rest = path[len(PREFIX) :].split("/")
        return hls.look(item_id, rest[0], rest[1:]) if rest and rest[0] in FLAVOURS else None

    return look


class _Hls:
    """Looks things up."""

    def __init__(self, ctx: EgressContext) -> None:
        self._ctx = ctx
        self._since = ctx.clock.utc()

    def look(self, item_id: str, flavour: str, rest: list[str]) -> Resource | None:
        view = self._ctx.view()
        match rest:
            case ["master.m3u8"]:
                return self._master(view, item_id, flavour)
            case [name, "index.m3u8"] if found := offered(view, self._ctx.shelf, item_id, name):
                playlist = media_playlist(found.packaged, flavour, found.version)
                return self._text(view, write_media(playlist), PLAYLIST_TYPE)
            case [name, "pictures.m3u8"] if found := offered(view, self._ctx.shelf, item_id, name):
                playlist = pictures_playlist(found.packaged, flavour, found.version)
                return self._text(view, write_media(playlist), PLAYLIST_TYPE)
            case [w, language, name] if w == WORDS:
                return self._words(view, item_id, flavour, (language, name))
            case [name, version, piece] if found := offered_version(view, self._ctx.shelf, item_id, name, version):
                return piece_of(found, flavour, piece)
        return None

    def _master(self, view: CatalogView, item_id: str, flavour: str) -> Resource | None:
        found = ladder(view, self._ctx.shelf, item_id)
        if not found:
            return None
        subtitles = tuple(map(_subtitles, found[0].item.subtitles))
        variants = [variant(each, spans_of(each.packaged, flavour)) for each in found]
        playlist = MasterPlaylist(
            tuple(replace(each, subtitles=WORDS if subtitles else None) for each in variants),
            version=FLAVOURS[flavour].playlist_version,
            independent=all(independent(each.packaged, flavour) for each in found),
            pictures=tuple(_pictures(each, flavour) for each in found),
            subtitles=subtitles,
        )
        return self._text(view, write_master(playlist), PLAYLIST_TYPE)

    def _words(self, view: CatalogView, item_id: str, flavour: str, asked: tuple[str, str]) -> Resource | None:
        """Find subtitles: a playlist of one segment, and the text with the time at which the lesson begins in it."""
        language, name = asked
        item = view.item(item_id)
        subtitle = item.subtitle(language) if item else None
        stored = view.file(subtitle.path) if subtitle else None
        found = ladder(view, self._ctx.shelf, item_id)
        if item is None or subtitle is None or stored is None or not found:
            return None
        file = f"{subtitle.sha256[:8]}-{PACKAGER_VERSION}.vtt"
        if name == "index.m3u8":
            length_s = found[0].packaged.fmp4_index.duration_s
            whole = MediaPlaylist((Segment(file, length_s),), max(1, math.ceil(length_s)), version=7)
            return self._text(view, write_media(whole), PLAYLIST_TYPE)
        zero = zero_90khz(found[0].packaged, flavour)
        return _text_track(stored, zero, moment(item.issued_at)) if name == file else None

    def _text(self, view: CatalogView, text: str, media_type: str) -> Resource:
        """Send a text; its validator is made from it, and it is no older than the snapshot or this process."""
        body = text.encode()
        return Resource(
            parts=(body,),
            length_bytes=len(body),
            etag=etag_of(hashlib.sha256(body).hexdigest()),
            modified=max(view.active.issued, self._since),
            media_type=media_type,
            cache_control=REVALIDATE,
            headers=ANYWHERE,
        )


def spans_of(packaged: Packaged, flavour: str) -> list[Span]:
    """Return seconds and bytes of the segments of one flavour."""
    if flavour == "ts":
        return [(each.duration_s, each.length_bytes) for each in packaged.ts_index.segments]
    return _spans(packaged.fmp4_index.muxed)


def pictures_of(packaged: Packaged, flavour: str) -> list[Span]:
    """Return seconds and bytes of the pictures for fast winding: each is shown until the next."""
    if flavour == "fmp4":
        return _spans(packaged.fmp4_index.pictures)
    index = packaged.ts_index
    times = [*(each.time_s for each in index.keyframes), index.duration_s]
    lasting = [max(0.0, until - since) for since, until in pairwise(times)]
    return list(zip(lasting, (each.length_bytes for each in index.keyframes), strict=True))


def zero_90khz(packaged: Packaged, flavour: str) -> int:
    """Return the presentation time inside the media at which the lesson begins, modulo 2^33."""
    if flavour == "ts":
        return packaged.ts_index.zero_90khz
    form = packaged.fmp4_index.muxed
    return round(form.zero * _PTS_HZ / form.timescale)


def _spans(form: Form) -> list[Span]:
    return list(zip(form.durations_s, form.lengths_bytes, strict=True))


def independent(packaged: Packaged, flavour: str) -> bool:
    """Tell whether every segment can be decoded without the one before it."""
    return flavour == "ts" or packaged.fmp4_index.independent


def variant(found: Offered, spans: Sequence[Span]) -> Variant:
    """Describe one rendition; rates are those of the segments as they are sent, containers included."""
    rendition = found.rendition
    codecs = (rendition.video_codec, rendition.audio_codec)
    return Variant(
        uri=f"{rendition.name}/index.m3u8",
        bandwidth_bps=peak_bps(spans),
        average_bandwidth_bps=math.ceil(8 * _rate(spans)),
        codecs=",".join(codec for codec in codecs if codec),
        resolution=(rendition.display_width, rendition.height),
        frame_rate=rendition.frame_rate,
    )


def _pictures(found: Offered, flavour: str) -> Variant:
    spans = pictures_of(found.packaged, flavour)
    return Variant(
        uri=f"{found.rendition.name}/pictures.m3u8",
        bandwidth_bps=math.ceil(max(8 * length / max(0.04, duration_s) for duration_s, length in spans)),
        codecs=found.rendition.video_codec,
        resolution=(found.rendition.display_width, found.rendition.height),
    )


def _subtitles(subtitle: Subtitle) -> Subtitles:
    language = None if subtitle.language == "und" else subtitle.language
    return Subtitles(f"{WORDS}/{subtitle.language}/index.m3u8", WORDS, subtitle.label, language)


def peak_bps(spans: Sequence[Span]) -> int:
    """Return the peak segment bit rate (RFC 8216 §4.1).

    The largest rate of any run of segments that lasts between 0.5 and 1.5 target durations; the rate of the whole
    when no run does.
    """
    target_s = target_duration_s(spans)
    peak = _rate(spans)
    for first in range(len(spans)):
        length_s, length_bytes = 0.0, 0
        for duration_s, size_bytes in spans[first:]:
            length_s, length_bytes = length_s + duration_s, length_bytes + size_bytes
            if length_s > 1.5 * target_s:
                break
            if length_s >= 0.5 * target_s:
                peak = max(peak, length_bytes / length_s)
    return math.ceil(8 * peak)


def _rate(spans: Sequence[Span]) -> float:
    """Return the mean rate in bytes a second; no lesson counts as shorter than one picture."""
    return sum(length for _, length in spans) / max(0.04, sum(duration_s for duration_s, _ in spans))


def target_duration_s(spans: Sequence[Span]) -> int:
    """Return the target duration: the longest segment to the nearest second (RFC 8216 §4.3.3.1), at least 1."""
    return max(1, math.floor(max(duration_s for duration_s, _ in spans) + 0.5))


def media_playlist(packaged: Packaged, flavour: str, version: str) -> MediaPlaylist:
    """List the segments of one rendition; names carry the version, so that they never change their meaning."""
    shape, spans = FLAVOURS[flavour], spans_of(packaged, flavour)
    uris = (f"{version}/seg-{number:05d}.{shape.suffix}" for number in range(1, len(spans) + 1))
    return MediaPlaylist(
        segments=tuple(Segment(uri, duration_s) for uri, (duration_s, _) in zip(uris, spans, strict=True)),
        target_duration_s=target_duration_s(spans),
        version=shape.playlist_version,
        independent=independent(packaged, flavour),
        map_uri=f"{version}/init.mp4" if flavour == "fmp4" else None,
    )


def pictures_playlist(packaged: Packaged, flavour: str, version: str) -> MediaPlaylist:
    """List single pictures for fast winding (§4.3.3.6)."""
    shape, spans = FLAVOURS[flavour], pictures_of(packaged, flavour)
    uris = (f"{version}/pic-{number:05d}.{shape.suffix}" for number in range(1, len(spans) + 1))
    return MediaPlaylist(
        segments=tuple(Segment(uri, duration_s) for uri, (duration_s, _) in zip(uris, spans, strict=True)),
        target_duration_s=target_duration_s(spans),
        version=max(PICTURES_VERSION, shape.playlist_version),
        map_uri=f"{version}/pictures.mp4" if flavour == "fmp4" else None,
        pictures_only=True,
    )


def piece_of(found: Offered, flavour: str, name: str) -> Resource | None:
    """Find ``init.mp4``, ``seg-NNNNN.<suffix>``, ``pictures.mp4`` or ``pic-NNNNN.<suffix>``."""
    packaged = found.packaged
    stem, _, suffix = name.partition(".")
    kind, _, digits = stem.partition("-")
    if flavour == "ts":
        index = packaged.ts_index
        kinds: dict[str, Sequence[TsSegment | TsKeyframe]] = {"seg": index.segments, "pic": index.keyframes}
        ranges = kinds.get(kind, ())
        number = number_of(digits, len(ranges))
        if suffix != "ts" or number is None:
            return None
        one = ranges[number]
        return _piece(found, "ts", stem, (FileRange(packaged.ts, one.offset_bytes, one.length_bytes),))
    muxed, pictures = packaged.fmp4_index.muxed, packaged.fmp4_index.pictures
    match name:
        case "init.mp4":
            return _piece(found, "fmp4", stem, (muxed.init,))
        case "pictures.mp4":
            return _piece(found, "fmp4", stem, (pictures.init,))
    form = {"seg": muxed, "pic": pictures}.get(kind)
    number = number_of(digits, len(form)) if form is not None and suffix == "m4s" else None
    if form is None or number is None:
        return None
    try:
        piece = form.read(packaged.heads, number)
    except (DamagedIndex, OSError):
        return None
    return _piece(found, "fmp4", stem, from_file(piece.head, packaged.mp4, piece.ranges))


def number_of(digits: str, count: int) -> int | None:
    """Read the number of a segment, five digits from 1 on, as one from 0 on; None when there is none such."""
    if not digits.isascii() or not digits.isdigit() or len(digits) != 5 or not 1 <= int(digits) <= count:
        return None
    return int(digits) - 1


def _piece(found: Offered, flavour: str, stem: str, parts: tuple[bytes | FileRange, ...]) -> Resource:
    return Resource(
        parts=parts,
        length_bytes=sum(len(part) if isinstance(part, bytes) else part.length_bytes for part in parts),
        etag=etag_of(found.sha256, f"{PACKAGER_VERSION}-{flavour}-{stem}"),
        modified=moment(found.item.issued_at),
        media_type=FLAVOURS[flavour].media_type,
        cache_control=IMMUTABLE,
        headers=ANYWHERE,
    )


def _text_track(stored: StoredFile, zero: int, modified: datetime) -> Resource | None:
    """Put the lesson's zero into the head of a WebVTT file (RFC 8216 §3.5)."""
    try:
        with stored.file.open("rb", buffering=0) as file:
            head = file.read(VTT_HEAD_MAX_BYTES)
    except OSError:
        return None
    first, end, _ = head.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    if not first.startswith(b"WEBVTT") or not end:
        return None
    skipped = head.index(b"\n") + 1
    stamp = f"X-TIMESTAMP-MAP=MPEGTS:{zero},LOCAL:00:00:00.000\n".encode()
    made, rest = b"WEBVTT\n" + stamp, stored.length_bytes - skipped
    return Resource(
        parts=(made, FileRange(stored.file, skipped, rest)) if rest else (made,),
        length_bytes=len(made) + rest,
        etag=etag_of(stored.sha256, f"{PACKAGER_VERSION}-{zero:x}"),
        modified=modified,
        media_type="text/vtt; charset=utf-8",
        cache_control=IMMUTABLE,
        headers=ANYWHERE,
    )
