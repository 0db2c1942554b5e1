"""File systems that a test mounts, as root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def run(*words: str | Path) -> int:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    return done.returncode


@contextmanager
def mounted(point: Path, *words: str | Path) -> Iterator[Path]:
    """Mount there; skip where even root may not."""
    point.mkdir(exist_ok=True)
    if run("mount", *words, point):
        pytest.skip(f"cannot mount {words[-1]} here")
    try:
        yield point
    finally:
        assert run("umount", point) == 0
