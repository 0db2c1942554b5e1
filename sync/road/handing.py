"""Knowing, from outside a source, how far a transfer came and whose error ended it."""

from __future__ import annotations

from sync.road import Sink


class Handing:
    """A sink before a sink."""

    def __init__(self, sink: Sink, at: int) -> None:
        """``at`` is the position in the file of the first byte that is to come."""
        self._sink = sink
        self.at = at
        """Where to go on."""
        self.refused = False
        """The sink itself raised: no other source would please it better."""

    def __call__(self, piece: bytes) -> None:
        """See Sink."""
        try:
            self._sink(piece)
        except BaseException:
            self.refused = True
            raise
        self.at += len(piece)
