"""Players: each fetches one way of delivery and feeds the decoder. Siblings do not know each other.

A player that knows keys runs its fetching under `Playing.until_press`, or waits in `Playing.next_press`. For each
press it records what it asks with ``tally.press``, begins a new leg with ``decoder.cut`` (or ends a pause with
``decoder.go_on``), and fills in what was answered. A key that the box does not have is ``tally.no_key``, and playing
goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Protocol

from runtime.clock import Clock
from stb_emulator.boxes import Box
from stb_emulator.observe import Offer
from stb_emulator.observe.decoder import Decoder
from stb_emulator.observe.keys import Key, Press, Pressed, Pressing
from stb_emulator.observe.line import Line

__all__ = ["Key", "Player", "Playing", "Press", "Pressed", "Pressing"]


@dataclass(slots=True)
class Playing:
    """Everything a player needs for one lesson."""

    box: Box
    offer: Offer
    line: Line
    decoder: Decoder
    clock: Clock
    presses: tuple[Press, ...] = ()
    """Keys in the order in which they are pressed."""
    _given: int = field(default=0, init=False)
    _is_under_way: bool = field(default=False, init=False)

    @property
    def enough(self) -> bool:
        """Whether the decoder needs no more."""
        return self.decoder.enough.is_set()

    async def next_press(self) -> Press | None:
        """Wait until the next key is due; None when there is none, or the lesson ended before it was.

        Call it again only when the key that it gave has been carried out.
        """
        if self._is_under_way:
            self._is_under_way = False
            self.decoder.pressed()
        if self._given == len(self.presses):
            return None
        press = self.presses[self._given]
        if not await self.decoder.played(press.after_s):
            return None
        self._given += 1
        self._is_under_way = True
        return press

    async def until_press(self, fetching: Awaitable[None]) -> Press | None:
        """Fetch and feed until the next key is due, and give up fetching then; None when nothing more is to be done.

        When all is fetched, the decoder is told, and the key still comes in its time.

        Raises:
            PlayError: as ``fetching``.
        """
        failures: list[BaseException] = []

        async def fetch() -> None:
            try:
                await fetching
            except Exception as error:
                failures.append(error)
            else:
                self.decoder.all_fed()

        async with asyncio.TaskGroup() as group:
            feed, due = group.create_task(fetch()), group.create_task(self.next_press())
            await asyncio.wait({feed, due}, return_when=asyncio.FIRST_COMPLETED)
            if failures or (due.done() and due.result() is not None):
                feed.cancel()
                due.cancel()
            else:
                await asyncio.wait({feed, due})
        if failures:
            raise failures[0]
        return due.result()

    async def hold(self, press: Press) -> None:
        """Let a pause or winding last as long as the viewer wants it to."""
        await self.clock.sleep_until(self.clock.monotonic() + press.hold_s)


class Player(Protocol):
    """One way of delivery."""

    async def play(self, playing: Playing) -> None:
        """Fetch and feed until the end of the lesson, or until the decoder has enough.

        Raises:
            PlayError: the lesson cannot be had; the stage and reason say why.
        """
