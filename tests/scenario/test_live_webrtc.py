"""Lessons given live by WebRTC: strangers publish (WHIP) and watch (WHEP); pictures pass as they are."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import aioice.ice
import numpy as np
import pytest
from aiohttp import web
from aiortc import (
    AudioStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
    VideoStreamTrack,
)
from av import VideoFrame
from yarl import URL

from domain.courseware import Catalogue
from edge_server.egress import EgressContext
from edge_server.egress.on_air import OnAir
from edge_server.egress.whep.doors import whip_routes
from edge_server.egress.whep.service import WhepService
from edge_server.egress.whep.whip import WhipService
from edge_server.live.channel import LiveChannel
from edge_server.live.plan import LivePlan
from edge_server.live.service import Lives
from edge_server.packager import Shelf
from edge_server.sessions.tickets import Allowed
from fixtures import frame_code
from fixtures.lessons import make_counted_lesson
from runtime.clock import SystemClock
from runtime.service import running
from tests.peers import tr101290
from tests.web_lab import Lab, serving, view_of
from tests.whep_lab import Stranger

FILE = WHIP = "910001"
TOKEN = "open sesame, sixteen"
PUBLISHED = LivePlan(WHIP, "开学典礼", "whip")
FRAMES = 500
pytestmark = pytest.mark.timeout(60)


@dataclass
class Live:
    base: str
    whep: WhepService
    whip: WhipService
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
    whip = WhipService(lives.find, TOKEN, clock)
    routes = (*on_air.routes(), *whep.routes(), *whip_routes(whip.post, whip.patch, whip.delete), *more)
    async with (
        running(lives, grace=5),
        running(whep, grace=5),
        running(whip, grace=5),
        serving(lab, *routes) as port,
    ):
        yield Live(f"http://127.0.0.1:{port}", whep, whip, lives)


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


# -- publishing


class Counted(VideoStreamTrack):  # type: ignore[misc]
    """Pictures with their number drawn into them, 25 a second."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.began: float | None = None

    async def recv(self) -> VideoFrame:
        loop = asyncio.get_running_loop()
        self.began = self.began if self.began is not None else loop.time()
        await asyncio.sleep(max(0.0, self.began + self.number / 25 - loop.time()))
        picture = np.full((270, 320), 128, np.uint8)
        frame_code.draw(picture[:180], self.number)
        frame = VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = self.number * 3600, Fraction(1, 90_000)
        self.number += 1
        return frame


class StrangePublisher:
    """aiortc as a publisher."""

    def __init__(self, url: str, *, codec: str = "video/H264") -> None:
        self.url, self.location, self.etag = url, "", ""
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        video = self.pc.addTransceiver(Counted(), direction="sendonly")
        wanted = [each for each in RTCRtpSender.getCapabilities("video").codecs if each.mimeType == codec]
        video.setCodecPreferences(wanted)
        self.video = video.sender
        self.pc.addTransceiver(AudioStreamTrack(), direction="sendonly")

    async def publish(self, http: aiohttp.ClientSession, *, token: str = TOKEN) -> int:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {token}"}
        async with http.post(self.url, data=self.pc.localDescription.sdp, headers=headers) as reply:
            answer = await reply.text()
            if reply.status == 201:
                self.etag = reply.headers["ETag"]
                self.location = str(reply.url.join(URL(reply.headers["Location"])))
                await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            return reply.status


async def test_a_stranger_publishes_and_pictures_come_out_whole_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_server.live.channel.OFF_AIR_S", 0.5)
    monkeypatch.setattr("edge_server.egress.whep.session.LINGER_S", 0.5)
    async with live(tmp_path, PUBLISHED) as given, aiohttp.ClientSession() as http:
        publisher = StrangePublisher(f"{given.base}/whip/{WHIP}")
        assert await publisher.publish(http) == 201
        channel = given.channel(WHIP)
        await until(lambda: channel.on_air is not None)
        viewer = Stranger(f"{given.base}/whep/{WHIP}", sound=True)
        await viewer.watch(http)
        in_order(await viewer.frames(50))
        assert viewer.sound is not None
        assert (await viewer.sound.track.recv()).sample_rate == 48_000
        await until(lambda: channel.broadcast is not None and len(channel.broadcast.segments.kept) >= 2)
        data = b""
        for each in channel.broadcast.segments.kept:  # type: ignore[union-attr]
            data += each.data
        report = tr101290.check(data)
        assert report.wrong == []
        assert report.units[0x101] > 100, "Opus became AAC"
        async with http.delete(publisher.location) as reply:
            assert reply.status == 200
        assert len(given.whip) == 0
        await until(lambda: channel.on_air is None)
        await until(lambda: len(given.whep) == 0, 20)
        async with http.get(f"{given.base}/live/{WHIP}/index.m3u8") as reply:
            assert (await reply.text()).endswith("#EXT-X-ENDLIST\n")
        await viewer.pc.close()
        await publisher.pc.close()


async def test_a_publisher_whose_power_is_cut_comes_back_into_the_same_broadcast(tmp_path: Path) -> None:
    async with live(tmp_path, PUBLISHED) as given, aiohttp.ClientSession() as http:
        first, second = (StrangePublisher(f"{given.base}/whip/{WHIP}") for _ in range(2))
        assert await first.publish(http) == 201
        channel = given.channel(WHIP)
        await until(lambda: channel.counters["pictures"] > 20)
        assert await second.publish(http) == 409
        broadcast = channel.broadcast
        for protocol in first.video.transport.transport._connection._protocols:
            protocol.transport.abort()
        status = 409
        async with asyncio.timeout(10):
            while status == 409:
                await asyncio.sleep(0.5)
                await second.pc.close()
                second = StrangePublisher(f"{given.base}/whip/{WHIP}")
                status = await second.publish(http)
        assert status == 201
        await until(lambda: channel.counters["sources"] == 2 and channel.counters["pictures"] > 60)
        assert channel.broadcast is broadcast
        await first.pc.close()
        await second.pc.close()
        await until(lambda: len(given.whip) == 0)


async def test_what_a_publisher_loses_is_asked_for_again(tmp_path: Path) -> None:
    async with live(tmp_path, PUBLISHED) as given, aiohttp.ClientSession() as http:
        publisher = StrangePublisher(f"{given.base}/whip/{WHIP}")
        transport, sent = publisher.video.transport, iter(range(10**9))
        send = transport._send_rtp

        async def lossy(data: bytes) -> None:
            if next(sent) % 12 != 7:
                await send(data)

        transport._send_rtp = lossy
        assert await publisher.publish(http) == 201
        channel = given.channel(WHIP)
        await until(lambda: channel.on_air is not None)
        viewer = Stranger(f"{given.base}/whep/{WHIP}")
        await viewer.watch(http)
        in_order(await viewer.frames(50))
        await viewer.pc.close()
        await publisher.pc.close()
        await until(lambda: len(given.whip) == 0)


async def test_publishers_that_are_refused(tmp_path: Path) -> None:
    plans = (PUBLISHED, LivePlan("910002", "文件", "file:/nowhere"))
    async with live(tmp_path, *plans) as given, aiohttp.ClientSession() as http:

        async def published(path: str = WHIP, codec: str = "video/H264", token: str = TOKEN) -> int:
            stranger = StrangePublisher(f"{given.base}/whip/{path}", codec=codec)
            try:
                return await stranger.publish(http, token=token)
            finally:
                await stranger.pc.close()

        assert await published(token="wrong") == 401
        assert await published(token="") == 401
        assert await published(path="910002") == 404
        assert await published(path="99") == 404
        assert await published(codec="video/VP8") == 406
        right = {"Authorization": f"Bearer {TOKEN}"}

        async def status(method: str, path: str, body: bytes = b"", **headers: str) -> int:
            url = f"{given.base}/whip/{path}"
            async with http.request(method, url, data=body, headers={**right, **headers}) as reply:
                text = await reply.text()
                assert reply.status < 400 or (" / " in text and not text.isascii()), text
                assert reply.headers["Access-Control-Allow-Origin"] == "*"
                return reply.status

        sdp, patch = {"Content-Type": "application/sdp"}, {"Content-Type": "application/trickle-ice-sdpfrag"}
        assert await status("POST", WHIP, b"v=0", **{"Content-Type": "text/plain"}) == 415
        assert await status("POST", WHIP, b"hello", **sdp) == 400
        assert await status("POST", WHIP, b"v=0\r\n" * 20000, **sdp) == 413
        assert await status("GET", WHIP) == 405
        assert await status("OPTIONS", WHIP) == 204
        assert await status("DELETE", f"{WHIP}/x") == 404
        assert await status("PATCH", f"{WHIP}/x", b"", **patch) == 404
        stranger = StrangePublisher(f"{given.base}/whip/{WHIP}")
        assert await stranger.publish(http) == 201
        place = stranger.location.partition("/whip/")[2]
        assert await status("PATCH", place, b"a=end-of-candidates", **patch) == 428
        assert await status("PATCH", place, b"a=x", **patch, **{"If-Match": '"other"'}) == 412
        assert await status("PATCH", place, b"\xff", **patch, **{"If-Match": "*"}) == 400
        assert await status("PATCH", place, b"a=ice-ufrag:new1\r\n", **patch, **{"If-Match": "*"}) == 422
        assert await status("PATCH", place, b"a=end-of-candidates\r\n", **patch, **{"If-Match": stranger.etag}) == 204
        assert await status("PATCH", place, b"", **sdp) == 415
        assert await status("DELETE", place) == 200
        assert await status("DELETE", place) == 404
        await stranger.pc.close()
        assert len(given.whip) == 0


PUBLISH = """<!doctype html><meta charset=utf-8><script>
const wait = ms => new Promise(done => setTimeout(done, ms));
(async () => {
  const told = {};
  try {
    const pc = new RTCPeerConnection();
    const media = await navigator.mediaDevices.getUserMedia({video: {width: 320, height: 240}, audio: true});
    for (const track of media.getTracks()) {
      const made = pc.addTransceiver(track, {direction: 'sendonly', streams: [media]});
      const codecs = RTCRtpSender.getCapabilities(track.kind).codecs;
      if (track.kind == 'video') made.setCodecPreferences(codecs.filter(each => each.mimeType == 'video/H264'));
    }
    await pc.setLocalDescription(await pc.createOffer());
    const headers = {'Content-Type': 'application/sdp', 'Authorization': 'Bearer TOKEN'};
    const reply = await fetch('ENDPOINT', {method: 'POST', headers, body: pc.localDescription.sdp});
    const answer = await reply.text();
    if (reply.status != 201) throw new Error(reply.status + answer);
    await pc.setRemoteDescription({type: 'answer', sdp: answer});
    for (let n = 0; n < 200; n++) {
      told.stats = {};
      (await pc.getStats()).forEach(each => { if (each.type == 'outbound-rtp') told.stats[each.kind] = each; });
      if ((told.stats.video || {}).framesSent >= WANTED) break;
      await wait(100);
    }
  } catch (error) { told.error = String(error); }
  await fetch('/told', {method: 'POST', body: JSON.stringify(told)});
})();
</script>"""


@pytest.mark.stranger("chromium")
async def test_chromium_publishes_and_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_server.egress.whep.publisher.SILENT_MAX_S", 2.0)
    page = PUBLISH.replace("ENDPOINT", f"/whip/{WHIP}").replace("TOKEN", TOKEN).replace("WANTED", "90")
    browser = Browser(page, tmp_path / "profile")
    async with live(tmp_path, PUBLISHED, more=browser.routes()) as given, aiohttp.ClientSession() as http:
        process = await browser.open(given.base)
        try:
            channel = given.channel(WHIP)
            await until(lambda: channel.on_air is not None or not browser.told.empty(), 30)
            if not browser.told.empty():
                raise AssertionError(browser.told.get_nowait())
            viewer = Stranger(f"{given.base}/whep/{WHIP}")
            await viewer.watch(http)
            for _ in range(40):
                frame = await viewer.video.track.recv()
                assert frame.width >= 160
            async with asyncio.timeout(30):
                told = await browser.told.get()
            assert "error" not in told, told
            assert told["stats"]["video"]["pliCount"] >= 2, "key pictures are asked for"
            await until(lambda: channel.broadcast is not None and len(channel.broadcast.segments.kept) >= 2)
            data = b"".join(each.data for each in channel.broadcast.segments.kept)  # type: ignore[union-attr]
            assert tr101290.check(data).wrong == []
            await viewer.pc.close()
        finally:
            process.kill()
            await process.wait()
        await until(lambda: len(given.whip) == 0, 20)
        assert not channel.is_given
