"""``edge-server sync`` and ``sync status``: bring what is new, tell how far it is and when it will be here."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from edge_server.cli.common import ROOT, open_edge, refuse
from runtime.clock import SystemClock
from runtime.output import JSON, Output

if TYPE_CHECKING:
    from datetime import datetime

    from edge_server.uplink.standing import Standing


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
@click.pass_context
def status(context: click.Context, root: Path, as_json: bool) -> None:
    """还差多少，何时能到齐。 / What is still missing and when it will be here; asks nobody, changes nothing."""
    from edge_server.bootstrap.edge import briefly
    from sync.pacing import forecast

    above = context.parent
    assert above is not None, "a command of the group sync"
    if context.get_parameter_source("root") is ParameterSource.DEFAULT:
        root = above.params["root"]  # `sync --dir X status` is the same as `sync status --dir X`
    as_json = as_json or above.params["as_json"]
    out = Output(json=as_json)
    edge = open_edge(out, root)
    try:
        standing, line = edge.standing(), edge.line()
    except Exception as error:
        raise refuse(out, error) from error
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
        arrives_at=arrives.isoformat(timespec="seconds") if arrives and standing.missing_bytes else None,
        succeeded_at=standing.succeeded_at.isoformat(timespec="seconds") if standing.succeeded_at else None,
        failure=standing.failure,
    )
    if not as_json:
        out.say(_words(standing, arrives))
        if standing.succeeded_at:
            last = standing.succeeded_at.astimezone(line.zone)
            out.say(f"上次同步成功 / last synced: {last:%Y-%m-%d %H:%M}")
        if standing.failure:
            out.say(f"上次同步失败 / the last sync failed: {briefly(standing.failure)}")


def _words(standing: Standing, arrives: datetime | None) -> str:
    if not standing.channels:
        return "还没有同步过；运行 edge-server sync / never synced; run `edge-server sync`"
    if not standing.missing_bytes:
        if any(each.held_seq != each.coming_seq for each in standing.channels.values()):
            return "文件已到齐，尚未启用 / all files are here, but not in use yet"
        return "已到齐 / everything is here"
    if standing.measured_bps is None:
        return "线路速度还不知道，先同步一次 / the speed of the line is not known yet; sync once"
    speed = f"线路 / line {standing.measured_bps / 1e6:.2f} Mb/s"
    if arrives is None:
        return f"{speed}；60 天内到不齐，请用 U 盘或放宽时段 / not here in 60 days: use a bundle or wider windows"
    return f"{speed}；预计到齐 / will be here by {arrives:%Y-%m-%d %H:%M}"
