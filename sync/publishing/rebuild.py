"""Making the index anew: units and objects from cards, the history from the skip list."""

from __future__ import annotations

from pathlib import Path

from sync import Corrupt
from sync.listing import Listing
from sync.publishing.cards import CardShelf, recipe_in, spots
from sync.publishing.history import Era, History
from sync.publishing.index import Index
from sync.publishing.reading import Current, all_steps, read_release

COMMIT_EVERY_OBJECTS = 1000


def index_listing(index: Index, cards: CardShelf, listing: Listing) -> None:
    """Write down all objects of a listing. A card that is damaged is passed over: its object will be taken in again."""
    seen: set[str] = set()
    for file in listing.files.values():
        if file.sha256 in seen:
            continue
        seen.add(file.sha256)
        try:
            card = cards.card(file.sha256, file.recipe_sha256)
            recipe = recipe_in(card, file.length_bytes)
            places = list(spots(card, recipe))
        except Corrupt:
            continue
        number = index.add_object(file.sha256, file.recipe_sha256, file.length_bytes, card.raw_length, len(card.stored))
        index.add_units((*place, number) for place in places)
        if len(seen) % COMMIT_EVERY_OBJECTS == 0:
            index.commit()
    index.commit()


def restart_history(history: History, published: Path, current: Current) -> Era:
    """Make the history of a channel anew, as well as the skip list of its newest release tells it."""
    seq = current.listing.seq
    touched: list[tuple[int, frozenset[str]]] = []
    seen: frozenset[str] = frozenset()
    above, floor = seq, seq
    for step in all_steps(current.head, current.skips):
        if step.base == 0:
            break
        try:
            names = read_release(published, step).touched
        except Corrupt:
            break
        touched.append((above, names - seen))
        seen |= names
        above = floor = step.base
    history.restart(seq, current.head_sha256, touched, floor)
    return Era(floor, False)
