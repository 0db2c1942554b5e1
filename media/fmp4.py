"""Copy an MP4 into one fragmented MP4 whose HLS segments are byte ranges (RFC 8216 §3.3; ISO/IEC 14496-12 §8.8).

libavformat writes the boxes, one fragment a GOP; our own walk over them gives the ranges. Sound and picture share the
file, which is legal for HLS. The output has no edit list: all tracks are shifted alike until no time is negative,
so the first picture is shown at `Fmp4Index.media_start_s` (the reorder delay) and sound keeps its place.
Negative composition offsets would start at 0, but libavformat reads them as a shift of the picture alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import Any, Final

import av
import av.error
import msgspec
from av.packet import Packet

from media import DamagedIndex, Unmuxable
from media.fmp4_boxes import MOOF_MAX_BYTES, read_moof, track_scales, walk_file
from media.index_file import read_index
from media.ts_source import Adts, Unit, audio_packets, find_streams, lesson_start, opened, video_packets
from wire.mpegts import PTS_HZ

FORMAT: Final = "rural-media-edge/fmp4-index"
VERSION: Final = 1
INDEX_MAX_BYTES: Final = 16 * 1024 * 1024
SEGMENT_TARGET_S: Final = 6.0
OPTIONS: Final = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof+frag_discont+skip_trailer",
    "use_editlist": "0",
    "avoid_negative_ts": "disabled",
}
"""frag_discont keeps the decoding times that we give; without it libavformat starts each track at 0."""


class Fmp4Segment(msgspec.Struct, frozen=True, array_like=True):
    """One HLS segment: one or more moof+mdat, the first beginning with an IDR picture; times are npt."""

    start_s: float
    duration_s: float
    offset_bytes: int
    length_bytes: int


class Fmp4Index(msgspec.Struct, frozen=True, kw_only=True):
    """Where to cut one fragmented MP4; made by `fragment`."""

    format: str = FORMAT
    version: int = VERSION
    duration_s: float
    media_start_s: float
    """Presentation time inside the file at which the lesson begins (npt 0)."""
    init_length_bytes: int
    """ftyp and moov: the file's first bytes."""
    length_bytes: int
    codecs: str
    """RFC 6381, e.g. ``avc1.4d401e,mp4a.40.2``."""
    width: int
    height: int
    segments: tuple[Fmp4Segment, ...]

    def save(self, path: Path) -> None:
        """Write the index; making the file appear at once is the caller's business."""
        path.write_bytes(msgspec.msgpack.encode(self))

    @classmethod
    def load(cls, path: Path) -> Fmp4Index:
        """Read an index.

        Raises:
            DamagedIndex: the file is no index, cut, changed, or of another version.
            OSError: the file cannot be read at all.
        """
        index = read_index(path, cls, form=FORMAT, version=VERSION, max_bytes=INDEX_MAX_BYTES)
        position = index.init_length_bytes
        for segment in index.segments:
            if segment.offset_bytes != position or segment.length_bytes <= 0 or segment.duration_s < 0:
                raise DamagedIndex(f"{path.name}: the segments do not follow one another; make it again")
            position += segment.length_bytes
        if position != index.length_bytes or not index.segments:
            raise DamagedIndex(f"{path.name}: the segments do not fill the file; make it again")
        return index


def fragment(source: Path, out: Path) -> Fmp4Index:
    """Write ``source`` (MP4: H.264, AAC or no sound) as fragmented MP4 to ``out`` and return its index.

    Nothing is re-encoded. ``out`` is overwritten; on an error it may be left half written.

    Raises:
        Unmuxable: the source needs transcoding; the text says why.
        OSError: reading or writing failed.
    """
    codecs, size = _describe(source)
    try:
        _write(source, out)
    except av.error.FFmpegError as error:
        raise Unmuxable(f"{source.name}: cannot be written as fragmented MP4 ({error.strerror})") from error
    return _index(out, codecs, size)


def _describe(source: Path) -> tuple[str, tuple[int, int]]:
    with opened(source) as container:
        video, audio = find_streams(container, source.name)
        avcc = video.codec_context.extradata or b""
        if len(avcc) < 7 or avcc[0] != 1:
            raise Unmuxable(f"{source.name}: no avcC record in the MP4; remux it with ffmpeg")
        codecs = "avc1." + avcc[1:4].hex()
        if audio is not None:
            codecs += f",mp4a.40.{Adts(audio.codec_context.extradata or b'', source.name).object_type}"
        return codecs, (video.codec_context.width, video.codec_context.height)


Pair = tuple["Packet[Any]", Unit]
Sample = tuple[int, int, "Packet[Any]", Unit]


def _samples(source: Path) -> tuple[int, Iterator[Sample]]:
    """Return the tick of 90 kHz that becomes the file's 0, and all samples by time as (dts, track, packet, unit)."""
    tracks = [iter(video_packets(source)), iter(audio_packets(source))]
    heads = [next(track, None) for track in tracks]
    if heads[0] is None:
        raise Unmuxable(f"{source.name}: no IDR picture to begin with; transcode it")
    start = lesson_start(heads[0][1].pts, heads[1][1].pts if heads[1] else None)
    runs = [_numbered(0, heads[0], tracks[0]), _numbered(1, heads[1], tracks[1])]
    start = min([start, *(head[1].dts for head in heads if head is not None)])
    return start, merge(*runs, key=lambda sample: sample[:2])


def _numbered(number: int, head: Pair | None, rest: Iterator[Pair]) -> Iterator[Sample]:
    for packet, unit in chain([] if head is None else [head], rest):
        yield unit.dts, number, packet, unit


def _write(source: Path, out: Path) -> None:
    start, samples = _samples(source)
    with opened(source) as template, av.open(str(out), "w", format="mp4", options=OPTIONS) as target:
        video, audio = find_streams(template, source.name)
        streams = [target.add_stream_from_template(each) for each in (video, audio) if each is not None]
        for _, track, packet, unit in samples:
            shift = round(Fraction(start, PTS_HZ) / Fraction(packet.time_base))
            if packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.is_keyframe = unit.idr or track == 1
            packet.stream = streams[track]
            target.mux(packet)


def _index(out: Path, codecs: str, size: tuple[int, int]) -> Fmp4Index:
    """Walk the boxes of the written file; times are those of the boxes, not of the source."""
    length = out.stat().st_size
    init_end = 0
    scales: dict[int, tuple[str, int]] = {}
    cuts: list[tuple[float, int]] = []
    end_s = 0.0
    starts: dict[int, float] = {}
    with out.open("rb") as file:
        for box in walk_file(file, length):
            if box.kind not in ("moov", "moof"):
                continue
            if box.length_bytes > MOOF_MAX_BYTES:
                raise Unmuxable(f"{out.name}: a {box.kind} of {box.length_bytes} bytes")
            file.seek(box.offset_bytes + 8)
            body = file.read(box.length_bytes - 8)
            if box.kind == "moov":
                scales, init_end = track_scales(body), box.offset_bytes + box.length_bytes
                continue
            for run in read_moof(body):
                kind, scale = scales[run.track_id]
                end_s = max(end_s, run.end / scale)
                at = (run.decode_time + run.composition_offset) / scale
                starts.setdefault(run.track_id, at)
                if kind != "vide" or not run.starts_with_sync:
                    continue
                if not cuts or at >= cuts[-1][0] + SEGMENT_TARGET_S - 1e-3:
                    cuts.append((at, box.offset_bytes))
    if not cuts or not init_end:
        raise Unmuxable(f"{out.name}: no fragment begins with a sync picture")
    zero_s = min(starts.values())
    cuts = [(0.0, init_end), *((at - zero_s, offset) for at, offset in cuts[1:])]
    ends = [*cuts[1:], (end_s - zero_s, length)]
    segments = tuple(
        Fmp4Segment(begin_s, stop_s - begin_s, begin, stop - begin)
        for (begin_s, begin), (stop_s, stop) in zip(cuts, ends, strict=True)
    )
    return Fmp4Index(
        duration_s=end_s - zero_s,
        media_start_s=zero_s,
        init_length_bytes=init_end,
        length_bytes=length,
        codecs=codecs,
        width=size[0],
        height=size[1],
        segments=segments,
    )
