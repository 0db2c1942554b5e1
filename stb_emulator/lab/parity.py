"""Do all boxes see the same? What each lists, laid side by side (REQ-STB-01). Pure.

Nobody here knows what the right catalogue is: boxes are compared with each other. A difference has a kind, so that a
report can say which of the known disagreements it looks like.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Literal

import msgspec

from stb_emulator.observe import Observation, Offer, PlayError, Stage

GUIDE = "节目单 guide"
"""Stands for the item when a box could not read its guide at all: that speaks against no lesson."""
DURATION_WITHIN_S = 0.1
"""Between what two portals say about one lesson."""

Kind = Literal[
    "no_login",
    "no_list",
    "missing",
    "title",
    "column",
    "family",
    "duration",
    "order",
    "unplayable",
    "no_browser",
    "programme",
]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in which a box does not agree with the others."""

    kind: Kind
    box: str
    item_id: str = ""
    here: str = ""
    """What this box says."""
    elsewhere: str = ""
    """What most others say."""


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict over one run."""

    boxes: tuple[str, ...]
    items: tuple[str, ...]
    """Everything that any box lists."""
    everywhere: tuple[str, ...]
    """Of these, what every box lists, and played if it was asked to."""
    differences: tuple[Difference, ...]
    excused: tuple[Difference, ...] = ()
    """What a box cannot have by its nature: an app without a browser shows no picture-text lesson."""

    @property
    def gap(self) -> int:
        """Number of items that some boxes have and others have not (``parity_gap``)."""
        return len(self.items) - len(self.everywhere)

    @property
    def ok(self) -> bool:
        """Whether all boxes agree in everything, and there is something to agree on."""
        return bool(self.items) and not self.differences


def pages_of(listings: Mapping[str, Sequence[Offer] | PlayError]) -> frozenset[str]:
    """Return the items that some box knows to be picture-text lessons."""
    lists = (each for each in listings.values() if not isinstance(each, PlayError))
    return frozenset(offer.item_id for each in lists for offer in each if offer.family == "picture_text")


def compare(
    listings: Mapping[str, Sequence[Offer] | PlayError],
    rows: Sequence[Observation] = (),
    *,
    pageless: Collection[str] = (),
) -> Parity:
    """Lay the lists of all boxes side by side, and what came of playing (rows may be missing).

    ``pageless`` are boxes without a browser: that they do not list picture-text lessons is excused.
    """
    found: list[Difference] = []
    seen: dict[str, dict[str, Offer]] = {}
    for box, listing in listings.items():
        if isinstance(listing, PlayError):
            kind: Kind = "no_login" if listing.stage is Stage.LOGIN else "no_list"
            found.append(Difference(kind=kind, box=box, here=str(listing.reason)))
            seen[box] = {}
        else:
            seen[box] = {offer.item_id: offer for offer in listing}
    items = tuple(dict.fromkeys(item for offers in seen.values() for item in offers))
    pages, excused = pages_of(listings), []
    for item in items:
        offers_of = {box: offers.get(item) for box, offers in seen.items() if _read(listings[box])}
        for box in [box for box, offer in offers_of.items() if offer is None and item in pages and box in pageless]:
            excused.append(Difference(kind="no_browser", box=box, item_id=item))
            del offers_of[box]
        found += _compare_item(item, offers_of)
        told = {box: [offer.announced_s] for box, offer in offers_of.items() if offer is not None}
        for row in rows:
            if row.lesson == item and row.box in told:
                told[row.box].append(row.announced_s)
        units = {box: offer.announced_unit_s for box, offer in offers_of.items() if offer is not None}
        lengths = {box: [s for s in each if s is not None] for box, each in told.items()}
        found += _compare_lengths(item, lengths, units)
    found += _compare_order({box: list(offers) for box, offers in seen.items() if offers})
    for row in rows:
        if not row.ok and row.lesson in seen.get(row.box, {}):
            found.append(
                Difference(kind="unplayable", box=row.box, item_id=row.lesson, here=f"{row.stage}: {row.reason}")
            )
    apart = {each.item_id for each in found if each.kind in ("missing", "unplayable")}
    silent = any(not _read(listing) for listing in listings.values())
    everywhere = () if silent else tuple(item for item in items if item not in apart)
    return Parity(
        boxes=tuple(listings),
        items=items,
        everywhere=everywhere,
        differences=tuple(found),
        excused=tuple(excused),
    )


def with_guides(parity: Parity, guides: Mapping[str, Mapping[str, Sequence[int]] | PlayError]) -> Parity:
    """Lay the programme guides side by side, too: when what begins on each channel, to the second.

    ``guides`` are of boxes that have one.
    """
    found: list[Difference] = []
    names: dict[str, None] = {}
    for box, guide in guides.items():
        if isinstance(guide, PlayError):
            found.append(Difference(kind="programme", box=box, item_id=GUIDE, here=str(guide.reason)))
        else:
            names |= dict.fromkeys(guide)
    for name in names:
        said = {box: tuple(guide.get(name, ())) for box, guide in guides.items() if not isinstance(guide, PlayError)}
        usual = max(said.values(), key=list(said.values()).count)
        for box, here in said.items():
            if here != usual:
                mine, theirs = _first_apart(here, usual)
                found.append(Difference(kind="programme", box=box, item_id=name, here=mine, elsewhere=theirs))
    return msgspec.structs.replace(parity, differences=(*parity.differences, *found))


def _first_apart(here: Sequence[int], there: Sequence[int]) -> tuple[str, str]:
    """Show the first beginning in which two guides differ, UTC; a dash for one that has no more."""
    for mine, theirs in zip_longest(here, there):
        if mine != theirs:
            words = [
                "-" if each is None else f"{datetime.fromtimestamp(each, UTC):%Y-%m-%d %H:%M:%SZ}"
                for each in (mine, theirs)
            ]
            return words[0], words[1]
    return "", ""


def _read(listing: Sequence[Offer] | PlayError) -> bool:
    return not isinstance(listing, PlayError)


def _compare_item(item: str, offers: Mapping[str, Offer | None]) -> list[Difference]:
    """Compare what boxes that could read their list say about one item."""
    found = [Difference(kind="missing", box=box, item_id=item) for box, offer in offers.items() if offer is None]
    there = {box: offer for box, offer in offers.items() if offer is not None}
    fields: tuple[Literal["title", "column", "family"], ...] = ("title", "column", "family")
    for field in fields:
        said_by = {box: _said(offer, field) for box, offer in there.items()}
        usual = _most([here for here in said_by.values() if here])
        for box, here in said_by.items():
            if here and here != usual:
                found.append(Difference(kind=field, box=box, item_id=item, here=here, elsewhere=usual))
    return found


def _compare_lengths(item: str, told: Mapping[str, Sequence[float]], units: Mapping[str, float]) -> list[Difference]:
    """Compare how long an item is, as each box was told by its list, its SDP or its playlist."""
    said = sorted(each for lengths in told.values() for each in lengths)
    middle = said[len(said) // 2] if said else 0.0
    furthest = {box: max(lengths, key=lambda each: abs(each - middle)) for box, lengths in told.items() if lengths}
    return [
        Difference(kind="duration", box=box, item_id=item, here=f"{each:.3f}", elsewhere=f"{middle:.3f}")
        for box, each in furthest.items()
        if abs(each - middle) > max(DURATION_WITHIN_S, units.get(box, 0.0))
    ]


def _said(offer: Offer, field: Literal["title", "column", "family"]) -> str:
    """Return what a list says, empty when its dialect has no place for it: some tell what a lesson is when asked."""
    return "" if field == "family" and not offer.url else getattr(offer, field)


def _compare_order(orders: Mapping[str, list[str]]) -> list[Difference]:
    """Compare in which order boxes list what all of them list."""
    if len(orders) < 2:
        return []
    shared = set.intersection(*(set(order) for order in orders.values()))
    cut = {box: " ".join(item for item in order if item in shared) for box, order in orders.items()}
    usual = _most(list(cut.values()))
    return [
        Difference(kind="order", box=box, here=order, elsewhere=usual) for box, order in cut.items() if order != usual
    ]


def _most(values: Sequence[str]) -> str:
    """Return what most say; of equals the first."""
    return max(values, key=values.count) if values else ""


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """When each box first saw an item; times in seconds of one clock."""

    item_id: str
    first_s: Mapping[str, float | None]

    @property
    def seconds(self) -> float | None:
        """From the first box to the last (``parity_lag``); None while a box has not seen it."""
        times = list(self.first_s.values())
        known = [each for each in times if each is not None]
        return max(known) - min(known) if known and len(known) == len(times) else None
