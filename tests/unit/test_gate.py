"""What proves that a lesson plays on every kind of box, and what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from central_platform.publish.gate import LINE_MAX_BYTES, NotProven, check_proof

BOXES = ("old", "new")


def lines(*rows: dict[str, Any], end: bool = True) -> list[bytes]:
    summary: list[dict[str, Any]] = [{"type": "summary", "ok": False}] if end else []
    return [json.dumps(row).encode() + b"\n" for row in (*rows, *summary)]


def played(box: str, lesson: str = "7", ok: bool = True) -> dict[str, Any]:
    return {"type": "item", "box": box, "lesson": lesson, "ok": ok, "stage": "decode", "reason": "坏 / bad", "x": [1]}


GOOD = (played("old"), {"type": "progress", "percent": 50}, played("new"))


def test_all_boxes_played_it() -> None:
    check_proof("7", lines(*GOOD), BOXES)
    check_proof("7", lines(*GOOD, played("third", "8", False)), BOXES)
    check_proof("7", lines(*GOOD, {"type": "difference", "kind": "title", "box": "new", "item_id": "8"}), BOXES)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (lines(played("old")), "new"),
        (lines(played("old"), played("new", "8")), "new"),
        (lines(*GOOD, played("new", ok=False)), "new decode"),
        (lines(*GOOD, played("third", ok=False)), "third"),
        (lines(*GOOD, {"type": "difference", "kind": "title", "box": "new", "item_id": "7"}), "new: title"),
        (lines(*GOOD, {"type": "difference", "kind": "no_login", "box": "third"}), "third: no_login"),
        (lines(*GOOD, end=False), "no end"),
        ([*lines(*GOOD, end=False), b'{"type":"item","box'], "line 4"),
        ([b"\xff\xfe\n"], "line 1"),
        ([b"[]\n"], "line 1"),
        ([b" " * (LINE_MAX_BYTES + 1)], "too large"),
        ([], "no end"),
    ],
)
def test_what_proves_nothing(report: list[bytes], words: str) -> None:
    with pytest.raises(NotProven, match=words):
        check_proof("7", report, BOXES)


def test_no_box_is_no_proof() -> None:
    with pytest.raises(NotProven, match="gate_boxes"):
        check_proof("7", lines(*GOOD), ())
