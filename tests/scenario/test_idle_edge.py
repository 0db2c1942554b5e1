"""An edge that nobody watches by WebRTC does not hold the libraries of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import aioice.ice
import pytest

from tests.served import Served, serving
from tests.whep_lab import Stranger

HEAVY = ("libavcodec", "/av/", "pylibsrtp")
"""What WHEP needs."""
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as running:
        yield running


def mapped(pid: int) -> set[str]:
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {each for each in HEAVY if each in maps}


async def test_webrtc_is_loaded_when_the_first_offer_comes(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    place = f"{served.http}whep/{served.video}"
    async with aiohttp.ClientSession() as http:
        for path in ("", "api/v1/catalogue", f"hls/{served.video}/ts/R12/index.m3u8"):
            async with http.get(served.http + path) as answer:
                assert answer.status == 200
        async with http.options(place) as answer:
            assert answer.status == 204
        async with http.delete(f"{place}/nobody") as answer:
            assert answer.status == 404
        assert not mapped(served.pid)
        viewers = [Stranger(place) for _ in range(2)]
        await asyncio.gather(*(each.watch(http) for each in viewers))
        for viewer in viewers:
            assert await viewer.frames(5)
            async with http.delete(viewer.location) as answer:
                assert answer.status == 200
            await viewer.pc.close()
    assert "libavcodec" in mapped(served.pid)
