"""``edge-server sync`` and ``sync status``: bring what is new, tell how far it is and when it will be here."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_server.cli.common import JSON, ROOT, open_edge, refuse
from runtime.clock import SystemClock
from runtime.output import Output

if TYPE_CHECKING:
    from datetime import datetime


@click.group(invoke_without_command=True)
@ROOT
@JSON
@click.pass_context
def sync(context: click.Context, root: Path, as_json: bool) -> None:
    """从中心平台同步一次；status 看进度。 / Pull and switch, once; `sync status` tells how far it is."""
    if context.invoked_subcommand is not None:
        return
    out = Output(json=as_json)
    edge = open_edge(out, root)
    try:
        report = asyncio.run(edge.sync_once(out.progress("sync")))
    except Exception as error:
        raise refuse(out, error) from error
    out.emit("summary", **asdict(report))
    if not as_json:
        what = "有更新 / updated" if report.changed else "已是最新 / nothing new"
        out.say(f"{what}: {report.bytes_moved} 字节 / bytes, {report.requests} 次请求 / requests")
        if report.left_out:
            out.say(f"空间不够，{report.left_out} 个可淘汰文件未保存 / evictable files left out for want of room")


@sync.command()
@ROOT
@JSON
def status(root: Path, as_json: bool) -> None:
    """还差多少，何时能到齐。 / What is still missing and when it will be here; asks nobody, changes nothing."""
    from sync.pacing import forecast

    out = Output(json=as_json)
    edge = open_edge(out, root)
    standing, line = edge.standing(), edge.line()
    now = SystemClock().utc().astimezone(line.zone)
    arrives = forecast(standing.missing_bytes, line.windows, standing.measured_bps, now)
    for name, each in sorted(standing.channels.items()):
        out.emit("item", channel=name, **{key: getattr(each, key) for key in each.__struct_fields__})
        if not as_json:
            wait = f"，还差 / missing {each.missing_bytes / 1e6:,.1f} MB" if each.missing_bytes else ""
            out.say(f"{name}: {each.held_seq} → {each.coming_seq}{wait}")
    out.emit(
        "summary",
        missing_bytes=standing.missing_bytes,
        measured_bps=standing.measured_bps,
        arrives_at=arrives.isoformat(timespec="seconds") if arrives else None,
        succeeded_at=standing.succeeded_at.isoformat(timespec="seconds") if standing.succeeded_at else None,
        failure=standing.failure,
    )
    if not as_json:
        out.say(_words(standing.missing_bytes, standing.measured_bps, arrives))
        if standing.failure:
            out.say(f"上次同步失败 / the last sync failed: {standing.failure}")


def _words(missing_bytes: int, measured_bps: float | None, arrives: datetime | None) -> str:
    if not missing_bytes:
        return "已到齐 / everything is here"
    if measured_bps is None:
        return "线路速度还不知道，先同步一次 / the speed of the line is not known yet; sync once"
    speed = f"线路 / line {measured_bps / 1e6:.2f} Mb/s"
    if arrives is None:
        return f"{speed}；60 天内到不齐，请用 U 盘或放宽时段 / not here in 60 days: use a bundle or wider windows"
    return f"{speed}；预计到齐 / will be here by {arrives:%Y-%m-%d %H:%M}"
