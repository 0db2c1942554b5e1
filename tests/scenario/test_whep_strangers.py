"""Strangers watch by WebRTC: aiortc decodes what it gets, Chromium shows it, both after losses too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import aioice.ice
import numpy as np
import pytest
from aiohttp import web
from av import AudioFrame

from domain.courseware import Catalogue, Column, Courseware, ItemClass, MediaFamily
from edge_server.egress import EgressContext
from edge_server.egress.whep.datagrams import Datagrams
from edge_server.egress.whep.service import WhepService
from edge_server.packager import Shelf
from fixtures.lessons import make_counted_lesson
from runtime.clock import SystemClock
from runtime.service import running
from tests.web_lab import ISSUED, Lab, rendition, serving, view_of
from tests.whep_lab import Stranger
from wire.rtp import SenderReport, parse_rtcp

FRAMES = 250
PLAIN, MIXED, ORDERLESS = "10000001", "10000002", "10000003"
"""Without B-frames; R40 with a pyramid of them and R12 with some; only the pyramid."""
X264 = {
    "plain": "bframes=0",
    "some": "bframes=2:b-adapt=0:b-pyramid=none",
    "pyramid": "bframes=3:b-adapt=0:b-pyramid=normal",
}
ITEMS = {
    PLAIN: {"R40": "plain", "R12": "plain"},
    MIXED: {"R40": "pyramid", "R12": "some"},
    ORDERLESS: {"R40": "pyramid"},
}
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    root = tmp_path_factory.mktemp("whep")
    data = {
        name: make_counted_lesson(
            root / f"{name}.mp4", frames=FRAMES, title=name, seed=5, size=(320, 180), x264=parameters
        ).path.read_bytes()
        for name, parameters in X264.items()
    }
    objects, items = {}, []
    for item_id, renditions in ITEMS.items():
        found = []
        for name, kind in renditions.items():
            made = rendition(name, data[kind], (320, 180), ("avc1.64000d", "mp4a.40.2"))
            path = f"courseware/{item_id}/{name}.mp4"
            objects[path] = data[kind]
            found.append(
                type(made)(**{field: getattr(made, field) for field in made.__struct_fields__} | {"path": path})
            )
        items.append(
            Courseware(
                item_id=item_id,
                title=item_id,
                item_class=ItemClass.EDUCATION,
                column_id="1",
                family=MediaFamily.VIDEO,
                issued_at=ISSUED,
                duration_s=FRAMES / 25,
                renditions=tuple(found),
            )
        )
    catalogue = Catalogue(columns=(Column(column_id="1", title="1", order=1),), courseware=tuple(items))
    (root / "derived").mkdir()
    return Lab(root, view_of(root, catalogue, objects), Shelf(root / "derived"), objects)


@asynccontextmanager
async def watched(lab: Lab, *more: web.RouteDef, max_viewers: int = 8) -> AsyncIterator[tuple[WhepService, str]]:
    """Serve by HTTP as the edge does; give the service and its base URL."""
    service = WhepService(EgressContext(lambda: lab.view, lab.shelf, SystemClock()), max_viewers=max_viewers)
    async with running(service, grace=5), serving(lab, *service.routes(), *more) as port:
        yield service, f"http://127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stranger offers every address of the machine but this one."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


async def nobody_left(service: WhepService) -> None:
    async with asyncio.timeout(10):
        while len(service) or len(service.viewings):  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


def consecutive(frames: Sequence[tuple[int | None, int]], first: int) -> None:
    base = frames[0][1]
    assert [number for number, _ in frames] == list(range(first, first + len(frames)))
    assert [pts - base for _, pts in frames] == [3600 * n for n in range(len(frames))]


async def test_a_stranger_decodes_every_frame_at_its_time(made: Lab) -> None:
    async with watched(made) as (service, base), aiohttp.ClientSession() as http:
        viewer = Stranger(f"{base}/whep/{PLAIN}?rendition=R12")
        await viewer.watch(http)
        consecutive(await viewer.frames(120), 0)
        async with http.delete(viewer.location) as reply:
            assert reply.status == 200
        await nobody_left(service)
        async with http.delete(viewer.location) as reply:
            assert reply.status == 404
        await viewer.pc.close()
        assert service.counters["viewers connected"] == 1


async def test_a_viewer_begins_at_the_keyframe_before_the_wanted_second(made: Lab) -> None:
    async with watched(made) as (service, base), aiohttp.ClientSession() as http:
        viewer = Stranger(f"{base}/whep/{PLAIN}?start=5.5")
        await viewer.watch(http)
        consecutive(await viewer.frames(30), 100)
        await viewer.pc.close()
        await nobody_left(service)


async def test_lost_packets_are_sent_again(made: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lossy(monkeypatch, lambda number: number % 10 == 7)
    async with watched(made) as (service, base), aiohttp.ClientSession() as http:
        viewer = Stranger(f"{base}/whep/{PLAIN}")
        await viewer.watch(http)
        consecutive(await viewer.frames(100), 0)
        again = [session.viewer.again for _, session in service._sessions.values()]
        assert again[0] >= 5
        await viewer.pc.close()
        await nobody_left(service)


async def test_sound_comes_with_its_picture(made: Lab) -> None:
    """The tone of the second second begins with frame 25, by the wall times that the sender's reports give both."""
    async with watched(made) as (service, base), aiohttp.ClientSession() as http:
        viewer = Stranger(f"{base}/whep/{PLAIN}", sound=True)
        assert viewer.sound is not None
        begun = {"video": first_timestamp(viewer.video), "sound": first_timestamp(viewer.sound)}
        await viewer.watch(http)
        reports = sender_reports(viewer.video.transport)
        frames = await viewer.frames(40)
        assert frames[25][0] == 25
        onset = await tone_after_silence(viewer.sound.track)
        video, sound = await reports
        seen_s = wall_s(video, (await begun["video"]) + frames[25][1], 90_000)
        heard_s = wall_s(sound, (await begun["sound"]) + onset, 48_000)
        assert abs(seen_s - heard_s) < 0.005
        await viewer.pc.close()
        await nobody_left(service)


def first_timestamp(receiver: Any) -> asyncio.Future[int]:
    """Return the RTP time that the stranger counts from."""
    found: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    take = receiver._handle_rtp_packet

    async def look(packet: Any, arrival_time_ms: int) -> None:
        if not found.done():
            found.set_result(packet.timestamp)
        await take(packet, arrival_time_ms=arrival_time_ms)

    receiver._handle_rtp_packet = look
    return found


def sender_reports(transport: Any) -> asyncio.Future[list[SenderReport]]:
    """Return the reports of both streams from one datagram."""
    found: asyncio.Future[list[SenderReport]] = asyncio.get_running_loop().create_future()
    take = transport._handle_rtcp_data

    async def look(data: bytes) -> None:
        reports = [each for each in parse_rtcp(data) if isinstance(each, SenderReport)]
        if len(reports) == 2 and not found.done():
            found.set_result(reports)
        await take(data)

    transport._handle_rtcp_data = look
    return found


def wall_s(report: SenderReport, timestamp: int, clock_hz: int) -> float:
    ahead = (timestamp - report.rtp_timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
    return report.ntp / 2**32 + ahead / clock_hz


async def tone_after_silence(track: Any) -> int:
    """Return when a tone begins after half a second without one, in samples since the first packet."""
    quiet = 0
    for _ in range(100):
        frame = await track.recv()
        assert isinstance(frame, AudioFrame) and frame.pts is not None and frame.sample_rate == 48_000
        loud = np.abs(frame.to_ndarray().reshape(-1, 2)[:, 0]) > 1000
        if loud.any() and quiet > 24_000:
            return frame.pts + int(loud.argmax())
        quiet = 0 if loud.any() else quiet + len(loud)
    raise AssertionError("no tone in four seconds")


async def test_viewers_share_what_is_made_and_each_has_the_whole(made: Lab) -> None:
    async with watched(made) as (service, base), aiohttp.ClientSession() as http:
        viewers = [Stranger(f"{base}/whep/{PLAIN}") for _ in range(3)]
        for viewer in viewers:
            await viewer.watch(http)
        for frames in [await viewer.frames(40) for viewer in viewers]:
            consecutive(frames, 0)
        assert service.chunks is not None
        assert service.chunks.counters["made"] <= 5, "the pictures of 10 s lie in 5 chunks"
        for viewer in viewers:
            await viewer.pc.close()
        await nobody_left(service)


async def test_a_viewer_that_vanishes_or_never_comes_is_forgotten(made: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_server.egress.whep.session.CONNECT_MAX_S", 0.3)
    async with watched(made) as (service, base), aiohttp.ClientSession() as http:
        viewer = Stranger(f"{base}/whep/{PLAIN}")
        await viewer.pc.setLocalDescription(await viewer.pc.createOffer())
        headers = {"Content-Type": "application/sdp"}
        async with http.post(viewer.url, data=viewer.pc.localDescription.sdp, headers=headers) as reply:
            assert reply.status == 201
        assert len(service) == 1
        await nobody_left(service)
        assert service.counters["viewers never connected"] == 1
        await viewer.pc.close()


async def test_a_viewer_whose_power_is_cut_is_forgotten(made: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.05)
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 2)
    async with watched(made) as (service, base), aiohttp.ClientSession() as http:
        viewer = Stranger(f"{base}/whep/{PLAIN}")
        await viewer.watch(http)
        await viewer.frames(3)
        for protocol in viewer.video.transport.transport._connection._protocols:
            protocol.transport.abort()
        await nobody_left(service)
        await viewer.pc.close()


async def test_the_drain_tells_every_viewer(made: Lab) -> None:
    async with aiohttp.ClientSession() as http:
        async with watched(made) as (service, base):
            viewer = Stranger(f"{base}/whep/{PLAIN}")
            await viewer.watch(http)
            await viewer.frames(3)
        assert len(service) == 0
        async with asyncio.timeout(5):
            while viewer.pc.connectionState != "closed":  # noqa: ASYNC110 - what is waited for tells nobody
                await asyncio.sleep(0.01)


async def test_refusals(made: Lab) -> None:
    offer = (Path(__file__).parents[1] / "vectors" / "sdp" / "whep_offer_chromium.sdp").read_bytes()
    sdp = {"Content-Type": "application/sdp"}
    async with watched(made, max_viewers=1) as (service, base), aiohttp.ClientSession() as http:

        async def status(method: str, path: str, body: bytes = offer, headers: dict[str, str] = sdp) -> int:
            async with http.request(method, base + path, data=body, headers=headers) as reply:
                words = await reply.text()
                if reply.status >= 400:
                    assert " / " in words and not words.isascii(), words
                    assert reply.headers["Access-Control-Allow-Origin"] == "*"
                return reply.status

        assert await status("POST", "/whep/99999999") == 404
        assert await status("POST", f"/whep/{PLAIN}?rendition=R99") == 404
        assert await status("POST", f"/whep/{PLAIN}", headers={"Content-Type": "text/plain"}) == 415
        assert await status("POST", f"/whep/{PLAIN}", body=b"v=0\r\n" * 20000) == 413
        assert await status("POST", f"/whep/{PLAIN}", body=b"hello") == 400
        assert await status("POST", f"/whep/{PLAIN}?start=-1") == 400
        assert await status("POST", f"/whep/{PLAIN}?start=nan") == 400
        assert await status("POST", f"/whep/{PLAIN}?start=999") == 400
        assert await status("POST", f"/whep/{PLAIN}", body=offer.replace(b"H264", b"VP8")) == 406
        assert await status("POST", f"/whep/{ORDERLESS}") == 406
        assert await status("GET", f"/whep/{PLAIN}") == 405
        assert await status("PATCH", f"/whep/{PLAIN}/x") == 405
        assert await status("DELETE", f"/whep/{PLAIN}/x") == 404
        assert await status("OPTIONS", f"/whep/{PLAIN}", body=b"") == 204
        assert len(service) == 0
        assert await status("POST", f"/whep/{PLAIN}") == 201
        assert await status("POST", f"/whep/{PLAIN}") == 503
        assert len(service) == 1


# -- a browser

PAGE = """<!doctype html><meta charset=utf-8><video id=v autoplay playsinline></video><script>
const wait = ms => new Promise(done => setTimeout(done, ms));
(async () => {
  const told = {};
  try {
    const begun = performance.now();
    const pc = new RTCPeerConnection(), video = document.getElementById('v'), media = new MediaStream();
    for (const kind of ['video', 'audio']) pc.addTransceiver(kind, {direction: 'recvonly'});
    pc.ontrack = event => { media.addTrack(event.track); video.srcObject = media; };
    await pc.setLocalDescription(await pc.createOffer());
    const headers = {'Content-Type': 'application/sdp'};
    const reply = await fetch('ENDPOINT', {method: 'POST', headers, body: pc.localDescription.sdp});
    const answer = await reply.text();
    if (reply.status != 201) throw new Error(answer);
    const place = new URL(reply.headers.get('Location'), reply.url);
    await pc.setRemoteDescription({type: 'answer', sdp: answer});
    told.shown = [];
    const show = (now, frame) => {
      told.first_ms ??= now - begun;
      told.shown.push(frame.rtpTimestamp);
      video.requestVideoFrameCallback(show);
    };
    video.requestVideoFrameCallback(show);
    const look = async () => {
      const found = {};
      (await pc.getStats()).forEach(each => { if (each.type == 'inbound-rtp') found[each.kind] = each; });
      return found;
    };
    for (let n = 0; n < 300; n++) {
      told.stats = await look();
      if ((told.stats.video || {}).framesDecoded >= WANTED) break;
      await wait(100);
    }
    told.deleted = (await fetch(place, {method: 'DELETE'})).status;
    told.width = video.videoWidth;
  } catch (error) { told.error = String(error); }
  await fetch('/told', {method: 'POST', body: JSON.stringify(told)});
})();
</script>"""


async def browse(lab: Lab, path: str, wanted: int, profile: Path) -> tuple[dict[str, Any], WhepService]:
    """Let Chromium watch until it has decoded so many frames; return what its page tells."""
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def tell(request: web.Request) -> web.Response:
        told.put_nowait(json.loads(await request.text()))
        return web.Response()

    async def page(_: web.Request) -> web.Response:
        return web.Response(
            text=PAGE.replace("ENDPOINT", path).replace("WANTED", str(wanted)), content_type="text/html"
        )

    async with watched(lab, web.get("/page", page), web.post("/told", tell)) as (service, base):
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        options += ["--autoplay-policy=no-user-gesture-required", "--disable-background-networking"]
        quiet = asyncio.subprocess.DEVNULL
        browser = await asyncio.create_subprocess_exec("chromium", *options, f"{base}/page", stdout=quiet, stderr=quiet)
        try:
            async with asyncio.timeout(50):
                found = await told.get()
            await nobody_left(service)
        finally:
            browser.terminate()
            await browser.wait()
    return found, service


@pytest.mark.stranger("chromium")
@pytest.mark.parametrize(("path", "wanted"), [(f"/whep/{PLAIN}", 100), (f"/whep/{MIXED}", 40)])
async def test_chromium_plays(made: Lab, tmp_path: Path, path: str, wanted: int) -> None:
    """Of the second lesson R12 is sent, since R40's frames are not in order; a third of R12's frames is."""
    told, service = await browse(made, path, wanted, tmp_path)
    assert "error" not in told, told
    assert told["first_ms"] < 3000, "from the making of the offer; 0.7 s on two busy cores"
    video = told["stats"]["video"]
    assert video["framesDecoded"] >= wanted
    assert (video["pliCount"], video["packetsLost"], video["framesDropped"]) == (0, 0, 0)
    assert video["framesReceived"] - video["framesDecoded"] <= 5
    steps = [(b - a) & 0xFFFFFFFF for a, b in zip(told["shown"], told["shown"][1:], strict=False)]
    assert steps and all(0 < step < 90_000 and step % 3600 == 0 for step in steps), "shown in order, on the grid"
    assert (told["width"], told["deleted"]) == (320, 200)
    sound = told["stats"]["audio"]
    assert sound["packetsReceived"] >= 10 and sound["packetsLost"] == 0
    assert sound["totalAudioEnergy"] > 0
    assert service.counters["viewers connected"] == 1


@pytest.mark.stranger("chromium")
async def test_chromium_asks_again_for_what_was_lost(
    made: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lossy(monkeypatch, lambda number: number % 20 == 13)
    told, _ = await browse(made, f"/whep/{PLAIN}", 100, tmp_path)
    assert "error" not in told, told
    video = told["stats"]["video"]
    assert video["framesDecoded"] >= 100
    assert video["nackCount"] >= 3
    assert video["retransmittedPacketsReceived"] >= 3
    assert video["pliCount"] == 0, "everything came in time"


def lossy(monkeypatch: pytest.MonkeyPatch, lose: Callable[[int], bool]) -> None:
    """Lose chosen packets of the pictures on the way, each once: what is sent again has another SSRC."""
    send, sources, count = Datagrams.send, {}, iter(range(10**9))

    def sometimes(self: Datagrams, packets: Sequence[bytes]) -> None:
        kept = []
        for packet in packets:
            media = not 192 <= packet[1] <= 223
            first = sources.setdefault(id(self), packet[8:12]) if media else b""
            if not (media and packet[8:12] == first and lose(next(count))):
                kept.append(packet)
        if kept:
            send(self, kept)

    monkeypatch.setattr(Datagrams, "send", sometimes)
