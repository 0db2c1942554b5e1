"""``central-platform edge``: which edge servers there are, and by which keys their records are known."""

from __future__ import annotations

from pathlib import Path

import click

from central_platform.cli.common import ROOT, open_desk, read_config
from runtime.output import JSON, Exit, Output


@click.group()
def edge() -> None:
    """登记边缘服务器。 / Edge servers that are known."""


@edge.command()
@click.argument("name")
@click.option("--key", required=True, help="edge-server records key 给出的公钥 / what `edge-server records key` says.")
@click.option("--title", default="", help="地点名称 / the place, e.g. the township.")
@click.option("--replace", is_flag=True, help="已登记的边缘服务器换了密钥 / a new key of one that is known.")
@ROOT
@JSON
def add(name: str, key: str, title: str, replace: bool, root: Path, as_json: bool) -> None:
    """登记一台边缘服务器。 / Enter an edge server; from then on its records are taken."""
    from central_platform.roster import Roster, RosterError

    out = Output(json=as_json)
    read_config(out, root)
    open_desk(out, root)
    try:
        Roster(root).add(name, key.strip().lower(), title=title, replace=replace)
    except RosterError as error:
        raise out.fail(Exit.USAGE, "bad_edge", str(error)) from error
    out.emit("summary", edge=name)
    if not as_json:
        out.say(f"已登记 / entered: {name}")


@edge.command()
@click.argument("name")
@click.option("--key", default="", help="只作废这把密钥，缺省全部 / only this key; all of them if not given.")
@ROOT
@JSON
def revoke(name: str, key: str, root: Path, as_json: bool) -> None:
    """作废密钥，此后的记录不收。 / Believe nothing more that its keys sign."""
    from central_platform.roster import Roster, RosterError

    out = Output(json=as_json)
    read_config(out, root)
    open_desk(out, root)
    try:
        Roster(root).revoke(name, key.strip().lower())
    except RosterError as error:
        raise out.fail(Exit.USAGE, "bad_edge", str(error)) from error
    out.emit("summary", edge=name)
    if not as_json:
        out.say(f"已作废 / revoked: {name}")


@edge.command("list")
@ROOT
@JSON
def list_edges(root: Path, as_json: bool) -> None:
    """列出登记的边缘服务器。 / List the edge servers that are known."""
    from central_platform.roster import Roster, RosterError

    out = Output(json=as_json)
    read_config(out, root)
    open_desk(out, root)
    try:
        edges = Roster(root).edges()
    except RosterError as error:
        raise out.fail(Exit.FAILED, "roster_damaged", str(error)) from error
    for name, entry in edges.items():
        out.emit("item", edge=name, title=entry.title, keys=entry.keys, revoked=entry.revoked)
        if not as_json:
            good = [each for each in entry.keys if each not in entry.revoked]
            out.say(f"{name}  {entry.title}  {'  '.join(good) or '密钥已作废 / keys revoked'}")
    out.emit("summary", edges=len(edges))
