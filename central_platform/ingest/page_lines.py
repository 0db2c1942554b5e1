"""How wide letters are and where lines end, without a font: never narrower than any font of a television. Pure.

A Chinese character is one em wide in every font. Of the others the widths are those of a wide font (DejaVu Sans), so
that words take at most as many lines as are counted here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from central_platform.ingest.page_blocks import Run

_NARROW = frozenset("iIl.,:;'|!jtfr()[]{}/\\ -`")
_BROAD = frozenset("WMmw@%&")
_OPENING = frozenset("“‘（《〈【〔「『［｛([{￥$")
MONOSPACE_EM = 0.62
BOLD = 1.12
"""How much wider bold letters are, Chinese ones excepted."""
TAB_COLUMNS = 4


def width_em(letter: str, *, bold: bool = False, monospace: bool = False) -> float:
    """Return the width of a letter in ems."""
    if unicodedata.combining(letter) or unicodedata.category(letter) in ("Cf", "Cc", "Me", "Mn"):
        return 0.0
    if unicodedata.east_asian_width(letter) in "WFA" or ord(letter) > 0x2E80:
        return 1.4 if ord(letter) >= 0x1F000 and not 0x20000 <= ord(letter) <= 0x3FFFF else 1.0
    if monospace:
        return MONOSPACE_EM
    width = 0.42 if letter in _NARROW else 1.0 if letter in _BROAD else 0.8 if letter.isupper() else 0.65
    return width * BOLD if bold else width


def _is_wide(letter: str) -> bool:
    return ord(letter) > 0x2E80 or unicodedata.east_asian_width(letter) in "WF"


def _sticks(letter: str) -> bool:
    """Tell whether a line may not begin with it."""
    return unicodedata.category(letter) in ("Pe", "Pf", "Po", "Pd", "Mn", "Me", "Mc", "Lm", "Sk") or letter in "\"'…％%‍️"


def pieces(text: str) -> Iterator[tuple[int, int]]:
    """Cut a text into what stays together on a line: [start, stop)."""
    start = 0
    for at in range(1, len(text)):
        one, two = text[at - 1], text[at]
        if two == "\n" or one == "\n":
            yield start, at
        elif two == " " or _sticks(two) or one in _OPENING or one in "\"'‍":
            continue
        elif one == " " or _is_wide(one) or _is_wide(two):
            yield start, at
        else:
            continue
        start = at
    if start < len(text):
        yield start, len(text)


def break_lines(runs: Sequence[Run], room_em: float, *, bold: bool = False, monospace: bool = False) -> tuple[int, ...]:
    """Return where the lines of words begin, as places in their text; the first is 0. ``room_em`` is a line's width."""
    text = "".join(run.text for run in runs)
    widths: list[float] = []
    for run in runs:
        heavy = bold or "b" in run.tags or "strong" in run.tags
        typed = monospace or "code" in run.tags
        widths += [
            TAB_COLUMNS * MONOSPACE_EM if each == "\t" else width_em(each, bold=heavy, monospace=typed)
            for each in run.text
        ]
    starts, at_em = [0], 0.0
    for start, stop in pieces(text):
        if text[start] == "\n":
            starts.append(stop)
            at_em = 0.0
            continue
        shown = stop
        while not monospace and shown > start and text[shown - 1] == " ":
            shown -= 1  # blanks at the end of a line take no room
        if at_em + sum(widths[start:shown]) > room_em and starts[-1] < start:
            starts.append(start)
            at_em = 0.0
        for place in range(start, stop):
            if at_em + widths[place] > room_em and place < shown and place > starts[-1]:
                starts.append(place)  # a word longer than a line
                at_em = 0.0
            at_em += widths[place]
    return tuple(starts)


def cut_runs(runs: Sequence[Run], start: int, stop: int) -> tuple[Run, ...]:
    """Return the runs of a part of their text."""
    found, at = [], 0
    for run in runs:
        piece = run.text[max(0, start - at) : max(0, stop - at)]
        if piece:
            found.append(Run(piece, run.tags))
        at += len(run.text)
    return tuple(found)
