"""The matrix for people: a table on the terminal, and one self-contained HTML page. Chinese first."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from stb_emulator.boxes import Box
from stb_emulator.lab import grid
from stb_emulator.lab.actions import Outcome
from stb_emulator.lab.parity import Difference, Parity
from stb_emulator.observe import Observation

STAGES_ZH = {
    "login": "登录",
    "browse": "浏览目录",
    "describe": "取描述",
    "setup": "建立传输",
    "fetch": "下载",
    "play": "播放",
    "decode": "解码",
    "timing": "时间",
    "content": "内容",
    "done": "完成",
}
HEADINGS = (
    "盒子 Box",
    "课件 Lesson",
    "结果 Result",
    "启动 Start",
    "帧 Frames",
    "卡顿 Stalls",
    "环节 Stage",
    "原因 Reason",
)


def cells(row: Observation, boxes: Mapping[str, Box]) -> tuple[str, ...]:
    """One row in words."""
    box = boxes.get(row.box)
    return (
        f"{box.title if box else ''} {row.box}".strip(),
        f"{row.title} ({row.lesson})" if row.title else row.lesson,
        "通 ok" if row.ok else "不通 failed",
        "" if row.startup_ms is None else f"{row.startup_ms / 1000:.2f} s",
        str(row.frames),
        f"{row.stalls} / {row.stall_ms / 1000:.1f} s" if row.stalls else "0",
        STAGES_ZH.get(row.stage, "") + " " + row.stage,
        "；".join([row.reason, *row.warnings]) if row.reason else "；".join(row.warnings),
    )


KINDS_ZH = {
    "no_login": "登录不了",
    "no_list": "取不到目录",
    "missing": "目录里没有",
    "title": "标题不同",
    "column": "专栏不同",
    "family": "类型不同",
    "duration": "时长不同",
    "order": "顺序不同",
    "unplayable": "不能播放",
    "programme": "节目时间不同",
    "no_browser": "没有浏览器，不显示图文",
}


def difference(each: Difference, boxes: Mapping[str, Box]) -> str:
    """One disagreement in words."""
    box = boxes.get(each.box)
    name = f"{box.title if box else ''} {each.box}".strip()
    said = f"：{each.here}" if each.here else ""
    others = f"（其他盒子 others：{each.elsewhere}）" if each.elsewhere else ""
    return f"{name} {each.item_id} {KINDS_ZH[each.kind]} {each.kind}{said}{others}"


def agreement(parity: Parity) -> str:
    """Say in one line whether all boxes see the same."""
    count = f"{len(parity.everywhere)}/{len(parity.items)}"
    if parity.ok:
        return f"所有盒子看到的课件完全一致 All boxes see the same: {count}"
    return f"盒子之间不一致 Boxes disagree: {count} 处处可看 everywhere, parity gap {parity.gap}"


def print_table(
    rows: Sequence[Observation],
    boxes: Mapping[str, Box],
    parity: Parity,
    console: Console,
    outcomes: Sequence[Outcome] = (),
) -> None:
    """Print the matrix on a terminal (or as plain text into a file)."""
    table = Table(title="新老机顶盒一致性 · Box matrix", show_lines=False)
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(_plain(c) for c in cells(row, boxes)), style="" if row.ok else "red")
    console.print(table)
    passed = sum(r.ok for r in rows)
    console.print(f"{passed}/{len(rows)} 通过 passed")
    for line in grid.lines(outcomes, boxes):
        console.print(_plain(f"  {line}"))
    console.print(_plain(agreement(parity)))
    for each in (*parity.differences, *parity.excused):
        console.print(_plain(f"  {difference(each, boxes)}"))


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


def page(
    rows: Sequence[Observation],
    boxes: Mapping[str, Box],
    parity: Parity,
    *,
    portal: str,
    made: str,
    outcomes: Sequence[Outcome] = (),
) -> str:
    """Write the report as one HTML page that needs nothing else; every value is escaped."""
    passed = sum(r.ok for r in rows)
    head = "".join(f"<th>{html.escape(h)}</th>" for h in HEADINGS)
    body = "\n".join(_row(r, boxes) for r in rows)
    verdict = "全部播放成功 All lessons played" if passed == len(rows) else "有课件未能播放 Some lessons failed"
    return f"""<!DOCTYPE html>
<html lang="zh-CN"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>新老机顶盒一致性报告 · Box matrix</title>
<style>{_STYLE}</style></head><body>
<h1>新老机顶盒一致性报告 <small>Box matrix</small></h1>
<p class="{"good" if passed == len(rows) else "bad"}">{verdict}：{passed}/{len(rows)}</p>
<p class="{"good" if parity.ok else "bad"}">{html.escape(agreement(parity))}</p>
{grid.table(outcomes, boxes)}{_differences(parity, boxes)}
<p>平台 Portal：{html.escape(portal)}　时间 Made：{html.escape(made)}</p>
<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table></div>
</body></html>
"""


def _differences(parity: Parity, boxes: Mapping[str, Box]) -> str:
    shown = (*parity.differences, *parity.excused)
    lines = "".join(f"<li>{html.escape(difference(each, boxes))}</li>\n" for each in shown)
    return f"<ul>\n{lines}</ul>\n" if lines else ""


def _row(row: Observation, boxes: Mapping[str, Box]) -> str:
    tds = "".join(f"<td>{html.escape(c)}</td>" for c in cells(row, boxes))
    detail = (
        f"{row.transport} {row.video} {row.audio} · {row.played_s:.2f} s · {row.bytes} B · "
        f"丢 lost {row.lost} · 乱序 reordered {row.reordered} · CC {row.continuity_errors} · 解码错 {row.decode_errors}"
    )
    return f'<tr class="{"ok" if row.ok else "no"}" title="{html.escape(detail, quote=True)}">{tds}</tr>'


_STYLE = (
    "body{font-family:'Noto Sans CJK SC','Microsoft YaHei',sans-serif;margin:2rem;color:#222;background:#fff}"
    "h1 small{font-weight:normal;color:#666;font-size:60%}.wide{overflow-x:auto}"
    "table{border-collapse:collapse;width:100%}th,td{border:1px solid #ccc;padding:.4rem .6rem;text-align:left}"
    "th{background:#f0f3f6}tr.no td{background:#fdecea}tr.ok td:nth-child(3){color:#17692f}"
    "tr.no td:nth-child(3){color:#a61b1b;font-weight:bold}.good{color:#17692f;font-size:1.2rem}"
    "table.grid{width:auto;margin-bottom:1rem}.grid td{text-align:center}td.ok{background:#e6f4ea;color:#17692f}"
    "td.failed{background:#fdecea;color:#a61b1b;font-weight:bold}td.no_key,td.not_asked{background:#f5f5f5;color:#777}"
    ".bad{color:#a61b1b;font-size:1.2rem}"
)
