"""The matrix for people: a table on the terminal, and one self-contained HTML page. Chinese first."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from stb_emulator.boxes import Box
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


def print_table(rows: Sequence[Observation], boxes: Mapping[str, Box], console: Console) -> None:
    """Print the matrix on a terminal (or as plain text into a file)."""
    table = Table(title="新老机顶盒一致性 · Box matrix", show_lines=False)
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(_plain(c) for c in cells(row, boxes)), style="" if row.ok else "red")
    console.print(table)
    passed = sum(r.ok for r in rows)
    console.print(f"{passed}/{len(rows)} 通过 passed")


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


def page(rows: Sequence[Observation], boxes: Mapping[str, Box], *, portal: str, made: str) -> str:
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
<p>平台 Portal：{html.escape(portal)}　时间 Made：{html.escape(made)}</p>
<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table></div>
</body></html>
"""


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
    ".bad{color:#a61b1b;font-size:1.2rem}"
)
