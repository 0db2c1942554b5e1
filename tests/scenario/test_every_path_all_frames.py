"""Every way of the edge brings every frame: counted, timed and hashed by ffmpeg and ffprobe."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.edge_lab import Running, noisy_lesson, publish, serve
from tests.peers.tr101290 import Report, check
from tests.ways import FFMPEG, pictures, stranger, ways

pytestmark = [pytest.mark.timeout(90), pytest.mark.stranger("ffmpeg", "ffprobe")]
SECONDS = 6
LIVE = {"rtsp-udp", "rtsp-tcp"}


def samples(source: tuple[str, ...]) -> int:
    """Decoded samples of sound per channel."""
    out = stranger(*FFMPEG, *source, "-map", "0:a:0?", "-f", "framecrc", "-c:a", "pcm_s16le", "-")
    return sum(int(line.split(",")[3]) for line in out.splitlines() if line and not line.startswith("#"))


def packets(source: tuple[str, ...], kind: str, *, filters: tuple[str, ...] = ()) -> list[str]:
    """MD5 of each packet in the form of a transport stream or as it is."""
    out = stranger(*FFMPEG, *source, "-map", f"0:{kind}:0", "-c", "copy", *filters, "-f", "framemd5", "-")
    return [line.split(",")[5].strip() for line in out.splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("frames")
    lesson = noisy_lesson(root / "lesson.mp4", seconds=SECONDS, kbps=1200)
    items = publish(root, [lesson])
    with serve(root) as running:
        running.videos = [items[lesson]]
        yield running


@pytest.fixture(scope="module")
def sources(edge: Running) -> dict[str, Path]:
    """The stored renditions, by hash of what the progressive way brings."""
    found = {}
    for rendition in ("R12", "R40"):
        path = edge.root / f"{rendition}.mp4"
        path.write_bytes(edge.get(f"/media/{edge.videos[0]}/{rendition}.mp4"))
        assert any(path.read_bytes() == each.read_bytes() for each in (edge.root / "edge" / "objects").rglob("*")
                   if each.is_file())  # fmt: skip
        found[rendition] = path
    return found


@pytest.mark.parametrize("rendition", ["R12", "R40"])
@pytest.mark.parametrize("way", ["progressive", "hls-ts", "hls-fmp4", "rtsp-udp", "rtsp-tcp"])
def test_pictures_and_sound(edge: Running, sources: dict[str, Path], way: str, rendition: str) -> None:
    """The pictures of the stored file, all, in order, the same ones; sound within one frame of 1024."""
    stored, source = ("-i", str(sources[rendition])), ways(edge, edge.videos[0], rendition)[way]
    with ThreadPoolExecutor(2) as pool:
        seen, heard = pool.submit(pictures, source), pool.submit(samples, source)
    assert len(pictures(stored)) == SECONDS * 25
    assert seen.result() == pictures(stored)
    whole = samples(stored)
    assert whole >= SECONDS * 48_000
    channel_bytes = 4
    assert abs(heard.result() - whole) <= 1024 * channel_bytes * (2 if way in LIVE else 1)


def unseen(path: Path) -> int:
    """Packets of sound before the edit list's beginning (encoder delay); the last is needed to decode the next."""
    show = ("-select_streams", "a:0", "-show_entries", "packet=flags", "-of", "csv=p=0")
    return sum("D" in line for line in stranger("ffprobe", "-v", "error", *show, str(path)).splitlines())


@pytest.mark.parametrize("rendition", ["R12", "R40"])
def test_packets(edge: Running, sources: dict[str, Path], rendition: str) -> None:
    """MP4 ways carry the file's packets bit by bit; transport streams the same as each other, and the same sound."""
    stored, way = ("-i", str(sources[rendition])), ways(edge, edge.videos[0], rendition)
    sound = packets(stored, "a")
    needed = sound[max(0, unseen(sources[rendition]) - 1) :]
    assert unseen(sources[rendition]) <= 2 and len(sound) > SECONDS * 40
    assert packets(way["progressive"], "v") == packets(way["hls-fmp4"], "v") == packets(stored, "v")
    assert packets(way["progressive"], "a") == sound
    assert packets(way["hls-fmp4"], "a") == needed
    assert packets(way["hls-ts"], "a", filters=("-bsf:a", "aac_adtstoasc")) == needed
    assert packets(way["hls-ts"], "v") == packets(way["rtsp-tcp"], "v")
    assert len(packets(way["hls-ts"], "v")) == SECONDS * 25


def wave(source: tuple[str, ...]) -> bytes:
    """Decoded sound, 32 bit floating point."""
    command = [*FFMPEG, *source, "-map", "0:a:0", "-f", "f32le", "-c:a", "pcm_f32le", "-"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-1500:].decode()
    return done.stdout


def lead(source: tuple[str, ...]) -> int:
    """Samples of sound before the first picture is shown, by the stream's own times."""
    show = ("-show_entries", "packet=pts_time,flags", "-of", "csv=p=0", *source)
    first = {}
    for kind in "va":
        lines = stranger("ffprobe", "-v", "error", "-select_streams", f"{kind}:0", *show).splitlines()
        times = [line.split(",") for line in lines if line]
        first[kind] = min(float(time) for time, flags, *_ in times if "D" not in flags)
    return round((first["v"] - first["a"]) * 48_000)


@pytest.mark.parametrize("rendition", ["R12", "R40"])
@pytest.mark.parametrize("way", ["progressive", "hls-ts", "hls-fmp4"])
def test_every_sample_of_sound(edge: Running, sources: dict[str, Path], way: str, rendition: str) -> None:
    """From the first picture on each sample is the stored file's; the very first ones need the frame before."""
    stored, source = ("-i", str(sources[rendition])), ways(edge, edge.videos[0], rendition)[way]
    wanted, before = wave(stored), lead(source)
    assert lead(stored) == 0 and before == (0 if way == "progressive" else 1024 * min(1, unseen(sources[rendition])))
    assert len(wanted) >= SECONDS * 48_000 * 8 and any(wanted[: 1024 * 8])
    assert wave(source)[before * 8 :] == wanted


@pytest.mark.parametrize("rendition", ["R12", "R40"])
def test_tr_101_290(edge: Running, rendition: str) -> None:
    """First and second priority on what HLS brings, whole and in segments; a checker of its own."""
    item = edge.videos[0]
    whole = b"".join(edge.get(uri) for uri in edge.uris(f"/hls/{item}/ts/{rendition}/index.m3u8"))
    _fine(check(whole))
    for uri in edge.uris(f"/hls/{item}/ts/{rendition}/index.m3u8"):
        _fine(check(edge.get(uri)), at_least=1)


def _fine(report: Report, *, at_least: int = SECONDS) -> None:
    assert report.wrong == []
    assert set(report.pids.values()) == {0x1B, 0x0F}
    assert report.pcrs >= 25 and min(report.units.values()) >= 10 * at_least / SECONDS


def test_dash(edge: Running, sources: dict[str, Path]) -> None:
    """DASH brings as many pictures of the best rendition, the same ones."""
    url = f"{edge.http}dash/{edge.videos[0]}/manifest.mpd"
    told = json.loads(stranger("ffprobe", "-v", "error", "-show_entries", "stream=codec_type", "-of", "json", url))
    assert {each["codec_type"] for each in told["streams"]} == {"video", "audio"}
    assert pictures(("-i", url)) in [pictures(("-i", str(path))) for path in sources.values()]
    before = lead(("-i", url)) * 8
    assert before == 1024 * 8 and wave(("-i", url))[before:] in [wave(("-i", str(path))) for path in sources.values()]
