"""What a receiver counts on a transport stream: sync loss, continuity, transport errors (ISO/IEC 13818-1 §2.4.3.3)."""

from __future__ import annotations

from typing import Final

PACKET_BYTES: Final = 188
SYNC_BYTE: Final = 0x47
NULL_PID: Final = 0x1FFF


class ContinuityMeter:
    """Running counts over packets in order of arrival; knows no clock and keeps one packet a PID.

    Honours discontinuity_indicator, one permitted duplicate of a payload packet (equal but for its PCR), packets
    without payload (their counter repeats) and null packets (their counter means nothing).
    """

    __slots__ = (
        "_last",
        "continuity_errors",
        "continuity_errors_by_pid",
        "discontinuities",
        "duplicates",
        "packets",
        "sync_errors",
        "transport_errors",
    )

    def __init__(self) -> None:
        """Begin with nothing seen: the first packet of a PID may have any counter."""
        self.packets = 0
        """Packets fed, good or bad."""
        self.sync_errors = 0
        """Packets that do not begin with 0x47, or whose adaptation field does not fit."""
        self.continuity_errors = 0
        """Packets whose counter is not the one due."""
        self.transport_errors = 0
        """Packets with transport_error_indicator; not judged further."""
        self.duplicates = 0
        """Permitted repetitions of the packet before."""
        self.discontinuities = 0
        """Packets with discontinuity_indicator."""
        self.continuity_errors_by_pid: dict[int, int] = {}
        self._last: dict[int, tuple[int, bytes]] = {}

    def feed(self, data: bytes) -> None:
        """Count these packets.

        Raises:
            ValueError: the length is not a multiple of 188.
        """
        if len(data) % PACKET_BYTES:
            raise ValueError(f"{len(data)} bytes are not a whole number of 188-byte packets")
        last = self._last
        for start in range(0, len(data), PACKET_BYTES):
            self.packets += 1
            flags, control = data[start + 1], data[start + 3]
            if data[start] != SYNC_BYTE:
                self.sync_errors += 1
                continue
            if flags & 0x80:
                self.transport_errors += 1
                continue
            pid = (flags & 0x1F) << 8 | data[start + 2]
            if pid == NULL_PID:
                continue
            counter = control & 0x0F
            marked = False
            if control & 0x20:
                length = data[start + 4]
                if length > 183:
                    self.sync_errors += 1
                    continue
                marked = length > 0 and bool(data[start + 5] & 0x80)
            before = last.get(pid)
            if marked:
                self.discontinuities += 1
            elif before is not None and counter != (before[0] + (control >> 4 & 1)) & 15:
                if (
                    control & 0x10
                    and counter == before[0]
                    and self._same(before[1], data[start : start + PACKET_BYTES])
                ):
                    self.duplicates += 1
                    last[pid] = (counter, b"")
                    continue
                self.continuity_errors += 1
                self.continuity_errors_by_pid[pid] = self.continuity_errors_by_pid.get(pid, 0) + 1
            if control & 0x10:
                last[pid] = (counter, data[start : start + PACKET_BYTES])
            else:
                last[pid] = (counter, before[1] if before is not None and not marked else b"")

    @staticmethod
    def _same(before: bytes, now: bytes) -> bool:
        """Tell whether this is the one permitted duplicate: equal but for PCR; ``before`` is empty after the first."""
        if before == now:
            return True
        if not before or not (before[3] & 0x20 and now[3] & 0x20 and before[4] >= 7 and now[4] >= 7):
            return False
        has_pcr = before[5] & 0x10 and now[5] & 0x10
        return bool(has_pcr) and before[:6] == now[:6] and before[12:] == now[12:]
