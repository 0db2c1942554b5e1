"""The pad of letters on the page of the search: which keys lead on, and where the focus begins. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domain.courseware import Courseware
from edge_server.catalog import CatalogView
from edge_server.portal.web.initials import LETTERS, is_typed, keys_that_lead_on
from edge_server.portal.web.listing import FOUND_MAX_COUNT, QUERY_MAX_CHARS, plain

ROW_KEYS = 6
BACK, CLEAR, FOUND = "back", "clear", "found"
"""Where the focus begins, unless on a letter."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the pad."""

    letter: str
    query: str
    """What is looked for after it was pressed; empty when nothing would be found."""


def keys(view: CatalogView, query: str, found: Sequence[Courseware]) -> tuple[Key, ...]:
    """Return every key; those after which nothing is found do not lead on."""
    last = plain(query).split(" ")[-1]
    typed = last if is_typed(last) else ""
    if not query or len(found) == FOUND_MAX_COUNT:
        titles: Sequence[Courseware] = view.catalogue.courseware
    else:
        titles = found
    lead = keys_that_lead_on((item.title for item in titles), typed) if len(query) < QUERY_MAX_CHARS - 1 else set()
    between = " " if query and not typed else ""
    return tuple(Key(letter, f"{query}{between}{letter}" if letter in lead else "") for letter in LETTERS)


def rows(keys: Sequence[Key]) -> list[Sequence[Key]]:
    """Put the keys in rows."""
    return [keys[at : at + ROW_KEYS] for at in range(0, len(keys), ROW_KEYS)]


def begin(keys: Sequence[Key], pressed: str, query: str, *, found: bool) -> str:
    """Say where the focus begins: on the key that was pressed, if it leads on, else where it is of use."""
    usable = [key.letter for key in keys if key.query]
    if pressed in usable or (query and pressed in (BACK, CLEAR)):
        return pressed
    if not query and usable:
        return usable[0]
    return BACK if pressed and query and not found else FOUND
