"""Two workers against one: bytes a second over HTTP. Needs a third core, for the client."""

from __future__ import annotations

from dataclasses import fields

from benchmarks.serve.bench import Bench
from benchmarks.serve.http import Contender, drain, object_of, ranges
from benchmarks.serve.library import RENDITION, serving
from benchmarks.serve.programs import CORES
from benchmarks.serve.verdicts import client_was_limit, paired
from edge_server.config import EdgeConfig

CELL = "workers"
TIMES_LEAST = 1.7
LENGTH, CONNECTIONS = 500_000, 64


def run(bench: Bench) -> None:
    """Measure when there is a core for the client; otherwise say that there is none."""
    name = "HTTP, two workers by one: bytes a second"
    setting = next((each.name for each in fields(EdgeConfig) if "workers" in each.name), "")
    if not setting:
        bench.judge(name, None, least=TIMES_LEAST, unit="×", note="the edge has no setting for workers")
        return
    if len(CORES) < 3:
        bench.judge(
            name, None, least=TIMES_LEAST, unit="×", invalid=f"{len(CORES)} cores: none to spare for the client"
        )
        return
    rates: dict[int, list[float]] = {1: [], 2: []}
    busy: list[float] = []
    for repeat in range(bench.repeats):
        for workers in bench.order((1, 2), repeat):
            env = {f"EDGE_SERVER_{setting.upper()}": str(workers)}
            with serving(bench.edge_folder, bench.work / "edge.log", on=tuple(CORES[:workers]), env=env) as edge:
                file = object_of(bench.edge_folder, bench.library.item_id, RENDITION)
                wanted = ranges(bench.library.media_path, file, LENGTH)
                here = Contender("edge", edge.pid, edge.http_port)
                found = drain(bench, here, wanted, CONNECTIONS, bench.seconds, checked=False)
            for fault in found["faults"][:1]:
                bench.fault(f"{workers} workers: {fault}")
            rates[workers].append(found["octets"] / 1e9 / found["seconds"])
            bench.record(CELL, {"workers": str(workers), "repeat": repeat, "gb_per_s": rates[workers][-1], **found})
            busy.append(found["client_busy"])
    bench.judge(name, paired(rates[2], rates[1]), least=TIMES_LEAST, unit="×", invalid=client_was_limit(busy))
