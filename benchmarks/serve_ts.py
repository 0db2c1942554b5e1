"""Transport streams from a stored MP4: ours, ffmpeg and PyAV in the same run, and from arrival to playable.

    python -m benchmarks.serve_ts [--source LESSON.mp4] [--work FOLDER] [--repeats 5] [--megabytes 640]

Speeds are megabytes of MP4 per second of CPU time, user and system, of a process of its own; the output is a new file
every time. Ends with 1 when the stream is not the source or not clean, with 99 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

TARGET_MB_PER_CPU_S = 600
TARGET_PACKAGE_S = 5.0
TARGET_RSS_GROWTH_MB = 200
PIECE_S = 60
STAMP_SLACK_S = {"v": 2 / 90_000, "a": 512 / 48_000}
"""Sound is stamped once a PES, so a hole shorter than half a frame moves the rest of the PES by so much."""


def make_lesson(folder: Path, megabytes: int) -> Path:
    """A lesson of moving noise with a tone: 720p25, about 3.4 Mb/s, a minute repeated without coding it again."""
    piece, listing, lesson = folder / "piece.mp4", folder / "pieces.txt", folder / f"lesson{megabytes}.mp4"
    picture = "testsrc2=s=1280x720:r=25,noise=alls=12:allf=t"
    sound = "sine=440:r=48000,aformat=channel_layouts=stereo"
    video = "-c:v libx264 -preset ultrafast -tune fastdecode -bf 2 -g 50 -b:v 3400k -maxrate 4000k -bufsize 4000k"
    _ffmpeg(
        *("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-t", str(PIECE_S)),
        *(*video.split(), "-c:a", "aac", "-b:a", "128k", str(piece)),
    )
    listing.write_text(f"file {piece.name}\n" * max(1, round(megabytes * 1e6 / piece.stat().st_size)))
    _ffmpeg("-f", "concat", "-i", str(listing), "-c", "copy", "-movflags", "+faststart", str(lesson))
    piece.unlink()
    return lesson


def measure(source: Path, work: Path, repeats: int) -> dict[str, Any]:
    """Measure all in turns, the order changed every time, and check what ours made; ``work`` is a folder for files."""
    megabytes = source.stat().st_size / 1e6
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "ours, not written": [], "ffmpeg": [], "pyav": []}
    for number in range(repeats):
        names = list(runs)
        for name in names if number % 2 else reversed(names):
            out = work / "made.ts"
            out.unlink(missing_ok=True)
            runs[name].append(_run(name, source, Path(os.devnull) if "not written" in name else out))
    out = work / "made.ts"
    out.unlink(missing_ok=True)
    _run("ours", source, out)
    result = {
        "source_mb": round(megabytes, 1),
        "repeats": repeats,
        "contenders": {name: _summary(each, megabytes) for name, each in runs.items()},
        "package_s": [_package(source, work) for _ in range(max(1, repeats // 2))],
        "errors": _errors(source, out),
    }
    out.unlink()
    ours = result["contenders"]["ours"]
    result["met"] = {
        f"{TARGET_MB_PER_CPU_S} MB/s of CPU": ours["mb_per_cpu_s"] >= TARGET_MB_PER_CPU_S,
        f"packaged within {TARGET_PACKAGE_S} s": max(result["package_s"]) <= TARGET_PACKAGE_S,
        f"grows by less than {TARGET_RSS_GROWTH_MB} MB": ours["rss_growth_mb"] < TARGET_RSS_GROWTH_MB,
    }
    return result


def _summary(runs: list[dict[str, float]], megabytes: float) -> dict[str, Any]:
    cpu = [each["cpu_s"] for each in runs]
    return {
        "mb_per_cpu_s": round(megabytes / median(cpu)),
        "mb_per_cpu_s_range": [round(megabytes / max(cpu)), round(megabytes / min(cpu))],
        "mb_per_s": round(megabytes / median(each["wall_s"] for each in runs)),
        "rss_growth_mb": round(max(each["rss_growth_mb"] for each in runs), 1),
    }


def _run(name: str, source: Path, out: Path) -> dict[str, float]:
    """Run one contender in a process of its own."""
    if name != "ffmpeg":
        words = [sys.executable, "-m", "benchmarks.serve_ts", "--inside", name, str(source), str(out)]
        return dict(json.loads(subprocess.run(words, capture_output=True, check=True, text=True).stdout))
    begin = time.perf_counter()
    process = subprocess.Popen(_ffmpeg_words("-i", str(source), "-c", "copy", "-f", "mpegts", str(out)))
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"ffmpeg ended with {process.returncode}")
    wall = time.perf_counter() - begin
    return {"cpu_s": used.ru_utime + used.ru_stime, "wall_s": wall, "rss_growth_mb": used.ru_maxrss / 1024}


def _inside(name: str, source: Path, out: Path) -> None:
    """Be the contender, and print what it used; importing is not counted."""
    import av

    from media.ts_mux import mux_ts

    before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    if name == "pyav":
        with av.open(str(source)) as read, av.open(str(out), "w", format="mpegts") as written:
            copies = {
                each: written.add_stream_from_template(each) for each in read.streams if each.type in "videoaudio"
            }
            for packet in read.demux(list(copies)):
                if packet.dts is not None:
                    packet.stream = copies[packet.stream]
                    written.mux(packet)
    else:
        mux_ts(source, out)
    after, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - begin
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    grown = (after.ru_maxrss - before.ru_maxrss) / 1024
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "rss_growth_mb": grown}))


def _package(source: Path, work: Path) -> float:
    """Seconds from an MP4 that has arrived to one that can be played in every container, all of it on the disk."""
    from edge_server.packager import package

    with tempfile.TemporaryDirectory(dir=work) as folder:
        begin = time.perf_counter()
        package(source, "ab" * 32, Path(folder))
        return round(time.perf_counter() - begin, 2)


def _errors(source: Path, out: Path) -> list[str]:
    """Say what is wrong with the stream; nothing is right."""
    from media.ts_check import check

    report = check(out)
    errors = [f"{each.indicator} {each.name}: {each.detail}" for each in report.priority1 + report.priority2]
    video = "filter_units=remove_types=7-9"
    for kind, of_mp4, of_ts in (("v", f"h264_mp4toannexb,{video}", video), ("a", "null", "aac_adtstoasc")):
        theirs, ours = _packets(source, kind, of_mp4), _packets(out, kind, of_ts)
        if [each[1] for each in theirs] != [each[1] for each in ours] or not ours:
            errors.append(f"{len(ours)} packets of stream {kind} are not the {len(theirs)} of the source")
            continue
        late = [a - b for (a, _), (b, _) in zip(ours, theirs, strict=True)]
        if max(late) - min(late) > STAMP_SLACK_S[kind]:
            errors.append(f"stream {kind}: times are not those of the source")
    return errors


def _packets(path: Path, kind: str, bitstream_filter: str) -> list[tuple[Fraction, str]]:
    """Presentation time in seconds and hash of every packet of one stream, by ffmpeg."""
    words = _ffmpeg_words("-i", str(path), "-map", f"0:{kind}:0", "-c", "copy", f"-bsf:{kind}", bitstream_filter)
    run = subprocess.run([*words, "-f", "framemd5", "-"], capture_output=True, text=True, check=True)
    base, found = Fraction(1), []
    for line in run.stdout.splitlines():
        if line.startswith("#tb"):
            base = Fraction(line.split(":")[1].strip())
        elif not line.startswith("#"):
            fields = [each.strip() for each in line.split(",")]
            found.append((int(fields[2]) * base, fields[5]))
    return found


def _ffmpeg_words(*words: str) -> list[str]:
    return ["ffmpeg", "-nostdin", "-v", "error", "-y", *words]


def _ffmpeg(*words: str) -> None:
    subprocess.run(_ffmpeg_words(*words), check=True)


def main(words: list[str]) -> int:
    """Run it."""
    if words[:1] == ["--inside"]:
        _inside(words[1], Path(words[2]), Path(words[3]))
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve_ts", description=__doc__)
    parser.add_argument("--source", type=Path, help="an MP4; default: one is made")
    parser.add_argument("--work", type=Path, help="folder for files of a few gigabytes; default: a temporary one")
    parser.add_argument("--megabytes", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=5)
    found = parser.parse_args(words)
    with tempfile.TemporaryDirectory(dir=found.work) as folder:
        work = Path(folder)
        result = measure(found.source or make_lesson(work, found.megabytes), work, found.repeats)
    print(json.dumps(result, indent=1))
    return 1 if result["errors"] else 0 if all(result["met"].values()) else 99


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
