"""The body of a cleaned page as a row of blocks: words, pictures, tables, rules. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser

SPAN_MAX_COUNT = 20
"""Columns that one cell may span; more is a slip of the pen."""
_INLINE = {"b", "strong", "i", "em", "u", "s", "sub", "sup", "small", "code"}
_WORDS = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "li", "dt", "dd", "caption", "figcaption"}
_APART = {"blockquote", "ul", "ol", "dl", "div", "section", "article", "figure"}
_BLANK = re.compile(r"[ \t\n\r\f]+")
_ROWS = {"table", "thead", "tbody", "tfoot", "tr", "td", "th"}


@dataclass(frozen=True, slots=True)
class Run:
    """Letters that look alike."""

    text: str
    tags: tuple[str, ...] = ()
    """Inline elements around it, the outermost first."""


@dataclass(frozen=True, slots=True)
class Words:
    """A paragraph, a heading, a line of a list."""

    runs: tuple[Run, ...]
    """A line feed in a text is a line break."""
    tag: str = "p"
    depth: int = 0
    """How often it is set in: lists, quotations."""
    marker: str = ""
    """What stands before it in a list."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image."""

    name: str
    alt: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across the page."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table."""

    runs: tuple[Run, ...] = ()
    span: int = 1
    head: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; a cell that spans rows stands in its first row, and is empty in the others."""

    rows: tuple[tuple[Cell, ...], ...]

    @property
    def columns(self) -> int:
        """How many columns the widest row has."""
        return max((sum(cell.span for cell in row) for row in self.rows), default=0)


Block = Words | Picture | Rule | Table


def blocks_of(body: str) -> tuple[Block, ...]:
    """Read a body that ``nh3`` has cleaned: known elements only, all closed."""
    reader = _Reader()
    reader.feed(body)
    reader.close()
    reader.flush()
    return tuple(reader.blocks)


@dataclass
class _List:
    """An open list."""

    ordered: bool
    number: int = 1


@dataclass
class _OpenTable:
    """A table that is being read; ``depth`` counts tables inside it, whose cells become words of the outer cell."""

    depth: int = 1
    rows: list[list[Cell]] = field(default_factory=list)
    cell: list[Run] | None = None
    shape: tuple[int, int, bool] = (1, 1, False)
    """Columns and rows that the open cell spans; whether it is a head."""
    taken: dict[int, int] = field(default_factory=dict)
    """Columns of this row that a cell above reaches into, and in how many rows."""
    carried: dict[int, int] = field(default_factory=dict)
    """The same of the next row."""
    pictures: list[Picture] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self._runs: list[Run] = []
        self._inline: list[str] = []
        self._open: list[tuple[str, str]] = []
        """Elements that hold words, with the marker that their first words get."""
        self._lists: list[_List] = []
        self._quotes = 0
        self._pre = 0
        self._table: _OpenTable | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in _INLINE:
            self._inline.append(tag)
        elif tag == "br":
            self._say("\n", keep=True)
        elif tag == "img":
            self._picture(Picture(values.get("src", ""), values.get("alt", "")))
        elif self._table is not None:
            self._begin_in_table(self._table, tag, values)
        elif tag == "table":
            self.flush()
            self._table = _OpenTable()
        elif tag == "hr":
            self.flush()
            self.blocks.append(Rule())
        elif tag in _WORDS or tag in _APART:
            self._begin(tag, values)

    def handle_endtag(self, tag: str) -> None:
        if tag in _INLINE:
            if tag in self._inline:
                del self._inline[len(self._inline) - 1 - self._inline[::-1].index(tag)]
        elif self._table is not None:
            self._end_in_table(self._table, tag)
        elif tag in _WORDS or tag in _APART:
            self._end(tag)

    def handle_data(self, data: str) -> None:
        self._say(data, keep=self._pre > 0)

    def flush(self) -> None:
        """End the words that are being read."""
        runs, self._runs = _trimmed(self._runs, keep=self._pre > 0), []
        if not runs:
            return
        tag, marker = self._open[-1] if self._open else ("p", "")
        if marker:
            self._open[-1] = (tag, "")
        depth = len(self._lists) + self._quotes + (tag == "dd")
        self.blocks.append(Words(runs, tag, depth, marker))

    def _say(self, text: str, *, keep: bool) -> None:
        table = self._table
        into = self._runs if table is None or table.cell is None else table.cell
        if not keep:
            text = _BLANK.sub(" ", text)
            if text.startswith(" ") and (not into or into[-1].text.endswith((" ", "\n"))):
                text = text[1:]
        if text:
            into.append(Run(text, tuple(dict.fromkeys(self._inline))))

    def _picture(self, picture: Picture) -> None:
        if not picture.name:
            return
        if self._table is not None:
            self._table.pictures.append(picture)
        else:
            self.flush()
            self.blocks.append(picture)

    def _begin(self, tag: str, values: dict[str, str]) -> None:
        self.flush()
        if tag in ("ul", "ol"):
            start = values.get("start", "1")
            number = int(start) if start.isascii() and start.isdigit() and len(start) <= 6 else 1
            self._lists.append(_List(tag == "ol", number))
        self._quotes += tag == "blockquote"
        self._pre += tag == "pre"
        kind, marker = (tag if tag in _WORDS else "p"), ""
        if tag == "li":
            inner = self._lists[-1] if self._lists else _List(ordered=False)
            marker = f"{inner.number}. " if inner.ordered else "• "
            inner.number += 1
        elif kind == "p" and tag not in ("ul", "ol", "dl") and self._open and self._open[-1][0] in ("li", "dd"):
            kind, marker = self._open[-1]  # a paragraph in a line of a list
            self._open[-1] = (kind, "")
        self._open.append((kind, marker))

    def _end(self, tag: str) -> None:
        self.flush()
        if self._open:
            self._open.pop()
        if tag in ("ul", "ol") and self._lists:
            self._lists.pop()
        self._quotes -= tag == "blockquote"
        self._pre -= tag == "pre"

    def _begin_in_table(self, table: _OpenTable, tag: str, values: dict[str, str]) -> None:
        if tag == "table":
            table.depth += 1
        if table.depth > 1 or tag not in _ROWS:
            if table.cell:
                self._say("\n" if tag in _WORDS or tag in _APART or tag == "tr" else " ", keep=False)
            if tag == "pre":
                self._pre += 1
            if tag == "caption" and table.depth == 1:
                self._end_cell(table)
        elif tag == "tr":
            self._end_cell(table)
            _next_row(table)
        elif tag in ("td", "th"):
            self._end_cell(table)
            if not table.rows:
                _next_row(table)
            table.cell = []
            table.shape = (_span(values.get("colspan")), _span(values.get("rowspan")), tag == "th")

    def _end_in_table(self, table: _OpenTable, tag: str) -> None:
        if tag == "pre":
            self._pre = max(0, self._pre - 1)
        if tag == "table":
            table.depth -= 1
        if table.depth == 0:
            self._end_cell(table)
            self._table = None
            rows = tuple(tuple(row) for row in table.rows if any(cell.runs for cell in row))
            self.flush()  # its caption
            if rows:
                self.blocks.append(Table(rows))
            self.blocks += table.pictures
        elif table.depth == 1 and tag in ("td", "th", "tr"):
            self._end_cell(table)

    def _end_cell(self, table: _OpenTable) -> None:
        if table.cell is None:
            return
        (columns, rows, head), runs, table.cell = table.shape, table.cell, None
        at = sum(cell.span for cell in table.rows[-1])
        if rows > 1:
            table.carried |= dict.fromkeys(range(at, at + columns), rows - 1)
        table.rows[-1].append(Cell(_trimmed(runs, keep=False), columns, head))
        _fill(table)


def _next_row(table: _OpenTable) -> None:
    table.rows.append([])
    table.taken = table.carried
    table.carried = {column: rows - 1 for column, rows in table.taken.items() if rows > 1}
    _fill(table)


def _fill(table: _OpenTable) -> None:
    """Put empty cells where cells of the rows above reach into this one."""
    row = table.rows[-1]
    while sum(cell.span for cell in row) in table.taken:
        row.append(Cell())


def _span(value: str | None) -> int:
    return (
        min(int(value), SPAN_MAX_COUNT) or 1 if value and value.isascii() and value.isdigit() and len(value) < 6 else 1
    )


def _trimmed(runs: Iterable[Run], *, keep: bool) -> tuple[Run, ...]:
    """Take the white space away at both ends (of ``pre``: line feeds at the end only)."""
    found = [run for run in runs if run.text]
    while found and not found[-1].text.strip():
        found.pop()
    if found:
        found[-1] = Run(found[-1].text.rstrip(), found[-1].tags)
    while found and not keep and not found[0].text.strip():
        found.pop(0)
    if found and not keep:
        found[0] = Run(found[0].text.lstrip(), found[0].tags)
    return tuple(found)
