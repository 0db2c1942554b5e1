"""What one box gets by unicast and when: from a key picture on, faster than the group, until it has caught up. Pure."""

from __future__ import annotations

from edge_server.pacing.recent import Recent, Run

A_TURN_MAX_PACKETS = 64
"""Of one box, some 85 kB: a burst that was late does not make up for it at once."""


class Burst:
    """The packets of a group once more, in the group's own rhythm but compressed in time.

    A packet that left ``t`` seconds after the key picture leaves ``t / rate`` seconds after the beginning, or when the
    group gets it, whichever is later: so the rate is never more than that factor of what the group had.
    """

    def __init__(self, recent: Recent, first: Run, rate: float, now: float) -> None:
        """Begin with the first packet of a run; ``rate`` is above 1."""
        self.recent, self.rate = recent, rate
        self.first_sequence = recent.sequence_of(first.number)
        self.caught_up = False
        self.over = False
        """All is sent that will be."""
        self._zero, self._began, self._next = first.sent_at, now, first.number
        self._stop: int | None = None

    def stop_before(self, sequence: int) -> None:
        """Send no packet from this one on: the box has it from the group. A number long past stops at once."""
        ahead = sequence - self.recent.sequence_of(self._next) & 0xFFFF
        self._stop = self._next + (ahead if ahead < 0x8000 else 0)
        self.over = self._next >= self._stop

    def due(self, now: float) -> list[tuple[memoryview, int]]:
        """Return runs of packets that are due, with the width of a packet; they count as sent."""
        found: list[tuple[memoryview, int]] = []
        runs = None if self.recent.ended else self.recent.since(self._next)
        if runs is None:  # the group has ended, or we are so late that the packets are gone
            self.over = True
            return found
        left = A_TURN_MAX_PACKETS
        for run in runs:
            if self.over or left <= 0 or self._began + (run.sent_at - self._zero) / self.rate > now:
                return found
            skipped = self._next - run.number
            end = run.number + run.count if self._stop is None else min(run.number + run.count, self._stop)
            count = min(end - self._next, left)
            if count > 0:
                found.append((run.after(skipped)[: count * run.width_bytes], run.width_bytes))
                self._next += count
                left -= count
            self.over = self._stop is not None and self._next >= self._stop
        self.caught_up = self.caught_up or self._next >= self.recent.next_number
        return found
