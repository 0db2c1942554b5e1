"""The library that is served: one long lesson, really published, and synced to an edge by the real commands.

The media and the publisher's folder are made once and kept; the edge is made anew in each run, by the code of today.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.serve.programs import SERVER_CORE, Broken, environment, need, server
from central_platform.publish.desk import Desk
from scripts.demo_programs import BIN, Failed, run

LESSON_S = 1040
"""Long enough for any measurement; its renditions are about 600 MB together."""
RECIPE = 1
"""Counts the changes of what is made here."""
MAKE_WITHIN_S = 1800.0
RENDITION = "R40"
RATE = 25
"""Pictures a second."""
ROOM = "4096"
"""Sessions and viewings that the edge allows in a benchmark."""


@dataclass(frozen=True, slots=True)
class Library:
    """A publisher's folder with one lesson."""

    central: str
    item_id: str
    anchor: str
    published: str

    def plain(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)

    @property
    def media_path(self) -> str:
        """Path of the lesson over HTTP."""
        return f"/media/{self.item_id}/{RENDITION}.mp4"

    @property
    def rtsp_path(self) -> str:
        """Path of the lesson over RTSP."""
        return f"/vod/{self.item_id}.mpg?rendition={RENDITION}"


def make_lesson(path: Path, seconds: float) -> Path:
    """Encode a lesson that compresses badly, at a steady rate: 4 Mb/s as a transport stream. Kept when it is there.

    Raises:
        Broken: ffmpeg is missing or fails.
    """
    if path.exists():
        return path
    need("ffmpeg")
    draft = path.with_suffix(".part.mp4")
    picture = ["-f", "lavfi", "-i", f"testsrc2=size=1280x720:rate={RATE},noise=alls=24:allf=t"]
    sound = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]
    coder = ["-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "main", "-pix_fmt", "yuv420p"]
    coder += ["-b:v", "3650k", "-maxrate", "3650k", "-bufsize", "3650k"]
    coder += ["-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-c:a", "aac", "-b:a", "96k", "-ac", "2"]
    _ffmpeg([*picture, *sound, "-t", str(seconds), *coder, "-movflags", "+faststart", str(draft)])
    return draft.rename(path)


def make_long(path: Path, source: Path, length_bytes: int) -> Path:
    """Join a lesson to itself without encoding until it has that size; kept when it is there.

    Raises:
        Broken: ffmpeg fails.
    """
    if path.exists():
        return path
    draft, times = path.with_suffix(".part.mp4"), -(-length_bytes // source.stat().st_size)
    words = ["-stream_loop", str(times - 1), "-i", str(source), "-c", "copy", "-map", "0", "-fs", str(length_bytes)]
    _ffmpeg([*words, "-movflags", "+faststart", str(draft)])
    return draft.rename(path)


def _ffmpeg(words: list[str]) -> None:
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=MAKE_WITHIN_S)
    except subprocess.TimeoutExpired as error:
        raise Broken(f"ffmpeg took more than {MAKE_WITHIN_S:.0f} s") from error
    if done.returncode:
        raise Broken(f"ffmpeg: {done.stderr[-1000:]}")


def ready(folder: Path, seconds: int = LESSON_S) -> Library:
    """Return the library; made and published when it is not there, which takes minutes.

    Raises:
        Broken: a command fails.
    """
    central, note = folder / "central", folder / "library.json"
    key = {"seconds": seconds, "recipe": RECIPE}
    if note.exists():
        kept = json.loads(note.read_text())
        if kept["key"] == key and central.exists():
            library = moved(kept["library"], central)
            Desk(central).refresh(datetime.now(UTC))  # signatures of freshness run out in days
            return library
    print(f"making a lesson of {seconds} s and publishing it, once; this takes minutes", flush=True)
    library = library_in(central, make_lesson(folder / f"lesson-{seconds}.mp4", seconds))
    note.write_text(json.dumps({"key": key, "library": library.plain()}, indent=1))
    return library


def moved(kept: dict[str, str], central: Path) -> Library:
    """The library as it was noted, where it lies now: the folder may have been copied."""
    return Library(**{name: text.replace(kept["central"], str(central), 1) for name, text in kept.items()})


def library_in(central: Path, lesson: Path) -> Library:
    """Make a platform anew and publish one lesson.

    Raises:
        Broken: a command fails.
    """
    shutil.rmtree(central, ignore_errors=True)
    try:
        made = run(["central-platform", "init", str(central), "--json"])[-1]
        words = ["--title", "测速", "--column", "测速", "--class", "service", "--dir", str(central), "--json"]
        published = run(["central-platform", "publish", str(lesson), *words], timeout_s=MAKE_WITHIN_S)[-1]
    except Failed as error:
        raise Broken(str(error)) from error
    return Library(str(central), str(published["item_id"]), str(made["trust_anchor"]), str(made["published"]))


def make_edge(library: Library, edge: Path, source: str = "") -> None:
    """Make an edge folder that knows where to sync from: the publisher's folder, or ``source``.

    Raises:
        Broken: a command fails.
    """
    shutil.rmtree(edge, ignore_errors=True)
    try:
        words = ["--central", source or library.published, "--trust", library.anchor, "--json"]
        run(["edge-server", "init", str(edge), *words])
    except Failed as error:
        raise Broken(str(error)) from error


def sync(edge: Path, within_s: float = 900.0) -> None:
    """Bring the edge up to date.

    Raises:
        Broken: the command fails.
    """
    try:
        run(["edge-server", "sync", "--dir", str(edge), "--json"], timeout_s=within_s)
    except Failed as error:
        raise Broken(str(error)) from error


@dataclass(frozen=True, slots=True)
class Edge:
    """A serving edge."""

    pid: int
    http_port: int
    rtsp_port: int
    began_s: float
    """Monotonic time at which its process was started."""

    def get(self, path: str) -> bytes:
        """Fetch a body over HTTP.

        Raises:
            Broken: it is not there.
        """
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=60) as answer:
                body: bytes = answer.read()
                return body
        except OSError as error:
            raise Broken(f"the edge does not serve {path}: {error}") from error


@contextmanager
def serving(
    edge: Path, log: Path, *, on: tuple[int, ...] = (SERVER_CORE,), env: Mapping[str, str] | None = None
) -> Iterator[Edge]:
    """Run ``edge-server serve`` with room for any load of this benchmark; everything else as it comes.

    Raises:
        Broken: it does not start.
    """
    room = {"EDGE_SERVER_VIEWING_MAX_SESSIONS": ROOM, "EDGE_SERVER_HTTP_MAX_VIEWINGS": ROOM}
    words = ["serve", "--dir", str(edge), "--http-port", "0", "--rtsp-port", "0", "--json"]
    with server([str(BIN / "edge-server"), *words], log, on=on, env=room | dict(env or {})) as started:
        ready_line = json.loads(started.line)
        if ready_line.get("type") != "ready":
            raise Broken(f"edge-server serve: {started.line}")
        ports = [int(str(ready_line[name]).rstrip("/").rsplit(":", 1)[1]) for name in ("http", "rtsp")]
        yield Edge(started.pid, ports[0], ports[1], started.began_s)


def git_state(repository: Path) -> str:
    """Name of the commit that is measured; a plus when files differ from it."""
    try:
        words = ["git", "-C", str(repository), "describe", "--always", "--dirty=+"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=10, env=environment())
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
