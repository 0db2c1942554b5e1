"""Which page a browser gets, by what it says of itself."""

from __future__ import annotations

import pytest

from edge_server.sessions.screens import Screen, screen_of

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36"


@pytest.mark.parametrize(
    "agent",
    [
        "",
        "webkit;Resolution(PAL,720P,1080P)",
        "CTC/2.0",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/534.24",
        "Mozilla/5.0 (X11; Linux x86_64; Fhbw2.0) AppleWebKit",
        "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)",
    ],
)
def test_old_boxes(agent: str) -> None:
    assert screen_of({"User-Agent": agent}) == Screen(old=True)


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0 (Linux; Android 9; STB) AppleWebKit/537.36",
        "Mozilla/5.0 (SMART-TV; Linux; Tizen 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Version/5.0 TV Safari/537.36",
        "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/79.0 Safari/537.36",
        "Mozilla/5.0 (QtEmbedded; U; Linux; C) AppleWebKit/533.3 (KHTML, like Gecko) MAG200 stbapp ver: 2 Safari/533.3",
        "Mozilla/5.0 (Linux; Android 11; AFTKA) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/110.0 Safari/537.36",
        "HbbTV/1.4.1 (+DRM;Samsung;SmartTV2018) Chrome/56.0",
    ],
)
def test_televisions(agent: str) -> None:
    assert screen_of({"User-Agent": agent}) == Screen(television=True)


@pytest.mark.parametrize(
    "agent",
    [
        CHROME,
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
        "Mozilla/5.0 (Linux; Android 13; M2102J2SC) AppleWebKit/537.36 (KHTML) Chrome/114.0 Mobile Safari/537.36",
        "VLC/3.0.20 LibVLC/3.0.20",
    ],
)
def test_phones_and_computers(agent: str) -> None:
    assert screen_of({"User-Agent": agent}) == Screen()
