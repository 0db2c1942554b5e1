"""The catalogue as the JSON of the picture template (H6, §2.8): the lessons of the channel list, in its order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge_server.catalog import CatalogView
from edge_server.portal._ctc.channels import lesson_url, lessons
from wire import ctc


def columns(view: CatalogView) -> list[dict[str, object]]:
    """Columns in their order. A column that lessons name but the catalogue does not list is shown by its id."""
    titles = {each.column_id: ctc.screen_text(each.title) for each in view.columns}
    for item in lessons(view):
        titles.setdefault(item.column_id, item.column_id)
    return [{"id": column_id, "name": title} for column_id, title in titles.items()]


def episodes(view: CatalogView, column_id: str) -> dict[str, object]:
    """The lessons of one column, as ``seriesInfoById`` names them; empty when there is no such column."""
    found = [item for item in lessons(view) if item.column_id == column_id]
    name = next((each["name"] for each in columns(view) if each["id"] == column_id), None)
    if name is None:
        return {}
    numbered: Sequence[Mapping[str, object]] = [
        {"id": item.item_id, "num": str(number), "name": ctc.screen_text(item.title)}
        for number, item in enumerate(found, start=1)
    ]
    return {"id": column_id, "name": name, "episodeList": numbered}


def lesson(view: CatalogView, item_id: str, host: str, rtsp_authority: str) -> dict[str, object]:
    """One lesson as ``vodInfoById`` names it; empty when there is no such lesson."""
    item = next((each for each in lessons(view) if each.item_id == item_id), None)
    if item is None:
        return {}
    return {
        "id": item.item_id,
        "name": ctc.screen_text(item.title),
        "introduce": ctc.screen_text(item.summary),
        "columnId": item.column_id,
        "mediaUrl": lesson_url(item, host, rtsp_authority),
        "elapseTime": str(round(item.duration_s)),
    }
