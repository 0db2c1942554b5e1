"""What all commands share: options, the configuration, the platform folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from central_platform.config import FILE_NAME, CentralConfig, default_root, load
from runtime.output import Exit, Output
from runtime.settings import ConfigError, Origin

if TYPE_CHECKING:
    from central_platform.publish.desk import Desk

ROOT = click.option(
    "--dir",
    "root",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_root,
    show_default="$CENTRAL_PLATFORM_DIR, else .",
    help="平台目录 / platform folder made by `init`.",
)


def read_config(out: Output, root: Path, **flags: Any) -> tuple[CentralConfig, dict[str, Origin]]:
    """Read the settings, or end the command and say what is wrong with them."""
    try:
        return load(root, flags)
    except ConfigError as error:
        raise out.fail(Exit.BAD_CONFIG, "bad_config", str(error)) from error


def open_desk(out: Output, root: Path) -> Desk:
    """Open the platform folder, or end the command and say what is wrong."""
    from central_platform.publish.desk import Desk

    if not (root / FILE_NAME).exists():
        raise out.fail(
            Exit.BAD_CONFIG,
            "no_platform",
            f"{root} 不是平台目录；先运行 central-platform init DIR，再用 --dir 指定 / "
            f"{root} is not a platform folder; run `central-platform init DIR` and name it with --dir",
        )
    return Desk(root)


def disk_failure(out: Output, error: OSError) -> click.exceptions.Exit:
    """Say that nothing was published because the disk is full or broken."""
    import errno

    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    reason = "disk_full" if full else "io_error"
    return out.fail(Exit.DISK_FULL if full else Exit.FAILED, reason, f"写入失败，未发布 / not published: {error}")
