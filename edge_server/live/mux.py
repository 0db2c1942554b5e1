"""A transport stream that is made while it is sent: access units in, slices of 30 ms out (ISO/IEC 13818-1). Pure.

The stream's clock is ours: a slice begins at its time with a PCR, and its packets are spread over it. Packets leave in
the order in which their units came, no faster than it takes for each unit to be there before it is decoded.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from edge_server.live import LEAD_S, SLICE_TICKS, TICKS_PER_S
from wire.mpegts import (
    PACKET_BYTES,
    PAT_PID,
    STREAM_AAC_ADTS,
    STREAM_H264,
    Pat,
    Pmt,
    write_adaptation_only,
    write_packet,
    write_pat,
    write_pcr,
    write_pes_header,
    write_pmt,
    write_section_packets,
)

PMT_PID, VIDEO_PID, AUDIO_PID = 0x1000, 0x100, 0x101
QUEUE_MAX_PACKETS = 64_000
"""12 MB; what comes when so many wait is left out, up to the next key picture."""
BASE_TICKS = TICKS_PER_S
"""Some boxes take a clock of 0 for "not set"."""
LEAD_TICKS = round(LEAD_S * TICKS_PER_S)
TABLES_EVERY_TICKS = 9 * SLICE_TICKS
_MARGIN_TICKS = 2 * SLICE_TICKS
_EVEN_SLICES = 16
_PCR_AT = 6
_PAYLOAD_BYTES = 184
DELIMITER = b"\x00\x00\x00\x01\x09\xf0"


@dataclass(frozen=True, slots=True)
class Slice:
    """What leaves in 30 ms."""

    data: bytes
    begin: int
    """When, on the time line."""
    cuts: tuple[tuple[int, int], ...]
    """(byte, number of the cut): a segment begins there."""


@dataclass(slots=True)
class _Queued:
    packet: bytes
    clocked: bool = False
    """A PCR is to be written."""
    tables: bool = False
    """PAT and PMT come before."""
    cut: int | None = None


class TsMux:
    """Makes one programme: H.264 and, perhaps, AAC."""

    def __init__(self) -> None:
        """Begin with pictures alone."""
        self.dropped = 0
        """Units left out since too much waited."""
        self._queue: deque[_Queued] = deque()
        self._wanted: deque[tuple[int, int]] = deque()
        """(packets up to the end of a unit since the beginning, when it must have left)."""
        self._put = self._left = 0
        self._counters = {PAT_PID: 0, PMT_PID: 0, VIDEO_PID: 0, AUDIO_PID: 0}
        self._video_left = 15
        self._version, self._sound = 0, False
        self._tables_at = -TABLES_EVERY_TICKS
        self._closed = False

    @property
    def waiting(self) -> int:
        """Packets that have not left."""
        return len(self._queue)

    def streams(self, *, sound: bool) -> None:
        """Say what the programme has from now on."""
        if sound != self._sound:
            self._sound, self._version = sound, (self._version + 1) % 32

    def picture(self, data: bytes, pts: int, dts: int, *, key: bool, cut: int | None) -> None:
        """Put one access unit (Annex B, without delimiter) into the stream."""
        body = DELIMITER + data
        head = write_pes_header(0xE0, len(body), pts + BASE_TICKS + LEAD_TICKS, dts + BASE_TICKS + LEAD_TICKS)
        first = len(self._queue)
        self._packets(VIDEO_PID, head + body, clocked=key)
        if key:
            self._queue[first].tables = True
        self._queue[first].cut = cut
        self._wanted.append((self._put, dts + LEAD_TICKS))

    def sound(self, data: bytes, pts: int) -> None:
        """Put one ADTS frame into the stream."""
        if self._sound and self.takes(key=False):
            self._packets(AUDIO_PID, write_pes_header(0xC0, len(data), pts + BASE_TICKS + LEAD_TICKS) + data)
            self._wanted.append((self._put, pts + LEAD_TICKS))

    def slice(self, begin: int) -> Slice:
        """Make the slice that begins then; to be called for one after the other."""
        packets: list[bytes] = [b""]
        clocks, cuts = [0], []
        packets[0] = write_adaptation_only(VIDEO_PID, self._video_left, pcr=0)
        if begin - self._tables_at >= TABLES_EVERY_TICKS:
            self._tables(packets, begin)
        for _ in range(self._due(begin)):
            each = self._queue.popleft()
            self._left += 1
            if each.cut is not None:
                cuts.append((len(packets) * PACKET_BYTES, each.cut))
            if each.tables:
                self._tables(packets, begin)
            if each.clocked:
                clocks.append(len(packets))
            if each.packet[1] & 0x1F == VIDEO_PID >> 8 and each.packet[2] == VIDEO_PID & 0xFF:
                self._video_left = each.packet[3] & 15
            packets.append(each.packet)
        while self._wanted and self._wanted[0][0] <= self._left:
            self._wanted.popleft()
        for place in clocks:
            pcr = (begin + BASE_TICKS) * 300 + SLICE_TICKS * 300 * place // len(packets)
            packets[place] = packets[place][:_PCR_AT] + write_pcr(pcr) + packets[place][_PCR_AT + 6 :]
        return Slice(b"".join(packets), begin, tuple(cuts))

    def _due(self, begin: int) -> int:
        """Count the packets that leave now: evenly, but each unit in time."""
        need = -(-len(self._queue) // _EVEN_SLICES)
        for end, when in self._wanted:
            slices = max(1, (when - _MARGIN_TICKS - begin) // SLICE_TICKS)
            need = max(need, -(-(end - self._left) // slices))
        return min(need, len(self._queue))

    def takes(self, *, key: bool) -> bool:
        """Tell whether a unit may be put in; one that may not must be left out."""
        if len(self._queue) > QUEUE_MAX_PACKETS:
            self._closed = True
        elif key:
            self._closed = False
        self.dropped += self._closed
        return not self._closed

    def _tables(self, packets: list[bytes], begin: int) -> None:
        self._tables_at = begin
        streams = [(STREAM_H264, VIDEO_PID)] + [(STREAM_AAC_ADTS, AUDIO_PID)] * self._sound
        pat, pmt = Pat(1, ((1, PMT_PID),)), Pmt(1, VIDEO_PID, tuple(streams), self._version)
        for pid, section in ((PAT_PID, write_pat(pat)), (PMT_PID, write_pmt(pmt))):
            packets.append(write_section_packets(pid, section, self._next(pid)))

    def _packets(self, pid: int, pes: bytes, *, clocked: bool = False) -> None:
        at = 0
        if clocked:
            room = _PAYLOAD_BYTES - 8
            packet = write_packet(pid, self._next(pid), pes[:room], unit_start=True, random_access=True, pcr=0)
            self._queue.append(_Queued(packet, clocked=True))
            at = room
        for begin in range(at, len(pes), _PAYLOAD_BYTES):
            piece = pes[begin : begin + _PAYLOAD_BYTES]
            self._queue.append(_Queued(write_packet(pid, self._next(pid), piece, unit_start=begin == 0)))
        self._put += -(-len(pes[at:]) // _PAYLOAD_BYTES) + clocked

    def _next(self, pid: int) -> int:
        value = self._counters[pid]
        self._counters[pid] = value + 1 & 15
        return value
