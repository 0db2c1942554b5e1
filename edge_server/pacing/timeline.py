"""The clock of one transport stream file, and how the file is divided into packets. Pure.

The file is a row of blocks of equal packets; only the last packet of a block may be shorter. A block begins wherever
somebody may begin to play, so that a seek goes to the beginning of a packet, and a packet's number is a function of its
place in the file.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

TS_BYTES = 188
PAYLOAD_MAX_BYTES = 7 * TS_BYTES
"""One box family drops interleaved frames of 8 transport packets (reference/stb_protocols §4.5)."""
BLOCK_MAX_BYTES = 192 * PAYLOAD_MAX_BYTES
"""Payload of one block, about 250 kB: half a second of 4 Mb/s."""
LEAD_S = 0.25
"""How far the sender may be ahead of the stream's clock; also the burst at the start."""
_DUE_MAX_COUNT = 512
"""Blocks whose times are remembered, some 2 kB each."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the RTP packets of one file are called, the same for all who get the shared bytes (RFC 3550 §5.1).

    Each unicast session is an RTP session of its own, so that nothing forbids equal numbers in two of them.
    """

    ssrc: int
    sequence: int
    """Of the file's first packet."""
    timestamp: int
    """Of second 0 of the file's clock, units of 1/90000 s."""


@dataclass(frozen=True, eq=False)
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
    cuts: tuple[int, ...] = ()
    """Bytes at which somebody may begin: no packet goes across them."""
    numbers: Numbers | None = None
    """Of the shared packets; None when each session has to number its own."""
    private: bool = False
    """Of one viewer only: nothing of it is shared."""

    def time_at(self, offset_bytes: int) -> float:
        """Return the second at which this byte has its turn."""
        return float(np.interp(offset_bytes, self.offset_bytes, self.time_s))

    def times_at(self, offsets_bytes: NDArray[Any]) -> NDArray[np.float64]:
        """Return the second of each of these bytes."""
        times: NDArray[np.float64] = np.interp(offsets_bytes, self.offset_bytes, self.time_s)
        return times

    def offset_at(self, time_s: float) -> int:
        """Return how many bytes of the file have had their turn at this second."""
        if time_s >= self.time_s[-1]:
            return self.length_bytes
        return int(np.interp(time_s, self.time_s, self.offset_bytes))

    def npt_at(self, offset_bytes: int) -> float:
        """Return the second of the lesson that is shown when this byte has its turn."""
        return min(max(self.time_at(offset_bytes) - self.delay_s, 0.0), self.duration_s)

    @cached_property
    def packets(self) -> Packets:
        """Return how the file is divided for all its viewers."""
        return Packets(self)


class Packets:
    """The packets of one file; blocks are counted from 0."""

    def __init__(self, timeline: Timeline, cuts: tuple[int, ...] = ()) -> None:
        """Divide; ``cuts`` are bytes beside ``timeline.cuts`` at which a block must begin."""
        self.timeline = timeline
        length = timeline.length_bytes
        marks = sorted({0, length, *(at for at in (*timeline.cuts, *cuts) if 0 < at < length)})
        times = timeline.times_at(np.array(marks)).tolist()
        self.starts: list[int] = []
        """Byte at which each block begins; the length of the file at the end."""
        self.firsts: list[int] = []
        """Index in the file of each block's first packet; the number of packets at the end."""
        self.strides: list[int] = []
        """Payload bytes of each packet of the block."""
        index = 0
        for (begin, begin_s), (end, end_s) in pairwise(zip(marks, times, strict=True)):
            stride = _stride((end_s - begin_s) / (end - begin) * PAYLOAD_MAX_BYTES)
            most = BLOCK_MAX_BYTES // stride * stride
            for start in range(begin, end, most):
                self.starts.append(start)
                self.firsts.append(index)
                self.strides.append(stride)
                index += -(-(min(end, start + most) - start) // stride)
        self.starts.append(length)
        self.firsts.append(index)
        self._due: dict[int, array[float]] = {}

    def block_at(self, offset_bytes: int) -> int:
        """Return the block that this byte is in; the number of blocks for the end of the file."""
        return bisect_right(self.starts, offset_bytes) - 1

    def begins_at(self, offset_bytes: int) -> bool:
        """Tell whether a packet begins at this byte (or the file ends there)."""
        block = self.block_at(offset_bytes)
        return block == len(self.strides) or (offset_bytes - self.starts[block]) % self.strides[block] == 0

    def due_s(self, block: int) -> array[float]:
        """Return when each packet of a block is to leave, in seconds of the stream's clock.

        A packet leaves as early as the lead allows for its last byte, but not later than the turn of its first
        transport packet: in a stream with a pause, what is before the pause is not held back to its end.
        """
        found = self._due.get(block)
        if found is None:
            start, stop, stride = self.starts[block], self.starts[block + 1], self.strides[block]
            edges = np.append(np.arange(start, stop, stride), stop)
            times = self.timeline.times_at(edges)
            turn = np.maximum(times[:-1], self.timeline.times_at(edges[:-1] + TS_BYTES) - LEAD_S)
            found = array("d", np.minimum(times[1:] - LEAD_S, turn).tobytes())
            if len(self._due) >= _DUE_MAX_COUNT:
                del self._due[next(iter(self._due))]
            self._due[block] = found
        return found


def _stride(span_s: float) -> int:
    """Return the payload bytes of a packet, whose full size spans so many seconds.

    Less than the full size in a stream so thin (a still picture) that a full packet would be more than the lead.
    """
    count = 7 if span_s <= LEAD_S else max(1, int(7 * LEAD_S / span_s))
    return count * TS_BYTES
