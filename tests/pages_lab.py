"""A portal with something to show: columns, posters, long titles, channels; and a browser to look at it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw
from playwright.async_api import Browser, Page, async_playwright

from domain.courseware import Catalogue, Column, Courseware, ItemClass, MediaFamily
from edge_server.linear import LinearChannel, Slot
from edge_server.packager import Shelf
from fixtures.lessons import make_counted_lesson
from tests.web_lab import ISSUED, Lab, asset, rendition, subtitle, view_of

VIDEO, TWO = "10000001", "10000002"
CHANNEL = "900001"
COLUMNS = (
    "农业技术",
    "畜牧养殖",
    "党建学习",
    "卫生健康",
    "法律常识",
    "少儿课堂",
    "安全生产",
    "乡村治理与社会主义核心价值观",
)
TITLES = (
    "滴灌技术第一课：认识滴灌带与水泵的连接方法和常见故障",
    "苹果树冬季修剪",
    "小麦条锈病识别与防治",
    "Drip irrigation: how to lay and join the pipes in a small greenhouse",
    "合作医疗怎么报销",
    "大棚番茄育苗",
    "羊的配种与接羔",
    "土壤改良与测土配方",
    "生猪常见病用药",
    "春季防火",
    "“三农”政策问答（2026年版）：补贴、贷款、保险",
)
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari/537.36"
BOX = "webkit;Resolution(PAL,720P,1080P)"


@dataclass(frozen=True)
class Look:
    """One kind of screen."""

    name: str
    width: int
    height: int
    agent: str = CHROME
    charset: str = ""

    @property
    def old(self) -> bool:
        return self.agent == BOX


LOOKS = (
    Look("1280x720", 1280, 720),
    Look("640x530", 640, 530),
    Look("375", 375, 667),
    Look("box640x530", 640, 530, BOX, "gbk"),
)
PATHS = {
    "home": "/",
    "home-next": "/?page=2",
    "home-empty": "/?column=7",
    "columns": "/columns",
    "search": "/search",
    "found": "/search?q=滴灌",
    "nothing-found": "/search?q=火箭",
    "channels": "/channels",
    "channel": f"/channel/{CHANNEL}",
    "watch": f"/watch/{VIDEO}",
    "keys": "/keys",
    "missing": "/watch/404",
    "home-en": "/?lang=en",
}


def poster(number: int) -> bytes:
    picture = Image.new(
        "RGB", (480, 270), ((37 * number) % 120 + 30, (91 * number) % 110 + 50, (53 * number) % 100 + 30)
    )
    pen = ImageDraw.Draw(picture)
    for step in range(0, 480, 40):
        pen.line([(step, 270), (step + 150, 90)], fill=(230, 230, 200), width=4)
    pen.ellipse([360, 24, 440, 104], fill=(250, 220, 90))
    held = BytesIO()
    picture.save(held, "JPEG", quality=80)
    return held.getvalue()


def build(root: Path) -> Lab:
    """Make one lesson that plays and many that are listed."""
    data = make_counted_lesson(
        root / "made.mp4", frames=100, title="滴灌技术", seed=5, size=(320, 180)
    ).path.read_bytes()
    vtt = "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\n先断电\n".encode()
    r12 = rendition("R12", data, (320, 180), ("avc1.64000d", "mp4a.40.2"))
    objects: dict[str, bytes] = {r12.path: data, f"courseware/{VIDEO}/subtitle.zh.vtt": vtt}
    items = []
    for number in range(26):
        item_id = str(int(VIDEO) + number)
        path = f"courseware/{item_id}/poster.jpg"
        objects[path] = poster(number)
        items.append(
            Courseware(
                item_id=item_id,
                title=TITLES[number % len(TITLES)],
                item_class=ItemClass.EDUCATION,
                column_id="1" if number < 19 else str(number % 6 + 1),
                family=MediaFamily.VIDEO,
                issued_at=ISSUED,
                summary="怎样铺管、接头、冲洗，怎样看水压。" * 3,
                duration_s=4.0 + 333 * number,
                renditions=(r12,),
                poster=asset(path, objects[path], "image/jpeg") if number % 5 != 4 else None,
                subtitles=(subtitle("zh", "中文", vtt),) if number == 0 else (),
            )
        )
    columns = tuple(Column(column_id=str(n), title=title, order=n) for n, title in enumerate(COLUMNS, 1))
    view = view_of(root, Catalogue(columns=columns, courseware=tuple(items)), objects)
    slots = tuple(Slot(item.item_id, item.title, 600.0 + 30 * n) for n, item in enumerate(items[:9]))
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    names = ("教育频道", "农业科技频道", "少儿频道", "Regional news and weather")
    channels = tuple(LinearChannel(str(900001 + n), n + 1, name, epoch, slots[n:]) for n, name in enumerate(names))
    (root / "derived").mkdir()
    return Lab(root, view, Shelf(root / "derived"), objects, channels=channels)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start Debian's Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def page_of(browser: Browser, look: Look, port: int, *, script: bool = True) -> AsyncIterator[Page]:
    """Open a tab that looks as asked."""
    context = await browser.new_context(
        viewport={"width": look.width, "height": look.height},
        user_agent=look.agent,
        java_script_enabled=script,
        base_url=f"http://127.0.0.1:{port}",
        extra_http_headers={"Accept-Charset": look.charset} if look.charset else {},
    )
    context.set_default_timeout(10_000)
    try:
        yield await context.new_page()
    finally:
        await context.close()
