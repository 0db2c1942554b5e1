"""Portals: how a box logs in and finds out which lessons there are. Siblings do not know each other.

Each family is a module or package here with a constant ``PORTAL`` of type `OpenPortal`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

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


OpenPortal = Callable[[Box, str, Line, Clock], Portal]
"""Makes a portal client of a box for the address that it was set up with."""
