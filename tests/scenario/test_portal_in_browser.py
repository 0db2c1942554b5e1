"""Pages in Debian's Chromium: walked by keys, without script, at every size; judged by axe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, Response

from tests.pages_lab import BOX, LOOKS, PATHS, TELEVISIONS, TEXT, VIDEO, Look, build, chromium, page_of
from tests.walking import CLIPPED, reach_all
from tests.web_lab import Lab, serving

pytestmark = [pytest.mark.stranger("chromium"), pytest.mark.timeout(180)]
PAGE_MAX_BYTES = 300_000
BELOW = """() => Math.max(...[...document.querySelectorAll('.text *')].map(e => e.getBoundingClientRect().bottom)) -
  document.querySelector('.row').getBoundingClientRect().top"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return build(tmp_path_factory.mktemp("pages"))


@pytest.fixture(params=LOOKS, ids=[look.name for look in LOOKS])
def look(request: pytest.FixtureRequest) -> Look:
    assert isinstance(request.param, Look)
    return request.param


@pytest.fixture
async def page(lab: Lab, look: Look) -> AsyncIterator[Page]:
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(serving(lab))
        browser = await stack.enter_async_context(chromium())
        yield await stack.enter_async_context(page_of(browser, look, port))


async def test_every_link_of_every_page_is_reached_by_arrow_keys_and_is_seen(page: Page) -> None:
    for name, path in PATHS.items():
        await page.goto(path)
        await reach_all(page, name)


async def test_no_page_scrolls_sideways_clips_words_or_is_heavy(page: Page, lab: Lab, look: Look) -> None:
    for name, path in {**PATHS, "full": PATHS["watch"]}.items():
        lab.full = name == "full"
        heard: list[Response] = []

        def hear(answer: Response, heard: list[Response] = heard) -> None:
            heard.append(answer)

        page.on("response", hear)
        try:
            await page.goto(path)
        finally:
            lab.full = False
        wide, inner = await page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
        assert wide <= inner, (name, wide, inner)
        assert await page.evaluate(CLIPPED) == [], name
        if look.old:
            high = await page.evaluate("() => document.documentElement.scrollHeight")
            assert high <= look.height or name in ("channel",), (
                name,
                high,
                "an old box turns pages, it does not scroll",
            )
        page.remove_listener("response", hear)
        pictures_and_words = [each for each in heard if "/media/" not in each.url and "/live/" not in each.url]
        weight = sum([len(await each.body()) for each in pictures_and_words if each.status in (200, 404, 503)])
        assert 0 < weight <= PAGE_MAX_BYTES, (name, weight)


async def test_axe_finds_nothing_serious(page: Page, lab: Lab) -> None:
    for name, path in {**PATHS, "full": PATHS["watch"]}.items():
        lab.full = name == "full"
        try:
            await page.goto(path)
        finally:
            lab.full = False
        found = (await Axe().run(page)).response["violations"]
        serious = [
            (each["id"], [n["html"] for n in each["nodes"]])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert serious == [], name


async def until(page: Page, true: str) -> None:
    """Ask again and again; what Chromium offers for it is an ``eval``, which our policy forbids."""
    for _ in range(200):
        if await page.evaluate(true):
            return
        await page.wait_for_timeout(50)
    raise AssertionError(f"never: {true}")


async def test_keys_play_seek_and_lead_back(page: Page, look: Look) -> None:
    await page.goto("/")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/watch/{VIDEO}")
    if not look.old:
        await until(page, "document.querySelector('video').readyState >= 1")
        await page.keyboard.press("Enter")
        await until(page, "document.querySelector('video').currentTime > 0.2")
        await page.keyboard.press("ArrowRight")
        await until(page, "document.querySelector('video').currentTime > 3")
        await page.keyboard.press("ArrowLeft")
        await until(page, "document.querySelector('video').currentTime < 3")
    await page.keyboard.press("Backspace")
    await page.wait_for_url(f"**/?column=1&page=1&at={VIDEO}")
    assert await page.evaluate("document.activeElement.getAttribute('href')") == f"/watch/{VIDEO}"
    await page.keyboard.press("PageDown")
    await page.wait_for_url("**/?column=1&page=2")
    for code, path in ((340, None), (277, None), (4, None)):  # iPanel: back, on the first page nothing; right
        await page.evaluate("code => document.onkeydown({keyCode: code})", code)
        assert path is None
    assert await page.evaluate("document.activeElement.getAttribute('href')") != f"/watch/{VIDEO}"
    await page.goto("/keys")
    await page.evaluate("document.onirkeypress({keyCode: 833})")
    assert await page.text_content("#code") == "833 green"


async def test_without_script_links_lead_to_the_film_and_back(lab: Lab, look: Look) -> None:
    async with serving(lab) as port, chromium() as browser, page_of(browser, look, port, script=False) as page:
        await page.goto("/")
        await page.click(f"a[href='/watch/{VIDEO}']")
        links = [await each.get_attribute("href") or "" for each in await page.query_selector_all("a")]
        sources = [await each.get_attribute("src") or "" for each in await page.query_selector_all("source")]
        films = [each for each in links + sources if each.endswith(".mp4")]
        assert films and (await page.request.get(films[0])).headers["content-type"] == "video/mp4"
        if look.old:
            assert f"rtsp://127.0.0.1:8554/vod/{VIDEO}.mpg" in links and not sources
        await page.click("#back")
        assert page.url.endswith(f"/?column=1&page=1&at={VIDEO}")
        await page.click("a[href='/search']")
        await page.fill("input[name=q]", "滴灌")
        await page.click("input[type=submit]")
        assert await page.locator("a.line").count() == 4
        if look.agent == BOX:
            assert await page.evaluate("document.characterSet") == "GBK"
        if look.width < 480:
            return  # a phone has letters of its own
        await page.click("a.key:text-is('J')")
        assert "%E6%BB%B4" in page.url and page.url.endswith("key=j")
        await page.goto("/search")
        for letter in "DG":
            await page.click(f"a.key:text-is('{letter}')")
        assert await page.locator("a.line").count() >= 3


@pytest.mark.parametrize("television", TELEVISIONS, ids=lambda look: look.name)
async def test_all_screens_of_a_lesson_by_remote_control(lab: Lab, television: Look) -> None:
    kind, charset = ("gbk", "GBK") if television.old else ("tv", "UTF-8")
    async with serving(lab) as port, chromium() as browser, page_of(browser, television, port) as page:
        heard: list[Response] = []
        page.on("response", lambda answer: heard.append(answer))
        await page.goto(f"/lessons/{TEXT}/")
        last = int((await page.text_content(".part") or "").split()[-2])
        assert last > 5
        for number in range(1, last + 1):
            assert page.url.endswith(f"/lessons/{TEXT}/{kind}-{number}.html")
            assert (await page.text_content(".part") or "").strip() == f"第 {number} 页，共 {last} 页"
            assert await page.evaluate("document.characterSet") == charset
            wide, high = await page.evaluate(
                "() => [document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
            )
            assert wide <= television.width and high <= television.height, number
            below = await page.evaluate(BELOW)
            assert below <= 0, (number, "words reach under the links")
            assert await page.evaluate(CLIPPED) == []
            assert await page.evaluate("[...document.images].every(e => e.complete && e.naturalWidth > 0)")
            await reach_all(page, f"screen {number}")
            if number in (1, 4, last):
                found = (await Axe().run(page)).response["violations"]
                assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
            fetched = [len(await each.body()) for each in heard if each.status == 200]
            assert 0 < sum(fetched) <= PAGE_MAX_BYTES, number
            await page.reload()
            heard.clear()
            if number < last:
                await page.keyboard.press("Enter")
                await page.wait_for_url(f"**/{kind}-{number + 1}.html")
        await page.keyboard.press("PageUp")
        await page.wait_for_url(f"**/{kind}-{last - 1}.html")
        await page.evaluate("document.onkeydown({keyCode: 373})")  # iPanel
        await page.wait_for_url(f"**/{kind}-{last}.html")
        await page.keyboard.press("Backspace")
        await page.wait_for_url(f"**/?column=1&at={TEXT}")
        assert await page.evaluate("document.activeElement.getAttribute('href')") == f"/lessons/{TEXT}/"


async def test_screens_need_no_script(lab: Lab) -> None:
    for television in TELEVISIONS:
        async with (
            serving(lab) as port,
            chromium() as browser,
            page_of(browser, television, port, script=False) as page,
        ):
            await page.goto(f"/lessons/{TEXT}/")
            for rel in ("next", "next", "prev"):
                await page.click(f"a[rel={rel}]")
            assert page.url.endswith("-2.html")
            await page.click("#back")
            assert page.url.endswith(f"/?column=1&at={TEXT}")
