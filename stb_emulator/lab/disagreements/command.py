"""The command ``stb-emulator disagreements``: which rows, on which edge, and what is said of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from runtime.output import Exit, Output
from stb_emulator.boxes import Box
from stb_emulator.lab.disagreements.report import document, print_table
from stb_emulator.lab.disagreements.running import prepare, run
from stb_emulator.lab.disagreements.table import ROWS
from stb_emulator.lab.disagreements.told import Result, Row, Status
from stb_emulator.lab.disagreements.trying import Lab
from stb_emulator.observe import PlayError, Unreachable
from stb_emulator.seat import Seat

ON_THE_BOX = frozenset(("D13",))
"""Rows whose tolerance is the box's."""
TABLE_WIDTH = 150


def try_rows(
    out: Output,
    seat: Seat,
    boxes: Mapping[str, Box],
    *,
    names: str,
    item: str,
    crowded: Sequence[str],
    group: str,
    strict: str,
    no_play: bool,
    concurrency: int,
    junit_file: Path | None,
    **_: Any,
) -> Exit:
    """Try the rows and say what came of it.

    Raises:
        click.UsageError: no such row.
    """
    rows = chosen(names)
    switched = frozenset(_named(strict))
    if unknown := switched - ON_THE_BOX:
        raise click.UsageError(
            f"--strict {', '.join(sorted(unknown))}: the box can be made strict for {', '.join(ON_THE_BOX)} only; "
            "the others are switched off on the edge (setting `intolerant`)"
        )
    lab = Lab(seat, boxes, plays=not no_play, strict=switched, crowded=tuple(crowded), group=group, item_id=item)

    async def all_rows() -> list[Result]:
        def told(result: Result) -> None:
            out.emit("item", **msgspec.to_builtins(result))

        return await run(await prepare(lab), rows, concurrency=concurrency, on_result=told)

    try:
        results = asyncio.run(all_rows())
    except Unreachable as failure:
        raise out.fail(Exit.UNREACHABLE, "unreachable", str(failure.reason)) from failure
    except PlayError as failure:
        words = f"最普通的盒子也不行 / not even the plain box can: {failure.stage}: {failure.reason}"
        raise out.fail(Exit.FAILED, "plain_box", words) from failure
    if junit_file is not None:
        junit_file.write_text(document(results), encoding="utf-8")
    if not out.json:
        print_table(results, Console(width=None if sys.stdout.isatty() else TABLE_WIDTH))
    counts = {str(status): sum(each.status is status for each in results) for status in Status}
    out.emit("summary", ok=not counts["red"], **counts)
    if counts["red"]:
        return Exit.FAILED
    return Exit.PARTIAL if counts["not_shown"] else Exit.OK


def chosen(names: str) -> Sequence[Row]:
    """Return the rows of that name, all when none is named.

    Raises:
        click.UsageError: no such row.
    """
    wanted = _named(names)
    known = {row.name: row for row in ROWS}
    for each in wanted:
        if each not in known:
            raise click.UsageError(f"no row is called {each!r}; there are: {', '.join(known)}")
    return [row for row in ROWS if not wanted or row.name in wanted]


def _named(names: str) -> list[str]:
    return [each.strip().upper() for each in names.split(",") if each.strip()]
