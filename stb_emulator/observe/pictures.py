"""Looking at decoded pictures: the painted frame number, blackness and standstill. numpy, no I/O.

The frame code is read from its own description (docs/frame_code.md): the top eighth is a strip of 32 equal cells, each
black or white: sync 1,0,1,0, then 20 bits of number, then CRC-8 (polynomial 0x07, start 0) over the number as 3 bytes.
"""

from __future__ import annotations

import av
import numpy as np
import numpy.typing as npt

from stb_emulator.observe import FrameCode

CELLS = 32
STRIP_PART = 8
WHITE_FROM = 126
SYNC = 0b1010
FIRST_LOOKED_AT = 5
FIRST_NEEDED = 3
"""So many of the first five pictures must carry a number before a lesson counts as numbered."""
BLACK_MEAN, BLACK_SPREAD = 24.0, 4.0
FROZEN_DIFFERENCE = 0.15
"""Mean luma difference of the thinned-out picture below which it stands still."""
THIN = 8

Luma = npt.NDArray[np.uint8]


def luma_of(frame: av.VideoFrame) -> Luma:
    """The picture's luma plane as rows × columns, 8 bits; converted only when the format is not 8-bit planar."""
    if not frame.format.name.startswith(("yuv", "nv", "gray")) or frame.format.components[0].bits != 8:
        frame = frame.reformat(format="gray")
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    picture: Luma = rows[: frame.height, : frame.width]
    return picture


def crc8(data: bytes) -> int:
    """CRC-8, polynomial 0x07, start 0, no reflection."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


def read_number(luma: Luma) -> int | None:
    """Read the painted frame number; None when there is none or it is damaged."""
    height, width = luma.shape
    strip, cell = height / STRIP_PART, width / CELLS
    if strip < 4 or cell < 4:
        return None
    top, bottom = int(strip / 4), max(int(strip / 4) + 1, int(strip * 3 / 4))
    value = 0
    for i in range(CELLS):
        left = int((i + 0.25) * cell)
        right = max(left + 1, int((i + 0.75) * cell))
        value = (value << 1) | int(luma[top:bottom, left:right].mean() >= WHITE_FROM)
    number, check = (value >> 8) & 0xFFFFF, value & 0xFF
    if value >> 28 != SYNC or crc8(number.to_bytes(3, "big")) != check:
        return None
    return number


class NumberWatch:
    """Follows the painted numbers; judges only when the first pictures carry them."""

    def __init__(self) -> None:
        """Begin before the first picture."""
        self._seen = self._read = self._unreadable = 0
        self._gaps = self._duplicates = self._reorders = 0
        self._first: int | None = None
        self._last = -1
        self._numbered: bool | None = None
        self._newest = -1
        self._forwards = self._backwards = 0

    def picture(self, luma: Luma) -> None:
        """Look at the next picture in display order."""
        if self._numbered is False:
            return
        self._seen += 1
        number = read_number(luma)
        if number is None:
            self._unreadable += 1
        else:
            self._step(number)
        if self._seen == FIRST_LOOKED_AT:
            self._numbered = self._read >= FIRST_NEEDED

    def _step(self, number: int) -> None:
        self._read += 1
        if self._first is None:
            self._first = self._last = self._newest = number
            return
        self._forwards += number > self._newest
        self._backwards += number < self._newest
        self._newest = number
        if number == self._last:
            self._duplicates += 1
        elif number < self._last:
            self._reorders += 1
        elif number > self._last + 1:
            self._gaps += number - self._last - 1
        self._last = max(self._last, number)

    @property
    def steps(self) -> tuple[int, int]:
        """How often the number grew, and how often it fell, from one picture to the next."""
        return self._forwards, self._backwards

    @property
    def newest(self) -> int | None:
        """The number read last."""
        return None if self._first is None else self._newest

    def result(self) -> FrameCode | None:
        """The count so far; None when the lesson is not numbered."""
        if self._first is None or self._numbered is False or self._read < min(FIRST_NEEDED, self._seen):
            return None
        return FrameCode(
            first=self._first,
            last=self._last,
            read=self._read,
            gaps=self._gaps,
            duplicates=self._duplicates,
            reorders=self._reorders,
            unreadable=self._unreadable,
        )


class StillWatch:
    """Adds up how long the picture was black, and how long it stood still."""

    def __init__(self) -> None:
        """Begin before the first picture."""
        self.black_s = self.frozen_s = 0.0
        self._before: npt.NDArray[np.int16] | None = None

    def picture(self, luma: Luma, lasts_s: float) -> None:
        """Look at the next picture, which is shown for ``lasts_s``."""
        thin = luma[::THIN, ::THIN].astype(np.int16)
        if thin.mean() < BLACK_MEAN and thin.std() < BLACK_SPREAD:
            self.black_s += lasts_s
        before = self._before
        if before is not None and before.shape == thin.shape and np.abs(thin - before).mean() < FROZEN_DIFFERENCE:
            self.frozen_s += lasts_s
        self._before = thin
