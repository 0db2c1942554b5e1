"""Measures a transport stream file by the indicators of ETSI TR 101 290, first and second priority.

Written from the standards (TR 101 290 §5.2, ISO/IEC 13818-1) without sight of our multiplexer, so that the two cannot
share a mistake. The clock of a file is its PCR: intervals are stream time, not wall time. Indicator 2.4
(PCR_accuracy) needs arrival times and is not measured.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PACKET_BYTES = 188
PSI_INTERVAL_MAX_S = 0.5
PCR_INTERVAL_MAX_S = 0.04
PCR_STEP_MAX_S = 0.1
PTS_INTERVAL_MAX_S = 0.7
PID_GAP_MAX_S = 5.0
SYNC_PACKETS = 5
"""So many sync bytes in a row are synchronisation; two bad ones in a row lose it (indicator 1.1)."""
SECTION_MAX_BYTES = 4096
_WINDOW_PACKETS = 4096
_PCR_WRAP = (1 << 33) * 300
_PCR_HZ = 27_000_000
_NULL_PID = 0x1FFF
_SI_PIDS = (0x01, 0x10, 0x11, 0x12, 0x14)
_AV_TYPES = frozenset({0x01, 0x02, 0x03, 0x04, 0x0F, 0x10, 0x11, 0x1B, 0x1C, 0x24, 0x33, 0x42, 0x81, 0x82, 0x87})
_REVERSED = bytes(int(f"{each:08b}"[::-1], 2) for each in range(256))


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of error on one PID, with how often and where it was met first."""

    indicator: str
    """Number in TR 101 290, e.g. ``1.4``; ``1.0`` is broken packet syntax, which the report has no number for."""
    name: str
    pid: int | None
    count: int
    first_packet: int
    detail: str
    """About the first one."""


@dataclass(frozen=True, slots=True)
class Programme:
    """One programme as its PMT describes it."""

    number: int
    pmt_pid: int
    pcr_pid: int
    streams: Mapping[int, int]
    """Elementary PID to stream_type."""


@dataclass(frozen=True, slots=True)
class TsReport:
    """The verdict on one file."""

    priority1: tuple[Finding, ...]
    """Needed to decode at all."""
    priority2: tuple[Finding, ...]
    """Recommended to watch continuously."""
    programmes: tuple[Programme, ...]
    packets: int
    """Packets found, null packets and broken ones included."""

    def indicators(self) -> frozenset[str]:
        """Numbers of all indicators that were met."""
        return frozenset(each.indicator for each in self.priority1 + self.priority2)


Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]


@dataclass(slots=True)
class _Notes:
    found: dict[tuple[str, str, int | None], Finding] = field(default_factory=dict)

    def add(self, indicator: str, name: str, packet: int, detail: str = "", pid: int | None = None) -> None:
        key = (indicator, name, pid)
        old = self.found.get(key)
        if old is None:
            self.found[key] = Finding(indicator, name, pid, 1, packet, detail)
        else:
            self.found[key] = Finding(indicator, name, pid, old.count + 1, old.first_packet, old.detail)

    def of(self, priority: str) -> tuple[Finding, ...]:
        kept = (each for each in self.found.values() if each.indicator.startswith(priority))
        return tuple(sorted(kept, key=lambda each: (each.indicator, each.first_packet)))


def check(data: bytes | Path) -> TsReport:
    """Measure one file or its bytes.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(data, Path):
        raw: Bytes = np.memmap(data, np.uint8, "r") if data.stat().st_size else np.zeros(0, np.uint8)
    else:
        raw = np.frombuffer(data, np.uint8)
    notes = _Notes()
    table = _Table(_packets(raw, notes), notes)
    table.check_continuity()
    programmes = _tables(table, notes)
    _Clocked(table, notes, programmes).check()
    return TsReport(notes.of("1"), notes.of("2"), programmes, len(table.packets))


def _packets(raw: Bytes, notes: _Notes) -> Bytes:
    """Cut the stream at its sync bytes; rows with a bad sync byte stay in, so that numbers count them."""
    offset, total, rows = 0, 0, []
    while len(raw) - offset >= PACKET_BYTES:
        whole = min((len(raw) - offset) // PACKET_BYTES, _WINDOW_PACKETS)
        grid = raw[offset : offset + whole * PACKET_BYTES].reshape(whole, PACKET_BYTES)
        bad = np.flatnonzero(grid[:, 0] != 0x47)
        if whole == _WINDOW_PACKETS and whole - 1 in bad[-1:] and whole - 2 not in bad[-2:]:
            whole, bad = whole - 1, bad[:-1]  # judge it together with the next packet
        in_sync = total > 0 or not (len(bad) and bad[0] < min(SYNC_PACKETS, whole))
        lost = bad[:-1][np.diff(bad) == 1] if in_sync else np.zeros(1, np.int64)
        end = int(lost[0]) if len(lost) else whole
        for each in bad[bad < end] if in_sync else ():
            notes.add("1.2", "Sync_byte_error", total + int(each), f"sync byte {int(grid[each, 0]):#04x}")
        rows.append(grid[:end])
        total += end
        offset += end * PACKET_BYTES
        if end < whole:
            found = _acquire(raw, offset + 1 if in_sync else offset)
            notes.add("1.1", "TS_sync_loss", total, f"{found - offset} bytes skipped at byte {offset}")
            offset = found
    if offset < len(raw) and len(raw) - offset < PACKET_BYTES:
        notes.add("1.2", "Sync_byte_error", total, f"{len(raw) - offset} bytes after the last whole packet")
    if not total and not notes.found:
        notes.add("1.1", "TS_sync_loss", 0, "no packet")
    return np.concatenate(rows) if rows else np.zeros((0, PACKET_BYTES), np.uint8)


def _acquire(raw: Bytes, offset: int, window_bytes: int = 1 << 14) -> int:
    """Return where five sync bytes stand in a row, or the end of the data; fewer count when the data end before."""
    while offset < len(raw):
        stop = min(offset + window_bytes, len(raw))
        fits = raw[offset:stop] == 0x47
        for step in range(1, SYNC_PACKETS):
            ahead = raw[offset + step * PACKET_BYTES : stop + step * PACKET_BYTES] == 0x47
            fits = fits & np.pad(ahead, (0, stop - offset - len(ahead)), constant_values=True)
        candidates = np.flatnonzero(fits)
        if len(candidates) and offset + int(candidates[0]) <= len(raw) - 2 * PACKET_BYTES:
            return offset + int(candidates[0])
        offset = stop
    return len(raw)


class _Table:
    """Header fields of all packets as columns, and the packets of one PID in order."""

    def __init__(self, packets: Bytes, notes: _Notes) -> None:
        self.packets, self._notes = packets, notes
        head = packets[:, :12].astype(np.int64)
        synced = head[:, 0] == 0x47
        self.tei = synced & (head[:, 1] & 0x80 != 0)
        self.pusi = head[:, 1] & 0x40 != 0
        self.pid = np.where(synced, (head[:, 1] & 0x1F) << 8 | head[:, 2], -1)
        self.scrambled = head[:, 3] & 0xC0 != 0
        adaptation, self.payload = head[:, 3] & 0x20 != 0, head[:, 3] & 0x10 != 0
        self.counter = head[:, 3] & 0x0F
        length = np.where(adaptation, head[:, 4], -1)
        broken = synced & ((length > np.where(self.payload, 182, 183)) | (adaptation & ~self.payload & (length != 183)))
        broken |= synced & ~adaptation & ~self.payload
        self.start = 5 + length  # first payload byte
        flags = np.where(adaptation & (length > 0) & ~broken, head[:, 5], 0)
        self.discontinuity = flags & 0x80 != 0
        self.has_pcr = (flags & 0x10 != 0) & (length >= 7)
        base = head[:, 6] << 25 | head[:, 7] << 17 | head[:, 8] << 9 | head[:, 9] << 1 | head[:, 10] >> 7
        self.pcr = base * 300 + ((head[:, 10] & 1) << 8 | head[:, 11])
        self.usable = synced & ~self.tei & ~broken
        self.repeated = np.zeros(len(packets), bool)
        self.jumped = np.zeros(len(packets), bool)
        for index in np.flatnonzero(broken & ~self.tei):
            notes.add("1.0", "Packet_syntax", int(index), "adaptation field does not fit", int(self.pid[index]))
        for index in np.flatnonzero(self.tei):
            notes.add("2.1", "Transport_error", int(index), "", int(self.pid[index]))
        order = np.argsort(self.pid, kind="stable")
        pids, first = np.unique(self.pid[order], return_index=True)
        self.by_pid: dict[int, Numbers] = {
            int(pid): part for pid, part in zip(pids, np.split(order, first[1:]), strict=False) if pid >= 0
        }

    def of(self, pid: int) -> Numbers:
        """Return the numbers of the packets of one PID."""
        return self.by_pid.get(pid, np.zeros(0, np.int64))

    def check_continuity(self) -> None:
        """1.4: lost, out of order, or more than twice."""
        for pid, rows in self.by_pid.items():
            if pid == _NULL_PID or len(rows) < 2:
                continue
            before, after = rows[:-1], rows[1:]
            want = (self.counter[before] + self.payload[after]) & 0x0F
            suspects = (self.counter[after] != want) & ~self.discontinuity[after]
            for old, new in zip(before[suspects], after[suspects], strict=True):
                if self._is_repeat(int(old), int(new)):
                    self.repeated[new] = True
                    continue
                self.jumped[new] = True
                detail = f"counter {self.counter[new]} after {self.counter[old]}"
                self._notes.add("1.4", "Continuity_count_error", int(new), detail, pid)

    def _is_repeat(self, old: int, new: int) -> bool:
        if self.counter[old] != self.counter[new] or not (self.payload[old] and self.payload[new]):
            return False
        if self.repeated[old]:
            return False  # third time
        same = self.packets[old] == self.packets[new]
        if self.has_pcr[old] and self.has_pcr[new]:
            same[6:12] = True  # a repeated packet may carry a new PCR (ISO/IEC 13818-1 §2.4.3.3)
        return bool(same.all())

    def sections(self, pid: int) -> Iterator[tuple[int, bytes]]:
        """Yield (packet in which it began, section) for each whole section of a PID."""
        held, began = b"", -1
        for row in map(int, self.of(pid)):
            if self.jumped[row]:
                held, began = b"", -1
            if not self.usable[row] or not self.payload[row] or self.repeated[row] or self.scrambled[row]:
                continue
            body = self.packets[row, self.start[row] :].tobytes()
            if not body:
                continue
            if self.pusi[row]:
                head, body = body[1 : 1 + body[0]], body[1 + body[0] :]
                if began >= 0 and (whole := _section(held + head)):
                    yield began, whole
                held, began = body, row
            elif began >= 0:
                held += body
            while began >= 0 and (whole := _section(held)):
                yield began, whole
                held = held[len(whole) :]
                began = row
            if not held or held[0] == 0xFF or len(held) > SECTION_MAX_BYTES:
                held, began = b"", -1


def _section(held: bytes) -> bytes:
    """Return the first section of the bytes if it is whole, else nothing."""
    if len(held) < 3 or held[0] == 0xFF:
        return b""
    length = 3 + ((held[1] & 0x0F) << 8 | held[2])
    return held[:length] if len(held) >= length else b""


def _crc_fits(section: bytes) -> bool:
    """Check a CRC-32/MPEG-2: zlib's CRC is the same polynomial with the bits of each byte in the other order."""
    return zlib.crc32(section.translate(_REVERSED)) == 0xFFFFFFFF


def _tables(table: _Table, notes: _Notes) -> tuple[Programme, ...]:
    """Read PAT and PMTs, and check the syntax of all tables (1.3, 1.5, 2.2, 2.6)."""
    numbers: dict[int, int] = {}
    for row, section in _checked(table, notes, 0, "1.3", "PAT_error"):
        if section[0] != 0x00:
            notes.add("1.3", "PAT_error", row, f"table_id {section[0]:#04x} on PID 0", 0)
            continue
        for at in range(8, len(section) - 7, 4):
            number, pid = section[at] << 8 | section[at + 1], (section[at + 2] & 0x1F) << 8 | section[at + 3]
            if number:
                numbers[pid] = number
    programmes = []
    for pmt_pid, number in numbers.items():
        streams: dict[int, int] = {}
        pcr_pid = _NULL_PID
        for _, section in _checked(table, notes, pmt_pid, "1.5", "PMT_error"):
            if section[0] != 0x02 or len(section) < 16:
                continue
            pcr_pid = (section[8] & 0x1F) << 8 | section[9]
            at = 12 + ((section[10] & 0x0F) << 8 | section[11])
            while at + 5 <= len(section) - 4:
                streams[(section[at + 1] & 0x1F) << 8 | section[at + 2]] = section[at]
                at += 5 + ((section[at + 3] & 0x0F) << 8 | section[at + 4])
        programmes.append(Programme(number, pmt_pid, pcr_pid, streams))
    conditional = False
    for pid in _SI_PIDS:
        for row, section in _checked(table, notes, pid, "", ""):
            conditional |= pid == 1 and section[0] == 0x01
            if pid == 1 and section[0] != 0x01:
                notes.add("2.6", "CAT_error", row, f"table_id {section[0]:#04x} on PID 1", 1)
    hidden = np.flatnonzero(table.usable & table.scrambled & (table.pid != _NULL_PID))
    if len(hidden) and not conditional:
        notes.add("2.6", "CAT_error", int(hidden[0]), f"{len(hidden)} scrambled packets and no CAT")
    return tuple(programmes)


def _checked(table: _Table, notes: _Notes, pid: int, indicator: str, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield sections whose CRC fits; note the others (2.2) and scrambling where none may be."""
    if indicator and (hidden := np.flatnonzero(table.scrambled[table.of(pid)])).size:
        notes.add(indicator, name, int(table.of(pid)[hidden[0]]), "scrambled", pid)
    for row, section in table.sections(pid):
        has_crc = section[1] & 0x80 != 0 or section[0] == 0x73  # TOT has a CRC although it is a short section
        if has_crc and not (len(section) >= 12 and _crc_fits(section)):
            notes.add("2.2", "CRC_error", row, f"table_id {section[0]:#04x}", pid)
        else:
            yield row, section


class _Clocked:
    """The indicators that need time."""

    def __init__(self, table: _Table, notes: _Notes, programmes: tuple[Programme, ...]) -> None:
        self._table, self._notes, self._programmes = table, notes, programmes
        self._clocks = {pid: self._clock(pid) for pid in {each.pcr_pid for each in programmes} - {_NULL_PID}}

    def check(self) -> None:
        """Run all of them."""
        table, notes = self._table, self._notes
        clock = max(self._clocks.values(), key=lambda each: len(each[0]), default=None)
        pats = [row for row, section in table.sections(0) if section[0] == 0x00 and _crc_fits(section)]
        self._repetition("1.3", "PAT_error", 0, pats, clock)
        for programme in self._programmes:
            own = self._clocks.get(programme.pcr_pid)
            pid = programme.pmt_pid
            pmts = [row for row, section in table.sections(pid) if section[0] == 0x02 and _crc_fits(section)]
            self._repetition("1.5", "PMT_error", pid, pmts, own)
            for stream, kind in programme.streams.items():
                if kind in _AV_TYPES:
                    self._presence(stream, kind, own)
                    self._timestamps(stream, own)
            if (own is None or not len(own[0])) and _AV_TYPES.intersection(programme.streams.values()):
                notes.add("2.3", "PCR_error", 0, "no PCR", programme.pcr_pid)

    def _clock(self, pid: int) -> tuple[Numbers, NDArray[np.float64]]:
        """Return packet numbers and stream times of the PCRs of a PID; note 2.3a and 2.3b on the way."""
        table = self._table
        rows = table.of(pid)
        rows = rows[table.has_pcr[rows] & table.usable[rows] & ~table.repeated[rows]]
        steps = np.diff(table.pcr[rows]) % _PCR_WRAP
        marked = table.discontinuity[rows[1:]]
        wild = ~marked & (steps > PCR_STEP_MAX_S * _PCR_HZ)
        slow = ~marked & ~wild & (steps > PCR_INTERVAL_MAX_S * _PCR_HZ)
        names = {"2.3a": "PCR_repetition_error", "2.3b": "PCR_discontinuity_indicator_error"}
        for mask, indicator in ((slow, "2.3a"), (wild, "2.3b")):
            for at in np.flatnonzero(mask):
                step = int(steps[at]) - (_PCR_WRAP if steps[at] > _PCR_WRAP // 2 else 0)
                self._notes.add(indicator, names[indicator], int(rows[at + 1]), f"{step / _PCR_HZ * 1000:.1f} ms", pid)
        steps = np.where(marked | (steps > _PCR_WRAP // 2), 0, steps)
        return rows, np.concatenate([[0.0], np.cumsum(steps) / _PCR_HZ])[: len(rows)]

    def _repetition(
        self, indicator: str, name: str, pid: int, rows: list[int], clock: tuple[Numbers, NDArray[np.float64]] | None
    ) -> None:
        if not rows:
            self._notes.add(indicator, name, 0, "never seen", pid)
            return
        if clock is None or len(clock[0]) < 2:
            return
        edges = np.array([0, *rows, len(self._table.packets)])
        gaps = np.diff(_times(edges, clock))
        for at in np.flatnonzero(gaps > PSI_INTERVAL_MAX_S):
            self._notes.add(indicator, name, int(edges[at]), f"{gaps[at]:.2f} s without", pid)

    def _presence(self, pid: int, kind: int, clock: tuple[Numbers, NDArray[np.float64]] | None) -> None:
        rows = self._table.of(pid)
        if not len(rows):
            self._notes.add("1.6", "PID_error", 0, f"stream type {kind:#04x} never seen", pid)
        elif clock is not None and len(clock[0]) > 1:
            edges = np.concatenate([[0], rows, [len(self._table.packets)]])
            gaps = np.diff(_times(edges, clock))
            for at in np.flatnonzero(gaps > PID_GAP_MAX_S):
                self._notes.add("1.6", "PID_error", int(edges[at]), f"{gaps[at]:.1f} s without", pid)

    def _timestamps(self, pid: int, clock: tuple[Numbers, NDArray[np.float64]] | None) -> None:
        """2.5: a PTS at least every 700 ms, measured where it arrives."""
        table = self._table
        rows = table.of(pid)
        rows = rows[table.pusi[rows] & table.usable[rows] & table.payload[rows] & ~table.scrambled[rows]]
        rows = rows[table.start[rows] <= PACKET_BYTES - 9]
        if clock is None or len(clock[0]) < 2 or not len(rows):
            return
        at = table.start[rows]
        is_pes = np.logical_and.reduce([table.packets[rows, at + n] == value for n, value in enumerate((0, 0, 1))])
        rows, has_pts = rows[is_pes], table.packets[rows, at + 7][is_pes] & 0x80 != 0
        has_pts[[0, -1] if len(rows) else []] = True  # the gaps before the first PTS and after the last count too
        stamped = rows[has_pts]
        gaps = np.diff(_times(stamped, clock))
        for number in np.flatnonzero(gaps > PTS_INTERVAL_MAX_S):
            self._notes.add("2.5", "PTS_error", int(stamped[number + 1]), f"{gaps[number]:.2f} s without", pid)


def _times(rows: Numbers, clock: tuple[Numbers, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the stream time of packets, straight between PCRs; outside them at the mean rate."""
    at, seconds = clock
    inside = np.interp(rows, at, seconds)
    pace = seconds[-1] / max(1, at[-1] - at[0])
    return np.asarray(inside + pace * (np.minimum(rows - at[0], 0) + np.maximum(rows - at[-1], 0)), np.float64)
