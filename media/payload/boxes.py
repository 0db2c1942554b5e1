"""Boxes of an MP4 or MOV file that lies in memory (ISO/IEC 14496-12 §4.2): walked in place, nothing is copied.

Every read is checked against the box it lies in. Nesting is bounded by construction: only containers on known paths
are entered, none of them inside itself; breadth is bounded by `BoxBudget`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media import MediaError

BOXES_MAX = 1 << 22
"""Boxes visited in one file; one hour in fragments of one sample each has about 2.5 million."""

_HEAD = Struct(">I4s")
_U32 = Struct(">I")
_U64 = Struct(">Q")


class NotMp4(MediaError):
    """Not an MP4 or MOV whose samples can be told apart from the rest; the text says why. Treat it as plain bytes."""


@dataclass(frozen=True, slots=True)
class Box:
    """One box: where it begins, and where its content begins and ends; absolute byte positions."""

    kind: bytes
    start: int
    body: int
    stop: int


class BoxBudget:
    """Counts boxes, so that a file made of boxes alone ends in an error and not in hours."""

    def __init__(self, boxes: int = BOXES_MAX) -> None:
        """``boxes``: how many may be visited."""
        self.left = boxes

    def walk(self, data: memoryview, start: int, stop: int) -> Iterator[Box]:
        """Yield the boxes inside a container that has the bytes from start to stop.

        Zeros at the end (QuickTime ends some containers so) and fewer than 8 left bytes end the walk.

        Raises:
            NotMp4: a box runs over the end of its container, or there are too many boxes.
        """
        while start + 8 <= stop:
            size, kind = _HEAD.unpack_from(data, start)
            if size == 0:
                return
            box = self._box(data, kind, start, size, stop)
            yield box
            start = box.stop

    def walk_file(self, data: memoryview) -> Iterator[Box]:
        """Yield the boxes at the top level; a last box may say that it goes to the end, and may be cut.

        Raises:
            NotMp4: there are too many boxes, or the file does not begin with a box.
        """
        start, stop = 0, len(data)
        while start + 8 <= stop:
            size, kind = _HEAD.unpack_from(data, start)
            if size == 0:
                size = stop - start
            try:
                box = self._box(data, kind, start, size, stop)
            except NotMp4:
                # Junk or a cut box behind the index: whether samples are missing is seen when they are placed.
                if self.left < 0:
                    raise
                if start == 0:
                    raise NotMp4("no MP4 or MOV: it does not begin with a box") from None
                return
            yield box
            start = box.stop

    def _box(self, data: memoryview, kind: bytes, start: int, size: int, stop: int) -> Box:
        self.left -= 1
        if self.left < 0:
            raise NotMp4(f"more than {BOXES_MAX} boxes")
        body = start + 8
        if size == 1:
            if start + 16 > stop:
                raise NotMp4(f"box {kind!r} at {start} is cut")
            size, body = _U64.unpack_from(data, start + 8)[0], start + 16
        if start + size < body or start + size > stop:
            raise NotMp4(f"box {kind!r} at {start} has the impossible length {size}")
        return Box(kind, start, body, start + size)

    def children(self, data: memoryview, box: Box) -> dict[bytes, Box]:
        """Return the first child of each kind."""
        found: dict[bytes, Box] = {}
        for child in self.walk(data, box.body, box.stop):
            found.setdefault(child.kind, child)
        return found


def u32(data: memoryview, box: Box, offset: int) -> int:
    """Return the 32-bit number at that offset inside the content of a box.

    Raises:
        NotMp4: the box is too short for it.
    """
    at = box.body + offset
    if at + 4 > box.stop:
        raise NotMp4(f"box {box.kind!r} at {box.start} is cut")
    number: int = _U32.unpack_from(data, at)[0]
    return number


def u64(data: memoryview, box: Box, offset: int) -> int:
    """Return the 64-bit number at that offset inside the content of a box; as `u32`."""
    return u32(data, box, offset) << 32 | u32(data, box, offset + 4)


def numbers(data: memoryview, box: Box, offset: int, count: int, kind: str) -> NDArray[Any]:
    """Return a view of ``count`` numbers of the numpy type ``kind`` that lie at that offset inside a box.

    Raises:
        NotMp4: they do not fit into the box.
    """
    at = box.body + offset
    if at + count * np.dtype(kind).itemsize > box.stop:
        raise NotMp4(f"box {box.kind!r} at {box.start} claims {count} entries, more than it has room for")
    return np.frombuffer(data, kind, count, at)
