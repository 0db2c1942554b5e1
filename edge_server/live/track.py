"""What viewers take one by one: the last seconds of pictures or of sound, and who waits for the next. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

TRACK_MAX_S = 15.0
TRACK_MAX_BYTES = 24 << 20
FOR_EVER = 1 << 40


@dataclass(frozen=True, slots=True)
class Unit:
    """One picture as NAL units, or one packet of Opus."""

    number: int
    """From 0, without gaps."""
    time_s: float
    """When it is shown, on the channel's time line."""
    key: bool
    parts: tuple[bytes, ...]


class LiveTrack:
    """A bounded ring; the oldest go."""

    def __init__(self) -> None:
        """Nothing is there."""
        self.units: deque[Unit] = deque()
        self.ended = False
        self.bytes = 0
        self._next = 0
        self._waiting: dict[int, list[Callable[[], None]]] = {}

    @property
    def count(self) -> int:
        """Units that there will ever have been, as far as is known."""
        return self._next if self.ended else FOR_EVER

    def add(self, time_s: float, key: bool, parts: tuple[bytes, ...]) -> None:
        """Take the next one, and call who waits."""
        number = self._next
        self.units.append(Unit(number, time_s, key, parts))
        self._next += 1
        self.bytes += sum(map(len, parts))
        while self.units and (self.bytes > TRACK_MAX_BYTES or time_s - self.units[0].time_s > TRACK_MAX_S):
            self.bytes -= sum(map(len, self.units.popleft().parts))
        for each in self._waiting.pop(number, ()):
            each()

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True
        waiting, self._waiting = self._waiting, {}
        for calls in waiting.values():
            for each in calls:
                each()

    def unit(self, number: int) -> Unit | None:
        """Return the unit of that number; None when it has not come or is gone."""
        at = number - self.units[0].number if self.units else -1
        return self.units[at] if 0 <= at < len(self.units) else None

    def is_gone(self, number: int) -> bool:
        """Tell whether the unit was here."""
        return number < self._next and self.unit(number) is None

    def from_time(self, time_s: float) -> int:
        """Return the first that is shown then or later; the next to come when there is none."""
        return next((each.number for each in self.units if each.time_s >= time_s - 1e-6), self._next)

    def last_key(self, until_s: float = float("inf")) -> Unit | None:
        """Return the last key picture that is shown then or earlier."""
        return next((each for each in reversed(self.units) if each.key and each.time_s <= until_s + 1e-6), None)

    def key_after(self, time_s: float) -> Unit | None:
        """Return the first key picture that is shown later."""
        return next((each for each in self.units if each.key and each.time_s > time_s + 1e-6), None)

    def wait(self, number: int, call: Callable[[], None]) -> None:
        """Be called when the unit of that number is here, or none will be."""
        self._waiting.setdefault(number, []).append(call)
