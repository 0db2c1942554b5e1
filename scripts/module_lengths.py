"""Fail when a module that ships is longer than it should be: look for the seam instead."""

from __future__ import annotations

import sys
from pathlib import Path

MAX_LINES = 400


def main(folders: list[str]) -> int:
    """Print every module over the limit; return the exit code."""
    long = []
    for folder in folders:
        for path in sorted(Path(folder).rglob("*.py")):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > MAX_LINES:
                long.append(f"{path}: {lines} lines, at most {MAX_LINES}")
    print("\n".join(long) if long else f"module lengths: none over {MAX_LINES} lines")
    return 1 if long else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
