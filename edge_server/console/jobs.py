"""What an operator starts and waits for: a USB import, a sync. One at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import structlog

OnProgress = Callable[[float], None]
Work = Callable[[OnProgress], Awaitable[str]]
"""Does it and returns what came of it, for people."""
Explain = Callable[[Exception], str | None]
"""Returns the words for a failure; None for a fault of this program."""
FAULT = "程序出错，详情见日志 / a fault of the program; see the log"
STICKS_MAX_COUNT = 32
LABEL_NAME = "bundle.json"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Job:
    """One of them."""

    kind: Literal["import", "sync"]
    title: str
    state: Literal["running", "done", "failed"] = "running"
    progress: float = 0.0
    words: str = ""


class Jobs:
    """A ``runtime.service.Service``."""

    def __init__(self, explain: Explain) -> None:
        """Nothing runs."""
        self.last: Job | None = None
        self._explain = explain
        self._wanted: asyncio.Queue[tuple[Job, Work]] = asyncio.Queue(1)

    @property
    def is_busy(self) -> bool:
        """Whether one is running."""
        return self.last is not None and self.last.state == "running"

    def start(self, job: Job, work: Work) -> bool:
        """Begin, unless another one is running."""
        if self.is_busy:
            return False
        self.last = job
        self._wanted.put_nowait((job, work))
        return True

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until cancelled."""
        ready()
        while True:
            job, work = await self._wanted.get()
            try:
                words = await work(self._progress)
                self.last = replace(job, state="done", progress=1.0, words=words)
            except Exception as error:  # whatever it is: the operator is told, and the edge goes on serving
                known = self._explain(error)
                if known is None:
                    log.exception("an operator's job failed", job=job.kind)
                self.last = replace(self.last or job, state="failed", words=known or FAULT)

    async def drain(self) -> None:
        """An import that is cut off is taken up again by the next one."""

    def _progress(self, fraction: float) -> None:
        if self.last is not None:
            self.last = replace(self.last, progress=max(self.last.progress, min(1.0, fraction)))


def sticks(places: Sequence[str]) -> list[Path]:
    """Return folders of removable disks that hold a bundle, two levels below these places at most. Blocking."""
    found: list[Path] = []
    for place in places:
        for pattern in ("*", "*/*"):
            try:
                for folder in sorted(Path(place).glob(pattern)):
                    if len(found) < STICKS_MAX_COUNT and not folder.is_symlink() and (folder / LABEL_NAME).is_file():
                        found.append(folder)
            except OSError:
                continue
    return found
