"""All rows, in their order, with those that cannot be tried and why."""

from __future__ import annotations

from stb_emulator.lab.disagreements import groups, portals, streams, times
from stb_emulator.lab.disagreements.told import Row
from stb_emulator.observe import Reason

_WITHOUT = (
    Row(
        "D22",
        Reason("CWMP 的个数与前缀", "counts and prefixes of CWMP"),
        why_not=Reason("没有 TR-069 部分", "there is no TR-069 part"),
        applicable=False,
    ),
    Row(
        "D23",
        Reason("FLUTE 的结束标志", "the close flag of FLUTE"),
        why_not=Reason("没有单向广播部分", "there is no one-way delivery"),
        applicable=False,
    ),
)

ROWS = tuple(
    sorted(
        (*portals.ROWS, *groups.ROWS, *times.ROWS, *streams.ROWS, *_WITHOUT),
        key=lambda row: int(row.name.removeprefix("D")),
    )
)
