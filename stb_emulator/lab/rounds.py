"""Every box × every lesson × every action: playing first, then all keys beside each other, then visits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta, timezone

from stb_emulator.boxes import Box, unit
from stb_emulator.lab import actions as asked
from stb_emulator.lab.actions import Action, Outcome
from stb_emulator.lab.junit import document
from stb_emulator.lab.matrix import Listing, lessons_of, list_all, parity_of, play_all
from stb_emulator.lab.parity import Parity, with_guides
from stb_emulator.lab.report import page
from stb_emulator.lab.visits import guides, heartbeat, relogin
from stb_emulator.observe import Observation, Offer, PlayError, Reason
from stb_emulator.portals import Window
from stb_emulator.seat import Seat

REDIRECT_PLAY_S = 1.0
"""Played to see where a box is sent, when nothing else is played."""

GUIDE_SPAN = timedelta(hours=4)
"""So far ahead of now programme guides are compared."""
GUIDE_ZONE_MIN = 480
"""Minutes east of UTC of guides that name no zone: the villages' clock."""

OnRow = Callable[[Observation, int, int], None]
OnOutcome = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Told:
    """Who hears of things as they are found."""

    on_row: OnRow
    """What was played without keys: see ``matrix.play_all``."""
    on_outcome: OnOutcome


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that a matrix found."""

    rows: list[Observation]
    """Of playing without keys."""
    parity: Parity
    outcomes: list[Outcome]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(row.ok for row in self.rows) and self.parity.ok and all(each.ok for each in self.outcomes)

    def html(self, boxes: Mapping[str, Box], *, portal: str, made: str) -> str:
        """Write the page for people."""
        return page(self.rows, boxes, self.parity, portal=portal, made=made, outcomes=self.outcomes)

    def junit(self) -> str:
        """Write JUnit XML."""
        return document(self.rows, self.parity, self.outcomes)


async def run(
    seat: Seat,
    boxes: Sequence[Box],
    *,
    actions: Collection[Action],
    only: Collection[str],
    concurrency: int,
    told: Told,
    guide_zone_min: int = GUIDE_ZONE_MIN,
) -> Results:
    """Do the actions, one after the other, as far as they are asked for."""
    on_row, on_outcome = told.on_row, told.on_outcome
    listings = await list_all(seat, boxes)
    lessons = lessons_of(listings, only)
    outcomes = asked.listing_outcomes(listings, actions)
    rows: list[Observation] = []
    if Action.PLAY in actions:
        rows, parity = await play_all(seat, boxes, listings, only=only, concurrency=concurrency, on_row=on_row)
        outcomes += [asked.outcome_of(Action.PLAY, row) for row in rows]
    else:
        parity = parity_of(listings, boxes, lessons)
    if Action.LIST in actions:
        able = [box for box in boxes if not isinstance(listings[box.name], PlayError)]
        since = seat.clock.utc()
        window = Window(since, since + GUIDE_SPAN, timezone(timedelta(minutes=guide_zone_min)))
        parity = with_guides(parity, await guides(seat, able, window))
    for outcome in outcomes:
        on_outcome(outcome)
    round_ = _Round(seat, boxes, listings, lessons, concurrency, lengths(listings, rows), on_outcome)
    played = list(rows)
    found, seen = await round_.keys([each for each in asked.WITH_KEYS if each in actions])
    outcomes += found
    played += seen
    if Action.HEARTBEAT in actions:
        outcomes += await round_.visits(Action.HEARTBEAT)
    if Action.RELOGIN in actions:
        outcomes += await round_.visits(Action.RELOGIN)
    if Action.REDIRECT in actions:
        outcomes += await round_.redirects(played)
    return Results(rows, parity, outcomes)


def lengths(listings: Mapping[str, Listing], rows: Sequence[Observation]) -> dict[str, float]:
    """How long each lesson is, seconds: as it was announced when it played, or as a list says."""
    found: dict[str, float] = {}
    for listing in listings.values():
        for offer in () if isinstance(listing, PlayError) else listing:
            if offer.announced_s is not None:
                found.setdefault(offer.item_id, offer.announced_s)
    return found | {row.lesson: row.announced_s for row in rows if row.announced_s is not None}


class _Round:
    """What is the same for all actions of a run."""

    def __init__(
        self,
        seat: Seat,
        boxes: Sequence[Box],
        listings: Mapping[str, Listing],
        lessons: Mapping[str, str],
        concurrency: int,
        lengths_s: Mapping[str, float],
        on_outcome: OnOutcome,
    ) -> None:
        self._seat, self._boxes, self._listings, self._lessons = seat, boxes, listings, lessons
        self._gate = asyncio.Semaphore(concurrency)
        self._lengths_s, self._on_outcome = lengths_s, on_outcome

    def _videos(self, box: Box) -> list[Offer]:
        """What a box has listed that is no page, is a lesson, and was asked for."""
        lists = [each for each in self._listings.values() if not isinstance(each, PlayError)]
        offers = [offer for each in lists for offer in each]
        pages = {offer.item_id for offer in offers if offer.family == "picture_text"}
        wanted = set(self._lessons) - pages
        listing = self._listings[box.name]
        return [] if isinstance(listing, PlayError) else [offer for offer in listing if offer.item_id in wanted]

    async def keys(self, actions: Sequence[Action]) -> tuple[list[Outcome], list[Observation]]:
        """Press the keys of these actions on every box and lesson; each time it is another device."""
        found: dict[tuple[Action, str, str], Outcome] = {}
        rows: list[Observation] = []

        async def one(action: Action, box: Box, number: int, offer: Offer) -> None:
            async with self._gate:
                outcome, row = await self._keys(action, unit(box, number), offer)
            found[action, box.name, offer.item_id] = outcome
            rows.extend([] if row is None else [row])
            self._on_outcome(outcome)

        async with asyncio.TaskGroup() as group:
            for box in self._boxes:
                todo = ((action, offer) for action in actions for offer in self._videos(box))
                for number, (action, offer) in enumerate(todo, start=1):
                    group.create_task(one(action, box, number, offer))
        order = [(action, box.name, item) for action in actions for box in self._boxes for item in self._lessons]
        return [found[each] for each in order if each in found], rows

    async def _keys(self, action: Action, box: Box, offer: Offer) -> tuple[Outcome, Observation | None]:
        presses = asked.presses(action, box, self._lengths_s.get(offer.item_id))
        names = {"lesson": offer.item_id, "title": offer.title}
        if isinstance(presses, Reason):
            return asked.not_asked(box.name, action, presses, **names), None
        if not presses:
            return asked.no_key(box.name, action, Reason("这种盒子没有此键", "this box has no such key"), **names), None
        is_end = action is Action.END
        seat = replace(self._seat, presses=presses, seconds=None if is_end else asked.REST_S, to_the_end=is_end)
        row = await seat.watch(box, offer.item_id, offer.title)
        return asked.outcome_of(action, row), row

    async def visits(self, action: Action) -> list[Outcome]:
        """Do what concerns a box as a whole."""
        found: dict[str, Outcome] = {}

        async def one(box: Box) -> None:
            async with self._gate:
                if action is Action.RELOGIN:
                    outcome = await relogin(self._seat, box)
                else:
                    outcome = await heartbeat(self._seat, box, next(iter(self._videos(box)), None))
            found[box.name] = outcome
            self._on_outcome(outcome)

        await self._each(one)
        return [found[box.name] for box in self._boxes]

    async def redirects(self, played: Sequence[Observation]) -> list[Outcome]:
        """See where each box was sent; who has played nothing yet plays a moment."""
        found: dict[str, Outcome] = {}

        async def one(box: Box) -> None:
            rows = [row for row in played if row.box == box.name]
            first = next(iter(self._videos(box)), None)
            if not rows and first is not None:
                async with self._gate:
                    rows = [await replace(self._seat, seconds=REDIRECT_PLAY_S).watch(box, first.item_id)]
            found[box.name] = asked.redirect_outcome(box.name, rows)
            self._on_outcome(found[box.name])

        await self._each(one)
        return [found[box.name] for box in self._boxes]

    async def _each(self, one: Callable[[Box], Coroutine[None, None, None]]) -> None:
        async with asyncio.TaskGroup() as group:
            for box in self._boxes:
                group.create_task(one(box))
