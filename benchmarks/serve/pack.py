"""What packaging costs: fragmented MP4 and transport stream against PyAV, and the first segment of a cold 1 GB file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.serve.bench import Bench
from benchmarks.serve.http import object_of
from benchmarks.serve.library import RENDITION, make_long
from benchmarks.serve.machine import busy_share
from benchmarks.serve.programs import SERVER_CORE, Broken, client, last_json
from benchmarks.serve.verdicts import Spread, machine_was_limit, paired, spread

FMP4, COLD, TS = "fmp4", "fmp4_cold", "ts"
FMP4_MOST = 1 / 20
COLD_MOST_MS = 20.0
TS_LEAST_MB_PER_S = 600.0
LONG_BYTES = 1_000_000_000
WITHIN_S = 180.0
DECODED_S = 20


def work(bench: Bench, way: str, lesson: Path) -> dict[str, Any]:
    """Run one way on the server's core.

    Raises:
        Broken: it failed.
    """
    folder = bench.work / "pack"
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.serve.pack_work", way, str(lesson), str(folder)]
    return last_json(client(command, on=(SERVER_CORE,), within_s=WITHIN_S)[0])


def run(bench: Bench) -> None:
    """Measure and judge; a part that fails does not take the others along."""
    lesson = object_of(bench.edge_folder, bench.library.item_id, RENDITION)
    for part in (segments, first_segment, stream):
        try:
            part(bench, lesson)
        except Broken as error:
            bench.fault(f"packaging: {error}")


def segments(bench: Bench, lesson: Path) -> None:
    """CPU of a segment that is asked for: looked up by us, remuxed by PyAV; what we made beforehand is shown too."""
    for repeat in range(bench.repeats):
        for way in bench.order(("fmp4", "pyav-fmp4", "ffmpeg-fmp4"), repeat):
            found = work(bench, way, lesson)
            made, asked = found.get("make_cpu_s", 0.0), found.get("look_cpu_s", found.get("cpu_s", 0.0))
            row = {"way": way, "repeat": repeat, **found, "ms_a_segment": asked / found["segments"] * 1000}
            row["once_ms_a_segment"] = made / found["segments"] * 1000
            row["cpu_s_per_gb"] = asked / (found["octets"] / 1e9)
            row["with_making_cpu_s_per_gb"] = (made + asked) / (found["octets"] / 1e9)
            bench.record(FMP4, row)
    names = ("fmp4", "pyav-fmp4")
    asked_s = paired(*both(bench.results[FMP4], names, "cpu_s_per_gb"))
    whole = paired(*both(bench.results[FMP4], names, "with_making_cpu_s_per_gb")).median
    note = f"a request; {whole:.3f} when the heads, made once for all, served one request only; bodies go by sendfile"
    bench.judge("fMP4 segment: our CPU by PyAV's, container open", asked_s, most=FMP4_MOST, note=note)


def both(rows: list[dict[str, Any]], ways: tuple[str, str], field: str) -> tuple[list[float], list[float]]:
    """A field of two ways, repeat by repeat. Pure."""
    by = [{row["repeat"]: row[field] for row in rows if row["way"] == way} for way in ways]
    shared = sorted(set(by[0]) & set(by[1]))
    return [by[0][n] for n in shared], [by[1][n] for n in shared]


def first_segment(bench: Bench, lesson: Path) -> None:
    """The first segment of a cold file of 1 GB, with its index, as the edge keeps it."""
    long = make_long(bench.folder / "long.mp4", lesson, LONG_BYTES)
    for repeat in range(bench.repeats):
        row = {"way": "index on the disk", "repeat": repeat, "others_share": busy_share()}
        found = work(bench, "cold", long)
        found |= {"ms": found["seconds"] * 1000, "index_from_nothing_ms": found["index_from_nothing_s"] * 1000}
        bench.record(COLD, row | found)
    rows = bench.results[COLD]
    warm = "the file could not be put out of memory" if not all(row["evicted"] for row in rows) else ""
    size = f"{rows[0]['file_bytes'] / 1e9:.2f} GB, segment of {rows[0]['octets'] / 1e6:.1f} MB read from the disk"
    others = machine_was_limit([row["others_share"] for row in rows])
    value = spread([row["ms"] for row in rows])
    bench.judge(
        "fMP4: first segment of a cold file", value, most=COLD_MOST_MS, unit="ms", note=size, invalid=warm or others
    )


def stream(bench: Bench, lesson: Path) -> None:
    """The whole lesson as a transport stream."""
    for repeat in range(bench.repeats):
        for way in bench.order(("ts", "pyav-ts", "ffmpeg-ts"), repeat):
            found = work(bench, way, lesson)
            found["mb_per_s"] = found["octets"] / 1e6 / found["cpu_s"]
            bench.record(TS, {"way": way, "repeat": repeat, **found})
    ours, theirs = both(bench.results[TS], ("ts", "pyav-ts"), "mb_per_s")
    times: Spread = paired(ours, theirs)
    if decoded(bench.work / "pack" / "out.ts") != decoded(lesson):
        bench.fault(f"the transport stream decodes to other pictures or sound within {DECODED_S} s")
    bench.judge(
        "transport stream from MP4, one core",
        spread(ours),
        least=TS_LEAST_MB_PER_S,
        unit="MB/s",
        note=f"{times.median:.1f} times PyAV's; CPU of reading, making and writing file and index",
    )


def decoded(path: Path) -> list[str]:
    """Hashes of the decoded pictures and sound of the first seconds, without their times.

    Raises:
        Broken: ffmpeg cannot decode it.
    """
    words = ["-map", "0:v", "-frames:v", str(DECODED_S * 25), "-f", "framemd5", "-"]
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WITHIN_S)
    except subprocess.TimeoutExpired as error:
        raise Broken("ffmpeg does not end") from error
    if done.returncode:
        raise Broken(f"ffmpeg: {done.stderr[-500:]}")
    return [line.rsplit(",", 1)[1].strip() for line in done.stdout.splitlines() if line and line[0] != "#"]
