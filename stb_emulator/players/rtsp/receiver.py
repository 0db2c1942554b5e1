"""Judging the data of an RTSP session, packet by packet; no sockets. Every way of carrying it ends in ``take``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from stb_emulator.observe.decoder import Decoder
from stb_emulator.observe.units import AccessUnit
from stb_emulator.players.rtsp.h264 import Depacketizer
from wire.mpegts import PACKET_BYTES, ContinuityMeter
from wire.rtp import Goodbye, RtpError, RtpPacket, SequenceMeter, parse_rtcp, parse_rtp

REORDER_MAX_PACKETS = 32
"""How long a gap is waited for before the packets behind it go on."""
MP2T_PAYLOAD_TYPE = 33
HELD_MAX_PACKETS = 1024
"""Datagrams kept between a key and its answer."""
SEARCH_MAX_PACKETS = 512
"""Among so many datagrams the first one of a new place is looked for; then whatever comes counts as new. On a busy
machine old ones may lie in the socket for seconds."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How the data comes, as negotiated."""

    rtp: bool
    """RTP packets, or bare transport stream."""
    payload_type: int
    media: str
    """``mpegts`` or ``h264``."""
    parameter_sets: bytes = b""
    ssrc: int | None = None
    frame_max_bytes: int | None = None
    """Largest frame inside the connection that the box takes (stb_protocols §4.5); None: any."""
    frame_multiple: int = 4
    datagrams: bool = False
    """By UDP, where the order of answers and data is not known."""


class Receiver:
    """One stream's receiver."""

    def __init__(self, shape: Shape, decoder: Decoder, on_goodbye: Callable[[], None]) -> None:
        """Feed ``decoder``; call ``on_goodbye`` when RTCP says that the stream has ended."""
        self.last_arrival: float | None = None
        self.last_sequence: int | None = None
        self._shape, self._decoder, self._on_goodbye = shape, decoder, on_goodbye
        self._tally = decoder.tally
        self._sequence = SequenceMeter()
        self._continuity = ContinuityMeter()
        self._h264 = Depacketizer(shape.parameter_sets)
        self._next: int | None = None
        self._waiting: dict[int, tuple[RtpPacket, float]] = {}
        self._held: deque[tuple[bytes, float]] | None = None
        self._from: int | None = None
        """Sequence number of the first packet of a new place; what is older is late, and not wanted."""
        self._search_left = 0
        """Among how many datagrams the first one of a new place is still looked for."""
        self._continuity_before = 0
        decoder.start("h264" if shape.media == "h264" else "mpegts")

    def take(self, data: bytes, now: float) -> None:
        """Take one datagram or interleaved frame of the data channel.

        Raises:
            PipeClosed: the decoder needs no more.
        """
        self.last_arrival = now
        if self._held is not None:
            self._held.append((data, now))
            return
        if self._search_left and not self._is_new(data):
            return
        self._tally.bytes += len(data)
        limit = self._shape.frame_max_bytes
        if limit is not None and (len(data) > limit or len(data) % self._shape.frame_multiple):
            self._tally.deviate("frame-limit")
        if not self._shape.rtp:
            self._stream(data, now)
            return
        try:
            packet = parse_rtp(data)
        except RtpError:
            self._tally.deviate("not-rtp")
            return
        if packet.payload_type != self._shape.payload_type:
            self._tally.deviate("payload-type")
            return
        if self._from is not None:
            ahead = (packet.sequence - self._from) & 0xFFFF
            if ahead >= 0x8000:
                return
            if ahead > HELD_MAX_PACKETS:
                self._from = None
        if self._shape.ssrc is not None and packet.ssrc != self._shape.ssrc:
            self._tally.deviate("ssrc")
        self._sequence.feed(packet.sequence)
        self.last_sequence = packet.sequence
        self._reorder(packet, now)

    def take_rtcp(self, data: bytes) -> None:
        """Take one packet of the control channel."""
        try:
            reports = parse_rtcp(data)
        except RtpError:
            self._tally.deviate("not-rtcp")
            return
        if any(isinstance(r, Goodbye) for r in reports):
            self._on_goodbye()

    def doubt(self) -> None:
        """A key was pressed: of data that come before its answer it is not known whether they belong to the old place.

        Not even inside the connection: gst-rtsp-server sends the first packets before it answers.
        """
        if self._shape.datagrams or self._shape.rtp:
            self._held = deque(maxlen=HELD_MAX_PACKETS)

    def divide(self, sequence: int | None) -> None:
        """The key is answered: forget where the stream was.

        Neither sequence numbers nor continuity counters need run on. RTP-Info's ``sequence`` says what is new; without
        it the order does inside a connection, and the first break of the counters among datagrams.
        """
        self.count()
        held, self._held = self._held or deque(), None
        self._waiting.clear()
        self._sequence.restart()
        self._h264 = Depacketizer(self._shape.parameter_sets)
        self._next = self._from = None
        self._search_left = 0
        if self._shape.rtp and sequence is not None:
            self._next = self._from = sequence
        elif not self._shape.datagrams:
            held.clear()
        elif self._shape.datagrams and self._shape.media == "mpegts":
            self._search_left = SEARCH_MAX_PACKETS
        if not self._search_left:
            self._settle()
        for data, arrived in held:
            self.take(data, arrived)

    def go_on(self, sequence: int | None) -> None:
        """Playing goes on after a pause: counters run on, and sequence numbers unless RTP-Info says otherwise."""
        if sequence is not None and sequence != self._next:
            self._let_go()
            self._sequence.restart()
            self._next = sequence

    def _settle(self) -> None:
        """What comes now is new: counters begin anew, and errors so far are kept."""
        self._search_left = 0
        self._continuity_before += self._continuity.continuity_errors + self._continuity.sync_errors
        self._continuity = ContinuityMeter()

    def finish(self) -> None:
        """No more will come: let go what waits for a gap, and write the counts."""
        self._let_go()
        for unit, time in self._h264.flush():
            self._unit(unit, time, self.last_arrival or 0.0)
        self.count()

    def _let_go(self) -> None:
        for sequence in sorted(self._waiting, key=lambda s: (s - (self._next or 0)) & 0xFFFF):
            self._deliver(*self._waiting[sequence])
        self._waiting.clear()

    def count(self) -> None:
        """Write the counts so far into the tally."""
        tally = self._tally
        tally.lost, tally.reordered = self._sequence.lost, self._sequence.reordered
        tally.duplicates = self._sequence.duplicates
        errors = self._continuity.continuity_errors + self._continuity.sync_errors
        tally.continuity_errors = self._continuity_before + errors
        self._decoder.count_overruns()
        if self._h264.damaged:
            tally.deviate("h264-payload")

    def _reorder(self, packet: RtpPacket, now: float) -> None:
        """Deliver in order; what comes early waits for a gap of at most REORDER_MAX_PACKETS."""
        if self._next is None:
            self._next = packet.sequence
        ahead = (packet.sequence - self._next) & 0xFFFF
        if ahead >= 0x8000 or packet.sequence in self._waiting:
            return
        self._waiting[packet.sequence] = (packet, now)
        while self._waiting:
            if self._next not in self._waiting:
                if len(self._waiting) <= REORDER_MAX_PACKETS:
                    return
                begin = self._next
                self._next = min(self._waiting, key=lambda s: (s - begin) & 0xFFFF)
            held = self._waiting.pop(self._next)
            self._next = (self._next + 1) & 0xFFFF
            self._deliver(*held)

    def _is_new(self, data: bytes) -> bool:
        """Tell the first datagram of a new place: its counters do not run on, or say that they need not."""
        payload = data
        if self._shape.rtp:
            with suppress(RtpError):
                payload = parse_rtp(data).payload
        meter = self._continuity
        marks, errors = meter.discontinuities, meter.continuity_errors
        with suppress(ValueError):
            meter.feed(payload)
        is_found = meter.discontinuities > marks or meter.continuity_errors > errors
        meter.continuity_errors = errors
        self._search_left -= 1
        if is_found or not self._search_left:
            self._settle()
            return True
        return False

    def _deliver(self, packet: RtpPacket, arrived: float) -> None:
        if self._shape.media == "mpegts":
            self._stream(packet.payload, arrived)
            return
        for unit, time in self._h264.feed(packet):
            self._unit(unit, time, arrived)

    def _stream(self, data: bytes, now: float) -> None:
        if len(data) % PACKET_BYTES or not data:
            self._tally.deviate("not-whole-ts-packets")
        self._continuity.feed(data)
        self._decoder.pipe.put(data, now)

    def _unit(self, unit: bytes, time: int, now: float) -> None:
        self._decoder.units.put(AccessUnit(unit, time, now))
