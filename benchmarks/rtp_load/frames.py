"""Finds the frames in the bytes of many RTSP connections at once. Pure."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

HEAD_BYTES = 4
"""Of a frame: a dollar sign, the channel, the length in two bytes (RFC 2326 §10.12)."""
_DOLLAR = 0x24


class Frames(NamedTuple):
    """Whole frames in the order of their places; arrays of the same length, but for ``rest``."""

    run: Any
    """Number of the run of bytes it lies in."""
    at: Any
    """Where its contents begin, after the frame's head."""
    channel: Any
    length: Any
    """Of its contents."""
    rest: Any
    """For each run: where what is no whole frame yet begins."""


def frames(octets: Any, begins: Any, ends: Any) -> Frames:
    """Cut runs of bytes, all at the same time: first frames first, then the second ones.

    RTSP messages between frames are skipped.

    Args:
        octets: array of bytes that holds the runs one after the other.
        begins: where each run begins: with a frame or a message.
        ends: where each run ends.
    """
    rest, going = begins.copy(), np.arange(len(begins))
    found: list[tuple[Any, Any, Any]] = []
    while len(going):
        going = going[rest[going] + HEAD_BYTES <= ends[going]]
        words = octets[rest[going]] != _DOLLAR
        if words.any():
            for run in going[words].tolist():
                rest[run] += messages_bytes(octets[rest[run] : ends[run]].tobytes())
            going = going[rest[going] + HEAD_BYTES <= ends[going]]
            going = going[octets[rest[going]] == _DOLLAR]
        head = rest[going]
        length = octets[head + 2].astype(np.int64) << 8 | octets[head + 3]
        after = head + HEAD_BYTES + length
        whole = after <= ends[going]
        going = going[whole]
        found.append((going, head[whole], length[whole]))
        rest[going] = after[whole]
    run, head, length = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(head, kind="stable")
    head = head[order]
    return Frames(run[order], head + HEAD_BYTES, octets[head + 1], length[order], rest)


def messages_bytes(text: bytes) -> int:
    """Length of the whole RTSP messages that these bytes begin with, up to the next frame."""
    at = 0
    while at < len(text) and text[at] != _DOLLAR:
        end = text.find(b"\r\n\r\n", at)
        if end < 0:
            break
        size = re.search(rb"(?i)content-length: *(\d+)", text[at:end])
        after = end + 4 + (int(size[1]) if size else 0)
        if after > len(text):
            break
        at = after
    return at
