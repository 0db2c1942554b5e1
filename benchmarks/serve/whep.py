"""WebRTC: CPU of a viewer against aiortc, which decodes and encodes for each (``benchmarks/serve_whep.py``)."""

from __future__ import annotations

import json
import sys
from typing import Any

from benchmarks.serve.bench import Bench
from benchmarks.serve.programs import CORES, Broken, client, last_json

CELL = "whep"
TIMES_LEAST = 50.0
VIEWERS_LEAST = 125
SECONDS = 10.0


def run(bench: Bench) -> None:
    """Measure and judge.

    Raises:
        Broken: the part is not there, or fails.
    """
    repeats, viewers, name = bench.repeats, VIEWERS_LEAST, "WHEP: aiortc's CPU for a viewer by ours"
    spec = {"lesson": str(bench.folder / "whep.mp4"), "viewers": viewers, "seconds": SECONDS, "repeats": repeats}
    note = bench.work / "whep.json"
    note.write_text(json.dumps(spec))
    words = [sys.executable, "-m", "benchmarks.serve.whep_client", str(note)]
    try:
        found = last_json(client(words, on=tuple(CORES), within_s=60 + repeats * 2 * (SECONDS + 60))[0])
    except Broken as error:
        bench.judge(name, None, least=TIMES_LEAST, unit="×", note=str(error)[-200:])
        raise
    for server, runs in found.pop("runs", {}).items():
        for repeat, each in enumerate(runs):
            row: dict[str, Any] = {"server": server, "repeat": repeat}
            bench.record(CELL, row | {key: value for key, value in each.items() if isinstance(value, int | float)})
    bench.about["whep"] = {key: value for key, value in found.items() if isinstance(value, int | float)}
    invalid = "" if found["valid"] else "packets or frames were missing, or the viewers' core was full"
    times, per_core = found["times_cheaper_than_aiortc"], found["viewers_per_core"]["ours"]
    bench.judge(name, times, least=TIMES_LEAST, unit="×", invalid=invalid, note=f"ours: {viewers} viewers, aiortc: 2")
    bench.judge("WHEP: viewers on a core", per_core, least=float(VIEWERS_LEAST), invalid=invalid)
