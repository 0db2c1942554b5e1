"""The tracks of an MP4 or MOV and where their samples lie, by tables and fragments (ISO/IEC 14496-12 §8.6 to §8.8)."""

from __future__ import annotations

from dataclasses import dataclass

from media.payload.boxes import Box, BoxBudget, NotMp4
from media.payload.fragments import Defaults, Fragments, FragmentTimes, joined, read_trex, track_ids
from media.payload.samples import SAMPLES_MAX, Samples, read_tables
from media.payload.tracks import TRACKS_MAX, Track, read_track


@dataclass(frozen=True, eq=False)
class Movie:
    """What a file holds; lists in the order of its tracks. Boxes are positions in ``data``."""

    data: memoryview
    budget: BoxBudget
    moov: Box
    tracks: list[Track]
    samples: list[Samples]
    """Those of the tables, followed by those of the fragments; not checked to lie inside the file."""
    in_tables: list[int]
    """How many of the samples come from the tables."""
    fragment_times: list[FragmentTimes] | None
    """None: the file has no fragments. Times of a track whose first fragment does not say its own count from 0."""


def read_movie(data: memoryview) -> Movie:
    """Read the boxes of a file; media is not touched.

    Raises:
        NotMp4: no MP4 or MOV, damaged, encrypted, or with more boxes, tracks or samples than any lesson has.
    """
    if data.nbytes == 0:
        raise NotMp4("an empty file")
    data = data.cast("B")
    budget = BoxBudget()
    moov, fragmented = _top(data, budget)
    traks, mvex = _inside(data, budget, moov)
    tracks = [read_track(data, trak, budget) for trak in traks]
    placed = _place(data, tracks)
    in_tables = [len(each.starts) for each in placed]
    if not fragmented:
        return Movie(data, budget, moov, tracks, placed, in_tables, None)
    placed, times = _place_fragments(data, budget, tracks, placed, mvex)
    return Movie(data, budget, moov, tracks, placed, in_tables, times)


def _top(data: memoryview, budget: BoxBudget) -> tuple[Box, bool]:
    """Return the first ``moov`` (the only one that players look at), and whether there are fragments."""
    moov, fragmented = None, False
    for box in budget.walk_file(data):
        if box.kind == b"moov" and moov is None:
            moov = box
        elif box.kind == b"moof":
            fragmented = True
    if moov is None:
        raise NotMp4("no MP4 or MOV: there is no moov box")
    return moov, fragmented


def _inside(data: memoryview, budget: BoxBudget, moov: Box) -> tuple[list[Box], Box | None]:
    """Return every ``trak`` and the first ``mvex``."""
    traks: list[Box] = []
    mvex = None
    for box in budget.walk(data, moov.body, moov.stop):
        if box.kind == b"trak":
            traks.append(box)
        elif box.kind == b"mvex" and mvex is None:
            mvex = box
        if len(traks) > TRACKS_MAX:
            break
    if not 1 <= len(traks) <= TRACKS_MAX:
        raise NotMp4(f"no tracks, or more than {TRACKS_MAX}")
    return traks, mvex


def _place(data: memoryview, tracks: list[Track]) -> list[Samples]:
    left, placed = SAMPLES_MAX, []
    for track in tracks:
        placed.append(read_tables(data, track.stbl, most=left, blocks=track.pcm))
        left -= len(placed[-1].starts)
    return placed


def _place_fragments(
    data: memoryview, budget: BoxBudget, tracks: list[Track], placed: list[Samples], mvex: Box | None
) -> tuple[list[Samples], list[FragmentTimes]]:
    """Return the samples of the tables, followed by those of the fragments, and the times of the latter."""
    ids = track_ids(data, (track.boxes for track in tracks))
    given = read_trex(data, mvex, budget) if mvex is not None else {}
    left = SAMPLES_MAX - sum(len(each.starts) for each in placed)
    fragments = Fragments(data, budget, {number: given.get(number, Defaults()) for number in ids}, most=left)
    for box in budget.walk_file(data):
        if box.kind == b"moof":
            fragments.read(box)
    every = [joined(each, fragments.samples(number)) for number, each in zip(ids, placed, strict=True)]
    return every, [fragments.times(number) for number in ids]
