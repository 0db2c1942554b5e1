"""Which boxes were heard from lately, by whatever portal has heartbeats. A pure table; times are monotonic seconds."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass

BOXES_MAX_COUNT = 16384
"""The one not heard from for longest is forgotten first."""
BOXES_PER_REMOTE_MAX_COUNT = 512
"""As many as an account may log in: one address that makes up names drives out no others."""
SILENT_S = 2700.0
"""Three heartbeats of the slowest kind of box (900 s) may be missed."""
BOX_ID = re.compile(r"[0-9A-Za-z:._-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Heard:
    """The last sign of life of one box."""

    at_s: float
    remote: str
    item_id: str = ""
    """What it plays; empty when nothing."""


class Presence:
    """The table."""

    def __init__(self, *, boxes_max_count: int = BOXES_MAX_COUNT) -> None:
        """Begin empty."""
        self._boxes_max_count = boxes_max_count
        self._boxes: OrderedDict[str, Heard] = OrderedDict()
        self._of_remote: dict[str, OrderedDict[str, None]] = {}

    def hear(self, box: str, remote: str, now_s: float, item_id: str = "") -> None:
        """Note a sign of life of a box whose name matches ``BOX_ID``."""
        self._forget(box)
        mine = self._of_remote.setdefault(remote, OrderedDict())
        if len(mine) >= BOXES_PER_REMOTE_MAX_COUNT:
            self._forget(next(iter(mine)))
        elif len(self._boxes) >= self._boxes_max_count:
            self._forget(next(iter(self._boxes)))
        self._boxes[box] = Heard(now_s, remote, item_id)
        self._of_remote.setdefault(remote, OrderedDict())[box] = None

    def heard(self, box: str) -> Heard | None:
        """Return the last sign of life."""
        return self._boxes.get(box)

    def count(self, now_s: float) -> int:
        """Count the boxes that were heard from lately, and forget the others."""
        while self._boxes:
            box, oldest = next(iter(self._boxes.items()))
            if now_s - oldest.at_s < SILENT_S:
                break
            self._forget(box)
        return len(self._boxes)

    def _forget(self, box: str) -> None:
        gone = self._boxes.pop(box, None)
        if gone is None:
            return
        mine = self._of_remote[gone.remote]
        del mine[box]
        if not mine:
            del self._of_remote[gone.remote]
