"""Putting RTP packets in order: a window for early ones, parity for lost ones, every number judged once. No sockets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import get_args

from wire.mpegts import PACKET_BYTES
from wire.rs_fec import PAYLOAD_TYPES, FecError, Parity, Points, mend, parse_parity
from wire.rtp import RtpError, RtpPacket, parse_rtp

REORDER_MAX_PACKETS = 32
"""How many packets behind a gap are held before the gap is given up; without parity."""
SEAM_MAX_PACKETS = 512
"""The same while a burst and the group are being joined."""
HISTORY_MAX_PACKETS = 512
"""Delivered packets kept for parity that covers them."""
BLOCKS_MAX_COUNT = 8
RESTART_AFTER_PACKETS = 64
"""So many packets in a row from behind: the sender has begun anew."""


@dataclass(slots=True)
class _Block:
    """Parity that arrived for one block."""

    shape: Parity
    parities: dict[int, bytes] = field(default_factory=dict)


class Window:
    """One stream's packets. Numbers are 16 bits and wrap."""

    def __init__(self, deliver: Callable[[RtpPacket, float], None], deviate: Callable[[str], None]) -> None:
        """Call ``deliver`` with each packet in order and its time of arrival, ``deviate`` with a sender's fault."""
        self.lost = self.reordered = self.duplicates = self.mended = 0
        self.seam = False
        """Set while a burst and the group are being joined: gaps are then waited for much longer."""
        self._deliver, self._deviate = deliver, deviate
        self._next: int | None = None
        self._highest = 0
        self._behind = 0
        self._waiting: dict[int, tuple[bytes, float]] = {}
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._made: set[int] = set()
        """Those of both that were mended and have not come after all."""
        self._blocks: OrderedDict[tuple[int, int], _Block] = OrderedDict()
        self._span = 0
        """Packets of the newest block, parity included."""
        self._points: list[Points] = list(get_args(Points))

    @property
    def next(self) -> int | None:
        """The number that is due."""
        return self._next

    def has(self, number: int) -> bool:
        """Whether that packet is here, or was not long ago."""
        return number in self._waiting or number in self._kept

    def take(self, data: bytes, now: float) -> int | None:
        """Take one datagram, media or parity; return a media packet's sequence number.

        Raises:
            RtpError: it is no RTP packet.
        """
        packet = parse_rtp(data)
        if packet.payload_type in PAYLOAD_TYPES:
            self._parity(packet.payload, now)
            return None
        number = packet.sequence
        if self._next is None:
            self._next = self._highest = number
        if (number - self._next) & 0xFFFF >= 0x8000:
            self._late(number, data, now)
            return number
        self._behind = 0
        if number in self._waiting:
            self._again(number)
            return number
        if (number - self._highest) & 0xFFFF < 0x8000:
            self._highest = number
        else:
            self.reordered += 1
        self._waiting[number] = (data, now)
        self._advance(now)
        return number

    def finish(self, now: float) -> None:
        """No more will come: mend what can be mended, and give up the rest."""
        while self._waiting:
            self._advance(now)
            self._give_up()
        self._advance(now)

    def _again(self, number: int) -> None:
        """A packet that is here already: twice sent, or mended before it came."""
        if number in self._made:
            self._made.discard(number)
            self.mended -= 1
            self.reordered += 1
        else:
            self.duplicates += 1

    def _late(self, number: int, data: bytes, now: float) -> None:
        """A packet from behind the point that was delivered up to."""
        self._behind += 1
        if number in self._kept:
            self._again(number)
        else:
            self.reordered += 1
        if self._behind >= RESTART_AFTER_PACKETS:
            self._deviate("rtp-restart")
            self._behind, self._next, self._highest = 0, number, number
            self._kept.clear()
            self._made.clear()
            self._blocks.clear()
            self._waiting = {number: (data, now)}
            self._advance(now)

    def _parity(self, payload: bytes, now: float) -> None:
        try:
            parity = parse_parity(payload)
        except FecError:
            self._deviate("fec-packet")
            return
        key = (parity.first, parity.last)
        block = self._blocks.setdefault(key, _Block(parity))
        block.parities[parity.index] = parity.data
        self._span = parity.count + parity.parity_count
        while len(self._blocks) > BLOCKS_MAX_COUNT:
            self._blocks.popitem(last=False)
        self._advance(now)

    def _advance(self, now: float) -> None:
        while self._next is not None:
            while self._next in self._waiting:
                data, arrived = self._waiting.pop(self._next)
                self._kept[self._next] = data
                if len(self._kept) > HISTORY_MAX_PACKETS:
                    self._made.discard(self._kept.popitem(last=False)[0])
                self._next = (self._next + 1) & 0xFFFF
                self._deliver(parse_rtp(data), arrived)
            if self._waiting and self._mend(self._next, now):
                continue
            if len(self._waiting) <= self._patience():
                return
            self._give_up()

    def _patience(self) -> int:
        if self.seam:
            return SEAM_MAX_PACKETS
        return max(REORDER_MAX_PACKETS, min(self._span + REORDER_MAX_PACKETS, HISTORY_MAX_PACKETS))

    def _give_up(self) -> None:
        """Go on behind the gap."""
        if self._waiting and self._next is not None:
            begin = self._next
            self._next = min(self._waiting, key=lambda number: (number - begin) & 0xFFFF)
            self.lost += (self._next - begin) & 0xFFFF

    def _mend(self, number: int, now: float) -> bool:
        """Try to work out a lost packet, and all others of its block."""
        for block in self._blocks.values():
            shape = block.shape
            if (number - shape.first) & 0xFFFF >= shape.count:
                continue
            places = {place: (shape.first + place) & 0xFFFF for place in range(shape.count)}
            received = {place: data for place, each in places.items() if (data := self._held(each)) is not None}
            if shape.count - len(received) > len(block.parities):
                continue
            for points in tuple(self._points):
                mended = _sound(self._solved(block, received, points), places)
                if mended is None:
                    continue
                self._points.sort(key=lambda each: each != points)
                due = {n: data for n, data in mended.items() if (n - number) & 0xFFFF < 0x8000}
                self._waiting.update({n: (data, now) for n, data in due.items()})
                self._made |= due.keys()
                self.mended += len(due)
                return number in due
        return False

    def _held(self, number: int) -> bytes | None:
        waiting = self._waiting.get(number)
        return waiting[0] if waiting is not None else self._kept.get(number)

    def _solved(self, block: _Block, received: dict[int, bytes], points: Points) -> dict[int, bytes]:
        try:
            return mend(received, block.parities, block.shape, points)
        except FecError:
            return {}


def _sound(mended: dict[int, bytes], places: dict[int, int]) -> dict[int, bytes] | None:
    """Return the packets by number, fill taken off; None when they are not what was lost: another code was used."""
    found: dict[int, bytes] = {}
    for place, data in mended.items():
        try:
            packet = parse_rtp(data)
        except RtpError:
            return None
        if packet.sequence != places[place] or packet.payload_type in PAYLOAD_TYPES:
            return None
        found[packet.sequence] = _trimmed(data, packet)
    return found or None


def _trimmed(data: bytes, packet: RtpPacket) -> bytes:
    """Take off the zeros that filled a packet shorter than the longest of its block: no TS packet begins with one."""
    filled = len(packet.payload) // PACKET_BYTES * PACKET_BYTES
    while filled >= PACKET_BYTES and packet.payload[filled - PACKET_BYTES] == 0:
        filled -= PACKET_BYTES
    return data[: len(data) - len(packet.payload) + filled]
