"""``make docs``: write docs/commands.md and docs/settings.md from the programs themselves, then check every link."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from central_platform.cli import main as central_platform  # noqa: E402
from central_platform.config import CentralConfig  # noqa: E402
from edge_server.cli import main as edge_server  # noqa: E402
from edge_server.config import EdgeConfig  # noqa: E402
from runtime.settings import described  # noqa: E402
from stb_emulator.cli import cli as stb_emulator  # noqa: E402

PROGRAMS = {"central-platform": central_platform, "edge-server": edge_server, "stb-emulator": stb_emulator}
SETTINGS = {
    "central-platform": (CentralConfig, "central.toml", "CENTRAL_PLATFORM_"),
    "edge-server": (EdgeConfig, "edge.toml", "EDGE_SERVER_"),
}
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def commands() -> str:
    """Write the help of every command."""
    parts = ["# Commands\n\nWritten by `make docs` from the programs' own help.\n"]
    for name, command in PROGRAMS.items():
        parts += _help(name, command, None)
    return "\n".join(parts)


def _help(path: str, command: click.Command, parent: click.Context | None) -> list[str]:
    context = click.Context(command, info_name=path.rsplit(" ", 1)[-1], parent=parent, terminal_width=100)
    parts = [f"## `{path}`\n\n```text\n{command.get_help(context)}\n```\n"]
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            parts += _help(f"{path} {name}", command.commands[name], context)
    return parts


def settings() -> str:
    """Write one table a program: setting, default, meaning."""
    parts = ["# Settings\n\nWritten by `make docs`. File < environment < flags; unknown keys are errors.\n"]
    for name, (kind, file, prefix) in SETTINGS.items():
        parts.append(f"## {name}\n\nFile `{file}` in the program's folder; environment `{prefix}<NAME>`.\n")
        parts.append("| setting | default | meaning |\n|---|---|---|")
        parts += [f"| `{key}` | `{default!r}` | {line} |" for key, default, line in described(kind)]
        parts.append("")
    return "\n".join(parts)


def broken_links() -> list[str]:
    """List relative links that point nowhere."""
    broken = []
    for page in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]:
        for target in _LINK.findall(page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(REPOSITORY)}: {target}")
    return broken


def main() -> int:
    """Write the pages and report broken links."""
    (REPOSITORY / "docs" / "commands.md").write_text(commands(), encoding="utf-8")
    (REPOSITORY / "docs" / "settings.md").write_text(settings(), encoding="utf-8")
    broken = broken_links()
    print("\n".join(f"broken link: {each}" for each in broken) or "docs written; every link resolves")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
