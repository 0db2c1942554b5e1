"""What stands on a page of lessons: columns, cards, one page of many, and what a search finds. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from domain.courseware import Column, Courseware, MediaFamily
from edge_server.catalog import CatalogView
from edge_server.portal.web.initials import is_spelt, is_typed
from edge_server.portal.web.lessons import poster, shown_columns

QUERY_MAX_CHARS = 64
TERMS_MAX_COUNT = 8
FOUND_MAX_COUNT = 200
"""Who finds more had better ask for something narrower."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Room:
    """How much fits on a page without scrolling; letters are counted in halves of a Chinese character."""

    cards: int
    tabs: int
    title_units: int
    rows: int
    found: int
    """Lines of what was found, beside the pad of letters."""
    found_units: int


NEW = Room(cards=8, tabs=6, title_units=42, rows=8, found=6, found_units=50)
"""1280 by 720."""
OLD = Room(cards=6, tabs=3, title_units=30, rows=6, found=6, found_units=32)
"""640 by 530."""


@dataclass(frozen=True, slots=True)
class Card:
    """One lesson on a page."""

    item_id: str
    title: str
    short: str
    """The title, cut to what fits."""
    href: str
    poster: str | None
    length: str | None
    """``4:05``; None for a picture-text lesson."""


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """One page of a list; pages count from 1."""

    entries: tuple[T, ...]
    number: int
    last: int

    @property
    def before(self) -> int | None:
        """Number of the page before; None on the first."""
        return self.number - 1 if self.number > 1 else None

    @property
    def after(self) -> int | None:
        """Number of the next page; None on the last."""
        return self.number + 1 if self.number < self.last else None


def part_of(entries: Sequence[T], number: int, size: int) -> Part[T]:
    """Cut one page out; a number that is none leads to the nearest page."""
    last = max(1, -(-len(entries) // size))
    number = min(max(1, number), last)
    return Part(tuple(entries[(number - 1) * size : number * size]), number, last)


def page_with(item: Courseware, view: CatalogView, size: int) -> int:
    """Return the number of the page of its column on which a lesson stands."""
    ids = [each.item_id for each in view.items_in(item.column_id)]
    return ids.index(item.item_id) // size + 1 if item.item_id in ids else 1


def neighbours(item: Courseware, view: CatalogView) -> tuple[Courseware | None, Courseware | None]:
    """Return the lessons before and after it in its column."""
    items = view.items_in(item.column_id)
    at = next((place for place, each in enumerate(items) if each.item_id == item.item_id), None)
    if at is None:
        return None, None
    return (items[at - 1] if at else None), (items[at + 1] if at + 1 < len(items) else None)


def tabs_around(view: CatalogView, chosen: str | None, size: int) -> tuple[tuple[Column, ...], bool]:
    """Return so many columns around the chosen one, and whether there are others."""
    columns = shown_columns(view)
    at = next((place for place, each in enumerate(columns) if each.column_id == chosen), 0)
    first = max(0, min(at - size // 2, len(columns) - size))
    return columns[first : first + size], len(columns) > size


def card(item: Courseware, room: Room, units: int = 0) -> Card:
    """Write a lesson as a card; ``units`` of its title fit, or as many as on a card of the room."""
    is_page = item.family is MediaFamily.PICTURE_TEXT
    return Card(
        item.item_id,
        item.title,
        shorten(item.title, units or room.title_units),
        address(item),
        poster(item),
        None if is_page else length(item.duration_s),
    )


def address(item: Courseware) -> str:
    """Return the path of a lesson's page."""
    return f"/lessons/{item.item_id}/" if item.family is MediaFamily.PICTURE_TEXT else f"/watch/{item.item_id}"


def length(duration_s: float) -> str:
    """Write a duration as people do: 4:05, 1:04:05."""
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def shorten(text: str, units: int) -> str:
    """Cut a text to a width, in halves of a Chinese character; an ellipsis says so."""
    wide = [2 if unicodedata.east_asian_width(letter) in "WFA" else 1 for letter in text[: units + 1]]
    if len(text) <= units and sum(wide) <= units:
        return text
    kept = 0
    while kept < len(wide) and sum(wide[: kept + 1]) <= units - 2:
        kept += 1
    return text[:kept].rstrip() + "…"


def search(view: CatalogView, query: str) -> tuple[Courseware, ...]:
    """Find the lessons that have every word of a query in title, summary or column, those with it in the title first.

    A word is found anywhere in a text, so that two Chinese characters are enough (ux §3); what is wide in one and
    narrow in the other is the same. Latin letters also find a title by the initials of its pinyin (see `initials`). At
    most ``FOUND_MAX_COUNT``, in catalogue order.
    """
    terms = plain(query[:QUERY_MAX_CHARS]).split()[:TERMS_MAX_COUNT]
    if not terms:
        return ()
    columns = {each.column_id: plain(each.title) for each in view.columns}
    in_title: list[Courseware] = []
    elsewhere: list[Courseware] = []
    for item in view.catalogue.courseware:
        title = plain(item.title)
        if all(term in title or (is_typed(term) and is_spelt(item.title, term)) for term in terms):
            in_title.append(item)
            if len(in_title) == FOUND_MAX_COUNT:
                break
        elif len(elsewhere) < FOUND_MAX_COUNT:
            text = f"{title}\n{plain(item.summary)}\n{columns.get(item.column_id, '')}"
            if all(term in text for term in terms):
                elsewhere.append(item)
    return tuple((in_title + elsewhere)[:FOUND_MAX_COUNT])


def plain(text: str) -> str:
    """Fold case and width (NFKC); texts that are plain already cost little."""
    folded = text if unicodedata.is_normalized("NFKC", text) else unicodedata.normalize("NFKC", text)
    return folded.casefold()
