"""The machine: what it is, and what others did on its cores while we measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.serve.programs import CLIENT_CORE, CORES, SERVER_CORE, cpu_s, environment

PROGRAMS = {
    "nginx": ["nginx", "-v"],
    "wrk": ["wrk", "-v"],
    "ffmpeg": ["ffmpeg", "-version"],
    "gst-rtsp-server": ["dpkg-query", "-W", "-f", "${Version}", "gir1.2-gst-rtsp-server-1.0"],
}
LOOK_S = 1.0
LIBRARIES = ("av", "aiohttp", "aiortc", "numpy")


def core_times() -> dict[int, tuple[float, float, float]]:
    """Of each core: seconds busy, seconds in all, seconds stolen by the host."""
    tick, found = os.sysconf("SC_CLK_TCK"), {}
    for line in Path("/proc/stat").read_text().splitlines():
        match = re.match(r"cpu(\d+) (.*)", line)
        if match:
            user, nice, system, idle, wait, irq, soft, steal, *_ = (int(word) / tick for word in match[2].split())
            busy = user + nice + system + irq + soft + steal
            found[int(match[1])] = (busy, busy + idle + wait, steal)
    return found


class Watch:
    """Looks at the cores from its making on."""

    def __init__(self, pid: int = 0) -> None:
        """``pid``: the server, whose time on its core is not that of others."""
        self._pid = pid
        self._cores, self._server_s, self._began = core_times(), cpu_s(pid) if pid else 0.0, time.monotonic()

    def others(self) -> dict[str, float]:
        """Shares of the server's core that went to other programs and to the host, and how busy the client's core was.

        Scheduler ticks are 10 ms, so shares of less than a few per cent mean nothing in short runs.
        """
        now, wall = core_times(), max(time.monotonic() - self._began, 0.01)
        found: dict[str, float] = {"load": os.getloadavg()[0]}
        if SERVER_CORE in now:
            busy = now[SERVER_CORE][0] - self._cores[SERVER_CORE][0]
            used = (cpu_s(self._pid) - self._server_s) if self._pid else 0.0
            found["server_core_others"] = round(max(0.0, busy - used) / wall, 3)
            found["server_core_stolen"] = round((now[SERVER_CORE][2] - self._cores[SERVER_CORE][2]) / wall, 3)
        if CLIENT_CORE in now:
            found["client_core_busy"] = round((now[CLIENT_CORE][0] - self._cores[CLIENT_CORE][0]) / wall, 3)
        return found


def busy_share(seconds: float = LOOK_S) -> float:
    """Share of all cores that is used while we do nothing."""
    before = core_times()
    time.sleep(seconds)
    after = core_times()
    used = sum(after[core][0] - before[core][0] for core in after if core in before)
    return used / max(sum(after[core][1] - before[core][1] for core in after if core in before), 1e-9)


def about() -> dict[str, Any]:
    """Hardware, kernel, versions of what is compared."""
    congestion = Path("/proc/sys/net/ipv4/tcp_congestion_control")
    return {
        "processor": processor(),
        "cores": len(CORES),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "congestion_control": congestion.read_text().strip() if congestion.exists() else "",
        "load": os.getloadavg()[0],
        "versions": versions(),
    }


def processor() -> str:
    """Name of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def versions() -> dict[str, str]:
    """Versions of what is compared; what is not installed has none."""
    found = {}
    for name, command in PROGRAMS.items():
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=10,
                env=environment(),
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        number = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
        if number:
            found[name] = number[0]
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
