"""The row about fast channel change: two message sets, told apart by port and length (D8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stb_emulator.boxes import Box
from stb_emulator.lab.disagreements.told import Row, Variant
from stb_emulator.lab.disagreements.trying import Lab, NotShown, but, wrong
from stb_emulator.observe import Offer, PlayError, Reason, Stage

WATCH_S = 1.0
ANSWER_S = 3.0
"""Longer than a real box waits, so that a busy machine is no finding."""


async def _changes(lab: Lab, box: Box) -> dict[str, Any]:
    """Change to the channel: a burst comes first, and the group takes over without a gap."""
    offers = await lab.seat.list(box)
    listed = next((each for each in offers if each.live and "fcc=" in each.url), None)
    if lab.group:
        listed = Offer(item_id="group", title="", column="", family="video", url=lab.group, live=True)
    if listed is None:
        raise NotShown("没有带快速换台的组播频道", "no channel with fast change is listed; name one with --group")
    row = await lab.quick(WATCH_S).play_url(box, listed)
    if row.frames and "FCC burst" not in row.transport:
        raise wrong(Stage.SETUP, "没有快速换台的数据", "no burst came; the box had to wait for the group")
    if not row.ok and row.stage is not Stage.CONTENT:  # a channel seldom begins with the first picture of a lesson
        raise PlayError(row.stage, row.reason, row.reason)
    return {"burst": True}


def _sets(lab: Lab) -> Sequence[Variant]:
    box = lab.boxes["multicast_box"]
    return [
        Variant(each, but(box, "multicast", fcc=each, fcc_answer_s=ANSWER_S), _changes)
        for each in ("telecom", "huawei")
    ]


ROWS = (Row("D8", Reason("快速换台的两套消息", "two message sets of fast channel change"), _sets),)
