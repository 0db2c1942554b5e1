"""Puts what the wire wants before each packet of a run: RTP header, `$` frame of RTSP, both or neither. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wire.rtp import HEADER_BYTES, MP2T_PAYLOAD_TYPE

_RTP = np.dtype([("first", "u1"), ("kind", "u1"), ("sequence", ">u2"), ("timestamp", ">u4"), ("ssrc", ">u4")])
_FRAME = np.dtype([("dollar", "u1"), ("channel", "u1"), ("length", ">u2")])


class Frame(NamedTuple):
    """What goes before each payload."""

    rtp: bool
    channel: int | None = None
    """Channel of the interleaved frame (RFC 2326 §10.12); None for a datagram."""

    @property
    def head_bytes(self) -> int:
        """Bytes before each payload."""
        return (HEADER_BYTES if self.rtp else 0) + (0 if self.channel is None else _FRAME.itemsize)


RAW = Frame(rtp=False)


def frame(
    payload: memoryview,
    stride: int,
    kind: Frame,
    *,
    sequence: int = 0,
    stamps: NDArray[Any] | None = None,
    ssrc: int = 0,
) -> memoryview:
    """Return the packets of ``payload``, one behind the other; each has ``stride`` bytes of it, the last the rest.

    ``stamps`` are the RTP timestamps of the packets, modulo 2³² or not; the first
    packet has the sequence number ``sequence``.
    """
    if kind == RAW:
        return payload
    head, size = kind.head_bytes, len(payload)
    full, rest = divmod(size, stride)
    count, width = full + bool(rest), head + stride
    out = np.empty(count * width, np.uint8)
    rows = out.reshape(count, width)
    source = np.frombuffer(payload, np.uint8)
    rows[:full, head:] = source[: full * stride].reshape(full, stride)
    if rest:
        rows[full, head : head + rest] = source[full * stride :]
    if kind.channel is not None:
        before = np.ndarray(count, _FRAME, out, 0, (width,))
        before["dollar"], before["channel"], before["length"] = 0x24, kind.channel, width - _FRAME.itemsize
        if rest:
            before["length"][full] = width - _FRAME.itemsize - stride + rest
    if kind.rtp:
        header = np.ndarray(count, _RTP, out, head - HEADER_BYTES, (width,))
        header["first"], header["kind"], header["ssrc"] = 0x80, MP2T_PAYLOAD_TYPE, ssrc
        header["sequence"] = np.arange(sequence, sequence + count) & 0xFFFF
        header["timestamp"] = 0 if stamps is None else stamps & 0xFFFFFFFF
    return out.data[: size + count * head]
