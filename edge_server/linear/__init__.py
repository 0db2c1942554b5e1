"""Linear channels (教育频道): lessons one after the other by a schedule, the same for every box at the same moment.

A channel is data and arithmetic: who asks at the same time gets the same programmes, whatever process answers, and
nothing is recorded to shift time: a moment of the past is a place in a lesson. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from media.ts_join import TsEnds

PROGRAMMES_MAX_COUNT = 5000
"""Of one answer: a week of lessons of two minutes."""


@dataclass(frozen=True, slots=True)
class Step:
    """One rendition of a lesson, for players that choose."""

    name: str
    version: str
    """As in the addresses of segments."""
    segments_count: int
    segment_max_s: float
    peak_bps: int
    """Of the segments, containers included."""
    average_bps: int
    codecs: tuple[str, ...]
    resolution: tuple[int, int]
    frame_rate: float


@dataclass(frozen=True, slots=True)
class Slot:
    """One lesson of a round."""

    item_id: str
    title: str
    duration_s: float
    """Above 0."""
    version: str = ""
    """Of its stream, as in the addresses of segments."""
    ends: TsEnds | None = None
    """What joins its stream with others."""
    steps: tuple[Step, ...] = field(default=(), compare=False)
    """All its renditions, best first; what is one stream for all does not depend on them."""


@dataclass(frozen=True, slots=True)
class Programme:
    """A lesson at its time. Times are UTC; ``stop`` is when the next one starts."""

    start: datetime
    stop: datetime
    item_id: str
    title: str
    place: int
    """Number of the slot in the round."""


@dataclass(frozen=True, slots=True)
class LinearChannel:
    """One channel: a round of lessons that has been going on since ``epoch``, for ever."""

    channel_id: str
    """Digits, unlike any item's id; unique on this edge."""
    number: int
    """On the remote control."""
    name: str
    epoch: datetime
    """When a round began; UTC."""
    slots: tuple[Slot, ...]
    """At least one."""
    multicast: str = ""
    """``239.1.1.1:5000`` when it is sent to a group."""
    rtp: bool = False
    """The group gets RTP, not bare transport stream packets."""
    time_shift_s: float = 7200.0
    """How far back boxes may go; 0 for what is given live."""
    by_rtsp: bool = True
    """RTSP has it, too."""
    fcc_port: int = 0
    """UDP port of this edge that has fast channel change for the group; 0: none."""
    fec_port: int = 0
    """Of the group, with its repair packets; 0: none."""

    @property
    def round_s(self) -> float:
        """Length of a round in seconds."""
        return sum(slot.duration_s for slot in self.slots)

    def programmes(self, since: datetime, until: datetime) -> tuple[Programme, ...]:
        """List what is on between two moments, the first one already running then; at most PROGRAMMES_MAX_COUNT."""
        first, _ = self._round_at(since)
        start = self.epoch + timedelta(seconds=first * self.round_s)
        found: list[Programme] = []
        while start < until and len(found) < PROGRAMMES_MAX_COUNT:
            for place, slot in enumerate(self.slots):
                stop = start + timedelta(seconds=slot.duration_s)
                if stop > since and start < until and len(found) < PROGRAMMES_MAX_COUNT:
                    found.append(Programme(start, stop, slot.item_id, slot.title, place))
                start = stop
        return tuple(found)

    def at(self, moment: datetime) -> tuple[Programme, float]:
        """Return what is on at a moment, and how many seconds of it are over."""
        number, _ = self._round_at(moment)
        start = self.epoch + timedelta(seconds=number * self.round_s)
        for place, slot in enumerate(self.slots):
            stop = start + timedelta(seconds=slot.duration_s)
            if moment < stop or place == len(self.slots) - 1:
                return Programme(start, stop, slot.item_id, slot.title, place), (moment - start).total_seconds()
            start = stop
        raise ValueError(f"channel {self.channel_id} has no slots")

    def _round_at(self, moment: datetime) -> tuple[int, float]:
        number, into_s = divmod((moment - self.epoch).total_seconds(), self.round_s)
        return int(number), into_s


def by_id(channels: Sequence[LinearChannel], channel_id: str) -> LinearChannel | None:
    """Find a channel; None when there is none of that id."""
    return next((each for each in channels if each.channel_id == channel_id), None)
