"""MPEG-TS over RTSP against gst-rtsp-server: CPU of 50 streams, streams that one core sustains, one channel for many.

Both serve the same transport stream file: what the edge has made of the lesson. Every packet's number is checked, and
the bytes of a share of the sessions against the file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from benchmarks.serve.bench import Bench
from benchmarks.serve.library import LESSON_S, RENDITION, Edge
from benchmarks.serve.programs import Broken, client, free_port, last_json, server
from benchmarks.serve.verdicts import Spread, capacity, majority, others_were_limit, paired

CELL, CAPACITY, LIVE = "rtsp", "rtsp_capacity", "rtsp_live"
SESSIONS = 50
CPU_LEAST = {"udp": 13.0, "tcp": 10.0}
"""How many times cheaper than gst-rtsp-server."""
STREAMS_LEAST = {"udp": 1000, "tcp": 800}
LIVE_LEAST = 1.5
LIVE_SESSIONS, LIVE_SESSIONS_QUICK = 300, 100
SPREAD_MOST_MS = 40.0
RATE_LEAST = 0.97
"""Share of the stream's rate below which a server has not kept up."""
STEPS = (50, 75, 100, 150, 200, 300, 400, 600, 800, 1000, 1200, 1500, 1800)
GST_STEPS = (75, 100)
"""Beyond the 50 that it is measured with anyway."""
CLIENT_BUSY_MOST = 0.90
COMPARED_SHARE = 0.04
WARM_S = 2.0
BESIDE_MOST_COUNT = 3
"""Repeats of a load that is not the target; the third only when the first two differ."""
TS_BYTES, RTP_BYTES = 1316, 1328
"""Of one packet: seven of the transport stream, and those with their RTP header."""
SETUP_S = 90.0
"""Time for all sessions to be set up; beyond it the client is ended."""
DEBIAN_PYTHON = "/usr/bin/python3"
GST = Path(__file__).with_name("gst_server.py")


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that can be started afresh."""

    name: str
    path: str
    start: Callable[[], AbstractContextManager[tuple[int, int]]]
    """Yields process id and RTSP port."""


def transport_stream(bench: Bench, edge: Edge) -> Path:
    """The lesson as a transport stream, put together from the segments that the edge serves.

    Raises:
        Broken: it serves none.
    """
    file = bench.work / "lesson.ts"
    if not file.exists():
        start = f"/hls/{bench.library.item_id}/ts/{RENDITION}/index.m3u8"
        names = [line for line in edge.get(start).decode().splitlines() if line and line[0] != "#"]
        draft = file.with_suffix(".part")
        with draft.open("wb") as out:
            for name in names:
                out.write(edge.get(urljoin(start, name)))
        draft.rename(file)
    return file


def contenders(bench: Bench) -> tuple[Contender, Contender, Path]:
    """Us and gst-rtsp-server, and the file that both send.

    Raises:
        Broken: the edge does not start.
    """

    @contextmanager
    def ours() -> Iterator[tuple[int, int]]:
        with bench.edge() as edge:
            yield edge.pid, edge.rtsp_port

    @contextmanager
    def gst() -> Iterator[tuple[int, int]]:
        port = free_port()
        with server([DEBIAN_PYTHON, str(GST), str(file), str(port)], bench.work / "gst.log", port=port) as started:
            yield started.pid, port

    with bench.edge() as edge:
        file = transport_stream(bench, edge)
    return Contender("edge", bench.library.rtsp_path, ours), Contender("gst-rtsp-server", "/vod", gst), file


def stream_rate(ts: Path) -> float:
    """Bits a second of one stream: those of the file, and the RTP headers."""
    return ts.stat().st_size * 8 / LESSON_S * RTP_BYTES / TS_BYTES


def one(
    bench: Bench, contender: Contender, ts: Path, sessions: int, transport: str, repeat: int, cell: str
) -> dict[str, Any] | None:
    """One measurement on a server that was just started; None when it failed.

    A *stream-minute* is as many bytes as a stream has in a minute: who sends too slowly gets no credit for it.
    """
    seconds = 6.0 if not bench.quick else 4.0
    row: dict[str, Any] = {"server": contender.name, "transport": transport, "sessions": sessions, "repeat": repeat}
    row["at"] = datetime.now(UTC).isoformat(timespec="seconds")
    what = f"{contender.name}, {sessions} × {transport}"
    try:
        with contender.start() as (pid, port), bench.watched(row, pid):
            about = {"pid": pid, "port": port, "path": contender.path, "sessions": sessions, "seconds": seconds}
            about |= {"transport": transport, "ts": str(ts), "compared_share": COMPARED_SHARE, "warm_s": WARM_S}
            spec = bench.work / "rtp.json"
            spec.write_text(json.dumps(about))
            words = [sys.executable, "-m", "benchmarks.serve.rtp_client", str(spec)]
            out, _, _ = client(words, within_s=SETUP_S + WARM_S + seconds)
        found = last_json(out)
    except Broken as error:
        bench.record(cell, {**row, "failed": str(error)})
        bench.say(f"  {what}: {error}")
        return None
    row |= found
    minutes = found["bits_a_second"] * found["seconds"] / stream_rate(ts) / 60
    row["cpu_s_a_stream_minute"] = found["server_cpu_s"] / max(minutes, 1e-9)
    row["server_busy"] = found["server_cpu_s"] / found["seconds"]
    bench.record(cell, row)
    bench.say(
        f"  {what}: {row['cpu_s_a_stream_minute']:.4f} CPU-s a stream-minute, spread p99 {found['spread_p99_ms']} ms, "
        f"{found['bits_a_second_a_session'] / 1e6:.2f} Mb/s each, lost {found['lost']}, "
        f"client {found['client_busy']:.0%} {found['why_invalid']}"
    )
    return row


def wrong(row: dict[str, Any]) -> str:
    """Say what was wrong with the packets of a run; empty when nothing was. Pure."""
    fields = ("lost", "reordered", "odd", "differing", "first_sequence_not_as_announced")
    found = [f"{row[name]} {name.replace('_', ' ')}" for name in fields if row[name]]
    if row["refused"] or row["silent"] or row["closed"]:
        found.append(f"{row['refused']} sessions refused, {row['silent']} silent, {row['closed']} closed")
    if not row["compared"]:
        found.append("no bytes were compared")
    return ", ".join(found)


def held(row: dict[str, Any], rate: float) -> bool:
    """Tell whether a server sustained the load: nothing lost, on time, at full rate. Pure."""
    on_time = row["spread_p99_ms"] is not None and row["spread_p99_ms"] < SPREAD_MOST_MS
    return not wrong(row) and on_time and row["bits_a_second_a_session"] >= RATE_LEAST * rate


def run(bench: Bench) -> None:
    """CPU at 50 streams, then capacity."""
    edge, gst, ts = contenders(bench)
    for transport in ("udp", "tcp"):
        cpu(bench, edge, gst, ts, transport)
    for transport in ("udp", "tcp"):
        streams(bench, edge, ts, transport)
        if not bench.quick:
            peers(bench, gst, ts, transport)


def pairs(rows: list[dict[str, Any]], transport: str, field: str, names: tuple[str, str]) -> Spread | None:
    """The second server's field by the first's, in the repeats that both finished. Pure."""
    usable = [row for row in rows if row["transport"] == transport and field in row]
    by = [{row["repeat"]: row[field] for row in usable if row["server"] == name} for name in names]
    shared = sorted(set(by[0]) & set(by[1]))
    return paired([by[1][n] for n in shared], [by[0][n] for n in shared]) if shared else None


def client_limit(rows: list[dict[str, Any]]) -> str:
    """Say that the client was the limit in more than half of the runs; empty when it was not. Pure."""
    bad = [row for row in rows if row["client_busy"] > CLIENT_BUSY_MOST or row["dropped_by_client"]]
    if 2 * len(bad) <= len(rows):
        return ""
    return f"the client used {bad[0]['client_busy']:.0%} of its core and dropped {bad[0]['dropped_by_client']} packets"


def invalid(rows: list[dict[str, Any]], transport: str) -> str:
    """Say why what a transport costs us says nothing. Pure."""
    return client_limit(
        [row for row in rows if row["server"] == "edge" and row["transport"] == transport and "lost" in row]
    )


def cpu(bench: Bench, edge: Contender, gst: Contender, ts: Path, transport: str) -> None:
    """CPU of 50 streams."""
    for repeat in range(bench.repeats):
        for each in bench.order((edge, gst), repeat):
            row = one(bench, each, ts, SESSIONS, transport, repeat, CELL)
            if row and each is edge and wrong(row):
                bench.fault(f"RTSP over {transport}, {SESSIONS} streams: {wrong(row)}")
    rows = bench.results.get(CELL, [])
    bench.judge(
        f"RTSP over {transport}, {SESSIONS} streams: gst-rtsp-server's CPU by ours",
        pairs(rows, transport, "cpu_s_a_stream_minute", ("edge", "gst-rtsp-server")),
        least=CPU_LEAST[transport],
        unit="×",
        invalid=invalid(rows, transport),
    )


def streams(bench: Bench, edge: Contender, ts: Path, transport: str) -> None:
    """How many streams one core sustains: the target first, then up while it holds, or down until it does."""
    target = STREAMS_LEAST[transport]
    rate = stream_rate(ts)

    def runs(sessions: int, repeats: int) -> Iterator[bool]:
        for repeat in range(repeats):
            row = one(bench, edge, ts, sessions, transport, repeat, CAPACITY)
            yield row is not None and held(row, rate)

    def fine(sessions: int) -> bool:
        repeats = 1 if bench.quick else bench.repeats
        if sessions == target:
            return majority(list(runs(sessions, repeats)), repeats)
        repeats = min(repeats, BESIDE_MOST_COUNT)
        return majority(runs(sessions, repeats), repeats)

    if fine(target):
        for sessions in (step for step in STEPS if step > target):
            if bench.quick or not fine(sessions):
                break
    else:
        lower = [step for step in reversed(STEPS) if step < target]
        for sessions in lower[1::3] if bench.quick else lower:
            if fine(sessions):
                break
    rows = [row for row in bench.results.get(CAPACITY, []) if row["transport"] == transport and row["server"] == "edge"]
    tried = [(row["sessions"], "lost" in row and held(row, rate)) for row in rows]
    shown = ", ".join(
        f"{n}: {sum(ok for m, ok in tried if m == n)}/{[m for m, _ in tried].count(n)}" for n in dict(tried)
    )
    at_target = [row for row in rows if row["sessions"] == target and "lost" in row]
    others = others_were_limit([row["others"].get("server_core_others", 0.0) for row in at_target])
    most = most_held(tried)
    bench.judge(
        f"RTSP over {transport}: streams that one core sustains",
        float(most),
        least=float(target),
        note=f"runs that held: {shown}",
        invalid="" if most >= target else client_limit(at_target) or others,
    )


def most_held(tried: list[tuple[int, bool]]) -> int:
    """The greatest load that held in most runs; loads below it that were not tried count as held. Pure."""
    return capacity(tried) or max((n for n in {m for m, _ in tried} if _mostly(tried, n)), default=0)


def _mostly(tried: list[tuple[int, bool]], sessions: int) -> bool:
    runs = [fine for count, fine in tried if count == sessions]
    return 2 * sum(runs) > len(runs)


def peers(bench: Bench, gst: Contender, ts: Path, transport: str) -> None:
    """How many streams gst-rtsp-server sustains on the same core; shown, not judged."""
    rate = stream_rate(ts)
    repeats = min(bench.repeats, BESIDE_MOST_COUNT)
    for sessions in GST_STEPS:
        rows = (one(bench, gst, ts, sessions, transport, n, CAPACITY) for n in range(repeats))
        if not majority((row is not None and held(row, rate) for row in rows), repeats):
            break
