"""What to send and when, for one viewer: position, pace, RTP numbering. Pure: time is an argument.

The pace is the stream's own (PCR). The sender is ahead of it by at most ``LEAD_S``; after a stall it slips instead of
catching up in a burst, so that a slow line never gets more than the stream's rate.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_server.egress.rtsp.timeline import Timeline
from wire.rtp import (
    CLOCK_HZ,
    MP2T_PAYLOAD_TYPE,
    NTP_UNIX_OFFSET_S,
    Description,
    Goodbye,
    Rtcp,
    SenderReport,
    rtp_header,
    write_rtcp,
)

TS_BYTES = 188
PAYLOAD_MAX_BYTES = 7 * TS_BYTES
"""One box family drops interleaved frames of 8 transport packets (reference/stb_protocols §4.5)."""
LEAD_S = 0.25
"""How far the sender may be ahead of the stream's clock; also the burst at the start."""
SLIP_S = 0.5
"""Being later than this (lead included) moves the clock instead of sending a burst."""
REPORT_PERIOD_S = 5.0


@dataclass(frozen=True, slots=True)
class Burst:
    """Consecutive packets that are due: slices of the file, each with its RTP header (or without, raw)."""

    offset_bytes: int
    stop_bytes: int
    headers: tuple[bytes, ...]
    """One a packet; empty bytes for raw transport streams."""


class Stream:
    """One viewer's position in one file. The driver asks what is due and sends it."""

    def __init__(self, timeline: Timeline, *, rtp: bool, ssrc: int, sequence: int, timestamp: int, now: float) -> None:
        """Stand still at the beginning; sequence and timestamp are the random first values of RFC 3550 §5.1."""
        self.timeline = timeline
        self.rtp = rtp
        self.ssrc = ssrc
        self.sequence = sequence
        self.offset_bytes = 0
        self.playing = False
        self.touched = False
        """Something has been sent, so that a jump needs a discontinuity mark."""
        self.preamble = False
        """The next packet must be preceded by the discontinuity preamble."""
        self.slips = 0
        self._born = now
        self._first_timestamp = timestamp
        self._stop_bytes = timeline.length_bytes
        self.stop_s = timeline.duration_s
        """Where this play ends, in seconds of the lesson."""
        self._clock_end_s = float(timeline.time_s[-1])
        self._media_zero = now
        self._base = 0
        """Timestamp, not yet cut to 32 bits, of the second ``_base_s``; never falls, so that no packet goes back."""
        self._base_s = 0.0
        self._last_stamp = timestamp
        self._report_at = now
        self._packets = 0
        self._octets = 0

    def play(self, offset_bytes: int, now: float, *, stop_s: float | None = None) -> None:
        """Start, go on or jump: from this byte on, until ``stop_s`` or the end of the file."""
        line = self.timeline
        if self.touched and offset_bytes != self.offset_bytes:
            self.preamble = True
        self.offset_bytes = offset_bytes
        self._stop_bytes, self.stop_s, self._clock_end_s = line.length_bytes, line.duration_s, float(line.time_s[-1])
        if stop_s is not None and stop_s < line.duration_s:
            self.stop_s, self._clock_end_s = stop_s, stop_s + line.delay_s
            self._stop_bytes = max(offset_bytes, -(-line.offset_at(self._clock_end_s) // TS_BYTES) * TS_BYTES)
        self._base_s = line.time_at(offset_bytes)
        self._base = max(self._first_timestamp + round((now - self._born) * CLOCK_HZ), self._last_stamp)
        self._media_zero = now - self._base_s
        self._report_at = now
        self.playing = True

    def pause(self) -> None:
        """Stop sending; the position stays."""
        self.playing = False

    def rtp_timestamp(self) -> int:
        """Return the timestamp of the next packet, for RTP-Info."""
        return self._stamp(self.timeline.time_at(self.offset_bytes))

    def position_s(self, now: float) -> float:
        """Return the npt that the viewer sees about now: the clock's place while playing, else the next byte's."""
        line = self.timeline
        at = line.npt_at(self.offset_bytes)
        shown = max(now - self._media_zero, self._base_s) - line.delay_s
        return min(max(shown, 0.0), at) if self.playing else at

    def due(self, now: float) -> Burst | None:
        """Take the packets that are due; None when there are none. Advances position and numbers."""
        if not self.playing or self.offset_bytes >= self._stop_bytes:
            return None
        line, begin = self.timeline, self.offset_bytes
        # Measured at the end of the next packet: a pause inside the stream is no lateness of ours.
        behind = now + LEAD_S - self._media_zero - line.time_at(min(begin + PAYLOAD_MAX_BYTES, self._stop_bytes))
        if behind > SLIP_S:
            self._media_zero += behind - LEAD_S
            self.slips += 1
        limit = line.offset_at(now + LEAD_S - self._media_zero)
        if limit >= self._stop_bytes:
            stop = self._stop_bytes
        else:
            stop = begin + (limit - begin) // PAYLOAD_MAX_BYTES * PAYLOAD_MAX_BYTES
            if stop <= begin and line.time_at(begin) <= now - self._media_zero:
                # A thin stream (a still picture): rather a short packet than a late one.
                stop = begin + (limit - begin) // TS_BYTES * TS_BYTES
        if stop <= begin:
            return None
        offsets = list(range(begin, stop, PAYLOAD_MAX_BYTES))
        headers = self._headers(line.times_at(offsets)) if self.rtp else (b"",) * len(offsets)
        self.offset_bytes = stop
        self.touched = True
        self._packets += len(offsets)
        self._octets += stop - begin
        return Burst(begin, stop, headers)

    def extra_header(self, payload_bytes: int) -> bytes:
        """Return the header for one packet outside the file (the preamble), sent before what is due."""
        self.preamble = False
        if not self.rtp or not payload_bytes:
            return b""
        self._packets += 1
        self._octets += payload_bytes
        return self._headers([self.timeline.time_at(self.offset_bytes)])[0]

    def ended(self, now: float) -> bool:
        """Tell whether all is sent and the clock has reached the end, too."""
        return self.playing and self.offset_bytes >= self._stop_bytes and now - self._media_zero >= self._clock_end_s

    def report(self, now: float, unix_s: float) -> bytes | None:
        """Return the compound sender report when it is time for one (RTP only); ``unix_s`` is wall-clock time."""
        if not self.rtp or not self.playing or now < self._report_at:
            return None
        self._report_at = now + REPORT_PERIOD_S
        return write_rtcp(self._report(now, unix_s))

    def goodbye(self, now: float, unix_s: float) -> bytes | None:
        """Return report, name and BYE (RTP only): the receiver may stop waiting."""
        return write_rtcp([*self._report(now, unix_s), Goodbye((self.ssrc,))]) if self.rtp else None

    def _report(self, now: float, unix_s: float) -> list[Rtcp]:
        ntp = int((unix_s + NTP_UNIX_OFFSET_S) * 2**32) & (2**64 - 1)
        stamp = self._stamp(now - self._media_zero)
        report = SenderReport(self.ssrc, ntp, stamp, self._packets & 0xFFFFFFFF, self._octets & 0xFFFFFFFF)
        return [report, Description(self.ssrc, f"edge-{self.ssrc:08x}")]

    def _headers(self, times_s: list[float]) -> tuple[bytes, ...]:
        first, self.sequence = self.sequence, self.sequence + len(times_s) & 0xFFFF
        self._last_stamp = self._long_stamp(times_s[-1])
        return tuple(
            rtp_header(MP2T_PAYLOAD_TYPE, first + index, self._stamp(time_s), self.ssrc)
            for index, time_s in enumerate(times_s)
        )

    def _stamp(self, time_s: float) -> int:
        return self._long_stamp(time_s) & 0xFFFFFFFF

    def _long_stamp(self, time_s: float) -> int:
        return self._base + round((time_s - self._base_s) * CLOCK_HZ)
