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

from central_platform.ingest import MadePage, ingest
from central_platform.publish.drafting import drafted
from domain.courseware import Catalogue, Column, Courseware, ItemClass, MediaFamily
from edge_server.linear import LinearChannel, Slot
from edge_server.packager import Shelf
from fixtures.lessons import make_counted_lesson
from tests.web_lab import ISSUED, Lab, asset, rendition, subtitle, view_of

VIDEO, TWO, TEXT = "10000001", "10000002", "10000099"
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
TELEVISION = (
    "Mozilla/5.0 (SMART-TV; Linux; Tizen 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Version/5.0 TV Safari/537.36"
)


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
TELEVISIONS = (Look("tv1280x720", 1280, 720, TELEVISION), LOOKS[3])
"""Screens on which picture-text lessons are turned, not scrolled."""
PATHS = {
    "home": "/",
    "home-next": "/?page=2",
    "home-empty": "/?column=7",
    "columns": "/columns",
    "search": "/search",
    "found": "/search?q=滴灌",
    "found-by-initials": "/search?q=dg&key=g",
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


LESSON = """# 滴灌技术第一课：认识滴灌带与水泵的连接方法

各村要抓住晴好天气，做好**选种、整地、灌溉**三件事。滴灌（Drip irrigation）是将水一滴一滴、均匀而缓慢地滴入作物根区附近
土壤中的灌水形式，水的利用率可达95%。用 `valve --open 3` 打开三号阀门。

![滴灌带](wide.jpg)

## 一、材料“准备”

1. 选用本地审定的良种，播前晒种两天，剔除瘪粒、病粒；每亩用种12.5公斤左右，肥力高的地块可以适当减少。
2. 深翻二十厘米，施足底肥。
   - 有机肥 2000 kg
   - 磷酸二铵 20 kg — Diammonium phosphate (DAP), granulated
3. 检修水渠，备好滴灌带。

| 部件 | 规格 | 数量 | 备注 |
|---|---|---|---|
{rows}

> 注意：先开水，后开肥；先停肥，后停水。😀 ¥100 € 钅

![水泵](tall.png)

```
def open_valve(n):
    print("阀门", n)   # 打开
    return "a very long line of code that cannot fit in one line of the television screen at all, really not"
```

---

{words}
"""
WORDS = (
    "WWW MMM, the WATER pump; “Quotes” (and brackets)… 20 kW·h – 应根据土壤质地、坡度、树龄和水源条件来确定滴头间距；"
)


def picture_text(root: Path) -> tuple[Courseware, dict[str, bytes]]:
    """Ingest a picture-text lesson of every kind of block; return it and its files by their names."""
    folder, work = root / "lesson", root / "work"
    folder.mkdir()
    work.mkdir()
    for name, size in (("wide.jpg", (1600, 900)), ("tall.png", (500, 900))):
        picture = Image.linear_gradient("L").resize(size).convert("RGB")
        ImageDraw.Draw(picture).ellipse([90, 90, 400, 400], fill=(90, 160, 220))
        picture.save(folder / name)
    note = "铺设时出水孔朝上，避免扭曲打折；接头处用卡箍固定"
    rows = "\n".join(f"| 滴灌带{n} | Φ16×0.2×30{n} | {n * 100} 米 | {note} |" for n in range(9))
    words = "\n\n".join(WORDS * times for times in (1, 3, 9, 2))
    (folder / "lesson.md").write_text(LESSON.format(rows=rows, words=words), encoding="utf-8")
    made = ingest(folder, work, on_progress=lambda _: None)
    assert isinstance(made, MadePage)
    item, files = drafted(
        made,
        item_id=TEXT,
        title="滴灌技术图文",
        item_class=ItemClass.EDUCATION,
        column_id="1",
        issued_at=ISSUED,
        summary="",
        offline_days=0,
        held=False,
    )
    return item, {name: file.read_bytes() for name, file in files.items()}


def build(root: Path) -> Lab:
    """Make one lesson that plays, one of text and pictures, and many that are listed."""
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
    text, files = picture_text(root)
    objects |= files
    items.append(text)
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
