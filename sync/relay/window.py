"""Giving parts of packs out of what is held: packs themselves are on no edge."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from sync import Missing, SyncError
from sync.holding import Holding, Part
from sync.holding.spans import BATCH_BYTES, UnitReader
from sync.patch import squeeze
from sync.places import PACK_MAX_BYTES
from sync.pull.ways import Way
from sync.recipe import UNIT_MAX_BYTES, Recipe
from sync.relay.book import Book, Span, spans_of

RELAY_RANGE_MAX_BYTES = 16 * 1024 * 1024
"""Of one request; an edge asks for 4 MiB, or for one unit."""
UNIT_LEVEL = 3
"""zstd level at which publishers squeeze units that are no media. Another zstd may do it otherwise, hence the check of
the length; a frame of that length with other bytes inside is as good, since it is the raw unit that is hashed."""
BOOK_NAME = "places.sqlite"
UNITS_AT_ONCE_MAX = 65_536
"""In one request."""


@dataclass(frozen=True)
class _Spot:
    """A unit and where it lies, in the pack and here."""

    start: int
    stored: int
    sha256: str
    ordinal: int

    @property
    def stop(self) -> int:
        return self.start + self.stored


@dataclass(frozen=True)
class _Seat:
    """An object that can give units."""

    recipe: Recipe
    part: Part | None

    def holds(self, spot: _Spot) -> bool:
        if spot.ordinal >= self.recipe.units or spot.stored > int(self.recipe.unit_length[spot.ordinal]):
            return False
        return self.part is None or self.part.holds(spot.ordinal)


class PackWindow:
    """See the package. Blocking; safe for several threads. Watches pulls, so that it knows what lies where."""

    def __init__(self, holding: Holding) -> None:
        """Nothing is opened yet; what it remembers lies beside the recipes."""
        self._holding = holding
        self._book = Book(holding.root / BOOK_NAME)
        self._lock = threading.Lock()
        self._open: dict[str, Part] = {}
        self._is_swept = False

    # Watching (see sync.pull.watch)

    def begun(self, part: Part, way: Way) -> None:
        """Take note of an object on its way in, and of the places of its units as far as they are told now."""
        if not self._is_swept:  # here and not earlier: whoever pulls is the only one that changes the holding
            self._is_swept = True
            self.sweep()
        self._book.put(part.sha256, self._spans(part.recipe, way))
        with self._lock:
            self._open[part.sha256] = part

    def ended(self, part: Part) -> None:
        """Take note that it is an object now."""
        with self._lock:
            self._open.pop(part.sha256, None)

    # Giving

    def pieces(self, pack: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield bytes [start, stop) of a pack, some MiB at a time; each unit was hashed a moment ago.

        Raises:
            Missing: not all of it is held. Up to RANGE_MAX_BYTES of ``sync.want`` this comes before the first piece;
                later only when the disk turns out to have rotted, and then what was given before is right all the same.
        """
        if not 0 <= start < stop <= PACK_MAX_BYTES or stop - start > RELAY_RANGE_MAX_BYTES:
            raise Missing(f"bytes {start} to {stop} of a pack are not given")
        seats: dict[str, _Seat | None] = {}
        spots = self._spots(pack, start, stop)
        row = list(_row(spots, start, stop, lambda spot: self._is_here(spot, seats)))
        if not row:
            raise Missing(f"bytes {start} to {stop} of pack {pack[:8]}… are not held")
        while row:
            batch = [row.pop(0)]
            size = batch[0][0].stored
            while row and size + row[0][0].stored <= BATCH_BYTES + UNIT_MAX_BYTES // 8:
                size += row[0][0].stored
                batch.append(row.pop(0))
            piece = b"".join(self._read(batch, seats))
            first = batch[0][0].start
            yield piece[max(0, start - first) : stop - first]

    def sweep(self) -> None:
        """Forget the places of objects that are gone."""
        gone = self._book.objects() - set(self._holding.ids())
        with self._lock:
            gone -= self._open.keys()
        for sha256 in gone:
            self._book.remove(sha256)

    def close(self) -> None:
        """Close files; they are opened again when needed."""
        self._book.close()

    # Places

    def _spans(self, recipe: Recipe, way: Way) -> Iterator[Span]:
        """Return the places that the way tells, and for units that it does not, those of held objects that have them.

        Releases tell the places of what is new. An object of which the old version goes would otherwise lose those of
        everything that did not change.
        """
        packs = [bytes.fromhex(each) for each in way.packs]
        numbers = {each: number for number, each in enumerate(packs)}
        pack, offset, stored = way.pack.copy(), way.offset.copy(), way.stored.copy()
        untold = np.flatnonzero(pack < 0).tolist()
        known: dict[str, dict[int, tuple[bytes, int, int]]] = {}
        found: list[list[tuple[str, int]]] = []
        with suppress(OSError, SyncError):  # a pull must not end because of this
            found = self._holding.find([recipe.unit_hash(each) for each in untold]) if untold else []
        for ordinal, owners in zip(untold, found, strict=False):
            for sha256, there in owners:
                if sha256 not in known:
                    known[sha256] = self._places_of(sha256)
                if (place := known[sha256].get(there)) is not None:
                    number = numbers.setdefault(place[0], len(numbers))
                    pack[ordinal], offset[ordinal], stored[ordinal] = number, place[1], place[2]
                    break
        return spans_of(recipe.sha256, list(numbers), pack, offset, stored)

    def _places_of(self, sha256: str) -> dict[int, tuple[bytes, int, int]]:
        return {
            span.first + number: (span.pack, spot.start, spot.stored)
            for span in self._book.of(sha256)
            for number, spot in enumerate(_cut(span))
        }

    def _spots(self, pack: str, start: int, stop: int) -> dict[int, list[_Spot]]:
        """Return the units that are said to lie in that part, by where they begin."""
        spots: dict[int, list[_Spot]] = {}
        count = 0
        for span in self._book.within(pack, start, stop):
            for spot in _cut(span):
                if spot.start < stop and spot.stop > start:
                    spots.setdefault(spot.start, []).append(spot)
                    count += 1
            if count > UNITS_AT_ONCE_MAX:
                raise Missing(f"pack {pack[:8]}… has too many units there")
        return spots

    # Units

    def _is_here(self, spot: _Spot, seats: dict[str, _Seat | None]) -> bool:
        if spot.sha256 not in seats:
            seats[spot.sha256] = self._seat(spot.sha256)
        seat = seats[spot.sha256]
        return seat is not None and seat.holds(spot)

    def _seat(self, sha256: str) -> _Seat | None:
        with self._lock:
            part = self._open.get(sha256)
        if part is not None:
            return _Seat(part.recipe, part)
        recipe = self._holding.recipe_of(sha256) if self._holding.has(sha256) else None
        return _Seat(recipe, None) if recipe is not None else None

    def _read(self, batch: Sequence[Sequence[_Spot]], seats: dict[str, _Seat | None]) -> list[bytes]:
        """Return the units as they lie in the pack; for each there may be several objects to take it from."""
        found: list[bytes | None] = [None] * len(batch)
        for turn in range(max(map(len, batch))):
            by_object: dict[str, list[int]] = {}
            for number, spots in enumerate(batch):
                if found[number] is None and turn < len(spots):
                    by_object.setdefault(spots[turn].sha256, []).append(number)
            for sha256, numbers in by_object.items():
                seat = seats[sha256]
                assert seat is not None
                units = self._units(sha256, seat, [batch[number][turn] for number in numbers])
                for number, unit in zip(numbers, units, strict=True):
                    found[number] = unit
        if any(each is None for each in found):
            raise Missing("a unit that should be held is not, or not as it lies in the pack")
        return [each for each in found if each is not None]

    def _units(self, sha256: str, seat: _Seat, spots: Sequence[_Spot]) -> list[bytes | None]:
        reader = self._reader(sha256, seat)
        if reader is None:
            return [None] * len(spots)
        try:
            units = reader.read([spot.ordinal for spot in spots])
        finally:
            reader.close()
        found: list[bytes | None] = []
        for spot, data in zip(spots, units, strict=True):
            if data is None or hashlib.sha256(data).digest() != seat.recipe.unit_hash(spot.ordinal):
                if seat.part is None:
                    self._holding.note_damage(sha256)
                found.append(None)
                continue
            stored = data if spot.stored == len(data) else squeeze(data, level=UNIT_LEVEL)
            found.append(stored if len(stored) == spot.stored else None)
        return found

    def _reader(self, sha256: str, seat: _Seat) -> UnitReader | None:
        paths = [self._holding.path(sha256)]
        if seat.part is not None:
            paths.insert(0, seat.part.path)  # until the moment when it becomes an object
        for path in paths:
            with suppress(OSError):
                return UnitReader(path, seat.recipe)
        return None


def _cut(span: Span) -> Iterator[_Spot]:
    at = span.start
    for number, stored in enumerate(span.stored.tolist()):
        yield _Spot(at, stored, span.sha256, span.first + number)
        at += stored


def _row(
    spots: dict[int, list[_Spot]], start: int, stop: int, is_here: Callable[[_Spot], bool]
) -> Iterator[list[_Spot]]:
    """Yield the units that cover the part, one after the other, each with all places to take it from; or nothing.

    Raises:
        Missing: there is a gap.
    """
    at = max((spot.start for each in spots.values() for spot in each if spot.start <= start), default=stop)
    while at < stop:
        held = [spot for spot in spots.get(at, ()) if is_here(spot)]
        if not held:
            raise Missing(f"the byte {at} of the pack is not held")
        yield [spot for spot in held if spot.stored == held[0].stored]
        at = held[0].stop
