"""Picture-text lessons: cleaned, light, self-contained, or refused with a reason."""

from __future__ import annotations

import base64
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from central_platform.ingest import MadePage, RefusalReason, Refused, ingest
from fixtures.lessons import make_picture_text


def made(folder: Path, workdir: Path) -> tuple[MadePage, str]:
    workdir.mkdir(exist_ok=True)
    found = ingest(folder, workdir, on_progress=lambda _: None)
    assert isinstance(found, MadePage)
    return found, found.page.file.read_text(encoding="utf-8")


def refused(folder: Path, workdir: Path) -> RefusalReason:
    workdir.mkdir()
    with pytest.raises(Refused) as caught:
        ingest(folder, workdir, on_progress=lambda _: None)
    assert list(workdir.iterdir()) == []
    return caught.value.reason


def page(folder: Path, body: str | bytes, name: str = "index.html") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(body.encode() if isinstance(body, str) else body)
    return folder


def picture(file: Path, size: tuple[int, int] = (80, 60), mode: str = "RGB") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 200 if mode == "L" else None).save(file)
    return file


def test_a_markdown_lesson_becomes_a_light_page_for_a_television(tmp_path: Path) -> None:
    found, text = made(make_picture_text(tmp_path / "课", "春耕备耕通知"), tmp_path / "work")
    assert text.startswith("<!doctype html>") and '<html lang="zh-CN">' in text
    assert '<meta charset="utf-8">' in text and '<meta name="page-view-size" content="640*530">' in text
    assert "<title>春耕备耕通知</title>" in text and "<strong>选种、整地、灌溉</strong>" in text
    names = [name for name, _ in found.assets]
    assert re.findall(r'src="([^"]*)"', text) == names and len(names) == 2
    assert found.page.length_bytes + sum(each.length_bytes for _, each in found.assets) <= 300_000
    for name, each in found.assets:
        assert each.file.name == name and each.media_type == "image/jpeg"
        with Image.open(each.file) as image:
            assert image.width <= 600


def test_scripts_handlers_styles_and_links_are_dropped(tmp_path: Path) -> None:
    body = """<html><head><title>t</title><style>p{float:left}</style><script>steal()</script></head>
    <body onload="steal()"><p onclick=steal() style="position:fixed" class=x>字</p><a href="javascript:steal()">链</a>
    <iframe src="http://example.org/"></iframe><svg><script>steal()</script></svg><form action=/x><input></form>
    </body>"""
    _, text = made(page(tmp_path / "p", body), tmp_path / "work")
    inside = text[text.index("<body>") :]
    for word in ("steal", "script", "onclick", "style=", "href", "iframe", "example.org", "form", "input", "float"):
        assert word not in inside, word
    assert "<p>字</p>" in inside and "链" in inside


def test_html_inside_markdown_is_text(tmp_path: Path) -> None:
    _, text = made(page(tmp_path / "p", "# 题\n\n<script>steal()</script>\n\n<b>x</b>", "a.md"), tmp_path / "work")
    assert "<script>" not in text and "&lt;script&gt;" in text


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_pages_of_chinese_editors_are_read(tmp_path: Path, charset: str) -> None:
    _, text = made(page(tmp_path / "p", "# 安全用电\n\n断电以后再检修。".encode(charset), "a.md"), tmp_path / "work")
    assert "断电以后再检修。" in text and "<title>安全用电</title>" in text


@pytest.mark.parametrize(
    "reference",
    ["图片/田.png", "%E5%9B%BE%E7%89%87/%E7%94%B0.png", "图片\\田.png", "./图片/田.png", "图片/../图片/田.png"],
)
def test_images_are_found_however_they_are_spelt(tmp_path: Path, reference: str) -> None:
    picture(tmp_path / "p" / "图片" / "田.png")
    found, text = made(page(tmp_path / "p", f'<p><img src="{reference}"></p>'), tmp_path / "work")
    assert [name for name, _ in found.assets] == ["image-01.jpg"] and 'src="image-01.jpg"' in text


def test_an_image_shown_twice_is_stored_once(tmp_path: Path) -> None:
    picture(tmp_path / "p" / "a.png")
    found, text = made(page(tmp_path / "p", '<img src="a.png"><img src="a.png">'), tmp_path / "work")
    assert len(found.assets) == 1 and text.count('src="image-01.jpg"') == 2


def test_an_image_inside_the_page_becomes_a_file(tmp_path: Path) -> None:
    held = BytesIO()
    Image.new("RGB", (50, 50), (200, 10, 10)).save(held, "PNG")
    data = base64.b64encode(held.getvalue()).decode()
    found, text = made(page(tmp_path / "p", f'<img src="data:image/png;base64,{data}">'), tmp_path / "work")
    assert len(found.assets) == 1 and "data:" not in text


def test_an_image_is_turned_upright_and_transparency_shows_the_page(tmp_path: Path) -> None:
    turned = Image.new("RGB", (80, 40), (255, 255, 255))
    exif = turned.getexif()
    exif[0x0112] = 6  # turn a quarter clockwise to show (TIFF 6.0, Orientation)
    (tmp_path / "p").mkdir()
    turned.save(tmp_path / "p" / "a.jpg", exif=exif)
    Image.new("RGBA", (40, 40), (255, 255, 255, 0)).save(tmp_path / "p" / "b.png")
    found, _ = made(page(tmp_path / "p", '<img src="a.jpg"><img src="b.png">'), tmp_path / "work")
    with Image.open(found.assets[0][1].file) as image:
        assert image.size == (40, 80)
    with Image.open(found.assets[1][1].file) as image:
        pixel = image.convert("L").getpixel((20, 20))
        assert isinstance(pixel, int | float) and pixel < 60


def test_heavy_images_are_made_light(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for name in "abcdef":
        noise = random.integers(0, 255, (900, 1200, 3), np.uint8)
        (tmp_path / "p").mkdir(exist_ok=True)
        Image.fromarray(noise).resize((1200, 900)).save(tmp_path / "p" / f"{name}.png")
    body = "".join(f'<img src="{name}.png">' for name in "abcdef")
    found, _ = made(page(tmp_path / "p", body), tmp_path / "work")
    assert found.page.length_bytes + sum(each.length_bytes for _, each in found.assets) <= 300_000


def test_no_screen_is_heavier_than_a_page(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    (tmp_path / "p").mkdir()
    for name, size in (("a", (600, 670)), ("b", (700, 560)), ("c", (600, 500))):
        noise = random.integers(0, 255, (size[1], size[0], 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "p" / f"{name}.png")
    for body in ('<p>字</p><img src="a.png">', '<img src="a.png"><img src="b.png"><img src="c.png">'):
        work = tmp_path / f"work{len(body)}"
        found, _ = made(page(tmp_path / "p", body), work)
        files = {name: each for name, each in (*found.assets, *found.screens)}
        screens = [name for name, each in files.items() if each.media_type.startswith("text/html")]
        assert {name.split("-")[0] for name in screens} == {"tv", "gbk"}
        for name in screens:
            text = files[name].file.read_bytes()
            shown = set(re.findall(rb'src="([^"/]*)"', text))
            assert len(text) + sum(files[each.decode()].length_bytes for each in shown) <= 280_000, (name, shown)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("gone.png", RefusalReason.MISSING_IMAGE),
        ("http://example.org/a.png", RefusalReason.REMOTE_REFERENCE),
        ("HTTPS://example.org/a.png", RefusalReason.REMOTE_REFERENCE),
        ("//example.org/a.png", RefusalReason.REMOTE_REFERENCE),
        ("\\\\server\\share\\a.png", RefusalReason.REMOTE_REFERENCE),
        ("file:///etc/passwd", RefusalReason.REMOTE_REFERENCE),
        ("http://[", RefusalReason.REMOTE_REFERENCE),
        ("../secret.png", RefusalReason.UNSAFE_PATH),
        ("%2e%2e/secret.png", RefusalReason.UNSAFE_PATH),
        ("..\\secret.png", RefusalReason.UNSAFE_PATH),
        ("/etc/passwd", RefusalReason.UNSAFE_PATH),
        ("link.png", RefusalReason.UNSAFE_PATH),
        ("linked/secret.png", RefusalReason.UNSAFE_PATH),
        ("text.png", RefusalReason.UNREADABLE_IMAGE),
        ("data:image/png;base64,AAAA", RefusalReason.UNREADABLE_IMAGE),
        ("data:image/png;base64,!", RefusalReason.UNREADABLE_IMAGE),
        ("data:text/html,x", RefusalReason.REMOTE_REFERENCE),
        ("a\x00.png", RefusalReason.MISSING_IMAGE),
        ("a" * 300 + ".png", RefusalReason.MISSING_IMAGE),
        ("ring.png", RefusalReason.MISSING_IMAGE),
    ],
)
def test_images_that_cannot_be_shown_are_refused(tmp_path: Path, reference: str, reason: RefusalReason) -> None:
    picture(tmp_path / "secret.png")
    folder = page(tmp_path / "p", f'<p><img src="{reference}"></p>')
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "ring.png").symlink_to(folder / "ring.png")
    (folder / "text.png").write_text("no picture")
    assert refused(folder, tmp_path / "work") is reason


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, RefusalReason.NO_PAGE),
        ({"a.md": b"# a", "b.md": b"# b"}, RefusalReason.NO_PAGE),
        ({"index.html": b"  \n"}, RefusalReason.EMPTY),
        ({"index.html": bytes([0x81, 0xFF, 0x00, 0x9F]) * 20}, RefusalReason.UNREADABLE),
        ({"a.md": "字".encode() * 60_000}, RefusalReason.TOO_HEAVY),
        ({"index.html": b" " * 9_000_000}, RefusalReason.TOO_HEAVY),
        ({"index.html": b"".join(b'<img src="%d.png">' % n for n in range(41))}, RefusalReason.TOO_HEAVY),
    ],
    ids=["nothing", "two pages", "blank", "no charset", "long text", "large source", "many images"],
)
def test_folders_without_a_readable_page_are_refused(
    tmp_path: Path, files: dict[str, bytes], reason: RefusalReason
) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    assert refused(folder, tmp_path / "work") is reason


def test_a_page_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("# 密")
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.md").symlink_to(tmp_path / "secret.md")
    assert refused(tmp_path / "p", tmp_path / "work") is RefusalReason.UNSAFE_PATH
