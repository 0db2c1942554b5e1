"""What a box saw: the shared types of portals, players, the judge and the seat."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from stb_emulator.observe.keys import Pressed

Family = Literal["video", "picture_text"]


class Stage(StrEnum):
    """Where a lesson got to, or where it failed (REQ-AV-04: the failed stage is recorded)."""

    LOGIN = "login"
    BROWSE = "browse"
    DESCRIBE = "describe"
    SETUP = "setup"
    FETCH = "fetch"
    PLAY = "play"
    DECODE = "decode"
    TIMING = "timing"
    CONTENT = "content"
    DONE = "done"


class Reason(msgspec.Struct, frozen=True):
    """Why, in a few words: Chinese for the screen, English beside it."""

    zh: str
    en: str

    def __str__(self) -> str:
        """Chinese first."""
        return f"{self.zh} / {self.en}" if self.zh != self.en else self.en


class PlayError(Exception):
    """A box cannot go on; says at which stage and why."""

    def __init__(self, stage: Stage, zh: str, en: str) -> None:
        """``zh`` and ``en`` are short; details of the peer's reply belong in them, never a stack trace."""
        super().__init__(f"{stage}: {en}")
        self.stage, self.reason = stage, Reason(zh, en)


class Unreachable(PlayError):
    """Nobody answers at the address."""


class NotAllowed(PlayError):
    """The box was sent to a host that is neither loopback nor on the allow list."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """One lesson as this box's portal lists it."""

    item_id: str
    title: str
    column: str
    family: Family
    url: str
    """Where this box would play it; may be empty when ``lookup`` must be asked first."""
    lookup: str = ""
    """A portal-private key with which the address can be asked for."""
    announced_s: float | None = None
    """Duration that the portal states, seconds."""
    announced_unit_s: float = 0.0
    """What the dialect counts durations in, where that is coarse: 1 for whole seconds, the rest cut off."""
    live: bool = False
    """Listed among the channels: it need not have an end."""


class FrameCode(msgspec.Struct, frozen=True, kw_only=True):
    """What the numbers painted into the pictures say (docs/frame_code.md)."""

    first: int
    last: int
    read: int
    gaps: int
    duplicates: int
    reorders: int
    unreadable: int

    @property
    def perfect(self) -> bool:
        """Every picture once, in order."""
        return self.gaps == self.duplicates == self.reorders == self.unreadable == 0


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One box and one lesson: the row of a report."""

    box: str
    lesson: str
    title: str
    ok: bool
    stage: Stage
    reason: str
    unreachable: bool = False
    """Nobody answered at the address at all."""
    startup_ms: int | None = None
    """From switching on (portal start) to the first decoded picture."""
    first_picture_ms: int | None = None
    """From asking to play to the first decoded picture."""
    stalls: int = 0
    stall_ms: int = 0
    frames: int = 0
    audio_frames: int = 0
    lost: int = 0
    reordered: int = 0
    duplicates: int = 0
    continuity_errors: int = 0
    decode_errors: int = 0
    gaps: int = 0
    backwards: int = 0
    black_ms: int = 0
    frozen_ms: int = 0
    played_s: float = 0.0
    announced_s: float | None = None
    bytes: int = 0
    transport: str = ""
    video: str = ""
    audio: str = ""
    frame_code: FrameCode | None = None
    """Of the leg from the beginning to the first key that leads elsewhere."""
    pressed: tuple[Pressed, ...] = ()
    ended: str = ""
    """How the server announced the end; empty when it did not, or nobody waited for it."""
    redirects: int = 0
    beats: int = 0
    """Signs of life that the player sent, and how many were answered as its dialect demands."""
    beats_answered: int = 0
    warnings: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()
