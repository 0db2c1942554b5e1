"""Packaging on one core, each way in a process of its own:

    python -m benchmarks.serve.pack_work WAY LESSON WORK        prints one line of JSON

Ways: ``fmp4`` (ours: heads made once, then looked up for each segment), ``pyav-fmp4`` (a remuxer that keeps its
container open and cuts the same segments), ``cold`` (the first segment of a file that is not in memory), ``ts`` (ours),
``pyav-ts`` (a remuxer), ``ffmpeg-fmp4`` and ``ffmpeg-ts`` (the program). CPU is that of the process, or of ffmpeg;
bytes are those of the segments, or of the lesson for ``ts``.
"""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import av

from media.mp4.fmp4 import Fmp4Index
from media.mp4.segmenting import segment_mp4
from media.ts_mux import mux_ts

SEGMENTS_MAX = 60
"""Segments that are cut by the remuxer; ours are all looked up."""
COMPARED = 8
FFMPEG_SEGMENTS, FFMPEG_WITHIN_S = 10, 60.0
SIZE_MAX_APART = 0.02
"""By how much the remuxer's segments may be larger or smaller than ours."""


def fmp4(lesson: Path, work: Path) -> dict[str, Any]:
    """Make the heads of a lesson, then look every segment up, as a request does."""
    heads = work / "heads"
    began = time.process_time()
    index, _ = segment_mp4(lesson, heads)
    made_s = time.process_time() - began
    form = index.muxed
    count = len(form)
    began = time.process_time()
    pieces = [form.read(heads, number) for number in range(count)]
    looked_s = time.process_time() - began
    octets = sum(len(each.head) + sum(length for _, length in each.ranges) for each in pieces)
    for number in range(0, count, max(1, count // COMPARED)):
        same_samples(
            lesson, whole(lesson, index, heads, number), float(form.starts[number] - form.zero) / form.timescale
        )
    return {"segments": count, "octets": octets, "make_cpu_s": made_s, "look_cpu_s": looked_s, "compared": COMPARED}


def whole(lesson: Path, index: Fmp4Index, heads: Path, number: int) -> bytes:
    """One segment with its init segment, as a player puts them together."""
    piece = index.muxed.read(heads, number)
    with lesson.open("rb") as file:
        media = [os.pread(file.fileno(), length, at) for at, length in piece.ranges]
    return index.muxed.init + piece.head + b"".join(media)


def same_samples(lesson: Path, segment: bytes, start_s: float) -> None:
    """Compare every picture of a segment with the lesson's, byte by byte.

    Raises:
        RuntimeError: one differs.
    """
    with av.open(io.BytesIO(segment)) as made, av.open(str(lesson)) as source:
        found = [bytes(packet) for packet in made.demux(video=0) if packet.size]
        stream = source.streams.video[0]
        assert stream.time_base is not None
        source.seek(round((start_s + 0.001) / stream.time_base), stream=stream, backward=True)
        wanted = source.demux(video=0)
        for number, picture in enumerate(found):
            if bytes(next(wanted)) != picture:
                raise RuntimeError(f"picture {number} of the segment at {start_s:.2f} s differs")
    if not found:
        raise RuntimeError(f"no picture in the segment at {start_s:.2f} s")


def pyav_fmp4(lesson: Path, work: Path) -> dict[str, Any]:
    """Remux the same segments one after the other from a container that stays open."""
    index, _ = segment_mp4(lesson, work / "heads")
    form = index.muxed
    count = min(len(form), SEGMENTS_MAX)
    ends = [float(each) / form.timescale for each in (form.starts + form.durations - form.zero)[:count]]
    octets = 0
    with av.open(str(lesson)) as source:
        began = time.process_time()
        for segment in cut(source, ends, "mp4", {"movflags": "empty_moov+default_base_moof+frag_custom"}):
            octets += len(segment)
        cpu_s = time.process_time() - began
    ours = sum(form.lengths_bytes[:count])
    if abs(octets / ours - 1) > SIZE_MAX_APART:
        raise RuntimeError(f"{octets} bytes of segments, ours have {ours}")
    return {"segments": count, "octets": octets, "cpu_s": cpu_s}


def cut(source: Any, ends_s: list[float], form: str, options: dict[str, str]) -> Iterator[bytes]:
    """Remux a file into pieces that end at the first key frame at or after each time."""
    streams = (source.streams.video[0], source.streams.audio[0])
    packets = source.demux(*streams)
    held: list[Any] = []
    for end_s in ends_s:
        buffer = io.BytesIO()
        with av.open(buffer, "w", format=form, options=options) as out:
            copies = {each.index: out.add_stream_from_template(each) for each in streams}
            for packet in chain(held, packets):
                if packet.dts is None:
                    continue
                base = packet.time_base
                at_key = packet.stream.type == "video" and packet.is_keyframe
                if at_key and float(packet.pts * base) >= end_s - 0.001:
                    held = [packet]
                    break
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
        yield buffer.getvalue()


def cold(lesson: Path, work: Path) -> dict[str, Any]:
    """Read the index from the disk, look the first segment up, and read its bytes; nothing of it is in memory."""
    heads, saved = work / "heads", work / "index"
    began = time.monotonic()
    index, _ = segment_mp4(lesson, heads)
    index.save(saved)
    from_nothing_s = time.monotonic() - began
    for path in (lesson, heads, saved):
        evict(path)
    evicted = not in_memory(lesson)
    began, cpu = time.monotonic(), time.process_time()
    first = whole(lesson, Fmp4Index.load(saved), heads, 0)
    found = {"seconds": time.monotonic() - began, "cpu_s": time.process_time() - cpu, "octets": len(first)}
    return found | {"evicted": evicted, "index_from_nothing_s": from_nothing_s, "file_bytes": lesson.stat().st_size}


def evict(path: Path) -> None:
    """Put a file out of memory."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def in_memory(path: Path) -> bool:
    """Whether the first bytes of a file can be had without the disk."""
    with path.open("rb") as file:
        try:
            return os.preadv(file.fileno(), [bytearray(1)], 65536, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False


def ts(lesson: Path, work: Path) -> dict[str, Any]:
    """Make the whole transport stream and its index."""
    began = time.process_time()
    mux_ts(lesson, work / "out.ts").save(work / "ts.index")
    return {"octets": lesson.stat().st_size, "cpu_s": time.process_time() - began}


def pyav_ts(lesson: Path, work: Path) -> dict[str, Any]:
    """Remux the whole lesson into a transport stream with FFmpeg's libraries."""
    began = time.process_time()
    with av.open(str(lesson)) as source, av.open(str(work / "pyav.ts"), "w", format="mpegts") as out:
        streams = (source.streams.video[0], source.streams.audio[0])
        copies = {each.index: out.add_stream_from_template(each) for each in streams}
        for packet in source.demux(*streams):
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
    return {"octets": lesson.stat().st_size, "cpu_s": time.process_time() - began}


def ffmpeg_cpu_s(words: list[str]) -> float:
    """Run ffmpeg to its end; return its CPU.

    Raises:
        RuntimeError: it failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FFMPEG_WITHIN_S)
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ffmpeg_fmp4(lesson: Path, work: Path) -> dict[str, Any]:
    """Remux some segments with an ffmpeg process each, as a server without a packager of its own would."""
    index, _ = segment_mp4(lesson, work / "heads")
    form, out, octets, cpu_s = index.muxed, work / "ffmpeg.mp4", 0, 0.0
    chosen = range(0, len(form), max(1, len(form) // FFMPEG_SEGMENTS))
    for number in chosen:
        start_s, length_s = float(form.starts[number] - form.zero) / form.timescale, form.durations_s[number]
        words = ["-ss", f"{start_s:.3f}", "-i", str(lesson), "-t", f"{length_s:.3f}", "-c", "copy"]
        cpu_s += ffmpeg_cpu_s([*words, "-movflags", "empty_moov+default_base_moof+frag_keyframe", str(out)])
        octets += out.stat().st_size
    return {"segments": len(chosen), "octets": octets, "cpu_s": cpu_s}


def ffmpeg_ts(lesson: Path, work: Path) -> dict[str, Any]:
    """Remux the whole lesson into a transport stream with the ffmpeg program."""
    cpu_s = ffmpeg_cpu_s(["-i", str(lesson), "-c", "copy", "-f", "mpegts", str(work / "ffmpeg.ts")])
    return {"octets": lesson.stat().st_size, "cpu_s": cpu_s}


WAYS = {"fmp4": fmp4, "pyav-fmp4": pyav_fmp4, "cold": cold, "ts": ts, "pyav-ts": pyav_ts}
WAYS |= {"ffmpeg-fmp4": ffmpeg_fmp4, "ffmpeg-ts": ffmpeg_ts}


def main() -> None:
    """Command line."""
    way, lesson, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    print(json.dumps(WAYS[way](lesson, work)), flush=True)


if __name__ == "__main__":
    main()
