"""Reed–Solomon packets beside an RTP stream, by which lost packets are mended, no I/O (stb_protocols §4.11).

A block of ``k`` consecutive RTP packets is protected by ``m`` parity packets. Each packet is a row of bytes, filled
with zeros to the longest one; parity row ``i`` is the sum over all packets of ``G[i][j] * packet[j]`` in GF(2^8) modulo
x^8 + x^4 + x^3 + x^2 + 1. ``G`` is the systematic generator of the code that evaluates a polynomial of degree below
``k`` at ``k + m`` points: row ``i`` holds the Lagrange basis of the first ``k`` points, taken at point ``k + i``. Two
choices of points are met in operators' streams: the numbers 0, 1, 2 … (100 + 5 packets), and the powers of x (48 + 3).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

PAYLOAD_TYPES: Final = (127, 97)
"""RTP payload types of parity packets; both are met."""
HEADER_BYTES: Final = 12
PROTECTED_MAX_BYTES: Final = 2048
"""Longest RTP packet that a block may hold."""
Points = Literal["numbers", "powers"]
BLOCK_MAX_PACKETS: Final[dict[Points, int]] = {"numbers": 256, "powers": 255}
"""Most packets of a block, parity counted in: there are no more points in the field."""

_HEADER = struct.Struct(">HHBBHHH")
_POLYNOMIAL = 0x11D
_Matrix = NDArray[np.uint8]


class FecError(ValueError):
    """The packet is no parity packet, or the block cannot be mended."""


@dataclass(frozen=True, slots=True)
class Parity:
    """One parity packet: what stands behind its RTP header."""

    first: int
    """Sequence number of the first packet of the block, 16 bits."""
    last: int
    parity_count: int
    """Parity packets of the block."""
    index: int
    """Which of them this one is, from 0."""
    protected_bytes: int
    """Length of the longest RTP packet of the block, header included."""
    data: bytes

    @property
    def count(self) -> int:
        """Number of protected packets."""
        return ((self.last - self.first) & 0xFFFF) + 1


def parse_parity(payload: bytes) -> Parity:
    """Read the payload of an RTP packet whose type is one of PAYLOAD_TYPES.

    Raises:
        FecError: too short, an impossible block, or parity shorter than what it protects.
    """
    if len(payload) < HEADER_BYTES:
        raise FecError(f"{len(payload)} bytes; the header has {HEADER_BYTES}")
    first, last, count, index, length, protected, _ = _HEADER.unpack_from(payload)
    data = payload[HEADER_BYTES : HEADER_BYTES + length]
    parity = Parity(first, last, count, index, protected, data)
    if index >= count or parity.count + count > max(BLOCK_MAX_PACKETS.values()):
        raise FecError(f"parity {index} of {count} for {parity.count} packets")
    if len(data) < length or not HEADER_BYTES <= protected <= min(length, PROTECTED_MAX_BYTES):
        raise FecError(f"{len(data)} of {length} bytes of parity, {protected} protected")
    return parity


def write_parity(parity: Parity) -> bytes:
    """Write the payload of one parity packet."""
    head = (parity.first, parity.last, parity.parity_count, parity.index, len(parity.data), parity.protected_bytes, 0)
    return _HEADER.pack(*head) + parity.data


def protect(packets: Sequence[bytes], parity_count: int, points: Points = "numbers") -> tuple[Parity, ...]:
    """Make the parity of a block of complete RTP packets with consecutive sequence numbers.

    Raises:
        FecError: nothing to protect, packets too long, or more than the field has points for.
    """
    if not packets or not parity_count or max(map(len, packets)) > PROTECTED_MAX_BYTES:
        raise FecError("no packets, no parity, or a packet too long")
    length = max(map(len, packets))
    rows = np.zeros((len(packets), length), np.uint8)
    for row, packet in zip(rows, packets, strict=True):
        row[: len(packet)] = np.frombuffer(packet, np.uint8)
    matrix = generator(len(packets), parity_count, points)
    first = int.from_bytes(packets[0][2:4], "big")
    last = (first + len(packets) - 1) & 0xFFFF
    return tuple(
        Parity(first, last, parity_count, index, length, _combine(coefficients, rows).tobytes())
        for index, coefficients in enumerate(matrix)
    )


class Block:
    """The parity of one block whose packets come one after the other, so that the work is spread over their times."""

    def __init__(self, count: int, parity_count: int, points: Points = "numbers") -> None:
        """Begin a block of ``count`` packets.

        Raises:
            FecError: more packets than the field has points for.
        """
        self._matrix = generator(count, parity_count, points)
        self._sums = np.zeros((parity_count, PROTECTED_MAX_BYTES), np.uint8)
        self._first = self._fed = self._length = 0

    @property
    def full(self) -> bool:
        """Tell whether all packets of the block are there."""
        return self._fed == int(self._matrix.shape[1])

    def feed(self, packet: bytes | memoryview) -> None:
        """Take the next RTP packet; their sequence numbers follow one another.

        Raises:
            FecError: the block is full, or the packet is too long.
        """
        size = len(packet)
        if self.full or not HEADER_BYTES <= size <= PROTECTED_MAX_BYTES:
            raise FecError(f"packet {self._fed} of {size} bytes does not belong here")
        if not self._fed:
            self._first = int.from_bytes(packet[2:4], "big")
        self._sums[:, :size] ^= _MUL[self._matrix[:, self._fed]].take(np.frombuffer(packet, np.uint8), axis=1)
        self._fed, self._length = self._fed + 1, max(self._length, size)

    def parities(self) -> tuple[Parity, ...]:
        """Return the parity packets of a full block.

        Raises:
            FecError: packets are missing.
        """
        if not self.full:
            raise FecError(f"{self._fed} packets of {self._matrix.shape[1]}")
        last, length = (self._first + self._fed - 1) & 0xFFFF, self._length
        return tuple(
            Parity(self._first, last, len(self._sums), index, length, sums[:length].tobytes())
            for index, sums in enumerate(self._sums)
        )


def mend(
    received: Mapping[int, bytes], parities: Mapping[int, bytes], shape: Parity, points: Points = "numbers"
) -> dict[int, bytes]:
    """Work out the lost packets of the block that ``shape`` (any of its parity packets) describes.

    ``received``: complete RTP packets by place in the block, from 0; ``parities``: parity bytes by index. What comes
    back has ``shape.protected_bytes`` each: a packet that was shorter has zeros behind it.

    Raises:
        FecError: more packets are lost than parity arrived, or the block has more packets than points.
    """
    count, length = shape.count, shape.protected_bytes
    lost = [place for place in range(count) if place not in received]
    if len(lost) > len(parities):
        raise FecError(f"{len(lost)} packets lost, {len(parities)} parity packets there")
    if not lost:
        return {}
    used = sorted(parities)[: len(lost)]
    matrix = generator(count, shape.parity_count, points)
    rows = np.zeros((count, length), np.uint8)
    for place, packet in received.items():
        cut = packet[:length]
        rows[place, : len(cut)] = np.frombuffer(cut, np.uint8)
    right = np.zeros((len(lost), length), np.uint8)
    for row, index in zip(right, used, strict=True):
        row[:] = np.frombuffer(parities[index][:length], np.uint8) ^ _combine(matrix[index], rows)
    solved = _solve(matrix[np.ix_(used, lost)].copy(), right)
    return {place: solved[row].tobytes() for row, place in enumerate(lost)}


@lru_cache(maxsize=16)
def generator(count: int, parity_count: int, points: Points = "numbers") -> _Matrix:
    """Return the parity rows of the generator: ``parity_count`` x ``count``.

    Raises:
        FecError: more packets than points.
    """
    if not 0 < count < count + parity_count <= BLOCK_MAX_PACKETS[points]:
        raise FecError(f"{count} + {parity_count} packets; there are {BLOCK_MAX_PACKETS[points]} points")
    at = [int(_EXP[each]) if points == "powers" else each for each in range(count + parity_count)]
    matrix = np.zeros((parity_count, count), np.uint8)
    for column in range(count):
        others = [each for place, each in enumerate(at[:count]) if place != column]
        under = _product(at[column] ^ each for each in others)
        for row in range(parity_count):
            over = _product(at[count + row] ^ each for each in others)
            matrix[row, column] = _MUL[over, _INVERSE[under]]
    matrix.setflags(write=False)
    return matrix


def _field() -> tuple[list[int], _Matrix, list[int]]:
    """Make the powers of x, the table of products, and the inverses."""
    powers, value = [], 1
    for _ in range(255):
        powers.append(value)
        value <<= 1
        if value & 0x100:
            value ^= _POLYNOMIAL
    logarithm = np.zeros(256, np.int64)
    logarithm[powers] = np.arange(255)
    table = np.array(powers, np.uint8)[(logarithm[:, None] + logarithm[None, :]) % 255]
    table[0, :] = table[:, 0] = 0
    inverse = [0, *(powers[-int(logarithm[each]) % 255] for each in range(1, 256))]
    return powers, table, inverse


_EXP, _MUL, _INVERSE = _field()


def _product(factors: Iterable[int]) -> int:
    result = 1
    for factor in factors:
        result = int(_MUL[result, factor])
    return result


def _combine(coefficients: _Matrix, rows: _Matrix) -> _Matrix:
    """Sum of rows, each times its coefficient."""
    total: _Matrix = np.bitwise_xor.reduce(_MUL[coefficients[:, None], rows], axis=0)
    return total


def _solve(left: _Matrix, right: _Matrix) -> _Matrix:
    """Solve ``left @ x = right``; every square part of such a generator has an inverse."""
    size = len(left)
    for step in range(size):
        pivot = step + int(np.flatnonzero(left[step:, step])[0])
        if pivot != step:
            left[[step, pivot]], right[[step, pivot]] = left[[pivot, step]], right[[pivot, step]]
        scale = _INVERSE[int(left[step, step])]
        left[step], right[step] = _MUL[scale, left[step]], _MUL[scale, right[step]]
        for row in range(size):
            factor = int(left[row, step])
            if row != step and factor:
                left[row] ^= _MUL[factor, left[step]]
                right[row] ^= _MUL[factor, right[step]]
    return right
