"""Beside the update cases: what the size of the library costs, how fast one core is, what a lesson of 2 GB needs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from benchmarks.sync.big import make_big
from benchmarks.sync.corpus import OLD_TIME_S, Corpus
from benchmarks.sync.line import HOST, Shape
from benchmarks.sync.ours import TOOL, Failed, adapter
from benchmarks.sync.rivals import Job, Result, measured, same_tree
from benchmarks.sync.running import Served, client, nginx, rsync_daemon

LIBRARY_FILES = (1_000, 300_000)
RSYNC_FILES = (1_000, 10_000)
LIMIT_S = 900.0


def job(work: Path, case: str, old: Path | None = None, new: Path | None = None) -> Job:
    """An empty folder to work in, a line without limits."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    return Job(case, old or work, new or work, Shape(), work, LIMIT_S)


def counted_pull(here: Job, served: Served, central: Path, edge: Path, seq: int) -> Result:
    """One pull through the line.

    Raises:
        Failed: the edge is not at ``seq`` afterwards.
    """
    result = Result(TOOL, here.case)
    with measured(result, here, served.port, served) as line:
        ran, said = adapter(here, "pull", str(edge), str(central), f"http://{HOST}:{line.port}/")
        result.ran(ran)
    result.rss_bytes = int(said["rss_bytes"])
    result.verified = said["seq"] == seq
    if not result.verified:
        raise Failed(f"{here.case}: the edge is at {said['seq']:.0f}, not at {seq}")
    return result


def library_size(work: Path, files: int) -> tuple[Result, Result]:
    """A pull with nothing new, and one of five changes, in a library of so many names."""
    here = job(work, f"{files} files")
    central, edge = work / "central", work / "edge"
    adapter(here, "invent", str(central), str(files))
    with nginx(central / "published", work) as served:
        counted_pull(here, served, central, edge, 1)
        poll = counted_pull(here, served, central, edge, 1)
        adapter(here, "change", str(central))
        return poll, counted_pull(here, served, central, edge, 2)


def rsync_list(work: Path, files: int) -> Result:
    """rsync with nothing new: empty files, so that only its list is seen."""
    from benchmarks.sync.adapter import invented_name

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


def big_lesson(corpus: Corpus, work: Path) -> tuple[Result, Result]:
    """An edge that gets a lesson of 2 GB, and then its new title."""
    old, new = make_big(corpus)
    here = job(work, "2 GB lesson", old, new)
    central, edge, out = work / "central", work / "edge", work / "out"
    adapter(here, "publish", str(central), str(old))
    with nginx(central / "published", work) as served:
        whole = counted_pull(here, served, central, edge, 1)
        adapter(here, "publish", str(central), str(new))
        edited = counted_pull(here, served, central, edge, 2)
    adapter(here, "export", str(edge), str(out))
    edited.verified = same_tree(out, new)
    return whole, edited
