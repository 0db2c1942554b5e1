"""Beside the update cases: what the size of the library costs, how fast one core is, what a lesson of 2 GB needs."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
from pathlib import Path

from benchmarks.sync.big import make_big
from benchmarks.sync.central import invented_name
from benchmarks.sync.corpus import OLD_TIME_S, Corpus, tree
from benchmarks.sync.line import HOST, Shape
from benchmarks.sync.ours import TOOL, Failed, central, counted_pull, edge
from benchmarks.sync.rivals import Job, Result, measured, same_tree
from benchmarks.sync.running import Served, client, nginx, rsync_daemon

LIBRARY_FILES = (1_000, 300_000)
RSYNC_FILES = (1_000, 10_000)
SPEED_EDGES = 5
LIMIT_S = 900.0


def job(work: Path, case: str, old: Path | None = None, new: Path | None = None) -> Job:
    """An empty folder to work in, a line without limits."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    return Job(case, old or work, new or work, Shape(), work, LIMIT_S)


def pull_to(here: Job, served: Served, home: Path, seq: int) -> Result:
    """One pull through the line.

    Raises:
        Failed: the edge is not at ``seq`` afterwards.
    """
    result = Result(TOOL, here.case)
    said = counted_pull(here, result, served, home, here.work / "edge")
    result.verified = said["seq"] == seq
    if not result.verified:
        raise Failed(f"{here.case}: the edge is at {said['seq']:.0f}, not at {seq}")
    return result


def library_size(work: Path, files: int) -> tuple[Result, Result]:
    """A pull with nothing new, and one of five changes, in a library of so many names."""
    here = job(work, f"{files} files")
    home = work / "central"
    central(here, "invent", str(home), str(files))
    with nginx(home / "published", work) as served:
        pull_to(here, served, home, 1)
        poll = pull_to(here, served, home, 1)
        central(here, "change", str(home))
        return poll, pull_to(here, served, home, 2)


def rsync_list(work: Path, files: int) -> Result:
    """rsync with nothing new: empty files, so that only its list is seen."""
    here = job(work, f"{files} files")
    result, trees = Result("rsync", here.case), (work / "old", work / "new")
    for folder in trees:
        for number in range(files):
            path = folder / invented_name(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (OLD_TIME_S, OLD_TIME_S))
    old, new = trees
    with rsync_daemon(new, work) as port:
        words = ["rsync", "-rt", "--delete", "--no-whole-file"]
        client([*words, f"rsync://{HOST}:{port}/new/", f"{old}/"], work / "client.log", LIMIT_S)  # times of folders
        with measured(result, here, port) as line:
            result.ran(client([*words, f"rsync://{HOST}:{line.port}/new/", f"{old}/"], work / "client.log", LIMIT_S))
    result.verified = result.note == ""
    return result


def speeds(corpus: Corpus, work: Path) -> dict[str, float]:
    """MB/s of one core, with lesson A.

    Raises:
        Failed: it did not work.
    """
    job(work, "speed")
    words = [sys.executable, "-m", "benchmarks.sync.speed", str(corpus.library / "video/lessonA.mp4")]
    ran = client(words, work / "speed.log", LIMIT_S)
    if ran.code:
        raise Failed(f"speed ended with {ran.code}:\n{ran.output}")
    found: dict[str, float] = json.loads(ran.output)
    return found


def edge_speed(corpus: Corpus, work: Path) -> float:
    """MB of lesson A by second of CPU that a title edit costs an edge beyond what a poll costs it.

    Medians of several edges, each brought to the old release first: one difference of two runs is mostly noise.
    """
    here = job(work, "speed of an edge", corpus.old("u1a"), corpus.new("u1a"))
    home, edges = work / "central", [str(work / f"edge{number}") for number in range(SPEED_EDGES)]
    central(here, "publish", str(home), str(here.old))
    with nginx(home / "published", work) as served:
        url = f"http://{HOST}:{served.port}/"

        def pulls() -> float:
            return statistics.median(edge(here, "pull", each, str(home), url)[0].cpu_s for each in edges)

        pulls()
        poll_s = pulls()
        central(here, "publish", str(home), str(here.new))
        edit_s = pulls()
    length = sum(path.stat().st_size for path in tree(here.new).values())
    return length / 1e6 / (edit_s - poll_s)


def big_lesson(corpus: Corpus, work: Path) -> tuple[Result, Result]:
    """An edge that gets a lesson of 2 GB, and then its new title."""
    old, new = make_big(corpus)
    here = job(work, "2 GB lesson", old, new)
    home, out = work / "central", work / "out"
    central(here, "publish", str(home), str(old))
    with nginx(home / "published", work) as served:
        whole = pull_to(here, served, home, 1)
        central(here, "publish", str(home), str(new))
        edited = pull_to(here, served, home, 2)
    edge(here, "export", str(work / "edge"), str(out))
    edited.verified = same_tree(out, new)
    return whole, edited
