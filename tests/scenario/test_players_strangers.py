"""Players nobody here wrote read playlist, guide and Xtream lists of a real edge, and play what they find."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyxtream import XTream
from pyxtream.schemaValidator import SchemaType, schemaValidator

from tests.portal_lab import read_m3u
from tests.served import FRAMES, LATE, Served, published, serve

pytestmark = pytest.mark.timeout(90)
USER, PASSWORD = "edu001@itv", "123456"
CHANNEL = "900001"


@pytest.fixture(scope="module", params=["open", "ticket"])
def edge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("players")
    video, page = published(root)
    settings = {
        **LATE,
        "EDGE_SERVER_CHANNELS": f"{CHANNEL} 教育频道={video}",
        "EDGE_SERVER_MEDIA_ACCESS": request.param,
    }
    with serve(root, video, page, settings) as served:
        yield served


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as reply:
        return bytes(reply.read())


def frames(url: str) -> int:
    """Count every picture; whatever ffprobe has to say against them is a failure."""
    command = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries"]
    command += ["stream=nb_read_frames", "-of", "csv=p=0", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert not done.stderr
    return int(done.stdout.split()[0].strip(","))


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize("profile", ["ts", "fmp4", "mp4"])
def test_ffmpeg_plays_the_lessons_of_the_playlist(edge: Served, profile: str) -> None:
    entries = read_m3u(get(f"{edge.http}playlist.m3u?profile={profile}").decode())
    channel, lesson = entries
    assert (channel["name"], channel["tvg-id"]) == ("教育频道", f"{CHANNEL}.edge")
    assert (lesson["name"], lesson["group-title"], lesson["tvg-id"]) == ("安全用电", "测试专栏", edge.video)
    command = ["ffmpeg", "-nostdin", "-v", "warning", "-xerror", "-err_detect", "explode", "-i", lesson["url"]]
    done = subprocess.run(
        [*command, "-map", "0:v:0", "-f", "framemd5", "-"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert sum(1 for line in done.stdout.splitlines() if line and not line.startswith("#")) == FRAMES


@pytest.mark.stranger("ffmpeg")
@pytest.mark.parametrize("live", ["ts", "hls"])
def test_ffmpeg_plays_the_channel_now_and_a_span_of_the_past(edge: Served, live: str) -> None:
    (channel, _) = read_m3u(get(f"{edge.http}playlist.m3u?live={live}&catchup=default").decode())
    now = int(get(f"{edge.http}api/v1/time").split(b'"unix_s":')[1].split(b".")[0].split(b",")[0])
    past = channel["catchup-source"].replace("{utc}", str(now - 60)).replace("{utcend}", str(now - 50))
    of_account = f"{edge.http}live/{USER}/{PASSWORD}/{CHANNEL}.{'ts' if live == 'ts' else 'm3u8'}"
    quiet = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i"]

    def watch(url: str) -> subprocess.CompletedProcess[str]:
        command = [*quiet, url, "-t", "3", "-map", "0:v:0", "-f", "null", "-"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    urls = (channel["url"], past, of_account)
    with ThreadPoolExecutor(len(urls)) as pool:
        for url, done in zip(urls, pool.map(watch, urls), strict=True):
            assert done.returncode == 0 and not done.stderr, (url, done.stderr)


@pytest.mark.stranger("tv_validate_file")
def test_the_guide_satisfies_the_validator_of_xmltv(edge: Served, tmp_path: Path) -> None:
    (tmp_path / "epg.xml").write_bytes(get(f"{edge.http}epg.xml"))
    command = ["tv_validate_file", "--dtd-file", "/usr/share/xmltv/xmltv.dtd", str(tmp_path / "epg.xml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.stranger("ffprobe")
def test_pyxtream_lists_and_its_addresses_play(edge: Served, tmp_path: Path) -> None:
    client = XTream("edge", USER, PASSWORD, edge.http.rstrip("/"), cache_path=str(tmp_path))
    assert client.state["authenticated"]
    assert client.load_iptv()
    assert [(each.name, each.id, each.group_title) for each in client.channels] == [
        ("教育频道", int(CHANNEL), "教育频道")
    ]
    assert [(each.name, each.id, each.group_title) for each in client.movies] == [
        ("安全用电", int(edge.video), "测试专栏")
    ]
    for listed, kind in (
        (client.channels, SchemaType.LIVE),
        (client.movies, SchemaType.VOD),
        (client.series, SchemaType.SERIES_INFO),
    ):
        assert listed and all(schemaValidator(each.raw, kind) for each in listed)
    for group in client.groups:
        assert not group.raw or schemaValidator(group.raw, SchemaType.GROUP)
    assert frames(client.movies[0].url) == FRAMES
    (series,) = client.series
    client.get_series_info_by_id(series)
    (season,) = series.seasons.values()
    (episode,) = season.episodes.values()
    assert episode.title == "安全用电" and frames(episode.url) == FRAMES
    told = client.liveEpgByStreamAndLimit(CHANNEL, 2)["epg_listings"]
    assert [b64decode(each["title"]).decode() for each in told] == ["安全用电", "安全用电"]
    assert client.allLiveEpgByStream(CHANNEL)["epg_listings"]


def test_the_channel_of_an_app_leads_to_that_of_all_boxes(edge: Served) -> None:
    listed = get(f"{edge.http}live/{USER}/{PASSWORD}/{CHANNEL}.m3u8").decode()
    assert listed.startswith("#EXTM3U") and "/seg-" in listed
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(f"{edge.http}live/{USER}/wrong/{CHANNEL}.m3u8")
    with refused.value as error:
        assert error.code == 403 and b'"auth":0' in error.read()
