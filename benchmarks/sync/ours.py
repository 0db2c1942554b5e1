"""Our own side: a publisher that makes two releases, nginx in front of its folder, an edge in a process of its own.

The programs' code is only touched in ``benchmarks.sync.adapter``; it runs in subprocesses, so that CPU and memory are
those of one side alone.
"""

from __future__ import annotations

import json
import sys

from benchmarks.sync.line import HOST
from benchmarks.sync.rivals import Job, Result, measured, same_tree
from benchmarks.sync.running import Ran, client, nginx

TOOL = "ours"


class Failed(RuntimeError):
    """Our own side did not do its work."""


def adapter(job: Job, *words: str) -> tuple[Ran, dict[str, float]]:
    """Run one command of the adapter; return how it ran and the JSON of its last line.

    Raises:
        Failed: it ended badly, or took too long.
    """
    ran = client([sys.executable, "-m", "benchmarks.sync.adapter", *words], job.work / f"{words[0]}.log", job.limit_s)
    if ran.code:
        raise Failed(f"{' '.join(words)} ended with {ran.code}:\n{ran.output}")
    return ran, json.loads(ran.output.strip().splitlines()[-1])


def ours(job: Job) -> Result:
    """Publish the old tree, bring an edge up to it, publish the new tree; then measure the pull."""
    result, central, edge = Result(TOOL, job.case), job.work / "central", job.work / "edge"
    site = central / "published"
    adapter(job, "publish", str(central), str(job.old))
    with nginx(site, job.work) as served:
        adapter(job, "pull", str(edge), str(central), f"http://{HOST}:{served.port}/")
        _, made = adapter(job, "publish", str(central), str(job.new))
        result.details.update({f"publish_{name}": value for name, value in made.items()})
        with measured(result, job, served.port, served) as line:
            ran, said = adapter(job, "pull", str(edge), str(central), f"http://{HOST}:{line.port}/")
            result.ran(ran)
    result.rss_bytes = int(said["rss_bytes"])
    out = job.work / "out"
    adapter(job, "export", str(edge), str(out))
    result.verified = same_tree(out, job.new)
    return result
