"""Every box against every lesson that any box can see: the parity of old and new boxes, measured (REQ-STB-01)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from stb_emulator.boxes import Box, unit
from stb_emulator.lab.parity import Lag, Parity, compare, pages_of
from stb_emulator.observe import Observation, Offer, PlayError, Stage
from stb_emulator.observe.judge import absent
from stb_emulator.seat import Seat

Listing = tuple[Offer, ...] | PlayError


async def list_all(seat: Seat, boxes: Sequence[Box]) -> dict[str, Listing]:
    """Let every box log in and browse; a box that cannot is listed with its error."""
    found: dict[str, Listing] = {}

    async def one(box: Box) -> None:
        try:
            found[box.name] = await seat.list(box)
        except PlayError as failure:
            found[box.name] = failure

    async with asyncio.TaskGroup() as group:
        for box in boxes:
            group.create_task(one(box))
    return {box.name: found[box.name] for box in boxes}


def lessons_of(listings: dict[str, Listing], only: Collection[str] = ()) -> dict[str, str]:
    """Make the union of all lists, as id → title, in the order of first appearance.

    What every box takes for a channel is one, and no lesson, unless there is nothing else: not all boxes list channels,
    and their guides are compared apart.
    """
    titles: dict[str, str] = {}
    offers = [each for found in listings.values() if not isinstance(found, PlayError) for each in found]
    finite = {offer.item_id for offer in offers if not offer.live}
    for offer in offers:
        if offer.item_id in finite or not finite:
            titles.setdefault(offer.item_id, offer.title)
    for wanted in only:
        titles.setdefault(wanted, "")
    return {i: t for i, t in titles.items() if not only or i in only}


async def run(
    seat: Seat,
    boxes: Sequence[Box],
    *,
    only: Collection[str],
    concurrency: int,
    on_row: Callable[[Observation, int, int], None],
) -> tuple[list[Observation], Parity]:
    """List and play everything, and press no key: see ``rounds.run`` for more."""
    return await play_all(seat, boxes, await list_all(seat, boxes), only=only, concurrency=concurrency, on_row=on_row)


async def play_all(
    seat: Seat,
    boxes: Sequence[Box],
    listings: dict[str, Listing],
    *,
    only: Collection[str],
    concurrency: int,
    on_row: Callable[[Observation, int, int], None],
) -> tuple[list[Observation], Parity]:
    """Play everything; rows come back in the order box × lesson, ``on_row(row, done, total)`` as they finish.

    Beside them, whether all boxes list the same; with ``only``, as far as these lessons go.

    A lesson that a box does not list, or a box that cannot log in or browse, is a failed row. A box without a browser
    has no row for a picture-text lesson that it does not list.
    """
    lessons = lessons_of(listings, only)
    pages = pages_of(listings)
    pageless = {box.name for box in boxes if not box.caps.pages}
    rows: dict[tuple[str, str], Observation] = {}
    gate = asyncio.Semaphore(concurrency)
    spared = {(name, item_id) for name in pageless for item_id in pages - _ids(listings[name])}
    total = max(1, len(lessons)) * len(boxes) - sum(item_id in lessons for _, item_id in spared)

    def done(key: tuple[str, str], row: Observation) -> None:
        rows[key] = row
        on_row(row, len(rows), total)

    async def one(box: Box, number: int, item_id: str, title: str) -> None:
        async with gate:
            done((box.name, item_id), await seat.watch(unit(box, number), item_id, title))

    async with asyncio.TaskGroup() as group:
        for box in boxes:
            listing = listings[box.name]
            if not lessons:
                failure = listing if isinstance(listing, PlayError) else NOTHING
                done((box.name, ""), absent(box, "", "", failure))
            for number, (item_id, title) in enumerate(lessons.items(), start=1):
                if (box.name, item_id) in spared:
                    continue
                if isinstance(listing, PlayError):
                    done((box.name, item_id), absent(box, item_id, title, listing))
                elif all(o.item_id != item_id for o in listing):
                    done((box.name, item_id), absent(box, item_id, title, NOT_LISTED))
                else:
                    group.create_task(one(box, number, item_id, title))
    keys = [(b.name, i) for b in boxes for i in (lessons or {"": ""})]
    found = [rows[k] for k in keys if k not in spared]
    return found, parity_of(listings, boxes, lessons, found)


def parity_of(
    listings: dict[str, Listing], boxes: Sequence[Box], lessons: Collection[str], rows: Sequence[Observation] = ()
) -> Parity:
    """Lay the lists side by side as far as these lessons go, and what came of playing."""
    chosen = {name: _only(listing, lessons) for name, listing in listings.items()}
    return compare(chosen, rows, pageless={box.name for box in boxes if not box.caps.pages})


def _ids(listing: Listing) -> set[str]:
    return set() if isinstance(listing, PlayError) else {offer.item_id for offer in listing}


def _only(listing: Listing, lessons: Collection[str]) -> Listing:
    return listing if isinstance(listing, PlayError) else tuple(each for each in listing if each.item_id in lessons)


NOT_LISTED = PlayError(Stage.BROWSE, "列表中没有这一课", "not listed")
NOTHING = PlayError(Stage.BROWSE, "列表是空的", "the list is empty")


async def lag(seat: Seat, boxes: Sequence[Box], item_id: str, *, within_s: float, every_s: float = 1.0) -> Lag:
    """Let every box look for a lesson again and again, and note when it first lists it (REQ-STB-02)."""
    first: dict[str, float | None] = {box.name: None for box in boxes}
    until_s = seat.clock.monotonic() + within_s
    while True:
        missing = [box for box in boxes if first[box.name] is None]
        listings = await list_all(seat, missing)
        now_s = seat.clock.monotonic()
        for name, listing in listings.items():
            if not isinstance(listing, PlayError) and any(each.item_id == item_id for each in listing):
                first[name] = now_s
        if None not in first.values() or now_s + every_s > until_s:
            return Lag(item_id=item_id, first_s=first)
        await seat.clock.sleep_until(now_s + every_s)
