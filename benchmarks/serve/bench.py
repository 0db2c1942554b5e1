"""What all cells of a run share: folders, words, results as they come, verdicts, faults."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.serve.library import Edge, Library, make_edge, ready, serving, sync
from benchmarks.serve.machine import Watch
from benchmarks.serve.verdicts import Spread, State, Verdict, judge

T = TypeVar("T")


class Bench:
    """One run."""

    def __init__(self, words: argparse.Namespace) -> None:
        self.folder: Path = words.dir.resolve()
        self.work = self.folder / "work"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.quick: bool = words.quick
        self.repeats: int = words.repeats or (2 if words.quick else 5)
        self.seconds: float = words.seconds or 1.0
        self.tickets: bool = words.tickets
        self.words = words
        self.results: dict[str, Any] = {}
        self.verdicts: list[Verdict] = []
        self.faults: list[str] = []
        self.about: dict[str, Any] = {}
        self._library: Library | None = None
        self._edge: Path | None = None

    @property
    def library(self) -> Library:
        """The published library; made at the first use.

        Raises:
            Broken: it cannot be made.
        """
        if self._library is None:
            self._library = ready(self.folder)
        return self._library

    @property
    def edge_folder(self) -> Path:
        """An edge that has synced the library in this run.

        Raises:
            Broken: a command fails.
        """
        if self._edge is None:
            edge = self.folder / "edge"
            make_edge(self.library, edge)
            sync(edge)
            self._edge = edge
        return self._edge

    @contextmanager
    def edge(self, **settings: str) -> Iterator[Edge]:
        """Serve the library for a block.

        Raises:
            Broken: the edge does not start.
        """
        env = {f"EDGE_SERVER_{name.upper()}": value for name, value in settings.items()}
        with serving(self.edge_folder, self.work / "edge.log", env=env) as edge:
            yield edge

    def say(self, text: str) -> None:
        """Tell how far it is."""
        print(text, flush=True)

    def order(self, contenders: Sequence[T], repeat: int) -> Sequence[T]:
        """The order of a repeat: to and fro."""
        return contenders if repeat % 2 == 0 else tuple(reversed(contenders))

    def record(self, cell: str, row: dict[str, Any]) -> None:
        """Keep one measurement, on disk too: a run that is cut short has said all that it knew."""
        self.results.setdefault(cell, []).append(row)
        self.save()

    def judge(self, name: str, value: float | Spread | None, **more: Any) -> None:
        """Judge a target and say so."""
        verdict = judge(name, value, **more)
        self.verdicts.append(verdict)
        number = "–" if verdict.value is None else f"{verdict.value:.4g} {verdict.unit}".strip()
        sign = "≥" if verdict.at_least else "≤"
        self.say(f"  {verdict.state.value.upper():>12}  {name}: {number} ({sign} {verdict.limit:g}) {verdict.note}")
        self.save()

    def fault(self, text: str) -> None:
        """Note that something was wrong: bytes, packets, a program."""
        self.faults.append(text)
        self.say(f"  WRONG  {text}")
        self.save()

    @contextmanager
    def watched(self, row: dict[str, Any], pid: int = 0) -> Iterator[None]:
        """Note in a row what others did to the machine meanwhile."""
        watch = Watch(pid)
        yield
        row["others"] = watch.others()

    def save(self) -> None:
        """Write all that is known."""
        draft = self.folder / "result.part"
        draft.write_text(json.dumps(self.plain(), indent=1, ensure_ascii=False))
        draft.replace(self.folder / "result.json")

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        verdicts = [{**asdict(verdict), "state": verdict.state.value} for verdict in self.verdicts]
        return {"about": self.about, "verdicts": verdicts, "faults": self.faults, "results": self.results}

    def met(self) -> bool:
        """Whether every target was met."""
        return all(verdict.state is State.MET for verdict in self.verdicts)


Cell = Callable[[Bench], None]


def until(condition: Callable[[], bool], within_s: float, every_s: float = 0.02) -> bool:
    """Wait for something; False when it did not come."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def as_root() -> bool:
    """Whether we may do what only root may."""
    return os.geteuid() == 0
