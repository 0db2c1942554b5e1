"""One counted lesson of several segments in two renditions, one page, and the edge's HTTP port in this process."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from domain.courseware import (
    CATALOGUE_PATH,
    Asset,
    Catalogue,
    Column,
    Courseware,
    ItemClass,
    MediaFamily,
    Rendition,
    Subtitle,
    encode_catalogue,
)
from edge_server.bootstrap.http_port import HttpPort
from edge_server.bootstrap.http_settings import HttpSettings
from edge_server.catalog import CatalogView
from edge_server.egress import EgressContext, dash, files, first_of, hls, pages
from edge_server.linear import LinearChannel
from edge_server.metrics.doors import alive
from edge_server.packager import Shelf
from edge_server.plane.lookup import Media
from edge_server.portal import PortalRequest, PortalState
from edge_server.portal.json_api import DIALECT as JSON_API
from edge_server.portal.web import DIALECT
from edge_server.sessions.logins import Logins
from edge_server.store import StoredFile
from fixtures.lessons import make_counted_lesson
from runtime.clock import FakeClock, SystemClock
from tests.views import snapshot_of

FRAMES = 363
"""14.52 s: segments of 6, 6 and 2.52 s."""
VIDEO, PAGE = "10000001", "10000002"
ISSUED = "2026-11-24T04:05:06Z"
SIZES = {"R40": (320, 180), "R12": (256, 144)}
PAGE_HTML = '<!doctype html><meta charset="utf-8"><title>春耕</title><img src="img/水渠.png">'.encode()
VTT = "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\n先断电\n".encode()
PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(40)


@dataclass
class Lab:
    """Objects by name, and the view that is active; tests may replace it while the port serves."""

    root: Path
    view: CatalogView
    shelf: Shelf
    objects: dict[str, bytes] = field(default_factory=dict)
    channels: tuple[LinearChannel, ...] = ()
    now: datetime = datetime(2026, 11, 25, tzinfo=UTC)
    full: bool = False
    """As many watch as may."""

    def path(self, name: str) -> str:
        return f"courseware/{VIDEO}/{name}.mp4"

    def sha8(self, name: str) -> str:
        return hashlib.sha256(self.objects[self.path(name)]).hexdigest()[:8]


def stored(root: Path, objects: Mapping[str, bytes]) -> dict[str, StoredFile]:
    (root / "objects").mkdir(exist_ok=True)
    found = {}
    for name, data in objects.items():
        sha256 = hashlib.sha256(data).hexdigest()
        file = root / "objects" / sha256
        file.write_bytes(data)
        found[name] = StoredFile(name, sha256, len(data), str(file))
    return found


def view_of(root: Path, catalogue: Catalogue, objects: Mapping[str, bytes], seq: int = 7) -> CatalogView:
    held = {**objects, CATALOGUE_PATH: encode_catalogue(catalogue)}
    issued = datetime(2026, 11, 24, 4, 5, 6, tzinfo=UTC)
    return CatalogView(snapshot_of(seq, "main", issued, stored(root, held), listing=catalogue))


def rendition(name: str, data: bytes, size: tuple[int, int], codecs: Sequence[str | None]) -> Rendition:
    return Rendition(
        name=name,
        path=f"courseware/{VIDEO}/{name}.mp4",
        sha256=hashlib.sha256(data).hexdigest(),
        length_bytes=len(data),
        duration_s=FRAMES / 25,
        width=size[0],
        height=size[1],
        display_width=size[0],
        frame_rate=25.0,
        frames=FRAMES,
        video_codec=codecs[0] or "",
        audio_codec=codecs[1],
        peak_bps=900_000,
        average_bps=500_000,
    )


def asset(path: str, data: bytes, media_type: str) -> Asset:
    return Asset(path=path, sha256=hashlib.sha256(data).hexdigest(), length_bytes=len(data), media_type=media_type)


def subtitle(language: str, label: str, data: bytes) -> Subtitle:
    path, sha256 = f"courseware/{VIDEO}/subtitle.{language}.vtt", hashlib.sha256(data).hexdigest()
    return Subtitle(language=language, label=label, path=path, sha256=sha256, length_bytes=len(data))


def build(root: Path) -> Lab:
    """Make the lessons and package them, as a sync does."""
    objects: dict[str, bytes] = {}
    for name, size in SIZES.items():
        made = make_counted_lesson(root / f"{name}.mp4", frames=FRAMES, title="安全用电", seed=len(name), size=size)
        objects[f"courseware/{VIDEO}/{name}.mp4"] = made.path.read_bytes()
    poster, picture, drawing = b"\xff\xd8\xff" + bytes(100), PNG, b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    page, base = f"courseware/{PAGE}/page/index.html", f"courseware/{PAGE}/page"
    objects |= {
        f"courseware/{VIDEO}/poster.jpg": poster,
        f"courseware/{VIDEO}/subtitle.zh.vtt": VTT,
        page: PAGE_HTML,
        f"{base}/img/水渠.png": picture,
        f"{base}/plan.svg": drawing,
        f"courseware/{PAGE}/secret.txt": b"not an asset of the page",
    }
    video = Courseware(
        item_id=VIDEO,
        title="第一课 <安全用电> & 急救",
        item_class=ItemClass.EDUCATION,
        column_id="1",
        family=MediaFamily.VIDEO,
        issued_at=ISSUED,
        summary="怎样用电才安全",
        duration_s=FRAMES / 25,
        renditions=tuple(
            rendition(name, objects[f"courseware/{VIDEO}/{name}.mp4"], SIZES[name], ("avc1.64000d", "mp4a.40.2"))
            for name in SIZES
        ),
        poster=asset(f"courseware/{VIDEO}/poster.jpg", poster, "image/jpeg"),
        subtitles=(subtitle("zh", "中文", VTT),),
    )
    text = Courseware(
        item_id=PAGE,
        title="春耕备耕",
        item_class=ItemClass.SERVICE,
        column_id="2",
        family=MediaFamily.PICTURE_TEXT,
        issued_at=ISSUED,
        page=asset(page, PAGE_HTML, "text/html"),
        page_assets=(
            asset(f"{base}/img/水渠.png", picture, "image/png"),
            asset(f"{base}/plan.svg", drawing, "image/svg+xml"),
        ),
    )
    columns = (
        Column(column_id="2", title="春耕", order=2),
        Column(column_id="1", title="安全", order=1),
        Column(column_id="3", title="空", order=3),
    )
    view = view_of(root, Catalogue(columns=columns, courseware=(video, text)), objects)
    shelf = Shelf(root / "derived")
    (root / "derived").mkdir()
    assert shelf.prepare(view, lambda _: None) == 2
    return Lab(root, view, shelf, objects)


@asynccontextmanager
async def serving(lab: Lab, *more: web.RouteDef) -> AsyncIterator[int]:
    """Serve the lab's view, and what a test adds, on a free port."""
    logins = Logins(lambda _: None)
    ctx = EgressContext(lambda: lab.view, lab.shelf, FakeClock(datetime(2026, 11, 25, tzinfo=UTC)))
    media = Media(
        find=first_of(hls.find(ctx), dash.find(ctx), files.find(ctx)),
        view=lambda: lab.view,
        prefixes=(*files.PREFIXES, hls.PREFIX, dash.PREFIX),
    )

    def state(request: PortalRequest) -> PortalState:
        state = PortalState(lab.view, logins, "127.0.0.1:8554", lab.now, 0.0, channels=lab.channels)
        return replace(state, ticket=lambda _: None) if lab.full else state

    routes = [
        *more,
        web.get("/healthz", alive),
        *pages.routes(ctx),
    ]
    port = HttpPort("127.0.0.1", 0, media, routes, (DIALECT, JSON_API), state, SystemClock(), HttpSettings(grace_s=1.0))
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(port.run(ready.set))
        waiting = group.create_task(ready.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        try:
            yield port.port
        finally:
            waiting.cancel()
            task.cancel()


@dataclass
class Reply:
    status: int
    fields: dict[str, str]
    body: bytes


def read_reply(connection: socket.socket, *, head_only: bool = False) -> Reply:
    """Read one reply to its last byte by its own framing, and not one byte more."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        piece = connection.recv(1)
        assert piece, f"closed inside the head: {raw!r}"
        raw += piece
    status, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    code = int(status.split()[1])
    assert "transfer-encoding" not in fields, "a length was promised"
    length = 0 if head_only or code == 304 else int(fields["content-length"])
    body = b""
    while len(body) < length:
        piece = connection.recv(min(65536, length - len(body)))
        assert piece, f"closed after {len(body)} of {length}"
        body += piece
    return Reply(code, fields, body)


def ask_on(connection: socket.socket, path: str, *fields: str, method: str = "GET") -> Reply:
    lines = "".join(f"{each}\r\n" for each in fields)
    connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
    return read_reply(connection, head_only=method == "HEAD")


async def ask(port: int, path: str, *fields: str, method: str = "GET") -> Reply:
    """One request on a connection of its own."""

    def run() -> Reply:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return ask_on(connection, path, *fields, method=method)

    return await asyncio.to_thread(run)


async def stranger(*command: str, timeout_s: float = 15) -> subprocess.CompletedProcess[str]:
    """Run a foreign program while this process serves."""
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=timeout_s, check=False
    )
