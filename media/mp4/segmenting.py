"""Cut an MP4 of H.264 or H.265 into segments of fragmented MP4 without copying its media (RFC 8216 §3.3).

The output has no edit list: all tracks are shifted alike until no time is negative and no composition offset is, so the
first picture is shown at `Form.zero` and sound keeps its place. The sound sample before the first one shown comes along
before `Form.zero`: a decoder needs it. Negative offsets (``trun`` version 1) would begin at 0, but libavformat reads
them as a shift of the picture alone.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from media import Unmuxable
from media.mp4.cuts import cut_points, random_access_points
from media.mp4.fmp4 import Fmp4Index, Form
from media.mp4.model import Mp4Index, Mp4Track, with_priming
from media.mp4.moof import Run, fragment, fragment_of_one, ranges_of
from media.mp4.reading import read_mp4
from media.mp4.writing import box, codecs_of, init_segment
from media.payload.boxes import NotMp4
from media.payload.samples import FAR_BYTES

CODECS: Final = ("h264", "h265")
APART_MAX_S: Final = 1.5
"""How far sound may lie from its picture in the file, for one range to hold both."""
WASTE_MAX_PART: Final = 0.1
WASTE_MAX_BYTES: Final = 4096
"""Bytes of a range that belong to neither: more than both, and the segment is gathered from several ranges."""
PICTURES_PER_S_MAX: Final = 2
"""Of those for fast winding; some files hold nothing but pictures that decoding can begin with."""
BEGIN_S: Final = Fraction(1, 10)
"""When the first picture is shown, unless its reorder delay is longer: the same in all renditions of a lesson, as those
between which a player changes must agree about times (RFC 8216 §6.2.4)."""
STEP_MAX_TICKS: Final = (1 << 31) - 1
"""Durations and offsets have 32 bits, and some players read them with a sign."""
_STYP: Final = box(b"styp", b"msdh", bytes(4), b"msdhcmfs")


@dataclass(frozen=True, eq=False)
class _Timed:
    """The part of a track that is sent; times as in the output."""

    track: Mp4Track
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    dts: NDArray[np.int64]
    durations: NDArray[np.int64]
    composition: NDArray[np.int64]
    sync: NDArray[np.bool_]
    zero: int

    @property
    def pts(self) -> NDArray[np.int64]:
        return self.dts + self.composition

    @property
    def end(self) -> int:
        """When the last sample ends."""
        return int((self.pts + self.durations).max())

    def run(self, number: int, first: int, stop: int) -> Run:
        part = slice(first, stop)
        fields = self.offsets[part], self.sizes[part], int(self.dts[first]), self.durations[part]
        return Run(number, *fields, self.composition[part], self.sync[part])


def mapped(source: Path) -> memoryview:
    """Map a whole file; it is let go with the last thing that refers to it.

    Raises:
        NotMp4: it is empty.
        OSError: it cannot be read.
    """
    with source.open("rb") as file:
        try:
            return memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        except ValueError as error:  # what mmap says of an empty file
            raise NotMp4("an empty file") from error


def segment_mp4(source: Path, heads: Path) -> tuple[Fmp4Index, Mp4Index]:
    """Write the heads of all segments of ``source`` to ``heads``; return where to cut, and what the MP4 holds.

    ``heads`` is overwritten; on an error it may be left half written.

    Raises:
        NotMp4: no MP4, or a damaged one.
        Unmuxable: the source needs transcoding; the text says why.
        OSError: reading or writing failed.
    """
    data = mapped(source)
    index = read_mp4(data)
    return _segment(index, np.frombuffer(data, np.uint8), heads), index


def _segment(index: Mp4Index, file: NDArray[np.uint8], heads: Path) -> Fmp4Index:
    video, audio = index.first("video"), index.first("audio")
    if video is None or video.codec not in CODECS:
        raise Unmuxable("the video must be H.264 or H.265; transcode it")
    cuts = cut_points(video, file)
    points = random_access_points(video, file)
    skipped = int(cuts.samples[0])
    parts = _timed([each for each in (video, audio) if each is not None], skipped)
    if (np.diff(parts[0].dts) <= 0).any():
        raise Unmuxable("decoding times do not increase; transcode the file")
    samples = cuts.samples - skipped
    samples = samples[samples < len(parts[0].dts)]
    points = points - skipped
    points = points[(points >= 0) & (points < len(parts[0].dts))]
    end_s = max(Fraction(each.end - each.zero, each.track.timescale) for each in parts)
    with heads.open("wb") as out:
        muxed = _muxed(out, parts, samples, end_s)
        alone = [_alone(out, each, _by_time(each, parts[0], samples)) for each in parts]
        pictures = _pictures(out, parts[0], points)
        return Fmp4Index(
            duration_s=float(end_s),
            independent=cuts.independent,
            width=video.display_width,
            height=video.display_height,
            mp4_bytes=index.file_bytes,
            heads_bytes=out.tell(),
            muxed=muxed,
            video=alone[0],
            audio=alone[1] if len(alone) > 1 else None,
            pictures=pictures,
        )


def _timed(tracks: Sequence[Mp4Track], skipped: int) -> list[_Timed]:
    """Put the tracks on one clock that begins with the lesson; leave out what is neither shown nor needed to decode."""
    kept, heard = [], []
    for track in tracks:
        shown = track.dts + track.composition + track.shift
        inside = (shown < track.shown_until) | (track.durations == 0)
        if track.kind == "video":
            first = skipped
        else:
            inside &= shown + track.durations > track.shown_from
            first = int(np.argmax(inside))
        stop = len(shown) - int(np.argmax(inside[::-1]))
        if not inside.any() or stop <= first:
            raise Unmuxable("the edit list shows nothing of a track; transcode the file")
        heard.append(slice(first, stop))
        kept.append(slice(first if track.kind == "video" else with_priming(first), stop))
    begins = [
        Fraction(int((t.dts + t.composition)[part].min()) + t.shift, t.timescale)
        for t, part in zip(tracks, heard, strict=True)
    ]
    begin_s = max(Fraction(0), min(begins))
    lows = [int(t.composition[part].min()) for t, part in zip(tracks, kept, strict=True)]
    decoded = [
        Fraction(int(t.dts[part][0]) + low + t.shift, t.timescale)
        for t, part, low in zip(tracks, kept, lows, strict=True)
    ]
    delay_s = max(BEGIN_S, *(begin_s - each for each in decoded))
    made = []
    for track, part, low in zip(tracks, kept, lows, strict=True):
        move = floor((delay_s - begin_s) * track.timescale + Fraction(1, 2)) + track.shift + low
        dts = track.dts[part] + move
        dts += max(0, -int(dts[0]))  # a tick by rounding
        durations = np.append(np.diff(dts), track.durations[part][-1])
        composition = track.composition[part] - low
        if max(int(durations.max()), int(composition.max())) >= STEP_MAX_TICKS:
            raise Unmuxable("a sample lasts too long, or is shown too late after it is decoded; transcode the file")
        zero = floor(delay_s * track.timescale + Fraction(1, 2))
        made.append(
            _Timed(track, track.offsets[part], track.sizes[part], dts, durations, composition, track.sync[part], zero)
        )
    return made


def _by_time(part: _Timed, video: _Timed, cuts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first sample of each segment and the number of all; a segment may have no sound."""
    if part is video:
        return np.append(cuts, len(video.dts))
    times = video.pts[cuts] * part.track.timescale // video.track.timescale
    found = np.searchsorted(part.pts, times)
    found[0] = 0
    return np.append(found, len(part.dts))


def _by_place(part: _Timed, video: _Timed, cuts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same by the place in the file instead of the time, so that one range holds a segment."""
    if part is video:
        return np.append(cuts, len(video.dts))
    found = np.searchsorted(part.offsets, video.offsets[cuts])
    found[0] = 0
    return np.append(found, len(part.dts))


def _interleaved(parts: list[_Timed], cuts: NDArray[np.int64]) -> bool:
    """Tell whether each segment, sound included, is one range of the file and nearly nothing else."""
    if any((np.diff(each.offsets) <= 0).any() for each in parts):
        return False
    video = parts[0]
    edges = [_by_place(each, video, cuts) for each in parts]
    if any((np.diff(edge) <= 0).any() for edge in edges):
        return False
    for part, edge in zip(parts[1:], edges[1:], strict=True):
        apart = part.pts[edge[1:-1]] / part.track.timescale - video.pts[cuts[1:]] / video.track.timescale
        if (np.abs(apart) > APART_MAX_S).any():
            return False
    begins = np.min([part.offsets[edge[:-1]] for part, edge in zip(parts, edges, strict=True)], axis=0)
    ends = np.max([(part.offsets + part.sizes)[edge[1:] - 1] for part, edge in zip(parts, edges, strict=True)], axis=0)
    used = sum(np.add.reduceat(part.sizes, edge[:-1]) for part, edge in zip(parts, edges, strict=True))
    waste = ends - begins - used
    return not ((waste > WASTE_MAX_BYTES) & (waste > WASTE_MAX_PART * used)).any()


def _muxed(out: BinaryIO, parts: list[_Timed], cuts: NDArray[np.int64], end_s: Fraction) -> Form:
    """Write the heads of segments that hold sound and picture; one range each when the file lies so."""
    whole = _interleaved(parts, cuts)
    edges = [(_by_place if whole else _by_time)(each, parts[0], cuts) for each in parts]
    segments = []
    for number in range(len(cuts)):
        spans = [(int(edge[number]), int(edge[number + 1])) for edge in edges]
        runs = [part.run(n, a, b) for n, (part, (a, b)) in enumerate(zip(parts, spans, strict=True), 1) if b > a]
        ranges = ranges_of(runs, FAR_BYTES if whole else 0)
        segments.append((fragment(number + 1, runs, ranges), ranges))
    return _form(out, parts, segments, _starts(parts[0], edges[0]), end_s)


def _alone(out: BinaryIO, part: _Timed, edges: NDArray[np.int64]) -> Form:
    spans = [(a, b) for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True) if b > a]
    segments = []
    for number, (first, stop) in enumerate(spans, 1):
        runs = [part.run(1, first, stop)]
        ranges = ranges_of(runs)
        segments.append((_STYP + fragment(number, runs, ranges), ranges))
    starts = part.pts[[first for first, _ in spans]]
    starts[0] = max(int(starts[0]), part.zero)  # before zero there is no time in an MPD: GStreamer waits for ever
    return _form(out, [part], segments, starts, None)


def _pictures(out: BinaryIO, video: _Timed, points: NDArray[np.int64]) -> Form:
    slots = video.pts[points] * PICTURES_PER_S_MAX // video.track.timescale
    points = points[np.unique(slots, return_index=True)[1]]
    ends = np.append(video.dts[points[1:]], video.end)
    lasting = np.clip(ends - video.dts[points], 1, STEP_MAX_TICKS)
    columns = (video.sizes, video.dts, video.composition, video.offsets)
    rows = zip(*(each[points].tolist() for each in columns), lasting.tolist(), strict=True)
    pieces = (
        (fragment_of_one(number, size, dts, duration, composition), np.array([[at, size]], np.int64))
        for number, (size, dts, composition, at, duration) in enumerate(rows, 1)
    )
    return _form(out, [video], pieces, video.pts[points], None)


def _starts(video: _Timed, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return when segments begin: the first with the lesson, whichever of sound and picture that is."""
    starts = video.pts[edges[:-1]]
    starts[0] = min(int(starts[0]), video.zero)
    return starts


def _form(
    out: BinaryIO,
    parts: list[_Timed],
    pieces: Iterable[tuple[bytes, NDArray[np.int64]]],
    starts: NDArray[np.int64],
    end_s: Fraction | None,
) -> Form:
    """Write heads, each with its ranges behind it; a form ends at ``end_s``, or where its last sample ends."""
    lead = parts[0]
    scale = lead.track.timescale
    last = lead.end if end_s is None else floor(end_s * scale + Fraction(1, 2)) + lead.zero
    durations = np.diff(np.append(starts, max(last, int(starts[-1]) + 1)))
    rows = []
    for head, ranges in pieces:
        ranges = ranges[ranges[:, 1] > 0]  # a sample of no bytes may lie anywhere
        rows.append((out.tell(), len(head), int(ranges[:, 1].sum()), len(ranges)))
        out.write(head + ranges.astype("<i8").tobytes())
    table = np.column_stack([starts, durations, np.array(rows, np.int64)])
    return Form(
        init=init_segment([each.track for each in parts]),
        codecs=",".join(codecs_of(each.track) for each in parts),
        timescale=scale,
        zero=lead.zero,
        raw=table.astype("<i8").tobytes(),
    )
