"""``central-platform records``: what edges have told, from which nothing is lost and nothing is counted twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from central_platform.cli.common import ROOT, open_desk, read_config
from domain.records import KINDS
from runtime.clock import SystemClock
from runtime.output import JSON, Exit, Output

if TYPE_CHECKING:
    from central_platform.intake.ledger import Ledger


@click.group()
def records() -> None:
    """边缘服务器送回的记录。 / Records that edges have delivered."""


@records.command()
@ROOT
@JSON
def status(root: Path, as_json: bool) -> None:
    """各边缘服务器的记录是否齐全、可信。 / Whether the records of each edge are complete and can be believed."""
    out = Output(json=as_json)
    with _ledger(out, root) as ledger:
        states, refused = ledger.states(), ledger.refused()
    for each in states:
        out.emit(
            "item",
            edge=each.edge,
            verified=not each.doubts,
            doubts=each.doubts,
            records=each.kinds,
            forged=each.forged,
            came_at=each.came_at,
            stores=[
                {
                    "store": s.store,
                    "records": s.records,
                    "gaps": s.chain.gaps,
                    "broken": s.chain.broken,
                    "rewritten": s.rewritten,
                    "last_at": s.last_at,
                }
                for s in each.stores
            ],
        )
        if not as_json:
            counts = "  ".join(f"{kind} {count}" for kind, count in each.kinds.items())
            good = "可信 / verified" if not each.doubts else f"不可信 / unverified: {'；'.join(each.doubts)}"
            out.say(f"{each.edge}  {counts}  {good}  {each.came_at}")
    for edge, why, count, last_at in refused:
        out.emit("refused", edge=edge, why=why, count=count, last_at=last_at)
        if not as_json:
            out.say(f"未收 / refused: {edge or '?'} × {count}  {why}  {last_at}")
    out.emit("summary", edges=len(states), unverified=sum(bool(each.doubts) for each in states))


@records.command("import")
@click.argument("stick", metavar="PATH", type=click.Path(path_type=Path, exists=True, file_okay=False))
@ROOT
@JSON
def import_(stick: Path, root: Path, as_json: bool) -> None:
    """收下 U 盘带回的记录。 / Take in the records on a stick, and note on it what is held now."""
    from central_platform.intake.sticks import take_in
    from central_platform.roster import Roster, RosterError
    from sync import SyncError

    out = Output(json=as_json)
    failed = False
    with _ledger(out, root) as ledger:
        try:
            for name, taken, warning in take_in(ledger, Roster(root), stick, SystemClock().utc()):
                bad = taken.forged + taken.unreadable + taken.rewritten + len(taken.unknown)
                failed = failed or bool(bad)
                fields = {k: v for k, v in msgspec.to_builtins(taken).items() if k != "held"}
                out.emit("item", file=name, warning=warning, **fields)
                if not as_json:
                    out.say(f"{name}: 新 / new {taken.fresh}，已有 / known {taken.known}")
                    for held in taken.held:
                        if held.refused:
                            out.say(f"  {held.edge}: {held.refused}")
                if warning:
                    out.say(warning)
        except (SyncError, RosterError) as error:
            raise out.fail(Exit.FAILED, "not_taken", f"没有收下 / not taken: {error}") from error
    out.emit("summary", complete=not failed)
    if failed:
        raise out.fail(Exit.PARTIAL, "refused", "有记录未收或存疑，见上 / some were refused or are in doubt; see above")


@records.command("export")
@click.option("--kind", type=click.Choice(["", *KINDS]), default="", help="种类，缺省全部 / kind; all if not given.")
@click.option("--edge", default="", help="只要这一台的 / of one edge only.")
@click.option("--since", default="", help="从何时起，如 2026-01-01 / from when on, UTC.")
@ROOT
@JSON
def export(kind: str, edge: str, since: str, root: Path, as_json: bool) -> None:
    """按行输出 JSON。 / Print records as JSON lines."""
    out = Output(json=True)
    with _ledger(out, root) as ledger:
        count = 0
        for line in ledger.records(kind=kind, edge=edge, since=since):
            out.emit("item", **msgspec.to_builtins(msgspec.json.decode(line.payload)))
            count += 1
    out.emit("summary", records=count)


@contextmanager
def _ledger(out: Output, root: Path) -> Iterator[Ledger]:
    from central_platform.intake.ledger import Ledger

    read_config(out, root)
    open_desk(out, root)
    try:
        ledger = Ledger(root)
        try:
            yield ledger
        finally:
            ledger.close()
    except OSError as error:
        raise out.fail(Exit.FAILED, "io_error", f"读写失败 / input or output failed: {error}") from error
