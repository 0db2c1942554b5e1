"""Checks of ETSI TR 101 290 §5.2, first and second priority, on a whole transport stream; written from the standards.

Without arrival times: intervals are measured by the stream's own clock, interpolated between PCRs (ISO/IEC 13818-1).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

PACKET = 188
CLOCK = 27_000_000
PCR_WRAP = (1 << 33) * 300
PTS_WRAP = 1 << 33


@dataclass
class Report:
    packets: int = 0
    wrong: list[str] = field(default_factory=list)
    pids: dict[int, int] = field(default_factory=dict)
    """Elementary streams: stream_type by PID."""
    pcrs: int = 0
    units: dict[int, int] = field(default_factory=dict)
    """PES packets by PID."""


@dataclass(frozen=True)
class _Packet:
    number: int
    pid: int
    starts: bool
    counter: int
    has_payload: bool
    discontinuity: bool
    pcr: int | None
    payload: bytes


def crc32(data: bytes) -> int:
    """CRC of ISO/IEC 13818-1 Annex A; 0 over a section with its CRC."""
    value = 0xFFFFFFFF
    for each in data:
        value ^= each << 24
        for _ in range(8):
            value = ((value << 1) ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return value


def _packets(data: bytes, report: Report) -> Iterator[_Packet]:
    for number in range(len(data) // PACKET):
        raw = data[number * PACKET : (number + 1) * PACKET]
        if raw[0] != 0x47:
            report.wrong.append(f"1.2 sync byte {raw[0]:#x} in packet {number}")
            continue
        if raw[1] & 0x80:
            report.wrong.append(f"2.1 transport error in packet {number}")
        control, at, pcr, broken = raw[3] >> 4 & 3, 4, None, False
        if raw[3] >> 6:
            report.wrong.append(f"scrambled packet {number}")
        if control == 0:
            report.wrong.append(f"reserved adaptation_field_control in packet {number}")
        if control & 2:
            length = raw[4]
            if length > (182 if control == 3 else 183) or (control == 2 and length != 183):
                report.wrong.append(f"adaptation field of {length} bytes in packet {number}")
            at = 5 + length
            if length:
                broken = bool(raw[5] & 0x80)
                if raw[5] & 0x10:
                    base = int.from_bytes(raw[6:10], "big") << 1 | raw[10] >> 7
                    pcr = base * 300 + ((raw[10] & 1) << 8 | raw[11])
        pid = (raw[1] & 0x1F) << 8 | raw[2]
        payload = raw[at:] if control & 1 else b""
        yield _Packet(number, pid, bool(raw[1] & 0x40), raw[3] & 15, bool(control & 1), broken, pcr, payload)


def _clock(packets: list[_Packet], pid: int) -> list[tuple[int, int]]:
    """(packet number, PCR without wraps) of the PCR PID."""
    found: list[tuple[int, int]] = []
    for each in packets:
        if each.pid == pid and each.pcr is not None:
            value = each.pcr
            while found and value < found[-1][1] - PCR_WRAP // 2:
                value += PCR_WRAP
            found.append((each.number, value))
    return found


class _Times:
    """27 MHz time of any packet, between the PCRs around it; outside by the next rate."""

    def __init__(self, clock: list[tuple[int, int]]) -> None:
        self.clock = clock
        self.at = 0

    def of(self, number: int) -> float:
        while self.at + 2 < len(self.clock) and self.clock[self.at + 1][0] <= number:
            self.at += 1
        (left, early), (right, late) = self.clock[self.at], self.clock[self.at + 1]
        return early + (late - early) * (number - left) / (right - left)


def _section(packets: list[_Packet], pid: int, table: int, report: Report) -> list[tuple[int, bytes]]:
    """(packet number, section) of each section; each stands in one packet here."""
    found = []
    for each in packets:
        if each.pid != pid or not each.starts or not each.payload:
            continue
        start = 1 + each.payload[0]
        length = (each.payload[start + 1] & 15) << 8 | each.payload[start + 2]
        section = each.payload[start : start + 3 + length]
        if section[0] != table:
            report.wrong.append(f"table {section[0]:#x} on PID {pid:#x}")
        if len(section) != 3 + length or crc32(section):
            report.wrong.append(f"2.2 CRC of the section in packet {each.number}")
        found.append((each.number, section))
    return found


def _stamp(field_bytes: bytes) -> int:
    a, b, c, d, e = field_bytes
    return (a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1


def check(data: bytes, *, psi_s: float = 0.5, pcr_s: float = 0.040, pts_s: float = 0.7) -> Report:
    """Look at everything; ``wrong`` names what breaks which check."""
    report = Report(len(data) // PACKET)
    if len(data) % PACKET or not data:
        report.wrong.append(f"1.1 {len(data)} bytes are no whole number of packets")
    packets = list(_packets(data, report))
    _continuity(packets, report)
    pats = _section(packets, 0, 0, report)
    if not pats:
        report.wrong.append("1.3 no PAT")
        return report
    programs = [pats[0][1][at : at + 4] for at in range(8, len(pats[0][1]) - 4, 4)]
    maps = [int.from_bytes(each[2:], "big") & 0x1FFF for each in programs if each[:2] != b"\0\0"]
    if len(maps) != 1:
        report.wrong.append(f"{len(maps)} programs")
        return report
    pmts = _section(packets, maps[0], 2, report)
    if not pmts:
        report.wrong.append("1.5 no PMT")
        return report
    pmt = pmts[0][1]
    pcr_pid = int.from_bytes(pmt[8:10], "big") & 0x1FFF
    at = 12 + (int.from_bytes(pmt[10:12], "big") & 0xFFF)
    while at < len(pmt) - 4:
        report.pids[int.from_bytes(pmt[at + 1 : at + 3], "big") & 0x1FFF] = pmt[at]
        at += 5 + (int.from_bytes(pmt[at + 3 : at + 5], "big") & 0xFFF)
    allowed = {0, 0x1FFF, maps[0], pcr_pid, *report.pids, *range(0x10, 0x20)}
    report.wrong += [f"1.6 PID {pid:#x} is in no PMT" for pid in sorted({p.pid for p in packets} - allowed)]
    report.wrong += [f"1.6 PID {pid:#x} never comes" for pid in report.pids if all(p.pid != pid for p in packets)]
    clock = _clock(packets, pcr_pid)
    report.pcrs = len(clock)
    if len(clock) < 2:
        report.wrong.append("2.3 fewer than two PCRs")
        return report
    for (_, early), (number, late) in itertools.pairwise(clock):
        if not 0 < late - early <= pcr_s * CLOCK:
            report.wrong.append(f"2.3 {(late - early) / CLOCK * 1000:.1f} ms between PCRs at packet {number}")
    for name, numbers in (("1.3 PAT", [n for n, _ in pats]), ("1.5 PMT", [n for n, _ in pmts])):
        times = _Times(clock)
        moments = [times.of(0), *(times.of(each) for each in numbers), times.of(report.packets - 1)]
        gap = max(b - a for a, b in itertools.pairwise(moments)) / CLOCK
        if gap > psi_s:
            report.wrong.append(f"{name} every {gap:.3f} s")
    _presentation(packets, clock, report, pts_s)
    return report


def _continuity(packets: list[_Packet], report: Report) -> None:
    last: dict[int, _Packet] = {}
    twice: set[int] = set()
    for each in packets:
        before = last.get(each.pid)
        if each.pid != 0x1FFF and before is not None and not each.discontinuity:
            wanted = before.counter + 1 & 15 if each.has_payload else before.counter
            same = each.counter == before.counter and each.payload == before.payload and each.pid not in twice
            if each.counter != wanted and not same:
                report.wrong.append(f"1.4 counter {each.counter}, not {wanted}, on PID {each.pid:#x} at {each.number}")
            if each.has_payload and each.counter == before.counter:
                twice.add(each.pid)
            else:
                twice.discard(each.pid)
        last[each.pid] = each


def _presentation(packets: list[_Packet], clock: list[tuple[int, int]], report: Report, pts_s: float) -> None:
    """2.5 PTS intervals, order of DTS, and that all bytes of an access unit are there when it is decoded."""
    for pid in report.pids:
        times, stamps, waiting = _Times(clock), [], 0.0
        last_dts: float | None = None
        for each in packets:
            if each.pid != pid or not each.payload:
                continue
            now = times.of(each.number)
            if each.starts:
                pes = each.payload
                if pes[:3] != b"\0\0\1":
                    report.wrong.append(f"no PES start on PID {pid:#x} at {each.number}")
                    continue
                report.units[pid] = report.units.get(pid, 0) + 1
                if not pes[7] & 0x80:
                    continue
                near = now / 300
                pts = _near(_stamp(pes[9:14]), near)
                dts = _near(_stamp(pes[14:19]), near) if pes[7] & 0x40 else pts
                if pts < dts:
                    report.wrong.append(f"PTS before DTS on PID {pid:#x} at {each.number}")
                if last_dts is not None and dts <= last_dts:
                    report.wrong.append(f"DTS does not grow on PID {pid:#x} at {each.number}")
                stamps.append(pts)
                last_dts = dts
                waiting = dts * 300
            if stamps and now > waiting:
                report.wrong.append(
                    f"bytes {(now - waiting) / CLOCK * 1000:.1f} ms after DTS, PID {pid:#x} at {each.number}"
                )
            if stamps and waiting - now > 10 * CLOCK:
                report.wrong.append(f"bytes more than 10 s before DTS, PID {pid:#x} at {each.number}")
        ordered = sorted(stamps)
        gap = max((b - a for a, b in itertools.pairwise(ordered)), default=0) / 90_000
        if gap > pts_s:
            report.wrong.append(f"2.5 {gap:.3f} s without PTS on PID {pid:#x}")


def _near(stamp: int, near: float) -> int:
    """The stamp without wrap, as close to ``near`` (90 kHz) as possible."""
    return stamp + round((near - stamp) / PTS_WRAP) * PTS_WRAP
