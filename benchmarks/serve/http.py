"""Segments and ranges over HTTP, through the whole application, against nginx: same bytes, requests and client."""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from benchmarks.serve import wrk
from benchmarks.serve.bench import Bench
from benchmarks.serve.drain import Wanted
from benchmarks.serve.library import RENDITION, Edge
from benchmarks.serve.nginx import nginx
from benchmarks.serve.programs import HOST, Broken, client, descriptors, last_json, memory_bytes
from benchmarks.serve.verdicts import Spread, client_was_limit, geomean, others_were_limit, paired
from edge_server.bootstrap.edge import Edge as EdgeFolder
from edge_server.config import EdgeConfig
from runtime.clock import SystemClock

CELL = "http"
SIZES = {"64 KB": 65_536, "500 KB": 500_000, "2 MB": 2_000_000, "8 MB": 8_000_000}
SEGMENTS = "HLS"
CONNECTIONS = (32, 256)
PAGE_BYTES = 4096
PIECES = 32
"""Different ranges, or segments, that are asked for in turn."""
TICKETS = 8
"""Viewers whose links are asked for in turn: a cache of whole requests would be of little use in a village, too."""
CLIENTS = ("drain", "wrk")
CONTROL = "nginx again"
"""Against nginx: the noise of the machine. In every other repeat."""
GEOMEAN_MOST, CELL_MOST, RATE_LEAST = 1.05, 1.15, 0.95
CHECK_S = 120.0
LEFT_MOST_COUNT = 8.0
"""Descriptors: files that are kept open to be sent again are few here, since few are asked for."""
REST_S = 3.0
LONG_TIMES, LONG_BYTES = 2.5, 300_000_000
"""How much longer a cell is measured in which more than so much is asked for at once, and comes in lumps."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A server with the library behind it."""

    name: str
    pid: int
    port: int


def object_of(edge: Path, item_id: str, rendition: str) -> Path:
    """Where the edge keeps a rendition: what every server has to send, hashed when it came in.

    Raises:
        Broken: it does not have it.
    """
    view = EdgeFolder(edge, EdgeConfig(), SystemClock()).view()
    item = view.item(item_id)
    found = item.rendition(rendition) if item else None
    stored = view.file(found.path) if found else None
    if stored is None:
        raise Broken(f"the edge does not hold {rendition} of {item_id}")
    return stored.file


def ranges(paths: Sequence[str], file: Path, length: int) -> list[Wanted]:
    """Ranges of one length, spread over the file, by each of its paths.

    They begin at page boundaries, as files do: at other offsets nginx waits 40 ms at the end of short bodies on
    loopback, and that would flatter us.
    """
    step = (file.stat().st_size - length) // PIECES // PAGE_BYTES * PAGE_BYTES
    return [Wanted(path, 206, str(file), n * step, length, True) for path in paths for n in range(PIECES)]


def read_anew(files: Iterable[str]) -> None:
    """Let files lie in memory as after a reboot, brought there by reading.

    What was written in small pieces lies there in small pieces, and costs each `sendfile` a tenth more: nginx's copies
    of segments were written in one go, the edge's objects by sync.
    """
    for file in files:
        with Path(file).open("rb", buffering=0) as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while opened.read(1 << 20):
                pass


def ticket(edge: Edge, path: str) -> str:
    """Let the edge give out a link, as its pages do; return the prefix of media paths, empty when it needs none.

    Raises:
        Broken: it gives none out.
    """
    connection = http.client.HTTPConnection(HOST, edge.http_port, timeout=30)
    try:
        connection.request("GET", f"/play{path}")
        answer = connection.getresponse()
        answer.read()
    except OSError as error:
        raise Broken(f"no ticket: {error}") from error
    finally:
        connection.close()
    location = answer.getheader("Location", "")
    if answer.status != 302 or not location.endswith(path):
        raise Broken(f"no ticket: {answer.status} {location}")
    return location.removesuffix(path)


def segments(edge: Edge, prefixes: Sequence[str], item_id: str, root: Path) -> list[Wanted]:
    """The lesson's fMP4 segments as a player finds them; each is fetched once and put into nginx's folder.

    Raises:
        Broken: the edge offers none.
    """
    start = f"{prefixes[0]}/hls/{item_id}/fmp4/{RENDITION}/index.m3u8"
    names = [line for line in edge.get(start).decode().splitlines() if line and line[0] != "#"]
    if not names:
        raise Broken(f"no segments in {start}")
    found = []
    for name in names[:: max(1, len(names) // PIECES)][:PIECES]:
        path = urljoin(start, name).removeprefix(prefixes[0])
        copy = root / path.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(edge.get(prefixes[0] + path))
        found.append((path, copy))
    return [
        Wanted(prefix + path, 200, str(copy), 0, copy.stat().st_size, False)
        for prefix in prefixes
        for path, copy in found
    ]


def run(bench: Bench) -> None:
    """Measure all cells and judge."""
    with ExitStack() as stack:
        edge = stack.enter_context(bench.edge(**({"media_access": "ticket"} if bench.tickets else {})))
        media = bench.library.media_path
        prefixes = [ticket(edge, media) for _ in range(TICKETS)] if bench.tickets else [""]
        bench.about["tickets"] = TICKETS if bench.tickets else 0
        root = bench.work / "www"
        copy = root / media.lstrip("/")
        copy.parent.mkdir(parents=True)
        copy.hardlink_to(object_of(bench.edge_folder, bench.library.item_id, RENDITION))
        paths = [prefix + media for prefix in prefixes]
        kinds: dict[str, list[Wanted]] = {name: ranges(paths, copy, size) for name, size in SIZES.items()}
        try:
            kinds[SEGMENTS] = segments(edge, prefixes, bench.library.item_id, root)
        except Broken as error:
            bench.fault(f"HLS: {error}")
        for prefix in prefixes if bench.tickets else ():  # nginx looks at no ticket; it only gets the same paths
            (root / prefix.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            (root / prefix.lstrip("/")).symlink_to(root)
        contenders = [Contender("edge", edge.pid, edge.http_port)]
        for name in ("nginx", CONTROL) if bench.words.control else ("nginx",):
            started, port = stack.enter_context(nginx(root, bench.work / name.replace(" ", "-")))
            contenders.append(Contender(name, started.pid, port))
        bad = {kind for kind, wanted in kinds.items() for each in contenders if not check(bench, each, kind, wanted)}
        kinds = {kind: wanted for kind, wanted in kinds.items() if kind not in bad}
        read_anew({each.file for wanted in kinds.values() for each in wanted})
        before = at_rest(bench, edge, "before")
        connections = bench.words.connections or (CONNECTIONS[:1] if bench.quick else CONNECTIONS)
        chosen = {kind: wanted for kind, wanted in kinds.items() if not bench.words.sizes or kind in bench.words.sizes}
        clients = bench.words.clients or (("drain",) if bench.quick else CLIENTS)
        for kind, wanted in chosen.items():
            for count in connections:
                for tool in clients:
                    for repeat in range(bench.repeats):
                        for each in bench.order(contenders, repeat):
                            if each.name != CONTROL or repeat % 2 == 0:
                                one(bench, each, kind, wanted, count, tool, repeat)
                    say_cell(bench, kind, count, tool)
        time.sleep(REST_S)
        after = at_rest(bench, edge, "after")
    bench.judge("HTTP: descriptors that the load left open", float(after - before), most=LEFT_MOST_COUNT)
    for tool in clients:
        verdict(bench, tool)


def at_rest(bench: Bench, edge: Edge, when: str) -> int:
    """Note memory and descriptors of the edge while nobody asks; return the latter."""
    count = descriptors(edge.pid)
    bench.record("descriptors", {"when": when, "descriptors": count, "memory_mb": memory_bytes(edge.pid) / 1e6})
    return count


def check(bench: Bench, contender: Contender, kind: str, wanted: list[Wanted]) -> bool:
    """Fetch every range or segment on 4 connections and compare each byte with the file; tell whether all was right."""
    found = drain(bench, contender, wanted, 4, CHECK_S, checked=True)
    if found["faults"]:
        bench.fault(f"{contender.name}, {kind}: {len(found['faults'])} × {found['faults'][0]}")
    elif found["compared"] != 4 * len(wanted):
        bench.fault(f"{contender.name}, {kind}: {found['compared']} of {4 * len(wanted)} answers came")
    bench.record("http_checked", {"server": contender.name, "kind": kind, **found})
    return not found["faults"] and found["compared"] == 4 * len(wanted)


def drain(
    bench: Bench, contender: Contender, wanted: Sequence[Wanted], connections: int, seconds: float, *, checked: bool
) -> dict[str, Any]:
    """Run the checking client in a process of its own."""
    spec = bench.work / "drain.json"
    about = {"port": contender.port, "pid": contender.pid, "connections": connections, "seconds": seconds}
    spec.write_text(json.dumps({**about, "checked": checked, "wanted": [asdict(each) for each in wanted]}))
    out, _, _ = client([sys.executable, "-m", "benchmarks.serve.drain", str(spec)], within_s=seconds + 60)
    return last_json(out)


def one(
    bench: Bench, contender: Contender, kind: str, wanted: list[Wanted], connections: int, tool: str, repeat: int
) -> None:
    """One measurement of one server."""
    row: dict[str, Any] = {"server": contender.name, "kind": kind, "connections": connections, "client": tool}
    at_once = connections * max(each.length for each in wanted)
    seconds = bench.seconds * (LONG_TIMES if at_once > LONG_BYTES else 1.0)
    row |= {"repeat": repeat, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        with bench.watched(row, contender.pid):
            if tool == "wrk":
                found = wrk.run(wanted, contender.port, contender.pid, connections, seconds, bench.work)
            else:
                found = drain(bench, contender, wanted, connections, seconds, checked=False)
    except Broken as error:
        bench.fault(f"{contender.name}, {kind}, {connections} connections, {tool}: {error}")
        return
    if found["faults"]:
        words = f"{len(found['faults'])} × {found['faults'][0]}"
        bench.fault(f"{contender.name}, {kind}, {connections} connections, {tool}: {words}")
    if not found["octets"]:
        return
    row |= found | {
        "cpu_s_per_gb": found["server_cpu_s"] / (found["octets"] / 1e9),
        "gb_per_s": found["octets"] / 1e9 / found["seconds"],
        "requests_per_s": found["answers"] / found["seconds"],
        "server_busy": found["server_cpu_s"] / found["seconds"],
    }
    bench.record(CELL, row)


def column(
    rows: Sequence[dict[str, Any]], kind: str, connections: int, tool: str, field: str, servers: Sequence[str]
) -> list[list[float]]:
    """Values of one cell: for each server those of the repeats that all of them have. Pure."""
    cell = [row for row in rows if (row["kind"], row["connections"], row["client"]) == (kind, connections, tool)]
    by = [{row["repeat"]: row[field] for row in cell if row["server"] == server} for server in servers]
    shared = sorted(set.intersection(*(set(each) for each in by))) if by else []
    return [[each[repeat] for repeat in shared] for each in by]


def cells_of(rows: Sequence[dict[str, Any]], tool: str) -> list[tuple[str, int]]:
    """Cells that one client measured, in order."""
    return list(dict.fromkeys((row["kind"], row["connections"]) for row in rows if row["client"] == tool))


def ratio(rows: Sequence[dict[str, Any]], cell: tuple[str, int], tool: str, field: str, ours: str) -> Spread | None:
    """One server by nginx, repeat by repeat; None when there is no pair."""
    mine, theirs = column(rows, *cell, tool, field, (ours, "nginx"))
    return paired(mine, theirs) if mine else None


def limits(rows: Sequence[dict[str, Any]], cell: tuple[str, int], tool: str) -> str:
    """Say why req/s of a cell says nothing: the client, or others on the core, were the limit with one of the two."""
    for server in ("edge", "nginx"):
        mine = [row for row in rows if (row["kind"], row["connections"], row["client"]) == (*cell, tool)]
        mine = [row for row in mine if row["server"] == server]
        words = client_was_limit([row["client_busy"] for row in mine])
        words = words or others_were_limit([row["others"].get("server_core_others", 0.0) for row in mine])
        if words:
            return f"{words} with {server}"
    return ""


def say_cell(bench: Bench, kind: str, connections: int, tool: str) -> None:
    """One line for people."""
    rows = bench.results.get(CELL, [])
    cost = ratio(rows, (kind, connections), tool, "cpu_s_per_gb", "edge")
    rate = ratio(rows, (kind, connections), tool, "requests_per_s", "edge")
    if cost and rate:
        note = limits(rows, (kind, connections), tool)
        bench.say(
            f"{kind:>7} × {connections:<4} {tool:<6} CPU-s/GB ×{cost.median:.2f} [{cost.least:.2f}–{cost.most:.2f}]"
            f"  req/s ×{rate.median:.2f} {note}"
        )


def verdict(bench: Bench, tool: str) -> None:
    """Judge what one client saw."""
    rows = bench.results.get(CELL, [])
    cells = cells_of(rows, tool)
    costs = {cell: found for cell in cells if (found := ratio(rows, cell, tool, "cpu_s_per_gb", "edge"))}
    sized = {cell: found for cell, found in costs.items() if cell[0] != SEGMENTS}
    mean = geomean(each.median for each in sized.values()) if sized else None
    shares = [row["others"].get("server_core_others", 0.0) for row in rows if row["client"] == tool]
    noise = others_were_limit(shares)
    noise = f"noisy: {noise}" if noise else ""
    bench.judge(f"HTTP ranges, CPU-s/GB by nginx, geomean ({tool})", mean, most=GEOMEAN_MOST, note=noise)
    if costs:
        worst = max(costs, key=lambda cell: costs[cell].median)
        note = f"{worst[0]} × {worst[1]}" + (f"; {noise}" if noise else "")
        bench.judge(f"HTTP, CPU-s/GB by nginx, dearest cell ({tool})", costs[worst], most=CELL_MOST, note=note)
    rates = {cell: found for cell in cells if (found := ratio(rows, cell, tool, "requests_per_s", "edge"))}
    valid = {cell: found for cell, found in rates.items() if not limits(rows, cell, tool)}
    used = valid or rates
    bench.judge(
        f"HTTP, req/s by nginx, geomean ({tool})",
        geomean(each.median for each in used.values()) if used else None,
        least=RATE_LEAST,
        invalid="" if valid or not rates else "the client or others were the limit in every cell",
        note=f"{len(valid)} of {len(rates)} cells count",
    )
    again = [found for cell in cells if (found := ratio(rows, cell, tool, "cpu_s_per_gb", CONTROL))]
    if again:
        low, high = min(each.median for each in again), max(each.median for each in again)
        bench.about[f"noise_{tool}"] = f"nginx by itself: {low:.2f} to {high:.2f} (medians of {len(again)} cells)"
