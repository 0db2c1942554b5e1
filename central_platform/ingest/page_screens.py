"""Writes the screens of a picture-text lesson: HTML that a box of 2008 shows, walked by links. Pure.

The edge adds two things by name: ``/keys.js``, which walks the links by remote control, and ``back``, the way to the
list. Both may be missing: the links work without.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from central_platform.ingest.page_blocks import Cell, Run
from central_platform.ingest.page_lines import TAB_COLUMNS, width_em
from central_platform.ingest.page_split import (
    CELL_PAD_PX,
    MARKER,
    RULE_PX,
    Form,
    Letters,
    Placed,
    PlacedPicture,
    PlacedTable,
    PlacedWords,
    Screen,
)

TELEVISION = Form(
    name="tv",
    charset="utf-8",
    width_px=1280,
    height_px=720,
    room_width_px=1176,
    room_height_px=552,
    indent_px=44,
    body=Letters(32, 48, 16),
    large=Letters(42, 60, 14, bold=True),
    middle=Letters(36, 52, 10, bold=True),
    small=Letters(27, 40, 16),
    table=Letters(28, 40, 16),
    typed=Letters(27, 40, 16, monospace=True),
)
"""4 % of a television's edge may be hidden: nothing stands there."""
OLD = Form(
    name="gbk",
    charset="gbk",
    width_px=640,
    height_px=530,
    room_width_px=592,
    room_height_px=412,
    indent_px=28,
    body=Letters(24, 34, 10),
    large=Letters(30, 42, 8, bold=True),
    middle=Letters(27, 38, 6, bold=True),
    small=Letters(20, 28, 10),
    table=Letters(21, 30, 10),
    typed=Letters(20, 28, 10, monospace=True),
)

_PAGE = """<!doctype html>
<html lang="zh-CN">
<head>
<meta http-equiv="Content-Type" content="text/html; charset={charset}">
<meta name="page-view-size" content="{width}*{height}">
<meta name="viewport" content="width={width}">
<link rel="icon" href="data:,">
<title>{title} {number}/{last}</title>
<style>
{style}
</style>
</head>
<body><div class="page">
<div class="name">{name}</div>
<div class="text">
{body}
</div>
<div class="row">
<a class="tab" id="back" href="back"{back_focus}>← 返回</a>
<div class="turn">
{before}
<span class="part">第 {number} 页，共 {last} 页</span>
{after}
</div>
</div>
</div>
<script src="/keys.js"></script>
</body>
</html>
"""

_STYLE = """* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #0d2137; color: #f4f7fa; word-wrap: break-word; }}
body {{ font-family: "Noto Sans CJK SC", "Source Han Sans SC", "Microsoft YaHei", "PingFang SC", SimHei, sans-serif; }}
.page {{ width: {width}px; margin: 0 auto; padding: {edge}px {side}px 0; }}
.name {{ height: {name_line}px; line-height: {name_line}px; font-size: {name_size}px; color: #a9bed2; }}
.name {{ white-space: nowrap; overflow: hidden; }}
.text {{ min-height: {room}px; }}
p, h1, h2, h3, ul, table {{ margin: 0; }}
sub, sup {{ line-height: 0; font-size: 70%; }}
code {{ font-family: monospace; line-height: 0; }}
h1, h2, h3 {{ color: #ffd257; }}
.m {{ color: #ffd257; }}
img {{ display: block; margin: 0 auto; border: 0; }}
hr {{ height: 2px; margin: {rule}px 0; border: 0; background: #5d7993; }}
table {{ border-collapse: collapse; table-layout: fixed; }}
td, th {{ border: 1px solid #7d97ae; padding: {pad}px; text-align: left; vertical-align: top; }}
th {{ background: #1b3d5f; }}
.row {{ height: {row}px; padding-top: {row_pad}px; font-size: {tab_size}px; line-height: {tab_line}px; }}
.turn {{ float: right; }}
.tab, .part {{ float: left; padding: 0 {tab_pad}px; margin: 0 0 0 8px; white-space: nowrap; }}
.tab {{ background: #1b3d5f; color: #f4f7fa; text-decoration: none; border-radius: 8px; outline: 0; }}
#back {{ margin: 0; }}
.off {{ background: #11294a; color: #7d97ae; }}
a:focus, a.on {{ background: #ffd257; color: #0d2137; outline: 4px solid #fff; }}
{letters}{zoom}"""
_ZOOM = """
@media (min-width: 1600px) {{ html {{ zoom: {0}; }} }}
@media (min-width: 3000px) {{ html {{ zoom: {1}; }} }}"""
"""A television that calls itself 1920 or 3840 pixels wide shows the same screen, larger."""
_CLASSES = ("body", "large", "middle", "small", "table", "typed")
_KINDS = {"h1": "large", "h2": "middle", "pre": "typed", "figcaption": "small", "caption": "small"}
_ELEMENTS = {"h1": "h1", "h2": "h2", **dict.fromkeys(("h3", "h4", "h5", "h6", "dt"), "h3")}


def write_screens(screens: Sequence[Screen], form: Form, title: str) -> dict[str, bytes]:
    """Write the files of a lesson by their names; what the charset lacks becomes a character reference."""
    style, last = _style(form), len(screens)
    written = {}
    for number, screen in enumerate(screens, start=1):
        text = _PAGE.format(
            charset=form.charset.upper(),
            width=form.width_px,
            height=form.height_px,
            title=html.escape(title),
            style=style,
            name="" if number == 1 and begins_with_heading(screen) else html.escape(_short(title, form)),
            body="\n".join(_placed(each, form, " end" if each is screen[-1] else "") for each in screen),
            number=number,
            last=last,
            back_focus=" autofocus" if number == last else "",
            before=_link(form, number - 1, "prev", "← 上一页", there=number > 1),
            after=_link(form, number + 1, "next", "下一页 →", there=number < last),
        )
        written[_name(form, number)] = text.encode(form.charset, "xmlcharrefreplace")
    return written


def begins_with_heading(screen: Screen) -> bool:
    """Tell whether the screen names the lesson by itself."""
    return bool(screen) and isinstance(screen[0], PlacedWords) and screen[0].tag == "h1"


def _name(form: Form, number: int) -> str:
    return f"{form.name}-{number}.html"


def _link(form: Form, number: int, rel: str, words: str, *, there: bool) -> str:
    if not there:
        return f'<span class="tab off">{words}</span>'
    focus = " autofocus" if rel == "next" else ""
    return f'<a class="tab" rel="{rel}" href="{_name(form, number)}"{focus}>{words}</a>'


def _style(form: Form) -> str:
    tv = form.width_px > 1000
    letters = ""
    for name in _CLASSES:
        each: Letters = getattr(form, name)
        family = " font-family: monospace;" if each.monospace else ""
        letters += f".{name} {{ font-size: {each.size_px}px; line-height: {each.line_px}px;"
        letters += f" padding-bottom: {each.gap_px}px;{family} }}\n"
    letters += f"h3.body {{ padding-bottom: {form.body.gap_px // 2}px; }}\n.text .end {{ padding-bottom: 0; }}\n"
    letters += f".table {{ margin-bottom: {form.table.gap_px}px; }}\n"
    return _STYLE.format(
        width=form.width_px,
        edge=29 if tv else 14,
        side=(form.width_px - form.room_width_px) // 2,
        room=form.room_height_px,
        name_line=44 if tv else 30,
        name_size=26 if tv else 18,
        rule=(RULE_PX - 2) // 2,
        pad=CELL_PAD_PX,
        row=66 if tv else 60,
        row_pad=12 if tv else 13,
        tab_size=27 if tv else 20,
        tab_line=50 if tv else 36,
        tab_pad=24 if tv else 12,
        letters=letters.rstrip(),
        zoom=_ZOOM.format(1.5, 3) if tv else "",
    )


def _short(title: str, form: Form) -> str:
    """Cut the title to one line; it stands in full in the lesson."""
    room = form.room_width_px / (26 if form.width_px > 1000 else 18) - 1.5
    width = 0.0
    for place, letter in enumerate(title):
        width += width_em(letter)
        if width > room:
            return title[:place].rstrip() + "…"
    return title


def _placed(placed: Placed, form: Form, more: str) -> str:
    """Write one block; ``more`` is a class that the last one has."""
    if isinstance(placed, PlacedWords):
        return _words(placed, form, more)
    if isinstance(placed, PlacedPicture):
        return (
            f'<p class="body{more}"><img src="{html.escape(placed.image.name)}" width="{placed.width_px}"'
            f' height="{placed.height_px}" alt="{html.escape(placed.alt)}"></p>'
        )
    return _table(placed) if isinstance(placed, PlacedTable) else "<hr>"


def _words(words: PlacedWords, form: Form, more: str) -> str:
    element, kind = _ELEMENTS.get(words.tag, "p"), _KINDS.get(words.tag, "body")
    inset = f' style="padding-left: {words.depth * form.indent_px}px"' if words.depth else ""
    lines = "<br>".join(_runs(line, typed=words.tag == "pre") for line in words.lines)
    return f'<{element} class="{kind}{more}"{inset}>{lines}</{element}>'


def _runs(runs: Sequence[Run], *, typed: bool = False) -> str:
    written = []
    for place, run in enumerate(runs):
        text = run.text.rstrip("\n") if place == len(runs) - 1 else run.text
        text = html.escape(text.expandtabs(TAB_COLUMNS) if typed else text, quote=False)
        text = text.replace(" ", "&nbsp;") if typed else text.replace("\n", "<br>")
        if run.tags == (MARKER,):
            written.append(f'<span class="m">{text}</span>')
            continue
        begin = "".join(f"<{tag}>" for tag in run.tags)
        end = "".join(f"</{tag}>" for tag in reversed(run.tags))
        written.append(f"{begin}{text}{end}")
    return "".join(written)


def _table(table: PlacedTable) -> str:
    columns = "".join(f'<col width="{each}">' for each in table.widths_px)
    rows = []
    for row in table.rows:
        again = ' class="again"' if row.again else ""
        rows.append(f"<tr{again}>{''.join(map(_cell, row.cells))}</tr>")
    return f'<table class="table" width="{sum(table.widths_px)}">{columns}{"".join(rows)}</table>'


def _cell(cell: Cell) -> str:
    name = "th" if cell.head else "td"
    span = f' colspan="{cell.span}"' if cell.span > 1 else ""
    return f"<{name}{span}>{_runs(cell.runs) or '&nbsp;'}</{name}>"
