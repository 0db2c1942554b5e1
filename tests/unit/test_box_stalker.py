"""A MAG box on a portal written by hand from the protocol notes, with its moods."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from runtime.clock import SystemClock
from stb_emulator.boxes import Box, load_all
from stb_emulator.observe import Offer, PlayError, Stage
from stb_emulator.portals.stalker import words
from stb_emulator.seat import Seat, portal_of
from tests.peers.scripted import listening

PATH = "/stalker_portal/server/load.php"


class Portal:
    """Answers by action; ``forgets`` says how often a good token is not known."""

    def __init__(self, **answers: Any) -> None:
        self.forgets = 0
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.answers: dict[str, Any] = {
            "handshake": {"token": "T0K3N"},
            "get_profile": {"status": 0, "timeslot": 90},
            "get_genres": [{"id": "*", "title": "All"}, {"id": 1000001, "title": "栏目"}],
            "get_all_channels": {"data": []},
            "get_categories": [{"id": "7", "title": "专栏"}],
            "create_link": {"cmd": "ffmpeg http://127.0.0.1:1/a.m3u8?token=x"},
            **answers,
        }

    async def __call__(self, reader: Any, writer: Any) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            start, *lines = head.strip().split("\r\n")
            path = urlsplit(start.split(" ")[1])
            query = {name: values[0] for name, values in parse_qs(path.query).items()}
            headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
            self.asked.append((path.path, query, headers))
            body = json.dumps({"js": self.reply(query)}).encode()
            if query["action"] == "get_genres" and self.forgets:
                self.forgets -= 1
                body = b"Authorization failed."
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()

    def reply(self, query: dict[str, str]) -> Any:
        answer = self.answers.get(query["action"], [])
        return answer(query) if callable(answer) else answer


def films(query: dict[str, str]) -> Any:
    page = int(query["p"])
    rows = [{"id": str(n), "name": f"课{n}", "cmd": f"/media/{n}.mpg"} for n in range(20) if n // 14 == page - 1]
    return {"total_items": 20, "max_page_items": 14, "data": rows}


async def browse(portal: Portal, box: Box) -> tuple[Offer, ...]:
    async with listening(portal) as port:
        seat = Seat(portal_url=f"http://127.0.0.1:{port}", clock=SystemClock(), silence_s=3)
        return await seat.list(box)


@pytest.fixture
def mag() -> Box:
    box = load_all()["mag250"]
    assert box.stalker
    return msgspec.structs.replace(box, stalker=msgspec.structs.replace(box.stalker, retry_s=0.01))


async def test_every_page_is_read_and_the_cookie_is_percent_encoded(mag: Box) -> None:
    portal = Portal(get_ordered_list=films)
    offers = await browse(portal, mag)
    assert [(each.item_id, each.column) for each in offers] == [(str(n), "专栏") for n in range(20)]
    path, _, headers = portal.asked[0]
    assert path == PATH and "Authorization" not in headers
    assert headers["Cookie"] == "mac=00%3A1A%3A79%3A2B%3A3C%3A10; stb_lang=zh; timezone=Asia%2FShanghai"
    assert all(asked[2]["Authorization"] == "Bearer T0K3N" for asked in portal.asked[1:])
    assert all("Range" not in asked[2] for asked in portal.asked)


async def test_kodi_asks_for_ranges_and_reads_numbers_as_text_only() -> None:
    row = {"id": 5, "name": "一", "cmd": "ffmpeg http://127.0.0.1/5.m3u8", "number": "1", "tv_genre_id": "1000001"}
    kodi, portal = load_all()["kodi_stalker"], Portal(get_all_channels={"data": [row]})
    (offer,) = await browse(portal, kodi)
    assert (offer.item_id, offer.column, offer.url, offer.live) == ("5", "栏目", "http://127.0.0.1/5.m3u8", True)
    assert all(asked[2]["Range"] == "bytes=0-" for asked in portal.asked)
    assert portal.asked[0][2]["Cookie"].startswith("mac=00:1A:79:2B:3C:20; ")
    assert not any("JsHttpRequest" in asked[1] for asked in portal.asked)
    with pytest.raises(PlayError, match="not text"):
        await browse(Portal(get_all_channels={"data": [{**row, "number": 1}]}), kodi)


async def test_a_forgotten_token_is_asked_for_anew_five_times_at_most(mag: Box) -> None:
    portal = Portal(get_ordered_list=films)
    portal.forgets = 2
    assert len(await browse(portal, mag)) == 20
    assert [asked[1]["action"] for asked in portal.asked].count("handshake") == 3
    portal = Portal()
    portal.forgets = 100
    with pytest.raises(PlayError, match="Authorization failed"):
        await browse(portal, mag)
    assert [asked[1]["action"] for asked in portal.asked].count("get_genres") == 5


@pytest.mark.parametrize("right", [True, False])
async def test_status_2_asks_for_the_account(mag: Box, right: bool) -> None:
    def profile(query: dict[str, str]) -> Any:
        return {"status": 0 if query["auth_second_step"] == "1" else 2}

    portal = Portal(get_profile=profile, do_auth=right, get_ordered_list=films)
    if right:
        assert len(await browse(portal, mag)) == 20
        return
    with pytest.raises(PlayError) as refused:
        await browse(portal, mag)
    assert refused.value.stage is Stage.LOGIN


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"get_profile": {"status": 1, "msg": "已停用"}}, "已停用"),
        ({"handshake": {}}, "no token"),
        ({"get_ordered_list": {"data": []}}, "total_items"),
        ({"get_ordered_list": {"total_items": "30", "max_page_items": "14", "data": []}}, "page 1 of 3 is empty"),
        ({"get_genres": {"text": "?"}}, "no list"),
    ],
)
async def test_what_a_box_cannot_read_is_said(mag: Box, answers: dict[str, Any], said: str) -> None:
    with pytest.raises(PlayError, match=said):
        await browse(Portal(**answers), mag)


async def test_a_link_is_made_when_it_is_wanted(mag: Box) -> None:
    portal = Portal(get_ordered_list=films)
    async with listening(portal) as port:
        seat = Seat(portal_url=f"http://127.0.0.1:{port}", clock=SystemClock(), silence_s=3)
        async with seat.line(mag) as line:
            client = portal_of(mag, seat.portal_url, line, seat.clock)
            await client.login()
            offer = await client.resolve((await client.browse())[3])
    assert offer.url == "http://127.0.0.1:1/a.m3u8?token=x"
    assert portal.asked[-1][1]["cmd"] == "/media/3.mpg" and portal.asked[-1][1]["type"] == "vod"


def test_the_word_before_an_address(mag: Box) -> None:
    assert mag.stalker
    assert words.address_in("http://a/b.ts", mag.stalker) == "http://a/b.ts"
    assert words.address_in("auto http://a/b.ts", mag.stalker) == "http://a/b.ts"
    with pytest.raises(PlayError, match="gopher"):
        words.address_in("gopher http://a/b.ts", mag.stalker)
    assert words.api_of("http://h:1/x/c/", "/portal.php") == "http://h:1/x/server/load.php"
