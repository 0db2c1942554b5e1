"""What publishing and withdrawing do to a catalogue. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from domain.courseware import Catalogue, Column, Courseware

FIRST_ITEM_ID = 10000001
FIRST_COLUMN_ID = 101
TITLE_MAX_CHARS = 200
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f]")


class EditError(ValueError):
    """The change cannot be made; the message says why, Chinese first."""


class UnknownItem(EditError):
    """No such item is published."""


def checked_title(text: str, what: str) -> str:
    """Return the title, trimmed.

    Raises:
        EditError: empty, too long, or with control characters.
    """
    title = text.strip()
    if not title or len(title) > TITLE_MAX_CHARS or _FORBIDDEN.search(title):
        raise EditError(
            f"{what}须为 1–{TITLE_MAX_CHARS} 个字符且不含控制字符 / "
            f"must be 1-{TITLE_MAX_CHARS} characters without control characters: {text!r}"
        )
    return title


def column_for(catalogue: Catalogue, title: str, used_column_ids: int) -> tuple[Catalogue, Column]:
    """Find the column of that title, or add it at the end.

    ``used_column_ids`` is how many ids were ever given out, so that none is used twice.
    """
    for column in catalogue.columns:
        if column.title == title:
            return catalogue, column
    order = max((column.order for column in catalogue.columns), default=0) + 1
    column = Column(column_id=str(FIRST_COLUMN_ID + used_column_ids), title=title, order=order)
    return msgspec.structs.replace(catalogue, columns=(*catalogue.columns, column)), column


def with_item(catalogue: Catalogue, item: Courseware) -> Catalogue:
    """Add a new item at the end of the catalogue."""
    if catalogue.item(item.item_id) is not None:
        raise EditError(f"课件编号已存在 / item id already published: {item.item_id}")
    return msgspec.structs.replace(catalogue, courseware=(*catalogue.courseware, item))


def without_item(catalogue: Catalogue, item_id: str) -> tuple[Catalogue, Courseware]:
    """Take an item out, and its column too when that leaves it empty.

    Raises:
        UnknownItem: nothing of that id is published.
    """
    item = catalogue.item(item_id)
    if item is None:
        raise UnknownItem(f"没有编号为 {item_id} 的课件 / no item {item_id} is published")
    rest = tuple(each for each in catalogue.courseware if each.item_id != item_id)
    held = {each.column_id for each in rest}
    columns = tuple(column for column in catalogue.columns if column.column_id in held)
    return msgspec.structs.replace(catalogue, courseware=rest, columns=columns), item


def with_admitted(catalogue: Catalogue, item_id: str) -> tuple[Catalogue, Courseware]:
    """Let every edge offer an item that was on trial.

    Raises:
        UnknownItem: nothing of that id is published.
        EditError: it is not on trial.
    """
    item = catalogue.item(item_id)
    if item is None:
        raise UnknownItem(f"没有编号为 {item_id} 的课件 / no item {item_id} is published")
    if not item.held:
        raise EditError(f"课件 {item_id} 已经对所有站点开放 / item {item_id} is offered everywhere already")
    open_item = msgspec.structs.replace(item, held=False)
    items = tuple(open_item if each is item else each for each in catalogue.courseware)
    return msgspec.structs.replace(catalogue, courseware=items), open_item


def rfc3339(now: datetime) -> str:
    """Write a moment as RFC 3339 UTC in whole seconds."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
