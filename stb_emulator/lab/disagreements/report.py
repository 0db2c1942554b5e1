"""The rows as a table for people, and as JUnit XML for build servers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stb_emulator.lab.disagreements.told import Result, Status

WORDS = {
    Status.GREEN: ("一致 agree", "green"),
    Status.RED: ("不一致 differ", "bold red"),
    Status.NOT_SHOWN: ("未能验证 not shown", "yellow"),
    Status.NOT_COVERED: ("尚未覆盖 not covered", "yellow"),
    Status.NOT_APPLICABLE: ("不适用 not applicable", "dim"),
}
_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def print_table(results: Sequence[Result], console: Console) -> None:
    """Print one line a row."""
    table = Table(title="新老机顶盒的分歧 / disagreements between old and new boxes")
    for heading in ("行 row", "分歧 disagreement", "写法 variants", "结论 verdict", "原因 why"):
        table.add_column(heading, overflow="fold")
    for each in results:
        word, style = WORDS[each.status]
        agree = sum(told.status is Status.GREEN for told in each.told)
        count = f"{agree}/{len(each.told)}" if each.told else "-"
        table.add_row(each.row, Text(each.title), count, Text(word, style), Text(each.reason))
    console.print(table)


def document(results: Sequence[Result]) -> str:
    """Write one suite a row, one case a variant."""
    root = Xml.Element("testsuites", name="stb-emulator disagreements")
    for row in results:
        red = sum(each.status is Status.RED for each in row.told)
        shown = sum(each.status in (Status.GREEN, Status.RED) for each in row.told)
        count = max(1, len(row.told))
        counts = {"tests": str(count), "failures": str(red), "skipped": str(count - shown)}
        suite = Xml.SubElement(root, "testsuite", {"name": _clean(f"{row.row} {row.title}"), **counts})
        if not row.told:
            case = Xml.SubElement(suite, "testcase", classname=row.row, name=str(row.status))
            Xml.SubElement(case, "skipped", message=_clean(row.reason))
        for each in row.told:
            case = Xml.SubElement(suite, "testcase", classname=row.row, name=_clean(each.variant))
            if each.status is Status.RED:
                Xml.SubElement(case, "failure", message=_clean(each.reason))
            elif each.status is not Status.GREEN:
                Xml.SubElement(case, "skipped", message=_clean(each.reason))
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
