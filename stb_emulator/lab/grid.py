"""The actions for people: one grid, boxes down and actions across, Chinese first."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from stb_emulator.boxes import Box
from stb_emulator.lab.actions import Action, Outcome, Verdict

ACTIONS_ZH = {
    Action.LOGIN: "登录",
    Action.LIST: "目录",
    Action.PLAY: "播放",
    Action.PAUSE: "暂停",
    Action.SEEK: "拖动",
    Action.TRICK: "快进快退",
    Action.END: "放到结尾",
    Action.HEARTBEAT: "心跳",
    Action.RELOGIN: "重新登录",
    Action.REDIRECT: "重定向",
}
VERDICTS_ZH = {
    Verdict.OK: "通",
    Verdict.FAILED: "不通",
    Verdict.NO_KEY: "无此键",
    Verdict.NOT_ASKED: "未触发",
}
_WORST = (Verdict.FAILED, Verdict.OK, Verdict.NO_KEY, Verdict.NOT_ASKED)
REASONS_MAX_COUNT = 5
"""Shown when the pointer rests on a cell."""


def heading(action: Action) -> str:
    """An action in words."""
    return f"{ACTIONS_ZH[action]} {action}"


def verdict_of(cell: Sequence[Outcome]) -> Verdict:
    """Sum up a box and an action over all lessons: the worst counts."""
    found = {each.verdict for each in cell}
    return next(each for each in _WORST if each in found)


def words_of(cell: Sequence[Outcome]) -> str:
    """A cell in words: the verdict, and over how many lessons."""
    verdict = verdict_of(cell)
    counted = [each for each in cell if each.verdict in (Verdict.OK, Verdict.FAILED)]
    good = sum(each.verdict is Verdict.OK for each in counted)
    count = f" {good}/{len(counted)}" if len(cell) > 1 and counted else ""
    return f"{VERDICTS_ZH[verdict]} {verdict.replace('_', ' ')}{count}"


def cells(outcomes: Sequence[Outcome]) -> dict[tuple[str, Action], list[Outcome]]:
    """Gather what belongs to one box and one action."""
    found: dict[tuple[str, Action], list[Outcome]] = {}
    for each in outcomes:
        found.setdefault((each.box, each.action), []).append(each)
    return found


def columns(outcomes: Sequence[Outcome]) -> list[Action]:
    """The actions that were asked for, in their order."""
    there = {each.action for each in outcomes}
    return [each for each in Action if each in there]


def table(outcomes: Sequence[Outcome], boxes: Mapping[str, Box]) -> str:
    """Write the grid, and what is wrong in full under it; every value is escaped."""
    if not outcomes:
        return ""
    across, there = columns(outcomes), cells(outcomes)
    head = "".join(f"<th>{html.escape(heading(each))}</th>" for each in across)
    lines = []
    for name in dict.fromkeys(each.box for each in outcomes):
        box = boxes.get(name)
        title = html.escape(f"{box.title if box else ''} {name}".strip())
        row = "".join(_cell(there.get((name, action), [])) for action in across)
        lines.append(f"<tr><th>{title}</th>{row}</tr>")
    wrong = [each for each in outcomes if not each.ok]
    items = "".join(f"<li>{html.escape(_line(each, boxes))}</li>\n" for each in wrong)
    listed = f"<ul>\n{items}</ul>\n" if wrong else ""
    passed = sum(each.verdict is Verdict.OK for each in outcomes)
    asked = sum(each.verdict in (Verdict.OK, Verdict.FAILED) for each in outcomes)
    style, say = ("bad", "有动作不通 Some actions failed") if wrong else ("good", "所有动作都通 All actions work")
    body = "\n".join(lines)
    return f"""<p class="{style}">{say}：{passed}/{asked}</p>
<div class="wide"><table class="grid"><thead><tr><th>盒子 Box</th>{head}</tr></thead><tbody>
{body}
</tbody></table></div>
{listed}<p>通 ok：达到要求　无此键 no key：这种盒子本来没有这个键　未触发 not asked：服务器或课件没有给出这种情形</p>
"""


def lines(outcomes: Sequence[Outcome], boxes: Mapping[str, Box]) -> list[str]:
    """The grid as plain lines, for a terminal."""
    there = cells(outcomes)
    found = []
    for name in dict.fromkeys(each.box for each in outcomes):
        each_action = [a for a in columns(outcomes) if (name, a) in there]
        found.append(f"{name}: " + "，".join(f"{ACTIONS_ZH[a]} {words_of(there[name, a])}" for a in each_action))
    return found + [_line(each, boxes) for each in outcomes if not each.ok]


def _cell(cell: Sequence[Outcome]) -> str:
    if not cell:
        return "<td></td>"
    verdict = verdict_of(cell)
    reasons = list(dict.fromkeys(each.reason for each in cell if each.reason))[:REASONS_MAX_COUNT]
    title = html.escape("；".join(reasons), quote=True)
    return f'<td class="{verdict}" title="{title}">{html.escape(words_of(cell))}</td>'


def _line(each: Outcome, boxes: Mapping[str, Box]) -> str:
    box = boxes.get(each.box)
    name = f"{box.title if box else ''} {each.box}".strip()
    return f"{name} {each.title or each.lesson} {heading(each.action)}：{each.reason}".replace("  ", " ")
