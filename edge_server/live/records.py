"""How samples pass between processes: a head of fixed size, then the bytes. Pure."""

from __future__ import annotations

import struct

from edge_server.live import SAMPLE_MAX_BYTES, Kind, Sample

HEAD = struct.Struct(">BqqI")


class NotARecord(ValueError):
    """The other process writes nonsense."""


def write_record(sample: Sample) -> bytes:
    """Write one sample."""
    return HEAD.pack(sample.kind, sample.pts, sample.dts, len(sample.data)) + sample.data


def read_head(head: bytes) -> tuple[Kind, int, int, int]:
    """Read kind, PTS, DTS and the number of bytes that follow.

    Raises:
        NotARecord: see there.
    """
    kind, pts, dts, length = HEAD.unpack(head)
    if length > SAMPLE_MAX_BYTES:
        raise NotARecord(f"a sample of {length} bytes")
    try:
        return Kind(kind), pts, dts, length
    except ValueError as error:
        raise NotARecord(str(error)) from error
