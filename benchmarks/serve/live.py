"""One channel to many viewers over RTSP/UDP, against gst-rtsp-server with one shared pipeline.

Many start the same lesson within a few seconds: the edge sends all of them the same shared bytes, each from the
beginning; gst-rtsp-server's viewers join the one running pipeline, which is the least it can do for a viewer.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.serve.bench import Bench
from benchmarks.serve.rtsp import (
    LIVE,
    LIVE_LEAST,
    LIVE_SESSIONS,
    LIVE_SESSIONS_QUICK,
    contenders,
    invalid,
    one,
    pairs,
    wrong,
)


def run(bench: Bench) -> None:
    """Measure and judge."""
    edge, gst, ts = contenders(bench)
    shared = replace(gst, name="gst-rtsp-server, shared", path="/shared")
    sessions = LIVE_SESSIONS_QUICK if bench.quick else LIVE_SESSIONS
    for repeat in range(bench.repeats):
        for each in bench.order((edge, shared), repeat):
            row = one(bench, each, ts, sessions, "udp", repeat, LIVE)
            if row and each is edge and wrong(row):
                bench.fault(f"one channel, {sessions} viewers: {wrong(row)}")
    rows = bench.results.get(LIVE, [])
    bench.judge(
        f"one channel, {sessions} viewers: CPU of gst's shared pipeline by ours",
        pairs(rows, "udp", "cpu_s_a_stream_minute", ("edge", shared.name)),
        least=LIVE_LEAST,
        unit="×",
        invalid=invalid(rows, "udp"),
    )
