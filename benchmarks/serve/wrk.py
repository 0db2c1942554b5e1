"""wrk as a second HTTP client: fast with small bodies, and not written by us. It cannot look at bodies.

Checked here: no error, no other status than the one asked for, and as many bytes as the answers must have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.serve.drain import Wanted
from benchmarks.serve.programs import CLIENT_CORE, HOST, Broken, client, cpu_s, need

SCRIPT = """local asked, turn = {{}}, 0
function init(args)
{lines}
end
function request()
  turn = turn + 1
  return asked[turn % #asked + 1]
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{{"answers":%d,"octets":%d,"seconds":%f,"faults":[%d,%d,%d,%d,%d],"p50_s":%f,"p99_s":%f}}\\n',
    summary.requests, summary.bytes, summary.duration / 1e6, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
"""
FAULTS = ("connect", "read", "write", "status", "timeout")


def script(wanted: list[Wanted], port: int) -> str:
    """Write the script that asks for these, one after the other."""
    lines = [f'  asked[{n}] = "{_escaped(each.request(port))}"' for n, each in enumerate(wanted, 1)]
    return SCRIPT.format(lines="\n".join(lines))


def _escaped(request: bytes) -> str:
    return request.decode().replace("\\", "\\\\").replace('"', '\\"').replace("\r\n", "\\r\\n")


def faults_of(found: dict[str, Any], wanted: list[Wanted], connections: int, head_most_bytes: int) -> list[str]:
    """Say what was wrong with a run: errors that wrk counted, or bytes that do not fit the answers. Pure."""
    faults = [f"wrk: {count} {name} errors" for name, count in zip(FAULTS, found["faults"], strict=True) if count]
    least, most = min(each.length for each in wanted), max(each.length for each in wanted)
    if not found["answers"]:
        faults.append("wrk: no answer at all")
    elif not (
        found["answers"] * least <= found["octets"] <= (found["answers"] + connections) * (most + head_most_bytes)
    ):
        faults.append(f"wrk: {found['octets']} bytes do not fit {found['answers']} answers of {least} to {most} bytes")
    return faults


def run(wanted: list[Wanted], port: int, pid: int, connections: int, seconds: float, work: Path) -> dict[str, Any]:
    """Load the server; the same numbers as ``drain.run``.

    Raises:
        Broken: wrk is not there or fails.
    """
    need("wrk")
    lua = work / "wrk.lua"
    lua.write_text(script(wanted, port))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "20s", "-s", str(lua)]
    before = cpu_s(pid)
    out, own_s, _ = client([*command, f"http://{HOST}:{port}/"], on=(CLIENT_CORE,), within_s=seconds + 40)
    server_s = cpu_s(pid) - before
    line = next((line for line in out.splitlines() if line.startswith("{")), None)
    if line is None:
        raise Broken(f"wrk: {out[-500:]}")
    found: dict[str, Any] = json.loads(line)
    faults = faults_of(found, wanted, connections, 8192)
    return {
        **found,
        "faults": faults,
        "server_cpu_s": server_s,
        "client_busy": own_s / found["seconds"],
        "compared": 0,
    }
