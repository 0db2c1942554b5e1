"""What tracks are made of: frames, in chunks that are made and kept together; and the file that they come from."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


class Source:
    """A stored file, held open for as long as anybody refers to this: a clean-up cannot cut a lesson short."""

    def __init__(self, file: Path) -> None:
        """Open it.

        Raises:
            OSError: it cannot be opened.
        """
        self.name = file.name
        self.descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)

    def read(self, size_bytes: int, offset_bytes: int) -> bytes:
        """Read there; shorter at the end of the file.

        Raises:
            OSError: the disk is broken.
        """
        return os.pread(self.descriptor, size_bytes, offset_bytes)


def chunk_of(frames: Sequence[Frame]) -> Chunk:
    """Put frames together; what they cost in memory is counted."""
    cost = sum(len(payload) + _PAYLOAD_COST_BYTES for frame in frames for payload in frame.payloads)
    return Chunk(tuple(frames), cost)
