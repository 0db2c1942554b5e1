"""Our own side: a publisher that makes two releases, nginx in front of its folder, an edge in a process of its own.

Our code is only touched in ``benchmarks.sync.central`` and ``benchmarks.sync.edge``; both run as processes of their
own, so that CPU and memory are those of one side alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.sync.line import HOST
from benchmarks.sync.rivals import Job, Result, measured, same_tree
from benchmarks.sync.running import Ran, Served, client, nginx

TOOL = "ours"


class Failed(RuntimeError):
    """Our own side did not do its work."""


def central(job: Job, *words: str) -> dict[str, float]:
    """Run one command of the publisher. Raises as ``_said``."""
    return _said(job, "central", *words)[1]


def edge(job: Job, *words: str) -> tuple[Ran, dict[str, float]]:
    """Run one command of the edge. Raises as ``_said``."""
    return _said(job, "edge", *words)


def _said(job: Job, side: str, *words: str) -> tuple[Ran, dict[str, float]]:
    """Run one command; return how it ran and the JSON of its last line.

    Raises:
        Failed: it ended badly, or took too long.
    """
    command = [sys.executable, "-m", f"benchmarks.sync.{side}", *words]
    ran = client(command, job.work / f"{words[0]}.log", job.limit_s)
    if ran.code:
        print(ran.output, file=sys.stderr, flush=True)
        said = next((line for line in reversed(ran.output.splitlines()) if ": " in line), "")
        raise Failed(f"{side} {words[0]} ended with {ran.code}: {said.strip(' |')[:300]}")
    return ran, json.loads(ran.output.strip().splitlines()[-1])


def ours(job: Job) -> Result:
    """Publish the old tree, bring an edge up to it, publish the new tree; then measure the pull."""
    result, home, here, out = Result(TOOL, job.case), job.work / "central", job.work / "edge", job.work / "out"
    central(job, "publish", str(home), str(job.old))
    with nginx(home / "published", job.work) as served:
        edge(job, "pull", str(here), str(home), f"http://{HOST}:{served.port}/")
        made = central(job, "publish", str(home), str(job.new))
        result.details.update({f"publish_{name}": value for name, value in made.items()})
        counted_pull(job, result, served, home, here)
    edge(job, "export", str(here), str(out))
    result.verified = same_tree(out, job.new)
    return result


def counted_pull(job: Job, result: Result, served: Served, home: Path, here: Path) -> dict[str, float]:
    """One pull through the line; returns what the edge said."""
    with measured(result, job, served.port, served) as line:
        ran, said = edge(job, "pull", str(here), str(home), f"http://{HOST}:{line.port}/")
        result.ran(ran)
    result.rss_bytes = int(said["rss_bytes"])
    return said
