"""Where the coded pictures and sounds of an MP4 or MOV lie, apart from everything that a muxer may write anew.

What is found is called payload: the coded slices of H.264 and H.265 with the lengths in front of them, and whole
samples of everything else. Parameter sets, SEI and the like are not payload: joining files puts them in front of
pictures where they were not before, and payload must stay the same bytes. Read are progressive files, fragmented files,
and files that are both (ISO/IEC 14496-12 §8.6 to §8.8). Only numbers are returned, nothing is copied or changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.payload.boxes import Box, BoxBudget, NotMp4
from media.payload.fragments import Defaults, Fragments, joined, read_trex, track_ids
from media.payload.nal import Extents, coded_extents
from media.payload.samples import SAMPLES_MAX, OffsetTable, Samples, offset_table, read_tables
from media.payload.tracks import TRACKS_MAX, Kind, Track, read_track

__all__ = ["SAMPLES_MAX", "TRACKS_MAX", "Kind", "NotMp4", "OffsetTable", "Payload", "PayloadTrack", "read_payload"]


@dataclass(frozen=True, eq=False)
class PayloadTrack:
    """The payload of one track: extents in decode order, inside the file, none empty, none overlapping any other."""

    kind: Kind
    starts: NDArray[np.int64]
    """Positions in the file, bytes."""
    lengths: NDArray[np.int64]
    """Bytes of each extent."""
    samples: NDArray[np.int32]
    """Sample that each extent belongs to, from 0; ascending. With PCM a sample is a whole chunk."""
    sync: NDArray[np.bool_]
    """For each sample: decoding can begin here. All are true when the file has no list of them."""


@dataclass(frozen=True, eq=False)
class Payload:
    """The tracks, and the tables that hold positions, both in the order of the file; no table is inside an extent."""

    tracks: tuple[PayloadTrack, ...]
    offset_tables: tuple[OffsetTable, ...]


def read_payload(data: memoryview) -> Payload:
    """Find the payload of an MP4 or MOV.

    Args:
        data: the whole file, in memory or mapped. Nothing that is returned refers to it.

    Raises:
        NotMp4: no MP4 or MOV, damaged, encrypted, with samples that overlap or are not in the file, or with more
            boxes, tracks or samples than any lesson has. Nothing else is raised, whatever the bytes are.
    """
    if data.nbytes == 0:
        raise NotMp4("an empty file")
    data = data.cast("B")
    budget = BoxBudget()
    moov, fragmented = _top(data, budget)
    traks, mvex = _inside(data, budget, moov)
    tracks = [read_track(data, trak, budget) for trak in traks]
    placed = _place(data, tracks)
    if fragmented:
        placed = _place_fragments(data, budget, tracks, placed, mvex)
    tables = [table for track in tracks if (table := offset_table(data, track.stbl)) is not None]
    _check(len(data), placed, tables)
    file = np.frombuffer(data, np.uint8)
    found = (_payload_of(file, track, samples) for track, samples in zip(tracks, placed, strict=True))
    return Payload(tuple(found), tuple(tables))


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
) -> list[Samples]:
    """Return the samples of the tables, followed by those of the fragments."""
    ids = track_ids(data, (track.boxes for track in tracks))
    given = read_trex(data, mvex, budget) if mvex is not None else {}
    left = SAMPLES_MAX - sum(len(each.starts) for each in placed)
    fragments = Fragments(data, budget, {number: given.get(number, Defaults()) for number in ids}, most=left)
    for box in budget.walk_file(data):
        if box.kind == b"moof":
            fragments.read(box)
    return [joined(each, fragments.samples(number)) for number, each in zip(ids, placed, strict=True)]


def _check(file_bytes: int, placed: list[Samples], tables: list[OffsetTable]) -> None:
    """Check that every sample is inside the file and shares no byte with another, or with a table of offsets."""
    positions = np.array([table.position for table in tables], np.int64)
    sizes = np.array([table.count * table.width for table in tables], np.int64)
    starts = np.concatenate([*(each.starts for each in placed), positions])
    lengths = np.concatenate([*(each.lengths for each in placed), sizes])
    full = lengths > 0
    starts, lengths = starts[full], lengths[full]
    ends = starts + lengths
    if (ends > file_bytes).any():
        raise NotMp4("samples lie outside of the file: it is cut or damaged")
    order = np.argsort(starts, kind="stable")
    if (starts[order[1:]] < ends[order[:-1]]).any():
        raise NotMp4("samples overlap: tracks share bytes, or the index is damaged")


def _payload_of(file: NDArray[np.uint8], track: Track, placed: Samples) -> PayloadTrack:
    extents = _whole(placed) if track.codec is None else coded_extents(file, placed.starts, placed.lengths, track.codec)
    return PayloadTrack(track.kind, *extents, placed.sync)


def _whole(placed: Samples) -> Extents:
    full = np.flatnonzero(placed.lengths)
    return placed.starts[full], placed.lengths[full], full.astype(np.int32)
