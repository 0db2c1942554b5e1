"""Picture-text lessons cut into screens: nothing is lost, nothing is longer than a screen, no letter breaks a page."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser

import nh3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from central_platform.ingest.page_blocks import Cell, Picture, Rule, Table, Words, blocks_of
from central_platform.ingest.page_lines import break_lines
from central_platform.ingest.page_screens import OLD, TELEVISION, write_screens
from central_platform.ingest.page_split import (
    PICTURES_MAX_BYTES,
    Form,
    Image,
    PlacedPicture,
    PlacedTable,
    PlacedWords,
    Screen,
    split,
)

FORMS = pytest.mark.parametrize("form", [OLD, TELEVISION], ids=lambda form: form.name)
IMAGES = {
    name: Image(name, width, height, weight)
    for name, width, height, weight in (
        ("wide.jpg", 1176, 400, 90_000),
        ("tall.jpg", 100, 4000, 150_000),
        ("small.jpg", 40, 30, 900),
        ("dot.jpg", 1, 1, 300),
    )
}
LETTERS = "滴灌技术，。“”（）、！？…—·《》 abcWM iIl.,;:-\"'()0123456789%&<>\tΦ€¥钅😀é\u00a0\u3000ﷺ"
TEXT = st.builds(
    lambda text, times: text * times, st.text(st.sampled_from(LETTERS), max_size=25), st.sampled_from([1, 1, 9, 40])
)


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


INLINE = st.builds(
    lambda tag, text: f"<{tag}>{escaped(text)}</{tag}>" if tag else escaped(text),
    st.sampled_from(["", "", "b", "em", "code", "sup"]),
    TEXT,
)
LINE = st.lists(INLINE | st.just("<br>"), min_size=1, max_size=4).map("".join)
IMG = st.sampled_from(sorted(IMAGES)).map(lambda name: f'<img src="{name}" alt="图">')
CELL = st.builds(
    lambda tag, columns, rows, text: f'<{tag} colspan="{columns}" rowspan="{rows}">{text}</{tag}>',
    st.sampled_from(["td", "td", "th"]),
    st.integers(1, 3),
    st.integers(1, 3),
    LINE | IMG,
)
TABLE = st.lists(st.lists(CELL, min_size=1, max_size=9), min_size=1, max_size=8).map(
    lambda rows: "<table>" + "".join(f"<tr>{''.join(row)}</tr>" for row in rows) + "</table>"
)
SIMPLE = st.builds(
    lambda tag, text: f"<{tag}>{text}</{tag}>",
    st.sampled_from(["p", "h1", "h2", "h4", "pre", "div", "figcaption", "blockquote"]),
    LINE,
)
BLOCK = st.recursive(
    SIMPLE | IMG | TABLE | st.just("<hr>") | LINE,
    lambda inner: (
        st.builds(
            lambda tag, items: f"<{tag}>" + "".join(f"<li>{item}</li>" for item in items) + f"</{tag}>",
            st.sampled_from(["ul", "ol"]),
            st.lists(inner, min_size=1, max_size=4),
        )
        | st.lists(inner, min_size=1, max_size=3).map(lambda items: f"<blockquote>{''.join(items)}</blockquote>")
    ),
    max_leaves=6,
)
BODY = st.lists(BLOCK, min_size=0, max_size=8).map("".join)


class Said(HTMLParser):
    """The words of a page in their order; those that are shown again or were put in are left out."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words, self.pictures, self._open = "", [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])
        elif tag not in ("br", "hr", "col", "meta", "link"):
            hidden = dict(attrs).get("class") in ("m", "again", "name", "row") or tag in ("title", "style", "script")
            self._open.append(hidden)

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if not any(self._open):
            self.words += "".join(data.split())


def cleaned(body: str) -> str:
    from central_platform.ingest.page import _ATTRIBUTES, _TAGS

    return nh3.clean(body, tags=_TAGS, attributes=_ATTRIBUTES, link_rel=None, url_schemes=set())


def height_of(screen: Screen, form: Form) -> int:
    """Add up what a screen shows, counted anew; the gap below the last block may be cut off."""
    high = gap = 0
    for placed in screen:
        high += gap
        if isinstance(placed, PlacedWords):
            letters = form.letters(placed.tag)
            room = (form.room_width_px - placed.depth * form.indent_px) * 0.98 / letters.size_px
            lines = [break_lines(runs, room, bold=letters.bold, monospace=letters.monospace) for runs in placed.lines]
            high += sum(map(len, lines)) * letters.line_px
            gap = letters.gap_px
        elif isinstance(placed, PlacedPicture):
            high += placed.height_px
            gap = form.small.gap_px
        elif isinstance(placed, PlacedTable):
            for row in placed.rows:
                at, most = 0, 1
                for cell in row.cells:
                    width = sum(placed.widths_px[at : at + cell.span])
                    at += cell.span
                    lines = break_lines(cell.runs, (width - 18) * 0.98 / form.table.size_px, bold=cell.head)
                    most = max(most, len(lines))
                high += most * form.table.line_px + 18
            gap = 0
        else:
            high, gap = high + 20, 0
    return high


@FORMS
@settings(max_examples=40, deadline=None)
@given(body=BODY)
def test_nothing_is_lost_and_nothing_is_too_tall(form: Form, body: str) -> None:
    body = cleaned(body)
    blocks = blocks_of(body)
    screens = split(blocks, form, IMAGES)
    written = [text.decode(form.charset) for text in write_screens(screens, form, "课 & <题>").values()]
    assert len(written) == len(screens)
    shown = [Said(text) for text in written]
    source = Said(body)
    flat = "".join(each.words for each in shown)
    assert Counter(flat) == Counter(source.words)
    if "<table" not in body:  # the cells of a row that is taller than a screen go on one beside the other
        assert flat == source.words
    assert sorted(name for each in shown for name in each.pictures) == sorted(source.pictures)
    for screen, said in zip(screens, shown, strict=True):
        assert height_of(screen, form) <= form.room_height_px
        for placed in screen:
            if isinstance(placed, PlacedPicture):
                assert 0 < placed.width_px <= form.room_width_px
            if isinstance(placed, PlacedTable):
                assert sum(placed.widths_px) <= form.room_width_px
        assert sum(IMAGES[name].length_bytes for name in set(said.pictures)) <= PICTURES_MAX_BYTES
    for text in write_screens(screens, form, "课 & <题>").values():
        assert len(text) <= 50_000


def test_blocks_keep_what_they_are() -> None:
    body = cleaned(
        "<h1>题</h1>松<p>一<b>二</b><br>三</p><ol start='3'><li><p>甲</p><ul><li>乙</li></ul></li><li>丙</li></ol>"
        "<pre>a  b\n c</pre><hr><figure><img src='small.jpg' alt='图'><figcaption>说明</figcaption></figure>"
        "<table><caption>表</caption><tr><th rowspan=2>头</th><td>x</td></tr><tr><td>y</td></tr></table>"
    )
    found = blocks_of(body)
    words = [(b.tag, b.depth, b.marker, "".join(r.text for r in b.runs)) for b in found if isinstance(b, Words)]
    assert words == [
        ("h1", 0, "", "题"),
        ("p", 0, "", "松"),
        ("p", 0, "", "一二\n三"),
        ("li", 1, "3. ", "甲"),
        ("li", 2, "• ", "乙"),
        ("li", 1, "4. ", "丙"),
        ("pre", 0, "", "a  b\n c"),
        ("figcaption", 0, "", "说明"),
        ("p", 0, "", "表"),
    ]
    assert [type(b) for b in found if not isinstance(b, Words)] == [Rule, Picture, Table]
    table = found[-1]
    assert isinstance(table, Table)
    rows = [["".join(r.text for r in cell.runs) for cell in row] for row in table.rows]
    assert rows == [["头", "x"], ["", "y"]] and table.rows[0][0].head and table.rows[1][0] == Cell()


def test_the_head_of_a_long_table_is_shown_on_every_screen() -> None:
    rows = "".join(f"<tr><td>{n}</td><td>铺设时出水孔朝上</td></tr>" for n in range(40))
    body = cleaned(f"<table><tr><th>号</th><th>做法</th></tr>{rows}</table>")
    screens = split(blocks_of(body), OLD, {})
    tables = [placed for screen in screens for placed in screen if isinstance(placed, PlacedTable)]
    assert len(tables) == len(screens) > 3
    assert [table.rows[0].again for table in tables] == [False] + [True] * (len(tables) - 1)


def test_a_table_of_many_columns_becomes_lines_that_name_them() -> None:
    head = "".join(f"<th>列{n}</th>" for n in range(16))
    body = cleaned(f"<table><tr>{head}</tr><tr>{''.join(f'<td>值{n}</td>' for n in range(16))}</tr></table>")
    text = b"".join(write_screens(split(blocks_of(body), OLD, {}), OLD, "题").values()).decode("gbk")
    assert '<span class="m">列0：</span>值0' in text and "<table" not in text


def test_letters_that_gbk_lacks_are_references() -> None:
    made = write_screens(split(blocks_of("<p>钅 € 😀 𠮷</p>"), OLD, {}), OLD, "€ 题")
    raw = made["gbk-1.html"]
    assert b"charset=GBK" in raw and b"&#8364;" in raw and b"&#128512;" in raw and b"&#134071;" in raw
    assert "钅" in raw.decode("gbk")
