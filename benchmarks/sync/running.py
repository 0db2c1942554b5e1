"""Programs of a run: clients whose CPU and memory are measured, nginx and the rsync daemon that serve them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
STOP_TIMEOUT_S = 10.0
START_TIMEOUT_S = 10.0
OUTPUT_MAX_CHARACTERS = 2000
LOG_FORMAT = "$status $body_bytes_sent $bytes_sent $request_method $uri $http_range"


@dataclass(frozen=True)
class Ran:
    """How one client ended: CPU seconds and largest memory of it and its children."""

    code: int
    wall_s: float
    cpu_s: float
    rss_bytes: int
    output: str


def environment() -> dict[str, str]:
    """Ours without HTTP proxies: the line is on loopback."""
    return {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}


def client(command: list[str], log: Path, timeout_s: float) -> Ran:
    """Run one client to its end, or kill it (and what it started) after ``timeout_s``."""
    began = time.monotonic()
    with log.open("w+", errors="replace") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(),
            start_new_session=True,
        )
        killer = threading.Timer(max(timeout_s, 0.1), os.killpg, (process.pid, signal.SIGKILL))
        killer.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
        finally:
            killer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.monotonic() - began
        output.seek(0)
        text = output.read()[-OUTPUT_MAX_CHARACTERS:]
    return Ran(process.returncode, wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, text)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def daemon(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server for a ``with`` block; it is there when it accepts connections.

    Raises:
        RuntimeError: it did not listen within ``START_TIMEOUT_S``.
    """
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment())
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection((HOST, port), timeout=1).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not listen on port {port}")
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Served:
    """A folder behind HTTP."""

    port: int
    log: Path

    def requests(self) -> tuple[int, int]:
        """Number of requests answered so far, and bytes of their bodies."""
        lines = [line.split() for line in self.log.read_text(errors="replace").splitlines()]
        return len(lines), sum(int(line[1]) for line in lines)


@contextlib.contextmanager
def nginx(folder: Path, work: Path) -> Iterator[Served]:
    """Serve ``folder`` with one worker, as a plain static server would be set up."""
    port, log, home = free_port(), work / "access.log", work / "nginx"
    home.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    temporary = "".join(
        f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root; " if os.geteuid() == 0 else ""
    (work / "nginx.conf").write_text(
        f"{user}worker_processes 1; pid {home}/pid; error_log {home}/error.log crit; daemon off;\n"
        f"events {{}} http {{ {temporary} log_format counted '{LOG_FORMAT}'; access_log {log} counted;\n"
        f"sendfile on; tcp_nopush on; keepalive_timeout 75; keepalive_requests 1000000; server_tokens off;\n"
        f"gzip off; default_type application/octet-stream;\n"
        f"server {{ listen {HOST}:{port} backlog=512; root {folder}; }} }}\n"
    )
    with daemon(["nginx", "-c", str(work / "nginx.conf"), "-p", str(home)], port):
        yield Served(port, log)


@contextlib.contextmanager
def rsync_daemon(folder: Path, work: Path) -> Iterator[int]:
    """Serve ``folder`` as module ``new``; yields the port."""
    port, conf = free_port(), work / "rsyncd.conf"
    conf.write_text(
        f"use chroot = no\nport = {port}\naddress = {HOST}\nlog file = {work}/rsyncd.log\n"
        f"pid file = {work}/rsyncd-{port}.pid\n[new]\npath = {folder}\nread only = yes\n"
    )
    if os.geteuid() == 0:
        conf.write_text("uid = root\ngid = root\n" + conf.read_text())
    with daemon(["rsync", "--daemon", "--no-detach", f"--config={conf}"], port):
        yield port


def versions() -> dict[str, str]:
    """Versions of what is compared."""
    asked = {
        "rsync": ["rsync", "--version"],
        "zsync": ["zsync", "-V"],
        "casync": ["casync", "--version"],
        "curl": ["curl", "--version"],
        "nginx": ["nginx", "-v"],
        "ffmpeg": ["ffmpeg", "-version"],
    }
    found = {"python": f"python {sys.version.split()[0]}"}
    for name, command in asked.items():
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        number = re.search(r"\d+(\.\d+)*", done.stdout + done.stderr)
        found[name] = f"{name} {number[0] if number else '?'}"
    return found
