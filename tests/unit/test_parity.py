"""Whether all boxes see the same: each kind of difference is found, named, and nothing else is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as Xml

import msgspec
import pytest

from stb_emulator.lab.junit import document
from stb_emulator.lab.matrix import lessons_of
from stb_emulator.lab.parity import Lag, Parity, compare, with_guides
from stb_emulator.lab.report import agreement, page
from stb_emulator.observe import Observation, Offer, PlayError, Stage


def offer(item_id: str, **other: object) -> Offer:
    plain = Offer(item_id=item_id, title=f"课{item_id}", column="农技", family="video", url="x", announced_s=60.0)
    return msgspec.structs.replace(plain, **other)


ALL = tuple(offer(each) for each in ("1", "2", "3"))


def differences(**lists: Sequence[Offer] | PlayError) -> list[tuple[str, str, str]]:
    listings: Mapping[str, Sequence[Offer] | PlayError] = {"a": ALL, "b": ALL, **lists}
    return [(each.kind, each.box, each.item_id) for each in compare(listings).differences]


def test_boxes_that_agree() -> None:
    found = compare({"a": ALL, "b": ALL, "c": tuple(msgspec.structs.replace(each, column="") for each in ALL)})
    assert found.ok and found.gap == 0 and found.everywhere == ("1", "2", "3")
    near = tuple(msgspec.structs.replace(each, announced_s=60.09) for each in ALL)
    silent = tuple(msgspec.structs.replace(each, announced_s=None) for each in ALL)
    assert compare({"a": ALL, "b": near, "c": silent}).ok
    assert "3/3" in agreement(found)


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        (ALL[:2], [("missing", "odd", "3")]),
        ((*ALL[:2], offer("3", title="课三")), [("title", "odd", "3")]),
        ((*ALL[:2], offer("3", column="法律")), [("column", "odd", "3")]),
        ((*ALL[:2], offer("3", family="picture_text")), [("family", "odd", "3")]),
        ((*ALL[:2], offer("3", announced_s=60.2)), [("duration", "odd", "3")]),
        ((*ALL[:2], offer("3", announced_s=59.1, announced_unit_s=1.0)), []),
        ((*ALL[:2], offer("3", announced_s=58.9, announced_unit_s=1.0)), [("duration", "odd", "3")]),
        ((ALL[1], ALL[0], ALL[2]), [("order", "odd", "")]),
        ((*ALL, offer("4")), [("missing", "a", "4"), ("missing", "b", "4")]),
        ((), [("missing", "odd", "1"), ("missing", "odd", "2"), ("missing", "odd", "3")]),
        (PlayError(Stage.LOGIN, "密码不对", "wrong password"), [("no_login", "odd", "")]),
        (PlayError(Stage.BROWSE, "没有列表", "no list"), [("no_list", "odd", "")]),
    ],
)
def test_what_one_box_says_otherwise(
    listing: Sequence[Offer] | PlayError, expected: list[tuple[str, str, str]]
) -> None:
    assert differences(odd=listing) == expected


def test_an_app_without_a_browser_need_not_list_pages() -> None:
    leaf = offer("9", family="picture_text", announced_s=None)
    found = compare({"a": (*ALL, leaf), "app": ALL}, pageless={"app"})
    assert found.ok and found.gap == 0
    assert [(each.kind, each.box, each.item_id) for each in found.excused] == [("no_browser", "app", "9")]
    assert "没有浏览器" in html_of(found)
    strict = compare({"a": (*ALL, leaf), "app": ALL[:2]}, pageless={"app"})
    assert [(each.kind, each.item_id) for each in strict.differences] == [("missing", "3")] and strict.gap == 1


def html_of(parity: Parity) -> str:
    return page([], {}, parity, portal="", made="")


def row(box: str, lesson: str, ok: bool) -> Observation:
    stage = Stage.DONE if ok else Stage.DECODE
    return Observation(box=box, lesson=lesson, title="<课>", ok=ok, stage=stage, reason="" if ok else "坏\0 & <bad>")


def test_the_gap_counts_what_is_not_to_be_had_everywhere() -> None:
    listings = {"a": ALL, "b": ALL[:2]}
    rows = [row("a", "1", True), row("b", "1", False), row("a", "2", True), row("b", "2", True), row("b", "3", False)]
    found = compare(listings, rows)
    assert found.gap == 2 and found.everywhere == ("2",) and not found.ok
    assert [(each.kind, each.item_id) for each in found.differences] == [("missing", "3"), ("unplayable", "1")]
    nobody = compare({"a": ALL, "b": PlayError(Stage.LOGIN, "x", "x")})
    assert nobody.gap == 3, "of a box that sees nothing nothing can be said"
    assert not compare({"a": (), "b": ()}).ok, "an empty catalogue proves nothing"


def test_the_reports_name_every_difference_and_survive_any_text() -> None:
    rows = [row("a", "1", True), row("b", "1", False)]
    found = compare({"a": ALL[:1], "b": (offer("1", title="<课 &\x01>"),)}, rows)
    root = Xml.fromstring(document(rows, found))
    suites = {suite.get("name"): (suite.get("tests"), suite.get("failures")) for suite in root}
    assert suites == {"a": ("1", "0"), "b": ("1", "1"), "parity": ("1", "1")}
    assert root.find("testsuite[@name='b']/testcase/failure").get("type") == "decode"  # type: ignore[union-attr]
    html = page(rows, {}, found, portal="http://127.0.0.1/", made="now")
    assert "标题不同" in html and "&lt;课 &amp;" in html and "<课 &" not in html
    good = Xml.fromstring(document(rows[:1], compare({"a": ALL[:1]})))
    assert all(suite.get("failures") == "0" for suite in good) and len(good) == 2


def test_lag_is_from_the_first_box_to_the_last() -> None:
    assert Lag(item_id="1", first_s={"a": 5.0, "b": 7.5, "c": 5.5}).seconds == 2.5
    assert Lag(item_id="1", first_s={"a": 5.0, "b": None}).seconds is None
    assert Lag(item_id="1", first_s={}).seconds is None


def test_guides_are_compared_to_the_second() -> None:
    day = 1_795_500_000
    same = {"教育频道": (day, day + 1800, day + 3600)}
    late = {"教育频道": (day, day + 1801, day + 3600)}
    short = {"教育频道": (day, day + 1800)}
    refused = PlayError(Stage.BROWSE, "节目单无法解析", "unreadable")
    guides = {"a": same, "b": dict(same), "c": late, "d": short, "e": {}, "f": refused}
    found = with_guides(compare({"a": ALL, "b": ALL}), guides)
    assert not found.ok and found.gap == 0
    told = {each.box: (each.item_id, each.here, each.elsewhere) for each in found.differences}
    assert told["c"] == ("教育频道", "2026-11-24 06:30:01Z", "2026-11-24 06:30:00Z")
    assert told["d"] == ("教育频道", "-", "2026-11-24 07:00:00Z")
    assert told["e"] == ("教育频道", "-", "2026-11-24 06:00:00Z")
    assert "unreadable" in told["f"][1] and set(told) == {"c", "d", "e", "f"}
    assert with_guides(compare({"a": ALL, "b": ALL}), {"a": same, "b": same}).ok
    assert "节目时间不同" in html_of(found)


def test_what_all_take_for_a_channel_is_no_lesson() -> None:
    channel = offer("901", live=True)
    assert list(lessons_of({"a": ALL, "b": (channel, *ALL)})) == ["1", "2", "3"]
    assert list(lessons_of({"a": (offer("1", live=True),), "b": ALL})) == ["1", "2", "3"]
    assert list(lessons_of({"a": (channel,)})) == ["901"], "a portal that lists its lessons as channels"
