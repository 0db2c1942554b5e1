"""Lessons given live by WebRTC: strangers publish (WHIP) and watch (WHEP); pictures pass as they are."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import aioice.ice
import pytest
from aiohttp import web

from domain.courseware import Catalogue
from edge_server.egress import EgressContext
from edge_server.egress.on_air import OnAir
from edge_server.egress.whep.service import WhepService
from edge_server.live.channel import LiveChannel
from edge_server.live.plan import LivePlan
from edge_server.live.service import Lives
from edge_server.packager import Shelf
from edge_server.sessions.tickets import Allowed
from fixtures.lessons import make_counted_lesson
from runtime.clock import SystemClock
from runtime.service import running
from tests.web_lab import Lab, serving, view_of
from tests.whep_lab import Stranger

FILE = "910001"
FRAMES = 500
pytestmark = pytest.mark.timeout(60)


@dataclass
class Live:
    base: str
    whep: WhepService
    lives: Lives

    def channel(self, channel_id: str) -> LiveChannel:
        found = self.lives.find(channel_id)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "a.mp4"
    make_counted_lesson(path, frames=FRAMES, title="L", seed=3, size=(320, 180), x264="bframes=0")
    return path


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@asynccontextmanager
async def live(root: Path, *plans: LivePlan, more: tuple[web.RouteDef, ...] = ()) -> AsyncIterator[Live]:
    view = view_of(root, Catalogue(columns=(), courseware=()), {})
    (root / "derived").mkdir(exist_ok=True)
    lab, clock = Lab(root, view, Shelf(root / "derived"), {}), SystemClock()
    lives = Lives(plans, clock)
    whep = WhepService(EgressContext(lambda: view, lab.shelf, clock), max_viewers=8, lives=lives.find)
    on_air = OnAir(tuple(lives.channels.values()), Allowed, clock.monotonic)
    routes = (*on_air.routes(), *whep.routes(), *more)
    async with running(lives, grace=5), running(whep, grace=5), serving(lab, *routes) as port:
        yield Live(f"http://127.0.0.1:{port}", whep, lives)


async def until(condition: Any, seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.02)


def in_order(frames: list[tuple[int | None, int]]) -> None:
    """Numbers are read from the pictures; each has its time."""
    numbers = [number for number, _ in frames]
    assert None not in numbers
    assert [(b or 0) - (a or 0) for a, b in pairwise(numbers)] == [1] * (len(frames) - 1), numbers
    assert all(abs(b - a - 3600) <= 20 for (_, a), (_, b) in pairwise(frames)), frames


async def test_a_stranger_watches_a_channel_from_the_last_key_picture_on(lesson: Path, tmp_path: Path) -> None:
    async with live(tmp_path, LivePlan(FILE, "文件", f"file:{lesson}")) as given, aiohttp.ClientSession() as http:
        await until(lambda: given.channel(FILE).on_air is not None)
        await asyncio.sleep(1.0)
        viewer = Stranger(f"{given.base}/whep/{FILE}", sound=True)
        await viewer.watch(http)
        assert viewer.sound is not None
        frames = await viewer.frames(60)
        assert (frames[0][0] or 0) % 50 == 0, "a key picture"
        in_order(frames)
        heard = await viewer.sound.track.recv()
        assert heard.sample_rate == 48_000
        async with http.delete(viewer.location) as reply:
            assert reply.status == 200
        await until(lambda: len(given.whep) == 0)
        await viewer.pc.close()


PAGE = """<!doctype html><meta charset=utf-8><video id=v autoplay playsinline></video><script>
const wait = ms => new Promise(done => setTimeout(done, ms));
(async () => {
  const told = {};
  try {
    const pc = new RTCPeerConnection(), video = document.getElementById('v'), media = new MediaStream();
    for (const kind of ['video', 'audio']) pc.addTransceiver(kind, {direction: 'recvonly'});
    pc.ontrack = event => { media.addTrack(event.track); video.srcObject = media; };
    const began = performance.now();
    told.shown = [];
    const show = (now, frame) => {
      if (!told.shown.length) told.first_ms = performance.now() - began;
      told.shown.push(frame.rtpTimestamp); video.requestVideoFrameCallback(show);
    };
    video.requestVideoFrameCallback(show);
    await pc.setLocalDescription(await pc.createOffer());
    const headers = {'Content-Type': 'application/sdp'};
    const reply = await fetch('ENDPOINT', {method: 'POST', headers, body: pc.localDescription.sdp});
    const answer = await reply.text();
    if (reply.status != 201) throw new Error(answer);
    const place = new URL(reply.headers.get('Location'), reply.url);
    await pc.setRemoteDescription({type: 'answer', sdp: answer});
    for (let n = 0; n < 200; n++) {
      told.stats = {};
      (await pc.getStats()).forEach(each => { if (each.type == 'inbound-rtp') told.stats[each.kind] = each; });
      if ((told.stats.video || {}).framesDecoded >= WANTED) break;
      await wait(100);
    }
    told.deleted = (await fetch(place, {method: 'DELETE'})).status;
    told.width = video.videoWidth;
  } catch (error) { told.error = String(error); }
  await fetch('/told', {method: 'POST', body: JSON.stringify(told)});
})();
</script>"""


class Browser:
    """Chromium with a page that tells what it saw."""

    def __init__(self, page: str, profile: Path) -> None:
        self.page, self.profile = page, profile
        self.told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def routes(self) -> tuple[web.RouteDef, ...]:
        return web.get("/page", self._page), web.post("/told", self._tell)

    async def open(self, base: str) -> asyncio.subprocess.Process:
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={self.profile}"]
        options += ["--autoplay-policy=no-user-gesture-required", "--disable-background-networking"]
        options += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        quiet = asyncio.subprocess.DEVNULL
        return await asyncio.create_subprocess_exec("chromium", *options, f"{base}/page", stdout=quiet, stderr=quiet)

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=self.page, content_type="text/html")

    async def _tell(self, request: web.Request) -> web.Response:
        self.told.put_nowait(json.loads(await request.text()))
        return web.Response()


@pytest.mark.stranger("chromium")
async def test_chromium_shows_a_channel(lesson: Path, tmp_path: Path) -> None:
    browser = Browser(PAGE.replace("ENDPOINT", f"/whep/{FILE}").replace("WANTED", "60"), tmp_path / "profile")
    plan = LivePlan(FILE, "文件", f"file:{lesson}")
    async with live(tmp_path, plan, more=browser.routes()) as given:
        await until(lambda: given.channel(FILE).on_air is not None)
        process = await browser.open(given.base)
        try:
            async with asyncio.timeout(50):
                told = await browser.told.get()
            await until(lambda: len(given.whep) == 0)
        finally:
            process.terminate()
            await process.wait()
    assert "error" not in told, told
    video = told["stats"]["video"]
    assert video["framesDecoded"] >= 60 and video["framesDropped"] == 0
    steps = [(b - a) & 0xFFFFFFFF for a, b in pairwise(told["shown"])]
    assert steps and all(0 < step < 90_000 for step in steps), "in order"
    assert (told["width"], told["deleted"]) == (320, 200)
    assert told["stats"]["audio"]["totalAudioEnergy"] > 0
    assert math.isfinite(told["first_ms"])
    print(f"first picture after {told['first_ms']:.0f} ms")
