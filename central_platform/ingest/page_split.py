"""Cuts the blocks of a page into screens that need no scrolling. Pure.

Every height is counted, none is measured by a browser: see page_lines. What is shown twice (the head of a table that
goes on) or was not in the source (the number of a list) is marked, so that a reader can leave it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from central_platform.ingest.page_blocks import Block, Cell, Picture, Rule, Run, Table, Words
from central_platform.ingest.page_lines import break_lines, cut_runs, width_em

MARKER = "marker"
"""Tag of a run that the source does not have."""
SLACK = 0.98
"""Part of a line's width that is filled."""
DEPTH_MAX = 4
PICTURES_MAX_BYTES = 230_000
"""On one screen; with its words and the script it stays below 300 kB."""
SHRINK_MIN = 0.45
"""A picture that would be smaller than this part of its size goes to the next screen."""
CELL_PAD_PX = 8
COLUMN_MIN_EM = 2.2
COLUMN_MAX_EM = 18.0
RULE_PX = 20


@dataclass(frozen=True, slots=True)
class Letters:
    """How a kind of words is set."""

    size_px: int
    line_px: int
    gap_px: int
    bold: bool = False
    monospace: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of television: its screen and what is left of it for a lesson."""

    name: str
    """Files are called ``<name>-1.html`` and so on."""
    charset: str
    width_px: int
    height_px: int
    room_width_px: int
    room_height_px: int
    indent_px: int
    body: Letters
    large: Letters
    middle: Letters
    small: Letters
    table: Letters
    typed: Letters

    def letters(self, tag: str) -> Letters:
        """Return how words of an element are set."""
        if tag == "h1":
            return self.large
        if tag == "h2":
            return self.middle
        if tag in ("h3", "h4", "h5", "h6", "dt"):
            body = self.body
            return Letters(body.size_px, body.line_px, body.gap_px // 2, bold=True)
        if tag in ("figcaption", "caption"):
            return self.small
        return self.typed if tag == "pre" else self.body


@dataclass(frozen=True, slots=True)
class Image:
    """A picture as it can be shown: its file and size."""

    name: str
    width_px: int
    height_px: int
    length_bytes: int


@dataclass(frozen=True, slots=True)
class PlacedWords:
    """Words, or a part of them; of typed words each line is apart."""

    tag: str
    depth: int
    lines: tuple[tuple[Run, ...], ...]


@dataclass(frozen=True, slots=True)
class PlacedPicture:
    """A picture at its size on the screen."""

    image: Image
    width_px: int
    height_px: int
    alt: str


@dataclass(frozen=True, slots=True)
class PlacedRow:
    """A row of a table; ``again`` when it was shown before."""

    cells: tuple[Cell, ...]
    again: bool = False


@dataclass(frozen=True, slots=True)
class PlacedTable:
    """Rows of a table, and the widths of its columns."""

    rows: tuple[PlacedRow, ...]
    widths_px: tuple[int, ...]


Placed = PlacedWords | PlacedPicture | PlacedTable | Rule
Screen = tuple[Placed, ...]


def split(blocks: Sequence[Block], form: Form, images: Mapping[str, Image]) -> tuple[Screen, ...]:
    """Cut blocks into screens; there is always one. ``images`` has every picture's file for this form."""
    splitter = _Splitter(form, images)
    for block, after in zip(blocks, [*blocks[1:], None], strict=False):
        splitter.add(block, after)
    return splitter.finish()


class _Splitter:
    def __init__(self, form: Form, images: Mapping[str, Image]) -> None:
        self._form, self._images = form, images
        self._screens: list[Screen] = []
        self._now: list[Placed] = []
        self._room = form.room_height_px
        self._shown: dict[str, int] = {}

    def add(self, block: Block, after: Block | None) -> None:
        if isinstance(block, Words):
            self._words(block, after)
        elif isinstance(block, Picture):
            self._picture(block, after)
        elif isinstance(block, Table):
            self._table(block)
        else:
            if self._room < RULE_PX + self._form.body.line_px:
                self._turn()
            self._put(block, RULE_PX)

    def finish(self) -> tuple[Screen, ...]:
        if self._now or not self._screens:
            self._screens.append(tuple(self._now))
        return tuple(self._screens)

    def _turn(self) -> None:
        """Go on to the next screen, unless this one is empty."""
        if self._now:
            self._screens.append(tuple(self._now))
        self._now, self._shown, self._room = [], {}, self._form.room_height_px

    def _put(self, placed: Placed, height_px: int) -> None:
        self._now.append(placed)
        self._room -= height_px

    def _broken(self, words: Words) -> tuple[tuple[Run, ...], tuple[int, ...]]:
        letters = self._form.letters(words.tag)
        runs = (Run(words.marker, (MARKER,)), *words.runs) if words.marker else words.runs
        room_px = self._form.room_width_px - min(words.depth, DEPTH_MAX) * self._form.indent_px
        room_em = room_px * SLACK / letters.size_px
        return runs, break_lines(runs, room_em, bold=letters.bold, monospace=letters.monospace)

    def _words(self, words: Words, after: Block | None) -> None:
        runs, starts = self._broken(words)
        text = _text(runs)
        letters, stops = self._form.letters(words.tag), [*starts[1:], len(text)]
        at, count = 0, len(starts)
        heading = words.tag.startswith("h") or words.tag == "dt"
        if heading and after is not None and self._room < count * letters.line_px + 2 * self._form.body.line_px:
            self._turn()
        while at < count:
            fit = min(self._room // letters.line_px, count - at)
            alone = fit == 1 and count - at > 1 and bool(self._now)
            if fit < 1 or alone:
                self._turn()
                continue
            ends = [end - (text[end - 1 : end] == "\n") for end in stops[at : at + fit]]
            cuts = list(zip(starts[at : at + fit], ends, strict=True))
            whole = cuts if letters.monospace else [(starts[at], ends[-1])]
            lines = tuple(cut_runs(runs, start, stop) for start, stop in whole)
            at += fit
            self._put(PlacedWords(words.tag, min(words.depth, DEPTH_MAX), lines), fit * letters.line_px)
            if at < count:
                self._turn()
        self._room -= letters.gap_px

    def _picture(self, picture: Picture, after: Block | None) -> None:
        image, form = self._images[picture.name], self._form
        below = 0
        if isinstance(after, Words) and after.tag == "figcaption":
            lines = len(self._broken(after)[1])
            below = min(lines, 3) * form.small.line_px
        high = form.room_height_px - below
        scale = min(1.0, form.room_width_px / image.width_px, high / image.height_px)
        wanted = image.height_px * scale
        weight = self._weight(image)
        if self._now and (
            self._room - below < SHRINK_MIN * wanted or sum(self._shown.values()) + weight > PICTURES_MAX_BYTES
        ):
            self._turn()
            weight = image.length_bytes
        scale *= min(1.0, (self._room - below) / wanted)
        width, height = max(1, int(image.width_px * scale)), max(1, int(image.height_px * scale))
        self._shown[image.name] = image.length_bytes
        self._put(PlacedPicture(image, width, height, picture.alt), height)
        self._room -= form.small.gap_px if below else form.body.gap_px

    def _weight(self, image: Image) -> int:
        return 0 if image.name in self._shown else image.length_bytes

    def _table(self, table: Table) -> None:
        widths = self._widths(table)
        if widths is None:
            for words in _as_words(table):
                self._words(words, None)
            return
        rows = list(table.rows)
        head = rows.pop(0) if len(rows) > 1 and all(cell.head or not cell.runs for cell in rows[0]) else None
        line = self._form.table.line_px
        high = self._height(head, widths) if head else 0
        if head and (high > self._form.room_height_px // 3):
            rows.insert(0, head)
            head, high = None, 0
        shown: list[PlacedRow] = []
        repeated = False
        while rows:
            row = rows.pop(0)
            if not shown:
                if self._now and self._room < high + min(self._height(row, widths), 3 * line + _EDGES_PX):
                    self._turn()
                if head:
                    shown.append(PlacedRow(head, again=repeated))
                    self._room -= high
                    repeated = True
            height = self._height(row, widths)
            bare = len(shown) == bool(head)
            if height > self._room and not bare:
                self._close(shown, widths)
                rows.insert(0, row)
                continue
            if height > self._room:
                row, rest = self._parted(row, widths, max(1, (self._room - _EDGES_PX) // line))
                rows.insert(0, rest)
                height = self._room
            shown.append(PlacedRow(row))
            self._room -= height
        self._put(PlacedTable(tuple(shown), widths), self._form.body.gap_px)

    def _close(self, shown: list[PlacedRow], widths: tuple[int, ...]) -> None:
        self._put(PlacedTable(tuple(shown), widths), 0)
        shown.clear()
        self._turn()

    def _widths(self, table: Table) -> tuple[int, ...] | None:
        """Share the width out among the columns; None when there are too many."""
        letters = self._form.table
        wanted = [COLUMN_MIN_EM] * table.columns
        for row in table.rows:
            at = 0
            for cell in row:
                if cell.span == 1:
                    longest = max(_length_em(line, bold=cell.head) for line in _text(cell.runs).split("\n"))
                    wanted[at] = max(wanted[at], min(longest / SLACK + 0.1, COLUMN_MAX_EM))
                at += cell.span
        spare_px = 2 * CELL_PAD_PX + 2
        room_em = (self._form.room_width_px - table.columns * spare_px) / letters.size_px
        if room_em < COLUMN_MIN_EM * table.columns:
            return None
        free, total = room_em - COLUMN_MIN_EM * table.columns, sum(wanted) - COLUMN_MIN_EM * table.columns
        given = [COLUMN_MIN_EM + (each - COLUMN_MIN_EM) * (free / total if total else 0) for each in wanted]
        if not total:
            given = [room_em / table.columns] * table.columns
        return tuple(int(each * letters.size_px) + spare_px for each in given)

    def _lines(self, cell: Cell, width_px: int) -> tuple[int, ...]:
        letters = self._form.table
        return break_lines(cell.runs, (width_px - 2 * CELL_PAD_PX - 2) * SLACK / letters.size_px, bold=cell.head)

    def _height(self, row: Sequence[Cell], widths: Sequence[int]) -> int:
        most = max(len(self._lines(cell, width)) for cell, width in _with_widths(row, widths))
        return most * self._form.table.line_px + _EDGES_PX

    def _parted(
        self, row: Sequence[Cell], widths: Sequence[int], lines: int
    ) -> tuple[tuple[Cell, ...], tuple[Cell, ...]]:
        """Cut a row below so many lines."""
        first, rest = [], []
        for cell, width in _with_widths(row, widths):
            starts, end = self._lines(cell, width), len(_text(cell.runs))
            at = starts[lines] if lines < len(starts) else end
            first.append(Cell(cut_runs(cell.runs, 0, at), cell.span, cell.head))
            rest.append(Cell(cut_runs(cell.runs, at, end), cell.span, cell.head))
        return tuple(first), tuple(rest)


_EDGES_PX = 2 * CELL_PAD_PX + 2


def _with_widths(row: Sequence[Cell], widths: Sequence[int]) -> list[tuple[Cell, int]]:
    found, at = [], 0
    for cell in row:
        found.append((cell, sum(widths[at : at + cell.span])))
        at += cell.span
    return found


def _text(runs: Sequence[Run]) -> str:
    return "".join(run.text for run in runs)


def _length_em(text: str, *, bold: bool) -> float:
    return sum(width_em(letter, bold=bold) for letter in text)


def _as_words(table: Table) -> list[Words]:
    """Write a table that is too wide as lines: each value behind the head of its column."""
    head = table.rows[0] if all(cell.head or not cell.runs for cell in table.rows[0]) else ()
    names: list[str] = []
    for cell in head:
        names += [_text(cell.runs)] * cell.span
    found = []
    for row in table.rows:
        runs: list[Run] = []
        at = 0
        for cell in row:
            if cell.runs:
                name = names[at] if row is not head and at < len(names) else ""
                before = ("；" if runs else "") + (f"{name}：" if name else "")
                if before:
                    runs.append(Run(before, (MARKER,)))
                runs += cell.runs
            at += cell.span
        found.append(Words(tuple(runs), "h3" if row is head else "p"))
    return found
