"""Accounts of old boxes: one owner-only file, replaced in one step."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from edge_server.sessions import accounts
from edge_server.sessions.accounts import Account, AccountBook

ONE = Account(user_id="edu001@itv", password="123456")
TWO = Account(user_id="edu002@itv", password="100001", encryption_type="0002", face="CU", charset="gbk")


def test_an_absent_file_is_an_empty_book(tmp_path: Path) -> None:
    book = AccountBook(tmp_path / "accounts.json")
    assert len(book) == 0 and book.find("edu001@itv") is None


def test_accounts_survive_in_a_file_that_only_the_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "new" / "accounts.json"
    book = AccountBook(path)
    book.add(ONE)
    book.add(TWO)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(AccountBook(path)) == [ONE, TWO]
    book.remove("edu001@itv")
    assert accounts.load(path) == (TWO,)
    assert not [
        each
        for each in path.parent.iterdir()
        if each.suffix == "" and each.name.startswith(".accounts.json.") and not each.name.endswith(".lock")
    ]


def test_adding_again_changes_the_account(tmp_path: Path) -> None:
    book = AccountBook(tmp_path / "accounts.json")
    book.add(ONE)
    book.add(Account(user_id="edu001@itv", password="654321"))
    assert [each.password for each in book] == ["654321"]


def test_removing_nobody_says_so(tmp_path: Path) -> None:
    with pytest.raises(accounts.AccountMissing, match="no account nobody"):
        AccountBook(tmp_path / "accounts.json").remove("nobody")


def test_another_process_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    serving, command = AccountBook(path), AccountBook(path)
    command.add(ONE)
    assert serving.find("edu001@itv") == ONE
    command.remove("edu001@itv")
    assert serving.find("edu001@itv") is None


def test_a_readable_file_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    AccountBook(path).add(ONE)
    path.chmod(0o640)
    with pytest.raises(accounts.AccountsExposed, match="chmod 600"):
        AccountBook(path)


def test_a_file_that_breaks_while_serving_leaves_the_last_good_accounts(tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    book = AccountBook(path)
    book.add(ONE)
    path.chmod(0o604)
    assert book.find("edu001@itv") == ONE
    assert isinstance(book.problem, accounts.AccountsExposed)
    path.chmod(0o600)
    assert book.find("edu001@itv") == ONE and book.problem is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"accounts":[],"format":2}',
        '{"accounts":[{"user_id":"a"}]}',
        '{"accounts":[{"user_id":"a","password":"b","colour":1}]}',
        '{"accounts":[{"user_id":"a$","password":"b"}]}',
        '{"accounts":[{"user_id":"a","password":"b","encryption_type":"0004"}]}',
        '{"accounts":[{"user_id":"a","password":"b"},{"user_id":"a","password":"c"}]}',
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "accounts.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(accounts.AccountsUnreadable, match="accounts"):
        AccountBook(path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    with path.open("wb") as file:
        file.truncate(accounts.ACCOUNTS_MAX_BYTES + 1)
    path.chmod(0o600)
    with pytest.raises(accounts.AccountsUnreadable, match="at most"):
        accounts.load(path)


@pytest.mark.parametrize("user_id", ["", "a b", "a$b", "教", "a" * 65, 'a"', "a\n", "a&b", "a,b"])
def test_names_that_no_box_could_send_are_refused(tmp_path: Path, user_id: str) -> None:
    with pytest.raises(accounts.AccountInvalid, match="user name"):
        AccountBook(tmp_path / "accounts.json").add(Account(user_id=user_id, password="123456"))


def test_the_password_is_not_in_the_repr() -> None:
    assert "100001" not in repr(TWO)


def test_two_commands_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"

    def add(start: int) -> None:
        for number in range(start, start + 10):
            AccountBook(path).add(Account(user_id=f"u{number}", password="123456"))

    threads = [threading.Thread(target=add, args=(start,)) for start in (0, 100, 200)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(15)
    assert len(json.loads(path.read_text())["accounts"]) == 30
