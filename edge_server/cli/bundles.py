"""``edge-server bundle``: take in what comes on a USB stick."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path

import click
import structlog

from edge_server.cli.common import ROOT, open_edge
from runtime.output import JSON, Exit, Output

log = structlog.get_logger()


@click.group()
def bundle() -> None:
    """U 盘同步包。 / Bundles on USB sticks."""


@bundle.command("import")
@click.argument("stick", metavar="PATH", type=click.Path(path_type=Path, exists=True, file_okay=False))
@ROOT
@JSON
def import_(stick: Path, root: Path, as_json: bool) -> None:
    """导入一个 U 盘；多个依次导入，顺序不限。 / Take in one stick; several in any order."""
    from edge_server.bootstrap.failures import explain_stick
    from edge_server.bootstrap.sticks import import_stick

    out = Output(json=as_json)
    edge = open_edge(out, root)
    try:
        report = asyncio.run(import_stick(edge, stick, out.progress("bundle")))
    except Exception as error:
        known = explain_stick(error)
        if known is None:
            raise
        log.warning("bundle refused", stick=str(stick), reason=known.reason, error=str(error))
        raise out.fail(known.exit_code, known.reason, known.words) from error
    if report.warning:
        out.say(report.warning)
    if report.missing_bytes:
        sticks = "、".join(str(number) for number in report.next_parts)
        raise out.fail(
            Exit.PARTIAL,
            "more_sticks",
            f"第 {report.part}/{report.parts} 个 U 盘已导入，请插入第 {sticks} 个 / stick {report.part} of "
            f"{report.parts} is taken in; insert number {sticks} ({report.missing_bytes / 1e6:,.1f} MB are missing)",
            **asdict(report),
        )
    out.emit("summary", **asdict(report))
    if not as_json:
        what = "导入完成，课件已更新 / imported, lessons updated" if report.changed else "没有新内容 / nothing new"
        out.say(f"{what}；U 盘请带回中心 / take the stick back to the centre")
