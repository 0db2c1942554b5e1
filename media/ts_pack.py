"""Transport packets, many at a time with numpy (ISO/IEC 13818-1 §2.4.3).

A packet's payload always ends at its last byte; PCR and stuffing lie in the adaptation field before it. So a packet is
188 bytes copied from wherever its payload ends, and then its head is written over what came before the payload.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wire.mpegts import PACKET_BYTES, SYNC_BYTE

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

PAYLOAD_BYTES = 184
PCR_FIELD_BYTES = 8
"""Adaptation field with length, flags and PCR."""
NO_PCR = 1 << 40
"""PCR step that never comes round."""
_PCR_FLAG, _RANDOM_ACCESS_FLAG = 0x10, 0x40
_UNIT_START, _ADAPTED = np.array([0x400000, 0x20], dtype=">u4").view(np.uint32)
"""Bits of the first four bytes, as this machine sees them."""
_COLUMNS = np.arange(PACKET_BYTES, dtype=np.int64)


def packet_counts(pes_bytes: Ints, pcr_step: Ints) -> Ints:
    """Return how many packets each PES takes; every ``pcr_step``-th, the first included, has room for a PCR."""
    pcr = np.where(pcr_step < NO_PCR, PCR_FIELD_BYTES, 0)
    group = pcr_step * PAYLOAD_BYTES - pcr
    whole, rest = np.divmod(pes_bytes, group)
    more = 1 + np.maximum(0, -(-(rest - (PAYLOAD_BYTES - pcr)) // PAYLOAD_BYTES))
    return np.asarray(whole * pcr_step + np.where(rest > 0, more, 0), dtype=np.int64)


def pcr_places(counts: Ints, pcr_step: Ints) -> Ints:
    """Return which of the packets of these PES carry a PCR."""
    each = -(-counts // pcr_step)
    unit = np.repeat(np.arange(len(counts)), each)
    place = np.arange(len(unit)) - (np.cumsum(each) - each)[unit]
    return np.asarray((np.cumsum(counts) - counts)[unit] + place * pcr_step[unit])


@dataclass(frozen=True, slots=True)
class Cut:
    """PES that follow one another without gaps, cut into packets of one PID."""

    ends: Ints
    """One a packet: where its payload ends, counted from the first byte of the first PES."""
    payload: Ints
    firsts: Ints
    """Packets with which a PES begins, and with which it ends."""
    lasts: Ints
    pcr: Ints
    """Packets with a PCR."""


def cut(pes_bytes: Ints, counts: Ints, pcr_step: Ints | None) -> Cut:
    """Cut PES into the numbers of packets that `packet_counts` said."""
    lasts = np.cumsum(counts) - 1
    firsts = lasts + 1 - counts
    pcr = pcr_places(counts, pcr_step) if pcr_step is not None else np.empty(0, dtype=np.int64)
    room = counts * PAYLOAD_BYTES
    payload = np.full(int(counts.sum()), PAYLOAD_BYTES, dtype=np.int64)
    if pcr_step is not None:
        payload[pcr] -= PCR_FIELD_BYTES
        room -= -(-counts // pcr_step) * PCR_FIELD_BYTES
    payload[lasts] -= room - pes_bytes
    return Cut(np.cumsum(payload), payload, firsts, lasts, pcr)


def pcr_fields(pcr: Ints) -> Ints:
    """Return the 48 bits of each PCR (27 MHz)."""
    base, extension = np.divmod(pcr, 300)
    return np.asarray(((base & ((1 << 33) - 1)) << 15) | (0x3F << 9) | extension)


def copy_packets(source: bytearray, ends: Ints) -> Bytes:
    """Return rows of the 188 bytes before each end; ``source`` begins with 188 bytes of nothing for the first."""
    items = np.ndarray((len(source) - PACKET_BYTES + 1,), "V188", source, strides=(1,))
    return items[ends - PACKET_BYTES].view(np.uint8).reshape(-1, PACKET_BYTES)


def write_heads(rows: Bytes, places: Ints, pid: int, first_counter: int, cut_: Cut, part: slice) -> None:
    """Write sync byte to continuity counter, and the length, flags and stuffing of adaptation fields.

    Args:
        rows: the packets of a window.
        places: where those of this PID stand, which are ``part`` of the cut.
        pid: of these packets.
        first_counter: continuity counter of the first.
        cut_: how the PID was cut.
        part: which packets of the cut are meant.
    """
    payload = cut_.payload[part]
    firsts, lasts, pcr = (
        each[np.searchsorted(each, part.start) : np.searchsorted(each, part.stop)] - part.start
        for each in (cut_.firsts, cut_.lasts, cut_.pcr)
    )
    lasts = lasts[payload[lasts] < PAYLOAD_BYTES]
    counters = np.arange(first_counter, first_counter + 16) & 15
    sixteen = (SYNC_BYTE << 24 | pid << 8 | 0x10 | counters).astype(">u4").view(np.uint32)
    heads = np.tile(sixteen, len(places) // 16 + 1)[: len(places)]
    heads[firsts] |= _UNIT_START
    heads[pcr] |= _ADAPTED
    heads[lasts] |= _ADAPTED
    rows.view(np.uint32)[:, 0][places] = heads
    where, start = places[lasts], PACKET_BYTES - payload[lasts]
    ends = rows[where]
    ends[(_COLUMNS >= 6) & (start[:, None] > _COLUMNS)] = 0xFF
    ends[:, 4] = start - 5
    flagged = np.flatnonzero(start > 5)
    ends[flagged, 5] = 0
    rows[where] = ends


def write_clocks(rows: Bytes, places: Ints, pcr: Ints, random_access: NDArray[np.bool_], stuffed: Ints) -> None:
    """Write PCRs and their flags into packets that have room for them; ``stuffed`` bytes follow the PCR."""
    items = np.ndarray((len(rows),), ">u8", rows.data, 4, (PACKET_BYTES,))
    flags = _PCR_FLAG | _RANDOM_ACCESS_FLAG * random_access
    items[places] = (PCR_FIELD_BYTES - 1 + stuffed) << 56 | flags << 48 | pcr_fields(pcr)
