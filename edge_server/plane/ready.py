"""Answers as they were written, by the whole request, byte for byte: players of one kind ask alike, and often again."""

from __future__ import annotations

from dataclasses import dataclass

from edge_server.plane.connection import FileStep
from edge_server.plane.limits import READY_MADE_MAX_BYTES, READY_MAX_BYTES, READY_MAX_COUNT
from edge_server.plane.lookup import Found


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent for a request, but for the date."""

    status: int
    before: bytes
    """Of the head, what stands before the date; ``after`` what stands behind it, the empty line included."""
    after: bytes
    pieces: tuple[bytes | FileStep, ...]
    asked_bytes: int
    """Length of what was asked for."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A request that was answered. Good only while its target is still the same ``found``, and still allowed."""

    target: bytes
    found: Found
    answer: Answer
    keep: bool
    line: str
    agent: str


class ReadyAnswers(dict[bytes, Ready]):
    """The memory of them. Bounded by count, and what is large is not taken."""

    def remember(self, request: bytes, ready: Ready) -> None:
        """Take an answer in."""
        made_bytes = sum(len(each) for each in ready.answer.pieces if isinstance(each, bytes))
        if len(request) > READY_MAX_BYTES or made_bytes + len(ready.answer.after) > READY_MADE_MAX_BYTES:
            return
        if len(self) >= READY_MAX_COUNT:
            self.clear()
        self[request] = ready
