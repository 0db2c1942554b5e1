"""The known disagreements between old and new boxes, D1 to D24, each as a row that can be shown to hold, and to fail.

A row takes one box and changes nothing but the fields that the disagreement is about. Every variant must get to know
the same: the same lessons, titles, durations (± 0.1 s), programmes and first pictures. docs/protocols/disagreements.md.
"""

from __future__ import annotations

from stb_emulator.lab.disagreements.running import prepare, run
from stb_emulator.lab.disagreements.table import ROWS
from stb_emulator.lab.disagreements.told import Result, Row, Status, Told, Variant
from stb_emulator.lab.disagreements.trying import Lab

__all__ = ["ROWS", "Lab", "Result", "Row", "Status", "Told", "Variant", "prepare", "run"]
