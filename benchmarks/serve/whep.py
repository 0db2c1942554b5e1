"""WebRTC from the whole edge, against aiortc, which decodes and encodes for each viewer: the same lesson for both.

Viewers are those of ``benchmarks/whep_watchers.py``: real handshakes; every packet is counted, reported on and now and
then asked for again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.serve.bench import Bench
from benchmarks.serve.http import object_of
from benchmarks.serve.library import RATE, RENDITION, ROOM
from benchmarks.serve.programs import HOST, SERVER_CORE, Broken, client, last_json, server
from benchmarks.serve.verdicts import paired, spread

CELL = "whep"
NAMES = ("edge", "aiortc")
TIMES_LEAST = 50.0
VIEWERS_LEAST = 125
AIORTC_VIEWERS = 2
"""More, and aiortc drops so many pictures that the cost of a viewer means nothing."""
SECONDS = 6.0
HANDSHAKES_S = 90.0
CLIENT_BUSY_MOST, FRAMES_MISSING_MOST, ANSWERED_LEAST = 0.90, 0.02, 0.9


@contextmanager
def ours(bench: Bench) -> Iterator[tuple[int, str]]:
    """The edge; yields its process and the URL."""
    with bench.edge(whep_max_viewers=ROOM) as edge:
        yield edge.pid, f"http://{HOST}:{edge.http_port}/whep/{bench.library.item_id}"


@contextmanager
def aiortc(bench: Bench, lesson: Path) -> Iterator[tuple[int, str]]:
    """aiortc with its MediaPlayer, limited to H.264; yields its process and the URL."""
    command = [sys.executable, "-m", "benchmarks.serve_whep", "--serve", "aiortc", str(lesson)]
    with server(command, bench.work / "aiortc.log", on=(SERVER_CORE,), env={"PYTHONUNBUFFERED": "1"}) as started:
        yield started.pid, started.line.strip()


def why_invalid(name: str, run: dict[str, Any]) -> str:
    """Say why a run does not count; empty when it does. Pure."""
    if run["client_cpu"] > CLIENT_BUSY_MOST:
        return f"the viewers used {run['client_cpu']:.0%} of their core"
    if name != "edge":
        return ""  # aiortc drops pictures as it pleases, which makes its viewers cheaper
    if run["lost"]:
        return f"{run['lost']} packets were lost"
    if abs(run["frames_per_second"] / RATE - 1) > FRAMES_MISSING_MOST:
        return f"{run['frames_per_second']:.1f} pictures a second instead of {RATE}"
    if not run["again"] >= ANSWERED_LEAST * run["asked"] > 0 or not run["reports"]:
        return f"{run['again']} of {run['asked']} packets came again, {run['reports']} reports"
    return ""


def run(bench: Bench) -> None:
    """Measure and judge."""
    lesson = object_of(bench.edge_folder, bench.library.item_id, RENDITION)
    for repeat in range(bench.repeats):
        for name in bench.order(NAMES, repeat):
            one(bench, name, lesson, repeat)
    rows = [row for row in bench.results.get(CELL, []) if "why_invalid" in row]
    good = {
        name: {row["repeat"]: row for row in rows if row["server"] == name and not row["why_invalid"]} for name in NAMES
    }
    shared = sorted(set(good["edge"]) & set(good["aiortc"]))
    invalid = ""
    if 2 * len(shared) <= bench.repeats:
        words = [row["why_invalid"] for row in rows if row["why_invalid"]]
        invalid = f"{len(shared)} of {bench.repeats} repeats count: {words[0] if words else 'the others failed'}"
    times = per_core = None
    if shared:
        costs = [[good[name][n]["cpu_percent_per_viewer"] for n in shared] for name in ("aiortc", "edge")]
        times, per_core = paired(costs[0], costs[1]), spread([100 / each for each in costs[1]])
    note = f"{VIEWERS_LEAST} viewers of ours, {AIORTC_VIEWERS} of aiortc"
    bench.judge(
        "WHEP: aiortc's CPU for a viewer by ours", times, least=TIMES_LEAST, unit="×", invalid=invalid, note=note
    )
    note = f"computed from the CPU of {VIEWERS_LEAST} that watch at once"
    bench.judge("WHEP: viewers on a core", per_core, least=float(VIEWERS_LEAST), invalid=invalid, note=note)


def one(bench: Bench, name: str, lesson: Path, repeat: int) -> None:
    """One measurement of one server that was just started."""
    viewers = VIEWERS_LEAST if name == "edge" else AIORTC_VIEWERS
    row: dict[str, Any] = {"server": name, "repeat": repeat}
    try:
        with ours(bench) if name == "edge" else aiortc(bench, lesson) as (pid, url), bench.watched(row, pid):
            words = [sys.executable, "-m", "benchmarks.whep_watchers", url, str(viewers), str(SECONDS), str(pid)]
            found = last_json(client(words, within_s=HANDSHAKES_S + SECONDS)[0])
    except Broken as error:
        bench.fault(f"WebRTC, {name}: {error}")
        return
    row |= {**found, "why_invalid": why_invalid(name, found)}
    bench.record(CELL, row)
    bench.say(
        f"  {name}, {viewers} viewers: {found['cpu_percent_per_viewer']:.3f} % of a core each, "
        f"{found['mbps_per_viewer']:.2f} Mb/s, {found['frames_per_second']:.1f} pictures a second {row['why_invalid']}"
    )
