"""The other tools: each brings a copy of the old tree to the new one through the line; verified byte for byte."""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.sync.corpus import tree
from benchmarks.sync.line import HOST, Count, LineProcess, Shape
from benchmarks.sync.running import Ran, Served, client, nginx, rsync_daemon

RUNS_MAX = 200
"""How often a tool that stops at a cut is started again."""
PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Job:
    """One update, one line."""

    case: str
    old: Path
    new: Path
    shape: Shape
    work: Path
    """An empty folder, on the same file system as the corpus."""
    limit_s: float


@dataclass
class Result:
    """What one tool needed for one job. Bytes are those of ``line.Count``."""

    tool: str
    case: str
    wire: int = 0
    up: int = 0
    down: int = 0
    lost: int = 0
    rounds: int = 0
    connections: int = 0
    cuts: int = 0
    requests: int = 0
    body_bytes: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    rss_bytes: int = 0
    runs: int = 0
    line_cpu_share: float = 0.0
    verified: bool = False
    note: str = ""
    details: dict[str, float] = field(default_factory=dict)

    def counted(self, count: Count, wall_s: float) -> None:
        """Take over what the line says."""
        self.wire, self.up, self.down, self.lost = count.wire, count.up, count.down, count.lost
        self.rounds, self.connections, self.cuts = count.rounds, count.connections, count.cuts
        self.wall_s = wall_s
        self.line_cpu_share = count.cpu_s / wall_s if wall_s else 0.0

    def ran(self, ran: Ran) -> None:
        """Add one run of the client."""
        self.runs += 1
        self.cpu_s += ran.cpu_s
        self.rss_bytes = max(self.rss_bytes, ran.rss_bytes)
        if ran.code:
            self.note = f"ended with {ran.code}: {ran.output.strip()[-200:]}"

    def plain(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


@contextlib.contextmanager
def measured(result: Result, job: Job, port: int, served: Served | None = None) -> Iterator[LineProcess]:
    """Count and time a block."""
    with LineProcess(port, job.shape) as line:
        before = served.requests() if served else (0, 0)
        began = time.monotonic()
        yield line
        wall_s = time.monotonic() - began
        result.counted(line.stats(), wall_s)
        if served:
            after = served.requests()
            result.requests, result.body_bytes = after[0] - before[0], after[1] - before[1]


def again(result: Result, job: Job, command: list[str], done: Callable[[], bool] = lambda: True) -> bool:
    """Start a client until it ends well; tell whether it did so in time."""
    deadline = time.monotonic() + job.limit_s
    for _ in range(RUNS_MAX):
        ran = client(command, job.work / "client.log", deadline - time.monotonic())
        result.ran(ran)
        if ran.code == 0 and done():
            result.note = ""
            return True
        if time.monotonic() > deadline or not job.shape.cut_bytes:
            break
    return False


def same_tree(found: Path, wanted: Path) -> bool:
    """Tell whether two trees have the same names and bytes."""
    one, other = tree(found), tree(wanted)
    return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)


def same(one: Path, other: Path) -> bool:
    """Compare two files, never only their times and lengths."""
    return one.exists() and filecmp.cmp(one, other, shallow=False)


def sha256(path: Path) -> str:
    """Hash of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def changed(job: Job) -> list[tuple[str, Path, Path | None]]:
    """Files of the new tree whose bytes are not in the old one at that name: name, new, best old file.

    The best old file is that of the same name, else one with the same last part of its name: a tool that only takes
    one file at a time is told as much as a script could know.
    """
    old, last = tree(job.old), {}
    for path in old.values():
        last[path.name] = path
    found = []
    for name, path in tree(job.new).items():
        before = old.get(name)
        if before is None or not (before.samefile(path) or same(before, path)):
            found.append((name, path, before or last.get(path.name)))
    return found


def rsync(job: Job, *options: str, tool: str = "rsync") -> Result:
    """rsync over its own daemon."""
    result, edge = Result(tool, job.case), job.work / "edge"
    shutil.copytree(job.old, edge)
    words = ["rsync", "-rt", "--delete", "--no-whole-file", "--timeout=60", *options]
    with rsync_daemon(job.new, job.work) as port, measured(result, job, port) as line:
        again(result, job, [*words, f"rsync://{HOST}:{line.port}/new/", f"{edge}/"])
    shutil.rmtree(edge / ".rsync-partial", ignore_errors=True)
    result.verified = same_tree(edge, job.new)
    return result


def rsync_partial(job: Job) -> Result:
    """rsync that keeps what a cut left in a folder of its own."""
    return rsync(job, "--partial-dir=.rsync-partial", tool="rsync --partial-dir")


def rsync_inplace(job: Job) -> Result:
    """rsync that writes into the old file."""
    return rsync(job, "--inplace", tool="rsync --inplace")


def zsync(job: Job) -> Result:
    """zsync, once for each changed file; it is told which those are."""
    result, edge, site = Result("zsync", job.case), job.work / "edge", job.work / "site"
    edge.mkdir()
    site.mkdir()
    wanted = changed(job)
    for i, (_, new, _) in enumerate(wanted):
        os.link(new, site / f"f{i}.bin")
        make = ["zsyncmake", "-u", f"f{i}.bin", "-o", str(site / f"f{i}.zsync"), str(site / f"f{i}.bin")]
        made = client(make, job.work / "make.log", job.limit_s)
        result.details["make_cpu_s"] = result.details.get("make_cpu_s", 0.0) + made.cpu_s
    whole = True
    with nginx(site, job.work) as served, measured(result, job, served.port, served) as line:
        for i, (_, _, old) in enumerate(wanted):
            target, seed = edge / f"f{i}.bin", ["-i", str(old)] if old else []
            url = f"http://{HOST}:{line.port}/f{i}.zsync"
            whole &= again(result, job, ["zsync", "-q", *seed, "-o", str(target), url], target.exists)
    result.verified = whole and all(same(edge / f"f{i}.bin", new) for i, (_, new, _) in enumerate(wanted))
    return result


def casync(job: Job) -> Result:
    """casync with the old tree as seed."""
    result, edge, site = Result("casync", job.case), job.work / "edge", job.work / "site"
    site.mkdir()
    make = ["casync", "make", "--without=all", f"--store={site}/s.castr", f"{site}/new.caidx", str(job.new)]
    result.details["make_cpu_s"] = client(make, job.work / "make.log", job.limit_s).cpu_s
    with nginx(site, job.work) as served, measured(result, job, served.port, served) as line:
        base = f"http://{HOST}:{line.port}"
        words = ["casync", "extract", "--without=all", f"--seed={job.old}", f"--store={base}/s.castr"]
        words += ["--seed-output=yes"] if job.shape.cut_bytes else []
        again(result, job, [*words, f"{base}/new.caidx", str(edge)])
    result.verified = same_tree(edge, job.new)
    return result


def whole_files(job: Job) -> Result:
    """Whole files by hash, as Kolibri does it: what the old tree has under any name is not fetched."""
    result, edge, site = Result("whole files", job.case), job.work / "edge", job.work / "site"
    edge.mkdir()
    site.mkdir()
    have = {sha256(path) for path in tree(job.old).values()}
    wanted = [new for _, new, _ in changed(job) if sha256(new) not in have]
    for i, new in enumerate(wanted):
        os.link(new, site / f"f{i}.bin")
    with nginx(site, job.work) as served, measured(result, job, served.port, served) as line:
        deadline = time.monotonic() + job.limit_s
        for _ in range(RUNS_MAX):
            words = ["curl", "-q", "-s", "-f", "--fail-early", "-C", "-"]
            for i, new in enumerate(wanted):
                target = edge / f"f{i}.bin"
                if not target.exists() or target.stat().st_size < new.stat().st_size:
                    words += ["-o", str(target), f"http://{HOST}:{line.port}/f{i}.bin"]
            if len(words) == 7 or time.monotonic() > deadline:
                break
            result.ran(client(words, job.work / "client.log", deadline - time.monotonic()))
    result.verified = all(same(edge / f"f{i}.bin", new) for i, new in enumerate(wanted))
    result.note = "" if result.verified else result.note
    return result


RIVALS: dict[str, Callable[[Job], Result]] = {
    "rsync": rsync,
    "zsync": zsync,
    "casync": casync,
    "whole files": whole_files,
}
CUT_RIVALS: dict[str, Callable[[Job], Result]] = {
    "rsync --partial-dir": rsync_partial,
    "rsync --inplace": rsync_inplace,
    "zsync": zsync,
    "casync": casync,
    "whole files": whole_files,
}
"""On a line that is cut."""
