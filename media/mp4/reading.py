"""Read an MP4 or MOV into an `Mp4Index`: the boxes of `media.payload`, and the times and formats of its tracks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from media import Unmuxable
from media.mp4.entries import Entry, read_entry
from media.mp4.model import UPRIGHT, Mp4Index, Mp4Track
from media.mp4.times import place, read_composition, read_durations, read_edits
from media.payload.boxes import Box, NotMp4, u32
from media.payload.fragments import FragmentTimes
from media.payload.movie import Movie, read_movie
from media.payload.samples import Samples, descriptions, samples_before_chunks
from media.payload.tracks import Track, need

_TEXT = frozenset({b"text", b"sbtl", b"subt", b"subp", b"clcp"})
SIDE_MAX_PIXELS = 1 << 16
_LAYERS = {3: "mp1", 2: "mp2", 1: "mp3"}


def read_mp4(data: memoryview) -> Mp4Index:
    """Find every sample of an MP4 or MOV, when it is shown, and how it is coded.

    Args:
        data: the whole file, in memory or mapped; only its boxes are read, and of MPEG audio four bytes. Nothing that
            is returned refers to it.

    Raises:
        NotMp4: no MP4 or MOV, damaged, encrypted, with samples outside of the file or in another one.
        Unmuxable: sound or picture change their format midway, or have an edit list that leaves out, repeats or
            slows down.
    """
    movie = read_movie(data)
    movie_hz, boxes = _movie_hz(movie), range(len(movie.tracks))
    tracks = tuple(_read_track(movie, number, movie_hz) for number in boxes)
    size = sum(int(each.sizes.sum()) for each in tracks)
    if size > len(movie.data):
        raise NotMp4("tracks share bytes, or the index is damaged: the samples are larger than the file")
    heard = [each.shown_until / each.timescale for each in tracks if each.kind in ("video", "audio") and len(each.dts)]
    return Mp4Index(tracks, len(movie.data), max(heard, default=0.0))


def _movie_hz(movie: Movie) -> int:
    mvhd = movie.budget.children(movie.data, movie.moov).get(b"mvhd")
    if mvhd is None:
        raise NotMp4("no movie header")
    return _hz(movie.data, mvhd)


def _hz(data: memoryview, box: Box) -> int:
    """Return the time scale of ``mvhd`` or ``mdhd`` (§8.2.2, §8.4.2)."""
    hz = u32(data, box, 20 if u32(data, box, 0) >> 24 else 12)
    if hz == 0:
        raise NotMp4(f"box {box.kind!r} with a time scale of 0")
    return hz


def _read_track(movie: Movie, number: int, movie_hz: int) -> Mp4Track:
    data, track, samples = movie.data, movie.tracks[number], movie.samples[number]
    tkhd = need(track.boxes, b"tkhd")
    wide = u32(data, tkhd, 0) >> 24
    hz = _hz(data, need(track.mdia, b"mdhd"))
    kind: str = "text" if track.handler in _TEXT else track.kind
    fragments = movie.fragment_times[number] if movie.fragment_times is not None else None
    used = _description(data, track, kind, movie.in_tables[number], fragments)
    entry = read_entry(data, used, kind, movie.budget) if used is not None else Entry("")
    dts, durations, composition = _times(data, track, movie.in_tables[number], fragments)
    starts, sizes = _places(data, samples, entry, track)
    shown = dts + composition
    begin, end = (int(shown.min()), int((shown + durations).max())) if len(shown) else (0, 0)
    try:
        if kind in ("video", "audio") and (np.diff(dts) < 0).any():
            raise Unmuxable("decoding times go back; transcode the file")
        where = place(_edits(movie, track), movie_hz, hz, begin, end)
    except Unmuxable:
        if kind in ("video", "audio"):
            raise
        where = place([], movie_hz, hz, begin, end)
    width, height = _display(data, tkhd, wide, entry)
    return Mp4Track(
        track_id=u32(data, tkhd, 20 if wide else 12),
        kind=kind,
        codec=_layer(data, entry.codec, starts, sizes),
        codecs=entry.codecs,
        timescale=hz,
        sample_entry=bytes(data[used.start : used.stop]) if used is not None else b"",
        config=entry.config,
        width=entry.width,
        height=entry.height,
        display_width=width,
        display_height=height,
        sample_rate_hz=entry.sample_rate_hz,
        channels=entry.channels,
        offsets=starts,
        sizes=sizes,
        dts=dts,
        durations=durations,
        composition=composition,
        sync=samples.sync,
        shift=where.shift,
        shown_from=where.shown_from,
        shown_until=where.shown_until,
        matrix=_matrix(data, tkhd, wide),
    )


def _description(
    data: memoryview, track: Track, kind: str, in_tables: int, fragments: FragmentTimes | None
) -> Box | None:
    """Return the one sample description in use, or the first when no sample uses any."""
    used = descriptions(data, track.stbl) if in_tables else frozenset[int]()
    if fragments is not None and len(fragments.dts):
        used |= fragments.descriptions
    if not track.entries:
        if used and kind in ("video", "audio"):
            raise NotMp4("a track without sample description")
        return None
    if not all(1 <= each <= len(track.entries) for each in used):
        if kind in ("video", "audio"):
            raise NotMp4("samples use a sample description that is not there")
        return track.entries[0]
    boxes = [track.entries[each - 1] for each in sorted(used)] or [track.entries[0]]
    if len({bytes(data[each.start : each.stop]) for each in boxes}) > 1 and kind in ("video", "audio"):
        raise Unmuxable("sound or picture change their format midway; transcode the file")
    _need_own_bytes(data, track, boxes[0])
    return boxes[0]


def _need_own_bytes(data: memoryview, track: Track, entry: Box) -> None:
    """Refuse samples that lie in another file (§8.7.2)."""
    dinf = track.minf.get(b"dinf")
    if dinf is None or entry.body + 8 > entry.stop:
        return
    wanted = u32(data, entry, 4) & 0xFFFF
    at = dinf.body + 16  # the head of dref, its version and count
    for _ in range(wanted):
        if at + 12 > dinf.stop:
            return
        size, flags = int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[at + 9 : at + 12], "big")
        wanted -= 1
        if wanted == 0 and size > 12 and not flags & 1:
            raise NotMp4("the samples lie in another file")
        at += max(size, 12)


def _times(
    data: memoryview, track: Track, in_tables: int, fragments: FragmentTimes | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return decoding times, durations and composition offsets of all samples."""
    count, edges = in_tables, None
    if track.pcm and in_tables and b"stsz" in track.stbl and u32(data, track.stbl[b"stsz"], 4):
        count = u32(data, track.stbl[b"stsz"], 8)
        edges = samples_before_chunks(data, track.stbl, in_tables, count)
        runs = read_durations(data, track.stbl, 1)  # PCM: all samples last the same
        durations = np.diff(edges) * int(runs[0])
        composition = np.zeros(in_tables, np.int64)
    else:
        durations, composition = read_durations(data, track.stbl, count), read_composition(data, track.stbl, count)
    dts = np.cumsum(durations) - durations
    if fragments is None:
        return dts, durations, composition
    return (
        np.concatenate([dts, fragments.dts]),
        np.concatenate([durations, fragments.durations]),
        np.concatenate([composition, fragments.composition]),
    )


def _places(
    data: memoryview, samples: Samples, entry: Entry, track: Track
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    starts, sizes = samples.starts, samples.lengths
    if track.pcm and entry.frame_bytes > 1 and b"stsz" in track.stbl and u32(data, track.stbl[b"stsz"], 4) == 1:
        sizes = sizes * entry.frame_bytes  # QuickTime writes a size of 1 and means one sample of all channels
    if len(starts) and int((starts + sizes).max()) > len(data):
        raise NotMp4("samples lie outside of the file: it is cut or damaged")
    return starts, sizes


def _edits(movie: Movie, track: Track) -> list[tuple[int, int, int]]:
    edts = track.boxes.get(b"edts")
    elst = movie.budget.children(movie.data, edts).get(b"elst") if edts is not None else None
    return read_edits(movie.data, elst)


def _display(data: memoryview, tkhd: Box, wide: int, entry: Entry) -> tuple[int, int]:
    """Return the size as shown: by the pixel's aspect when it is told, else by the track header, else as coded."""
    if not entry.width or not entry.height:
        return 0, 0
    across, down = entry.pixel_aspect
    if entry.aspect_given:
        return min(SIDE_MAX_PIXELS, round(entry.width * across / down)), entry.height
    at = 88 if wide else 76
    width, height = round(u32(data, tkhd, at) / 65536), round(u32(data, tkhd, at + 4) / 65536)
    return (width, height) if width and height else (entry.width, entry.height)


def _matrix(data: memoryview, tkhd: Box, wide: int) -> bytes:
    at = tkhd.body + (52 if wide else 40)
    return bytes(data[at : at + 36]) if at + 36 <= tkhd.stop else UPRIGHT


def _layer(data: memoryview, codec: str, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> str:
    """Tell the layers of MPEG audio apart, which share their object types: by the first frame's head."""
    if codec != "mp3" or len(starts) == 0 or sizes[0] < 4:
        return codec
    head = bytes(data[int(starts[0]) : int(starts[0]) + 2])
    if head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return codec
    return _LAYERS.get(head[1] >> 1 & 3, codec)
