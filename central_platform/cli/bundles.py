"""``central-platform bundle``: releases on USB sticks for edges without a line."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from central_platform.cli.common import ROOT, open_desk
from runtime.clock import SystemClock
from runtime.output import JSON, Exit, Output

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class ByteCount(click.ParamType[int]):
    """A number of bytes, with or without K, M, G, T (powers of 1,000, as sticks are sold)."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,15})([KMGT]?)B?", str(value).strip().upper())
        if not found:
            self.fail(f"{value!r}: 写数字，可带 K/M/G/T，如 32G / write a number, maybe with K, M, G or T", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


@click.group()
def bundle() -> None:
    """U 盘同步包。 / Bundles for USB sticks."""


@bundle.command()
@click.argument("out_folder", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--since",
    type=click.IntRange(min=0),
    default=0,
    help="只带第几次发布之后的内容，0 为全部 / only what came after publication SINCE; 0 for everything.",
)
@click.option(
    "--receipts",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="U 盘或收集回执的目录，按回执决定带什么 / a stick or folder with receipts; they decide what to take along.",
)
@click.option("--max-bytes", type=ByteCount(), help="每个 U 盘的容量，如 32G / size of one stick, e.g. 32G.")
@click.option("--part", type=click.IntRange(min=1), help="只写第几个 U 盘，直接写到 FOLDER / write only this stick.")
@ROOT
@JSON
def export(
    out_folder: Path,
    since: int,
    receipts: Path | None,
    max_bytes: int | None,
    part: int | None,
    root: Path,
    as_json: bool,
) -> None:
    """写 U 盘同步包。 / Write a bundle: to FOLDER, or to FOLDER/1, FOLDER/2 … when it takes several sticks."""
    from sync import SyncError
    from sync.bundle.split import TooSmall

    out = Output(json=as_json)
    desk = open_desk(out, root)
    if since and receipts:
        raise out.fail(
            Exit.USAGE, "two_starts", "只用 --since 或 --receipts 之一 / give --since or --receipts, not both"
        )
    now = SystemClock().utc()
    try:
        if receipts:
            begin, refused = desk.since_receipts(receipts)
            for name, reason in refused:
                out.emit("item", receipt=name, refused=reason)
                out.say(f"回执无效 / receipt refused: {name}: {reason}")
        else:
            begin = desk.since_publication(since)
        plan = desk.plan_bundle(begin, max_bytes, now)
        if part is not None and part > plan.parts:
            raise out.fail(Exit.USAGE, "no_such_part", f"共 {plan.parts} 个 U 盘 / there are {plan.parts} sticks")
        for number in [part] if part else range(1, plan.parts + 1):
            target = out_folder if part or plan.parts == 1 else out_folder / str(number)
            report = desk.write_part(plan, number, target, now)
            out.emit("item", folder=str(target), **asdict(report))
            if not as_json:
                size = f"{report.bytes / 1e6:,.1f} MB"
                out.say(f"第 {number}/{plan.parts} 个 U 盘 / stick {number} of {plan.parts}: {target} {size}")
    except TooSmall as error:
        raise out.fail(Exit.USAGE, "stick_too_small", f"U 盘太小 / the stick is too small: {error}") from error
    except SyncError as error:
        raise out.fail(Exit.FAILED, "not_exported", f"没有写成 / not exported: {error}") from error
    except OSError as error:
        raise out.fail(Exit.FAILED, "io_error", f"U 盘写不进 / the stick cannot be written: {error}") from error
    out.emit(
        "summary", bundle=plan.bundle, parts=plan.parts, publication=desk.publication, channels=plan.content.channels
    )
    if not as_json:
        number = desk.publication
        out.say(
            f"导入后边缘服务器达到第 {number} 次发布，下次用 --since {number}，更好是带回回执 / "
            f"edges will be at publication {number}; next time use --since {number}, or better receipts"
        )
