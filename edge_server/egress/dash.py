"""DASH (ISO/IEC 23009-1): one manifest a lesson, sound and picture in segments of their own, cut out of the stored MP4.

The manifest is asked for again each time; segments carry hash and version in their address and may be kept for ever.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

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
from edge_server.packager import PACKAGER_VERSION, Offered, ladder, offered_version
from media import DamagedIndex
from media.mp4.fmp4 import Form, Piece
from wire.mpd import MEDIA_TYPE, AdaptationSet, Manifest, Representation, Segments, TextTrack, write_mpd

PREFIX = "/dash/"
ALIGNED_S = 0.005
"""Segment borders of two renditions that are as close as this are the same."""
_ANYWHERE = (("Access-Control-Allow-Origin", "*"),)


def find(ctx: EgressContext) -> Find:
    """Offer manifests, init segments and segments by path."""
    since = ctx.clock.utc()

    def look(path: str) -> Resource | None:
        if not path.startswith(PREFIX):
            return None
        view = ctx.view()
        match path[len(PREFIX) :].split("/"):
            case [item_id, "manifest.mpd"] if found := ladder(view, ctx.shelf, item_id):
                body = write_mpd(manifest(found)).encode()
                return Resource(
                    parts=(body,),
                    length_bytes=len(body),
                    etag=etag_of(hashlib.sha256(body).hexdigest()),
                    modified=max(view.active.issued, since),
                    media_type=MEDIA_TYPE,
                    cache_control=REVALIDATE,
                    headers=_ANYWHERE,
                )
            case [item_id, "subtitles", name]:
                return _words(view, item_id, name)
            case [item_id, name, version, piece]:
                return _piece(ctx, view, item_id, (name, version), piece)
        return None

    return look


def manifest(found: Sequence[Offered]) -> Manifest:
    """Describe a lesson by its renditions, best first; the sound is that of the best."""
    videos = tuple(_representation(each, "video", each.packaged.fmp4_index.video) for each in found)
    indexes = [each.packaged.fmp4_index for each in found]
    starts = [_starts_s(each.video) for each in indexes]
    aligned = all(
        len(each) == len(starts[0]) and all(abs(a - b) < ALIGNED_S for a, b in zip(each, starts[0], strict=True))
        for each in starts
    )
    sets = [AdaptationSet("video", videos, aligned, all(each.independent for each in indexes))]
    if (sound := indexes[0].audio) is not None:
        sets.append(AdaptationSet("audio", (_representation(found[0], "audio", sound),), aligned=True))
    item = found[0].item
    texts = tuple(TextTrack(f"subtitles/{each.language}.vtt", each.language, each.label) for each in item.subtitles)
    return Manifest(max(each.duration_s for each in indexes), tuple(sets), texts)


def _representation(found: Offered, kind: str, form: Form) -> Representation:
    folder = f"{found.rendition.name}/{found.version}"
    video = kind == "video"
    return Representation(
        name=f"{found.rendition.name}-{kind}",
        codecs=form.codecs,
        bandwidth_bps=math.ceil(
            max(8 * size / s for size, s in zip(form.lengths_bytes, form.durations_s, strict=True))
        ),
        segments=Segments(
            initialization=f"{folder}/{kind}.mp4",
            media=f"{folder}/{kind}-$Number%05d$.m4s",
            timescale=form.timescale,
            zero=form.zero,
            starts=form.starts.tolist(),
            durations=form.durations.tolist(),
        ),
        size=(found.packaged.fmp4_index.width, found.packaged.fmp4_index.height) if video else None,
        frame_rate=found.rendition.frame_rate if video else None,
    )


def _starts_s(form: Form) -> list[float]:
    starts: list[float] = ((form.starts - form.zero) / form.timescale).tolist()
    return starts


def _words(view: CatalogView, item_id: str, name: str) -> Resource | None:
    """Find ``<language>.vtt``; the manifest says at which time the lesson begins, so it is sent as it is stored."""
    item = view.item(item_id)
    subtitle = item.subtitle(name.removesuffix(".vtt")) if item and name.endswith(".vtt") else None
    stored = view.file(subtitle.path) if subtitle else None
    if item is None or stored is None or not stored.length_bytes:
        return None
    return Resource(
        parts=(FileRange(stored.file, 0, stored.length_bytes),),
        length_bytes=stored.length_bytes,
        etag=etag_of(stored.sha256),
        modified=moment(item.issued_at),
        media_type="text/vtt; charset=utf-8",
        cache_control=REVALIDATE,
        headers=_ANYWHERE,
    )


def _piece(
    ctx: EgressContext, view: CatalogView, item_id: str, rendition: tuple[str, str], piece: str
) -> Resource | None:
    """Find ``video.mp4``, ``audio.mp4``, ``video-NNNNN.m4s`` or ``audio-NNNNN.m4s`` of (rendition, version)."""
    found = offered_version(view, ctx.shelf, item_id, *rendition)
    if found is None:
        return None
    stem, _, suffix = piece.partition(".")
    kind, dash, digits = stem.partition("-")
    form = {"video": found.packaged.fmp4_index.video, "audio": found.packaged.fmp4_index.audio}.get(kind)
    if form is None:
        return None
    made = Piece(form.init, ())
    if dash or suffix != "mp4":
        if suffix != "m4s" or not digits.isascii() or not digits.isdigit() or len(digits) != 5:
            return None
        try:
            made = form.read(found.packaged.heads, int(digits) - 1)
        except (IndexError, DamagedIndex, OSError):
            return None
    return Resource(
        parts=from_file(made.head, found.packaged.mp4, made.ranges),
        length_bytes=len(made.head) + sum(length for _, length in made.ranges),
        etag=etag_of(found.sha256, f"{PACKAGER_VERSION}-dash-{stem}"),
        modified=moment(found.item.issued_at),
        media_type=f"{kind}/mp4",
        cache_control=IMMUTABLE,
        headers=_ANYWHERE,
    )
