"""The operator's pages of a real edge: the set-up code, the password, sync, a stick."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from edge_server.console.password import PasswordFile
from fixtures.lessons import make_picture_text
from tests.pages_lab import LOOKS, chromium, page_of
from tests.served import Served, published, run, serve
from tests.walking import fits, judged_by_axe, reach_all

pytestmark = pytest.mark.timeout(120)
PASSWORD = "Zhen-2026"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("console")
    video, page = published(root)
    (root / "media").mkdir()
    with serve(root, video, page, {"EDGE_SERVER_USB_PLACES": str(root / "media")}) as running:
        yield running


@pytest.fixture
async def browser(edge: Served) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(edge.http, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


async def at(browser: aiohttp.ClientSession, path: str, **form: str) -> tuple[int, str]:
    async with browser.request("POST" if form else "GET", path, data=form or None) as answer:
        return answer.status, await answer.text()


async def logged_in(browser: aiohttp.ClientSession, edge: Served) -> str:
    """Log in; return the token of forms."""
    if not PasswordFile(edge.edge).is_set():
        PasswordFile(edge.edge).write(PASSWORD)
    status, page = await at(browser, "/operator/login", password=PASSWORD)
    assert status == 200
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found
    return found[1]


async def test_the_code_of_the_console_sets_the_password_once(edge: Served, browser: aiohttp.ClientSession) -> None:
    found = None
    for _ in range(250):
        found = found or re.search(r"good once: (\d{4}) (\d{4})", (edge.root / "serve.log").read_text())
        await asyncio.sleep(0 if found else 0.02)
    assert found, (edge.root / "serve.log").read_text()
    code = found[1] + found[2]
    status, page = await at(browser, "/operator")
    assert "设置码" in page and code not in page
    assert (await at(browser, "/operator/setup", code="00000000", password=PASSWORD, again=PASSWORD))[0] == 403
    for password, again in (("short", "short"), ("12345678", "12345678"), (PASSWORD, "another-1")):
        status, page = await at(browser, "/operator/setup", code=code, password=password, again=again)
        assert status == 403 and 'role="alert"' in page
    assert not PasswordFile(edge.edge).is_set()
    status, page = await at(browser, "/operator/setup", code=code, password=PASSWORD, again=PASSWORD)
    assert status == 200 and "现在同步" in page
    assert (await at(browser, "/operator/setup", code=code, password="Other-2026", again="Other-2026"))[0] == 403
    assert PasswordFile(edge.edge).fits(PASSWORD)


async def test_forms_without_their_token_and_strangers_get_nothing(
    edge: Served, browser: aiohttp.ClientSession
) -> None:
    for path in ("", "/faults", "/boxes", "/settings", "/usb"):
        assert "密码" in (await at(browser, f"/operator{path}"))[1]
    assert "密码" in (await at(browser, "/operator/sync", token="x"))[1]
    await logged_in(browser, edge)
    assert (await at(browser, "/operator/sync", token="x"))[0] == 403
    async with browser.get("/operator", headers={"X-Forwarded-For": "8.8.8.8"}) as answer:
        assert answer.status == 403, "not from beyond the local network"


async def test_sync_now_brings_what_is_new(edge: Served, browser: aiohttp.ClientSession) -> None:
    token = await logged_in(browser, edge)
    make_picture_text(edge.root / "news", "新通知")
    words = ("--column", "测试专栏", "--class", "education", "--dir", str(edge.central), "--json")
    run("central-platform", "publish", str(edge.root / "news"), "--title", "新通知", *words)
    await at(browser, "/operator/sync", token=token)
    assert "有更新" in await done(browser, "/operator")
    assert "新通知" in (await at(browser, "/"))[1]


async def test_a_stick_is_taken_in_and_takes_the_records_along(edge: Served, browser: aiohttp.ClientSession) -> None:
    token = await logged_in(browser, edge)
    assert "没有找到带同步包的" in (await at(browser, "/operator/usb"))[1]
    assert (await at(browser, "/operator/usb", token=token, stick="/etc"))[0] == 404
    stick = edge.root / "media" / "kingston"
    make_picture_text(edge.root / "more", "U盘通知")
    words = ("--column", "测试专栏", "--class", "education", "--dir", str(edge.central), "--json")
    run("central-platform", "publish", str(edge.root / "more"), "--title", "U盘通知", *words)
    run("central-platform", "bundle", "export", str(stick), "--dir", str(edge.central), "--json")
    assert str(stick) in (await at(browser, "/operator/usb"))[1]
    await at(browser, "/operator/usb", token=token, stick=str(stick))
    page = await done(browser, "/operator/usb")
    assert "课件已更新" in page, page
    assert "U盘通知" in (await at(browser, "/"))[1]
    assert list((stick / "records").glob("*.rec")), "what waits goes home with it"


async def done(browser: aiohttp.ClientSession, path: str) -> str:
    """Look until the job is over."""
    for _ in range(400):
        _, page = await at(browser, path)
        if 'class="bar"' not in page:
            return page
        await asyncio.sleep(0.05)
    pytest.fail("the job runs on")


def test_reset_forgets_the_password(edge: Served, tmp_path: Path) -> None:
    PasswordFile(edge.edge).write(PASSWORD)
    run("edge-server", "operator", "reset", "--dir", str(edge.edge), "--json")
    assert not PasswordFile(edge.edge).is_set()
    status = run("edge-server", "status", "--dir", str(edge.edge), "--json")[-1]
    assert {"uplink", "disk", "lessons", "records"} <= status.keys()


@pytest.mark.stranger("chromium")
async def test_every_page_of_the_console_is_walked_by_keys(edge: Served) -> None:
    PasswordFile(edge.edge).write(PASSWORD)
    for look in (LOOKS[0], LOOKS[2]):
        async with AsyncExitStack() as stack:
            browser = await stack.enter_async_context(chromium())
            page = await stack.enter_async_context(page_of(browser, look, edge.http_port))
            await page.goto("/operator")
            await reach_all(page, "enter")
            await judged_by_axe(page, "enter")
            await page.fill("#password", PASSWORD)
            await page.press("#password", "Enter")
            await page.wait_for_selector("h2")
            for name in ("", "/usb", "/boxes", "/faults", "/settings"):
                await page.goto(f"/operator{name}")
                await reach_all(page, name)
                await fits(page, name)
                await judged_by_axe(page, name)
