"""Guessing is slow whoever guesses; and a neighbour behind the same address keeps no box that is known waiting."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from edge_server.sessions.accounts import Account
from edge_server.sessions.box_logins import BoxLogins, BoxRefused
from edge_server.sessions.box_logins import Refusal as BoxRefusal
from edge_server.sessions.failures import Throttle, ThrottleLimits
from edge_server.sessions.logins import LoginRefused, Logins, Refusal
from edge_server.sessions.rows import Rows
from tests.unit.test_logins import ACCOUNTS, REMOTE, STBID, answer, attempt, log_in, refusal, table

NEIGHBOUR = "1" * 32
"""Another box behind the same translated address."""


def test_a_neighbour_with_wrong_passwords_does_not_delay_a_box_that_is_known() -> None:
    """The whole address is made to wait, and so is the account for everybody new; the known box logs in."""
    logins = table()
    log_in(logins)
    for number in range(40):
        refusal(logins, attempt("AA" * 8, f"nobody{number}", NEIGHBOUR), 1.0)
        refusal(logins, attempt(answer("F" * 32, password="wrong", stbid=NEIGHBOUR), stbid=NEIGHBOUR), 1.0)
    assert log_in(logins, 2.0).stbid == STBID
    token = logins.issue("edu001@itv", REMOTE, 2.0).encrypt_token
    assert refusal(logins, attempt(answer(token, stbid=NEIGHBOUR), stbid=NEIGHBOUR), 2.0) is Refusal.THROTTLED
    token = logins.issue("edu002@itv", REMOTE, 2.0).encrypt_token
    new = attempt(answer(token, "edu002@itv", "100001"), "edu002@itv")
    assert refusal(logins, new, 2.0) is Refusal.THROTTLED, "who is not known waits with its address"


def test_a_box_is_known_at_its_own_address_only() -> None:
    logins = table()
    log_in(logins)
    for _ in range(5):
        refusal(logins, attempt(answer("F" * 32, password="wrong"), remote="192.0.2.99"), 1.0)
    token = logins.issue("edu001@itv", "192.0.2.99", 2.0).encrypt_token
    assert refusal(logins, attempt(answer(token), remote="192.0.2.99"), 2.0) is Refusal.THROTTLED
    assert log_in(logins, 2.0).stbid == STBID


def test_whoever_guesses_gets_five_tries_a_minute_however_many_names_and_addresses_it_has() -> None:
    logins = table()
    log_in(logins)
    seen: Counter[Refusal] = Counter()
    for number in range(600):
        stbid, remote = f"{number:032d}", f"10.0.{number % 200}.1"
        tried = attempt(answer("F" * 32, password=f"{number:06}", stbid=stbid), stbid=stbid, remote=remote)
        seen[refusal(logins, tried, number * 0.09)] += 1
    assert seen[Refusal.WRONG_PASSWORD] == 5


def test_who_knows_the_names_of_known_boxes_at_its_own_address_gets_few_more() -> None:
    """One name: 3 more; however many names: 10 in all."""
    for names, most in ((1, 5 + 3), (50, 10)):
        logins = table()
        stbids = [f"{number:032d}" for number in range(names)]
        for each in stbids:
            log_in(logins, stbid=each)
        seen: Counter[Refusal] = Counter()
        for number, stbid in zip(range(400), itertools.cycle([NEIGHBOUR, *stbids])):
            tried = attempt(answer("F" * 32, password=f"{number:06}", stbid=stbid), stbid=stbid)
            seen[refusal(logins, tried, number * 0.1)] += 1
        assert seen[Refusal.WRONG_PASSWORD] == most


def test_a_minute_later_a_known_box_may_try_again() -> None:
    logins = table()
    log_in(logins)
    wrong = attempt(answer("F" * 32, password="wrong"))
    reasons = [refusal(logins, wrong, 1.0) for _ in range(4)]
    assert reasons == [Refusal.WRONG_PASSWORD] * 3 + [Refusal.THROTTLED]
    assert log_in(logins, 61.1).stbid == STBID


def test_players_that_name_no_box_are_known_by_their_address() -> None:
    logins = table()
    assert logins.check_password("edu001@itv", "123456", REMOTE, 0.0)
    for number in range(30):
        try:
            logins.check_password("edu001@itv", "guess", f"10.0.0.{number}", 1.0)
        except LoginRefused as refused:
            assert (refused.reason is Refusal.WRONG_PASSWORD) == (number < 5)
    assert logins.check_password("edu001@itv", "123456", REMOTE, 2.0)


def guess_by_mac(boxes: BoxLogins, count: int) -> int:
    """Count how many guesses were looked at, each with a MAC of its own, within a minute."""
    looked_at = 0
    for number in range(count):
        login = boxes.knock(f"02:00:00:00:{number >> 8:02X}:{number & 255:02X}", f"10.0.{number % 40}.1", number * 0.1)
        try:
            boxes.prove(login, "edu001@itv", f"{number:06}", number * 0.1)
        except BoxRefused as refused:
            looked_at += refused.reason is BoxRefusal.WRONG_PASSWORD
    return looked_at


def test_made_up_macs_give_no_more_guesses() -> None:
    assert guess_by_mac(BoxLogins(find_account=ACCOUNTS.get), 500) == 5


def test_portals_that_share_the_passwords_share_the_guesses() -> None:
    throttle = Throttle()
    logins = Logins(ACCOUNTS.get, throttle=throttle)
    boxes = BoxLogins(find_account=ACCOUNTS.get, throttle=throttle)
    for number in range(3):
        refusal(logins, attempt(answer("F" * 32, password=f"{number:06}"), remote=f"10.1.0.{number}"), 0.0)
    assert guess_by_mac(boxes, 500) == 2


def test_who_tries_macs_behind_an_address_does_not_delay_a_box_that_is_known_there() -> None:
    boxes = BoxLogins(unregistered=True)
    mine = boxes.knock("00:1A:79:AA:BB:01", REMOTE, 0.0)
    boxes.let_in(mine, 0.0)
    for number in range(30):
        boxes.throttle.failed("", f"00:1A:79:00:00:{number:02X}", REMOTE, 1.0)
    again = boxes.knock("00:1A:79:AA:BB:01", REMOTE, 2.0)
    boxes.let_in(again, 2.0)
    assert again.is_in


def test_the_tables_are_bounded() -> None:
    throttle = Throttle(ThrottleLimits(keys_max=10, known_boxes_max=10))
    for number in range(100):
        throttle.succeeded(f"a{number}", "b", REMOTE)
        throttle.failed(f"a{number}", "b", REMOTE, 0.0)
        throttle.failed(f"a{number}", "c", f"10.0.0.{number}", 0.0)
    tables = (throttle.accounts, throttle.remotes, throttle.boxes, throttle.in_all)
    assert [len(each.times) for each in tables] == [10] * 4 and len(throttle._known) == 10


names = st.sampled_from("abcdef")
values = st.sampled_from("xyz")


@given(st.lists(st.tuples(st.sampled_from(["put", "pop", "touch", "newest", "oldest", "all"]), names, values, values)))
def test_rows_are_found_as_if_all_were_looked_at(steps: list[tuple[str, str, str, str]]) -> None:
    rows: Rows[tuple[str, str]] = Rows(one=lambda each: each[0], two=lambda each: each)
    plain: dict[str, tuple[str, str]] = {}
    for what, name, one, two in steps:
        found = [key for key, each in plain.items() if each[0] == one]
        if what == "put":
            plain.pop(name, None)
            plain[name] = (one, two)
            rows.put(name, (one, two))
        elif what == "pop":
            assert rows.pop(name) == plain.pop(name, None)
        elif what == "touch" and name in plain:
            plain[name] = plain.pop(name)
            rows.touch(name)
        elif what == "newest":
            assert rows.newest_of("one", one) == (plain[found[-1]] if found else None)
        elif what == "oldest" and found:
            assert rows.oldest_of("one", one) == found[0]
        elif what == "all":
            wanted = [(key, each) for key, each in plain.items() if each == (one, two)]
            assert list(rows.all_of("two", (one, two))) == wanted
        assert list(rows) == list(plain.values()) and len(rows) == len(plain)
        assert rows.oldest() == next(iter(plain.items()), None) and rows.get(name) == plain.get(name)
        assert rows.count("one", one) == sum(each[0] == one for each in plain.values())
    for name in list(plain):
        rows.pop(name)
    assert not any(rows._names.values()), "nothing is left behind"


def test_an_account_that_does_not_exist_takes_no_row() -> None:
    logins = Logins({"a": Account(user_id="a", password="b")}.get)
    refusal(logins, attempt("AA", "x" * 64), 0.0)
    assert not logins.throttle.accounts.times and len(logins.throttle.remotes.times) == 1
