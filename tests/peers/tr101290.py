"""Checks of ETSI TR 101 290 §5.2, first and second priority, on a whole transport stream; written from the standards.

Without arrival times: intervals are measured by the stream's own clock, interpolated between PCRs (ISO/IEC 13818-1
§2.4.2.2: between two PCRs of a programme the rate is constant by definition). A packet on the PCR PID that has
discontinuity_indicator set begins another time base (§2.4.3.5).

PCR accuracy (2.4) compares a PCR with the position of its byte, which has a meaning only where the rate is known: in a
stream of constant rate (`check` with ``constant``). In one of variable rate the PCRs themselves say when bytes are due,
and what can be compared with them is what the sender says of the same bytes beside: the RTP timestamp, which is when
the first byte of the payload is to be sent (RFC 2250 §2), see `against_rtp`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

PACKET = 188
CLOCK = 27_000_000
PCR_WRAP = (1 << 33) * 300
PTS_WRAP = 1 << 33
PCR_STEP_MAX_S = 0.1
ACCURACY_S = 500e-9
RTP_HZ = 90_000
SYNC_PACKETS = 5
"""So many sync bytes in a row are synchronisation (TR 101 290 §5.2.1, 1.1); two bad ones in a row lose it."""


@dataclass
class Report:
    packets: int = 0
    wrong: list[str] = field(default_factory=list)
    pids: dict[int, int] = field(default_factory=dict)
    """Elementary streams: stream_type by PID."""
    pcrs: int = 0
    units: dict[int, int] = field(default_factory=dict)
    """PES packets by PID."""
    pcr_gap_max_s: float = 0.0
    repeated: int = 0
    """Packets sent twice, which is allowed (ISO/IEC 13818-1 §2.4.3.3)."""
    time_bases: int = 0

    @property
    def checks(self) -> set[str]:
        """Numbers of the checks that failed; ``0`` is what TR 101 290 has no number for."""
        return {each.split()[0] for each in self.wrong}


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


def _cut(data: bytes, report: Report) -> Iterator[tuple[int, bytes]]:
    """(number, packet) of what stands behind sync bytes; two bad ones in a row lose sync, which is looked for again."""
    at = number = 0
    bad = 0
    while at + PACKET <= len(data):
        raw = data[at : at + PACKET]
        if raw[0] == 0x47:
            bad = 0
            yield number, raw
        else:
            bad += 1
            report.wrong.append(f"1.2 Sync_byte_error: {raw[0]:#x} in packet {number}")
            if bad == 2:
                found = next(
                    (
                        start
                        for start in range(at - PACKET + 1, len(data) - SYNC_PACKETS * PACKET)
                        if all(data[start + each * PACKET] == 0x47 for each in range(SYNC_PACKETS))
                    ),
                    len(data),
                )
                report.wrong.append(f"1.1 TS_sync_loss: at packet {number}, found again at byte {found}")
                at, bad, number = found, 0, number + 1
                continue
        at, number = at + PACKET, number + 1


def _packets(data: bytes, report: Report) -> Iterator[_Packet]:
    for number, raw in _cut(data, report):
        if raw[1] & 0x80:
            report.wrong.append(f"2.1 Transport_error: packet {number}")
            continue
        control, at, pcr, broken = raw[3] >> 4 & 3, 4, None, False
        if raw[3] >> 6:
            report.wrong.append(f"2.6 CAT_error: packet {number} is scrambled, and nothing says how")
        if control == 0:
            report.wrong.append(f"0 reserved adaptation_field_control in packet {number}")
        if control & 2:
            length = raw[4]
            if length > (182 if control == 3 else 183) or (control == 2 and length != 183):
                report.wrong.append(f"0 adaptation field of {length} bytes in packet {number}")
            at = 5 + length
            if length:
                broken = bool(raw[5] & 0x80)
                if raw[5] & 0x10:
                    base = int.from_bytes(raw[6:10], "big") << 1 | raw[10] >> 7
                    pcr = base * 300 + ((raw[10] & 1) << 8 | raw[11])
        pid = (raw[1] & 0x1F) << 8 | raw[2]
        payload = raw[at:] if control & 1 else b""
        yield _Packet(number, pid, bool(raw[1] & 0x40), raw[3] & 15, bool(control & 1), broken, pcr, payload)


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


@dataclass
class _Base:
    """One time base: its packets, and (packet number, PCR without wraps) of its clock."""

    packets: list[_Packet]
    clock: list[tuple[int, int]]


def _bases(packets: list[_Packet], pid: int) -> list[_Base]:
    """Cut the stream at the marked packets of the PCR PID; those that stand together are one mark."""
    bases = [_Base([], [])]
    for each in packets:
        mine = each.pid == pid
        if mine and each.discontinuity:
            if any(p.pid == pid and not p.discontinuity for p in bases[-1].packets):
                bases.append(_Base([], []))
            else:
                bases[-1].clock.clear()
        base = bases[-1]
        base.packets.append(each)
        if mine and each.pcr is not None:
            value = each.pcr
            while base.clock and value < base.clock[-1][1] - PCR_WRAP // 2:
                value += PCR_WRAP
            base.clock.append((each.number, value))
    return bases


def _section(packets: list[_Packet], pid: int, table: int, name: str, report: Report) -> list[tuple[int, bytes]]:
    """(packet number, section) of each section; each stands in one packet here."""
    found = []
    for each in packets:
        if each.pid != pid or not each.starts or not each.payload:
            continue
        start = 1 + each.payload[0]
        length = (each.payload[start + 1] & 15) << 8 | each.payload[start + 2]
        section = each.payload[start : start + 3 + length]
        if section[0] != table:
            report.wrong.append(f"{name}: table {section[0]:#x} on PID {pid:#x}")
            continue
        if len(section) != 3 + length or crc32(section):
            report.wrong.append(f"2.2 CRC_error: the section in packet {each.number}")
            continue
        found.append((each.number, section))
    return found


def _stamp(field_bytes: bytes) -> int:
    a, b, c, d, e = field_bytes
    return (a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1


def check(
    data: bytes, *, psi_s: float = 0.5, pcr_s: float = 0.040, pts_s: float = 0.7, constant: bool = False
) -> Report:
    """Look at everything; ``wrong`` names what breaks which check. ``constant``: the rate is, so 2.4 can be checked."""
    report = Report(len(data) // PACKET)
    if len(data) % PACKET or not data:
        report.wrong.append(f"1.1 TS_sync_loss: {len(data)} bytes are no whole number of packets")
    packets = list(_packets(data, report))
    _continuity(packets, report)
    pats = _section(packets, 0, 0, "1.3 PAT_error", report)
    if not pats:
        report.wrong.append("1.3 PAT_error: none")
        return report
    programs = [pats[0][1][at : at + 4] for at in range(8, len(pats[0][1]) - 4, 4)]
    maps = [int.from_bytes(each[2:], "big") & 0x1FFF for each in programs if each[:2] != b"\0\0"]
    if len(maps) != 1:
        report.wrong.append(f"0 {len(maps)} programs")
        return report
    pmts = _section(packets, maps[0], 2, "1.5 PMT_error", report)
    if not pmts:
        report.wrong.append("1.5 PMT_error: none")
        return report
    pmt = pmts[0][1]
    pcr_pid = int.from_bytes(pmt[8:10], "big") & 0x1FFF
    at = 12 + (int.from_bytes(pmt[10:12], "big") & 0xFFF)
    while at < len(pmt) - 4:
        report.pids[int.from_bytes(pmt[at + 1 : at + 3], "big") & 0x1FFF] = pmt[at]
        at += 5 + (int.from_bytes(pmt[at + 3 : at + 5], "big") & 0xFFF)
    allowed = {0, 0x1FFF, maps[0], pcr_pid, *report.pids, *range(0x10, 0x20)}
    report.wrong += [f"1.6 PID_error: {pid:#x} is in no PMT" for pid in sorted({p.pid for p in packets} - allowed)]
    report.wrong += [
        f"1.6 PID_error: {pid:#x} never comes" for pid in report.pids if all(p.pid != pid for p in packets)
    ]
    bases = _bases(packets, pcr_pid)
    report.time_bases = len(bases)
    for base in bases:
        _pace(base, report, pcr_s)
        if len(base.clock) < 2:
            report.wrong.append("2.3a PCR_repetition_error: fewer than two PCRs in a time base")
            continue
        inside = range(base.packets[0].number, base.packets[-1].number + 1)
        for name, table in (("1.3 PAT_error", pats), ("1.5 PMT_error", pmts)):
            times = _Times(base.clock)
            numbers = [inside.start, *(number for number, _ in table if number in inside), inside.stop - 1]
            gap = max(b - a for a, b in itertools.pairwise(times.of(each) for each in numbers)) / CLOCK
            if gap > psi_s:
                report.wrong.append(f"{name}: {gap:.3f} s without")
        _presentation(base, report, pts_s)
        if constant:
            _accuracy(base.clock, report)
    return report


def _pace(base: _Base, report: Report, pcr_s: float) -> None:
    report.pcrs += len(base.clock)
    for (_, early), (number, late) in itertools.pairwise(base.clock):
        step_s = (late - early) / CLOCK
        report.pcr_gap_max_s = max(report.pcr_gap_max_s, step_s)
        if not 0 <= step_s <= PCR_STEP_MAX_S:  # 0 is inside (5.2.2, 2.3b)
            told = f"{step_s * 1000:.1f} ms at packet {number}, and no indicator"
            report.wrong.append(f"2.3b PCR_discontinuity_indicator_error: {told}")
        elif step_s > pcr_s:
            report.wrong.append(f"2.3a PCR_repetition_error: {step_s * 1000:.1f} ms at packet {number}")


def _accuracy(clock: list[tuple[int, int]], report: Report) -> None:
    """2.4: distance of each PCR from the straight line through all (least squares)."""
    count = len(clock)
    x = sum(number for number, _ in clock) / count
    y = sum(value for _, value in clock) / count
    slope = sum((n - x) * (v - y) for n, v in clock) / sum((n - x) ** 2 for n, _ in clock)
    for number, value in clock:
        off_s = (value - y - slope * (number - x)) / CLOCK
        if abs(off_s) > ACCURACY_S:
            report.wrong.append(f"2.4 PCR_accuracy_error: {off_s * 1e9:.0f} ns at packet {number}")


def against_rtp(payloads: Sequence[bytes], stamps: Sequence[int]) -> list[float]:
    """Seconds by which each RTP timestamp differs from the stream's own time of the first byte it stands for.

    Only payloads between two PCRs have such a time; one time base, one PCR PID; the first such payload is the zero.
    """
    report, numbers, number = Report(), [], 0
    for payload in payloads:
        numbers.append(number)
        number += len(payload) // PACKET
    packets = list(_packets(b"".join(payloads), report))
    clock = _bases(packets, next(each.pid for each in packets if each.pcr is not None))[0].clock
    times, zero, found = _Times(clock), None, []
    for number, stamp in zip(numbers, stamps, strict=True):
        if clock[0][0] <= number <= clock[-1][0]:
            ticks = times.of(number) * RTP_HZ / CLOCK
            zero = stamp - ticks if zero is None else zero
            off = (stamp - ticks - zero + (1 << 31)) % (1 << 32) - (1 << 31)
            found.append(off / RTP_HZ)
    return found


def _continuity(packets: list[_Packet], report: Report) -> None:
    last: dict[int, _Packet] = {}
    twice: set[int] = set()
    for each in packets:
        before = last.get(each.pid)
        if each.pid != 0x1FFF and before is not None and not each.discontinuity:
            wanted = before.counter + 1 & 15 if each.has_payload else before.counter
            same = each.counter == before.counter and each.payload == before.payload and each.has_payload
            if same and before.has_payload and each.pid not in twice:
                twice.add(each.pid)
                report.repeated += 1
            else:
                twice.discard(each.pid)
                if each.counter != wanted:
                    told = f"{each.counter}, not {wanted}, on PID {each.pid:#x} at {each.number}"
                    report.wrong.append(f"1.4 Continuity_count_error: {told}")
        last[each.pid] = each


def _presentation(base: _Base, report: Report, pts_s: float) -> None:
    """2.5 PTS intervals, order of DTS, and that all bytes of an access unit are there when it is decoded."""
    for pid in report.pids:
        times, stamps, waiting = _Times(base.clock), [], 0.0
        last_dts: float | None = None
        for each in base.packets:
            if each.pid != pid or not each.payload:
                continue
            now = times.of(each.number)
            if each.starts:
                pes = each.payload
                if pes[:3] != b"\0\0\1":
                    report.wrong.append(f"0 no PES start on PID {pid:#x} at {each.number}")
                    continue
                report.units[pid] = report.units.get(pid, 0) + 1
                if not pes[7] & 0x80:
                    continue
                near = now / 300
                pts = _near(_stamp(pes[9:14]), near)
                dts = _near(_stamp(pes[14:19]), near) if pes[7] & 0x40 else pts
                if pts < dts:
                    report.wrong.append(f"0 PTS before DTS on PID {pid:#x} at {each.number}")
                if last_dts is not None and dts <= last_dts:
                    report.wrong.append(f"0 DTS does not grow on PID {pid:#x} at {each.number}")
                stamps.append(pts)
                last_dts = dts
                waiting = dts * 300
            if stamps and now > waiting:
                late = f"{(now - waiting) / CLOCK * 1000:.1f} ms after DTS, PID {pid:#x} at {each.number}"
                report.wrong.append(f"0 bytes {late}")
            if stamps and waiting - now > 10 * CLOCK:
                report.wrong.append(f"0 bytes more than 10 s before DTS, PID {pid:#x} at {each.number}")
        gap = max((b - a for a, b in itertools.pairwise(sorted(stamps))), default=0) / 90_000
        if gap > pts_s:
            report.wrong.append(f"2.5 PTS_error: {gap:.3f} s without on PID {pid:#x}")


def _near(stamp: int, near: float) -> int:
    """The stamp without wrap, as close to ``near`` (90 kHz) as possible."""
    return stamp + round((near - stamp) / PTS_WRAP) * PTS_WRAP
