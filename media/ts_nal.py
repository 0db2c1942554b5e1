"""Length-prefixed H.264 and H.265 samples as access units of the byte stream format, many at a time (annex B of both).

Each access unit begins with an access unit delimiter, each picture to begin at has its parameter sets before it. A
sample is looked at twice: once for its size, once to copy it; both times by `look`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from media import Unmuxable
from wire.mpegts import STREAM_H264, STREAM_H265

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Piece = bytes | memoryview

START_CODE: Final = b"\x00\x00\x00\x01"
NALS_MAX_COUNT: Final = 4096
"""In one sample; no level of either codec allows so many slices."""
_DELIMITER, _KEY, _FIRST_SET = 1, 2, 4
"""Bits of what a NAL unit is; parameter sets from the third bit on, in the order in which they must come."""


@dataclass(frozen=True, eq=False)
class NalCodec:
    """One track's codec: how its samples are cut, and what goes before them."""

    stream_type: int
    length_bytes: int
    bits: Bytes
    """What the first byte of a NAL unit says it is: bits, see above."""
    heads: tuple[bytes, ...]
    """Goes before the sample: index is the union of the bits of its NAL units."""
    inserts: tuple[bytes, ...]
    """Goes after the sample's own last parameter set, likewise."""

    @property
    def head_bytes(self) -> Ints:
        """Lengths of `heads`."""
        return np.array([len(each) for each in self.heads], dtype=np.int64)


def _codec(stream_type: int, width: int, kinds: Sequence[int], delimiter: bytes, sets: Sequence[bytes]) -> NalCodec:
    known = [_FIRST_SET << place for place in range(len(sets))]
    heads, inserts = [], []
    for bits in range(_FIRST_SET << len(sets)):
        own = [bit for bit in known if bits & bit]
        missing = [bit for bit in known if not bits & bit] if bits & _KEY else []
        first = own[0] if own else 1 << 30
        heads.append(START_CODE + delimiter + b"".join(sets[known.index(bit)] for bit in missing if bit < first))
        inserts.append(b"".join(sets[known.index(bit)] for bit in missing if bit > first))
    return NalCodec(stream_type, width, np.array(kinds, dtype=np.uint8), tuple(heads), tuple(inserts))


def h264(avcc: bytes, name: str) -> NalCodec:
    """Read the avcC record (ISO/IEC 14496-15 §5.3.3.1); raises `Unmuxable` when it is cut or missing."""
    if len(avcc) < 7 or avcc[0] != 1:
        raise Unmuxable(f"{name}: no avcC record in the MP4; remux it with ffmpeg")
    sets: list[bytes] = []
    position = 5
    for mask in (0x1F, 0xFF):
        if position >= len(avcc):
            raise Unmuxable(f"{name}: the avcC record is cut; remux it with ffmpeg")
        found, position = _read_sets(avcc, position + 1, avcc[position] & mask, f"{name}: the avcC record")
        sets.append(found)
    what = {5: _KEY, 7: _FIRST_SET, 8: _FIRST_SET << 1, 9: _DELIMITER}
    kinds = [what.get(byte & 31, 0) for byte in range(256)]
    return _codec(STREAM_H264, (avcc[4] & 3) + 1, kinds, b"\x09\xf0", sets)  # any slice type (H.264 §7.3.2.4)


def h265(hvcc: bytes, name: str) -> NalCodec:
    """Read the hvcC record (ISO/IEC 14496-15 §8.3.3.1); raises `Unmuxable` when it is cut or missing."""
    if len(hvcc) < 23 or hvcc[0] != 1:
        raise Unmuxable(f"{name}: no hvcC record in the MP4; remux it with ffmpeg")
    sets = {32: b"", 33: b"", 34: b""}
    position = 23
    for _ in range(hvcc[22]):
        if position + 3 > len(hvcc):
            raise Unmuxable(f"{name}: the hvcC record is cut; remux it with ffmpeg")
        kind, count = hvcc[position] & 63, int.from_bytes(hvcc[position + 1 : position + 3], "big")
        found, position = _read_sets(hvcc, position + 3, count, f"{name}: the hvcC record")
        if kind in sets:
            sets[kind] += found
    what = {32: _FIRST_SET, 33: _FIRST_SET << 1, 34: _FIRST_SET << 2, 35: _DELIMITER}
    what |= dict.fromkeys(range(16, 22), _KEY)  # BLA, IDR and CRA: a decoder may begin there (H.265 §3.69)
    kinds = [what.get(byte >> 1 & 63, 0) for byte in range(256)]
    return _codec(STREAM_H265, (hvcc[21] & 3) + 1, kinds, b"\x46\x01\x50", list(sets.values()))


def _read_sets(record: bytes, position: int, count: int, words: str) -> tuple[bytes, int]:
    nals = b""
    for _ in range(count):
        size = int.from_bytes(record[position : position + 2], "big")
        nal = record[position + 2 : position + 2 + size]
        if size == 0 or len(nal) < size:
            raise Unmuxable(f"{words} is cut; remux it with ffmpeg")
        nals += START_CODE + nal
        position += 2 + size
    return nals, position


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """The NAL units of some samples, delimiters and empty ones left out, in the order of the file."""

    owner: Ints
    """Which of the samples."""
    start: Ints
    """First byte after the length, in the file."""
    stop: Ints
    es_bytes: Ints
    """Start code, NAL unit and what is put in after it."""
    joins_last: NDArray[np.bool_]
    """Lies in the file right after the one before, and nothing goes between them."""
    inserts: dict[int, bytes]
    """NAL unit (place in these arrays) -> what is put in after it."""
    kinds: Ints
    """One a sample: the union of the bits of its NAL units, which is the index into `NalCodec.heads`."""
    bodies: Ints
    """One a sample: its bytes in the stream without its head."""

    @property
    def keys(self) -> NDArray[np.bool_]:
        """Return which samples are pictures to begin at."""
        return (self.kinds & _KEY) > 0


def look(codec: NalCodec, data: Bytes, offsets: Ints, sizes: Ints, name: str) -> Look:
    """Find all NAL units of the samples: one round of array steps for the first of each sample, then the second.

    Raises:
        Unmuxable: the lengths do not add up to the sample, or there are absurdly many.
    """
    width = codec.length_bytes
    owners, starts, stops = [], [], []
    active, at, end = np.arange(len(offsets)), offsets, offsets + sizes
    active, at, end = (each[sizes > 0] for each in (active, at, end))
    for _ in range(NALS_MAX_COUNT):
        if not len(active):
            break
        start = at + width
        if np.any(start > end):
            raise Unmuxable(f"{name}: a NAL unit is longer than its sample; transcode the file")
        length = np.zeros(len(at), dtype=np.int64)
        for byte in range(width):
            length = length << 8 | data[at + byte]
        stop = start + length
        if np.any(stop > end):
            raise Unmuxable(f"{name}: a NAL unit is longer than its sample; transcode the file")
        owners.append(active)
        starts.append(start)
        stops.append(stop)
        more = stop < end
        active, at, end = active[more], stop[more], end[more]
    if len(active):
        raise Unmuxable(f"{name}: more than {NALS_MAX_COUNT} NAL units in one sample; transcode the file")
    if not owners:
        none = np.empty(0, dtype=np.int64)
        empty = np.zeros(len(offsets), dtype=np.int64)
        return Look(none, none, none, none, none > 0, {}, empty, empty)
    return _arrange(codec, data, len(offsets), *(np.concatenate(each) for each in (owners, starts, stops)))


def _arrange(codec: NalCodec, data: Bytes, count: int, owner: Ints, start: Ints, stop: Ints) -> Look:
    order = np.argsort(owner, kind="stable")
    owner, start, stop = owner[order], start[order], stop[order]
    bits = np.where(stop > start, codec.bits[data[np.minimum(start, len(data) - 1)]], _DELIMITER)
    kinds = np.zeros(count, dtype=np.int64)
    np.bitwise_or.at(kinds, owner, bits)
    kept = (bits & _DELIMITER) == 0
    kinds &= ~_DELIMITER
    neighbours = kept[1:] & kept[:-1] & (owner[1:] == owner[:-1])
    joins_last = (np.concatenate([[False], neighbours]) if codec.length_bytes == 4 else np.zeros(len(owner), bool))[
        kept
    ]
    owner, start, stop, bits = owner[kept], start[kept], stop[kept], bits[kept]
    es_bytes = stop - start + len(START_CODE)
    inserts: dict[int, bytes] = {}
    if any(codec.inserts[kind] for kind in np.unique(kinds)):
        sets = np.flatnonzero(bits >= _FIRST_SET)
        last = sets[np.append(owner[sets[1:]] != owner[sets[:-1]], True)]
        for place, kind in zip(last.tolist(), kinds[owner[last]].tolist(), strict=True):
            if codec.inserts[kind]:
                inserts[place] = codec.inserts[kind]
                es_bytes[place] += len(codec.inserts[kind])
                joins_last[place + 1 : place + 2] = False
    bodies = np.bincount(owner, weights=es_bytes, minlength=count).astype(np.int64)
    return Look(owner, start, stop, es_bytes, joins_last, inserts, kinds, bodies)


def access_units(codec: NalCodec, found: Look, data: memoryview, heads: Sequence[Piece]) -> list[list[Piece]]:
    """Return what to join for each sample: its PES head, its own head, its NAL units.

    Where lengths have four bytes they stand where start codes belong; `start_codes` says where.
    """
    four = codec.length_bytes == 4
    units: list[list[Piece]] = [
        [head, codec.heads[kind]] for head, kind in zip(heads, found.kinds.tolist(), strict=True)
    ]
    firsts = np.flatnonzero(~found.joins_last)
    lasts = np.append(firsts[1:], len(found.stop))[: len(firsts)] - 1
    begins, ends = (found.start[firsts] - 4 * four).tolist(), found.stop[lasts].tolist()
    for owner, begin, end, last in zip(found.owner[firsts].tolist(), begins, ends, lasts.tolist(), strict=True):
        unit = units[owner]
        if not four:
            unit.append(START_CODE)
        unit.append(data[begin:end])
        if last in found.inserts:
            unit.append(found.inserts[last])
    return units


def start_codes(found: Look, begins: Ints) -> Ints:
    """Return where the start code of each NAL unit belongs, given where each sample's bytes begin after its head."""
    before = np.cumsum(found.es_bytes) - found.es_bytes
    return before + (begins - (np.cumsum(found.bodies) - found.bodies))[found.owner]
