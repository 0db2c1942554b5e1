"""Chromium plays lessons by hls.js, by its own HLS and as plain MP4: the right pictures, also where it is sent."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fixtures.frame_code import crc8
from tests.conftest import HLS_JS
from tests.web_lab import FRAMES, VIDEO, Lab, build, serving

pytestmark = [pytest.mark.timeout(60), pytest.mark.stranger("chromium")]
RATE = 25
SOUGHT_S = (9, 3)
NEAR_S = 2.5 / RATE
"""The clock is asked a moment before or after the picture is drawn."""
HLS_JS_ZERO_S = 2 / RATE
"""hls.js counts from the first decoding time, and a picture that others need is decoded two early.
It may step over that hole, and says so."""
WAYS = {
    "hls.js-ts": f"/hls/{VIDEO}/ts/master.m3u8",
    "hls.js-fmp4": f"/hls/{VIDEO}/fmp4/master.m3u8",
    "native-ts": f"/hls/{VIDEO}/ts/master.m3u8",
    "native-fmp4": f"/hls/{VIDEO}/fmp4/master.m3u8",
    "mp4": f"/media/{VIDEO}/R40.mp4",
}
PAGE = """<!doctype html><meta charset=utf-8><body>
<script src="/hls.min.js"></script><script>
const until = async (true_, what) => {
  for (let n = 0; n < 300; n++) { if (true_()) return; await new Promise(done => setTimeout(done, 50)); }
  throw new Error('never: ' + what);
};
const shown = (video, canvas) => new Promise(done => video.requestVideoFrameCallback((now, frame) => {
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const pen = canvas.getContext('2d', {willReadFrequently: true}), at = [];
  pen.drawImage(video, 0, 0);
  const clock = video.currentTime;
  for (let n = 0; n < 32; n++) {
    const [r, g, b] = pen.getImageData(Math.round((n + .5) * canvas.width / 32), canvas.height / 16 | 0, 1, 1).data;
    at.push((r + g + b) / 3 >= 128 ? '1' : '0');
  }
  done({media: frame.mediaTime, clock, code: at.join('')});
}));
const play = async (way, url) => {
  const told = {errors: []}, canvas = document.createElement('canvas'), video = document.createElement('video');
  video.muted = video.playsInline = true;
  document.body.append(video);
  try {
    if (way.startsWith('hls.js')) {
      told.version = Hls.version;
      const hls = new Hls();
      hls.on(Hls.Events.ERROR, (name, what) => {
        if (what.details == 'bufferSeekOverHole' && !what.fatal && video.currentTime < HOLE) return;
        told.errors.push(what.details + ' at ' + video.currentTime);
      });
      hls.on(Hls.Events.LEVEL_SWITCHED, (name, what) => (told.levels ||= []).push(hls.levels[what.level].width));
      hls.on(Hls.Events.MANIFEST_PARSED, () => { hls.nextLevel = 0; });
      hls.loadSource(url); hls.attachMedia(video); told.hls = hls;
    } else video.src = url;
    video.addEventListener('error', () => told.errors.push(video.error.message));
    await video.play();
    await until(() => video.currentTime > 1, 'a second');
    told.pictures = [await shown(video, canvas)];
    for (const to of SOUGHT) {
      if (told.hls) told.hls.nextLevel = 1;
      const sought = new Promise(done => video.addEventListener('seeked', done, {once: true}));
      video.currentTime = to;
      await sought;
      told.pictures.push(await shown(video, canvas));
      await until(() => video.currentTime > to + 1, 'a second after ' + to);
      told.pictures.push(await shown(video, canvas));
    }
    video.currentTime = LAST;
    await until(() => video.ended, 'the end');
    told.ended = video.currentTime;
    told.duration = video.duration;
    told.subtitles = told.hls ? told.hls.subtitleTracks.map(each => each.lang) : [];
  } catch (error) { told.error = String(error) + ' ' + (video.error || {}).message; }
  if (told.hls) told.hls.destroy();
  delete told.hls;
  video.remove();
  return told;
};
onload = async () => {
  const all = {};
  for (const [way, url] of Object.entries(WAYS)) all[way] = await play(way, url);
  await fetch('/told', {method: 'POST', body: JSON.stringify(all)});
};
</script>"""


Told = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What the page tells of every way, one after the other."""
    return asyncio.run(browse(build(tmp_path_factory.mktemp("lab")), tmp_path_factory.mktemp("profile")))


async def browse(lab: Lab, profile: Path) -> Told:
    told: asyncio.Queue[Told] = asyncio.Queue()
    assert HLS_JS is not None
    script_file = HLS_JS
    text = PAGE.replace("WAYS", json.dumps(WAYS)).replace("HOLE", str(HLS_JS_ZERO_S + 0.2))
    text = (
        text.replace("ZERO", str(HLS_JS_ZERO_S))
        .replace("RATE", str(RATE))
        .replace("SOUGHT", str(list(SOUGHT_S)))
        .replace("LAST", str(FRAMES / RATE - 1))
    )

    async def tell(request: web.Request) -> web.Response:
        told.put_nowait(json.loads(await request.text()))
        return web.Response()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html")

    async def script(_: web.Request) -> web.FileResponse:
        return web.FileResponse(script_file)

    async with serving(lab, web.get("/page", page), web.post("/told", tell), web.get("/hls.min.js", script)) as port:
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        options += ["--autoplay-policy=no-user-gesture-required", "--disable-background-networking"]
        url, quiet = f"http://127.0.0.1:{port}/page", asyncio.subprocess.DEVNULL
        browser = await asyncio.create_subprocess_exec("chromium", *options, url, stdout=quiet, stderr=quiet)
        try:
            async with asyncio.timeout(50):
                return await told.get()
        finally:
            browser.terminate()
            await browser.wait()


def number_in(code: str) -> int:
    """Read the picture's number (docs/frame_code.md)."""
    value = int(code, 2)
    number = value >> 8 & 0xFFFFF
    assert code.startswith("1010") and crc8(number.to_bytes(3, "big")) == value & 0xFF, code
    return number


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.stranger("hls.js")
def test_a_browser_plays_seeks_and_comes_to_the_end(told: Told, way: str) -> None:
    found = told[way]
    assert "error" not in found and found["errors"] == [], found
    zero_s = HLS_JS_ZERO_S if way.startswith("hls.js") else 0.0
    for each, least_s in zip(found["pictures"], (1, 9, 10, 3, 4), strict=True):
        shown_s = number_in(each["code"]) / RATE
        assert each["media"] - zero_s - NEAR_S <= shown_s <= each["clock"] - zero_s + NEAR_S, found
        assert least_s - zero_s - NEAR_S <= shown_s <= least_s + 3
    assert found["duration"] == pytest.approx(FRAMES / RATE, abs=0.15)
    assert found["ended"] == pytest.approx(found["duration"], abs=0.1)
    if way.startswith("hls.js"):
        assert set(found["levels"]) == {256, 320}, "it changed the rendition while it played"
        assert found["subtitles"] == ["zh"]
