"""nginx as one would set it up for files: one worker, sendfile, tcp_nopush, open_file_cache, no access log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.serve.programs import HOST, SERVER_CORE, Started, free_port, need, server


def configuration(root: Path, home: Path, port: int, workers: int) -> str:
    """Write nginx.conf."""
    user = "user root;" if os.geteuid() == 0 else ""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {home}/{kind};" for kind in kinds)
    return f"""{user} worker_processes {workers}; worker_rlimit_nofile 65536; pid {home}/pid; daemon off;
error_log {home}/error.log crit;
events {{ worker_connections 8192; use epoll; }}
http {{ {temporary}
access_log off; sendfile on; tcp_nopush on; server_tokens off;
open_file_cache max=10000 inactive=600s; open_file_cache_valid 600s; open_file_cache_errors on;
keepalive_timeout 75; keepalive_requests 100000000; default_type application/octet-stream;
types {{ video/mp4 mp4 m4s; video/mp2t ts; application/vnd.apple.mpegurl m3u8; }}
server {{ listen {HOST}:{port} backlog=2048{" reuseport" if workers > 1 else ""}; root {root}; }} }}
"""


@contextmanager
def nginx(
    root: Path, home: Path, *, on: tuple[int, ...] = (SERVER_CORE,), workers: int = 1
) -> Iterator[tuple[Started, int]]:
    """Serve a folder; yields the process and its port.

    Raises:
        Broken: it is not installed or does not start.
    """
    need("nginx")
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    (home / "nginx.conf").write_text(configuration(root, home, port, workers))
    with server(["nginx", "-c", str(home / "nginx.conf"), "-p", str(home)], home / "words.log", on=on, port=port) as it:
        yield it, port
