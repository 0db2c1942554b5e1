"""What all commands share: options, the configuration, the edge folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_server.config import FILE_NAME, EdgeConfig, default_root, load
from runtime.clock import SystemClock
from runtime.log import log_to_stderr
from runtime.output import Exit, Output
from runtime.settings import ConfigError, Origin

if TYPE_CHECKING:
    from edge_server.bootstrap.edge import Edge

ROOT = click.option(
    "--dir",
    "root",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_root,
    show_default="$EDGE_SERVER_DIR, else .",
    help="边缘服务器目录 / folder made by `init`.",
)


def read_config(out: Output, root: Path, **flags: Any) -> tuple[EdgeConfig, dict[str, Origin]]:
    """Read the settings, or end the command and say what is wrong with them."""
    try:
        return load(root, flags)
    except ConfigError as error:
        raise out.fail(Exit.BAD_CONFIG, "bad_config", str(error)) from error


def open_edge(out: Output, root: Path, **flags: Any) -> Edge:
    """Open the edge folder, or end the command and say what is wrong."""
    from edge_server.bootstrap.edge import Edge

    config, _ = read_config(out, root, **flags)
    try:
        log_to_stderr("edge_server", config.log_level)
    except ValueError as error:
        raise out.fail(Exit.BAD_CONFIG, "bad_config", f"log_level: {error}") from error
    if not (root / FILE_NAME).exists():
        raise out.fail(
            Exit.BAD_CONFIG,
            "no_edge",
            f"{root} 不是边缘服务器目录；先运行 edge-server init DIR，再用 --dir 指定 / "
            f"{root} is not an edge server folder; run `edge-server init DIR` and name it with --dir",
        )
    return Edge(root, config, SystemClock())


def refuse(out: Output, error: Exception) -> click.exceptions.Exit:
    """Say what a failed sync means, and how to end; raises the error itself when it is a fault of this program."""
    from edge_server.bootstrap.edge import explain

    known = explain(error)
    if known is None:
        raise error
    return out.fail(known.exit_code, known.reason, known.words)
