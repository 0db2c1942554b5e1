"""Packaging in a process of its own, at low priority: whatever it does, players are served first.

The process is told one rendition a line and answers one line (JSON each); it ends when its input does. It holds a lock
on the folder of derived files, so that one which outlives its parent and one of the next parent do not meet.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from edge_server.packager.package import PackagingFailed, package

NICE = 10
"""A player's share of the processor is then nine times as large; the disk scheduler follows it."""
END_WAIT_S = 10.0
LIMIT_S = 120.0
LIMIT_BYTES_PER_S = 500_000
"""A process that is slower than this on top of `LIMIT_S` hangs: a small board does fifty times as much."""


class _Job(msgspec.Struct, frozen=True):
    mp4: str
    sha256: str
    derived_root: str


class _Done(msgspec.Struct, frozen=True):
    refusal: str | None = None
    """Words of a `PackagingFailed`."""
    errno: int | None = None
    strerror: str = ""
    """Of an `OSError`."""


class Apart:
    """A context manager; inside, calls package one rendition after the other. The process starts with the first."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """End the process; it has nothing to do by now."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.communicate(timeout=END_WAIT_S)
        except (subprocess.TimeoutExpired, OSError):
            process.kill()
            process.communicate()

    def __call__(self, mp4: Path, sha256: str, derived_root: Path) -> None:
        """As `edge_server.packager.package`, without the answer."""
        if self._process is None:
            command = [sys.executable, "-m", "edge_server.packager.apart"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        line = b""
        try:
            process.stdin.write(msgspec.json.encode(_Job(str(mp4), sha256, str(derived_root))) + b"\n")
            process.stdin.flush()
            limit_s = LIMIT_S + mp4.stat().st_size / LIMIT_BYTES_PER_S
            if not select.select([process.stdout], [], [], limit_s)[0]:
                self._end()
                raise PackagingFailed(f"object {sha256[:12]}…: packaging did not end in {limit_s:.0f} s")
            line = process.stdout.readline()
        except BrokenPipeError:
            pass
        if not line:
            raise PackagingFailed(f"object {sha256[:12]}…: {_why(self._end())}")
        done = msgspec.json.decode(line, type=_Done)
        if done.errno is not None:
            raise OSError(done.errno, done.strerror)
        if done.refusal is not None:
            raise PackagingFailed(done.refusal)

    def _end(self) -> int:
        """End the process, and return its code; the next rendition gets one of its own."""
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        with contextlib.suppress(OSError):  # it ended before it read everything
            process.communicate()
        return process.wait()


def _why(code: int) -> str:
    ended = f"the packaging process ended ({code})"
    if code == -signal.SIGBUS:  # a mapped page without a file behind it
        return f"{ended}: the file was cut, or the disk failed, while it was read; run `edge-server store verify`"
    return f"{ended}; is there enough memory?"


def work(jobs: BinaryIO, answers: BinaryIO, pack: Callable[[Path, str, Path], object] = package) -> None:
    """Do what the lines say until there are none."""
    for line in jobs:
        job = msgspec.json.decode(line, type=_Job)
        done = _Done()
        root = Path(job.derived_root)
        try:
            folder = os.open(root, os.O_RDONLY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
                pack(Path(job.mp4), job.sha256, root)
            finally:
                os.close(folder)
        except PackagingFailed as error:
            done = _Done(refusal=str(error))
        except OSError as error:
            done = _Done(errno=error.errno or 0, strerror=error.strerror or str(error))
        answers.write(msgspec.json.encode(done) + b"\n")
        answers.flush()


if __name__ == "__main__":
    os.nice(NICE)
    work(sys.stdin.buffer, sys.stdout.buffer)
