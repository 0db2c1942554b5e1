"""From the edge's first look at a new lesson of 600 MB to its first segment and its RTSP description.

The publisher's folder stands behind nginx and a line of 1 Gb/s (``benchmarks/sync/line.py``). A running edge that holds
nothing is told to sync; a client asks it for the lesson every 50 ms. What plain HTTP needs for the same number of bytes
on the same line is measured in the same repeat.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from benchmarks.serve.bench import Bench, until
from benchmarks.serve.library import RENDITION, Edge, make_edge, serving
from benchmarks.serve.machine import busy_share
from benchmarks.serve.nginx import nginx
from benchmarks.serve.programs import CORES, HOST, Broken, environment, pin, stop, tail
from benchmarks.serve.verdicts import machine_was_limit, spread
from benchmarks.sync.line import LineProcess, Shape
from scripts.demo_programs import BIN

CELL = "playable"
RATE_BITS_PER_S = 1e9
BEYOND_MOST_S = 5.0
WITHIN_S = 180.0
EVERY_S = 0.05
PROBE_BYTES = 200_000_000


def run(bench: Bench) -> None:
    """Measure and judge."""
    published = Path(bench.library.published)
    with nginx(published, bench.work / "central-nginx", on=tuple(CORES[-1:])) as (_, port):
        for repeat in range(1 if bench.quick else min(bench.repeats, 3)):
            one(bench, port, repeat)
    rows = bench.results.get(CELL, [])
    beyond = spread([row["beyond_s"] for row in rows]) if rows else None
    size = f"{rows[0]['wire_bytes'] / 1e6:.0f} MB" if rows else ""
    note = f"{size} at 1 Gb/s; seconds beyond those of the bytes alone"
    others = machine_was_limit([row["others_share"] for row in rows])
    name = "from sync to playable over HTTP and RTSP"
    bench.judge(name, beyond, most=BEYOND_MOST_S, unit="s", note=note, invalid=others)


def plain_bits_per_s(port: int, published: Path) -> float:
    """What one HTTP client gets over the line."""
    files = sorted((each for each in published.rglob("*") if each.is_file()), key=lambda each: -each.stat().st_size)
    began, got = time.monotonic(), 0
    for file in files:
        url = f"http://{HOST}:{port}/{file.relative_to(published)}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            while piece := answer.read(1 << 20):
                got += len(piece)
        if got > PROBE_BYTES:
            break
    return got * 8 / (time.monotonic() - began)


def one(bench: Bench, port: int, repeat: int) -> None:
    """One new edge."""
    edge, log = bench.work / "edge-new", bench.work / "sync.log"
    row: dict[str, Any] = {"repeat": repeat, "others_share": busy_share()}
    with LineProcess(port, Shape(RATE_BITS_PER_S)) as line:
        row["plain_bits_per_s"] = plain_bits_per_s(line.port, Path(bench.library.published))
        line.reset()
        make_edge(bench.library, edge, f"http://{HOST}:{line.port}")
        with serving(edge, bench.work / "edge-new.log", on=tuple(CORES)) as running, log.open("wb") as words:
            began = time.monotonic()
            process = subprocess.Popen(
                [str(BIN / "edge-server"), "sync", "--dir", str(edge), "--json"],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                env=environment(),
                preexec_fn=pin(tuple(CORES)),
                start_new_session=True,
            )
            try:
                there = until(
                    lambda: (
                        plays(running, bench.library.item_id, bench.library.rtsp_path)
                        or process.poll() not in (None, 0)
                    ),
                    WITHIN_S,
                    EVERY_S,
                )
                row["seconds"] = time.monotonic() - began
                if not there or process.poll() not in (None, 0):
                    raise Broken(f"not playable within {WITHIN_S:.0f} s: {tail(log)}")
            finally:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                stop(process)
        count = line.stats()
        row |= {"wire_bytes": count.down, "line_cpu_s": count.cpu_s}
    row["bytes_alone_s"] = count.down * 8 / row["plain_bits_per_s"]
    row["beyond_s"] = row["seconds"] - row["bytes_alone_s"]
    bench.record(CELL, row)
    bench.say(f"  playable after {row['seconds']:.1f} s; the bytes alone take {row['bytes_alone_s']:.1f} s")
    shutil.rmtree(edge, ignore_errors=True)


def plays(edge: Edge, item_id: str, rtsp_path: str) -> bool:
    """Whether the first segment comes, whole, and RTSP describes the lesson."""
    start = f"/hls/{item_id}/fmp4/{RENDITION}/index.m3u8"
    try:
        listed = edge.get(start).decode()
        first = next(line for line in listed.splitlines() if line and line[0] != "#")
        return bool(edge.get(urljoin(start, first))) and described(edge.rtsp_port, rtsp_path)
    except (Broken, StopIteration, OSError):
        return False


def described(port: int, path: str) -> bool:
    """Whether DESCRIBE answers with a session description."""
    with socket.create_connection((HOST, port), timeout=5) as connection:
        url = f"rtsp://{HOST}:{port}{path}"
        connection.sendall(f"DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n".encode())
        answer = connection.recv(65536)
    return re.match(rb"RTSP/1.0 200 .*m=", answer, re.DOTALL) is not None
