"""Tokens of boxes known by their MAC: who is let in, who is put out, and that nothing grows without bound."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_server.sessions.accounts import Account
from edge_server.sessions.box_logins import CLONED, BoxLimits, BoxLogin, BoxLogins, BoxRefused, Refusal
from edge_server.sessions.boxes import BoxBook
from edge_server.sessions.last_seen import Seen, SeenKeeper, merged, read_seen
from runtime.clock import FakeClock

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
ONE, TWO = "00:1A:79:00:00:01", "00:1A:79:00:00:02"
HERE, THERE = "192.168.1.10", "192.168.1.11"
ACCOUNTS = {"edu001@itv": Account(user_id="edu001@itv", password="123456")}


@pytest.fixture
def book(tmp_path: Path) -> BoxBook:
    return BoxBook(tmp_path / "boxes.json")


def logins(book: BoxBook, *, unregistered: bool = False, **limits: float) -> BoxLogins:
    numbers = count(1)
    return BoxLogins(
        book.find,
        ACCOUNTS.get,
        unregistered=unregistered,
        token=lambda: f"T{next(numbers)}",
        limits=BoxLimits(**limits),  # type: ignore[arg-type]
    )


def come(table: BoxLogins, mac: str = ONE, remote: str = HERE, now_s: float = 0.0) -> BoxLogin:
    login = table.knock(mac, remote, now_s)
    table.let_in(login, now_s)
    return login


def refusal(table: BoxLogins, mac: str = ONE, remote: str = HERE, now_s: float = 0.0) -> Refusal:
    with pytest.raises(BoxRefused) as refused:
        come(table, mac, remote, now_s)
    return refused.value.reason


def test_a_registered_box_is_let_in_with_its_station(book: BoxBook) -> None:
    book.add(ONE, "V1", NOW)
    table = logins(book)
    login = come(table)
    assert (login.is_in, login.station) == (True, "V1")
    assert table.find(login.token, ONE, HERE, 1.0) is login and login.last_seen_s == 1.0


def test_an_unknown_mac_is_refused_unless_the_edge_says_otherwise(book: BoxBook) -> None:
    assert refusal(logins(book)) is Refusal.UNREGISTERED
    assert come(logins(book, unregistered=True)).station == ""


def test_nobody_is_let_in_from_outside(book: BoxBook) -> None:
    book.add(ONE, "V1", NOW)
    table = logins(book)
    login = table.knock(ONE, HERE, 0.0)
    with pytest.raises(BoxRefused) as refused:
        table.let_in(login, 0.0, is_local=False)
    assert refused.value.reason is Refusal.OUTSIDE and not login.is_in


def test_a_replaced_box_is_refused_at_once_also_where_unregistered_ones_may_watch(book: BoxBook) -> None:
    book.add(ONE, "V1", NOW)
    table = logins(book, unregistered=True)
    login = come(table)
    book.replace(ONE, TWO, NOW)
    assert table.find(login.token, ONE, HERE, 1.0) is None
    assert refusal(table, now_s=2.0) is Refusal.RETIRED
    assert come(table, TWO, now_s=3.0).station == "V1"


def test_a_token_speaks_for_one_mac_from_one_address(book: BoxBook) -> None:
    table = logins(book, unregistered=True)
    login = come(table)
    assert table.find(login.token, TWO, HERE, 1.0) is None
    assert table.find(login.token, ONE, THERE, 1.0) is None
    assert table.find("", ONE, HERE, 1.0) is None


def test_a_cloned_box_is_reported_and_the_older_session_ends(book: BoxBook) -> None:
    book.add(ONE, "V1", NOW)
    table = logins(book)
    older = come(table, now_s=0.0)
    with capture_logs() as lines:
        newer = come(table, remote=THERE, now_s=100.0)
    assert table.find(older.token, ONE, HERE, 101.0) is None
    assert table.find(newer.token, ONE, THERE, 101.0) is newer
    assert table.refusals[CLONED] == 1
    [line] = lines
    assert (line["mac"], line["station"], line["older"], line["newer"]) == (ONE, "V1", HERE, THERE)
    with capture_logs() as lines:  # the two go on putting each other out: counted, but the log is not flooded
        come(table, remote=HERE, now_s=110.0)
    assert table.refusals[CLONED] == 2 and lines == []


def test_a_box_that_got_another_address_after_a_while_is_no_clone(book: BoxBook) -> None:
    table = logins(book, unregistered=True)
    older = come(table, now_s=0.0)
    come(table, remote=THERE, now_s=301.0)
    assert table.refusals[CLONED] == 0 and table.find(older.token, ONE, HERE, 302.0) is None


def test_knocking_with_the_mac_of_another_puts_nobody_out(book: BoxBook) -> None:
    book.add(ONE, "V1", NOW)
    table = logins(book)
    login = come(table)
    for _ in range(10):
        table.knock(ONE, THERE, 1.0)
    assert table.find(login.token, ONE, HERE, 2.0) is login


def test_a_box_with_an_account_must_show_its_password(book: BoxBook) -> None:
    book.add(ONE, "V1", NOW, account="edu001@itv")
    table = logins(book)
    login = table.knock(ONE, HERE, 0.0)
    with pytest.raises(BoxRefused) as refused:
        table.let_in(login, 0.0)
    assert refused.value.reason is Refusal.NEEDS_ACCOUNT
    for user, password in (("edu001@itv", "wrong"), ("edu001@itv", ""), ("nobody", "123456"), ("edu001@itv", "\ud800")):
        with pytest.raises(BoxRefused) as refused:
            table.prove(login, user, password, 0.0)
        assert refused.value.reason is Refusal.WRONG_PASSWORD
    table.prove(login, "edu001@itv", "123456", 0.0)
    table.let_in(login, 0.0)
    assert login.is_in


def test_five_wrong_passwords_a_minute_and_then_even_the_right_one_waits(book: BoxBook) -> None:
    book.add(ONE, "V1", NOW, account="edu001@itv")
    table = logins(book)
    tried = []
    for number in range(8):
        with pytest.raises(BoxRefused) as refused:  # a new token and a new address help nothing
            table.prove(table.knock(ONE, f"192.168.1.{number}", float(number)), "edu001@itv", f"{number}", number)
        tried.append(refused.value.reason)
    assert tried == [Refusal.WRONG_PASSWORD] * 5 + [Refusal.THROTTLED] * 3
    login = table.knock(ONE, HERE, 30.0)
    with pytest.raises(BoxRefused) as refused:
        table.prove(login, "edu001@itv", "123456", 30.0)
    assert refused.value.reason is Refusal.THROTTLED and 29.0 < refused.value.retry_after_s <= 30.0
    table.prove(login, "edu001@itv", "123456", 60.0)


def test_who_tries_one_mac_after_the_other_has_to_wait(book: BoxBook) -> None:
    book.add(TWO, "V1", NOW)
    table = logins(book)
    reasons = [refusal(table, f"00:1A:79:00:01:{number:02X}") for number in range(25)]
    assert reasons == [Refusal.UNREGISTERED] * 20 + [Refusal.THROTTLED] * 5
    assert refusal(table, TWO) is Refusal.THROTTLED
    assert come(table, TWO, THERE).is_in, "others do not wait"
    assert come(table, TWO, HERE, 60.0).is_in


def test_silence_ends_a_login_and_a_waiting_token(book: BoxBook) -> None:
    table = logins(book, unregistered=True)
    login, waiting = come(table), table.knock(TWO, HERE, 0.0)
    assert table.find(waiting.token, TWO, HERE, 300.0) is waiting
    assert table.find(waiting.token, TWO, HERE, 300.1) is None
    assert table.find(login.token, ONE, HERE, 2700.0) is login
    assert table.find(login.token, ONE, HERE, 2700.0 + 2700.1) is None
    assert len(table) == 0


def test_one_address_cannot_push_others_out(book: BoxBook) -> None:
    table = logins(book, unregistered=True, logins_per_remote_max=8, waiting_per_remote_max=8)
    login, waiting = come(table, remote=THERE), table.knock(TWO, THERE, 0.0)
    for number in range(500):
        come(table, f"02:00:00:00:{number // 256:02X}:{number % 256:02X}")
        table.knock(f"02:00:00:01:{number // 256:02X}:{number % 256:02X}", HERE, 0.0)
    assert len(table) == 9
    assert table.find(login.token, ONE, THERE, 1.0) is login
    assert table.find(waiting.token, TWO, THERE, 1.0) is waiting


def test_the_table_is_bounded(book: BoxBook) -> None:
    table = logins(book, unregistered=True, logins_max=10, waiting_max=10)
    for number in range(100):
        come(table, f"02:00:00:00:00:{number:02X}", f"192.168.2.{number}")
        table.knock(f"02:00:00:01:00:{number:02X}", f"192.168.3.{number}", 0.0)
    assert len(table) == 10
    again = [come(table, ONE, HERE, 1.0) for _ in range(6)]
    assert [table.find(each.token, ONE, HERE, 2.0) is not None for each in again] == [False] * 2 + [True] * 4


async def test_when_a_box_was_heard_last_is_kept(book: BoxBook, tmp_path: Path) -> None:
    path, clock = tmp_path / "seen.json", FakeClock(NOW)
    table = logins(book, unregistered=True)
    keeper = SeenKeeper(path, table, clock)
    await keeper.note()
    assert not path.exists()
    come(table, now_s=clock.monotonic())
    await keeper.drain()
    assert read_seen(path) == {ONE: Seen("2026-11-24T08:00:00Z", HERE)}
    come(table, TWO, THERE, clock.monotonic())
    fresh = merged(read_seen(path), table, NOW, clock.monotonic() + 60)
    assert fresh[TWO] == Seen("2026-11-24T07:59:00Z", THERE)


@pytest.mark.parametrize("text", ["", "[]", '{"x": 1}'])
def test_a_broken_note_of_who_was_heard_is_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "seen.json").write_text(text)
    assert read_seen(tmp_path / "seen.json") == {}
