"""Edges as complete programs, with the lessons a test wants: published, synced, served, stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.peers.http_oracle import Representation
from tests.served import BIN, run


@dataclass
class Running:
    root: Path
    http: str
    rtsp: str
    process: subprocess.Popen[bytes]
    videos: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.http.rstrip("/").rsplit(":", 1)[1])

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.http.rstrip("/") + path, timeout=20) as answer:
            body = answer.read()
        assert isinstance(body, bytes)
        return body

    def uris(self, playlist: str) -> list[str]:
        """Paths of a media playlist's segments, in order."""
        lines = self.get(playlist).decode().splitlines()
        return [f"{playlist.rsplit('/', 1)[0]}/{line}" for line in lines if line and not line.startswith("#")]

    def init(self, playlist: str) -> str:
        """Path of the playlist's EXT-X-MAP."""
        uri = re.search('EXT-X-MAP:URI="([^"]+)"', self.get(playlist).decode())
        assert uri is not None
        return f"{playlist.rsplit('/', 1)[0]}/{uri[1]}"

    def descriptors(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def representation(self, path: str) -> Representation:
        """The resource as a plain GET by a client of the standard library shows it."""
        with urllib.request.urlopen(self.http.rstrip("/") + path, timeout=20) as answer:
            body, head = answer.read(), answer.headers
        kept = tuple((name, str(head[name])) for name in ("Cache-Control", "Vary", "Expires") if name in head)
        return Representation(path, body, head["ETag"], head["Last-Modified"], head["Content-Type"], kept)


def noisy_lesson(path: Path, *, seconds: int, kbps: int = 3000) -> Path:
    """A lesson that does not compress: a large file in a short time, with sound."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=s=640x360:r=25:d={seconds}"]
    command += ["-f", "lavfi", "-i", f"sine=f=440:r=48000:d={seconds}", "-vf", "noise=alls=60:allf=t,format=yuv420p"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "main", "-g", "50", "-keyint_min", "50"]
    command += ["-sc_threshold", "0", "-b:v", f"{kbps}k", "-maxrate", f"{kbps}k", "-bufsize", f"{kbps}k"]
    command += ["-c:a", "aac", "-ac", "2", "-movflags", "+faststart", str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path


def publish(
    root: Path, lessons: Sequence[Path], *, fine: tuple[int, ...] = (0,), timeout_s: float = 60
) -> dict[Path, str]:
    """Make a platform and an edge that has synced the lessons; item ids of those that were taken."""
    central, edge = str(root / "central"), str(root / "edge")
    run("central-platform", "init", central, "--json")
    words = ("--column", "测试专栏", "--class", "education", "--dir", central, "--json")
    items = {}
    for number, lesson in enumerate(lessons):
        told = run(
            "central-platform",
            "publish",
            str(lesson),
            "--title",
            f"第{number}课",
            *words,
            fine=fine,
            timeout_s=timeout_s,
        )
        if told and "item_id" in told[-1]:
            items[lesson] = str(told[-1]["item_id"])
    trust = str(root / "central" / "published" / "metadata" / "1.root.json")
    run("edge-server", "init", edge, "--central", str(root / "central" / "published"), "--trust", trust, "--json")
    run("edge-server", "sync", "--dir", edge, "--json")
    return items


@contextmanager
def serve(root: Path, *, environment: dict[str, str] | None = None, network: str | None = None) -> Iterator[Running]:
    """Serve an edge that has synced, in a network namespace if given; it must stop cleanly when the block ends, unless
    the block stopped it.
    """
    command = ["ip", "netns", "exec", network] if network else []
    command += [str(BIN / "edge-server"), "serve", "--dir", str(root / "edge"), "--json"]
    command += ["--http-port", "0", "--rtsp-port", "0"]
    with (root / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, **(environment or {})}
        )
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            assert first, (root / "serve.log").read_text()
            ready = json.loads(first)
            yield Running(root, str(ready["http"]), str(ready["rtsp"]), process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(20)
            process.stdout.close()
    assert process.returncode in (0, -signal.SIGKILL), (root / "serve.log").read_text()
