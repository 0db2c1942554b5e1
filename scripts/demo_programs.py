"""Starting the three programs as a newcomer would: by their command lines, reading their JSON lines."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO

BIN = Path(sys.executable).parent
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
ACCOUNTS = (("edu001@itv", "123456", "0001"), ("edu002@itv", "100001", "0002"))
"""Accounts of the emulated old boxes; synthetic."""


class Failed(RuntimeError):
    """A program did not do what the demonstration needs."""


def run(
    command: list[str], *, fine: tuple[int, ...] = (0,), timeout_s: float = 300, given: str = ""
) -> list[dict[str, object]]:
    """Run one command to its end and return its JSON lines.

    Raises:
        Failed: an exit code that is not in ``fine``, no output, or too long.
    """
    full = [str(BIN / command[0]), *command[1:]]
    try:
        done = subprocess.run(full, input=given, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(command)} took more than {timeout_s:.0f} s") from error
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode not in fine or not lines:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return lines


def accounts(edge_dir: list[str]) -> None:
    """Give the emulated old boxes their accounts."""
    for user, password, key_type in ACCOUNTS:
        command = [
            "edge-server",
            "account",
            "add",
            user,
            "--password-stdin",
            "--key-type",
            key_type,
            *edge_dir,
            "--json",
        ]
        run(command, given=password + "\n")


class Server:
    """One serving program, from its ``ready`` line to SIGTERM."""

    def __init__(self, command: list[str], folder: Path) -> None:
        """Start it; its words go to ``folder``/<program>.log."""
        self._command, self._log = command, (folder / f"{command[0]}.log").open("ab")
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]], stdout=subprocess.PIPE, stderr=self._log
        )
        self.ready: dict[str, object] = {}

    def __enter__(self) -> Server:
        """Wait until it says that it is ready."""
        assert self._process.stdout is not None
        line = _first_line(self._process.stdout, READY_TIMEOUT_S)
        answer = json.loads(line) if line.startswith(b"{") else {}
        if answer.get("type") != "ready":
            self.__exit__(None, None, None)
            raise Failed(f"{' '.join(self._command)} did not become ready: {line!r}; see {self._log.name}")
        self.ready = answer
        return self

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ask it to stop, and make sure."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()


def _first_line(pipe: IO[bytes], timeout_s: float) -> bytes:
    deadline = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        if selector.select(max(0.0, deadline - time.monotonic())):
            return pipe.readline()
    return b""
