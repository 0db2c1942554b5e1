"""Players: each fetches one way of delivery and feeds the decoder. Siblings do not know each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from runtime.clock import Clock
from stb_emulator.boxes import Box
from stb_emulator.observe import Offer
from stb_emulator.observe.decoder import Decoder
from stb_emulator.observe.line import Line


@dataclass(frozen=True, slots=True)
class Playing:
    """Everything a player needs for one lesson."""

    box: Box
    offer: Offer
    line: Line
    decoder: Decoder
    clock: Clock

    @property
    def enough(self) -> bool:
        """Whether the decoder needs no more."""
        return self.decoder.enough.is_set()


class Player(Protocol):
    """One way of delivery."""

    async def play(self, playing: Playing) -> None:
        """Fetch and feed until the end of the lesson, or until the decoder has enough.

        Raises:
            PlayError: the lesson cannot be had; the stage and reason say why.
        """
