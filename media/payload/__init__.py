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

from media.payload.boxes import NotMp4
from media.payload.movie import read_movie
from media.payload.nal import Extents, coded_extents
from media.payload.samples import SAMPLES_MAX, OffsetTable, Samples, offset_table
from media.payload.tracks import TRACKS_MAX, Kind, Track

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
    movie = read_movie(data)
    tables = [table for track in movie.tracks if (table := offset_table(movie.data, track.stbl)) is not None]
    _check(len(movie.data), movie.samples, tables)
    file = np.frombuffer(movie.data, np.uint8)
    found = (_payload_of(file, track, samples) for track, samples in zip(movie.tracks, movie.samples, strict=True))
    return Payload(tuple(found), tuple(tables))


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
