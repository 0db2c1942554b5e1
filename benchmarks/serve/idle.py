"""Memory, start and descriptors of an edge that holds 4,500 lessons."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

from benchmarks.serve.bench import Bench
from benchmarks.serve.library import (
    MAKE_WITHIN_S,
    RECIPE,
    Library,
    library_in,
    make_edge,
    make_lesson,
    moved,
    serving,
    sync,
)
from benchmarks.serve.machine import busy_share
from benchmarks.serve.programs import CORES, Broken, client, descriptors, last_json, memory_bytes
from benchmarks.serve.verdicts import machine_was_limit, spread
from central_platform.publish.desk import Desk

CELL = "idle"
LESSONS = 4500
LESSON_S = 6
MEMORY_MOST_MB, START_MOST_S = 120.0, 2.0
SETTLE_S = 2.0


def library(bench: Bench) -> Library:
    """The published library of many lessons; kept between runs.

    Raises:
        Broken: it cannot be made.
    """
    note = bench.folder / "many.json"
    key = [RECIPE, LESSONS]
    central = bench.folder / "central-many"
    if note.exists() and json.loads(note.read_text())["key"] == key:
        kept = json.loads(note.read_text())["library"]
        if central.exists():
            Desk(central).refresh(datetime.now(UTC))
            return moved(kept, central)
    note.unlink(missing_ok=True)
    bench.say(f"publishing {LESSONS} lessons, once")
    found = library_in(central, make_lesson(bench.folder / f"lesson-{LESSON_S}.mp4", LESSON_S))
    words = [sys.executable, "-m", "benchmarks.serve.many", str(central), str(LESSONS)]
    out, _, _ = client(words, on=tuple(CORES), within_s=MAKE_WITHIN_S)
    bench.say(f"  {last_json(out)}")
    note.write_text(json.dumps({"key": key, "library": found.plain()}))
    return found


def run(bench: Bench) -> None:
    """Start the edge several times; look at it when it is idle, and after it has shown its catalogue."""
    edge, found = bench.folder / "edge-many", library(bench)
    make_edge(found, edge)
    began = time.monotonic()
    sync(edge)
    bench.about["sync_many_s"] = round(time.monotonic() - began, 1)
    for repeat in range(bench.repeats):
        row: dict[str, Any] = {"lessons": str(LESSONS), "repeat": repeat, "others_share": busy_share()}
        with serving(edge, bench.work / "idle.log") as running:
            first = running.get("/healthz")
            row["start_s"] = time.monotonic() - running.began_s
            if b"true" not in first:
                raise Broken(f"the edge does not feel well: {first!r}")
            time.sleep(SETTLE_S)
            row["memory_mb"] = memory_bytes(running.pid) / 1e6
            row["descriptors"] = descriptors(running.pid)
            listed = json.loads(running.get("/api/v1/catalogue"))
            count = sum(len(column["items"]) for column in listed["columns"])
            if count < LESSONS:
                bench.fault(f"the catalogue lists {count} of {LESSONS} lessons")
            running.get("/")
            time.sleep(SETTLE_S)
            row["memory_after_catalogue_mb"] = memory_bytes(running.pid) / 1e6
        bench.record(CELL, row)
        bench.say(
            f"  ready in {row['start_s']:.2f} s, {row['memory_mb']:.0f} MB idle, "
            f"{row['memory_after_catalogue_mb']:.0f} MB after the catalogue, {row['descriptors']} descriptors"
        )
    rows = bench.results[CELL]
    memory = spread([row["memory_after_catalogue_mb"] for row in rows])
    note = "idle after it has shown its catalogue"
    bench.judge(f"memory with {LESSONS} lessons", memory, most=MEMORY_MOST_MB, unit="MB", note=note)
    start = spread([row["start_s"] for row in rows])
    note = "from the process to its first answer"
    others = machine_was_limit([row["others_share"] for row in rows])
    bench.judge(f"start with {LESSONS} lessons", start, most=START_MOST_S, unit="s", note=note, invalid=others)
