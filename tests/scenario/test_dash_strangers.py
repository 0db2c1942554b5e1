"""ffmpeg, GStreamer and a browser play DASH and HLS of fMP4; every packet is that of the stored MP4."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests import gst
from tests.web_lab import FRAMES, SIZES, VIDEO, Lab, build, serving, stranger

pytestmark = pytest.mark.timeout(60)
QUIET = ("ffmpeg", "-nostdin", "-v", "warning", "-xerror", "-err_detect", "explode")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    yield build(tmp_path_factory.mktemp("lab"))


@pytest.fixture
async def port(made: Lab) -> AsyncIterator[int]:
    async with serving(made) as number:
        yield number


async def packet_hashes(source: str, stream: str) -> list[str]:
    """Sizes and MD5 sums of the packets as they are, in the order of decoding."""
    done = await stranger(*QUIET, "-copyts", "-i", source, "-map", f"0:{stream}", "-c", "copy", "-f", "framemd5", "-")
    assert done.returncode == 0, done.stderr
    rows = [line.split(",") for line in done.stdout.splitlines() if not line.startswith("#")]
    return [",".join(each.strip() for each in row[4:6]) for row in rows]


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize(
    ("path", "streams"),
    [
        ("hls/{video}/fmp4/R40/index.m3u8", {"v:0": "R40", "a:0": "R40"}),
        ("hls/{video}/fmp4/R12/index.m3u8", {"v:0": "R12", "a:0": "R12"}),
        ("dash/{video}/manifest.mpd", {"v:0": "R40", "v:1": "R12", "a:0": "R40"}),
    ],
)
async def test_every_packet_is_that_of_the_mp4(made: Lab, port: int, path: str, streams: dict[str, str]) -> None:
    url = f"http://127.0.0.1:{port}/{path.format(video=VIDEO)}"
    for stream, name in streams.items():
        source = await packet_hashes(str(made.root / f"{name}.mp4"), stream[:1] + ":0")
        found = await packet_hashes(url, stream)
        assert found == source[-len(found) :]
        assert len(source) - len(found) <= (stream[0] == "a"), "sound that is only there to warm the decoder up"


@pytest.mark.stranger("gst-launch-1.0")
async def test_gstreamer_plays_dash_to_the_end(port: int) -> None:
    await asyncio.to_thread(gst.play, f"http://127.0.0.1:{port}/dash/{VIDEO}/manifest.mpd", timeout_s=30)


# -- a browser, by Media Source Extensions

PAGE = """<!doctype html><meta charset=utf-8><video id=v muted></video><script>
const get = async url => { const r = await fetch(url); if (!r.ok) throw new Error(url + ' ' + r.status); return r; };
const when = (on, what) => new Promise((done, fail) => {
  on.addEventListener(what, done, {once: true}); on.addEventListener('error', () => fail(what), {once: true}); });
const hls = async url => {
  const master = await (await get(url)).text();
  const codecs = /CODECS="([^"]*)"/.exec(master)[1];
  const list = new URL(master.split('\\n').find(line => line && !line.startsWith('#')), url);
  const text = await (await get(list)).text();
  const names = text.split('\\n').filter(line => line && !line.startsWith('#'));
  const init = /MAP:URI="([^"]*)"/.exec(text)[1];
  return [{type: `video/mp4; codecs="${codecs}"`, urls: [init, ...names].map(name => new URL(name, list)), zero: 0}];
};
const dash = async url => {
  const mpd = new DOMParser().parseFromString(await (await get(url)).text(), 'text/xml');
  return [...mpd.querySelectorAll('AdaptationSet[mimeType$="/mp4"]')].map(set => {
    const one = set.querySelector('Representation'), form = one.querySelector('SegmentTemplate');
    let count = 0;
    form.querySelectorAll('S').forEach(s => { count += 1 + Number(s.getAttribute('r') || 0); });
    const urls = [form.getAttribute('initialization')];
    for (let n = 1; n <= count; n++)
      urls.push(form.getAttribute('media').replace('$Number%05d$', String(n).padStart(5, '0')));
    return {type: `${set.getAttribute('mimeType')}; codecs="${one.getAttribute('codecs')}"`,
            urls: urls.map(name => new URL(name, url)),
            zero: form.getAttribute('presentationTimeOffset') / form.getAttribute('timescale')};
  });
};
(async () => {
  const told = {};
  try {
    const url = new URL('MANIFEST', location.href), video = document.getElementById('v');
    const tracks = await (url.pathname.endsWith('.mpd') ? dash(url) : hls(url));
    told.types = tracks.map(track => track.type);
    const source = new MediaSource();
    video.src = URL.createObjectURL(source);
    await when(source, 'sourceopen');
    const buffers = tracks.map(track => source.addSourceBuffer(track.type));
    for (const [number, track] of tracks.entries()) {
      const buffer = buffers[number];
      buffer.timestampOffset = -track.zero;
      for (const piece of track.urls) {
        buffer.appendBuffer(await (await get(piece)).arrayBuffer());
        await when(buffer, 'update');
      }
    }
    source.endOfStream();
    told.buffered = [];
    const held = video.buffered;
    for (let n = 0; n < held.length; n++) told.buffered.push([held.start(n), held.end(n)]);
    told.duration = video.duration;
    told.size = [video.videoWidth, video.videoHeight];
    for (const at of [7, 1, 12.5]) {
      video.currentTime = at;
      await when(video, 'seeked');
    }
    await video.play();
    await when(video, 'ended');
    told.ended = video.currentTime;
    told.frames = video.getVideoPlaybackQuality().totalVideoFrames;
    told.audio = video.webkitAudioDecodedByteCount;
  } catch (error) {
    told.error = String(error) + ' ' + (document.getElementById('v').error || {}).message;
  }
  await fetch('/told', {method: 'POST', body: JSON.stringify(told)});
})();
</script>"""


@pytest.mark.stranger("chromium")
@pytest.mark.parametrize("path", [f"/hls/{VIDEO}/fmp4/master.m3u8", f"/dash/{VIDEO}/manifest.mpd"])
async def test_a_browser_plays_and_seeks(made: Lab, tmp_path: Path, path: str) -> None:
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def tell(request: web.Request) -> web.Response:
        told.put_nowait(json.loads(await request.text()))
        return web.Response()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE.replace("MANIFEST", path), content_type="text/html")

    async with serving(made, web.get("/page", page), web.post("/told", tell)) as port:
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
        options += ["--autoplay-policy=no-user-gesture-required", "--disable-background-networking"]
        quiet = asyncio.subprocess.DEVNULL
        url = f"http://127.0.0.1:{port}/page"
        browser = await asyncio.create_subprocess_exec("chromium", *options, url, stdout=quiet, stderr=quiet)
        try:
            async with asyncio.timeout(40):
                found = await told.get()
        finally:
            browser.terminate()
            await browser.wait()
    assert "error" not in found, found
    ((begin, end),) = found["buffered"]
    assert 0 <= begin <= 0.1 and end == pytest.approx(found["duration"], abs=0.05)
    assert found["duration"] == pytest.approx(FRAMES / 25, abs=0.15)
    assert tuple(found["size"]) == SIZES["R40"]
    assert found["ended"] == pytest.approx(found["duration"], abs=0.05)
    assert found["frames"] > 50 and found["audio"] > 0
