"""What to send and when, for one viewer: position, pace, RTP numbering. Pure: time is an argument.

The pace is the stream's own (PCR). The sender is ahead of it by at most ``LEAD_S``; after a stall it slips instead of
catching up in a burst, so that a slow line never gets more than the stream's rate.

Whoever plays from one place to the end gets the shared packets of the file, numbers and all. Numbers have to go on
without a break over a jump (RFC 2326 appendix B; receivers take a smaller one for a packet that came too late): after
its first jump a viewer's packets are its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_server.pacing.timeline import LEAD_S, Packets, Timeline
from wire.rtp import CLOCK_HZ, NTP_UNIX_OFFSET_S, Description, Goodbye, Rtcp, SenderReport, write_rtcp

SLIP_S = 0.5
"""Being later than this (lead included) moves the clock instead of sending a burst."""
REPORT_PERIOD_S = 5.0


class Stream:
    """One viewer's position in one file. The driver asks what is due, sends it, and says so."""

    # A flow is touched every 25 ms, when the kernel's copying has driven it out of the caches: fewer lines cost less.
    __slots__ = (
        "_base",
        "_base_s",
        "_born",
        "_clock_end_s",
        "_continuous",
        "_counted",
        "_first_timestamp",
        "_octets_sent",
        "_packets_sent",
        "_sequence",
        "_shared",
        "_stop_bytes",
        "block",
        "due_s",
        "endless",
        "index",
        "media_zero",
        "own",
        "packets",
        "plain_until",
        "playing",
        "plays",
        "preamble",
        "report_at",
        "rtp",
        "slips",
        "ssrc",
        "stop_s",
        "timeline",
        "touched",
    )

    def __init__(
        self,
        timeline: Timeline,
        *,
        rtp: bool,
        ssrc: int,
        sequence: int,
        timestamp: int,
        now: float,
        continuous: bool = True,
    ) -> None:
        """Stand still at the beginning.

        Args:
            timeline: the file's clock, packets and shared numbers.
            rtp: the packets have RTP headers.
            ssrc: of packets that are not shared; the random first values of RFC 3550 §5.1, as the next two.
            sequence: likewise.
            timestamp: likewise.
            now: monotonic seconds.
            continuous: numbers go on over a jump; otherwise a jump shows in them, as RTP-Info says.
        """
        self.timeline = timeline
        self.rtp = rtp
        self.playing = False
        self.touched = False
        """Something has been sent, so that a jump needs a discontinuity mark."""
        self.preamble = False
        """The next packet must be preceded by the discontinuity preamble."""
        self.endless = False
        """Another file goes on where this one ends: it has ended as soon as all is sent."""
        self.slips = self.plays = 0
        """Times that the clock was moved; times that play began, went on or jumped: since then numbers run on."""
        shared = timeline.numbers if rtp else None
        self.own = rtp and shared is None
        """The packets that are due are this viewer's own, not those of all."""
        self.ssrc = ssrc if shared is None else shared.ssrc
        self.packets: Packets = timeline.packets
        self.block = self.index = 0
        """The next packet: its block, and its place in the block."""
        self.report_at = now if rtp else inf
        self.plain_until = -inf
        """Until then nothing is to be done but to send packets of this block as they are due: only ``index`` moves."""
        self._shared = shared
        self._continuous = continuous
        self._sequence = sequence
        self._born, self._first_timestamp = now, timestamp
        self._stop_bytes = timeline.length_bytes
        self.stop_s = timeline.duration_s
        """Where this play ends, in seconds of the lesson."""
        self._clock_end_s = float(timeline.time_s[-1])
        self.media_zero = now
        """Monotonic second at which the stream's clock was, or would have been, at 0."""
        self._base = timestamp
        """Own timestamp, not yet cut to 32 bits, of the second ``_base_s``; never falls, so no packet goes back."""
        self._base_s = 0.0
        self.due_s: Sequence[float] = (inf,)
        """When each packet of the block is to leave, in seconds of the stream's clock; infinity at the end."""
        self._counted = self._packets_sent = self._octets_sent = 0
        self._go(0)

    @property
    def offset_bytes(self) -> int:
        """Where in the file the next packet begins."""
        packets, block = self.packets, self.block
        return packets.starts[block] + (self.index * packets.strides[block] if self.index else 0)

    @offset_bytes.setter
    def offset_bytes(self, offset_bytes: int) -> None:
        self._count()
        self._go(offset_bytes)

    @property
    def left(self) -> int:
        """How many packets of the block are still to come."""
        return len(self.due_s) - self.index

    @property
    def sequence(self) -> int:
        """The sequence number of the next packet."""
        if self._shared is None or self.own:
            return self._sequence + self.index - self._counted & 0xFFFF
        return self._shared.sequence + self.packets.firsts[self.block] + self.index - self.preamble & 0xFFFF

    def play(
        self,
        offset_bytes: int,
        now: float,
        *,
        stop_s: float | None = None,
        timeline: Timeline | None = None,
        seamless: bool = False,
    ) -> None:
        """Start, go on or jump: from this byte on, until ``stop_s`` or the end of the file; perhaps on another line.

        What is ``seamless`` goes on where the other line ended: no jump, though the file is another one.
        """
        old = self.timeline
        line = old if timeline is None else timeline
        jump = self.touched and not seamless and (line is not old or offset_bytes != self.offset_bytes)
        last = self._long_stamp(old.time_at(self.offset_bytes)) if self.touched else self._first_timestamp
        sequence, shared = self.sequence, not self.own
        self._count()
        self.timeline = line
        self.preamble = self.preamble or jump
        self._stop_bytes, self.stop_s, self._clock_end_s = line.length_bytes, line.duration_s, float(line.time_s[-1])
        if stop_s is not None and stop_s < line.duration_s:
            self.stop_s, self._clock_end_s = stop_s, stop_s + line.delay_s
            self._stop_bytes = max(offset_bytes, -(-line.offset_at(self._clock_end_s) // 188) * 188)
        cuts = () if line.packets.begins_at(offset_bytes) else (offset_bytes,)
        if line.packets.starts[line.packets.block_at(self._stop_bytes)] != self._stop_bytes:
            cuts = (*cuts, self._stop_bytes)
        self.packets = Packets(line, cuts) if cuts else line.packets
        lasting = self.rtp and (self._shared is None or self.own or seamless or (jump and self._continuous))
        self.own = bool(cuts) or lasting or line.private
        self._go(offset_bytes)
        self._base_s = line.time_at(offset_bytes)
        if self._shared is not None and not self.touched:
            self._born, self._first_timestamp = now, self._shared.timestamp + round(self._base_s * CLOCK_HZ)
            last = self._first_timestamp
            if self.own:
                self._sequence = sequence
        elif self.own and shared:
            self._sequence = sequence
        self._base = max(self._first_timestamp + round((now - self._born) * CLOCK_HZ), last)
        self.media_zero = now - self._base_s
        self.report_at = now if self.rtp else inf
        self.plays += 1
        self.playing = True

    def pause(self) -> None:
        """Stop sending; the position stays."""
        self.playing = False
        self.plain_until = -inf

    def rtp_timestamp(self) -> int:
        """Return the timestamp of the next packet, for RTP-Info."""
        return self._long_stamp(self.timeline.time_at(self.offset_bytes)) & 0xFFFFFFFF

    def position_s(self, now: float) -> float:
        """Return the npt that the viewer sees about now: the clock's place while playing, else the next byte's."""
        line = self.timeline
        at = line.npt_at(self.offset_bytes)
        shown = max(now - self.media_zero, self._base_s) - line.delay_s
        return min(max(shown, 0.0), at) if self.playing else at

    def due(self, now: float) -> int:
        """Return how many packets of this block are due, from ``index`` on; ask again after ``advance``."""
        if not self.playing:
            return 0
        due, index = self.due_s, self.index
        at = now - self.media_zero
        late = at - due[index]
        if late < 0:
            return 0
        if late > SLIP_S:
            self.media_zero += late - LEAD_S
            self.slips += 1
            at = due[index] + LEAD_S
        return bisect_right(due, at, index) - index

    def advance(self, count: int) -> None:
        """Note that so many packets of the block have been sent."""
        self.touched = True
        self.index += count
        if self.index < len(self.due_s):
            return
        packets, block = self.packets, self.block
        self._count()
        begin, end = packets.starts[block], packets.starts[block + 1]
        self._octets_sent -= begin + self.index * packets.strides[block] - end  # the last one is shorter
        self._go(end)

    def settle(self) -> None:
        """Note that report and preamble are out and the block's packets at hand (see ``plain_until``)."""
        self.plain_until = self.report_at if self.playing and not self.preamble else -inf

    def stamps(self, count: int) -> NDArray[Any]:
        """Return the timestamps of the next packets of the block, for packets of our own."""
        packets, block = self.packets, self.block
        offsets = packets.starts[block] + packets.strides[block] * np.arange(self.index, self.index + count)
        times = self.timeline.times_at(offsets)
        return self._base + np.rint((times - self._base_s) * CLOCK_HZ).astype(np.int64)

    def extra(self, count: int) -> tuple[int, int]:
        """Number one packet outside the file (the preamble), sent before what is due; of 0 bytes: there is none.

        Returns:
            Sequence number and timestamp.
        """
        sequence = self.sequence
        self._count()
        self.preamble = False
        if count:
            self._packets_sent += 1
            self._octets_sent += count
            if self.own:
                self._sequence = self._sequence + 1 & 0xFFFF
        return sequence, self.rtp_timestamp()

    def ended(self, now: float) -> bool:
        """Tell whether all is sent and the clock has reached the end, too."""
        return self.all_sent and (self.endless or now - self.media_zero >= self._clock_end_s)

    @property
    def all_sent(self) -> bool:
        """Tell whether all is sent, wherever the clock may be."""
        return self.due_s[0] == inf and self.playing

    @property
    def sent_bytes(self) -> int:
        """Return how much payload was sent so far; while the pacer works on it, a packet more or less."""
        new, strides, block = self.index - self._counted, self.packets.strides, self.block
        return self._octets_sent + (new * strides[block] if new > 0 and block < len(strides) else 0)

    @property
    def end_at(self) -> float:
        """Monotonic second at which the clock will be at the end."""
        return self.media_zero + self._clock_end_s

    def report(self, now: float, unix_s: float) -> bytes | None:
        """Return the compound sender report when it is time for one (RTP only); ``unix_s`` is wall-clock time."""
        if not self.rtp or not self.playing or now < self.report_at:
            return None
        self.report_at = now + REPORT_PERIOD_S
        return write_rtcp(self._report(now, unix_s))

    def goodbye(self, now: float, unix_s: float) -> bytes | None:
        """Return report, name and BYE (RTP only): the receiver may stop waiting."""
        return write_rtcp([*self._report(now, unix_s), Goodbye((self.ssrc,))]) if self.rtp else None

    def _report(self, now: float, unix_s: float) -> list[Rtcp]:
        self._count()
        ntp = int((unix_s + NTP_UNIX_OFFSET_S) * 2**32) & (2**64 - 1)
        stamp = self._long_stamp(now - self.media_zero) & 0xFFFFFFFF
        report = SenderReport(self.ssrc, ntp, stamp, self._packets_sent & 0xFFFFFFFF, self._octets_sent & 0xFFFFFFFF)
        return [report, Description(self.ssrc, f"edge-{self.ssrc:08x}")]

    def _count(self) -> None:
        sent = self.index - self._counted
        if sent:
            self._counted = self.index
            self._packets_sent += sent
            self._octets_sent += sent * self.packets.strides[self.block]
            if self.own:
                self._sequence = self._sequence + sent & 0xFFFF

    def _go(self, offset_bytes: int) -> None:
        packets = self.packets
        self.block = packets.block_at(offset_bytes)
        ended = offset_bytes >= self._stop_bytes
        self.index = 0 if ended else (offset_bytes - packets.starts[self.block]) // packets.strides[self.block]
        self._counted = self.index
        self.due_s = (inf,) if ended else packets.due_s(self.block)
        self.plain_until = -inf

    def _long_stamp(self, time_s: float) -> int:
        if self._shared is not None and not self.own:
            return self._shared.timestamp + round(time_s * CLOCK_HZ)
        return self._base + round((time_s - self._base_s) * CLOCK_HZ)
