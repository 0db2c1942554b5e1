"""``edge-server operator``: the password of the operator's pages; and what the first start says."""

from __future__ import annotations

import io
from pathlib import Path

import click

from edge_server.cli.common import ROOT, open_edge
from runtime.output import JSON, Exit, Output


@click.group()
def operator() -> None:
    """管理页面的密码。 / The password of the operator's pages."""


@operator.command()
@ROOT
@JSON
def reset(root: Path, as_json: bool) -> None:
    """忘记密码：清除，下次启动显示设置码。 / Forget the password; the next start shows a set-up code."""
    from edge_server.console.password import PasswordFile

    out = Output(json=as_json)
    open_edge(out, root)
    try:
        PasswordFile(root).clear()
    except OSError as error:
        raise out.fail(Exit.FAILED, "io_error", f"没有清除 / not cleared: {error}") from error
    out.emit("summary", reset=True)
    if not as_json:
        out.say("密码已清除；请重启 edge-server serve / cleared; start `edge-server serve` again")


def first_words(address: str, code: str) -> str:
    """Say where to go and with which code, with the address as a QR code for a phone's camera."""
    import segno

    page = f"{address}operator"
    drawn = io.StringIO()
    segno.make(page, error="l").terminal(out=drawn, compact=True, border=2)
    return (
        f"{drawn.getvalue()}\n管理页面 / operator's page: {page}\n"
        f"设置码（只用一次）/ set-up code, good once: {code[:4]} {code[4:]}"
    )
