"""What is known of every packet, and of how unevenly packets come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.rtp_load.whole import Whole

SAMPLES_MAX_COUNT = 6_000_000
CLOCK_HZ = 90_000
RTP_BYTES = 12
HEAD_BYTES = RTP_BYTES + 1
"""What is looked at of every packet: the RTP header and the sync byte."""


class Ledger:
    """What every packet is entered in: numpy arrays over sessions, filled by batches in order of arrival."""

    def __init__(self, count: int, whole: Whole | None) -> None:
        self.whole = whole
        self.packets = np.zeros(count, np.int64)
        self.octets = np.zeros(count, np.int64)
        self.lost = np.zeros(count, np.int64)
        self.reordered = np.zeros(count, np.int64)
        self.odd = np.zeros(count, np.int64)
        """Packets that are no transport stream in RTP, or of a foreign source."""
        self.last = np.full(count, -1, np.int64)
        """The last sequence number, followed over wraps."""
        self.ssrc = np.full(count, -1, np.int64)
        self.announced = np.full(count, -1, np.int64)
        self.first_wrong = 0
        self.timed = np.zeros(count, bool)
        self.measuring = False
        self.samples: list[tuple[Any, Any, Any]] = []
        self.kept = 0
        self.compared = self.differing = 0

    def enter(self, who: Any, rows: Any, lengths: Any, arrivals: Any) -> None:
        """Take packets grouped by session; ``rows`` hold at least the first ``HEAD_BYTES`` of each."""
        head = np.ascontiguousarray(rows[:, :HEAD_BYTES])
        sequence = head[:, 2].astype(np.int64) << 8 | head[:, 3]
        ssrc = np.ascontiguousarray(head[:, 8:12]).view(">u4").ravel().astype(np.int64)
        unknown = self.ssrc[who] < 0
        if unknown.any():
            self.ssrc[who[unknown]] = ssrc[unknown]
        fine = (head[:, 0] == 0x80) & (head[:, 1] & 0x7F == 33) & (ssrc == self.ssrc[who])
        fine &= ((lengths - 12) % 188 == 0) & (head[:, 12] == 0x47) & (lengths <= 1328)
        np.add.at(self.odd, who[~fine], 1)
        first = np.empty(len(who), bool)
        first[0] = True
        np.not_equal(who[1:], who[:-1], out=first[1:])
        before = np.empty_like(sequence)
        before[1:] = sequence[:-1]
        known = self.last[who[first]]
        fresh = known < 0
        if fresh.any():
            promised = self.announced[who[first]]
            wrong = fresh & (promised >= 0) & (promised != sequence[first])
            self.first_wrong += int(wrong.sum())
        before[first] = np.where(fresh, sequence[first] - 1, known)
        step = (sequence - before) & 0xFFFF
        step = np.where(step >= 0x8000, step - 0x10000, step)
        if self.measuring:
            if (step != 1).any():
                np.add.at(self.lost, who, np.maximum(step - 1, 0))
                np.add.at(self.reordered, who[step <= 0], 1)
            ends = np.append(np.flatnonzero(first)[1:], len(who))
            starts = np.flatnonzero(first)
            self.packets[who[starts]] += ends - starts
            self.octets[who[starts]] += np.add.reduceat(lengths, starts)
            timed = self.timed[who]
            if timed.any() and self.kept < SAMPLES_MAX_COUNT:
                stamps = np.ascontiguousarray(head[:, 4:8]).view(">u4").ravel().astype(np.int64)
                self.samples.append((who[timed], arrivals[timed], stamps[timed]))
                self.kept += int(timed.sum())
        last = np.append(np.flatnonzero(first)[1:] - 1, len(who) - 1)
        self.last[who[last]] = sequence[last]

    def compare(self, session: int, payloads: Sequence[bytes | memoryview]) -> None:
        """Compare what consecutive packets of a session carry with the file, when there is one."""
        if self.whole is not None and payloads:
            self.compared += len(payloads)
            self.differing += 0 if self.whole.same(session, b"".join(payloads)) else len(payloads)

    def spreads_ms(self) -> tuple[Any, float]:
        """Return p99 - p1 of lateness for each timed session, and the greatest gap in any."""
        if not self.samples:
            return np.zeros(0), 0.0
        who, arrivals, stamps = (np.concatenate(column) for column in zip(*self.samples, strict=True))
        found, gap = [], 0.0
        order = np.argsort(who, kind="stable")
        bounds = np.flatnonzero(np.diff(who[order])) + 1
        for part in np.split(order, bounds):
            if len(part) < 50:
                continue
            ticks = np.concatenate(([0], np.cumsum((np.diff(stamps[part]) + 2**31) % 2**32 - 2**31)))
            late = arrivals[part] - arrivals[part[0]] - ticks / CLOCK_HZ
            low, high = np.percentile(late, (1, 99))
            found.append((high - low) * 1000)
            gap = max(gap, float(np.diff(arrivals[part]).max()))
        return np.array(found), gap * 1000
