"""Portals: how a box logs in and finds out which lessons there are. Siblings do not know each other."""

from __future__ import annotations

from typing import Protocol

from stb_emulator.observe import Offer


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
