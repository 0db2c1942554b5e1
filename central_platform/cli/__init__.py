"""``central-platform``: makes a platform folder, publishes and withdraws courseware, serves the published files."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path

import click

from central_platform.cli.bundles import bundle
from central_platform.cli.common import ROOT, disk_failure, open_desk, read_config
from central_platform.cli.edges import edge
from central_platform.cli.keys import keys
from central_platform.cli.records import records
from central_platform.cli.villages import plan, questionnaire
from central_platform.config import FILE_NAME
from runtime.clock import SystemClock
from runtime.log import log_to_stderr
from runtime.output import JSON, Exit, Output

ON_TRIAL = "（试播，待所有盒子播放 / on trial: parity_missing）"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rural-media-edge")
def main() -> None:
    """中心平台：发布课件，生成签名快照。 / Central platform: publishes courseware as signed snapshots."""
    log_to_stderr("central_platform", "info")


@main.command()
@click.argument("root", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--area", default="", help="本平台服务的地区代码，空为不限 / code of the area it serves; empty for any.")
@JSON
def init(root: Path, area: str, as_json: bool) -> None:
    """新建平台目录和密钥。 / Make a platform folder with new signing keys."""
    from central_platform.publish.desk import init as make
    from sync import Corrupt
    from sync.publishing import PublishError

    out = Output(json=as_json)
    read_config(out, root)
    try:
        desk = make(root, SystemClock().utc(), area=area)
    except Corrupt as error:
        raise out.fail(Exit.USAGE, "bad_area", f"地区代码无效 / not an area code: {error}") from error
    except PublishError as error:
        raise out.fail(
            Exit.FAILED,
            "exists",
            f"{root} 已有平台，未作改动 / {root} already holds a platform; nothing was changed",
        ) from error
    (root / FILE_NAME).touch()
    out.emit("summary", root=str(root), trust_anchor=str(desk.trust_anchor), published=str(desk.published))
    if not as_json:
        out.say(f"已建立 / made: {root}")
        out.say(f"请把信任根文件交给每台边缘服务器 / hand this trust anchor to every edge server: {desk.trust_anchor}")
        out.say(
            f"请把离线密钥移到安全的地方 / move the offline keys to a safe place: {desk.offline_keys}\n"
            "  日常发布不需要；换密钥时才用 / everyday publishing does without; only a change of keys needs them"
        )


@main.command()
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, exists=True))
@click.option("--title", required=True, help="标题 / title.")
@click.option("--column", required=True, help="专栏名称 / column title.")
@click.option(
    "--class",
    "item_class",
    required=True,
    type=click.Choice(["education", "service"]),
    help="教育类（固定保存）或服务类（可淘汰）/ education is pinned, service is evictable.",
)
@click.option("--summary", default="", help="简介 / one or two sentences.")
@click.option(
    "--offline-days",
    type=click.IntRange(0, 3650),
    help="边缘服务器失联几天后不再播放，0 为一直可播；需随时可撤的内容用 7 / days without contact after which an edge "
    "stops offering it; 0 never; use 7 for what may have to be taken back quickly.",
)
@click.option(
    "--gate",
    is_flag=True,
    help="先只在试验边缘服务器上提供，所有盒子播放过后再用 admit 开放 / offer it on lab edges only, until `admit`.",
)
@ROOT
@JSON
def publish(
    source: Path,
    title: str,
    column: str,
    item_class: str,
    summary: str,
    offline_days: int | None,
    gate: bool,
    root: Path,
    as_json: bool,
) -> None:
    """发布一个视频文件或一个图文目录。 / Publish a media file, or a folder with index.html or Markdown and images."""
    from central_platform.ingest import Refused
    from central_platform.publish.catalogue import EditError
    from central_platform.publish.desk import DeskBusy, Submission
    from domain.courseware import ItemClass

    out = Output(json=as_json)
    config, _ = read_config(out, root)
    size = source.stat().st_size if source.is_file() else 0
    if size > config.work_max_bytes:
        raise out.fail(
            Exit.FAILED,
            "too_large",
            f"文件 {size} 字节，超过上限 {config.work_max_bytes} / file too large; raise work_max_bytes to accept it",
        )
    days = config.offline_days if offline_days is None else offline_days
    submission = Submission(source, title, column, ItemClass(item_class), summary, days, gate)
    desk = open_desk(out, root)
    try:
        item = desk.publish(submission, SystemClock().utc(), out.progress(source.name))
    except Refused as refusal:
        raise out.fail(Exit.FAILED, refusal.reason.value, f"{source.name}: {refusal}", file=str(source)) from refusal
    except EditError as error:
        raise out.fail(Exit.USAGE, "bad_request", str(error)) from error
    except DeskBusy as error:
        raise out.fail(Exit.FAILED, "busy", str(error)) from error
    except OSError as error:
        raise disk_failure(out, error) from error
    renditions = [
        {
            "name": r.name,
            "width": r.width,
            "height": r.height,
            "peak_bps": r.peak_bps,
            "copied": r.copied,
            "frames": r.frames,
        }
        for r in item.renditions
    ]
    out.emit(
        "summary",
        item_id=item.item_id,
        title=item.title,
        column_id=item.column_id,
        family=item.family.value,
        duration_s=item.duration_s,
        renditions=renditions,
        parity_missing=item.held,
    )
    if not as_json:
        out.say(f"已发布 / published {item.item_id} {item.title}{ON_TRIAL if item.held else ''}")
        for r in item.renditions:
            how = "原样复制 / copied" if r.copied else "转码 / encoded"
            out.say(f"  {r.name} {r.width}×{r.height} {r.peak_bps / 1e6:.2f} Mb/s {how}")


@main.command()
@click.argument("item_id", metavar="ID")
@click.option(
    "--report",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="`stb-emulator matrix --json` 的输出 / what `stb-emulator matrix --json` printed, against a lab edge.",
)
@ROOT
@JSON
def admit(item_id: str, report: Path, root: Path, as_json: bool) -> None:
    """开放一个试播的课件。 / Let every edge offer an item on trial, once every kind of box has played it."""
    from central_platform.publish.catalogue import EditError
    from central_platform.publish.desk import DeskBusy

    out = Output(json=as_json)
    config, _ = read_config(out, root)
    boxes = [name for each in config.gate_boxes.split(",") if (name := each.strip())]
    try:
        with report.open("rb") as lines:
            item = open_desk(out, root).admit(item_id, lines, boxes, SystemClock().utc())
    except EditError as error:
        raise out.fail(Exit.FAILED, "not_admitted", str(error)) from error
    except DeskBusy as error:
        raise out.fail(Exit.FAILED, "busy", str(error)) from error
    except OSError as error:
        raise disk_failure(out, error) from error
    out.emit("summary", item_id=item.item_id, title=item.title)
    if not as_json:
        out.say(f"已开放 / offered everywhere now: {item.item_id} {item.title}")


@main.command()
@click.argument("item_id", metavar="ID")
@ROOT
@JSON
def withdraw(item_id: str, root: Path, as_json: bool) -> None:
    """下架一个课件。 / Withdraw one item; edges refuse it after their next sync."""
    from central_platform.publish.catalogue import UnknownItem
    from central_platform.publish.desk import DeskBusy

    out = Output(json=as_json)
    read_config(out, root)
    try:
        item = open_desk(out, root).withdraw(item_id, SystemClock().utc())
    except UnknownItem as error:
        raise out.fail(Exit.FAILED, "unknown_item", str(error)) from error
    except DeskBusy as error:
        raise out.fail(Exit.FAILED, "busy", str(error)) from error
    out.emit("summary", item_id=item.item_id, title=item.title)
    if not as_json:
        out.say(f"已下架 / withdrawn {item.item_id} {item.title}")


@main.command("list")
@ROOT
@JSON
def list_items(root: Path, as_json: bool) -> None:
    """列出已发布的课件。 / List what is published."""
    out = Output(json=as_json)
    read_config(out, root)
    catalogue = open_desk(out, root).catalogue()
    for item in catalogue.courseware:
        column = catalogue.column(item.column_id)
        where = column.title if column else item.column_id
        out.emit(
            "item",
            item_id=item.item_id,
            title=item.title,
            column=where,
            family=item.family.value,
            parity_missing=item.held,
        )
        if not as_json:
            out.say(f"{item.item_id}  {where}  {item.title}{ON_TRIAL if item.held else ''}")
    out.emit("summary", items=len(catalogue.courseware), columns=len(catalogue.columns))


@main.command()
@ROOT
@click.option("--host", help="监听地址 / address to listen on.")
@click.option("--port", type=int, help="端口，0 为任意空闲端口 / port; 0 takes a free one.")
@JSON
def serve(root: Path, host: str | None, port: int | None, as_json: bool) -> None:
    """提供已发布的静态文件并定时更新时效签名。 / Serve the published files and keep the metadata fresh."""
    from central_platform.bootstrap import Freshness, Site
    from central_platform.intake.ledger import Ledger
    from runtime.program import run_until_signal
    from runtime.service import Service

    out = Output(json=as_json)
    config, _ = read_config(out, root, host=host, port=port)
    desk = open_desk(out, root)
    try:
        site = Site(desk, config, SystemClock(), Ledger(root))
    except OSError as error:
        raise out.fail(Exit.FAILED, "io_error", f"读写失败 / input or output failed: {error}") from error

    def ready() -> None:
        out.emit("ready", address=site.address)
        out.say(f"中心平台已就绪 / central platform ready: {site.address}")

    stack: list[Service] = [Freshness(desk, config, SystemClock()), site]
    try:
        asyncio.run(run_until_signal(stack, on_ready=ready, grace_s=config.grace_s))
    except* OSError as group:
        raise out.fail(Exit.FAILED, "cannot_listen", f"无法监听 / cannot listen: {group.exceptions[0]}") from group


@main.command()
@ROOT
@JSON
def prune(root: Path, as_json: bool) -> None:
    """删除不再需要的已发布文件。 / Remove published files that no current release, nor the one before it, needs."""
    from sync import SyncError

    out = Output(json=as_json)
    read_config(out, root)
    try:
        pruned = open_desk(out, root).prune()
    except SyncError as error:
        raise out.fail(Exit.FAILED, "not_pruned", f"没有删除 / nothing was removed: {error}") from error
    out.emit("summary", **asdict(pruned))
    if not as_json:
        out.say(f"已释放 / freed: {pruned.freed_bytes:,} 字节 / bytes")


@main.group()
def config() -> None:
    """查看和检查配置。 / Look at the configuration."""


@config.command("check")
@ROOT
@JSON
def check(root: Path, as_json: bool) -> None:
    """检查配置，不改动任何东西。 / Check the configuration; changes nothing."""
    out = Output(json=as_json)
    _, origins = read_config(out, root)
    out.settings(origins)


main.add_command(bundle)
main.add_command(edge)
main.add_command(keys)
main.add_command(plan)
main.add_command(questionnaire)
main.add_command(records)
