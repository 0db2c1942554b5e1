"""The last seconds of one RTP group, packet for packet as they went out: for those who come late. Pure.

Nothing is copied: a run of packets is a view of what was sent anyway.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from wire.rtp import HEADER_BYTES

KEPT_MAX_S = 12.0
"""As old as a key picture may be when somebody begins with it; lessons have one every two seconds."""
KEPT_MAX_BYTES = 8 * 1024 * 1024
"""Of one group: 12 s of 5 Mb/s."""
RATE_LEAST_S = 0.5
"""Shorter stretches say nothing about the rate."""


@dataclass(frozen=True, slots=True)
class Run:
    """Packets that left together, one behind the other; the last one may be shorter."""

    number: int
    """Of the first packet, since the group began."""
    count: int
    width_bytes: int
    data: memoryview
    sent_at: float
    """Monotonic seconds."""
    key: bool
    """Its first packet is the first one of a picture to begin at, with the tables before it."""

    def after(self, count: int) -> memoryview:
        """Return the packets without the first ``count``."""
        return self.data[count * self.width_bytes :]


class Recent:
    """What was sent to one group lately."""

    def __init__(self, *, max_bytes: int = KEPT_MAX_BYTES, max_s: float = KEPT_MAX_S) -> None:
        """Begin empty."""
        self.ended = False
        """Nothing more will come: the group has begun anew, or is no more."""
        self.next_number = 0
        self._max_bytes, self._max_s = max_bytes, max_s
        self._runs: deque[Run] = deque()
        self._kept_bytes = 0
        self._zero: int | None = None
        """Sequence number of packet 0."""

    def note(self, data: memoryview, width_bytes: int, now: float, *, key: bool) -> None:
        """Take the packets that were just sent; where sequence numbers do not go on, what was before is forgotten."""
        sequence = int.from_bytes(data[2:4], "big")
        if self._zero is None or self.sequence_of(self.next_number) != sequence:
            self._zero = sequence - self.next_number & 0xFFFF
            self._runs.clear()
            self._kept_bytes = 0
        count = -(-len(data) // width_bytes)
        self._runs.append(Run(self.next_number, count, width_bytes, data, now, key))
        self.next_number += count
        self._kept_bytes += len(data)
        while self._kept_bytes > self._max_bytes or self._runs[0].sent_at < now - self._max_s:
            self._kept_bytes -= len(self._runs.popleft().data)

    def sequence_of(self, number: int) -> int:
        """Return the RTP sequence number of a packet."""
        return (self._zero or 0) + number & 0xFFFF

    def newest_key(self) -> Run | None:
        """Return the newest run that a receiver can begin with."""
        return next((run for run in reversed(self._runs) if run.key), None)

    def since(self, number: int) -> list[Run] | None:
        """Return the runs from the one on that holds this packet; None when it is not kept any more."""
        if number >= self.next_number:
            return []
        if not self._runs or number < self._runs[0].number:
            return None
        found: list[Run] = []
        for run in reversed(self._runs):
            found.append(run)
            if run.number <= number:
                break
        return found[::-1]

    def bps(self) -> float:
        """Return bits per second of transport stream over what is kept; 0 while it is too little to tell."""
        if not self._runs:
            return 0.0
        lasts_s = self._runs[-1].sent_at - self._runs[0].sent_at
        if lasts_s < RATE_LEAST_S:
            return 0.0
        packets = self.next_number - self._runs[0].number
        return (self._kept_bytes - packets * HEADER_BYTES) * 8 / lasts_s
