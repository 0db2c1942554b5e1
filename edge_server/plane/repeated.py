"""Answers that need no thought: GET of the whole or of one range, HTTP/1.1, kept alive, sent from at most one file."""

from __future__ import annotations

from edge_server.plane.connection import FileStep
from edge_server.plane.leases import PIECE_BITS
from edge_server.plane.limits import REPEATED_MADE_MAX_BYTES

Range = tuple[int, int]
"""First and last byte asked for, the last -1 for all that follow."""


class Repeated:
    """An answer as it was written, but for the date, which is put in once a second."""

    __slots__ = ("_after", "_before", "date", "head", "made_bytes", "status", "step", "warm_until_s")

    def __init__(self, status: int, before: bytes, after: bytes, made: bytes, step: FileStep) -> None:
        """``before`` and ``after`` are the head around the date, ``made`` the body's bytes in front of the file's."""
        self.status, self.step = status, step
        self.made_bytes = len(made)
        self._before, self._after = before, after + made
        self.date = self.head = b""
        """The head as it was last written, and the field lines in it that tell the date."""
        self.warm_until_s = 0.0

    def dated(self, date: bytes) -> bytes:
        """Return the head, and the first bytes of the body behind it."""
        if date is not self.date:
            self.date = date
            self.head = self._before + date + self._after
        return self.head

    def warmth(self) -> float:
        """Return until when, in monotonic seconds, the bytes of the file are taken to be in memory."""
        opened, offset, stop = self.step
        pieces = range(offset >> PIECE_BITS, ((stop - 1) >> PIECE_BITS) + 1)
        self.warm_until_s = min(opened.warm.get(piece, 0.0) for piece in pieces)
        return self.warm_until_s


def repeated(status: int, before: bytes, after: bytes, pieces: tuple[bytes | FileStep, ...]) -> Repeated | None:
    """Return an answer to be kept; None for one that has another shape, or whose own bytes are many."""
    if not pieces or len(pieces) > 2:
        return None
    made, step = pieces[0] if len(pieces) == 2 else b"", pieces[-1]
    if isinstance(step, bytes) or not isinstance(made, bytes) or len(made) > REPEATED_MADE_MAX_BYTES:
        return None
    return Repeated(status, before, after, made, step)
