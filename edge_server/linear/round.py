"""The airings of a channel's lessons, counted from its epoch: where each begins in time and numbers. Pure."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from edge_server.linear import LinearChannel, Slot, Step
from media.ts_join import Place, Retimed, TsEnds, retime
from wire.mpegts import PTS_HZ


@dataclass(frozen=True, slots=True)
class Airing:
    """One lesson, once."""

    number: int
    """Since the channel's epoch."""
    slot: Slot
    begins_ticks: int
    """Since the channel's epoch; 90 kHz."""


class Round:
    """A channel whose streams can be joined. Everything is a function of the number of an airing."""

    def __init__(self, channel: LinearChannel) -> None:
        """Take a channel; each slot has its ``ends``."""
        self.channel = channel
        slots = channel.slots
        self._ends: list[TsEnds] = [each.ends for each in slots if each.ends is not None]
        if len(self._ends) != len(slots):
            raise ValueError(f"channel {channel.channel_id} has lessons that cannot be joined")
        self._ticks = [0, *accumulate(each.lasts_ticks for each in self._ends)]
        self._counters = {pid: self._counted(pid) for ends in self._ends for pid, _ in ends.packets}
        changes = [
            before.pmt != after.pmt for before, after in zip([self._ends[-1], *self._ends], self._ends, strict=False)
        ]
        self._changes = list(accumulate(changes))
        self._retimed: list[Retimed] = [
            retime(this, following)
            for this, following in zip(self._ends, [*self._ends[1:], self._ends[0]], strict=True)
        ]

    def renew(self, channel: LinearChannel) -> None:
        """Take the same channel with other renditions: nothing that is one stream for all changes."""
        self.channel = channel

    def ladder(self) -> tuple[str, ...]:
        """Return the names of the renditions that every lesson has, best first."""
        first, *others = self.channel.slots
        names = [{step.name for step in slot.steps} for slot in others]
        return tuple(step.name for step in first.steps if all(step.name in each for each in names))

    def steps(self, name: str) -> tuple[Step, ...]:
        """Return one rendition of each lesson of the round; fewer when some lack it."""
        return tuple(step for slot in self.channel.slots for step in slot.steps if step.name == name)

    def segments_before(self, number: int, name: str) -> int:
        """Return the HLS segments of all airings before this one, of a rendition that all have."""
        counts = [step.segments_count for step in self.steps(name)]
        rounds, place = divmod(number, len(counts))
        return rounds * sum(counts) + sum(counts[:place])

    def _counted(self, pid: int) -> list[int]:
        return [0, *accumulate(dict(ends.packets).get(pid, 0) for ends in self._ends)]

    def number_at(self, ticks: int) -> int:
        """Return the number of the airing that is on at this time since the epoch."""
        rounds, into = divmod(ticks, self._ticks[-1])
        return rounds * len(self._ends) + bisect_right(self._ticks, into) - 1

    def airing(self, number: int) -> Airing:
        """Return one airing."""
        rounds, place = divmod(number, len(self._ends))
        return Airing(
            number,
            self.channel.slots[place],
            rounds * self._ticks[-1] + self._ticks[place],
        )

    def lead_ticks(self, number: int) -> int:
        """Return how long an airing is on before its lesson begins: what a player of the lesson alone hides."""
        return self._ends[number % len(self._ends)].hidden_ticks

    def place(self, number: int) -> Place:
        """Return where an airing stands in the joined stream."""
        rounds, place = divmod(number, len(self._ends))
        return Place(
            ends=self._ends[place],
            shown_ticks=rounds * self._ticks[-1] + self._ticks[place],
            counters={pid: rounds * all_[-1] + all_[place] & 15 for pid, all_ in self._counters.items()},
            pmt_version=rounds * self._changes[-1] + self._changes[place] & 31,
            retimed=self._retimed[place],
        )

    def ticks_of(self, moment: datetime) -> int:
        """Return a moment as time since the epoch."""
        since = moment - self.channel.epoch
        return (since.days * 86400 + since.seconds) * PTS_HZ + since.microseconds * PTS_HZ // 1_000_000

    def moment_of(self, ticks: int) -> datetime:
        """Return the moment of a time since the epoch."""
        return self.channel.epoch + timedelta(
            seconds=ticks // PTS_HZ, microseconds=ticks % PTS_HZ * 1_000_000 // PTS_HZ
        )
