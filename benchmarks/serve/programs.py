"""Programs of a run: servers pinned to one core, clients to another; CPU, memory and descriptors of process trees."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

HOST = "127.0.0.1"
CORES = sorted(os.sched_getaffinity(0))
"""Cores of this program when it began; later it leaves the first to the servers."""
SERVER_CORE, CLIENT_CORE = CORES[0], CORES[-1]
START_S, STOP_S = 30.0, 15.0
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
WORDS_MAX_CHARACTERS = 1500


class Broken(RuntimeError):
    """A program or a tool did not do what the measurement needs; the message says which and what to do."""


def pin(wanted: tuple[int, ...]) -> Callable[[], None]:
    """What a child does before it becomes its program: go to its cores, allow itself many descriptors, end with us."""

    def prepare() -> None:
        os.sched_setaffinity(0, wanted)
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    return prepare


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without HTTP proxies, and some more."""
    return {name: value for name, value in os.environ.items() if "proxy" not in name.lower()} | dict(more or {})


def need(*tools: str) -> None:
    """See that programs are installed.

    Raises:
        Broken: one is not.
    """
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        raise Broken(f"not installed: {', '.join(missing)}; `scripts/strangers.sh bench` as root installs it")


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found


def cpu_s(pid: int) -> float:
    """Seconds on a core of all living threads of the process tree, from the scheduler's nanosecond clock."""
    total = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                with contextlib.suppress(OSError):
                    total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory_bytes(pid: int) -> int:
    """Resident memory of the process tree; pages that processes share are counted once for each."""
    return sum(_status_kb(each, "VmRSS") for each in tree(pid)) * 1024


def _status_kb(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


def descriptors(pid: int) -> int:
    """Open descriptors of the process tree."""
    count = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            count += sum(1 for _ in Path(f"/proc/{each}/fd").iterdir())
    return count


def stop(process: subprocess.Popen[Any]) -> None:
    """End a program that we started with a session of its own, and everything in that session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    for pipe in (process.stdout, process.stdin):
        if pipe is not None:
            pipe.close()


@dataclass(frozen=True, slots=True)
class Started:
    """A running server: its first line, when it has one, and the monotonic time at which it was started."""

    pid: int
    line: str
    began_s: float


@contextlib.contextmanager
def server(
    command: list[str],
    log: Path,
    *,
    on: tuple[int, ...] = (SERVER_CORE,),
    port: int = 0,
    env: Mapping[str, str] | None = None,
    within_s: float = START_S,
) -> Iterator[Started]:
    """Run a server for a ``with`` block. It is there when it listens on ``port``, or, without one, has said a line.

    Raises:
        Broken: it is not there in time, or ended.
    """
    began = time.monotonic()
    with log.open("wb") as words:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if port else subprocess.PIPE,
            stderr=words,
            env=environment(env),
            preexec_fn=pin(on),
            start_new_session=True,
        )
        try:
            line = "" if port else _first_line(process.stdout, within_s)
            if not port and not line:
                raise Broken(f"{_name(command)} said nothing within {within_s:.0f} s: {tail(log)}")
            if port:
                listening(port, process, began + within_s, lambda: f"{_name(command)}: {tail(log)}")
            yield Started(process.pid, line, began)
        finally:
            stop(process)


def listening(port: int, process: subprocess.Popen[Any], deadline: float, words: Callable[[], str]) -> None:
    """Wait until something listens there.

    Raises:
        Broken: nothing does in time.
    """
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, port), timeout=1).close()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise Broken(f"does not listen on port {port}: {words()}")
        time.sleep(0.02)


def client(command: list[str], *, on: tuple[int, ...] = (CLIENT_CORE,), within_s: float) -> tuple[str, float, float]:
    """Run a client to its end; return what it printed, its CPU seconds and its wall seconds.

    Raises:
        Broken: it failed, or took too long.
    """
    began = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=pin(on),
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=within_s)
    except subprocess.TimeoutExpired as error:
        raise Broken(f"{_name(command)} took more than {within_s:.0f} s") from error
    finally:
        stop(process)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise Broken(f"{_name(command)} ended with {process.returncode}: {(out + err)[-WORDS_MAX_CHARACTERS:]}")
    return out, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def last_json(text: str) -> dict[str, Any]:
    """Read the last line of JSON.

    Raises:
        Broken: there is none.
    """
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    raise Broken(f"no line of JSON in: {text[-WORDS_MAX_CHARACTERS:]}")


def tail(log: Path) -> str:
    """The last words of a log."""
    with contextlib.suppress(OSError):
        return log.read_text(errors="replace")[-WORDS_MAX_CHARACTERS:].strip()
    return ""


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _name(command: list[str]) -> str:
    return " ".join([Path(command[0]).name, *command[1:4]])


def _first_line(pipe: IO[bytes] | None, within_s: float) -> str:
    assert pipe is not None
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        return pipe.readline().decode() if selector.select(within_s) else ""
