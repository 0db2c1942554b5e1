"""What a page says of a lesson: its column, subtitles and poster. Pure."""

from __future__ import annotations

from domain.courseware import Column, Courseware
from edge_server.catalog import CatalogView

RENDITION_FOR_NEW = ("R40", "R12")


def shown_columns(view: CatalogView) -> tuple[Column, ...]:
    """Return the columns in their order; one that lessons name but no channel lists is shown by its id."""
    known = {column.column_id for column in view.columns}
    other = dict.fromkeys(item.column_id for item in view.catalogue.courseware if item.column_id not in known)
    return (*view.columns, *(Column(column_id=each, title=each, order=0) for each in other))


def subtitles(item: Courseware) -> list[dict[str, str]]:
    """Name the subtitles of a video."""
    return [
        {"language": each.language, "label": each.label, "url": f"/subtitles/{item.item_id}/{each.language}.vtt"}
        for each in item.subtitles
    ]


def poster(item: Courseware) -> str | None:
    """Return the path of the poster; None without one."""
    return f"/posters/{item.item_id}.jpg" if item.poster is not None else None
