"""``edge-server account``: accounts of old boxes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

from edge_server.cli.common import ROOT, open_edge
from runtime.output import JSON, Exit, Output


@click.group()
def account() -> None:
    """老机顶盒的账号。 / Accounts of old boxes."""


@account.command("add")
@click.argument("user_id")
@click.option("--password-stdin", is_flag=True, help="从标准输入读密码 / read the password from stdin.")
@click.option("--key-type", type=click.Choice(["0001", "0002", "0003"]), default="0001", help="EncryptionType.")
@click.option("--face", type=click.Choice(["CTC", "CU", "CM"]), default="CTC", help="运营商 / the operator.")
@click.option("--charset", type=click.Choice(["utf-8", "gbk"]), default="utf-8", help="页面编码 / of pages.")
@click.option("--times", type=click.Choice(["local", "utc"]), default=None, help="时移的时间 / times in time-shift.")
@click.option("--stbid", default=None, help="只许这台机顶盒使用 / the only box that may use it.")
@ROOT
@JSON
def account_add(
    user_id: str,
    password_stdin: bool,
    key_type: Literal["0001", "0002", "0003"],
    face: Literal["CTC", "CU", "CM"],
    charset: Literal["utf-8", "gbk"],
    times: Literal["local", "utc"] | None,
    stbid: str | None,
    root: Path,
    as_json: bool,
) -> None:
    """添加或更改账号。 / Add an account or change it."""
    from edge_server.sessions.accounts import Account, AccountError

    out = Output(json=as_json)
    edge = open_edge(out, root)
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("密码 / password", hide_input=True, confirmation_prompt=True, err=True)
    try:
        edge.accounts.add(
            Account(
                user_id=user_id,
                password=password,
                encryption_type=key_type,
                face=face,
                charset=charset,
                stbid=stbid,
                times=times or "",
            )
        )
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
        open_edge(out, root).accounts.remove(user_id)
    except AccountError as error:
        raise out.fail(Exit.FAILED, "unknown_account", str(error)) from error
    out.emit("summary", user_id=user_id)
    if not as_json:
        out.say(f"账号已删除 / account removed: {user_id}")
