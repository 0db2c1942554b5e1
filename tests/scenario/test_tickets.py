"""An edge that gives HTTP media out by ticket only: players follow its links, and nothing else opens them."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

import aiohttp
import aioice.ice
import pytest
import yarl

from tests.served import Served, serving
from tests.whep_lab import Stranger

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_SERVER_MEDIA_ACCESS", "ticket")
        with serving(tmp_path_factory.mktemp("tickets")) as running:
            yield running


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as reply:
        return bytes(reply.read())


def refusal(url: str) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(url)
    with refused.value as error:
        return error.code, error.read().decode()


def frames(url: str) -> int:
    command = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries"]
    command += ["stream=nb_read_frames", "-of", "csv=p=0", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert not done.stderr
    return int(done.stdout.split()[0].strip(","))


@pytest.mark.stranger("ffprobe")
def test_players_follow_the_links_of_the_catalogue_and_the_page(edge: Served) -> None:
    listed = json.loads(get(edge.http + "api/v1/catalogue"))
    items = [item for column in listed["columns"] for item in column["items"] if item["id"] == edge.video]
    play = items[0]["play"]
    assert all(url.startswith("/play/") for url in play.values())
    assert {way: frames(edge.http.rstrip("/") + url) for way, url in play.items()} == dict.fromkeys(play, edge.frames)
    page = get(f"{edge.http}watch/{edge.video}").decode()
    sources = re.findall(r'<source src="(/t/[^"]+)"', page)
    assert sources
    assert len(get(edge.http.rstrip("/") + sources[0])) > 1000


@pytest.mark.parametrize("path", ["media/{}/R12.mp4", "hls/{}/ts/master.m3u8", "hls/{}/fmp4/R12/index.m3u8"])
def test_without_a_ticket_or_with_a_forged_one_nothing_is_sent(edge: Served, path: str) -> None:
    path = path.format(edge.video)
    found = re.search(r"/t/([^/]+)/", get(f"{edge.http}watch/{edge.video}").decode())
    assert found is not None
    forged = found[1][:-1] + ("A" if found[1][-1] != "A" else "B")
    for before in ("", f"t/{forged}/", "t//", "t/x/"):
        code, words = refusal(edge.http + before + path)
        assert code == 403
        assert "课件" in words
    other = path.replace(edge.video, "10000009")
    assert refusal(f"{edge.http}t/{found[1]}/{other}")[0] == 403


async def test_webrtc_asks_for_the_same_ticket(edge: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    offer = {"data": "v=0", "headers": {"Content-Type": "application/sdp"}}
    async with aiohttp.ClientSession() as http:
        viewer = Stranger(f"{edge.http}play/whep/{edge.video}?rendition=R12")
        await viewer.watch(http)
        assert await viewer.frames(5)
        ticket = viewer.location.removeprefix(edge.http).split("/")[1]
        assert viewer.location.startswith(f"{edge.http}t/{ticket}/whep/{edge.video}/")
        forged = ticket[:-1] + ("A" if ticket[-1] != "A" else "B")
        for path in (
            f"whep/{edge.video}",
            f"t/{forged}/whep/{edge.video}",
            f"t/{ticket}/whep/10000009",
            f"t/{ticket}/whep/10000009%2F..%2F{edge.video}",
        ):
            async with http.post(yarl.URL(edge.http + path, encoded=True), **offer) as reply:
                assert reply.status == 403 and "课件" in await reply.text()
        async with http.post(f"{edge.http}t/{ticket}/whep/{edge.video}", **offer) as reply:
            assert reply.status == 406, "the ticket is good, the offer has no video"
        async with http.options(f"{edge.http}whep/{edge.video}") as reply:
            assert reply.status == 204
        session = viewer.location.rsplit("/", 1)[1]
        async with http.delete(f"{edge.http}whep/{edge.video}/{session}") as reply:
            assert reply.status == 200, "its address is a secret of its own"
        await viewer.pc.close()
