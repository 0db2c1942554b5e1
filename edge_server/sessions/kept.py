"""What the files of this edge's own records share: a lock against a second command, and a look at changes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def fingerprint(path: Path) -> tuple[int, int, int] | None:
    """Return what is another when the file is another; None when there is none."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_mtime_ns, state.st_ino, state.st_mode


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep two commands from changing the file at once; the second one waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
