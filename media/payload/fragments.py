"""Where the samples of a fragmented MP4 lie: its ``moof`` boxes (ISO/IEC 14496-12 §8.8)."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.payload.boxes import Box, BoxBudget, NotMp4, numbers, u32, u64
from media.payload.samples import Samples

NOT_SYNC = 0x0101_0000
"""Sample flags (§8.8.3.1): is a non-sync sample, or depends on others. Some writers set the second alone."""

FAR_TICKS = 1 << 60
"""Decoding times beyond this are refused, so that sums of them fit in 64 bits."""

_TFHD_BASE, _TFHD_DESCRIPTION, _TFHD_DURATION, _TFHD_SIZE, _TFHD_FLAGS = 0x1, 0x2, 0x8, 0x10, 0x20
_TFHD_BASE_IS_MOOF = 0x20000
_TRUN_OFFSET, _TRUN_FIRST_FLAGS = 0x1, 0x4
_TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_COMPOSITION = 0x100, 0x200, 0x400, 0x800


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for samples that do not say it themselves; the duration in ticks of the track."""

    size: int = 0
    flags: int = 0
    duration: int = 0
    description: int = 1


@dataclass(frozen=True, eq=False)
class FragmentTimes:
    """Of the samples of one track in fragments: ticks of the track."""

    dts: NDArray[np.int64]
    durations: NDArray[np.int64]
    composition: NDArray[np.int64]
    """Read as signed in both versions of ``trun``: no real file means more than 2^31 ticks."""
    descriptions: frozenset[int]
    """Numbers of the sample descriptions in use, from 1."""


class _Growing:
    """Samples of one track while they are collected: packed numbers, as there may be a million runs of one sample."""

    def __init__(self) -> None:
        self.starts, self.lengths, self.sync = array("q"), array("q"), bytearray()
        self.dts, self.durations, self.composition = array("q"), array("q"), array("q")
        self.now = 0
        """Decoding time of the next sample when its fragment does not say one."""
        self.descriptions: set[int] = set()

    def add(
        self,
        at: int,
        lengths: NDArray[np.int64],
        sync: NDArray[np.bool_],
        durations: NDArray[np.int64],
        composition: NDArray[np.int64],
    ) -> int:
        """Add samples that lie back to back; return where they end."""
        ends, until = at + np.cumsum(lengths), self.now + np.cumsum(durations)
        self.starts.frombytes((ends - lengths).tobytes())
        self.lengths.frombytes(lengths.tobytes())
        self.sync += sync.tobytes()
        self.dts.frombytes((until - durations).tobytes())
        self.durations.frombytes(durations.tobytes())
        self.composition.frombytes(composition.tobytes())
        self.now = int(until[-1])
        return int(ends[-1])

    def add_one(self, at: int, length: int, sync: bool, duration: int, composition: int) -> int:
        """Add one sample: the same, many times faster."""
        self.starts.append(at)
        self.lengths.append(length)
        self.sync.append(sync)
        self.dts.append(self.now)
        self.durations.append(duration)
        self.composition.append(composition)
        self.now += duration
        return at + length

    def done(self) -> Samples:
        return Samples(
            np.array(self.starts, np.int64), np.array(self.lengths, np.int64), np.frombuffer(self.sync, np.bool_).copy()
        )

    def times(self) -> FragmentTimes:
        dts, durations, composition = (
            np.array(each, np.int64) for each in (self.dts, self.durations, self.composition)
        )
        return FragmentTimes(dts, durations, composition, frozenset(self.descriptions))


def read_trex(data: memoryview, mvex: Box, budget: BoxBudget) -> dict[int, Defaults]:
    """Return the defaults of each track by its id.

    Raises:
        NotMp4: damaged.
    """
    found = {}
    for box in budget.walk(data, mvex.body, mvex.stop):
        if box.kind == b"trex":
            description, duration, size, flags = (u32(data, box, at) for at in (8, 12, 16, 20))
            found[u32(data, box, 4)] = Defaults(size, flags, duration, description)
    return found


class Fragments:
    """Collects samples by track while one ``moof`` after the other is read."""

    def __init__(self, data: memoryview, budget: BoxBudget, defaults: dict[int, Defaults], *, most: int) -> None:
        """``defaults``: those of each track that may occur; ``most``: how many samples there may be in all."""
        self._data, self._budget, self._defaults, self._left = data, budget, defaults, most
        self._tracks = {track: _Growing() for track in defaults}

    def samples(self, track: int) -> Samples:
        """Return all samples that were read for a track."""
        return self._tracks[track].done()

    def times(self, track: int) -> FragmentTimes:
        """Return the times of all samples that were read for a track."""
        return self._tracks[track].times()

    def read(self, moof: Box) -> None:
        """Read one ``moof``.

        Raises:
            NotMp4: damaged, for an unknown track, with samples outside of the file, or too many of them.
        """
        data, implied = self._data, moof.start
        for traf in self._budget.walk(data, moof.body, moof.stop):
            if traf.kind != b"traf":
                continue
            boxes = list(self._budget.walk(data, traf.body, traf.stop))
            tfhd = next((box for box in boxes if box.kind == b"tfhd"), None)
            if tfhd is None:
                raise NotMp4(f"fragment at {moof.start} without tfhd")
            track, base, defaults = self._read_tfhd(tfhd, moof.start, implied)
            at = base
            tfdt = next((box for box in boxes if box.kind == b"tfdt"), None)
            if tfdt is not None:
                self._tracks[track].now = self._read_tfdt(tfdt)
            self._tracks[track].descriptions.add(defaults.description)
            for trun in boxes:
                if trun.kind == b"trun":
                    at = self._read_trun(trun, self._tracks[track], base, at, defaults)
            implied = at

    def _read_tfhd(self, tfhd: Box, moof_start: int, implied: int) -> tuple[int, int, Defaults]:
        """Return the track, the position that data offsets count from, and the defaults of this fragment."""
        data, flags, track, at = self._data, u32(self._data, tfhd, 0), u32(self._data, tfhd, 4), 8
        given = self._defaults.get(track)
        if given is None:
            raise NotMp4(f"fragment at {moof_start} for the unknown track {track}")
        # Without a base, the first track of a fragment counts from its moof, each other from the end of the last one.
        base = moof_start if flags & _TFHD_BASE_IS_MOOF else implied
        if flags & _TFHD_BASE:
            base, at = u64(data, tfhd, at), at + 8
        size, sample_flags, duration, description = given.size, given.flags, given.duration, given.description
        if flags & _TFHD_DESCRIPTION:
            description, at = u32(data, tfhd, at), at + 4
        if flags & _TFHD_DURATION:
            duration, at = u32(data, tfhd, at), at + 4
        if flags & _TFHD_SIZE:
            size, at = u32(data, tfhd, at), at + 4
        if flags & _TFHD_FLAGS:
            sample_flags = u32(data, tfhd, at)
        return track, base, Defaults(size, sample_flags, duration, description)

    def _read_tfdt(self, tfdt: Box) -> int:
        wide = u32(self._data, tfdt, 0) >> 24
        dts = u64(self._data, tfdt, 4) if wide else u32(self._data, tfdt, 4)
        if dts > FAR_TICKS:
            raise NotMp4(f"fragment at {tfdt.start} begins at the impossible time {dts}")
        return dts

    def _read_trun(self, trun: Box, track: _Growing, base: int, at: int, defaults: Defaults) -> int:
        """Add one run of samples; return where its data end."""
        data, flags, count, where = self._data, u32(self._data, trun, 0), u32(self._data, trun, 4), 8
        if flags & _TRUN_OFFSET:
            offset, where = u32(data, trun, where), where + 4
            at = base + offset - (offset >> 31 << 32)
        first_flags = None
        if flags & _TRUN_FIRST_FLAGS:
            first_flags, where = u32(data, trun, where), where + 4
        if count == 0:
            return at
        self._left -= count
        if self._left < 0 or not 0 <= at <= len(data):
            raise NotMp4(f"run at {trun.start}: too many samples, or data outside of the file")
        fields = [f for f in (_TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_COMPOSITION) if flags & f]
        if not fields and count * max(1, defaults.size) > len(data):
            raise NotMp4(f"run at {trun.start}: {count} samples do not fit into the file")
        table = numbers(data, trun, where, count * len(fields), ">u4")
        if count == 1:
            own = dict(zip(fields, table.tolist(), strict=True))
            word = own.get(_TRUN_FLAGS, defaults.flags) if first_flags is None else first_flags
            shift = own.get(_TRUN_COMPOSITION, 0)
            duration = own.get(_TRUN_DURATION, defaults.duration)
            length = own.get(_TRUN_SIZE, defaults.size)
            return track.add_one(at, length, word & NOT_SYNC == 0, duration, shift - (shift >> 31 << 32))
        table = table.reshape(count, len(fields))

        def column(field: int, default: int) -> NDArray[np.int64]:
            if flags & field:
                return table[:, fields.index(field)].astype(np.int64)
            return np.full(count, default, np.int64)

        lengths, durations = column(_TRUN_SIZE, defaults.size), column(_TRUN_DURATION, defaults.duration)
        composition = column(_TRUN_COMPOSITION, 0).astype(np.uint32).view(np.int32).astype(np.int64)
        sync = column(_TRUN_FLAGS, defaults.flags) & NOT_SYNC == 0
        if first_flags is not None:
            sync[0] = first_flags & NOT_SYNC == 0
        return track.add(at, lengths, sync, durations, composition)


def joined(one: Samples, other: Samples) -> Samples:
    """Return the samples of both, one behind the other."""
    if len(other.starts) == 0:
        return one
    return Samples(
        np.concatenate([one.starts, other.starts]),
        np.concatenate([one.lengths, other.lengths]),
        np.concatenate([one.sync, other.sync]),
    )


def track_ids(data: memoryview, traks: Iterator[dict[bytes, Box]]) -> list[int]:
    """Return the ids of tracks from their ``tkhd`` boxes.

    Raises:
        NotMp4: one is missing, or two are the same.
    """
    found: list[int] = []
    for trak in traks:
        tkhd = trak.get(b"tkhd")
        if tkhd is None:
            raise NotMp4("a track without header")
        found.append(u32(data, tkhd, 20 if u32(data, tkhd, 0) >> 24 else 12))
    if len(set(found)) != len(found):
        raise NotMp4("two tracks have the same id")
    return found
