"""Results as JUnit XML, for those whose tools read that (one suite a box, one case a lesson)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from stb_emulator.lab.actions import Action, Outcome, Verdict
from stb_emulator.lab.parity import Parity
from stb_emulator.observe import Observation

_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no way to write."""


def _clean(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def document(rows: Sequence[Observation], parity: Parity, outcomes: Sequence[Outcome] = ()) -> str:
    """Write the matrix, its actions, and the agreement of the lists as a suite of its own.

    An action for which a box has no key, or to which it did not come, is a skipped case.
    """
    root = Xml.Element("testsuites", name="stb-emulator matrix")
    others = [act for act in outcomes if act.action is not Action.PLAY]  # playing has its rows
    for box in dict.fromkeys([*(row.box for row in rows), *(act.box for act in others)]):
        mine, acts = [row for row in rows if row.box == box], [act for act in others if act.box == box]
        failures = sum(not row.ok for row in mine) + sum(not act.ok for act in acts)
        suite = _suite(root, box, len(mine) + len(acts), failures)
        for row in mine:
            case = Xml.SubElement(
                suite,
                "testcase",
                classname=_clean(box),
                name=_clean(f"{row.lesson} {row.title}".strip() or "-"),
                time=f"{row.played_s:.3f}",
            )
            if not row.ok:
                Xml.SubElement(case, "failure", type=str(row.stage), message=_clean(row.reason))
        for act in acts:
            name = _clean(f"{act.action} {act.lesson} {act.title}".strip())
            case = Xml.SubElement(suite, "testcase", classname=_clean(box), name=name)
            if act.verdict is Verdict.FAILED:
                Xml.SubElement(case, "failure", type=str(act.action), message=_clean(act.reason))
            elif act.verdict is not Verdict.OK:
                Xml.SubElement(case, "skipped", message=_clean(act.reason))
    lists = [each for each in parity.differences if each.kind != "unplayable"]
    suite = _suite(root, "parity", max(1, len(lists)), len(lists))
    if not lists:
        Xml.SubElement(suite, "testcase", classname="parity", name="all boxes list the same")
    for each in lists:
        case = Xml.SubElement(
            suite, "testcase", classname="parity", name=_clean(f"{each.kind} {each.box} {each.item_id}")
        )
        message = f"{each.here} / {each.elsewhere}" if each.elsewhere else each.here
        Xml.SubElement(case, "failure", type=each.kind, message=_clean(message))
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: Xml.Element, name: str, tests: int, failures: int) -> Xml.Element:
    return Xml.SubElement(root, "testsuite", name=_clean(name), tests=str(tests), failures=str(failures))
