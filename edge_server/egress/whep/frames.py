"""What tracks are made of: frames, in chunks that are made and kept together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_PAYLOAD_COST_BYTES = 48
"""Of a ``bytes`` object, beside its content."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture, or one block of sound."""

    time_s: float
    """When it is shown, on the time line of the lesson; it is sent at the same time."""
    payloads: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Frames that are made and kept together."""

    frames: tuple[Frame, ...]
    cost_bytes: int


def chunk_of(frames: Sequence[Frame]) -> Chunk:
    """Put frames together; what they cost in memory is counted."""
    cost = sum(len(payload) + _PAYLOAD_COST_BYTES for frame in frames for payload in frame.payloads)
    return Chunk(tuple(frames), cost)
