"""Who watches what: admission, liveness, expiry (requirements: bounded load, vanished boxes do not hold a place)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

VIEWINGS_MAX_COUNT = 400
"""Default admission limit of one edge."""
VIEWING_TIMEOUT_S = 180.0
"""Default; the slowest keep-alive seen in the field is 55 s (reference/stb_protocols §4.8)."""


class Full(Exception):
    """The edge already serves as many viewings as it may."""


@dataclass(frozen=True, slots=True)
class Viewing:
    """One box watching one item. Times are monotonic seconds."""

    viewing_id: str
    box: str
    """What is known of the box: its account, or else its IP address."""
    item_id: str
    transport: str
    """E.g. ``MP2T/RTP/UDP``."""
    started_s: float
    last_seen_s: float


class Viewings:
    """The table of viewings of one egress or of the whole edge."""

    def __init__(self, *, max_count: int = VIEWINGS_MAX_COUNT, timeout_s: float = VIEWING_TIMEOUT_S) -> None:
        """Bound the number of viewings and the silence of each."""
        self.max_count = max_count
        self.timeout_s = timeout_s
        self._table: dict[str, Viewing] = {}

    def admit(self, viewing_id: str, *, box: str, item_id: str, transport: str, now_s: float) -> Viewing:
        """Enter a viewing; one of the same id is replaced.

        Raises:
            Full: the limit is reached.
        """
        if viewing_id not in self._table and len(self._table) >= self.max_count:
            raise Full(f"{self.max_count} viewings are running; try again when one has ended")
        viewing = Viewing(viewing_id, box, item_id, transport, now_s, now_s)
        self._table[viewing_id] = viewing
        return viewing

    def seen(self, viewing_id: str, now_s: float) -> None:
        """Note a sign of life; an unknown id is ignored (it may just have expired)."""
        viewing = self._table.get(viewing_id)
        if viewing is not None and now_s > viewing.last_seen_s:
            self._table[viewing_id] = replace(viewing, last_seen_s=now_s)

    def end(self, viewing_id: str) -> Viewing | None:
        """Take a viewing out; None when it was not there."""
        return self._table.pop(viewing_id, None)

    def get(self, viewing_id: str) -> Viewing | None:
        """Look one up."""
        return self._table.get(viewing_id)

    def deadline_s(self, viewing_id: str) -> float | None:
        """Tell when the viewing expires unless a sign of life comes; None when it is not there."""
        viewing = self._table.get(viewing_id)
        return None if viewing is None else viewing.last_seen_s + self.timeout_s

    def expired(self, now_s: float) -> tuple[Viewing, ...]:
        """List the viewings that have been silent for too long; they stay until ``end``."""
        return tuple(each for each in self._table.values() if now_s - each.last_seen_s >= self.timeout_s)

    def __len__(self) -> int:
        """Count the viewings."""
        return len(self._table)

    def __iter__(self) -> Iterator[Viewing]:
        """Walk a copy of the table."""
        return iter(tuple(self._table.values()))
