"""From ingested files to a courseware entry and the names it has in the snapshot. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import structs

from central_platform.ingest import Ingested, MadeFile, MadePage, MadeRendition, MadeSubtitle
from domain.courseware import Asset, Courseware, ItemClass, MediaFamily, Rendition, Subtitle


def drafted(
    made: Ingested,
    *,
    item_id: str,
    title: str,
    item_class: ItemClass,
    column_id: str,
    issued_at: str,
    summary: str,
    offline_days: int,
    held: bool,
) -> tuple[Courseware, Mapping[str, Path]]:
    """Return the entry and its files by snapshot name."""
    base = f"courseware/{item_id}"
    common = Courseware(
        item_id=item_id,
        title=title,
        item_class=item_class,
        column_id=column_id,
        family=MediaFamily.PICTURE_TEXT if isinstance(made, MadePage) else MediaFamily.VIDEO,
        issued_at=issued_at,
        summary=summary,
        offline_days=offline_days,
        held=held,
    )
    if isinstance(made, MadePage):
        named = (*made.assets, *made.screens)
        files = {f"{base}/page/index.html": made.page} | {f"{base}/page/{name}": each for name, each in named}
        page, *assets = (_asset(path, each) for path, each in files.items())
        item = structs.replace(common, page=page, page_assets=tuple(assets))
    else:
        files = {f"{base}/{each.name}.mp4": each.made for each in made.renditions}
        renditions = tuple(_rendition(f"{base}/{each.name}.mp4", each) for each in made.renditions)
        poster = None
        if made.poster is not None:
            files[f"{base}/poster.jpg"] = made.poster
            poster = _asset(f"{base}/poster.jpg", made.poster)
        words = {f"{base}/subtitle.{each.language}.vtt": each for each in made.subtitles}
        files |= {path: each.made for path, each in words.items()}
        subtitles = tuple(_subtitle(path, each) for path, each in words.items())
        item = structs.replace(
            common, duration_s=made.duration_s, renditions=renditions, poster=poster, subtitles=subtitles
        )
    return item, {path: each.file for path, each in files.items()}


def _asset(path: str, made: MadeFile) -> Asset:
    return Asset(path=path, sha256=made.sha256, length_bytes=made.length_bytes, media_type=made.media_type)


def _subtitle(path: str, each: MadeSubtitle) -> Subtitle:
    return Subtitle(
        language=each.language,
        label=each.label,
        path=path,
        sha256=each.made.sha256,
        length_bytes=each.made.length_bytes,
    )


def _rendition(path: str, each: MadeRendition) -> Rendition:
    return Rendition(
        name=each.name,
        path=path,
        sha256=each.made.sha256,
        length_bytes=each.made.length_bytes,
        duration_s=each.duration_s,
        width=each.width,
        height=each.height,
        display_width=each.display_width,
        frame_rate=each.frame_rate,
        frames=each.frames,
        video_codec=each.video_codec,
        audio_codec=each.audio_codec,
        peak_bps=each.peak_bps,
        average_bps=each.average_bps,
        copied=each.copied,
    )
