"""One RTP stream from a publisher: in order again, the missing asked for, times unwrapped. Pure; decrypts nothing."""

from __future__ import annotations

from wire.rtp import ReportBlock, RtpPacket, SenderReport

HELD_MAX_PACKETS = 1024
WAIT_MAX_S = 0.4
"""For a packet that is asked for again; then it counts as lost."""
ASK_EVERY_S = 0.05
ASKED_MAX_COUNT = 128
_HALF = 1 << 31


class Incoming:
    """Takes packets as they come, and gives them in order."""

    def __init__(self, ssrc: int, clock_hz: int) -> None:
        """Begin with the first packet."""
        self.ssrc, self.clock_hz = ssrc, clock_hz
        self.lost = 0
        self._received = 0
        self._first = 0
        self._held: dict[int, tuple[RtpPacket, float]] = {}
        """By number, with the time of arrival; in order of arrival."""
        self._asked_s = 0.0
        self._next: int | None = None
        self._stamp: int | None = None
        self._highest = 0
        self._wraps = 0
        self._report: tuple[int, int, float] | None = None
        self._reported = 0, 0

    def take(self, packet: RtpPacket, now_s: float) -> list[RtpPacket | None]:
        """Return what can be passed on; None stands for a packet, or more, that will not come."""
        self._received += 1
        if self._next is None:
            self._next = self._highest = self._first = packet.sequence
        ahead = packet.sequence - self._next & 0xFFFF
        if ahead >= 0x8000:
            return []  # it was given up, or is here twice
        if packet.sequence - self._highest & 0xFFFF < 0x8000:
            self._wraps += packet.sequence < self._highest
            self._highest = packet.sequence
        self._held.setdefault(packet.sequence, (packet, now_s))
        return self.due(now_s)

    def due(self, now_s: float) -> list[RtpPacket | None]:
        """Return what can be passed on now."""
        found: list[RtpPacket | None] = []
        while self._held:
            assert self._next is not None
            held = self._held.pop(self._next, None)
            if held is not None:
                found.append(held[0])
                self._next = self._next + 1 & 0xFFFF
                continue
            _, since_s = next(iter(self._held.values()))
            if now_s - since_s < WAIT_MAX_S and len(self._held) < HELD_MAX_PACKETS:
                break
            gone = min(number - self._next & 0xFFFF for number in self._held)
            self.lost += gone
            self._next = self._next + gone & 0xFFFF
            found.append(None)
        return found

    def missing(self, now_s: float) -> list[int]:
        """Name what should be asked for again now."""
        if not self._held or self._next is None or now_s - self._asked_s < ASK_EVERY_S:
            return []
        self._asked_s = now_s
        last = max((number - self._next & 0xFFFF for number in self._held), default=0)
        numbers = (self._next + at & 0xFFFF for at in range(min(last, HELD_MAX_PACKETS)))
        return [number for number in numbers if number not in self._held][:ASKED_MAX_COUNT]

    def time_of(self, stamp: int) -> int:
        """Unwrap an RTP time, in order of arrival."""
        if self._stamp is None:
            self._stamp = stamp
        self._stamp += (stamp - self._stamp + _HALF) % (2 * _HALF) - _HALF
        return self._stamp

    def reported(self, report: SenderReport, now_s: float) -> None:
        """Take what the sender says of its clock."""
        if report.ssrc == self.ssrc and self._stamp is not None:
            ahead = (report.rtp_timestamp - self._stamp + _HALF) % (2 * _HALF) - _HALF
            self._report = report.ntp, self._stamp + ahead, now_s

    @property
    def has_wall(self) -> bool:
        """The sender has said which moment of its clock is which."""
        return self._report is not None

    def wall_s(self, time: int) -> float:
        """Return the sender's wall time of an unwrapped RTP time; only once it has said so."""
        assert self._report is not None
        ntp, at, _ = self._report
        return ntp / 2**32 + (time - at) / self.clock_hz

    def time_at(self, wall_s: float) -> int:
        """Return the unwrapped RTP time of the sender's wall time; the reverse of ``wall_s``."""
        assert self._report is not None
        ntp, at, _ = self._report
        return at + round((wall_s - ntp / 2**32) * self.clock_hz)

    def block(self, now_s: float) -> ReportBlock:
        """Say what came (RFC 3550 §6.4.1)."""
        expected = (self._wraps << 16 | self._highest) - self._first + 1
        lost = expected - self._received  # negative when packets came twice (RFC 3550 A.3)
        before_expected, before_lost = self._reported
        self._reported = expected, lost
        fresh, fresh_lost = expected - before_expected, max(0, lost - before_lost)
        ntp, _, at_s = self._report or (0, 0, now_s)
        return ReportBlock(
            self.ssrc,
            min(255, 256 * fresh_lost // fresh) if fresh > 0 else 0,
            max(-0x800000, min(lost, 0x7FFFFF)),
            (self._wraps << 16 | self._highest) & 0xFFFFFFFF,
            0,
            ntp >> 16 & 0xFFFFFFFF,
            round((now_s - at_s) * 65536) & 0xFFFFFFFF if ntp else 0,
        )
