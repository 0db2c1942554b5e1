"""ffmpeg and GStreamer play HLS of several segments, and a browser the pages: every picture, in order, no warning."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
from collections.abc import AsyncIterator, Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from aiohttp import web

from tests import gst
from tests.web_lab import FRAMES, PAGE, SIZES, VIDEO, VTT, Lab, ask, build, serving, stranger
from wire.m3u8 import MasterPlaylist, MediaPlaylist, parse

pytestmark = pytest.mark.timeout(60)
FFMPEG = ("ffmpeg", "-nostdin", "-v", "warning", "-xerror", "-err_detect", "explode")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    yield build(tmp_path_factory.mktemp("lab"))


@pytest.fixture
async def port(made: Lab) -> AsyncIterator[int]:
    async with serving(made) as number:
        yield number


async def playlist(port: int, path: str) -> MediaPlaylist | MasterPlaylist:
    reply = await ask(port, path)
    assert reply.status == 200
    return parse(reply.body.decode())


async def picture_hashes(source: str) -> list[str]:
    done = await stranger(*FFMPEG, "-i", source, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-")
    assert (done.returncode, done.stderr) == (0, "")
    return [line.rsplit(",", 1)[1].strip() for line in done.stdout.splitlines() if not line.startswith("#")]


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize("flavour", ["ts", "fmp4"])
async def test_ffmpeg_decodes_the_pictures_of_the_source(made: Lab, port: int, flavour: str) -> None:
    """Not only as many: the same ones in the same order, over segment borders."""
    base = f"http://127.0.0.1:{port}/hls/{VIDEO}/{flavour}"
    for name in SIZES:
        source = await picture_hashes(str(made.root / f"{name}.mp4"))
        assert len(source) == FRAMES
        assert await picture_hashes(f"{base}/{name}/index.m3u8") == source
    done = await stranger(*FFMPEG, "-i", f"{base}/master.m3u8", "-map", "0", "-f", "null", "-")
    said = [line for line in done.stderr.splitlines() if "Can't support the subtitle" not in line]  # it never can
    assert (done.returncode, said) == (0, [])


@pytest.mark.stranger("ffprobe")
@pytest.mark.parametrize("flavour", ["ts", "fmp4"])
async def test_ffprobe_agrees_with_the_playlists(made: Lab, port: int, flavour: str) -> None:
    base = f"/hls/{VIDEO}/{flavour}"
    master = await playlist(port, f"{base}/master.m3u8")
    assert isinstance(master, MasterPlaylist) and not master.deviations and master.independent
    assert [variant.uri for variant in master.variants] == ["R40/index.m3u8", "R12/index.m3u8"]
    for variant, (_, size) in zip(master.variants, SIZES.items(), strict=True):
        media = await playlist(port, f"{base}/{variant.uri}")
        assert isinstance(media, MediaPlaylist) and not media.deviations
        assert media.vod and media.ended and media.independent and len(media.segments) == 3
        assert (media.map_uri is not None) == (flavour == "fmp4")
        assert media.target_duration_s == 6 == max(math.floor(s.duration_s + 0.5) for s in media.segments)
        show = ("-show_entries", "format=duration:stream=codec_type,width,height,r_frame_rate", "-of", "json")
        done = await stranger("ffprobe", "-v", "warning", *show, f"http://127.0.0.1:{port}{base}/{variant.uri}")
        assert (done.returncode, done.stderr) == (0, "")
        found = json.loads(done.stdout)
        video = next(each for each in found["streams"] if each["codec_type"] == "video")
        assert (video["width"], video["height"]) == variant.resolution == size
        assert video["r_frame_rate"] == "25/1" and variant.frame_rate == 25.0
        assert float(found["format"]["duration"]) == pytest.approx(media.duration_s, abs=0.1)
        assert media.duration_s == pytest.approx(FRAMES / 25, abs=0.1)
        sizes = [len((await ask(port, f"{base}/R{variant.uri[1:3]}/{s.uri}")).body) for s in media.segments]
        rates = [8 * length / s.duration_s for length, s in zip(sizes, media.segments, strict=True)]
        # The last segment is under half a target duration: it counts only together with the one before (RFC 8216 §4.1).
        both = 8 * sum(sizes[1:]) / sum(s.duration_s for s in media.segments[1:])
        assert variant.bandwidth_bps == math.ceil(max(*rates[:2], both))
        assert variant.average_bandwidth_bps == math.ceil(8 * sum(sizes) / media.duration_s)


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize("flavour", ["ts", "fmp4"])
async def test_every_segment_begins_with_a_picture_that_needs_no_other(port: int, flavour: str, tmp_path: Path) -> None:
    """Play each one by itself, as a player does after a seek."""
    base = f"/hls/{VIDEO}/{flavour}/R12"
    media = await playlist(port, f"{base}/index.m3u8")
    assert isinstance(media, MediaPlaylist)
    init = (await ask(port, f"{base}/{media.map_uri}")).body if media.map_uri else b""
    counted = []
    for segment in media.segments:
        file = tmp_path / "alone"
        file.write_bytes(init + (await ask(port, f"{base}/{segment.uri}")).body)
        counted.append(len(await picture_hashes(str(file))))
    assert counted == [150, 150, 63]


@pytest.mark.stranger("gst-launch-1.0")
@pytest.mark.parametrize(
    "path", [f"hls/{VIDEO}/ts/master.m3u8", f"hls/{VIDEO}/fmp4/master.m3u8", f"media/{VIDEO}/R40.mp4"]
)
async def test_gstreamer_plays_to_the_end(port: int, path: str) -> None:
    await asyncio.to_thread(gst.play, f"http://127.0.0.1:{port}/{path}", timeout_s=30)


@pytest.mark.stranger("chromium")
@pytest.mark.parametrize("width", [1280, 640, 375])
async def test_a_browser_shows_the_pages_without_a_sideways_scroll(made: Lab, tmp_path: Path, width: int) -> None:
    """A page of the test's own frames each page at the wanted width and asks the browser how wide it became."""
    paths = ["/", f"/watch/{VIDEO}", "/none"]

    async def frames(_: web.Request) -> web.Response:
        style = f"border:0;width:{width}px;height:530px"
        held = "".join(f"<iframe style='{style}' src='{path}'></iframe>" for path in paths)
        script = (
            "<script>onload=function(){var t=[];for(var i=0;i<frames.length;i++){var d=frames[i].document;"
            "t.push(d.documentElement.scrollWidth+' '+d.documentElement.clientWidth+' '+d.title)}"
            "document.title=t.join('|')}</script>"
        )
        return web.Response(text=f"<!doctype html><meta charset=utf-8>{held}{script}", content_type="text/html")

    async with serving(made, web.get("/frames", frames)) as port:
        options = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom")
        done = await stranger("chromium", *options, f"http://127.0.0.1:{port}/frames", timeout_s=40)
    title = done.stdout.partition("<title>")[2].partition("</title>")[0]
    found = [each.split(" ", 2) for each in title.split("|")]
    assert len(found) == len(paths), (title, done.stderr[-300:])
    for scroll_width, client_width, _ in found:
        assert scroll_width == client_width, title
        assert width - 20 <= int(client_width) <= width, "the frame, perhaps less the bar of its vertical scroll"
    assert "安全用电" in found[1][2] and "没有" in found[2][2]


async def test_what_is_listed_is_there(port: int) -> None:
    catalogue = json.loads((await ask(port, "/api/v1/catalogue")).body)
    items = {item["id"]: item for column in catalogue["columns"] for item in column["items"]}
    paths = [items[PAGE]["page"], items[VIDEO]["poster"], *items[VIDEO]["play"].values()]
    for path in paths:
        assert (await ask(port, path)).status == 200, path


@pytest.mark.stranger("ffprobe")
@pytest.mark.parametrize("flavour", ["ts", "fmp4"])
async def test_pictures_for_fast_winding_are_whole_and_where_they_are_said_to_be(port: int, flavour: str) -> None:
    """Each segment of the I-frame playlist decodes alone to one picture, shown when the playlist says."""
    base = f"/hls/{VIDEO}/{flavour}"
    master = await playlist(port, f"{base}/master.m3u8")
    assert isinstance(master, MasterPlaylist) and not master.deviations
    assert [variant.uri for variant in master.pictures] == ["R40/pictures.m3u8", "R12/pictures.m3u8"]
    media = await playlist(port, f"{base}/{master.pictures[1].uri}")
    assert isinstance(media, MediaPlaylist) and media.pictures_only and not media.deviations
    assert len(media.segments) == math.ceil(FRAMES / 50)
    assert media.duration_s == pytest.approx(FRAMES / 25, abs=0.1)
    init = (await ask(port, f"{base}/R12/{media.map_uri}")).body if media.map_uri else b""
    times = []
    for segment in media.segments:
        body = (await ask(port, f"{base}/R12/{segment.uri}")).body
        assert 8 * len(body) / segment.duration_s <= master.pictures[1].bandwidth_bps + 1
        show = ("-show_entries", "frame=pict_type,pts_time", "-select_streams", "v", "-of", "csv=p=0")
        times += await asyncio.to_thread(pictures_in, init + body, *show)
    assert [kind for _, kind in times] == ["I"] * len(media.segments)
    zero_s = times[0][0]
    assert [at - zero_s for at, _ in times] == pytest.approx([2.0 * n for n in range(len(times))], abs=0.001)


def pictures_in(data: bytes, *options: str) -> list[tuple[float, str]]:
    command = ["ffprobe", "-v", "error", *options, "-"]
    done = subprocess.run(command, input=data, capture_output=True, timeout=20, check=True)
    rows = (line.split(",") for line in done.stdout.decode().split())
    return [(float(row[0]), row[1]) for row in rows]


@pytest.mark.parametrize("flavour", ["ts", "fmp4"])
async def test_subtitles_say_when_the_lesson_begins_in_the_media(port: int, flavour: str) -> None:
    """The stamp is the presentation time of the lesson's first picture (RFC 8216 §3.5)."""
    base = f"/hls/{VIDEO}/{flavour}"
    master = await playlist(port, f"{base}/master.m3u8")
    assert isinstance(master, MasterPlaylist)
    (words,) = master.subtitles
    assert (words.language, words.uri) == ("zh", "subtitles/zh/index.m3u8")
    assert {variant.subtitles for variant in master.variants} == {words.group}
    media = await playlist(port, f"{base}/{words.uri}")
    assert isinstance(media, MediaPlaylist) and not media.deviations
    (segment,) = media.segments
    reply = await ask(port, f"{base}/subtitles/zh/{segment.uri}")
    head, stamp, rest = reply.body.split(b"\n", 2)
    assert head == b"WEBVTT" and rest in VTT and reply.fields["content-type"] == "text/vtt; charset=utf-8"
    said = int(stamp.removeprefix(b"X-TIMESTAMP-MAP=MPEGTS:").removesuffix(b",LOCAL:00:00:00.000"))
    show = ("-show_entries", "stream=start_pts,time_base", "-select_streams", "v", "-of", "json")
    done = await stranger("ffprobe", "-v", "error", *show, f"http://127.0.0.1:{port}{base}/R40/index.m3u8")
    found = json.loads(done.stdout)["streams"][0]
    assert said == round(found["start_pts"] * 90000 * Fraction(found["time_base"]))
