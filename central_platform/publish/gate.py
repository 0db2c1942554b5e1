"""Has a lesson been played on every kind of box? Reads what the emulator's matrix printed. Pure.

The report is read as lines of JSON and nothing else: the platform knows no box and no emulator.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from central_platform.publish.catalogue import EditError

LINE_MAX_BYTES = 64 * 1024
LINES_MAX_COUNT = 1_000_000


class NotProven(EditError):
    """The report does not show that all required boxes played the lesson."""


class _Line(msgspec.Struct):
    """What matters of a line; everything else in it is the emulator's own affair."""

    type: str
    box: str = ""
    lesson: str = ""
    item_id: str = ""
    kind: str = ""
    ok: bool = False
    stage: str = ""
    reason: str = ""


def check_proof(item_id: str, report: Iterable[bytes], boxes: Collection[str]) -> None:
    """Look for one good row for each required box, and for nothing that speaks against it.

    Raises:
        NotProven: the words say which box, and why. One bad row outweighs a good one; a report that was cut off proves
            nothing.
    """
    good: set[str] = set()
    against: list[str] = []
    ended = False
    for number, raw in enumerate(report, 1):
        if number > LINES_MAX_COUNT or len(raw) > LINE_MAX_BYTES:
            raise NotProven("报告太大 / the report is too large; run the matrix with --lesson")
        if not raw.strip():
            continue
        try:
            line = msgspec.json.decode(raw, type=_Line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise NotProven(
                f"报告第 {number} 行看不懂 / line {number} of the report is not of `stb-emulator matrix --json`"
            ) from error
        ended = ended or line.type == "summary"
        if line.type == "item" and line.lesson == item_id:
            if line.ok:
                good.add(line.box)
            else:
                against.append(f"{line.box} {line.stage}: {line.reason}".strip())
        elif line.type == "difference" and line.item_id in (item_id, "") and line.kind != "unplayable":
            against.append(f"{line.box}: {line.kind}")
    if not ended:
        raise NotProven("报告不完整 / the report has no end; let the matrix run to its end")
    if against:
        raise NotProven(f"课件 {item_id} 未通过 / did not pass: {'; '.join(against[:10])}")
    missing = sorted(set(boxes) - good)
    if missing or not boxes:
        names = ", ".join(missing) or "gate_boxes"
        raise NotProven(f"还有盒子没有播放过 / not yet played on: {names}")
