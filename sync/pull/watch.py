"""For whoever wants to know what is on its way in, and where it lies at the publisher; neighbours get it from here."""

from __future__ import annotations

from typing import Protocol

from sync.holding import Part
from sync.pull.ways import Way


class Watch(Protocol):
    """Called in threads; must not raise, and must be quick."""

    def begun(self, part: Part, way: Way) -> None:
        """An object begins to come in; called again when more is told of where its units lie."""

    def ended(self, part: Part) -> None:
        """It is an object now. Not called for one that stays unfinished."""


class NoWatch:
    """Nobody wants to know."""

    def begun(self, part: Part, way: Way) -> None:
        """See Watch."""

    def ended(self, part: Part) -> None:
        """See Watch."""
