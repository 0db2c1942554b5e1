"""The health code (健康码): six digits that can be read out on the telephone. Pure.

``ABCDEC``: A age of the snapshot, B uplink, C disk, D boxes, E records, and a check digit, so that a digit that was
misheard is noticed. 0 is good; each row below says what the others mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

GOOD = 0
_AGES = (timedelta(days=2), timedelta(days=7), timedelta(days=30), timedelta(days=45))
_DISK = (0.10, 0.05, 0.01)
_WAITING = (100, 1000, 10_000)


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the code is made of."""

    age: timedelta | None
    """Of the newest contact with the central platform; None before the first."""
    uplink_failed: bool
    """The last sync did not come to its end."""
    uplink_tried: bool
    free_share: float
    """Of the disk."""
    boxes: int
    """Heard lately."""
    recording: bool
    waiting: int
    """Records that are not home."""


@dataclass(frozen=True, slots=True)
class Line:
    """One digit with its meaning."""

    digit: int
    chinese: str
    english: str


def lines_of(vitals: Vitals) -> tuple[Line, Line, Line, Line, Line]:
    """Judge each part."""
    return (_age(vitals.age), _uplink(vitals), _disk(vitals.free_share), _boxes(vitals.boxes), _records(vitals))


def code_of(lines: Sequence[Line]) -> str:
    """Write the code."""
    digits = [each.digit for each in lines]
    return "".join(map(str, [*digits, check_digit(digits)]))


def check_digit(digits: Sequence[int]) -> int:
    """Return the digit that makes the weighted sum end with 0: one wrong digit is always noticed."""
    return -sum(digit * weight for digit, weight in zip(digits, (3, 7, 9, 1, 3), strict=True)) % 10


def is_code(text: str) -> bool:
    """Whether six digits can be a code."""
    return (
        len(text) == 6 and text.isascii() and text.isdigit() and check_digit([int(d) for d in text[:5]]) == int(text[5])
    )


def _age(age: timedelta | None) -> Line:
    if age is None:
        return Line(9, "还没有同步过", "never synced")
    for digit, most in enumerate(_AGES):
        if age < most:
            words = ("课件是新的", f"{age.days} 天没有更新", f"{age.days} 天没有更新", f"{age.days} 天没有更新")[digit]
            return Line(digit, words, f"heard from the centre {age.days} days ago")
    return Line(8, f"{age.days} 天没有更新，课件将过期", f"not updated for {age.days} days; lessons run out")


def _uplink(vitals: Vitals) -> Line:
    if not vitals.uplink_tried:
        return Line(1, "还没有用线路同步", "the line was not used yet")
    if vitals.uplink_failed:
        return Line(5, "上次同步没有成功", "the last sync failed")
    return Line(GOOD, "线路正常", "the line works")


def _disk(free_share: float) -> Line:
    for digit, least in enumerate(_DISK):
        if free_share >= least:
            return Line(digit, f"磁盘剩余 {free_share:.0%}", f"{free_share:.0%} of the disk is free")
    return Line(9, "磁盘已满", "the disk is full")


def _boxes(boxes: int) -> Line:
    return (
        Line(GOOD, f"{boxes} 台机顶盒在线", f"{boxes} boxes heard")
        if boxes
        else Line(1, "没有机顶盒在线", "no box was heard lately")
    )


def _records(vitals: Vitals) -> Line:
    if not vitals.recording:
        return Line(9, "不能记录", "nothing can be recorded")
    for digit, most in enumerate(_WAITING):
        if vitals.waiting < most:
            return Line(digit, f"{vitals.waiting} 条记录待送", f"{vitals.waiting} records wait")
    return Line(5, f"{vitals.waiting} 条记录待送", f"{vitals.waiting} records wait")
