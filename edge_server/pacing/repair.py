"""Reed–Solomon parity of an RTP stream, made as its packets leave (stb_protocols §4.11). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wire.rs_fec import BLOCK_MAX_PACKETS, Block, Points, write_parity
from wire.rtp import rtp_header

PAYLOAD_TYPE = 127
PARITY_MAX_COUNT = 32
USUAL = (100, 5)
"""The one shape of which captures from operators are known; its code counts points otherwise than all others."""

_SHAPE = re.compile(r"([0-9]{1,3})\+([0-9]{1,2})\Z")


@dataclass(frozen=True, slots=True)
class Shape:
    """How many packets are protected by how many."""

    count: int
    parity_count: int

    @property
    def points(self) -> Points:
        """Which code."""
        return "numbers" if (self.count, self.parity_count) == USUAL else "powers"


def parse_shape(text: str) -> Shape | None:
    """Read ``100+5``; nothing is none.

    Raises:
        ValueError: the words say what is wrong.
    """
    if not text:
        return None
    match = _SHAPE.match(text)
    shape = None if match is None else Shape(int(match[1]), int(match[2]))
    if shape is None or not (shape.count > 0 < shape.parity_count <= PARITY_MAX_COUNT):
        raise ValueError(f"{text!r}; write packets and parity packets, e.g. 100+5, at most {PARITY_MAX_COUNT} of these")
    if shape.count + shape.parity_count > BLOCK_MAX_PACKETS[shape.points]:
        raise ValueError(f"{text!r}; at most {BLOCK_MAX_PACKETS[shape.points]} packets together")
    return shape


class Repair:
    """The parity packets of one stream; each block begins where the last one ended."""

    def __init__(self, shape: Shape, *, ssrc: int, sequence: int) -> None:
        """Begin with a block; ``ssrc`` and ``sequence`` are those of the parity packets."""
        self._shape, self._ssrc, self._sequence = shape, ssrc, sequence
        self._block = self._new()

    def feed(self, run: memoryview, width_bytes: int) -> list[bytes]:
        """Take packets that have just been sent; return the parity packets to send now."""
        made: list[bytes] = []
        for at in range(0, len(run), width_bytes):
            packet = run[at : at + width_bytes]
            self._block.feed(packet)
            if self._block.full:
                stamp = int.from_bytes(packet[4:8], "big")
                for parity in self._block.parities():
                    made.append(rtp_header(PAYLOAD_TYPE, self._sequence, stamp, self._ssrc) + write_parity(parity))
                    self._sequence = self._sequence + 1 & 0xFFFF
                self._block = self._new()
        return made

    def _new(self) -> Block:
        return Block(self._shape.count, self._shape.parity_count, self._shape.points)
