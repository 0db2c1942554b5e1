"""What an M3U player and an Xtream app make of what they read."""

from __future__ import annotations

import gzip
import json

import msgspec
import pytest

from runtime.clock import SystemClock
from stb_emulator.boxes import Box, load_all
from stb_emulator.observe import Offer, PlayError
from stb_emulator.portals.m3u import parse_guide, parse_playlist
from stb_emulator.seat import Seat, player_of, way_of
from tests.peers.scripted import HttpFiles, listening, make_media

LIST = """#EXTM3U x-tvg-url="/epg.xml.gz"
#EXTINF:-1 tvg-id="9" tvg-name="教育" group-title="频道;其他",教育
udp://@239.1.1.1:5000
#EXTINF:5 tvg-id="1" group-title="专栏",安全，用电
#EXTVLCOPT:x
/hls/1/ts/master.m3u8
"""
GUIDE = (
    '<tv><channel id="9"/><programme channel="9" start="20261124080000 +0800" stop="20261124010000 +0000"/>'
    '<programme channel="9" start="20261124010000" stop="20261124020000 +0000"/></tv>'
)


def test_a_playlist_is_read_in_its_order() -> None:
    offers, guide = parse_playlist(b"\xef\xbb\xbf" + LIST.encode(), "http://127.0.0.1:1/playlist.m3u")
    assert guide == "http://127.0.0.1:1/epg.xml.gz"
    assert [(each.item_id, each.title, each.column, each.live) for each in offers] == [
        ("9", "教育", "频道", True),
        ("1", "安全，用电", "专栏", False),
    ]
    assert offers[1].url == "http://127.0.0.1:1/hls/1/ts/master.m3u8"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("#EXTM3U", "#EXTM4U", "EXTM3U"),
        ("udp://@239.1.1.1:5000\n", "", "no address"),
        ('tvg-id="1"', 'tvg-id="9"', "twice"),
        ("#EXTINF:5", "#EXTINF:five", "unreadable"),
    ],
)
def test_a_broken_playlist_is_refused(old: str, new: str, said: str) -> None:
    with pytest.raises(PlayError, match=said):
        parse_playlist(LIST.replace(old, new, 1).encode(), "http://127.0.0.1/")


def test_a_guide_is_read_packed_or_not_and_its_faults_are_found() -> None:
    assert parse_guide(GUIDE.encode()) == parse_guide(gzip.compress(GUIDE.encode())) == {"9": 2}
    for fault in (
        GUIDE.replace('channel="9" start', 'channel="8" start', 1),
        GUIDE.replace("20261124020000", "20261124010000"),
        "<tv>",
    ):
        with pytest.raises(PlayError):
            parse_guide(fault.encode())


def test_an_app_plays_by_the_ending() -> None:
    ways = {"/a.m3u8?x=.ts": "hls", "/a.mp4": "progressive", "/a.ts": "http_ts"}
    assert {path: way_of(f"http://h{path}") for path in ways} == ways
    box = load_all()["m3u_player"]
    page = Offer(item_id="1", title="", column="", family="picture_text", url="http://h/a/")
    assert type(player_of(box, page)).__name__ == "PagePlayer"


def xtream(ts: bytes, **user: object) -> tuple[HttpFiles, Box]:
    box = load_all()["xtream_app"]
    assert box.xtream
    box = msgspec.structs.replace(box, xtream=msgspec.structs.replace(box.xtream, live_output="ts"))
    name, word = box.account.user.replace("@", "%40"), box.account.password
    base = f"/player_api.php?username={name}&password={word}"
    files = HttpFiles({f"/live/{name}/{word}/7.ts": ("video/mp2t", ts)})
    answers = {
        "": {"user_info": {"auth": 1, "status": "Active", **user}, "server_info": {}},
        "&action=get_live_categories": [{"category_id": "3", "category_name": "频道"}],
        "&action=get_live_streams": [{"stream_id": 7, "name": "教育", "category_id": 3}],
        "&action=get_vod_categories": [],
        "&action=get_vod_streams": [],
    }
    head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length:"
    for query, answer in answers.items():
        body = json.dumps(answer).encode()
        files.odd[base + query] = [f"{head} {len(body)}\r\n\r\n".encode() + body]
    return files, box


async def test_an_app_plays_one_transport_stream_over_http() -> None:
    files, box = xtream(make_media("mpegts", 50))
    async with listening(files) as port:
        seat = Seat(portal_url=f"http://127.0.0.1:{port}", clock=SystemClock(), silence_s=3)
        row = await seat.watch(box, "7")
    assert (row.ok, row.reason, row.frames, row.transport) == (True, "", 50, "HTTP TS")


async def test_a_stream_cut_inside_a_packet_fails() -> None:
    files, box = xtream(make_media("mpegts", 50)[:-10])
    async with listening(files) as port:
        seat = Seat(portal_url=f"http://127.0.0.1:{port}", clock=SystemClock(), silence_s=3)
        row = await seat.watch(box, "7")
    assert not row.ok and "188-byte" in row.reason


async def test_a_refused_account_is_said() -> None:
    files, box = xtream(b"", auth=0)
    async with listening(files) as port:
        with pytest.raises(PlayError, match="refused"):
            await Seat(portal_url=f"http://127.0.0.1:{port}", clock=SystemClock(), silence_s=3).list(box)
