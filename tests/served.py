"""A real chain for scenarios: two lessons published, synced, and served by a process."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from fixtures.lessons import make_counted_lesson, make_picture_text

BIN = Path(sys.executable).parent
LATE = {"EDGE_SERVER_PACING_LATE_MAX_MS": "60000"}
"""A machine that is busy with tests turns no viewer away."""
FRAMES = 130
"""5.2 s at 25 a second: long enough for three 2 s GOPs, short enough for real time."""


def run(*command: str, given: str = "", fine: tuple[int, ...] = (0,), timeout_s: float = 60) -> list[dict[str, object]]:
    program = [str(BIN / command[0]), *command[1:]]
    done = subprocess.run(program, input=given, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode in fine, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@dataclass(frozen=True)
class Served:
    """A running edge and where it came from."""

    root: Path
    http: str
    rtsp: str
    video: str
    page: str
    frames: int = FRAMES
    pid: int = 0

    @property
    def central(self) -> Path:
        return self.root / "central"

    @property
    def edge(self) -> Path:
        return self.root / "edge"

    @property
    def http_port(self) -> int:
        return int(self.http.rstrip("/").rsplit(":", 1)[1])

    @property
    def rtsp_port(self) -> int:
        return int(self.rtsp.rstrip("/").rsplit(":", 1)[1])


@lru_cache(maxsize=1)
def _template() -> tuple[Path, str, str]:
    """Publish once in this process; the folder lasts as long as the process."""
    folder = Path(tempfile.mkdtemp(prefix="published-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder, *_publish(folder)


def published(root: Path) -> tuple[str, str]:
    """Make a platform with two lessons and an edge that has synced them; return the item ids."""
    template, video, page = _template()
    shutil.copytree(template, root, symlinks=True, dirs_exist_ok=True)
    settings = root / "edge" / "edge.toml"
    settings.write_text(settings.read_text(encoding="utf-8").replace(str(template), str(root)), encoding="utf-8")
    return video, page


def _publish(root: Path) -> tuple[str, str]:
    make_counted_lesson(root / "lesson.mp4", frames=FRAMES, title="安全用电", seed=3)
    make_picture_text(root / "notice", "春耕备耕")
    central, edge = str(root / "central"), str(root / "edge")
    run("central-platform", "init", central, "--json")
    words = ("--column", "测试专栏", "--class", "education", "--dir", central, "--json")
    video = run("central-platform", "publish", str(root / "lesson.mp4"), "--title", "安全用电", *words)[-1]["item_id"]
    page = run("central-platform", "publish", str(root / "notice"), "--title", "春耕备耕", *words)[-1]["item_id"]
    trust = str(root / "central" / "published" / "metadata" / "1.root.json")
    run("edge-server", "init", edge, "--central", str(root / "central" / "published"), "--trust", trust, "--json")
    run("edge-server", "sync", "--dir", edge, "--json")
    for user, password, key in (("edu001@itv", "123456", "0001"), ("edu002@itv", "100001", "0002")):
        add = ("edge-server", "account", "add", user, "--password-stdin", "--key-type", key, "--dir", edge, "--json")
        run(*add, given=password + "\n")
    return str(video), str(page)


@contextmanager
def serving(root: Path) -> Iterator[Served]:
    """Publish, sync and serve until the block ends."""
    video, page = published(root)
    with serve(root, video, page) as served:
        yield served


@contextmanager
def serve(
    root: Path,
    video: str,
    page: str,
    settings: Mapping[str, str] = MappingProxyType({}),
    *,
    ends_with: int = 0,
) -> Iterator[Served]:
    """Serve what was published until the block ends; ``settings`` are added to the environment."""
    command = [str(BIN / "edge-server"), "serve", "--dir", str(root / "edge"), "--json"]
    command += ["--http-port", "0", "--rtsp-port", "0"]
    with (root / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, **settings})
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            yield Served(root, str(ready["http"]), str(ready["rtsp"]), video, page, pid=process.pid)
        finally:
            process.terminate()
            process.wait(20)
            if process.stdout is not None:
                process.stdout.close()
    assert process.returncode == ends_with, (root / "serve.log").read_text()


def raw_http(port: int, request: bytes, timeout_s: float = 5.0) -> bytes:
    """Send bytes, read until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(request)
        answer, deadline = b"", time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            piece = connection.recv(65536)
            if not piece:
                return answer
            answer += piece
    raise AssertionError("the server did not close")
