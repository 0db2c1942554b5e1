"""Lessons given live: one source a channel, relayed without touching its pictures (docs/adr, "A lesson given live").

Pure: `plan` (the setting), `timeline`, `mux`, `segments`, `track`, `channel`. With I/O: `reader` (a process that speaks
to a source), `ingest` (which starts it), `sound` (a process that turns sound into other sound), `service` (the clock).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

TICKS_PER_S = 90_000
LEAD_S = 0.7
"""A picture is decoded so much later than it comes: what a source may be late without anybody noticing."""
SLICE_TICKS = 2700
"""30 ms; each slice of the stream begins with a PCR (ISO/IEC 13818-1 §2.7.2 wants 100 ms, TR 101 290 40 ms)."""
OFF_AIR_S = 15.0
"""So long a channel waits for its source to come back; then all who watch are told that it is over."""
SAMPLE_MAX_BYTES = 4 << 20
"""One picture; larger ones are not taken."""


class Kind(IntEnum):
    """What a sample is."""

    PICTURE = 1
    KEY_PICTURE = 2
    AAC = 3
    OPUS = 4
    PARAMETERS = 5
    """SPS and PPS, for sources that do not send them in the stream."""
    BEGIN = 6
    """First of all: ``data`` is ``sound`` or empty, and says whether sound will come."""
    WORDS = 7
    """Last of all: why the source is refused, for people."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture (Annex B), one frame of AAC (ADTS), one packet of Opus."""

    kind: Kind
    pts: int
    """90 kHz, by the clock of the source; not wrapped."""
    dts: int
    data: bytes
