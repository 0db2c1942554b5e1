"""Progressive MP4: CPU seconds per GB of the edge server against nginx, same file, same client, same run.

    make bench

Order is reversed every repeat; ratios are medians of per-repeat ratios. The client checks the SHA-256 of one body per
connection and contender; the run is *invalid* when the client, not the server, used up its core.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from scripts.demo_programs import Server, run  # noqa: E402

REPEATS = 4
SECONDS = 3.0
CLIENT_LIMIT = 0.95
"""Share of its core above which the client was the limit."""
READ_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Contender:
    """One server with the same bytes behind a URL."""

    name: str
    port: int
    path: str
    pids: tuple[int, ...]


@dataclass(frozen=True)
class Measured:
    """One contender in one repeat."""

    cpu_s_per_gb: float
    gb_per_s: float
    client_share: float


def cpu_s(pids: tuple[int, ...]) -> float:
    """Nanosecond CPU clock of all threads of the processes, in seconds."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def fetch(connection: socket.socket, path: str, buffer: bytearray, check: bool) -> tuple[int, str]:
    """GET one body over a kept-alive connection; return its length and, when asked, its SHA-256."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(65536)
        if not piece:
            raise RuntimeError("closed before the answer")
        head += piece
    head, _, first = head.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    if " 200 " not in lines[0] + " ":
        raise RuntimeError(lines[0])
    length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
    digest = hashlib.sha256(first) if check else None
    got = len(first)
    while got < length:
        count = connection.recv_into(buffer)
        if not count:
            raise RuntimeError(f"closed after {got} of {length} bytes")
        if digest:
            digest.update(memoryview(buffer)[:count])
        got += count
    return got, digest.hexdigest() if digest else ""


def measure(contender: Contender, sha256: str) -> Measured:
    """Load one contender over one connection for ``SECONDS``."""
    buffer = bytearray(READ_MAX_BYTES)
    with socket.create_connection(("127.0.0.1", contender.port), timeout=10) as connection:
        _, found = fetch(connection, contender.path, buffer, check=True)
        if found != sha256:
            raise RuntimeError(f"{contender.name} sent other bytes")
        before, own = cpu_s(contender.pids), resource.getrusage(resource.RUSAGE_SELF)
        began, moved = time.monotonic(), 0
        while time.monotonic() - began < SECONDS:
            moved += fetch(connection, contender.path, buffer, check=False)[0]
        wall = time.monotonic() - began
        used = cpu_s(contender.pids) - before
        now = resource.getrusage(resource.RUSAGE_SELF)
    client = (now.ru_utime + now.ru_stime - own.ru_utime - own.ru_stime) / wall
    return Measured(used / (moved / 1e9), moved / 1e9 / wall, client)


def nginx(stack: ExitStack, folder: Path, file: Path) -> Contender:
    """Start nginx on a free port with one worker, serving ``file``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shutil.copyfile(file, folder / "lesson.mp4")
    folder.chmod(0o755)
    (folder / "nginx.conf").write_text(
        f"user root; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; daemon off;\n"
        f"events {{}} http {{ access_log off; sendfile on; tcp_nopush on; open_file_cache max=10;\n"
        f"server {{ listen 127.0.0.1:{port}; root {folder}; keepalive_requests 1000000; }} }}\n"
    )
    process = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)])
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return Contender("nginx", port, "/lesson.mp4", (process.pid, *map(int, children)))


def main() -> int:
    """Run the comparison and print one JSON object."""
    if shutil.which("nginx") is None:
        print("nginx is not installed: run `make strangers` as root, or install it", file=sys.stderr)
        return 1
    from fixtures.lessons import make_counted_lesson

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        make_counted_lesson(folder / "lesson.mp4", frames=1500, size=(1280, 720), fps=25, title="测速", seed=7)
        central, edge = folder / "central", folder / "edge"
        made = run(["central-platform", "init", str(central), "--json"])[-1]
        words = ["--title", "测速", "--column", "测速", "--class", "service", "--dir", str(central), "--json"]
        published = run(["central-platform", "publish", str(folder / "lesson.mp4"), *words])[-1]
        trust = ["--trust", str(made["trust_anchor"]), "--json"]
        run(["edge-server", "init", str(edge), "--central", str(made["published"]), *trust])
        run(["edge-server", "sync", "--dir", str(edge), "--json"])
        serve = ["edge-server", "serve", "--dir", str(edge), "--http-port", "0", "--rtsp-port", "0", "--json"]
        server = stack.enter_context(Server(serve, folder))
        address = str(server.ready["http"])
        path = f"/media/{published['item_id']}/R40.mp4"
        body = urllib.request.urlopen(address.rstrip("/") + path, timeout=30).read()
        sha256 = hashlib.sha256(body).hexdigest()
        copy = folder / "nginx"
        copy.mkdir()
        (folder / "body.mp4").write_bytes(body)
        port = int(address.rstrip("/").rsplit(":", 1)[1])
        ours = Contender("edge", port, path, (server.pid,))
        contenders = [ours, nginx(stack, copy, folder / "body.mp4")]
        runs: dict[str, list[Measured]] = {contender.name: [] for contender in contenders}
        for repeat in range(REPEATS):
            for contender in contenders if repeat % 2 == 0 else reversed(contenders):
                runs[contender.name].append(measure(contender, sha256))
    ratios = [a.cpu_s_per_gb / b.cpu_s_per_gb for a, b in zip(runs["edge"], runs["nginx"], strict=True)]
    share = statistics.median(m.client_share for m in runs["edge"])
    report = {
        "body_bytes": len(body),
        "repeats": REPEATS,
        "cores": os.cpu_count(),
        **{
            f"{name}_cpu_s_per_gb": round(statistics.median(m.cpu_s_per_gb for m in ms), 4) for name, ms in runs.items()
        },
        **{f"{name}_gb_per_s": round(statistics.median(m.gb_per_s for m in ms), 3) for name, ms in runs.items()},
        "cpu_ratio_to_nginx": round(statistics.median(ratios), 2),
        "cpu_ratio_spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "client_share_of_a_core": round(share, 2),
        "valid": share < CLIENT_LIMIT,
    }
    print(json.dumps(report, indent=1))
    return 0 if report["valid"] else 1


if __name__ == "__main__":
    sys.exit(main())
