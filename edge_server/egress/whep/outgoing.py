"""One RTP stream to one viewer: numbers, headers, reports and what may be asked for again. Pure; encrypts nothing."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wire.rtp import NTP_UNIX_OFFSET_S, Description, Goodbye, Rtcp, SenderReport

HISTORY_MAX_PACKETS = 2048
"""Some 5 s of 4 Mb/s. Only references are kept: the payloads are shared by all viewers of a lesson."""
_HEADER = struct.Struct(">BBHII")
_PLAIN, _EXTENDED = 0x80, 0x90
_ONE_BYTE_PROFILE = 0xBEDE
"""RFC 8285 §4.2."""


@dataclass(frozen=True, slots=True)
class Format:
    """What was negotiated for one stream."""

    payload_type: int
    clock_hz: int
    mid: str
    mid_extension: int | None = None
    """Id of the header extension that carries ``mid`` (RFC 9143 §15); None when not negotiated."""
    time_extension: int | None = None
    """Id of abs-send-time, likewise."""
    again_payload_type: int | None = None
    """For retransmissions as a stream of their own (RFC 4588); None: the same packet again."""
    nack: bool = True


@dataclass(frozen=True, slots=True)
class Numbers:
    """Random beginnings (RFC 3550 §5.1)."""

    ssrc: int
    again_ssrc: int
    sequence: int
    """Below 32768, so that SRTP's roll-over counter of a late receiver is right (RFC 3711 §3.3.1)."""
    again_sequence: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class _Sent:
    """Packets that have gone out together."""

    first: int
    timestamp: int
    extension: bytes
    payloads: Sequence[bytes]
    marker: bool


class Outgoing:
    """Makes RTP packets of shared payloads."""

    def __init__(self, format: Format, numbers: Numbers, cname: str) -> None:
        """Begin a stream."""
        self.format, self.numbers, self.cname = format, numbers, cname
        self.packets, self.octets = 0, 0
        self._sequence, self._again = numbers.sequence, numbers.again_sequence
        self._sent: deque[_Sent] = deque()
        self._kept = 0
        self._mid = b""
        if format.mid_extension is not None:
            name = format.mid.encode()
            self._mid = bytes((format.mid_extension << 4 | len(name) - 1,)) + name

    def make(self, payloads: Sequence[bytes], shown_s: float, now_s: float, *, last: bool) -> list[bytes]:
        """Make the packets of one frame or of a part of it.

        Args:
            payloads: what they carry, at least one.
            shown_s: when the frame is shown, on the time line that ``report`` uses.
            now_s: time of sending, for abs-send-time.
            last: the frame ends here.
        """
        kind, first = self.format.payload_type, self._sequence
        timestamp, extension = self.timestamp(shown_s), self._extension(now_s)
        flags, ssrc, pack = _EXTENDED if extension else _PLAIN, self.numbers.ssrc, _HEADER.pack
        end = len(payloads) - 1 if last else -1
        made = [
            pack(flags, kind | 0x80 if index == end else kind, first + index & 0xFFFF, timestamp, ssrc)
            + extension
            + payload
            for index, payload in enumerate(payloads)
        ]
        self._sequence = first + len(payloads) & 0xFFFF
        self.packets += len(payloads)
        self.octets += sum(map(len, payloads))
        if self.format.nack:
            self._keep(_Sent(first, timestamp, extension, payloads, last))
        return made

    def again(self, lost: Iterable[int]) -> list[bytes]:
        """Make packets that are asked for again; those that are too old are left out."""
        found = []
        for sequence in lost:
            sent = next((each for each in self._sent if sequence - each.first & 0xFFFF < len(each.payloads)), None)
            if sent is not None:
                found.append(self._once_more(sent, sequence))
        return found

    def timestamp(self, shown_s: float) -> int:
        """Return the RTP time of a moment."""
        return self.numbers.timestamp + round(shown_s * self.format.clock_hz) & 0xFFFFFFFF

    def report(self, shown_s: float, unix_s: float) -> list[Rtcp]:
        """Say which moment of the time line is now (RFC 3550 §6.4.1), and what was sent."""
        ntp = round((unix_s + NTP_UNIX_OFFSET_S) * 2**32) & 0xFFFFFFFFFFFFFFFF
        counts = self.packets & 0xFFFFFFFF, self.octets & 0xFFFFFFFF
        return [
            SenderReport(self.numbers.ssrc, ntp, self.timestamp(shown_s), *counts),
            Description(self.numbers.ssrc, self.cname),
        ]

    def goodbye(self) -> Rtcp:
        """Say that the stream is over (RFC 3550 §6.6)."""
        return Goodbye((self.numbers.ssrc,))

    def _keep(self, sent: _Sent) -> None:
        self._sent.append(sent)
        self._kept += len(sent.payloads)
        while self._kept > HISTORY_MAX_PACKETS:
            self._kept -= len(self._sent.popleft().payloads)

    def _once_more(self, sent: _Sent, sequence: int) -> bytes:
        """The same bytes under the same number: anything else would use a key stream of SRTP twice."""
        index = sequence - sent.first & 0xFFFF
        marker = 0x80 if sent.marker and index == len(sent.payloads) - 1 else 0
        flags, kind = _EXTENDED if sent.extension else _PLAIN, self.format.again_payload_type
        payload = sent.payloads[index]
        if kind is None:
            head = _HEADER.pack(flags, self.format.payload_type | marker, sequence, sent.timestamp, self.numbers.ssrc)
            return head + sent.extension + payload
        self._again = self._again + 1 & 0xFFFF
        head = _HEADER.pack(flags, kind | marker, self._again, sent.timestamp, self.numbers.again_ssrc)
        return head + sent.extension + sequence.to_bytes(2, "big") + payload

    def _extension(self, now_s: float) -> bytes:
        """Return the header extension of a packet that goes out now; empty when none was negotiated."""
        items = self._mid
        if self.format.time_extension is not None:
            stamp = int(now_s * 2**18) & 0xFFFFFF
            items += bytes((self.format.time_extension << 4 | 2,)) + stamp.to_bytes(3, "big")
        if not items:
            return b""
        words = (len(items) + 3) // 4
        return struct.pack(">HH", _ONE_BYTE_PROFILE, words) + items.ljust(4 * words, b"\0")
