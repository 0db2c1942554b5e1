"""``edge-server box``: which boxes, known by their MAC, serve which station."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_server.cli.common import ROOT, open_edge
from runtime.clock import SystemClock
from runtime.output import JSON, Exit, Output

if TYPE_CHECKING:
    from edge_server.sessions.boxes import Box, BoxBook

_ACCOUNT = click.option("--account", help="须用此账号登录 / account whose password the box must show.")


@click.group()
def box() -> None:
    """按 MAC 登记的机顶盒。 / Boxes known by their MAC."""


@box.command("add")
@click.argument("mac")
@click.option("--station", required=True, help="站点编号 / code of its station.")
@_ACCOUNT
@ROOT
@JSON
def box_add(mac: str, station: str, account: str | None, root: Path, as_json: bool) -> None:
    """登记机顶盒，或更改其账号。 / Register a box, or change its account."""
    out = Output(json=as_json)
    made = _change(out, root, lambda book: book.add(mac, station, SystemClock().utc(), account=account or ""))
    if not as_json:
        out.say(f"已登记 / registered: {made.mac}  站点 / station {made.station}")


@box.command("remove")
@click.argument("mac")
@ROOT
@JSON
def box_remove(mac: str, root: Path, as_json: bool) -> None:
    """停用机顶盒；记录保留。 / Take a box out of service; its record stays."""
    out = Output(json=as_json)
    ended = _change(out, root, lambda book: book.remove(mac, SystemClock().utc()))
    if not as_json:
        out.say(f"已停用 / out of service: {ended.mac}  站点 / station {ended.station}")


@box.command("replace")
@click.argument("old")
@click.argument("new")
@_ACCOUNT
@ROOT
@JSON
def box_replace(old: str, new: str, account: str | None, root: Path, as_json: bool) -> None:
    """更换机顶盒，站点不变；旧盒立即停用。 / Put a new box in the old one's place; the old one is refused at once."""
    out = Output(json=as_json)
    made = _change(out, root, lambda book: book.replace(old, new, SystemClock().utc(), account=account))
    if not as_json:
        out.say(f"已更换 / replaced: {old} → {made.mac}  站点 / station {made.station}")


@box.command("list")
@click.option("--station", help="只看此站点，含停用的 / one station only, with boxes that have ended.")
@click.option("--all", "everything", is_flag=True, help="含停用的 / with boxes that have ended.")
@ROOT
@JSON
def box_list(station: str | None, everything: bool, root: Path, as_json: bool) -> None:
    """列出机顶盒、站点和最近在线时间。 / List boxes, their stations, and when each was heard last."""
    from edge_server.bootstrap.edge import BOXES_SEEN_NAME
    from edge_server.sessions.last_seen import read_seen

    out = Output(json=as_json)
    book, seen = open_edge(out, root).boxes, read_seen(root / BOXES_SEEN_NAME)
    shown = [
        each
        for each in (book if station is None else book.station(station))
        if everything or station is not None or not each.until
    ]
    for each in shown:
        heard = seen.get(each.mac)
        out.emit(
            "item",
            mac=each.mac,
            station=each.station,
            account=each.account,
            since=each.since,
            until=each.until or None,
            successor=each.successor or None,
            last_seen=heard.at if heard else None,
            remote=heard.remote if heard else None,
        )
        if not as_json:
            last = f"{heard.at} {heard.remote}" if heard else "从未上线 / never"
            ended = f"  {each.until} 停用 / ended" if each.until else ""
            after = f" → {each.successor}" if each.successor else ""
            out.say(f"{each.mac}  {each.station}  {last}{ended}{after}")
    out.emit("summary", boxes=len(shown))


def _change(out: Output, root: Path, change: Callable[[BoxBook], Box]) -> Box:
    """Change the registry, or end the command and say what is wrong."""
    from edge_server.sessions.boxes import BoxError, BoxInvalid

    book = open_edge(out, root).boxes
    try:
        changed = change(book)
    except BoxInvalid as error:
        raise out.fail(Exit.USAGE, "bad_box", str(error)) from error
    except BoxError as error:
        raise out.fail(Exit.FAILED, "refused", str(error)) from error
    out.emit("summary", mac=changed.mac, station=changed.station, since=changed.since, until=changed.until or None)
    return changed
