"""The player's watchdog in Debian's Chromium: real faults, plain words, another way, one report."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Page, Route

from domain.courseware import Catalogue, Column, Courseware, ItemClass, MediaFamily
from edge_server.packager import Shelf
from fixtures.lessons import make_counted_lesson
from tests.pages_lab import LOOKS, chromium, page_of
from tests.web_lab import ISSUED, VIDEO, Lab, rendition, serving, view_of

pytestmark = [pytest.mark.stranger("chromium"), pytest.mark.stranger("ffmpeg"), pytest.mark.timeout(90)]
CODECS = ("avc1.64000d", "mp4a.40.2")


def h265(file: Path) -> bytes:
    """Sound that every browser plays, and a picture that Debian's Chromium has no decoder for."""
    make = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=25:duration=8"]
    make += ["-f", "lavfi", "-i", "sine=duration=8", "-c:v", "libx265", "-preset", "ultrafast"]
    make += ["-x265-params", "log-level=none", "-tag:v", "hvc1", "-c:a", "aac", "-movflags", "+faststart", str(file)]
    subprocess.run(make, check=True, timeout=60)
    return file.read_bytes()


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("made")
    small = make_counted_lesson(root / "a.mp4", frames=250, title="滴灌", seed=5, size=(320, 180)).path.read_bytes()
    return {"h265": h265(root / "b.mp4"), "h264": small, "none": b"no film" * 200}


@dataclass
class Watched:
    page: Page
    lab: Lab
    reports: list[dict[str, str]] = field(default_factory=list)

    async def shown(self, name: str) -> bool:
        return await self.page.locator(f"#told-{name}").is_visible()

    async def until(self, true: str) -> None:
        for _ in range(400):
            if await self.page.evaluate(true):
                return
            await self.page.wait_for_timeout(50)
        raise AssertionError(f"never: {true}")


@pytest.fixture
async def watched(request: pytest.FixtureRequest, tmp_path: Path, media: dict[str, bytes]) -> AsyncIterator[Watched]:
    """A lesson whose two renditions are what the test says."""
    objects, renditions = {}, []
    for name, kind in zip(("R40", "R12"), request.param, strict=True):
        made = rendition(name, media[kind], (320, 180), CODECS)
        objects[made.path] = media[kind]
        renditions.append(made)
    item = Courseware(
        item_id=VIDEO,
        title="滴灌",
        item_class=ItemClass.EDUCATION,
        column_id="1",
        family=MediaFamily.VIDEO,
        issued_at=ISSUED,
        duration_s=8.0,
        renditions=tuple(renditions),
    )
    view = view_of(
        tmp_path, Catalogue(columns=(Column(column_id="1", title="农", order=1),), courseware=(item,)), objects
    )
    (tmp_path / "derived").mkdir()
    lab = Lab(tmp_path, view, Shelf(tmp_path / "derived"), objects)
    reports: list[dict[str, str]] = []

    async def seen(asked: web.Request) -> web.Response:
        reports.append({name: str(value) for name, value in (await asked.post()).items()})
        return web.Response(status=204)

    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(serving(lab, web.post("/study/seen", seen)))
        browser = await stack.enter_async_context(chromium())
        page = await stack.enter_async_context(page_of(browser, LOOKS[0], port))
        yield Watched(page, lab, reports)


def which(names: tuple[str, str]) -> str:
    return "-".join(names)


@pytest.mark.parametrize("watched", [("h265", "h264")], indirect=True, ids=which)
async def test_sound_without_a_picture_leads_to_the_other_file(watched: Watched) -> None:
    page = watched.page
    await page.goto(f"/watch/{VIDEO}")
    assert not await watched.shown("other")
    await page.keyboard.press("Enter")
    await watched.until("document.querySelector('video').currentSrc.endsWith('/R12.mp4')")
    await watched.until("document.querySelector('video').videoWidth === 320")
    await watched.until("document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames > 20")
    assert await page.evaluate("document.querySelector('video').currentTime") >= 2, "it goes on where it was"
    await watched.until("getComputedStyle(document.getElementById('told-other')).display === 'none'")
    (report,) = watched.reports
    assert (report["what"], report["item"], report["way"]) == ("no-picture", VIDEO, "R40.mp4") and int(
        report["at"]
    ) >= 1


@pytest.mark.parametrize("watched", [("h265", "h265")], indirect=True, ids=which)
async def test_a_box_that_shows_no_picture_at_all_is_told_so(watched: Watched) -> None:
    await watched.page.goto(f"/watch/{VIDEO}")
    await watched.page.keyboard.press("Enter")
    await watched.until("getComputedStyle(document.getElementById('told-no-picture')).display === 'block'")
    words = await watched.page.text_content("#told-no-picture") or ""
    assert "有声音，没有图像" in words and "换一台电视盒" in words
    assert [each["what"] for each in watched.reports] == ["no-picture"], "once, however many files were tried"
    top = await watched.page.evaluate("document.getElementById('told-no-picture').getBoundingClientRect().bottom")
    assert 0 < top <= LOOKS[0].height


@pytest.mark.parametrize("watched", [("none", "none")], indirect=True, ids=which)
async def test_files_that_are_no_films(watched: Watched) -> None:
    await watched.page.goto(f"/watch/{VIDEO}")
    await watched.until("getComputedStyle(document.getElementById('told-cannot-play')).display === 'block'")
    assert [each["what"] for each in watched.reports] == ["cannot-play"]


@pytest.mark.parametrize("watched", [("h264", "h264")], indirect=True, ids=which)
async def test_data_that_do_not_arrive(watched: Watched) -> None:
    async def hold(route: Route) -> None:
        pass  # neither answered nor refused, like a line that died

    await watched.page.route("**/R40.mp4", hold)
    await watched.page.goto(f"/watch/{VIDEO}", wait_until="commit")
    await watched.until("document.activeElement && document.activeElement.tagName === 'VIDEO'")
    await watched.page.keyboard.press("Enter")
    await watched.until("document.querySelector('video').currentTime > 1")
    assert await watched.page.evaluate("document.querySelector('video').currentSrc.endsWith('/R12.mp4')")
    assert [(each["what"], each["way"]) for each in watched.reports] == [("stall", "R40.mp4")]
    await watched.page.unroute_all(behavior="ignoreErrors")


@pytest.mark.parametrize("watched", [("h264", "h264")], indirect=True, ids=which)
async def test_a_film_that_plays_is_left_alone(watched: Watched) -> None:
    await watched.page.goto(f"/watch/{VIDEO}")
    await watched.page.keyboard.press("Enter")
    await watched.until("document.querySelector('video').currentTime > 4")
    await watched.page.keyboard.press("Enter")
    await watched.page.wait_for_timeout(2500)
    assert watched.reports == [] and await watched.page.locator(".told:visible").count() == 0
    assert await watched.page.evaluate("document.querySelector('video').currentSrc.endsWith('/R40.mp4')")
