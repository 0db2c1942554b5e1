"""Keys of a remote control: which is pressed when, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

import msgspec


class Key(StrEnum):
    """What a remote control has."""

    PAUSE = "pause"
    SEEK = "seek"
    TRICK = "trick"
    SHIFT = "shift"
    """The time bar of a channel: to a moment of the calendar."""
    PLAY = "play"
    """Normal speed again: what ends a pause or winding. Never asked for by itself."""


@dataclass(frozen=True, slots=True)
class Press:
    """One key, and when: after ``after_s`` seconds of media played since the key before (or the start)."""

    key: Key
    after_s: float
    hold_s: float = 0.0
    """PAUSE and TRICK: seconds on the wall until play is pressed."""
    to_s: float = 0.0
    """SEEK: a place in the lesson, seconds; negative: so long before its end."""
    scale: int = 1
    """TRICK: the speed, backwards when negative."""
    moment: datetime | None = None
    """SHIFT: the moment."""

    def place(self, announced_s: float | None) -> float:
        """Where SEEK leads to, in seconds from the beginning.

        Raises:
            ValueError: counted from an end that nobody announced.
        """
        if self.to_s >= 0:
            return self.to_s
        if announced_s is None:
            raise ValueError("a place before the end of a lesson of unknown length")
        return max(0.0, announced_s + self.to_s)


Proof = Literal["", "frame_code", "wire"]
"""By what a place is known: numbers in the pictures, or what answers and timestamps say."""


class Pressed(msgspec.Struct, frozen=True, kw_only=True):
    """One key that was pressed, for the report."""

    key: Key
    has_key: bool = True
    """False: this box (or its way of playing) has no such key."""
    asked: str = ""
    """What the box asked for, in the words of its protocol."""
    answered: str = ""
    wanted_s: float | None = None
    """The place asked for, or the one that should be gone on from; seconds of the lesson."""
    at_s: float | None = None
    """The place of the first picture after it."""
    proof: Proof = ""
    first_picture_ms: int | None = None
    """From the key to the first picture after it."""
    scale: int = 1
    frames: int = 0
    """Pictures shown until the next key that leads elsewhere."""


@dataclass(slots=True)
class Pressing:
    """A key as it is being pressed: the player fills it in, the decoder notes the first picture."""

    key: Key
    at: float = 0.0
    """When it was pressed (monotonic)."""
    asked: str = ""
    answered: str = ""
    wanted_s: float | None = None
    scale: int = 1
    said_s: float | None = None
    """The place that the server's answer, or the media's own time line, gives."""
    said_scale: float | None = None
    """The speed that the server's answer gives."""
    grain_s: float = 0.0
    """How coarse this way of playing seeks at best, e.g. the length of a segment."""
    first_picture_at: float | None = None
    has_key: bool = True
