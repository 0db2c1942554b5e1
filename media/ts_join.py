"""Transport streams of lessons put one behind the other as one stream without a jump, byte ranges at a time. Pure.

Nothing is re-encoded: clocks get an offset, continuity counters go on, the programme map rises its version where the
streams change. A lesson's first packets leave before its first picture is shown, when the last packets of the lesson
before are not all sent yet: these last ones leave a little faster (`Retimed`), so that the clock never goes back.
Only streams that `media.ts_mux` wrote are joined: same PIDs, whole PES heads in one packet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from media.ts_index import TsIndex
from wire.mpegts import (
    PACKET_BYTES,
    PCR_HZ,
    PTS_HZ,
    Pmt,
    WireError,
    parse_pmt,
    parse_section,
    write_pmt,
    write_section_packets,
)

PTS_MODULO: Final = 1 << 33
PCR_MODULO: Final = PTS_MODULO * 300
HASTE_MAX: Final = 0.1
"""The last packets of a lesson leave faster by this part where the lesson is long enough."""
JOINABLE_MIN_S: Final = 4.0
"""A shorter lesson has no room to leave faster."""

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


class NotJoinable(ValueError):
    """The stream is none of ours, or too short; the text says why."""


@dataclass(frozen=True, slots=True)
class TsEnds:
    """What has to be known of one stream to join it with others."""

    lasts_ticks: int
    """From its first time of presentation to that of what follows it; 90 kHz."""
    zero_ticks: int
    """First time of presentation inside the stream: with what a player of the lesson alone hides (the first frame of
    sound), so that no time comes twice."""
    hidden_ticks: int
    """From there to where the lesson says that it begins."""
    first_pcr: int
    """27 MHz."""
    delay_s: float
    """From the first byte's turn to the first time of presentation."""
    sent_s: float
    """From the first byte's turn to the end of the last one's."""
    packets: tuple[tuple[int, int], ...]
    """PID, and packets with payload in the whole stream, modulo 16."""
    pmt_pid: int
    pmt: Pmt


def read_ends(index: TsIndex, head: bytes, tail: bytes) -> TsEnds:
    """Look at a stream.

    Args:
        index: of the stream.
        head: its first packets, up to the first of each elementary stream at least.
        tail: from the last key frame to the end.

    Raises:
        NotJoinable: the text says why.
    """
    if min(index.duration_s, float(index.pacing.time_s[-1])) < JOINABLE_MIN_S:
        raise NotJoinable(f"shorter than {JOINABLE_MIN_S:g} s")
    last = index.keyframes[-1]
    rows = _rows(tail)
    pids = _pids(rows)[rows[:, 3] & 0x10 > 0]
    counts = {pid: (cc + int(np.count_nonzero(pids == pid))) & 15 for pid, cc in last.next_cc.items()}
    pmt_pid, pmt = _programme(head)
    hidden = _hidden_ticks(_rows(head), pmt, index.zero_90khz)
    return TsEnds(
        lasts_ticks=round(index.duration_s * PTS_HZ) + hidden,
        zero_ticks=index.zero_90khz - hidden,
        hidden_ticks=hidden,
        first_pcr=index.keyframes[0].pcr_27mhz - round(index.keyframes[0].pcr_s * PCR_HZ),
        delay_s=index.presentation_delay_s - hidden / PTS_HZ,
        sent_s=float(index.pacing.time_s[-1]),
        packets=tuple(sorted(counts.items())),
        pmt_pid=pmt_pid,
        pmt=pmt,
    )


@dataclass(frozen=True, slots=True)
class Retimed:
    """When the bytes of one stream leave, so that the last is gone when the first of the next one leaves."""

    from_s: float
    """Seconds of the stream's own clock from which on it is faster."""
    factor: float
    """What is left of a second; at most 1."""

    def at(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the new turn of what had its turn at these seconds."""
        return np.where(time_s > self.from_s, self.from_s + (time_s - self.from_s) * self.factor, time_s)


def retime(this: TsEnds, following: TsEnds) -> Retimed:
    """Make room for the stream that follows.

    Where a lesson ends with a still picture nothing is left to send, and there is a pause instead.
    """
    room_s = this.delay_s + this.lasts_ticks / PTS_HZ - following.delay_s
    over_s = this.sent_s - room_s
    if over_s <= 0:
        return Retimed(this.sent_s, 1.0)
    from_s = max(this.sent_s - over_s / HASTE_MAX, this.sent_s / 2)
    return Retimed(from_s, (room_s - from_s) / (this.sent_s - from_s))


@dataclass(frozen=True, slots=True)
class Place:
    """Where one stream stands in the joined one."""

    ends: TsEnds
    shown_ticks: int
    """When it begins to be shown; 90 kHz, of any size."""
    counters: Mapping[int, int]
    """Continuity counter of the first payload packet, by PID."""
    pmt_version: int
    retimed: Retimed

    @property
    def pcr_shift(self) -> int:
        """What is added to its clock; 27 MHz."""
        return (self.shown_ticks - self.ends.zero_ticks) * 300

    def clock(self, pcr: Ints) -> Ints:
        """Return the joined stream's clock for values of the stream's own, modulo 2^33 * 300."""
        since_s = (pcr - self.ends.first_pcr) / PCR_HZ
        late = np.rint((self.retimed.at(since_s) - since_s) * PCR_HZ).astype(np.int64)
        moved: Ints = (pcr + late + self.pcr_shift) % PCR_MODULO
        return moved


def restamp(packets: bytes, place: Place) -> bytearray:
    """Return whole packets of a lesson's stream as packets of the joined stream.

    Raises:
        NotJoinable: no packets of ours.
    """
    out = bytearray(packets)
    rows = _rows(out)
    if len(rows) and np.any(rows[:, 0] != 0x47):
        raise NotJoinable("packets without sync byte")
    pids = _pids(rows)
    shift = np.zeros(8192, np.uint8)
    for pid, counter in place.counters.items():
        shift[pid] = counter
    rows[:, 3] = (rows[:, 3] & 0xF0) | (rows[:, 3] + shift[pids] & 15)
    tables = np.flatnonzero(pids == place.ends.pmt_pid)
    if len(tables):
        section = write_pmt(replace(place.ends.pmt, version=place.pmt_version))
        whole = write_section_packets(place.ends.pmt_pid, section, 0)
        if len(whole) != PACKET_BYTES or np.any(rows[tables, 3] & 0x30 != 0x10):
            raise NotJoinable("a programme map of several packets")
        rows[tables, 4:] = np.frombuffer(whole, np.uint8)[4:]
    extended = _extended(rows)
    clocked = np.flatnonzero((extended > 7) & (rows[:, 5] & 0x10 > 0))
    if len(clocked):
        _write_pcr(rows, clocked, place.clock(_read_pcr(rows, clocked)))
    _move_pes(rows, extended, place)
    return out


def _move_pes(rows: Bytes, extended: Ints, place: Place) -> None:
    at, head, flags = _pes_heads(rows, extended, place.ends.pmt)
    moved = place.shown_ticks - place.ends.zero_ticks
    for wanted, first in ((flags >= 2, 9), (flags == 3, 14)):
        which, where = at[wanted], head[wanted] + first
        _write_stamp(rows, which, where, (_read_stamp(rows, which, where) + moved) % PTS_MODULO)


def _pes_heads(rows: Bytes, extended: Ints, pmt: Pmt) -> tuple[Ints, Ints, Ints]:
    """Return the packets in which a PES begins, where in them, and which times it has (2: PTS, 3: DTS too)."""
    elementary = [pid for _, pid in pmt.streams]
    at = np.flatnonzero((rows[:, 1] & 0x40 > 0) & (rows[:, 3] & 0x10 > 0) & np.isin(_pids(rows), elementary))
    head = 4 + extended[at]
    if np.any(head > PACKET_BYTES - 9):
        raise NotJoinable("a PES head in two packets")
    flags = rows[at, head + 7].astype(np.int64) >> 6
    if np.any(head + np.choose(flags, (9, 9, 14, 19)) > PACKET_BYTES):
        raise NotJoinable("a PES head in two packets")
    return at, head, flags


def _hidden_ticks(rows: Bytes, pmt: Pmt, zero_ticks: int) -> int:
    """Return how long before the beginning of the lesson the first time of presentation is."""
    at, head, flags = _pes_heads(rows, _extended(rows), pmt)
    timed = flags >= 2
    since = (_read_stamp(rows, at[timed], head[timed] + 9) - zero_ticks + PTS_MODULO // 2) % PTS_MODULO
    return max(0, PTS_MODULO // 2 - int(since.min(initial=PTS_MODULO // 2)))


def _extended(rows: Bytes) -> Ints:
    """Return the bytes of each packet's adaptation field."""
    found: Ints = np.where(rows[:, 3] & 0x20 > 0, rows[:, 4].astype(np.int64) + 1, 0)
    return found


def _rows(packets: bytes | bytearray) -> Bytes:
    if len(packets) % PACKET_BYTES:
        raise NotJoinable(f"{len(packets)} bytes are not whole packets")
    return np.frombuffer(packets, np.uint8).reshape(-1, PACKET_BYTES)


def _pids(rows: Bytes) -> Ints:
    pids: Ints = (rows[:, 1].astype(np.int64) & 0x1F) << 8 | rows[:, 2]
    return pids


def _read_pcr(rows: Bytes, at: Ints) -> Ints:
    six = rows[at, 6:12].astype(np.int64)
    base = six[:, 0] << 25 | six[:, 1] << 17 | six[:, 2] << 9 | six[:, 3] << 1 | six[:, 4] >> 7
    pcr: Ints = base * 300 + ((six[:, 4] & 1) << 8 | six[:, 5])
    return pcr


def _write_pcr(rows: Bytes, at: Ints, pcr: Ints) -> None:
    base, extension = np.divmod(pcr, 300)
    for number, shift in enumerate((25, 17, 9, 1)):
        rows[at, 6 + number] = base >> shift & 0xFF
    rows[at, 10] = (base & 1) << 7 | 0x7E | extension >> 8
    rows[at, 11] = extension & 0xFF


def _read_stamp(rows: Bytes, at: Ints, where: Ints) -> Ints:
    one, two, three, four, five = (rows[at, where + number].astype(np.int64) for number in range(5))
    stamp: Ints = (one >> 1 & 7) << 30 | two << 22 | (three >> 1) << 15 | four << 7 | five >> 1
    return stamp


def _write_stamp(rows: Bytes, at: Ints, where: Ints, stamp: Ints) -> None:
    rows[at, where] = rows[at, where] & 0xF0 | (stamp >> 30 & 7) << 1 | 1
    rows[at, where + 1] = stamp >> 22 & 0xFF
    rows[at, where + 2] = (stamp >> 15 & 0x7F) << 1 | 1
    rows[at, where + 3] = stamp >> 7 & 0xFF
    rows[at, where + 4] = (stamp & 0x7F) << 1 | 1


def _programme(head: bytes) -> tuple[int, Pmt]:
    """Find the programme map among the first packets."""
    rows = _rows(head)
    for row in rows[(rows[:, 1] & 0x40 > 0) & (rows[:, 3] & 0x30 == 0x10)]:
        pid = int(row[1] & 0x1F) << 8 | int(row[2])
        if pid == 0 or row[4] or row[5] != 2:
            continue
        try:
            return pid, parse_pmt(parse_section(row[4:].tobytes()))
        except WireError as error:
            raise NotJoinable(f"programme map: {error}") from error
    raise NotJoinable("no programme map at the beginning")
