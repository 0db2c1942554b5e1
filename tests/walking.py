"""Walks a page by the arrow keys of a remote control, in a real browser."""

from __future__ import annotations

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

WAYS = ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp")
SAME_PLACE_MAX_PRESSES = 12
"""A long page is scrolled before the focus goes on."""
STOPS = """() => {
  const found = [...document.querySelectorAll('a[href], video, button, input')]
    .filter(e => e.offsetWidth > 0 && e.type !== 'hidden');
  found.forEach((e, n) => e.dataset.n = n);
  return found.map(e => e.tagName + ' ' + (e.getAttribute('href') || e.name || e.value || e.type));
}"""
FOCUS = """() => {
  const e = document.activeElement, r = e.getBoundingClientRect(), s = getComputedStyle(e);
  return {n: e.dataset.n === undefined ? -1 : +e.dataset.n, scroll: scrollY,
    ring: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 3,
    seen: r.top < innerHeight && r.bottom > 0 && r.left >= 0 && r.right <= innerWidth &&
      (r.height > innerHeight || (r.top >= 0 && r.bottom <= innerHeight))};
}"""
CLIPPED = """() => [...document.querySelectorAll('body *')].filter(e => {
  const s = getComputedStyle(e);
  return e.textContent.trim() && s.overflowX !== 'visible' && e.tagName !== 'VIDEO' && e.tagName !== 'INPUT' &&
    (e.scrollHeight > e.clientHeight + 2 || e.scrollWidth > e.clientWidth + 2);
}).map(e => e.outerHTML.slice(0, 200))"""


async def reach_all(page: Page, name: str) -> None:
    """Begin where the page begins, and reach every link, film and field by arrows, each with its ring and in sight."""
    stops = await page.evaluate(STOPS)
    begin = await page.evaluate(FOCUS)
    assert begin["n"] >= 0 and begin["seen"] and begin["ring"], (name, "begins nowhere", begin, stops)
    reached, waiting = {begin["n"]}, [begin["n"]]
    while waiting:
        at = waiting.pop(0)
        for way in WAYS:
            await page.evaluate("n => document.querySelector(`[data-n='${n}']`).focus()", at)
            for _ in range(SAME_PLACE_MAX_PRESSES):
                before = await page.evaluate(FOCUS)
                await page.keyboard.press(way)
                now = await page.evaluate(FOCUS)
                if now["n"] != at or now["scroll"] == before["scroll"]:
                    break
            assert now["n"] >= 0, (name, way, stops[at])
            if now["n"] != at:
                assert now["seen"] and now["ring"], (name, way, stops[at], stops[now["n"]], now)
            if now["n"] not in reached:
                reached.add(now["n"])
                waiting.append(now["n"])
    assert reached == set(range(len(stops))), (name, [stops[n] for n in range(len(stops)) if n not in reached])


async def fits(page: Page, name: str) -> None:
    """Look that nothing is clipped and the page does not scroll sideways."""
    wide, inner = await page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner, (name, wide, inner)
    assert await page.evaluate(CLIPPED) == [], name


async def judged_by_axe(page: Page, name: str) -> None:
    """Let axe find nothing serious."""
    found = (await Axe().run(page)).response["violations"]
    serious = [
        (each["id"], [n["html"] for n in each["nodes"]]) for each in found if each["impact"] in ("serious", "critical")
    ]
    assert serious == [], name
