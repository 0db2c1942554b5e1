"""Sync against its rivals in one run; see ``docs/benchmarks.md``.

    python -m benchmarks.sync [--small] [--cases u1a,u5] [--tools ours,zsync] [--no-shaped] [--no-scale] [--big]

Writes ``result.json`` and ``result.md``, prints the latter. Ends with 0, with 99 when a target is missed, with 1 when
the run is invalid: a result that is not the new tree, or a line that was the limit itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.sync import corpus as corpora
from benchmarks.sync.corpus import Corpus
from benchmarks.sync.extras import LIBRARY_FILES, RSYNC_FILES, big_lesson, edge_speed, library_size, rsync_list, speeds
from benchmarks.sync.floor import floor
from benchmarks.sync.line import HOST, LineProcess, Shape
from benchmarks.sync.ours import TOOL, Failed, ours
from benchmarks.sync.rivals import CUT_RIVALS, RIVALS, Job, Result
from benchmarks.sync.running import client, nginx, versions
from benchmarks.sync.table import report, size
from benchmarks.sync.targets import LINKS, Link, Measured, Target, judge
from benchmarks.sync.updates import CASES

MISSED, INVALID = 99, 1
REPOSITORY = Path(__file__).resolve().parents[2]
FREE_LIMIT_S = 300.0
LINK_LIMIT_S = 420.0
"""A tool that has not finished on a shaped line by then is said not to finish."""
LINE_CPU_MAX = 0.8
"""Share of a core above which the line itself was the limit."""
RATE_MIN = 0.95
PROBE_BYTES = 4_000_000


class Invalid(RuntimeError):
    """The numbers of this run mean nothing."""


class Run:
    """One run: the corpus, what was chosen, what was measured."""

    def __init__(self, words: argparse.Namespace) -> None:
        self.folder: Path = words.dir.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.corpus: Corpus = corpora.ready(self.folder, corpora.SMALL if words.small else corpora.FULL)
        self.is_small: bool = words.small
        self.tools: list[str] = words.tools.split(",") if words.tools else []
        self.cases: list[str] = words.cases.split(",") if words.cases else list(CASES)
        self.links = [link for link in LINKS if link.case in self.cases] if words.shaped else []
        self.measured = Measured()
        self.problems: list[str] = []

    def chosen(self, tools: dict[str, Callable[[Job], Result]]) -> dict[str, Callable[[Job], Result]]:
        """The tools that were asked for; a variant of a tool belongs to it."""
        every = {TOOL: ours, **tools}
        return {
            name: run for name, run in every.items() if not self.tools or {name, name.split(" --")[0]} & {*self.tools}
        }

    def job(self, case: str, shape: Shape, limit_s: float) -> Job:
        """A job with an empty folder to work in."""
        work = self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        return Job(case, self.corpus.old(case), self.corpus.new(case), shape, work, limit_s)

    def one(self, what: str, name: str, tool: Callable[[Job], Result], job: Job) -> Result:
        """Run one tool and say so."""
        try:
            result = tool(job)
        except Failed as error:
            result = Result(name, job.case, note=str(error))
        state = "" if result.verified else f"  NOT the new tree: {result.note}"
        words = f"{what:<36} {result.tool:<20} {size(result.wire):>10}  {result.rounds:>4} turns {result.wall_s:8.2f} s"
        print(words + state, flush=True)
        if not result.verified and (name == TOOL or not job.shape.cut_bytes):
            self.problems.append(f"{what}, {result.tool}: not the new tree: {result.note}")
        return result

    def free_lines(self) -> None:
        """Bytes, turns and CPU on a line that neither delays nor limits."""
        for case in self.cases:
            self.measured.floors[case] = floor(self.corpus.old(case), self.corpus.new(case))
            for name, tool in self.chosen(RIVALS).items():
                result = self.one(f"{case} ({CASES[case]})", name, tool, self.job(case, Shape(), FREE_LIMIT_S))
                self.measured.free.setdefault(case, {})[name] = result

    def shaped_lines(self) -> None:
        """Time, and bytes when the line is cut."""
        for link in self.links:
            shape = Shape(link.rate_bits_per_s, link.rtt_s, link.cut_bytes)
            self.check_rate(link)
            for name, tool in self.chosen(CUT_RIVALS if link.cut_bytes else RIVALS).items():
                if link.only and name not in link.only:
                    continue
                result = self.one(link.name, name, tool, self.job(link.case, shape, LINK_LIMIT_S))
                self.measured.links.setdefault(link.name, {})[name] = result
                if result.line_cpu_share > LINE_CPU_MAX:
                    raise Invalid(f"{link.name}, {name}: the line used {result.line_cpu_share:.0%} of a core")

    def check_rate(self, link: Link) -> None:
        """Check that curl gets the rate that was set.

        Raises:
            Invalid: it does not; the machine is too busy.
        """
        work = self.job(link.case, Shape(), 0).work
        (work / "probe").write_bytes(b"\xa5" * PROBE_BYTES)
        shape = Shape(link.rate_bits_per_s, link.rtt_s)
        with nginx(work, work) as served, LineProcess(served.port, shape) as line:
            url = f"http://{HOST}:{line.port}/probe"
            ran = client(["curl", "-q", "-sf", "-o", "/dev/null", url], work / "client.log", LINK_LIMIT_S)
        wall_s = ran.wall_s - 2 * link.rtt_s
        if ran.code or PROBE_BYTES * 8 / wall_s < RATE_MIN * link.rate_bits_per_s:
            raise Invalid(f"{link.name}: curl got {PROBE_BYTES * 8 / wall_s / 1e6:.2f} Mb/s; the machine is too busy")

    def beside(self, *, scale: bool, big: bool) -> None:
        """Library size, speed, memory."""
        work, asked = self.folder / "work", not self.tools or TOOL in self.tools
        if scale and asked:
            for files in LIBRARY_FILES:
                self.measured.polls[files], self.measured.changes[files] = library_size(work, files)
                print(f"{files:,} files: poll {size(self.measured.polls[files].wire)}, ", end="")
                print(f"5 changes {size(self.measured.changes[files].wire)}", flush=True)
        if scale and (not self.tools or "rsync" in self.tools):
            for files in RSYNC_FILES:
                self.measured.rsync_polls[files] = rsync_list(work, files)
                print(f"{files:,} files: rsync {size(self.measured.rsync_polls[files].wire)}", flush=True)
        if asked:
            found = speeds(self.corpus, work)
            self.measured.encode_mb_per_s = found["encode_mb_per_s"]
            self.measured.rebuild_mb_per_s = found["rebuild_mb_per_s"]
            if not self.is_small:  # a short lesson costs less than the noise
                self.measured.edge_mb_per_s = edge_speed(self.corpus, work)
        if big and asked:
            self.measured.big["whole"], self.measured.big["new title"] = big_lesson(self.corpus, work)

    def about(self) -> dict[str, object]:
        """Where and when."""
        length = sum(
            entry[0] for entry in json.loads((self.corpus.folder / "corpus.json").read_text())["files"].values()
        )
        return {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "machine": f"{os.cpu_count()} × {processor()}, {platform.system()} {platform.release()}",
            "corpus": f"{self.corpus.scale.name}, {length / 1e9:.2f} GB with links counted as files",
            "versions": versions(),
        }


def processor() -> str:
    """Name of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def plain(measured: Measured, targets: Iterable[Target]) -> dict[str, object]:
    """For JSON."""
    return {
        "floors": {case: {**asdict(each), "total": each.total} for case, each in measured.floors.items()},
        "free": {case: {name: r.plain() for name, r in results.items()} for case, results in measured.free.items()},
        "links": {link: {name: r.plain() for name, r in results.items()} for link, results in measured.links.items()},
        "polls": {str(files): r.plain() for files, r in measured.polls.items()},
        "changes": {str(files): r.plain() for files, r in measured.changes.items()},
        "rsync_polls": {str(files): r.plain() for files, r in measured.rsync_polls.items()},
        "encode_mb_per_s": measured.encode_mb_per_s,
        "rebuild_mb_per_s": measured.rebuild_mb_per_s,
        "edge_mb_per_s": measured.edge_mb_per_s,
        "big": {what: r.plain() for what, r in measured.big.items()},
        "targets": [{**asdict(target), "met": target.met} for target in targets],
    }


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sync", description=__doc__)
    parser.add_argument("--dir", type=Path, default=REPOSITORY / ".bench/sync", help="corpus and results")
    parser.add_argument("--small", action="store_true", help="an eighth of everything; targets are then only shown")
    parser.add_argument("--cases", help=f"of {','.join(CASES)}")
    parser.add_argument("--tools", help=f"of {TOOL},{','.join(RIVALS)}")
    parser.add_argument("--shaped", action=argparse.BooleanOptionalAction, default=True, help="slow and cut lines")
    parser.add_argument("--scale", action=argparse.BooleanOptionalAction, default=True, help="300,000 files")
    parser.add_argument("--big", action="store_true", help="a lesson of 2 GB: minutes, and 12 GB of disk")
    return parser.parse_args()


def main() -> int:
    """Measure, judge, report."""
    words = arguments()
    missing = [name for name in ("ffmpeg", "nginx", "rsync", "zsync", "casync", "curl") if shutil.which(name) is None]
    if missing:
        print(f"not installed: {', '.join(missing)}", file=sys.stderr)
        return INVALID
    run = Run(words)
    try:
        run.free_lines()
        run.beside(scale=words.scale, big=words.big)
        run.shaped_lines()
    except (Invalid, Failed) as error:
        run.problems.append(str(error))
    shutil.rmtree(run.folder / "work", ignore_errors=True)
    targets = judge(run.measured)
    about = run.about()
    missed = [target for target in targets if not target.met]
    (run.folder / "result.json").write_text(
        json.dumps({**about, "problems": run.problems, **plain(run.measured, targets)}, indent=1)
    )
    if run.problems:
        print("\nINVALID run, no table:\n" + "\n".join(run.problems), file=sys.stderr)
        return INVALID
    text = report(run.measured, targets, about)
    (run.folder / "result.md").write_text(text)
    print("\n" + text)
    for target in missed:
        print(f"missed: {target.name}: {target.measured:.4g} {target.unit}, target {target.limit:.4g}", file=sys.stderr)
    return MISSED if missed and not words.small else 0


if __name__ == "__main__":
    sys.exit(main())
