"""Index of the fragmented MP4 that a stored MP4 can be sent as: init segments, and for each segment a head and ranges.

A *head* is what stands in front of the media: ``moof`` and the head of ``mdat``. Heads are made once and lie in one
small file beside the index; a segment is its head followed by ranges of the MP4 itself, so media exists once.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from media import DamagedIndex
from media.index_file import read_index

FORMAT: Final = "rural-media-edge/fmp4-index"
VERSION: Final = 2
INDEX_MAX_BYTES: Final = 64 * 1024 * 1024
_COLUMNS: Final = 6
RANGE_BYTES: Final = 16
"""Of one range behind a head: position and bytes, little-endian."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One segment: these bytes, then these (position, bytes) of the MP4."""

    head: bytes
    ranges: tuple[tuple[int, int], ...]


class Form(msgspec.Struct, frozen=True, dict=True, kw_only=True):
    """One way to cut the MP4: sound and picture together, one of them alone, or single pictures."""

    init: bytes
    codecs: str
    """RFC 6381, e.g. ``avc1.4d401e,mp4a.40.2``."""
    timescale: int
    """Ticks a second of `starts` and `durations`."""
    zero: int
    """Ticks inside the media at which the lesson begins."""
    raw: bytes
    """Rows of start, duration, place, head, body, ranges: little-endian 64-bit numbers."""

    @cached_property
    def _table(self) -> NDArray[np.int64]:
        return np.frombuffer(self.raw, "<i8").reshape(-1, _COLUMNS)

    def __len__(self) -> int:
        """Return how many segments there are."""
        return len(self.raw) // (8 * _COLUMNS)

    @property
    def starts(self) -> NDArray[np.int64]:
        """When each segment begins, ticks inside the media."""
        return self._table[:, 0]

    @property
    def durations(self) -> NDArray[np.int64]:
        """How long each is, ticks; each ends where the next begins."""
        return self._table[:, 1]

    @property
    def durations_s(self) -> list[float]:
        """How long each is, seconds."""
        seconds: list[float] = (self.durations / self.timescale).tolist()
        return seconds

    @property
    def lengths_bytes(self) -> list[int]:
        """Bytes of each as it is sent."""
        lengths: list[int] = (self._table[:, 3] + self._table[:, 4]).tolist()
        return lengths

    def read(self, heads: Path, number: int) -> Piece:
        """Read one segment from the file of heads.

        Raises:
            IndexError: there is no such number (from 0).
            DamagedIndex: the file is cut.
            OSError: it cannot be read.
        """
        if not 0 <= number < len(self):
            raise IndexError(number)
        _, _, place, head, _, ranges = self._table[number].tolist()
        with heads.open("rb", buffering=0) as file:
            file.seek(place)
            data = file.read(head + RANGE_BYTES * ranges)
        if len(data) != head + RANGE_BYTES * ranges:
            raise DamagedIndex(f"{heads.name}: cut; make it again")
        rows = np.frombuffer(data, "<i8", offset=head).reshape(-1, 2).tolist()
        return Piece(data[:head], tuple((at, length) for at, length in rows))

    def end(self) -> int:
        """Return where the last head and its ranges end in the file of heads."""
        last = self._table[-1]
        return int(last[2] + last[3] + RANGE_BYTES * last[5])

    def check(self, since: int) -> bool:
        """Tell whether heads follow one another from that byte on, and times make sense."""
        if not self.raw or len(self.raw) % (8 * _COLUMNS) or self.timescale < 1:
            return False
        table = self._table
        ends = table[:, 2] + table[:, 3] + RANGE_BYTES * table[:, 5]
        places = np.concatenate([[since], ends[:-1]])
        return bool((table >= 0).all() and (table[:, 2] == places).all() and (table[:, 3:] > 0).all())


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    duration_s: float
    independent: bool
    width: int
    height: int
    mp4_bytes: int
    heads_bytes: int
    muxed: Form
    video: Form
    audio: Form | None
    pictures: Form


class _File(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    version: int
    crc32: int
    body: bytes


class Fmp4Index(_Body, frozen=True, kw_only=True):
    """Where to cut one MP4; made by `media.mp4.segmenting.segment_mp4`.

    ``independent``: every segment can be decoded without the one before it. ``width`` and ``height`` are as shown.
    ``muxed`` has sound and picture in each segment, ``video`` and ``audio`` one of them, ``pictures`` one random
    access picture in each, for fast winding.
    """

    @property
    def forms(self) -> tuple[Form, ...]:
        """All forms, in the order of their heads."""
        return tuple(each for each in (self.muxed, self.video, self.audio, self.pictures) if each is not None)

    def save(self, path: Path) -> None:
        """Write the index; making the file appear at once is the caller's business."""
        body = msgspec.msgpack.encode(self)
        path.write_bytes(
            msgspec.msgpack.encode(_File(format=FORMAT, version=VERSION, crc32=zlib.crc32(body), body=body))
        )

    @classmethod
    def load(cls, path: Path) -> Fmp4Index:
        """Read an index.

        Raises:
            DamagedIndex: the file is no index, cut, changed, or of another version.
            OSError: the file cannot be read at all.
        """
        file = read_index(path, _File, form=FORMAT, version=VERSION, max_bytes=INDEX_MAX_BYTES)
        if zlib.crc32(file.body) != file.crc32:
            raise DamagedIndex(f"{path.name}: changed since it was written; make it again")
        try:
            index = msgspec.msgpack.decode(file.body, type=cls)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
            raise DamagedIndex(f"{path.name}: not a readable index ({error}); make it again") from error
        since = 0
        for form in index.forms:
            if not form.check(since):
                raise DamagedIndex(f"{path.name}: the heads do not follow one another; make it again")
            since = form.end()
        if since != index.heads_bytes:
            raise DamagedIndex(f"{path.name}: the heads do not fill their file; make it again")
        return index
