"""``central-platform keys``: replace signing keys after a theft or a loss, renew what the offline keys signed."""

from __future__ import annotations

from pathlib import Path

import click

from central_platform.cli.common import ROOT, open_desk
from runtime.clock import SystemClock
from runtime.output import JSON, Exit, Output

OFFLINE = click.option(
    "--offline",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="离线密钥所在目录，缺省为平台目录下 keys/offline / folder with the offline keys.",
)


@click.group()
def keys() -> None:
    """签名密钥。 / Signing keys."""


@keys.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@OFFLINE
@ROOT
@JSON
def rotate(names: tuple[str, ...], offline: Path | None, root: Path, as_json: bool) -> None:
    """换密钥，例如 timestamp snapshot channels。 / Replace keys by role or name, e.g. `timestamp snapshot channels`.

    需要三个离线根密钥中的两个。 Two of the three offline root keys are needed; edges follow at their next sync.
    """
    from sync import SyncError

    out = Output(json=as_json)
    open_desk(out, root)
    from central_platform.publish.desk import Desk

    try:
        Desk(root, offline_keys=offline).rotate_keys(names, SystemClock().utc())
    except SyncError as error:
        raise out.fail(Exit.FAILED, "not_rotated", f"没有换密钥 / no key was replaced: {error}") from error
    out.emit("summary", rotated=list(names))
    if not as_json:
        out.say(f"已换密钥 / replaced: {', '.join(names)}")


@keys.command()
@OFFLINE
@ROOT
@JSON
def renew(offline: Path | None, root: Path, as_json: bool) -> None:
    """用离线密钥续签。 / Sign anew what only the offline keys can sign, before it expires (once a year)."""
    from central_platform.publish.desk import Desk
    from sync import SyncError

    out = Output(json=as_json)
    open_desk(out, root)
    desk = Desk(root, offline_keys=offline)
    try:
        desk.refresh(SystemClock().utc())
    except SyncError as error:
        raise out.fail(Exit.FAILED, "not_renewed", f"没有续签 / nothing was renewed: {error}") from error
    due = desk.offline_due.date().isoformat()
    out.emit("summary", offline_due=due)
    if not as_json:
        out.say(f"下次需要离线密钥 / the offline keys are needed again by: {due}")
