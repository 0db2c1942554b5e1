"""A village studies: forms without script, real bytes, real Chromium, a power cut in the middle."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from domain.records import AnswerRecord, FaultRecord, NeedRecord, SessionRecord, decode_body
from edge_server.village.health import check_digit, is_code
from edge_server.village.pages import FORMS_OF_ONE_MAX_COUNT
from tests.pages_lab import LOOKS, Look, chromium, page_of
from tests.served import Served, published, run, serve
from tests.walking import fits, judged_by_axe, reach_all
from wire.records import read_line

pytestmark = pytest.mark.timeout(120)
QUESTIONS = """
questionnaire = "spring"
title = "春耕需求调查"
until = "2099-03-01"
[[questions]]
question = "1"
words = "最想学什么？"
choices = ["果树修剪", "滴灌", "养殖", "法律"]
[[questions]]
question = "2"
words = "家里几口人在务农？"
kind = "number"
[[questions]]
question = "3"
words = "还有什么想说的？"
kind = "words"
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    root = tmp_path_factory.mktemp("village")
    video, page = published(root)
    (root / "spring.toml").write_text(QUESTIONS, encoding="utf-8")
    central = ("--dir", str(root / "central"), "--json")
    words = ("--day", "2098-12-05", "--title", "将来的集中学习", "--item", video)
    run("central-platform", "plan", "add", *words, *central)
    run("central-platform", "plan", "add", "--day", today(), "--title", "今天学用电", "--item", video, *central)
    run("central-platform", "questionnaire", "add", str(root / "spring.toml"), *central)
    run("edge-server", "sync", "--dir", str(root / "edge"), "--json")
    for number in (1, 2):
        mac = f"00:1A:79:00:00:0{number}"
        run("edge-server", "box", "add", mac, "--station", f"v-00{number}", "--dir", str(root / "edge"), "--json")
    return root, video, page


def today() -> str:
    from datetime import UTC, datetime, timedelta

    return (datetime.now(UTC) + timedelta(hours=8)).date().isoformat()


@pytest.fixture(scope="module")
def edge(root: tuple[Path, str, str]) -> Iterator[Served]:
    with serve(*root) as running:
        yield running


@pytest.fixture
async def box(edge: Served) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser with a cookie of its own; nobody runs a script here."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(edge.http, cookie_jar=jar) as session:
        yield session


def spooled(edge: Served, kind: str) -> list[object]:
    """Read what is on the disk: from another process, as a stick would take it."""
    stick = edge.root / "stick"
    stick.mkdir(exist_ok=True)
    run("edge-server", "records", "to-usb", str(stick), "--dir", str(edge.edge), "--json")
    (file,) = (stick / "records").glob("*.rec")
    lines = [read_line(each) for each in file.read_bytes().splitlines()]
    return [decode_body(kind, each.record.body) for each in lines if each.record.kind == kind]


async def at(box: aiohttp.ClientSession, path: str, **form: str) -> tuple[int, str, str]:
    """Ask for a page, or send a form; return status, text, and where it led."""
    async with box.request("POST" if form else "GET", path, data=form or None) as answer:
        return answer.status, await answer.text(), answer.url.path


async def settle_in(box: aiohttp.ClientSession, station: str) -> None:
    assert (await at(box, "/study/station", station=station))[2] == "/study"


async def test_a_session_is_recorded_with_the_bytes_that_left(edge: Served, box: aiohttp.ClientSession) -> None:
    assert (await at(box, "/study"))[2] == "/study/station", "the station is asked once"
    await settle_in(box, "v-001")
    status, page, _ = await at(box, "/study")
    assert status == 200
    assert "今天学用电" in page and "将来的集中学习" not in page
    _, page, where = await at(box, "/study/begin", item=edge.video, plan=today())
    assert where == "/study/now"
    sources = re.findall(r'<source src="(/t/[^"]+)"', page)
    async with box.get(sources[0]) as media:
        body = await media.read()
    assert "21" in (await at(box, "/study/heads", heads="21"))[1]
    assert (await at(box, "/study/heads", heads="many"))[0] == 400
    _, page, _ = await at(box, "/study/end", go="1")
    found = re.search(r'class="code">(\d{3})<', page)
    assert found, "a number is asked for before the end"
    wrong = "100" if found[1] != "100" else "101"
    assert "said=wrong" in str((await box.post("/study/answer", data={"code": wrong})).url)
    _, page, _ = await at(box, "/study/answer", code=found[1], then="end")
    assert "学习已记录" in page and "不到 5 分钟" in page
    (record,) = [each for each in spooled(edge, "session") if isinstance(each, SessionRecord)]
    assert (record.item_id, record.plan, record.head_count) == (edge.video, today(), 21)
    assert (record.challenged, record.passed, record.effective_s, record.cut) == (1, 1, 0.0, False)
    assert record.delivered_bytes == len(body) > 10_000
    status, page, _ = await at(box, "/study/check")
    assert "安全用电" in page and "待送" in page and "v-001" in page


async def test_questionnaires_faults_and_needs_are_recorded_once_and_checked(
    edge: Served, box: aiohttp.ClientSession
) -> None:
    await settle_in(box, "v-002")
    assert (await at(box, "/study/ask/nothing"))[0] == 404
    status, page, _ = await at(box, "/study/ask/spring", **{"1": "7", "2": "4"})
    assert status == 400 and "请按提示填数字" in page and 'value="4"' in page, "nothing typed is lost"
    assert (await at(box, "/study/ask/spring", **{"1": "2", "2": "4", "3": "早上好"}))[0] == 200
    assert [each.given for each in spooled(edge, "answer") if isinstance(each, AnswerRecord)] == [
        {"1": "2", "2": "4", "3": "早上好"}
    ]
    assert (await at(box, "/study/fault", what="on-fire"))[0] == 400
    _, page, _ = await at(box, "/study/fault", what="no-picture", item=edge.video)
    found = re.search(r'class="code">(\d{3}) (\d{3})<', page)
    assert found and is_code(found[1] + found[2])
    (fault,) = [each for each in spooled(edge, "fault") if isinstance(each, FaultRecord)]
    assert (fault.what, fault.item_id, fault.health_code) == ("no-picture", edge.video, found[1] + found[2])
    assert (await at(box, "/study/need", about="lesson-wanted", words=" "))[0] == 400
    await at(box, "/study/need", about="lesson-wanted", words="<b>蜜蜂</b>")
    await at(box, "/study/need", about="lesson-wrong", item=edge.video)
    needs = [each for each in spooled(edge, "need") if isinstance(each, NeedRecord)]
    assert [(each.about, each.item_id, each.words) for each in needs] == [
        ("lesson-wanted", "", "<b>蜜蜂</b>"),
        ("lesson-wrong", edge.video, ""),
    ]


async def test_what_a_page_saw_is_a_fault_too(edge: Served, box: aiohttp.ClientSession) -> None:
    await settle_in(box, "v-002")
    form = {"what": "stall", "item": edge.video, "way": "R40.mp4", "at": "12"}
    assert (await at(box, "/study/seen", **{**form, "what": "on-fire"}))[0] == 400
    async with box.post("/study/seen", data=form, headers={"Origin": "http://elsewhere.test"}) as answer:
        assert answer.status == 403
    assert (await at(box, "/study/seen", **form))[0] == 204
    assert (await at(box, "/study/seen", **form))[0] == 429, "one a minute"
    faults = [each for each in spooled(edge, "fault") if isinstance(each, FaultRecord)]
    (fault,) = [each for each in faults if each.source == "page"]
    assert (fault.what, fault.item_id, fault.words) == ("stall", edge.video, "R40.mp4 at 12 s")


async def test_forms_of_other_pages_and_bad_stations_are_refused(edge: Served, box: aiohttp.ClientSession) -> None:
    assert (await at(box, "/study/station", station="v 1;x"))[0] == 400
    await settle_in(box, "v-001")
    for headers in (
        {"Origin": "http://elsewhere.example"},
        {"Referer": "http://elsewhere.example/x"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        async with box.post("/study/begin", data={"item": edge.video}, headers=headers) as answer:
            assert answer.status == 403
    assert (await at(box, "/study/now"))[2] == "/study", "nothing was begun"
    assert (await at(box, "/study/begin", item="404"))[0] == 404
    box.cookie_jar.update_cookies({"station": "../../etc"}, URL(edge.http))
    assert (await at(box, "/study"))[2] == "/study/station"


async def test_a_power_cut_keeps_the_session(root: tuple[Path, str, str], tmp_path: Path) -> None:
    folder, video, page = root
    shutil.copytree(folder / "edge", tmp_path / "edge", ignore=shutil.ignore_patterns("records.db*", "study.json"))
    jar = aiohttp.CookieJar(unsafe=True)
    with serve(tmp_path, video, page, ends_with=-signal.SIGKILL) as first:
        async with aiohttp.ClientSession(first.http, cookie_jar=jar) as box:
            await settle_in(box, "v-009")
            await at(box, "/study/begin", item=first.video)
        os.kill(first.pid, signal.SIGKILL)
    for _ in range(2):  # a second restart records nothing again
        with serve(tmp_path, video, page) as again:
            records = [each for each in spooled(again, "session") if isinstance(each, SessionRecord) and each.cut]
            assert [(each.item_id, each.head_count) for each in records] == [(video, 0)]


def test_a_misheard_digit_is_noticed() -> None:
    digits = [0, 5, 1, 0, 9]
    code = "".join(map(str, [*digits, check_digit(digits)]))
    assert is_code(code)
    for place in range(6):
        for other in "0123456789":
            if other != code[place]:
                assert not is_code(code[:place] + other + code[place + 1 :])


@pytest.mark.stranger("chromium")
@pytest.mark.parametrize("look", LOOKS, ids=[look.name for look in LOOKS])
async def test_every_page_of_the_village_is_walked_by_keys(edge: Served, look: Look) -> None:
    async with AsyncExitStack() as stack:
        browser = await stack.enter_async_context(chromium())
        page = await stack.enter_async_context(page_of(browser, look, edge.http_port))
        await page.goto("/study")
        await reach_all(page, "station")
        await fits(page, "station")
        await page.click("input[type=submit][value='v-002']")
        for name in ("", "/check", "/check/state", "/fault", "/need", "/ask/spring"):
            await page.goto(f"/study{name}")
            await reach_all(page, name)
            await fits(page, name)
            await judged_by_axe(page, name)
            high = await page.evaluate("() => document.documentElement.scrollHeight")
            assert not look.old or high <= look.height or name == "/ask/spring", (name, high)
        await page.goto("/study")
        await page.click("input[type=submit][value^='▶']")
        await reach_all(page, "now")
        await fits(page, "now")
        await judged_by_axe(page, "now")
        await page.click("input[value^='■']")
        await reach_all(page, "last")
        await page.focus("input[name=code]")
        await page.keyboard.type(await page.inner_text("b.code"))
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".here")
        await reach_all(page, "ended")
        await judged_by_axe(page, "ended")


@pytest.mark.stranger("ffmpeg")
async def test_what_an_old_box_plays_by_rtsp_counts_for_its_session(edge: Served, box: aiohttp.ClientSession) -> None:
    await settle_in(box, "v-003")
    command = f"ffmpeg -v error -rtsp_transport tcp -i {edge.rtsp}vod/{edge.video}.mpg -f null -".split()
    play = partial(subprocess.run, command, check=True, timeout=40)
    await asyncio.to_thread(play)  # before the session: counts for nothing
    await at(box, "/study/begin", item=edge.video)
    await asyncio.to_thread(play)
    await at(box, "/study/end", anyway="1")
    records = [each for each in spooled(edge, "session") if isinstance(each, SessionRecord)]
    one = (edge.edge / "derived").rglob("*.ts")
    length = max(file.stat().st_size for file in one)
    assert 0.8 * length < records[-1].delivered_bytes < 1.2 * length


async def test_who_taps_without_end_is_told_to_wait(edge: Served, box: aiohttp.ClientSession) -> None:
    await settle_in(box, "v-004")
    before = len(spooled(edge, "need"))
    answers = [
        await at(box, "/study/need", about="lesson-wanted", words="x") for _ in range(FORMS_OF_ONE_MAX_COUNT + 5)
    ]
    refused = [status for status, _, _ in answers if status == 429]
    assert len(refused) >= 5
    assert len(spooled(edge, "need")) - before == len(answers) - len(refused)
    assert (await at(box, "/study"))[0] == 200, "pages are shown all the same"
