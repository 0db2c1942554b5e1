"""PES packets into transport packets, many at a time with numpy (ISO/IEC 13818-1 §2.4.3).

A packet's payload always ends at its last byte; PCR and stuffing lie in the adaptation field before it.
"""

from __future__ import annotations

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
_COLUMNS = np.arange(PACKET_BYTES, dtype=np.int64)


def packet_counts(pes_bytes: Ints, pcr_step: Ints) -> Ints:
    """Return how many packets each PES takes; every ``pcr_step``-th, the first included, has room for a PCR."""
    pcr = np.where(pcr_step < NO_PCR, PCR_FIELD_BYTES, 0)
    group = pcr_step * PAYLOAD_BYTES - pcr
    whole, rest = np.divmod(pes_bytes, group)
    more = 1 + np.maximum(0, -(-(rest - (PAYLOAD_BYTES - pcr)) // PAYLOAD_BYTES))
    return np.asarray(whole * pcr_step + np.where(rest > 0, more, 0), dtype=np.int64)


def pcr_rows(counts: Ints, pcr_step: Ints) -> NDArray[np.bool_]:
    """Return which of the packets carry a PCR."""
    unit = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(int(counts.sum())) - (np.cumsum(counts) - counts)[unit]
    return np.asarray(place % pcr_step[unit] == 0)


def pcr_fields(pcr: Ints) -> Bytes:
    """Return the six bytes of each PCR (27 MHz)."""
    base, extension = np.divmod(pcr, 300)
    value = ((base & ((1 << 33) - 1)) << 15) | (0x3F << 9) | extension
    return np.asarray(value[:, None] >> np.array([40, 32, 24, 16, 8, 0]) & 0xFF, dtype=np.uint8)


def pack(
    pid: int, pes: list[bytes], pcr_step: Ints, first_counter: int, pcr: Ints | None, random_access: NDArray[np.bool_]
) -> Bytes:
    """Return the packets as rows of 188 bytes.

    ``pcr``: one 27 MHz value a packet, used where a PCR is due; None for a PID without. ``random_access``: one a PES.
    """
    sizes = np.array([len(each) for each in pes], dtype=np.int64)
    counts = packet_counts(sizes, pcr_step)
    unit = np.repeat(np.arange(len(pes)), counts)
    place = np.arange(len(unit)) - (np.cumsum(counts) - counts)[unit]
    step = pcr_step[unit]
    has_pcr = (place % step == 0) if pcr is not None else np.zeros(len(unit), dtype=np.bool_)
    field = np.where(step < NO_PCR, PCR_FIELD_BYTES, 0)
    before = place * PAYLOAD_BYTES - field * (-(-place // step))
    payload = np.minimum(PAYLOAD_BYTES - np.where(has_pcr, PCR_FIELD_BYTES, 0), sizes[unit] - before)
    start = PACKET_BYTES - payload

    rows = np.full((len(unit), PACKET_BYTES), 0xFF, dtype=np.uint8)
    rows[:, 0] = SYNC_BYTE
    rows[:, 1] = (pid >> 8) | np.where(place == 0, 0x40, 0)
    rows[:, 2] = pid & 0xFF
    rows[:, 3] = np.where(start > 4, 0x30, 0x10) | ((first_counter + np.arange(len(unit))) & 15)
    adapted = start > 4
    rows[adapted, 4] = start[adapted] - 5
    flagged = start > 5
    flags = np.where(has_pcr, 0x10, 0) | np.where((place == 0) & random_access[unit] & has_pcr, 0x40, 0)
    rows[flagged, 5] = flags[flagged]
    if pcr is not None:
        rows[has_pcr, 6:12] = pcr_fields(pcr[has_pcr])
    rows[start[:, None] <= _COLUMNS] = np.frombuffer(b"".join(pes), dtype=np.uint8)
    return rows
