"""``edge-server``: makes an edge folder, syncs it, serves every box, looks after the accounts of boxes."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from pathlib import Path
from typing import Any

import click

from edge_server.cli.accounts import account
from edge_server.cli.boxes import box
from edge_server.cli.bundles import bundle
from edge_server.cli.common import ROOT, open_edge, read_config, refuse
from edge_server.cli.operator import operator
from edge_server.cli.records import records
from edge_server.cli.syncing import sync
from edge_server.config import FILE_NAME
from runtime.log import log_to_stderr
from runtime.memory import give_back_large_buffers
from runtime.output import JSON, Exit, Output


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rural-media-edge")
def main() -> None:
    """边缘服务器：保存并播放课件，断网照常服务。 / Edge server: keeps and streams courseware, line or no line."""
    give_back_large_buffers()
    log_to_stderr("edge_server", "info")


@main.command()
@click.argument("root", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--central", required=True, help="中心平台地址或目录 / base URL (http…) or folder to sync from.")
@click.option(
    "--trust",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="信任根文件，由中心平台 init 生成 / trust anchor made by `central-platform init`, brought by a trusted way.",
)
@click.option(
    "--id", "edge_id", help="本机名称，1–64 个 a-z 0-9 _ -；缺省随机 / name of this edge; random if not given."
)
@JSON
def init(root: Path, central: str, trust: Path, edge_id: str | None, as_json: bool) -> None:
    """新建边缘服务器目录。 / Make an edge server folder."""
    from edge_server.bootstrap.edge import TRUST_ANCHOR
    from sync import Corrupt
    from sync.ids import check_channel

    out = Output(json=as_json)
    if (root / FILE_NAME).exists():
        raise out.fail(Exit.FAILED, "exists", f"{root} 已存在，未作改动 / already an edge server; nothing was changed")
    if '"' in central or "\n" in central or "\\" in central:
        raise out.fail(Exit.USAGE, "bad_address", f"地址无效 / not an address: {central!r}")
    try:
        edge_id = check_channel(edge_id or f"edge-{secrets.token_hex(4)}")
    except Corrupt as error:
        raise out.fail(Exit.USAGE, "bad_id", f"名称无效 / not a name for an edge: {error}") from error
    anchor = root / TRUST_ANCHOR
    anchor.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(trust, anchor)
    (root / FILE_NAME).write_text(f'central = "{central}"\nedge_id = "{edge_id}"\n', encoding="utf-8")
    out.emit("summary", root=str(root), central=central, edge_id=edge_id)
    if not as_json:
        out.say(f"已建立 / made: {root}\n下一步 / next: edge-server sync --dir {root}")


@main.command()
@ROOT
@click.option("--host", help="监听地址 / address to listen on.")
@click.option("--http-port", type=int, help="HTTP 端口，0 为任意空闲端口 / 0 takes a free one.")
@click.option("--rtsp-port", type=int, help="RTSP 端口，0 为任意空闲端口 / 0 takes a free one.")
@click.option("--poll-s", type=float, help="自动同步间隔（秒）/ seconds between two syncs; 0 for none.")
@JSON
def serve(root: Path, as_json: bool, **flags: Any) -> None:
    """为新老机顶盒提供服务。 / Serve every box until SIGTERM or Ctrl-C."""
    from edge_server.bootstrap.console import add_console
    from edge_server.cli.operator import first_words
    from runtime.program import run_until_signal
    from runtime.recent import remember_events
    from runtime.supervision import Supervision

    out = Output(json=as_json)
    edge = open_edge(out, root, **flags)
    try:
        running = edge.services()
        console = add_console(edge, running, remember_events())
    except Exception as error:
        raise refuse(out, error) from error

    def ready() -> None:
        out.emit("ready", http=running.http.address, rtsp=running.rtsp_address, setup_code=console.code)
        out.say(f"边缘服务器已就绪 / edge server ready: {running.http.address}  {running.rtsp_address}")
        if console.code:
            out.say(first_words(running.http.address, console.code))

    try:
        asyncio.run(
            run_until_signal([*running.stack, Supervision(edge.clock)], on_ready=ready, grace_s=edge.config.grace_s)
        )
    except* OSError as group:
        raise out.fail(Exit.FAILED, "cannot_listen", f"无法监听 / cannot listen: {group.exceptions[0]}") from group


@main.command()
@ROOT
@JSON
def status(root: Path, as_json: bool) -> None:
    """本机保存了什么，状态如何。 / What this edge server holds, and how it stands."""
    from edge_server.bootstrap.console import look_at

    out = Output(json=as_json)
    edge = open_edge(out, root)
    try:
        view = edge.view()
        offered = view.catalogue.courseware
        state = look_at(edge, view, sum(not each.until for each in edge.boxes))
    except Exception as error:
        raise refuse(out, error) from error
    for item in offered:
        out.emit("item", item_id=item.item_id, title=item.title, family=item.family.value)
        if not as_json:
            out.say(f"{item.item_id}  {item.title}")
    told = {"uplink": state.uplink, "disk": state.disk, "lessons": state.lessons, "records": state.records}
    out.emit("summary", seq=view.seq, items=len(offered), edge_id=state.edge_id, boxes=state.boxes_registered, **told)
    if not as_json:
        out.say(f"快照 / snapshot seq {view.seq}: {len(offered)} 个课件 / items")
        out.say(f"线路 / line: {state.uplink.words}")
        free = state.disk.free_bytes / max(1, state.disk.total_bytes)
        out.say(f"磁盘剩余 / disk free: {state.disk.free_bytes / 1e9:,.1f} GB ({free:.0%})")
        if state.records:
            out.say(f"待送记录 / records waiting: {state.records.waiting}")


@main.group()
def store() -> None:
    """本机的存储。 / The local store."""


@store.command("verify")
@ROOT
@JSON
def store_verify(root: Path, as_json: bool) -> None:
    """重新校验所有文件；损坏的停用，下次同步修复。 / Hash all again; what is damaged is mended by the next sync."""
    from edge_server.store.changes import changing

    out = Output(json=as_json)
    held = open_edge(out, root).store
    try:
        damaged = held.verify()
        if damaged:
            with changing(held) as changes:
                changes.discard(damaged)
    except Exception as error:
        raise refuse(out, error) from error
    for each in damaged:
        out.emit("item", damaged=each.sha256, damage=each.reason, names=each.names)
        if not as_json:
            out.say(f"损坏 / damaged: {each.sha256} {each.reason}")
    out.emit("summary", damaged=len(damaged))
    if damaged:
        raise out.fail(Exit.FAILED, "damaged", f"{len(damaged)} 个文件损坏，请重新同步 / damaged; sync again to heal")
    if not as_json:
        out.say("全部完好 / all good")


@main.group()
def config() -> None:
    """查看和检查配置。 / Look at the configuration."""


@config.command("check")
@ROOT
@JSON
def check(root: Path, as_json: bool) -> None:
    """检查配置，不改动任何东西。 / Check the configuration; changes nothing."""
    from edge_server.bootstrap.edge import check_settings

    out = Output(json=as_json)
    settings, origins = read_config(out, root)
    out.settings(origins)
    try:
        check_settings(settings)
    except Exception as error:
        raise refuse(out, error) from error


main.add_command(account)
main.add_command(box)
main.add_command(bundle)
main.add_command(operator)
main.add_command(records)
main.add_command(sync)
