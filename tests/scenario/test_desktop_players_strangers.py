"""mpv and VLC play a real edge's lesson by every way that it has and are sent elsewhere in it: ±3 s, and it goes on.

All play at the same time, since what they do most is to wait.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from fixtures.lessons import make_counted_lesson
from tests import edge_lab
from tests.desktop_players import Mpv, advances, lands, mpv, until, vlc
from tests.served import LATE

pytestmark = pytest.mark.timeout(120)
SECONDS, FRAME_RATE = 24, 25
WAYS = {
    "mp4": "{http}media/{item}/R12.mp4",
    "hls-ts": "{http}hls/{item}/ts/master.m3u8",
    "hls-fmp4": "{http}hls/{item}/fmp4/master.m3u8",
    "dash": "{http}dash/{item}/manifest.mpd",
    "rtsp-tcp": "{rtsp}vod/{item}.mpg",
    "rtsp-udp": "{rtsp}vod/{item}.mpg",
}
VLC_WAYS = {
    "mp4": WAYS["mp4"],
    "hls-ts": WAYS["hls-ts"],
    "hls-fmp4": "{http}hls/{item}/fmp4/R12/index.m3u8",
    "rtsp": WAYS["rtsp-tcp"],
}
"""VLC 3.0 shows nothing after a seek when it changes the rendition of fragmented MP4, of ffmpeg's too."""
CUT = ("[ffmpeg/", "Error decoding audio")
"""Over RTSP mpv first says PAUSE, which cuts a picture and a sound: its libavformat complains of these two."""
Jobs = dict[str, Future[None]]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    root = tmp_path_factory.mktemp("desktop")
    lesson = root / "lesson.mp4"
    make_counted_lesson(lesson, frames=SECONDS * FRAME_RATE, title="安全用电", seed=5, size=(320, 180))
    (item,) = edge_lab.publish(root, [lesson]).values()
    with edge_lab.serve(root, environment=LATE) as edge, ThreadPoolExecutor(12) as pool:
        begun: Jobs = {}
        for way, where in WAYS.items():
            url = where.format(http=edge.http, rtsp=edge.rtsp, item=item)
            begun[f"mpv {way}"] = pool.submit(by_mpv, tmp_path_factory.mktemp(way), url, way)
        for way, where in VLC_WAYS.items():
            begun[f"vlc {way}"] = pool.submit(
                by_vlc, where.format(http=edge.http, rtsp=edge.rtsp, item=item), () if way == "rtsp" else (16, 5)
            )
        yield begun


@pytest.mark.stranger("mpv")
@pytest.mark.parametrize("way", WAYS)
def test_mpv_plays_seeks_and_comes_to_the_end(jobs: Jobs, way: str) -> None:
    jobs[f"mpv {way}"].result()


@pytest.mark.stranger("vlc", "setpriv")
@pytest.mark.parametrize("way", VLC_WAYS)
def test_vlc_plays_and_seeks(jobs: Jobs, way: str) -> None:
    jobs[f"vlc {way}"].result()


def by_mpv(folder: Path, url: str, way: str) -> None:
    rtsp = way.startswith("rtsp")
    options = [f"--rtsp-transport={way.removeprefix('rtsp-')}"] if rtsp else []
    with mpv(folder, url, *options, fine=CUT if rtsp else ()) as player:
        first = until(player.position_s, "a picture")
        until(advances(player.position_s, first), "the picture goes on")
        assert player.ask("get_property", "seekable") is True
        assert player.ask("get_property", "duration") == pytest.approx(SECONDS, abs=0.1)
        for to_s in (16, 5):
            goes_on_at(player, to_s)
        player.ask("seek", SECONDS - 1.5, "absolute")
        assert player.end() == "eof"


def goes_on_at(player: Mpv, to_s: float) -> None:
    asked_s = time.monotonic()
    player.ask("seek", to_s, "absolute")
    until(lands(player.position_s, to_s, asked_s), f"near {to_s} s")
    landed = player.position_s()
    assert landed is not None
    until(advances(player.position_s, landed), "the picture goes on")
    assert player.ask("get_property", "time-pos") == pytest.approx(player.position_s(), abs=1.0)


def by_vlc(url: str, places_s: tuple[float, ...]) -> None:
    """Debian's VLC has no live555; what it has instead plays RTSP but cannot seek there."""
    with vlc(url) as player:
        until(lambda: (player.position_s() or 0) >= 1, "it goes on")
        until(lambda: player.counted("frames displayed") > FRAME_RATE, "pictures")
        for to_s in places_s:
            asked_s = time.monotonic()
            player.ask(f"seek {to_s}")
            until(lands(player.position_s, to_s, asked_s), f"near {to_s} s")
            landed, shown = player.position_s(), player.counted("frames displayed")
            assert landed is not None
            until(advances(player.position_s, landed), "it goes on")
            until(lambda shown=shown: player.counted("frames displayed") > shown, "pictures go on")
