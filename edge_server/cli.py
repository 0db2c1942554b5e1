"""``edge-server``: makes an edge folder, syncs it, serves every box, looks after the accounts of boxes."""

from __future__ import annotations

import asyncio
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edge_server.config import FILE_NAME, EdgeConfig, default_root, load
from runtime.clock import SystemClock
from runtime.output import Exit, Output
from runtime.settings import ConfigError, Origin

if TYPE_CHECKING:
    from edge_server.bootstrap import Edge

JSON = click.option("--json", "as_json", is_flag=True, help="JSON 行输出 / JSON lines on stdout.")
ROOT = click.option(
    "--dir",
    "root",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_root,
    show_default="$EDGE_SERVER_DIR, else .",
    help="边缘服务器目录 / folder made by `init`.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rural-media-edge")
def main() -> None:
    """边缘服务器：保存并播放课件，断网照常服务。 / Edge server: keeps and streams courseware, line or no line."""


@main.command()
@click.argument("root", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--central", required=True, help="中心平台地址或目录 / base URL (http…) or folder to sync from.")
@click.option(
    "--trust",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="信任根文件，由中心平台 init 生成 / trust anchor made by `central-platform init`, brought by a trusted way.",
)
@JSON
def init(root: Path, central: str, trust: Path, as_json: bool) -> None:
    """新建边缘服务器目录。 / Make an edge server folder."""
    from edge_server.bootstrap import TRUST_ANCHOR

    out = Output(json=as_json)
    if (root / FILE_NAME).exists():
        raise out.fail(Exit.FAILED, "exists", f"{root} 已存在，未作改动 / already an edge server; nothing was changed")
    if '"' in central or "\n" in central or "\\" in central:
        raise out.fail(Exit.USAGE, "bad_address", f"地址无效 / not an address: {central!r}")
    anchor = root / TRUST_ANCHOR
    anchor.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(trust, anchor)
    (root / FILE_NAME).write_text(f'central = "{central}"\n', encoding="utf-8")
    out.emit("summary", root=str(root), central=central)
    if not as_json:
        out.say(f"已建立 / made: {root}\n下一步 / next: edge-server sync --dir {root}")


@main.command()
@ROOT
@JSON
def sync(root: Path, as_json: bool) -> None:
    """从中心平台同步一次。 / Pull, verify, package and switch, once."""
    from edge_server.bootstrap import explain

    out = Output(json=as_json)
    edge = _edge(out, root)
    try:
        report = asyncio.run(edge.sync_once(out.progress("sync")))
    except Exception as error:
        known = explain(error)
        if known is None:
            raise
        raise out.fail(known.exit_code, known.reason, known.words) from error
    out.emit("summary", **asdict(report))
    if not as_json:
        what = "有更新 / updated" if report.changed else "已是最新 / nothing new"
        out.say(f"{what}: seq {report.seq}, {report.bytes_moved} 字节 / bytes, {report.requests} 次请求 / requests")


@main.command()
@ROOT
@click.option("--host", help="监听地址 / address to listen on.")
@click.option("--http-port", type=int, help="HTTP 端口，0 为任意空闲端口 / 0 takes a free one.")
@click.option("--rtsp-port", type=int, help="RTSP 端口，0 为任意空闲端口 / 0 takes a free one.")
@click.option("--poll-s", type=float, help="自动同步间隔（秒）/ seconds between two syncs; 0 for none.")
@JSON
def serve(root: Path, as_json: bool, **flags: Any) -> None:
    """为新老机顶盒提供服务。 / Serve every box until SIGTERM or Ctrl-C."""
    from runtime.program import run_until_signal

    out = Output(json=as_json)
    edge = _edge(out, root, **flags)
    running = edge.services()

    def ready() -> None:
        out.emit("ready", http=running.http.address, rtsp=running.rtsp_address)
        out.say(f"边缘服务器已就绪 / edge server ready: {running.http.address}  {running.rtsp_address}")

    try:
        asyncio.run(run_until_signal(running.stack, on_ready=ready, grace_s=edge.config.grace_s))
    except* OSError as group:
        raise out.fail(Exit.FAILED, "cannot_listen", f"无法监听 / cannot listen: {group.exceptions[0]}") from group


@main.command()
@ROOT
@JSON
def status(root: Path, as_json: bool) -> None:
    """本机保存了什么。 / What this edge server holds."""
    out = Output(json=as_json)
    view = _edge(out, root).view()
    for item in view.catalogue.courseware:
        out.emit("item", item_id=item.item_id, title=item.title, family=item.family.value)
        if not as_json:
            out.say(f"{item.item_id}  {item.title}")
    out.emit("summary", seq=view.seq, items=len(view.catalogue.courseware))
    if not as_json:
        out.say(f"快照 / snapshot seq {view.seq}: {len(view.catalogue.courseware)} 个课件 / items")


@main.group()
def account() -> None:
    """老机顶盒的账号。 / Accounts of old boxes."""


@account.command("add")
@click.argument("user_id")
@click.option("--password-stdin", is_flag=True, help="从标准输入读密码 / read the password from stdin.")
@click.option("--key-type", type=click.Choice(["0001", "0002", "0003"]), default="0001", help="EncryptionType.")
@ROOT
@JSON
def account_add(
    user_id: str, password_stdin: bool, key_type: Literal["0001", "0002", "0003"], root: Path, as_json: bool
) -> None:
    """添加或更改账号。 / Add an account or change it."""
    from edge_server.sessions.accounts import Account, AccountError

    out = Output(json=as_json)
    edge = _edge(out, root)
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("密码 / password", hide_input=True, confirmation_prompt=True, err=True)
    try:
        edge.accounts.add(Account(user_id=user_id, password=password, encryption_type=key_type))
    except AccountError as error:
        raise out.fail(Exit.USAGE, "bad_account", str(error)) from error
    out.emit("summary", user_id=user_id)
    if not as_json:
        out.say(f"账号已保存 / account saved: {user_id}")


@account.command("remove")
@click.argument("user_id")
@ROOT
@JSON
def account_remove(user_id: str, root: Path, as_json: bool) -> None:
    """删除账号。 / Remove an account."""
    from edge_server.sessions.accounts import AccountError

    out = Output(json=as_json)
    try:
        _edge(out, root).accounts.remove(user_id)
    except AccountError as error:
        raise out.fail(Exit.FAILED, "unknown_account", str(error)) from error
    out.emit("summary", user_id=user_id)
    if not as_json:
        out.say(f"账号已删除 / account removed: {user_id}")


@main.group()
def store() -> None:
    """本机的存储。 / The local store."""


@store.command("verify")
@ROOT
@JSON
def store_verify(root: Path, as_json: bool) -> None:
    """重新校验所有文件。 / Hash every stored object again."""
    out = Output(json=as_json)
    damaged = list(_edge(out, root).store.verify())
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
    out = Output(json=as_json)
    for name, origin in _config(out, root)[1].items():
        out.emit("item", setting=name, value=origin.value, source=origin.source)
        if not as_json:
            out.say(f"{name} = {origin.value!r}  ({origin.source})")


def _config(out: Output, root: Path, **flags: Any) -> tuple[EdgeConfig, dict[str, Origin]]:
    try:
        return load(root, flags)
    except ConfigError as error:
        raise out.fail(Exit.BAD_CONFIG, "bad_config", str(error)) from error


def _edge(out: Output, root: Path, **flags: Any) -> Edge:
    from edge_server.bootstrap import Edge

    config, _ = _config(out, root, **flags)
    if not (root / FILE_NAME).exists():
        raise out.fail(
            Exit.BAD_CONFIG,
            "no_edge",
            f"{root} 不是边缘服务器目录；先运行 edge-server init DIR，再用 --dir 指定 / "
            f"{root} is not an edge server folder; run `edge-server init DIR` and name it with --dir",
        )
    return Edge(root, config, SystemClock())
