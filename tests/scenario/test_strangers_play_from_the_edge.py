"""Programs nobody here wrote play from a real edge server: HLS, progressive, RTSP; and raw sockets check ranges."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import aioice.ice
import pytest

from stb_emulator.boxes import load_all
from tests import gst
from tests.served import Served, raw_http, run, serving
from tests.whep_lab import Stranger

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


def stranger(*command: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def video_frames(source: str, *before: str) -> int:
    """Decode with ffmpeg, any warning or error is a failure, and count the pictures."""
    quiet = ("ffmpeg", "-v", "warning", "-xerror", "-err_detect", "explode", *before, "-i", source)
    done = stranger(*quiet, "-map", "0:v:0", "-f", "framemd5", "-")
    assert done.returncode == 0 and not done.stderr, done.stderr
    return sum(1 for line in done.stdout.splitlines() if line and not line.startswith("#"))


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize("flavour", ["ts", "fmp4"])
def test_ffmpeg_plays_hls(served: Served, flavour: str) -> None:
    base = f"{served.http}hls/{served.video}/{flavour}"
    done = stranger(
        "ffmpeg", "-v", "warning", "-xerror", "-err_detect", "explode", "-i", f"{base}/master.m3u8", "-f", "null", "-"
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    for rendition in ("R12", "R40"):
        assert video_frames(f"{base}/{rendition}/index.m3u8") == served.frames


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_ffmpeg_plays_rtsp_to_its_end(served: Served, transport: str) -> None:
    url = f"{served.rtsp}vod/{served.video}.mpg"
    assert video_frames(url, "-rtsp_transport", transport) == served.frames


@pytest.mark.stranger("gst-launch-1.0")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_gstreamer_rtspsrc_plays(served: Served, transport: str) -> None:
    url = f"{served.rtsp}vod/{served.video}.mpg"
    pipeline = (
        f"rtspsrc location={url} protocols={transport} ! rtpmp2tdepay ! tsdemux ! h264parse ! avdec_h264 ! fakesink"
    )
    done = stranger("gst-launch-1.0", "-q", *pipeline.split())
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.stranger("gst-launch-1.0")
@pytest.mark.parametrize(
    "path", ["hls/{id}/ts/master.m3u8", "hls/{id}/fmp4/master.m3u8", "dash/{id}/manifest.mpd", "media/{id}/R40.mp4"]
)
def test_gstreamer_playbin_plays_http(served: Served, path: str) -> None:
    gst.play(served.http + path.format(id=served.video), real_time=True)


@pytest.mark.stranger("gst-launch-1.0", "gst-rtsp-server")
def test_gstreamer_seeks_over_rtsp(served: Served) -> None:
    script = Path(__file__).parents[1] / "peers" / "gst_seek.py"
    done = stranger("/usr/bin/python3", str(script), f"{served.rtsp}vod/{served.video}.mpg", "4")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 3.9 <= found["position_s"] <= 5.3 and found["ended"], found


async def test_aiortc_decodes_by_whep(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of R40 frames are out of order and needed by others, so R12 comes, and of it the frames that are in order."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    viewer = Stranger(f"{served.http}whep/{served.video}")
    async with aiohttp.ClientSession() as http:
        await viewer.watch(http)
        frames = await viewer.frames(20)
        async with http.delete(viewer.location) as reply:
            assert reply.status == 200
    await viewer.pc.close()
    numbers = [number for number, _ in frames if number is not None]
    assert numbers[0] == 0 and numbers == sorted(set(numbers)) and len(numbers) == len(frames)
    assert [pts for _, pts in frames] == [3600 * number for number in numbers]


def test_one_box_of_each_kind_counts_every_frame(served: Served) -> None:
    lines = run("stb-emulator", "matrix", "--portal", served.http, "--json")
    rows = [line for line in lines if line["type"] == "item"]
    apps = [name for name, box in load_all().items() if not box.caps.pages]
    excused = [(line["box"], line["item_id"]) for line in lines if line["type"] == "excused"]
    assert excused == [(name, served.page) for name in apps]
    assert len(rows) == 2 * len(load_all()) - len(apps) and all(row["ok"] for row in rows), rows
    frames = {row["box"]: row["frames"] for row in rows if row["lesson"] == served.video}
    by_webrtc = frames.pop("whep_viewer")
    assert set(frames.values()) == {served.frames}
    assert served.frames / 2 < int(str(by_webrtc)) <= served.frames, "pictures of B kind are left out by WebRTC"
    ways = {row["box"]: row["transport"] for row in rows if row["lesson"] == served.page}
    old = {name for name, box in load_all().items() if box.era == "old" and name not in apps}
    assert {name for name, way in ways.items() if way.startswith("HTTP page gbk")} >= old - {"mag250"}
    assert ways["pc_progressive"] == "HTTP page utf-8" and "screens" in ways["new_hls_ts"]


def get(served: Served, path: str, *fields: str) -> tuple[int, dict[str, str], bytes]:
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + "".join(f"{f}\r\n" for f in fields) + "\r\n"
    head, _, body = raw_http(served.http_port, request.encode()).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), {n.lower(): v for n, _, v in (line.partition(": ") for line in lines)}, body


def test_ranges_over_a_raw_socket(served: Served) -> None:
    path = f"/media/{served.video}/R12.mp4"
    whole = urllib.request.urlopen(served.http + path[1:], timeout=10).read()
    status, fields, body = get(served, path, "Range: bytes=100-199")
    assert (status, body, fields["content-range"]) == (206, whole[100:200], f"bytes 100-199/{len(whole)}")
    etag = fields["etag"]
    assert get(served, path, "Range: bytes=100-199", f"If-Range: {etag}")[0] == 206
    status, _, body = get(served, path, "Range: bytes=100-199", 'If-Range: "stale"')
    assert (status, body) == (200, whole)
    assert get(served, path, f"If-None-Match: {etag}")[0] == 304
    assert get(served, path, 'If-Match: "other"')[0] == 412
    assert get(served, path, f"Range: bytes={len(whole)}-")[0] == 416
    status, fields, body = get(served, path, "Range: bytes=0-9,-10")
    assert status == 206 and fields["content-type"].startswith("multipart/byteranges")
    assert int(fields["content-length"]) == len(body)
    assert body.count(b"Content-Range:") == 2 and whole[:10] in body and whole[-10:] in body


def test_new_boxes_see_the_catalogue_and_pages_open(served: Served) -> None:
    catalogue = json.loads(urllib.request.urlopen(f"{served.http}api/v1/catalogue", timeout=10).read())
    (column,) = catalogue["columns"]
    assert column["title"] == "测试专栏" and [item["id"] for item in column["items"]] == [served.video, served.page]
    status, fields, _ = get(served, "/api/v1/catalogue")
    assert get(served, "/api/v1/catalogue", f"If-None-Match: {fields['etag']}")[0] == 304
    assert status == 200
    lesson = f"/lessons/{served.page}/"
    for agent, name in (("CTC/2.0", "gbk-1"), ("SMART-TV; Tizen 5.0", "tv-1"), ("Chrome/150.0", "index")):
        status, fields, _ = get(served, lesson, f"User-Agent: {agent}")
        assert (status, fields["location"], fields["vary"]) == (302, f"{lesson}{name}.html", "User-Agent")
    for path in (
        "/",
        f"/watch/{served.video}",
        f"{lesson}index.html",
        f"{lesson}tv-1.html",
        f"/posters/{served.video}.jpg",
        "/healthz",
    ):
        assert get(served, path)[0] == 200, path
    for path in ("/watch/1", "/lessons/1/", "/media/1/R12.mp4", "/lessons/../../etc/passwd", "/nothing"):
        assert get(served, path)[0] == 404, path


def test_a_withdrawn_lesson_is_gone_at_once_everywhere(served: Served) -> None:
    """The last of this file, since the others want the lesson."""
    run("central-platform", "withdraw", served.video, "--dir", str(served.central), "--json")
    run("edge-server", "sync", "--dir", str(served.edge), "--json")
    lines = run("stb-emulator", "matrix", "--portal", served.http, "--json", "--expect-absent", served.video)
    assert lines[-1]["ok"] is True
    assert get(served, f"/media/{served.video}/R12.mp4")[0] == 404
    assert get(served, f"/hls/{served.video}/ts/master.m3u8")[0] == 404
