"""Walks a page by the arrow keys of a remote control, in a real browser."""

from __future__ import annotations

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

WAYS = {39: "ArrowRight", 40: "ArrowDown", 37: "ArrowLeft", 38: "ArrowUp"}
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


WALK = """ways => {
  const seen = SEEN, at = n => document.querySelector(`[data-n='${n}']`);
  const begin = seen(), reached = new Set([begin.n]), waiting = [begin.n], moves = [];
  while (waiting.length && begin.n >= 0) {
    const from = waiting.shift();
    for (const code of ways) {
      at(from).focus();
      document.onkeydown({keyCode: code});
      const now = seen();
      moves.push({from: from, way: code, ...now});
      if (now.n >= 0 && !reached.has(now.n)) { reached.add(now.n); waiting.push(now.n); }
    }
  }
  return [begin, moves];
}""".replace("SEEN", FOCUS)


async def reach_all(page: Page, name: str) -> None:
    """Give every arrow key on every link that is reached, from where the focus begins; press where the page scrolls."""
    stops = await page.evaluate(STOPS)
    begin, moves = await page.evaluate(WALK, list(WAYS))
    assert begin["n"] >= 0 and begin["seen"] and begin["ring"], (name, "begins nowhere", begin)
    tall = await page.evaluate("document.documentElement.scrollHeight > innerHeight")
    reached = {begin["n"]} | {each["n"] for each in moves}
    for each in moves:
        assert each["n"] >= 0, (name, each)
        if each["n"] != each["from"]:
            assert each["seen"] and each["ring"], (name, stops[each["from"]], stops[each["n"]], each)
    if tall and len(reached) < len(stops):  # the browser scrolls by itself, and then a link comes near
        for stuck in [each for each in moves if each["n"] == each["from"]]:
            reached |= await pressed(page, stuck["from"], WAYS[stuck["way"]])
    waiting = sorted(reached - {each["from"] for each in moves})
    while waiting:
        at = waiting.pop()
        for way in WAYS.values():
            more = await pressed(page, at, way) - reached
            reached |= more
            waiting += more
    assert reached == set(range(len(stops))), (name, [stops[n] for n in range(len(stops)) if n not in reached])


async def pressed(page: Page, at: int, way: str) -> set[int]:
    """Press a key on a link until the focus moves, or nothing moves; return where it is."""
    await page.evaluate("n => document.querySelector(`[data-n='${n}']`).focus()", at)
    for _ in range(SAME_PLACE_MAX_PRESSES):
        before = await page.evaluate(FOCUS)
        await page.keyboard.press(way)
        now = await page.evaluate(FOCUS)
        if now["n"] != at or now["scroll"] == before["scroll"]:
            break
    assert now["n"] >= 0 and (now["n"] == at or (now["seen"] and now["ring"])), (at, way, now)
    return {now["n"]}


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
