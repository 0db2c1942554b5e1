"""For drills with the edge's own program: a publisher with columns and lessons, a slow line, lives that are cut short,
and what must hold whenever one was.

A life is ``edge-server …`` in a process of its own: either started from its command, or forked off a process that has
everything imported already. A forked one can be told to die at a certain step, and counts what it reads from a stick.
"""

from __future__ import annotations

import asyncio
import http.client
import importlib
import json
import mmap
import os
import re
import select
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from domain.courseware import (
    CATALOGUE_PATH,
    INDEX_CHANNEL,
    Asset,
    Catalogue,
    Column,
    Courseware,
    ItemClass,
    MediaFamily,
    Rendition,
    column_channel,
    encode_catalogue,
)
from edge_server.catalog import CatalogReader
from edge_server.packager import PACKAGER_VERSION, Shelf
from edge_server.store import Store
from edge_server.store.changes import changing
from edge_server.store.judged import JudgedTime
from runtime.clock import SystemClock
from sync.bundle.export import write_part
from sync.bundle.plan import plan_bundle
from sync.ids import sha256_hex
from sync.publishing import Change, Publisher
from tests.slow_server import SlowServer

ROOT = Path(__file__).resolve().parents[1]
EDGE_SERVER = Path(sys.executable).parent / "edge-server"
STICK_BYTES_PER_S = 5_000_000
STICK_PIECE_BYTES = 1024 * 1024
"""So much of a stick comes at once."""
RELAY_MAX_BYTES = 4 * 1024 * 1024
"""More than what two publications of the drill have in small files."""
COLUMNS = [Column(column_id=str(number), title=f"专栏{number}", order=number) for number in (101, 102, 103)]

Names = dict[str, str]
"""Object hash by name."""


def film(frames: int, seed: int, *, group: int = 4, title: str = "") -> bytes:
    """A film of noise, about 60 KB a picture, that begins anew every ``group`` pictures."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        _encode(file.name, frames, seed, group, title)
        return Path(file.name).read_bytes()


def _encode(path: str, frames: int, seed: int, group: int, title: str) -> None:
    with av.open(path, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["title"] = title
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        params = f"keyint={group}:scenecut=0:open-gop=0:bframes=0"
        video.options = {"preset": "ultrafast", "qp": "28", "threads": "1", "x264-params": params}
        for number in range(frames):
            source = np.random.default_rng(seed * 1000 + number)
            noise = source.integers(0, 255, (360, 320), dtype=np.uint8)
            picture = av.VideoFrame.from_ndarray(noise, format="yuv420p")
            picture.pts = number
            container.mux(video.encode(picture))
        container.mux(video.encode(None))


@dataclass
class Shelved:
    """What a column has in one release."""

    column: Column
    files: dict[str, bytes] = field(default_factory=dict)
    items: list[Courseware] = field(default_factory=list)

    def lesson(self, number: int, data: bytes) -> None:
        """Add a lesson of one rendition."""
        path = f"courseware/{number}/R12.mp4"
        self.files[path] = data
        rendition = Rendition(
            name="R12",
            path=path,
            sha256=sha256_hex(data),
            length_bytes=len(data),
            duration_s=1.0,
            width=320,
            height=240,
            display_width=320,
            frame_rate=25.0,
            frames=25,
            video_codec="avc1.42C01E",
            audio_codec=None,
            peak_bps=1_000_000,
            average_bps=500_000,
        )
        self._item(number, family=MediaFamily.VIDEO, renditions=(rendition,))

    def page(self, number: int, data: bytes) -> None:
        """Add a page."""
        path = f"courseware/{number}/index.html"
        self.files[path] = data
        asset = Asset(path=path, sha256=sha256_hex(data), length_bytes=len(data), media_type="text/html")
        self._item(number, family=MediaFamily.PICTURE_TEXT, page=asset)

    def _item(self, number: int, **more: Any) -> None:
        self.items.append(
            Courseware(
                item_id=str(number),
                title=f"第{number}课",
                item_class=ItemClass.EDUCATION,
                column_id=self.column.column_id,
                issued_at="2026-03-01T12:00:00Z",
                **more,
            )
        )

    def whole(self) -> dict[str, bytes]:
        """Return all files, the catalogue included."""
        catalogue = Catalogue(columns=(self.column,), courseware=tuple(self.items))
        return {**self.files, CATALOGUE_PATH: encode_catalogue(catalogue)}


def publication(number: int) -> dict[str, dict[str, bytes]]:
    """Return the files of every channel in publication 0, 1 or 2.

    The last one changes two columns at once (one lesson retitled, one re-encoded, one withdrawn, one added; one lesson
    half replaced, pages) and adds a third column.
    """
    first, second, third = (Shelved(column) for column in COLUMNS)
    first.lesson(11, film(8, 1, title="新" if number == 2 else "旧"))
    first.lesson(12, film(8, 2 + number // 2))
    if number < 2:
        first.lesson(13, film(4, 4 + number))
    else:
        first.lesson(14, film(12, 7))
    second.lesson(21, film(12, 9 if number == 2 else 8))
    for page in range(6):
        second.page(30 + page, f"<p>{page} {number}</p>".encode() * (300 + page))
    columns = [first, second]
    if number == 2:
        third.lesson(41, film(6, 11))
        columns.append(third)
    index = encode_catalogue(Catalogue(columns=tuple(each.column for each in columns)))
    return {
        INDEX_CHANNEL: {CATALOGUE_PATH: index},
        **{column_channel(each.column.column_id): each.whole() for each in columns},
    }


ZYGOTE = """
import json, os, sys
from tests.drill import forked_life, preload

preload()
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        forked_life(**json.loads(line))
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""
STARTED = "import json, sys; from tests.drill import forked_life; forked_life(**json.loads(sys.argv[1]))"
_STEPS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")
_COUNTER = struct.Struct("<q")


def preload() -> None:
    """Import all that a life imports."""
    for name in ("edge_server.cli", "edge_server.bootstrap.failures", "edge_server.bootstrap.sticks", "sync.pacing"):
        importlib.import_module(name)


def forked_life(
    words: list[str],
    said: str,
    die_at: tuple[str, int] | None,
    steps: str,
    counter: str,
    fill_at: tuple[str, str] | None = None,
) -> None:
    """Be ``edge-server words``; never returns.

    ``die_at`` is a regular expression and a number: the process ends before it takes so many-th step that fits. Steps
    are what makes, renames and removes files; they are written to ``steps``, if that is a path. Bytes that are read
    from a stick are counted in the mapped file ``counter``.
    """
    from edge_server import cli
    from sync.road.folder import FolderSource

    with Path(said).open("wb") as log, Path(counter).open("r+b") as counted:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        total = mmap.mmap(counted.fileno(), _COUNTER.size)
    told = os.open(steps, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if steps else -1
    left = die_at[1] if die_at else 0
    pattern = re.compile(die_at[0]) if die_at else None

    filling = re.compile(fill_at[0]) if fill_at else None

    def hook(event: str, words: tuple[Any, ...]) -> None:
        nonlocal left, filling
        if event in _STEPS or event == "subprocess.Popen":
            named = words[1] if event == "subprocess.Popen" else words
            step = (
                f"{event.split('.')[1]} {' '.join(str(word) for word in named if isinstance(word, str | os.PathLike))}"
            )
            if told >= 0:
                os.write(told, step.encode() + b"\n")
            if fill_at and filling is not None and filling.search(step):
                filling = None
                fill_up(Path(fill_at[1]))
            if pattern is not None and pattern.search(step):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

    async def read(self: FolderSource, name: str, start: int, stop: int, sink: Any, **more: Any) -> None:
        def counting(data: bytes) -> None:
            total[:] = _COUNTER.pack(_COUNTER.unpack(total[:])[0] + len(data))
            sink(data)

        for at in range(start, stop, STICK_PIECE_BYTES):
            end = min(stop, at + STICK_PIECE_BYTES)
            await asyncio.sleep((end - at) / STICK_BYTES_PER_S)
            await really_read(self, name, at, end, counting, **more)

    really_read = FolderSource.read
    FolderSource.read = read  # type: ignore[method-assign]
    sys.addaudithook(hook)
    code = 1
    try:
        cli.main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
        os._exit(code)


def fill_up(disk: Path) -> None:
    """Leave no room on a disk; ``filler`` holds what is in the way."""
    with (disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


@dataclass(frozen=True)
class Life:
    """How one ended."""

    code: int
    """Exit code; negative: the signal that ended it."""
    said: str

    @property
    def was_killed(self) -> bool:
        return self.code in (-signal.SIGKILL, -signal.SIGTERM)


class Lives:
    """Starts lives of ``edge-server``."""

    def __init__(self, folder: Path) -> None:
        self._said, self._counter, self.steps = folder / "said", folder / "counter", folder / "steps"
        self._counter.write_bytes(bytes(_COUNTER.size))
        self._zygote = subprocess.Popen(
            [sys.executable, "-c", ZYGOTE], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.clock = SystemClock()
        self.began_s = 0.0

    @property
    def stick_bytes(self) -> int:
        """Bytes that were read from sticks besides the first reading of all, by forked lives."""
        return int(_COUNTER.unpack(self._counter.read_bytes())[0])

    def live(
        self,
        *words: str | Path,
        kill_after_s: float | None = None,
        by: signal.Signals = signal.SIGKILL,
        die_at: tuple[str, int] | None = None,
        fill_at: tuple[str, str] | None = None,
        tell_steps: bool = False,
    ) -> Life:
        """Let a forked one live."""
        assert self._zygote.stdin is not None and self._zygote.stdout is not None
        asked = {
            "words": [str(word) for word in words],
            "said": str(self._said),
            "die_at": die_at,
            "fill_at": fill_at,
            "steps": str(self.steps) if tell_steps else "",
            "counter": str(self._counter),
        }
        self._zygote.stdin.write(json.dumps(asked).encode() + b"\n")
        self._zygote.stdin.flush()
        child = int(self._zygote.stdout.readline())
        if not select.select([self._zygote.stdout], [], [], kill_after_s)[0]:
            os.kill(child, by)
        code = int(self._zygote.stdout.readline())
        return Life(code, self._said.read_text(errors="replace"))

    def start(self, *words: str | Path, kill_after_s: float | None = None, by: signal.Signals = signal.SIGKILL) -> Life:
        """Start the command itself; with what counts around it when it reads from a stick."""
        command: list[str | Path] = [EDGE_SERVER, *words]
        if words[0] == "bundle":
            asked = {"words": [str(word) for word in words], "counter": str(self._counter)}
            told = json.dumps({**asked, "said": str(self._said), "die_at": None, "steps": ""})
            command = [sys.executable, "-c", STARTED, told]
        with self._said.open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
            try:
                process.wait(kill_after_s)
            except subprocess.TimeoutExpired:
                process.send_signal(by)
                process.wait(30)
        return Life(process.returncode, self._said.read_text(errors="replace"))

    def end(self) -> None:
        assert self._zygote.stdin is not None and self._zygote.stdout is not None
        self._zygote.stdin.close()
        self._zygote.stdout.close()
        assert self._zygote.wait(timeout=10) == 0


class Wrong(AssertionError):
    """What must never be."""


@dataclass
class World:
    """A publisher whose publications 0 and 1 an edge holds, and whose publication 2 is there to be had."""

    folder: Path
    publisher: Publisher
    server: SlowServer
    lives: Lives
    first: Path
    """The edge: copy it."""
    old: Mapping[str, Names]
    new: Mapping[str, Names]

    def edge(self, name: str = "edge") -> Path:
        """Return a fresh copy of the edge."""
        there = self.folder / name
        shutil.rmtree(there, ignore_errors=True)
        return shutil.copytree(self.first, there, symlinks=True)

    def longest_unit_bytes(self, edge: Path) -> int:
        """Return the length of the longest unit of what the edge holds."""
        holding = Store(edge).holding
        recipes = [recipe for sha256 in holding.ids() if (recipe := holding.recipe_of(sha256)) and recipe.units]
        holding.close()
        return max(int(recipe.unit_length.max()) for recipe in recipes)

    def gone(self, channel: str) -> frozenset[str]:
        """Names that the new release withdraws."""
        return frozenset(self.old.get(channel, {})) - frozenset(self.new[channel])

    def served_over_http(self, address: str) -> dict[str, str]:
        """Return ``old``, ``new`` or ``absent`` for every channel with courseware, as a running edge serves it.

        Raises:
            Wrong: a mixture is served, or a lesson is served whose stream is not.
        """
        with closing(http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"))) as line:

            def get(path: str) -> bytes | None:
                line.request("GET", path)
                answer = line.getresponse()
                body = answer.read()
                if answer.status not in (200, 404):
                    raise Wrong(f"{path}: {answer.status}")
                return body if answer.status == 200 else None

            ages = {}
            for channel in self.new:
                names = {*self.new[channel], *self.old.get(channel, {})} - {CATALOGUE_PATH}
                bodies: dict[str, bytes] = {}
                for name in names:
                    _, item, file = name.split("/")
                    is_video = file.endswith(".mp4")
                    body = get(f"/media/{item}/{file}" if is_video else f"/lessons/{item}/")
                    if body is not None:
                        bodies[name] = body
                        if is_video and get(f"/hls/{item}/ts/R12/index.m3u8") is None:
                            raise Wrong(f"item {item} has no stream")
                offered = {name: sha256_hex(body) for name, body in bodies.items()}
                if names:
                    ages[channel] = self.age(channel, offered, ignore=CATALOGUE_PATH) if offered else "absent"
        return ages

    def stick(self) -> Path:
        """Export the news onto a stick."""
        stick = self.folder / "stick"
        since = {channel: self.publisher.listing(channel).seq - 1 for channel in self.old}  # type: ignore[union-attr]
        plan = plan_bundle(self.publisher, {**since, "index": 1})
        assert plan.parts == 1
        write_part(self.publisher, plan, 1, stick, SystemClock().utc())
        return stick

    def served(self, edge: Path) -> dict[str, str]:
        """Return ``old`` or ``new`` for every channel, as a process that starts now sees it.

        Raises:
            Wrong: an offered object has other bytes, or is offered without being playable; or a mixture is offered.
        """
        store = Store(edge)
        view = CatalogReader(store, JudgedTime(edge, SystemClock())).current()
        shelf = Shelf(store.derived_root)
        for sha256 in store.holding.ids():
            if sha256_hex(store.holding.path(sha256).read_bytes()) != sha256:
                raise Wrong(f"object {sha256} has other bytes")
        ages = {}
        for channel, release in view.active.releases.items():
            offered = {name: each.sha256 for name, each in release.files.items()}
            missing = [name for name, each in release.files.items() if not each.file.is_file()]
            if missing:
                raise Wrong(f"{channel} offers {missing} without holding them")
            ages[channel] = self.age(channel, offered)
        for channel in self.old:
            if channel not in ages:
                raise Wrong(f"{channel} is not offered any more")
        withdrawn = {name for channel in self.new for name in self.gone(channel)}
        for item in view.listed.courseware:
            if view.why_hidden(item) is not None and not item.paths() & withdrawn:
                raise Wrong(f"item {item.item_id} is listed and not offered")
        for item in view.catalogue.courseware:
            for rendition in item.renditions:
                stored = view.file(rendition.path)
                if stored is None or shelf.packaged(stored).mp4 != stored.file:
                    raise Wrong(f"item {item.item_id} cannot be played")
        store.holding.close()
        return ages

    def age(self, channel: str, offered: Names, *, ignore: str = "") -> str:
        """Tell which release these are; what is withdrawn may be gone before all else is new."""
        new, old = (
            {name: sha256 for name, sha256 in state.get(channel, {}).items() if name != ignore}
            for state in (self.new, self.old)
        )
        if offered == new:
            return "new"
        without = {name: sha256 for name, sha256 in old.items() if name not in self.gone(channel)}
        if offered and offered in (old, without):
            return "old"
        raise Wrong(f"{channel} offers neither the old release nor the new one: {sorted(offered)}")

    def check_end(self, edge: Path) -> None:
        """Check an edge that has come to the new release: all new, nothing left over.

        Raises:
            Wrong: something is left over, or was lost.
        """
        if self.served(edge) != dict.fromkeys(self.new, "new"):
            raise Wrong("a run that ended well did not bring everything")
        store = Store(edge)
        with changing(store) as changes:
            changes.collect()
        if store.verify():
            raise Wrong("collecting took too much")
        pointer = store.pointer()
        seqs = {(channel, seq) for channel, turn in pointer.channels.items() for seq in (turn.seq, turn.previous)}
        kept = {(channel, seq) for channel, seq in seqs if seq is not None}
        listings = {store.listing_file(channel, seq) for channel, seq in kept}
        named = {each.sha256 for channel, seq in kept for each in store.read_listing(channel, seq).files.values()}
        held = set(store.holding.ids())
        bad = [str(file) for file in store.listing_files() if file not in listings]
        bad += [sha256 for sha256 in held if sha256 not in named]
        for file in edge.rglob("*"):
            name = file.relative_to(edge).as_posix()
            if file.name.endswith(".tmp") or re.match(r"trust/(.*/)?(tmp|\.)|staging/(?!meta$)", name):
                bad.append(name)
            elif name.startswith("derived/") and file.is_file():
                _, _, sha256, version, *_ = name.split("/")
                if sha256 not in held or version != f"v{PACKAGER_VERSION}":
                    bad.append(name)
            elif name.startswith("recipes/") and file.is_file() and file.read_bytes()[:32].hex() not in held:
                bad.append(name)
        if sum(file.stat().st_size for file in (edge / "relay").rglob("*") if file.is_file()) > RELAY_MAX_BYTES:
            bad.append("relay")
        bad += _wrong_rows(edge / "units.sqlite", "select distinct sha256 from object", held, complete=True)
        before = held | set(Store(self.first).holding.ids())  # the next pull that brings an object forgets these
        bad += _wrong_rows(edge / "places.sqlite", "select distinct object from span", before, complete=False)
        store.holding.close()
        if bad:
            raise Wrong(f"left over: {bad}")


def _wrong_rows(file: Path, query: str, held: Collection[str], *, complete: bool) -> list[str]:
    if not file.exists():
        return []
    with closing(sqlite3.connect(file)) as database:
        if database.execute("pragma integrity_check").fetchone() != ("ok",):
            return [f"{file.name} is damaged"]
        found = {row[0].hex() for row in database.execute(query)}
    wrong = [f"{file.name}: {each}" for each in found - set(held)]
    return wrong + ([f"{file.name} lacks {each}" for each in set(held) - found] if complete else [])


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Make one; the edge holds publication 1 and kept what it needs of publication 0."""
    clock = SystemClock()
    states = [publication(number) for number in range(3)]
    publisher = Publisher.init(folder / "central", clock.utc())
    lives = Lives(folder)
    server = SlowServer(publisher.published)
    first = folder / "first"
    try:
        for number, state in enumerate(states):
            before = states[number - 1] if number else {}
            publisher.publish_many(
                {
                    channel: Change(add=files, remove=[name for name in before.get(channel, {}) if name not in files])
                    for channel, files in state.items()
                },
                clock.utc(),
            )
            if number == 0:
                trust = publisher.trust_anchor
                made = lives.live("init", first, "--central", publisher.published, "--trust", trust, "--id", "village")
                assert made.code == 0, made.said
            if number < 2:
                life = lives.live("sync", "--dir", first)
                assert life.code == 0, life.said
        settings = first / "edge.toml"
        settings.write_text(settings.read_text().replace(str(publisher.published), server.url))
        names = [
            {channel: {name: sha256_hex(data) for name, data in files.items()} for channel, files in state.items()}
            for state in states
        ]
        yield World(folder, publisher, server, lives, first, names[1], names[2])
    finally:
        server.end()
        lives.end()
