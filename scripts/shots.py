"""Takes a picture of every page of the portal at every size: ``make shots`` (folder .shots, or SHOTS=folder)."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.pages_lab import LOOKS, PATHS, TELEVISIONS, TEXT, build, chromium, page_of
from tests.web_lab import serving


async def shoot(folder: Path) -> None:
    """Write one PNG a page and size, and print its path."""
    with tempfile.TemporaryDirectory() as made:
        lab = build(Path(made))
        async with serving(lab) as port, chromium() as browser:
            for look in LOOKS:
                for name, path in {**PATHS, "full": PATHS["watch"]}.items():
                    lab.full = name == "full"
                    async with page_of(browser, look, port) as page:
                        await page.goto(path)
                        await page.wait_for_load_state("load")
                        file = folder / f"{name}-{look.name}.png"
                        await page.screenshot(path=file)
                        print(file)
            for look in TELEVISIONS:
                async with page_of(browser, look, port) as page:
                    await page.goto(f"/lessons/{TEXT}/")
                    last = int((await page.text_content(".part") or "").split()[-2])
                    for number in range(1, last + 1):
                        file = folder / f"screen-{number:02d}-{look.name}.png"
                        await page.screenshot(path=file)
                        print(file)
                        if number < last:
                            await page.click("a[rel=next]")


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ".shots")
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(shoot(target))
