"""Where in a transport stream file the player's clock should be: bytes to seconds and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Timeline:
    """The PCR timeline of one file; both arrays grow, and begin at byte 0 and second 0."""

    offset_bytes: NDArray[Any]
    time_s: NDArray[Any]
    """When the byte at that offset has its turn."""
    length_bytes: int
    duration_s: float
    """Of the lesson, in npt."""
    delay_s: float = 0.0
    """The second of this clock at which npt 0 is shown."""

    def time_at(self, offset_bytes: int) -> float:
        """Return the second at which this byte has its turn."""
        return float(np.interp(offset_bytes, self.offset_bytes, self.time_s))

    def times_at(self, offsets_bytes: list[int]) -> list[float]:
        """Return the second of each of these bytes."""
        found: list[float] = np.interp(offsets_bytes, self.offset_bytes, self.time_s).tolist()
        return found

    def offset_at(self, time_s: float) -> int:
        """Return how many bytes of the file have had their turn at this second."""
        if time_s >= self.time_s[-1]:
            return self.length_bytes
        return int(np.interp(time_s, self.time_s, self.offset_bytes))

    def npt_at(self, offset_bytes: int) -> float:
        """Return the second of the lesson that is shown when this byte has its turn."""
        return min(max(self.time_at(offset_bytes) - self.delay_s, 0.0), self.duration_s)
