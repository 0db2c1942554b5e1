"""Verdicts over a row: what agrees, what differs, and what must not be taken for agreement."""

from io import StringIO
from typing import Any
from xml.etree import ElementTree as Xml

import click
import pytest
from rich.console import Console

from edge_server.sessions.authenticator import ODD, open_with_any_key, refused_as_odd
from stb_emulator.boxes import load_all
from stb_emulator.cli import cli
from stb_emulator.lab.disagreements import ROWS, Lab
from stb_emulator.lab.disagreements.command import chosen
from stb_emulator.lab.disagreements.report import document, print_table
from stb_emulator.lab.disagreements.running import UNITS_A_ROW
from stb_emulator.lab.disagreements.told import Row, Status, Told, judge
from stb_emulator.observe import Reason
from stb_emulator.seat import Seat
from tests.old_boxes import ACCOUNTS, STBID
from wire import ctc

ROW = Row("D0", Reason("试", "trial"))
LESSONS = [("1", "课")]


def told(name: str, status: Status = Status.GREEN, group: str = "", **facts: Any) -> Told:
    return Told(variant=name, status=status, facts=facts, group=group, reason="" if status is Status.GREEN else "why")


@pytest.mark.parametrize(
    ("others", "status"),
    [
        ([told("b", lessons=LESSONS, duration_s=10.1)], Status.GREEN),
        ([told("b", lessons=LESSONS, duration_s=10.2)], Status.RED),
        ([told("b", lessons=[], duration_s=10.0)], Status.RED),
        ([told("b", lessons=LESSONS)], Status.RED),
        ([told("b", lessons=LESSONS, duration_s=10.0, more=1)], Status.RED),
        ([told("b", Status.RED)], Status.RED),
        ([told("b", Status.NOT_SHOWN)], Status.NOT_SHOWN),
        ([told("b", Status.NOT_SHOWN), told("c", Status.RED)], Status.RED),
        ([told("b", group="other", lessons=[])], Status.GREEN),
        ([told("b", group="other", place_s=1.0), told("c", group="other", place_s=1.5)], Status.RED),
    ],
)
def test_a_row_is_green_only_if_all_variants_tell_the_same(others: list[Told], status: Status) -> None:
    result = judge(ROW, [told("a", lessons=LESSONS, duration_s=10.0), *others])
    assert result.status is status
    assert bool(result.reason) is (status is not Status.GREEN)


def test_a_failed_first_variant_is_red_and_makes_no_canon() -> None:
    result = judge(ROW, [told("a", Status.RED), told("b", lessons=LESSONS)])
    assert result.status is Status.RED and result.reason == "a: why"


def test_there_are_24_rows_and_each_varies_a_box_of_its_own() -> None:
    assert [row.name for row in ROWS] == [f"D{number}" for number in range(1, 25)]
    lab = Lab(Seat(portal_url="http://127.0.0.1", clock=None), load_all(), crowded=("rtsp://127.0.0.1:1",))  # type: ignore[arg-type]
    for row in ROWS:
        if row.variants is None:
            assert row.why_not is not None and not row.applicable
            continue
        variants = row.variants(lab)
        names = [each.name for each in variants]
        assert len(set(names)) == len(names) > 1 and len(names) <= UNITS_A_ROW, row.name
        assert len({repr(each.box) for each in variants}) > 1 or row.name == "D0", f"{row.name} varies nothing"


def test_rows_are_chosen_by_name() -> None:
    assert [row.name for row in chosen(" d9, D1")] == ["D1", "D9"]
    assert len(chosen("")) == 24
    with pytest.raises(click.UsageError, match="D25"):
        chosen("D25")


@pytest.mark.parametrize("words", [("--rows", "D99"), ("--strict", "D1")])
def test_what_cannot_be_tried_is_a_wrong_use(words: tuple[str, str]) -> None:
    with pytest.raises(click.UsageError):
        cli(["disagreements", "--portal", "http://127.0.0.1:9", *words], standalone_mode=False)


def test_nobody_at_the_portal_is_said_so() -> None:
    assert cli(["disagreements", "--portal", "http://127.0.0.1:9", "--json"], standalone_mode=False) == 5


def test_reports_say_what_was_not_tried() -> None:
    results = [
        judge(ROW, [told("a", lessons=LESSONS), told("b", lessons=[])]),
        judge(ROW, [told("a", Status.NOT_SHOWN)]),
    ]
    suites = Xml.fromstring(document(results)).findall("testsuite")
    assert [(each.get("failures"), each.get("skipped")) for each in suites] == [("1", "0"), ("0", "1")]
    console = Console(width=120, record=True, file=StringIO())
    print_table(results, console)
    text = console.export_text()
    assert "不一致 differ" in text and "未能验证 not shown" in text and "1/2" in text


@pytest.mark.parametrize(
    ("row", "how", "ip"),
    [
        ("D2", {"suffix": "CU"}, "10.0.0.9"),
        ("D2", {"reserved": "Reserved"}, "10.0.0.9"),
        ("D2", {"reserved": None, "suffix": "CM"}, "10.0.0.9"),
        ("D3", {"random": "99999"}, "10.0.0.9"),
        ("D3", {"mac": "1a2b3c4d5e6f"}, "10.0.0.9"),
        ("D3", {}, "10.0.0.8"),
        ("D4", {"padding": "ones-to-128"}, "10.0.0.9"),
    ],
)
def test_an_oddity_is_refused_by_its_own_row_alone(row: str, how: dict[str, Any], ip: str) -> None:
    fields = {"random": "12345678", "mac": "1A:2B:3C:4D:5E:6F", "reserved": "", "suffix": "CTC", **how}
    padding = fields.pop("padding", "pkcs5")
    made = ctc.Authenticator(encrypt_token="0" * 32, user_id="edu001@itv", stbid=STBID, ip=ip, **fields)
    account = ACCOUNTS["edu001@itv"]
    opened = open_with_any_key(ctc.encrypt(made.build(), account.password, padding=padding), account)
    assert opened is not None
    assert [each for each in ODD if refused_as_odd(opened[0], "10.0.0.9", {each})] == [row]
    assert not refused_as_odd(opened[0], "10.0.0.9", ())


def test_without_d1_a_key_has_two_digits_a_byte() -> None:
    account = ACCOUNTS["edu002@itv"]
    made = ctc.Authenticator("12345678", "0" * 32, account.user_id, STBID, "10.0.0.9", "1A:2B:3C:4D:5E:6F")
    texts = {
        each: ctc.encrypt(made.build(), account.password, ctc.EncryptionType.MD5_SALTED, md5_hex=each)
        for each in ("padded", "unpadded")
    }
    assert all(open_with_any_key(each, account) for each in texts.values())
    assert open_with_any_key(texts["padded"], account, intolerant={"D1"})
    assert open_with_any_key(texts["unpadded"], account, intolerant={"D1"}) is None
