"""Fast forward and rewind of a transport stream: its key pictures, with a clock of their own. Pure.

What is sent is a row of slots. A slot is the bytes of one key picture as they lie in the file, PAT and PMT before them,
sent at the file's own pace, and then packets with nothing but a PCR, and PAT and PMT among them as often as receivers
want them (ETSI TR 101 290 §5.2), until the next slot begins. Counters, PCR, PTS and
DTS are written anew, packets of sound become packets with a PCR; so every length is known from the index.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from media.ts_fill import PMT_PID
from media.ts_index import TsIndex, TsKeyframe
from wire.mpegts import (
    PACKET_BYTES,
    PAT_PID,
    PCR_HZ,
    PCR_MODULO,
    PTS_MODULO,
    discontinuity_preamble,
    write_adaptation_only,
    write_pcr,
    write_stamp,
)

PICTURE_MIN_S: Final = 0.2
"""Pictures follow each other no faster."""
FILLING_GAP_S: Final = 0.0125
"""Between two packets behind a picture: PAT and PMT may take the place of two, and the PCRs still are 40 ms apart."""
TABLES_FIRST: Final = 4
TABLES_EVERY: Final = 28
"""Packets behind a picture: which are the first PAT and PMT, and after how many they come again."""
SHOWN_AFTER_S: Final = 0.1
"""A picture is shown so long after the last byte of the longest one would have come."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One picture's time and place, in the seconds and bytes of the winding."""

    key: TsKeyframe
    begin_s: float
    send_s: float
    """How long its bytes take."""
    span_s: float
    """Until the next slot begins."""
    offset_bytes: int
    filling: int
    """Packets behind the picture, with a PCR or a table."""


class Winding:
    """The pictures from one second on, at one speed."""

    def __init__(self, index: TsIndex, from_s: float, scale: float) -> None:
        """Choose the pictures, beginning with the last one that is not after ``from_s``.

        Args:
            index: of the file.
            from_s: npt.
            scale: seconds of the lesson a second; negative goes back.

        Raises:
            ValueError: a scale of 0.
        """
        if not scale:
            raise ValueError("a scale of 0 does not move")
        self.index, self.scale = index, scale
        self.slots = _slots(index, index.keyframe_at(from_s), scale)
        self.delay_s = max(each.send_s for each in self.slots) + SHOWN_AFTER_S
        last = self.slots[-1]
        self.end_s = last.begin_s + last.span_s
        self.length_bytes = last.offset_bytes + _length(last)
        self.start_s = self.slots[0].key.time_s
        """npt of the first picture."""
        self.end_npt_s = 0.0 if scale < 0 else index.duration_s
        points = [(0, 0.0)]
        for each in self.slots:
            picture_end = each.offset_bytes + each.key.length_bytes
            points += _inside(index, each)
            points.append((picture_end, each.begin_s + each.send_s))
            if each.filling:
                points.append((picture_end + each.filling * PACKET_BYTES, each.begin_s + each.span_s))
        self.offset_bytes: NDArray[Any] = np.array([at for at, _ in points])
        self.time_s: NDArray[Any] = np.array([time_s for _, time_s in points])
        self._begins = np.array([each.begin_s for each in self.slots])
        self._npts = np.array([each.key.time_s for each in self.slots])

    def npt_at(self, shown_s: float) -> float:
        """Return the npt of the picture that is on the screen so many seconds after the first one came there."""
        at = int(np.searchsorted(self._begins, shown_s + 1e-6, side="right")) - 1
        return float(self._npts[max(0, at)])

    def slot_at(self, offset_bytes: int) -> int:
        """Return the slot that a byte of the winding is in."""
        starts = [each.offset_bytes for each in self.slots]
        return int(np.searchsorted(starts, offset_bytes, side="right")) - 1

    def pcr_27mhz(self, time_s: float) -> int:
        """Return the clock that the stream says at that second: it begins as the file's does at the first picture."""
        return (self.slots[0].key.pcr_27mhz + round(time_s * PCR_HZ)) % PCR_MODULO

    def preamble(self) -> bytes:
        """Return the packets that make the change from whatever was sent before legal."""
        pcr_pid = self.index.pcr_pid
        return discontinuity_preamble(
            dict.fromkeys((PAT_PID, PMT_PID, pcr_pid), 0), pcr_pid=pcr_pid, pcr=self.pcr_27mhz(0)
        )


class Restamper:
    """Makes the slots' bytes, in their order; counters run on from one to the next."""

    def __init__(self, winding: Winding, read: Callable[[int, int], bytes]) -> None:
        """Begin before the first slot; ``read`` takes length and offset, and returns bytes of the file."""
        self._winding, self._read = winding, read
        self._next_cc = dict.fromkeys((PAT_PID, PMT_PID, winding.index.pcr_pid), 0)
        self._made, self._slot = b"", -1

    def slot(self, number: int) -> bytes:
        """Return the bytes of a slot: the one made last, or the next one.

        Raises:
            OSError: the file is shorter than its index says.
            ValueError: another slot.
        """
        if number == self._slot:
            return self._made
        if number != self._slot + 1:
            raise ValueError(f"slot {number} after {self._slot}")
        slot = self._winding.slots[number]
        raw = self._read(slot.key.length_bytes, slot.key.offset_bytes)
        if len(raw) != slot.key.length_bytes:
            raise OSError(f"{len(raw)} of {slot.key.length_bytes} bytes at {slot.key.offset_bytes}")
        made = self._restamped(slot, raw)
        self._made, self._slot = made + self._filling(slot, _tables(made)), number
        return self._made

    def _restamped(self, slot: Slot, raw: bytes) -> bytes:
        rows = np.frombuffer(raw, np.uint8).reshape(-1, PACKET_BYTES).copy()
        pids = (rows[:, 1].astype(np.int64) & 0x1F) << 8 | rows[:, 2]
        kept, first_cc = np.isin(pids, tuple(self._next_cc)), self._next_cc[self._winding.index.pcr_pid]
        for pid, first in self._next_cc.items():
            mine = np.flatnonzero(pids == pid)
            payload = (rows[mine, 3] & 0x10) > 0
            counts = np.cumsum(payload)
            rows[mine, 3] = rows[mine, 3] & 0xF0 | (first + counts - 1) & 0x0F
            self._next_cc[pid] = (first + int(payload.sum())) & 0x0F
        winding = self._winding
        pts = (winding.pcr_27mhz(slot.begin_s + winding.delay_s) // 300) % PTS_MODULO
        clocked = kept & ((rows[:, 3] & 0x20) > 0) & (rows[:, 4] > 0) & ((rows[:, 5] & 0x10) > 0)
        offsets = slot.key.offset_bytes + np.arange(len(rows)) * PACKET_BYTES
        times_s = slot.begin_s + winding.index.times_at(offsets) - winding.index.time_at(slot.key.offset_bytes)
        for at in np.flatnonzero(clocked):
            rows[at, 6:12] = np.frombuffer(write_pcr(winding.pcr_27mhz(times_s[at])), np.uint8)
        shown = kept & (pids == winding.index.pcr_pid) & ((rows[:, 3] & 0x10) > 0)
        counters = (first_cc + np.cumsum(shown) - 1) & 15
        for at in np.flatnonzero(~kept):
            packet = write_adaptation_only(winding.index.pcr_pid, int(counters[at]), pcr=winding.pcr_27mhz(times_s[at]))
            rows[at] = np.frombuffer(packet, np.uint8)
        for at in np.flatnonzero((pids == winding.index.pcr_pid) & ((rows[:, 1] & 0x40) > 0)):
            _restamp_pes(rows[at], pts)
        return rows.tobytes()

    def _filling(self, slot: Slot, tables: list[bytes]) -> bytes:
        pid, made = self._winding.index.pcr_pid, []
        step_s = (slot.span_s - slot.send_s) / max(1, slot.filling)
        for number in range(slot.filling):
            turn = (number - TABLES_FIRST) % TABLES_EVERY
            if number >= TABLES_FIRST and turn < len(tables) and number - turn + len(tables) < slot.filling:
                made.append(self._again(tables[turn]))
                continue
            pcr = self._winding.pcr_27mhz(slot.begin_s + slot.send_s + step_s * number)
            made.append(write_adaptation_only(pid, (self._next_cc[pid] - 1) & 15, pcr=pcr))
        return b"".join(made)

    def _again(self, table: bytes) -> bytes:
        """Return the packet with the next counter of its PID."""
        pid = (table[1] & 0x1F) << 8 | table[2]
        counter, self._next_cc[pid] = self._next_cc[pid], (self._next_cc[pid] + 1) & 15
        return table[:3] + bytes([table[3] & 0xF0 | counter]) + table[4:]


def _slots(index: TsIndex, first: TsKeyframe, scale: float) -> tuple[Slot, ...]:
    keys = list(index.keyframes)
    at = keys.index(first)
    ahead = keys[at:] if scale > 0 else keys[at::-1]
    speed, found, offset = abs(scale), [], 0
    begin_s, end_npt_s = 0.0, index.duration_s if scale > 0 else 0.0
    number = 0
    while number < len(ahead):
        key = ahead[number]
        send_s = index.time_at(key.offset_bytes + key.length_bytes) - index.time_at(key.offset_bytes)
        least_s = max(PICTURE_MIN_S, send_s)
        number += 1
        while number < len(ahead) and abs(ahead[number].time_s - first.time_s) / speed < begin_s + least_s - 1e-9:
            number += 1
        if number < len(ahead):
            span_s = abs(ahead[number].time_s - first.time_s) / speed - begin_s
        else:  # the last picture stays at least until it has been shown
            span_s = max(abs(end_npt_s - first.time_s) / speed - begin_s, send_s + 2 * SHOWN_AFTER_S + PICTURE_MIN_S)
        filling = int(np.ceil(round((span_s - send_s) / FILLING_GAP_S, 6)))
        found.append(Slot(key, begin_s, send_s, span_s, offset, filling))
        offset += _length(found[-1])
        begin_s += span_s
    return tuple(found)


def _inside(index: TsIndex, slot: Slot) -> list[tuple[int, float]]:
    """Points of the file's clock between the picture's first byte and its last."""
    begin, end = slot.key.offset_bytes, slot.key.offset_bytes + slot.key.length_bytes
    pacing, zero_s = index.pacing, index.time_at(begin)
    here = (pacing.offset_bytes > begin) & (pacing.offset_bytes < end)
    times = zip(pacing.offset_bytes[here], pacing.time_s[here], strict=True)
    return [(slot.offset_bytes + int(at) - begin, slot.begin_s + float(time_s) - zero_s) for at, time_s in times]


def _length(slot: Slot) -> int:
    return slot.key.length_bytes + slot.filling * PACKET_BYTES


def _tables(picture: bytes) -> list[bytes]:
    """PAT and PMT, which stand before the picture, one packet each."""
    packets = [picture[at : at + PACKET_BYTES] for at in (0, PACKET_BYTES)]
    return [each for each in packets if ((each[1] & 0x1F) << 8 | each[2]) in (PAT_PID, PMT_PID)]


def _restamp_pes(row: NDArray[np.uint8], pts: int) -> None:
    """Write the picture's time into the PES head that begins in this packet (§2.4.3.7)."""
    at = 4 + (1 + int(row[4]) if row[3] & 0x20 else 0)
    if at + 19 > PACKET_BYTES or row[at : at + 3].tobytes() != b"\x00\x00\x01":
        return
    flags = int(row[at + 7]) >> 6
    if flags & 2:
        row[at + 9 : at + 14] = np.frombuffer(write_stamp(flags, pts), np.uint8)
    if flags == 3:
        row[at + 14 : at + 19] = np.frombuffer(write_stamp(1, pts), np.uint8)
