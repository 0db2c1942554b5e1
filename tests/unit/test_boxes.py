"""The registry of boxes: stations keep their history, old MACs are refused, commands do not lose each other's work."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_server.sessions import boxes
from edge_server.sessions.boxes import BoxBook, normal_mac

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
ONE, TWO, THREE = "00:1A:79:00:00:01", "00:1A:79:00:00:02", "00:1A:79:00:00:03"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "boxes.json"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("00:1a:79:ab:cd:ef", "00:1A:79:AB:CD:EF"),
        ("00-1A-79-AB-CD-EF", "00:1A:79:AB:CD:EF"),
        ("001a79abcdef", "00:1A:79:AB:CD:EF"),
        ("00:1A-79:AB:CD:EF", None),
        ("00:1A:79:AB:CD", None),
        ("00:1A:79:AB:CD:EG", None),
        ("00:1A:79:AB:CD:EF:00", None),
        ("０0:1A:79:AB:CD:EF", None),
        ("", None),
    ],
)
def test_macs_are_read_in_three_forms_and_written_in_one(text: str, normal: str | None) -> None:
    assert normal_mac(text) == normal


def test_a_replaced_box_leaves_its_station_and_its_history(path: Path) -> None:
    book = BoxBook(path)
    book.add(ONE, "V-0017", NOW)
    made = book.replace(ONE.lower(), "00-1A-79-00-00-02", NOW + timedelta(days=400))
    assert (made.mac, made.station, made.since, made.until) == (TWO, "V-0017", "2027-12-29T08:00:00Z", "")
    again = BoxBook(path)
    old = again.find(ONE)
    assert old is not None and (old.until, old.successor) == ("2027-12-29T08:00:00Z", TWO)
    again.replace(TWO, THREE, NOW + timedelta(days=800))
    assert [(each.mac, bool(each.until)) for each in again.station("V-0017")] == [
        (ONE, True),
        (TWO, True),
        (THREE, False),
    ]
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_successor_takes_over_the_account_unless_told_otherwise(path: Path) -> None:
    book = BoxBook(path)
    book.add(ONE, "V1", NOW, account="edu001@itv")
    assert book.replace(ONE, TWO, NOW).account == "edu001@itv"
    assert book.replace(TWO, THREE, NOW, account="").account == ""


def test_a_box_that_went_may_come_back_elsewhere_and_both_times_are_on_record(path: Path) -> None:
    book = BoxBook(path)
    book.add(ONE, "V1", NOW)
    assert book.remove(ONE, NOW).until
    book.add(ONE, "V2", NOW)
    found = book.find(ONE)
    assert found is not None and (found.station, found.until) == ("V2", "")
    assert [each.station for each in book] == ["V1", "V2"]


def test_adding_again_changes_the_account_only(path: Path) -> None:
    book = BoxBook(path)
    book.add(ONE, "V1", NOW)
    book.add(ONE, "V1", NOW + timedelta(days=1), account="edu001@itv")
    assert [(each.account, each.since) for each in book] == [("edu001@itv", "2026-11-24T08:00:00Z")]


def test_what_cannot_be_done_is_refused_and_nothing_is_changed(path: Path) -> None:
    book = BoxBook(path)
    book.add(ONE, "V1", NOW)
    book.add(TWO, "V1", NOW)
    before = path.read_bytes()
    with pytest.raises(boxes.BoxTaken, match="serves station V1"):
        book.add(ONE, "V2", NOW)
    with pytest.raises(boxes.BoxTaken, match="in service already"):
        book.replace(ONE, TWO, NOW)
    with pytest.raises(boxes.BoxMissing):
        book.remove(THREE, NOW)
    for mac, station, account in (
        ("1", "V1", ""),
        (THREE, "", ""),
        (THREE, "村 一", ""),
        (THREE, "V" * 33, ""),
        (THREE, "V1", "a b"),
    ):
        with pytest.raises(boxes.BoxInvalid):
            book.add(mac, station, NOW, account=account)
    with pytest.raises(boxes.BoxInvalid):
        book.replace(ONE, "nonsense", NOW)
    assert path.read_bytes() == before


def test_a_serving_edge_sees_what_a_command_changes(path: Path) -> None:
    serving, command = BoxBook(path), BoxBook(path)
    assert serving.find(ONE) is None
    command.add(ONE, "V1", NOW)
    found = serving.find(ONE)
    assert found is not None and not found.until
    command.remove(ONE, NOW)
    found = serving.find(ONE)
    assert found is not None and found.until


def test_two_commands_at_once_lose_nothing(path: Path) -> None:
    def add(number: int) -> None:
        BoxBook(path).add(f"00:1A:79:00:01:{number:02X}", "V1", NOW)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(BoxBook(path)) == 12


def test_a_file_that_breaks_while_serving_leaves_the_last_good_records(path: Path) -> None:
    book = BoxBook(path)
    book.add(ONE, "V1", NOW)
    path.write_text("{")
    assert book.find(ONE) is not None
    assert isinstance(book.problem, boxes.BoxesUnreadable)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"boxes": [], "format": 2}',
        json.dumps({"boxes": [{"mac": "x", "station": "V1", "since": ""}]}),
        json.dumps({"boxes": [{"mac": ONE, "station": "V1", "since": ""}] * 2}),
        json.dumps({"boxes": [{"mac": ONE, "station": "V1", "since": "", "owner": "张三"}]}),
    ],
)
def test_a_file_of_another_shape_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(boxes.BoxesUnreadable):
        BoxBook(path)


def test_the_registry_has_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "BOXES_MAX_COUNT", 2)
    book = BoxBook(path)
    book.add(ONE, "V1", NOW)
    book.add(TWO, "V1", NOW)
    with pytest.raises(boxes.BoxInvalid, match="at most"):
        book.add(THREE, "V1", NOW)
    assert len(BoxBook(path)) == 2
