"""Where one viewer is in one track: the frame that is due next, and the chunks around it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from edge_server.egress.whep.frames import Chunk, Frame
from edge_server.egress.whep.outgoing import Outgoing

Ask = Callable[[Hashable, Callable[[], Chunk], Callable[[Chunk | Exception], None]], Chunk | None]
"""See ``chunks.Chunks.take``."""


class Track(Protocol):
    """The pictures or the sound of a lesson, in chunks."""

    @property
    def chunks(self) -> int:
        """Number of chunks."""

    def key(self, number: int) -> Hashable:
        """Name a chunk among all chunks of all lessons."""

    def read_chunk(self, number: int) -> Chunk:
        """Make a chunk; blocks."""

    def chunk_at(self, time_s: float) -> int:
        """Return the chunk to begin with so as to show that time."""

    def begins_s(self, number: int) -> float:
        """Tell when the first frame of a chunk is due."""

    def keyframe_after(self, time_s: float) -> float | None:
        """Tell when the next keyframe after that time is due; None when there is none."""


@dataclass(slots=True)
class Place:
    """A frame, and how much of it has gone out."""

    frame: Frame
    payload: int = 0


class Lane:
    """Walks through a track; the next chunk is asked for while the one before is being sent."""

    def __init__(self, track: Track, out: Outgoing, ask: Ask, arrived: Callable[[Exception | None], None]) -> None:
        """``arrived``: called when a chunk that was waited for is here, or cannot be made."""
        self.track, self.out = track, out
        self._ask, self._arrived = ask, arrived
        self._number, self._index, self._from_s = 0, 0, 0.0
        self._held: dict[int, Chunk] = {}
        self._asked: set[int] = set()
        self._place: Place | None = None

    @property
    def over(self) -> bool:
        """Every frame was passed."""
        return self._number >= self.track.chunks

    @property
    def number(self) -> int:
        """The chunk of the next frame."""
        return self._number

    def go(self, number: int, from_s: float) -> None:
        """Continue with a chunk; frames that were due before ``from_s`` are left out."""
        self._number, self._index, self._from_s, self._place = number, 0, from_s, None
        self._fetch()

    def next(self) -> Place | None:
        """Return what is due next; None at the end, and while it is being made."""
        while self._place is None and not self.over:
            chunk = self._held.get(self._number)
            if chunk is None:
                self._fetch()
                return None
            if self._index >= len(chunk.frames):
                self._number, self._index = self._number + 1, 0
                self._fetch()
                continue
            frame = chunk.frames[self._index]
            self._index += 1
            if frame.time_s >= self._from_s:
                self._place = Place(frame)
        return self._place

    def sent(self) -> None:
        """Pass the frame."""
        self._place = None

    def _fetch(self) -> None:
        """Hold the chunk at hand and the one after it, and no other."""
        wanted = [n for n in (self._number, self._number + 1) if n < self.track.chunks]
        self._held = {n: chunk for n, chunk in self._held.items() if n in wanted}
        for number in wanted:
            if number not in self._held and number not in self._asked:
                make, got = partial(self.track.read_chunk, number), partial(self._got, number)
                found = self._ask(self.track.key(number), make, got)
                if found is None:
                    self._asked.add(number)
                else:
                    self._held[number] = found

    def _got(self, number: int, made: Chunk | Exception) -> None:
        self._asked.discard(number)
        if isinstance(made, Exception):
            self._arrived(made)
            return
        if self._number <= number <= self._number + 1:
            self._held[number] = made
        if number == self._number:
            self._arrived(None)
