"""What a run says at its end: lines for people, a summary for programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from runtime.output import Output
from stb_emulator.boxes import Box
from stb_emulator.lab.actions import Outcome
from stb_emulator.lab.parity import Parity
from stb_emulator.lab.report import print_table
from stb_emulator.lab.rounds import Results
from stb_emulator.observe import Observation

TABLE_WIDTH = 160
"""Columns of the table when it is not written to a terminal."""


def print_matrix(found: Results, boxes: Mapping[str, Box]) -> None:
    """Print the matrix for people."""
    console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)
    print_table(found.rows, boxes, found.parity, console, found.outcomes)


def say_row(out: Output, row: Observation) -> None:
    """Say in words what one box saw of one lesson."""
    verdict = "播放成功 played" if row.ok else f"未能播放 failed at {row.stage}: {row.reason}"
    out.say(f"{row.box} {row.title or row.lesson}: {verdict}")
    out.say(
        f"  {row.transport} {row.video} {row.audio}, {row.played_s:.2f} s, {row.frames} 帧 frames, "
        f"启动 start {row.startup_ms} ms, 卡顿 stalls {row.stalls}, 丢包 lost {row.lost}"
    )
    for warning in row.warnings:
        out.say(f"  {warning}")


def sum_up(
    out: Output, rows: Sequence[Observation], parity: Parity | None = None, outcomes: Sequence[Outcome] = ()
) -> bool:
    """Write the summary; return whether nothing is wrong."""
    passed = sum(r.ok for r in rows)
    agreed: dict[str, Any] = {}
    if parity is not None:
        agreed = {"parity_gap": parity.gap, "differences": len(parity.differences)}
    if outcomes:
        verdicts = [str(each.verdict) for each in outcomes]
        agreed["actions"] = {each: verdicts.count(each) for each in dict.fromkeys(verdicts)}
    ok = passed == len(rows) and (parity is None or parity.ok) and all(each.ok for each in outcomes)
    out.emit("summary", ok=ok, rows=len(rows), passed=passed, failed=len(rows) - passed, **agreed)
    return ok
