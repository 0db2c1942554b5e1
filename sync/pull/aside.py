"""What cannot be had from a source that is known to hold only a part of the packs: one stick of several."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sync import Missing

Lacking = Callable[[str], bool]
"""Tells whether the pack of that name (``packs/…``) is known not to be at the source."""


class OnOtherSticks(Missing):
    """Everything that the source has was taken in; the rest lies elsewhere. Pull again from there."""

    def __init__(self, missing_bytes: int, packs: Iterable[str]) -> None:
        """``missing_bytes`` counts bytes of objects, ``packs`` are the names of packs that have them."""
        self.missing_bytes, self.packs = missing_bytes, frozenset(packs)
        super().__init__(f"{missing_bytes:,} bytes are still missing; they lie in {len(self.packs)} packs elsewhere")
