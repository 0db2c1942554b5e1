"""One publisher (WHIP): its RTP becomes samples of a live channel; keyframes and lost packets are asked for. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from edge_server.egress.whep.incoming import Incoming
from edge_server.live import TICKS_PER_S, Kind, Sample
from edge_server.live.units import is_idr, join
from wire.h264_unrtp import AccessUnit, Unpacker
from wire.rtp import Goodbye, ReceiverReport, Rtcp, RtpError, RtpPacket, SenderReport, parse_rtcp, parse_rtp, write_rtcp
from wire.rtp_feedback import bitrate_max, nack, picture_loss

REPORT_EVERY_S = 1.0
KEY_EVERY_S = 2.0
"""Browsers send no key picture unless asked; segments begin with one."""
KEY_AGAIN_S = 0.5
SILENT_MAX_S = 10.0
SOUND_WAITS_S = 1.5
"""Sound is left out until the sender has said how its clocks belong together, or so long."""
BITRATE_MAX_BPS = 4_000_000
_SILENCE_OF_OPUS = 3


@dataclass(frozen=True, slots=True)
class Taken:
    """What was agreed."""

    video: int
    """Payload type."""
    sound: int | None
    limits: bool
    """The publisher listens to how much it may send (REMB)."""


class Publisher:
    """Takes what comes, decrypted; calls with samples and with RTCP to send."""

    def __init__(
        self,
        taken: Taken,
        ssrc: int,
        *,
        give: Callable[[Sample], None],
        tell: Callable[[bytes], None],
    ) -> None:
        """Prepare.

        Args:
            taken: what was agreed.
            ssrc: ours, in reports.
            give: takes samples; their times are the publisher's.
            tell: sends an RTCP datagram.
        """
        self.counters: Counter[str] = Counter()
        self._taken, self._ssrc, self._give, self._tell = taken, ssrc, give, tell
        self._streams: dict[int, Incoming] = {}
        """By payload type."""
        self._unpacker = Unpacker()
        self._torn = True
        """Pictures are left out until a key picture."""
        self._heard_s = self._report_s = 0.0
        self._key_s = self._asked_s = -KEY_EVERY_S
        self._wanted = True
        self._latest: tuple[int, float] | None = None
        """Time of the last picture, and when it came."""
        self._sound_since_s: float | None = None
        self._sound_offset: int | None = None

    def begin(self, now_s: float) -> None:
        """The connection is there."""
        self._heard_s = self._report_s = now_s

    def want_key(self) -> None:
        """Ask for a key picture soon."""
        self._wanted = True

    def media(self, data: bytes, now_s: float) -> None:
        """Take an RTP packet."""
        try:
            packet = parse_rtp(data)
        except RtpError:
            self.counters["packets unreadable"] += 1
            return
        kind = packet.payload_type
        if kind not in (self._taken.video, self._taken.sound):
            self.counters["packets of another kind"] += 1
            return
        self._heard_s = now_s
        stream = self._streams.get(kind)
        if stream is None or stream.ssrc != packet.ssrc:
            video = kind == self._taken.video
            stream = self._streams[kind] = Incoming(packet.ssrc, TICKS_PER_S if video else 48_000)
            if video:
                self._unpacker, self._torn = Unpacker(), True
        for each in stream.take(packet, now_s):
            self._pass_on(stream, each, now_s)

    def control(self, data: bytes, now_s: float) -> bool:
        """Take an RTCP datagram; True when the publisher says goodbye."""
        try:
            packets = parse_rtcp(data)
        except RtpError:
            return False
        for packet in packets:
            if isinstance(packet, SenderReport):
                for stream in self._streams.values():
                    stream.reported(packet, now_s)
        return any(isinstance(each, Goodbye) for each in packets)

    def tick(self, now_s: float) -> bool:
        """Ask and report, some times a second; False when nothing has come for too long."""
        packets: list[Rtcp] = []
        for kind, stream in self._streams.items():
            for each in stream.due(now_s):
                self._pass_on(stream, each, now_s)
            if lost := stream.missing(now_s):
                packets.append(nack(self._ssrc, stream.ssrc, lost))
            if kind == self._taken.video and self._key_due(now_s):
                self._asked_s, self._wanted = now_s, False
                self.counters["keyframes wanted"] += 1
                packets.append(picture_loss(self._ssrc, stream.ssrc))
        if now_s >= self._report_s and self._streams:
            self._report_s = now_s + REPORT_EVERY_S
            sources = [each.ssrc for each in self._streams.values()]
            packets += [bitrate_max(self._ssrc, sources, BITRATE_MAX_BPS)] * self._taken.limits
            packets.insert(0, self._blocks(now_s))
        if packets:
            if not isinstance(packets[0], ReceiverReport):
                packets.insert(0, ReceiverReport(self._ssrc))
            self._tell(write_rtcp(packets))
        return now_s - self._heard_s < SILENT_MAX_S

    def goodbye(self) -> bytes:
        """Write the end."""
        return write_rtcp([ReceiverReport(self._ssrc), Goodbye((self._ssrc,))])

    def _blocks(self, now_s: float) -> Rtcp:
        return ReceiverReport(self._ssrc, tuple(each.block(now_s) for each in self._streams.values()))

    def _key_due(self, now_s: float) -> bool:
        old = self._wanted or self._torn or now_s - self._key_s > KEY_EVERY_S
        return old and now_s - self._asked_s >= KEY_AGAIN_S

    def _pass_on(self, stream: Incoming, packet: RtpPacket | None, now_s: float) -> None:
        video = stream is self._streams.get(self._taken.video)
        if packet is None:
            self.counters["packets lost"] += 1
            if video:
                self._unpacker.lost()
        elif video:
            for unit in self._unpacker.take(packet):
                self._picture(stream, unit, now_s)
        elif len(packet.payload) >= _SILENCE_OF_OPUS:
            self._sound(stream, packet.timestamp, packet.payload, now_s)

    def _picture(self, stream: Incoming, unit: AccessUnit, now_s: float) -> None:
        key = is_idr(unit.units)
        if unit.spoilt or (self._torn and not key):
            self._torn = True
            self.counters["pictures torn"] += 1
            return
        time = stream.time_of(unit.timestamp)
        self._torn, self._latest = False, (time, now_s)
        if key:
            self._key_s, self._wanted = now_s, False
        self._give(Sample(Kind.KEY_PICTURE if key else Kind.PICTURE, time, time, join(unit.units)))

    def _sound(self, stream: Incoming, stamp: int, payload: bytes, now_s: float) -> None:
        """Give sound at the time that the pictures count by."""
        time, pictures = stream.time_of(stamp), self._streams.get(self._taken.video)
        if self._sound_since_s is None:
            self._sound_since_s = now_s
        if pictures is not None and pictures.has_wall and stream.has_wall:
            at = pictures.time_at(stream.wall_s(time))
        elif self._latest is None or now_s - self._sound_since_s < SOUND_WAITS_S:
            self.counters["sound left out"] += 1
            return
        else:
            if self._sound_offset is None:
                shown, came_s = self._latest
                self._sound_offset = shown + round((now_s - came_s) * TICKS_PER_S) - time * 15 // 8
            at = time * 15 // 8 + self._sound_offset
        self._give(Sample(Kind.OPUS, at, at, payload))
