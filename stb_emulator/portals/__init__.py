"""Portals: how a box logs in and finds out which lessons there are. Siblings do not know each other.

Each family is a module or package here with a constant ``PORTAL`` of type `OpenPortal`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Protocol, runtime_checkable

from runtime.clock import Clock
from stb_emulator.boxes import Box
from stb_emulator.observe import Offer
from stb_emulator.observe.line import Line


class Portal(Protocol):
    """One dialect, logged in as one box."""

    deviations: list[str]
    """What was odd in the portal's answers, as the wire readers name it."""

    async def login(self) -> None:
        """Log in.

        Raises:
            PlayError: at stage login.
        """

    async def browse(self) -> tuple[Offer, ...]:
        """List every lesson this box can see, in the portal's order.

        Raises:
            PlayError: at stage browse.
        """

    async def resolve(self, offer: Offer) -> Offer:
        """Return the offer with its play address filled in.

        Raises:
            PlayError: at stage browse.
        """

    async def stay(self) -> None:
        """Keep the login alive for as long as the lesson plays; runs until cancelled.

        Raises:
            PlayError: the portal ended the login.
        """

    async def logout(self) -> None:
        """Log out; never raises over an answer that does not come."""


STARTS_MAX_COUNT = 20
"""Programmes of one channel that are compared; dialects tell more or less of what is to come."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time that a guide is asked for."""

    since: datetime
    until: datetime
    zone: timezone
    """Of the clock by which boxes live: some guides name no zone."""

    def days(self) -> tuple[str, ...]:
        """The local days that it touches, as ``20261124``."""
        first, last = (each.astimezone(self.zone).date() for each in (self.since, self.until))
        count = (last - first).days + 1
        return tuple(f"{first + timedelta(days=number):%Y%m%d}" for number in range(count))

    def starts(self, moments: Iterable[datetime]) -> tuple[int, ...]:
        """The first ``STARTS_MAX_COUNT`` that lie in it, as Unix seconds in order."""
        there = {int(each.timestamp()) for each in moments if self.since <= each < self.until}
        return tuple(sorted(there)[:STARTS_MAX_COUNT])


Guide = dict[str, tuple[int, ...]]
"""By a channel's name: when its programmes begin, Unix seconds."""


@runtime_checkable
class Guided(Protocol):
    """A portal that tells what its channels show."""

    async def guide(self, window: Window) -> Guide:
        """Read the guide of every channel that runs by itself; logged in.

        Raises:
            PlayError: at stage browse.
        """


OpenPortal = Callable[[Box, str, Line, Clock], Portal]
"""Makes a portal client of a box for the address that it was set up with."""
