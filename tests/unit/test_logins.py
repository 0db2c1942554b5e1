"""Logins of old boxes, with time as an argument."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from edge_server.sessions.accounts import Account
from edge_server.sessions.login_limits import LoginLimits
from edge_server.sessions.logins import Attempt, Login, LoginRefused, Logins, Refusal, new_token
from wire import ctc

STBID = "0010019900E0680200001A2B3C4D5E6F"
ACCOUNTS = {
    each.user_id: each
    for each in (
        Account(user_id="edu001@itv", password="123456"),
        Account(user_id="edu002@itv", password="100001", encryption_type="0002", face="CU"),
        Account(user_id="bound@itv", password="123456", stbid=STBID),
    )
}
REMOTE = "192.0.2.7"


def table(accounts: Mapping[str, Account] = ACCOUNTS, **limits: Any) -> Logins:
    numbers = itertools.count(1)
    return Logins(accounts.get, token=lambda: f"{next(numbers):032X}", limits=LoginLimits(**limits))


def answer(token: str, user_id: str = "edu001@itv", password: str = "123456", stbid: str = STBID, **how: Any) -> str:
    made = ctc.Authenticator("12345678", token, user_id, stbid, "10.0.0.9", "1A:2B:3C:4D:5E:6F")
    return ctc.encrypt(made.build(), password, **how)


def attempt(text: str, user_id: str = "edu001@itv", stbid: str = STBID, remote: str = REMOTE) -> Attempt:
    return Attempt(user_id, text, stbid, ctc.Face.CTC, remote)


def log_in(logins: Logins, now_s: float = 0.0, user_id: str = "edu001@itv", stbid: str = STBID) -> Login:
    token = logins.issue(user_id, REMOTE, now_s).encrypt_token
    text = answer(token, user_id, ACCOUNTS[user_id].password, stbid)
    return logins.log_in(attempt(text, user_id, stbid), now_s)


def refusal(logins: Logins, tried: Attempt, now_s: float = 0.0) -> Refusal:
    with pytest.raises(LoginRefused) as caught:
        logins.log_in(tried, now_s)
    return caught.value.reason


def test_a_box_logs_in_and_is_found_by_its_new_session() -> None:
    logins = table()
    challenge = logins.issue("edu001@itv", REMOTE, 0.0)
    login = logins.log_in(attempt(answer(challenge.encrypt_token)), 1.0)
    assert login.session_id != challenge.session_id == login.first_session_id
    assert logins.find(login.session_id, 2.0) is login and login.last_seen_s == 2.0
    assert logins.find(challenge.session_id, 2.0) is None
    assert (login.user_id, login.stbid, login.key_rule) == ("edu001@itv", STBID, "0001 padded")


@pytest.mark.parametrize("kind", ctc.EncryptionType)
@pytest.mark.parametrize("md5_hex", ["padded", "unpadded"])
def test_every_key_rule_is_tried_whatever_was_announced(kind: ctc.EncryptionType, md5_hex: ctc.Md5Hex) -> None:
    logins = table()
    token = logins.issue("edu002@itv", REMOTE, 0.0).encrypt_token
    text = answer(token, "edu002@itv", "100001", kind=kind, md5_hex=md5_hex)
    login = logins.log_in(attempt(text, "edu002@itv"), 0.0)
    same_key = ctc.key_string("100001", kind, "padded") == ctc.key_string("100001", kind, "unpadded")
    assert login.key_rule == f"{kind.value} {'padded' if same_key else md5_hex}"


def test_wrong_answers_are_told_apart() -> None:
    logins = table()
    token = logins.issue("edu001@itv", REMOTE, 0.0).encrypt_token
    assert refusal(logins, attempt(answer(token, password="654321"))) is Refusal.WRONG_PASSWORD
    assert refusal(logins, attempt("not hex")) is Refusal.WRONG_PASSWORD
    assert refusal(logins, attempt(answer(token, "nobody"), "nobody")) is Refusal.UNKNOWN_USER
    assert refusal(logins, attempt(answer(token), stbid="another box")) is Refusal.OTHER_BOX
    assert refusal(logins, attempt(answer("F" * 32))) is Refusal.TOKEN_STALE
    assert logins.log_in(attempt(answer(token), stbid=""), 0.0).stbid == STBID
    assert logins.refusals == {"wrong-password": 2, "unknown-user": 1, "other-box": 1, "token-stale": 1}


def test_a_token_of_one_account_is_nothing_to_another() -> None:
    logins = table()
    token = logins.issue("edu001@itv", REMOTE, 0.0).encrypt_token
    text = answer(token, "edu002@itv", "100001")
    assert refusal(logins, attempt(text, "edu002@itv")) is Refusal.TOKEN_STALE


def test_the_name_inside_the_answer_must_be_that_of_the_form() -> None:
    logins = table()
    token = logins.issue("edu001@itv", REMOTE, 0.0).encrypt_token
    assert refusal(logins, attempt(answer(token, "edu009@itv"))) is Refusal.WRONG_PASSWORD


@pytest.mark.parametrize("stbid", ["", "0" * 65, "<script>", 'a"b', "a b"])
def test_an_stbid_that_no_box_has_is_refused(stbid: str) -> None:
    logins = table()
    token = logins.issue("edu001@itv", REMOTE, 0.0).encrypt_token
    assert refusal(logins, attempt(answer(token, stbid=stbid), stbid="")) is Refusal.OTHER_BOX


def test_a_token_expires() -> None:
    logins = table(token_lifetime_s=300.0)
    token = logins.issue("edu001@itv", REMOTE, 0.0).encrypt_token
    assert refusal(logins, attempt(answer(token)), 300.1) is Refusal.TOKEN_STALE


def test_a_token_serves_once_but_a_retry_gets_the_same_login() -> None:
    logins = table()
    token = logins.issue("edu001@itv", REMOTE, 0.0).encrypt_token
    first = logins.log_in(attempt(answer(token)), 0.0)
    assert logins.log_in(attempt(answer(token)), 29.0) is first
    assert refusal(logins, attempt(answer(token)), 31.0) is Refusal.TOKEN_STALE
    assert logins.find(first.session_id, 31.0) is first


def test_a_replay_after_logout_does_not_log_in_again() -> None:
    logins = table()
    token = logins.issue("edu001@itv", REMOTE, 0.0).encrypt_token
    first = logins.log_in(attempt(answer(token)), 0.0)
    assert logins.log_out(first.session_id) and not logins.log_out(first.session_id)
    assert refusal(logins, attempt(answer(token)), 1.0) is Refusal.TOKEN_STALE


def test_an_account_may_be_bound_to_one_box() -> None:
    logins = table()
    assert log_in(logins, user_id="bound@itv").stbid == STBID
    token = logins.issue("bound@itv", REMOTE, 0.0).encrypt_token
    other = "0" * 32
    assert refusal(logins, attempt(answer(token, "bound@itv", stbid=other), "bound@itv", other)) is Refusal.OTHER_BOX


def test_failures_are_throttled_per_user_and_the_right_password_must_wait_too() -> None:
    logins = table(failures_per_user_max=5, failure_window_s=60.0)
    token = logins.issue("edu001@itv", REMOTE, 0.0).encrypt_token
    for second in range(5):
        tried = attempt(answer(token, password="wrong"), remote=f"192.0.2.{second}")
        assert refusal(logins, tried, float(second)) is Refusal.WRONG_PASSWORD
    with pytest.raises(LoginRefused) as caught:
        logins.log_in(attempt(answer(token)), 10.0)
    assert (caught.value.reason, caught.value.retry_after_s) == (Refusal.THROTTLED, 50.0)
    assert logins.log_in(attempt(answer(token)), 60.1).user_id == "edu001@itv"


def test_a_dictionary_gets_five_tries_a_minute() -> None:
    logins = table()
    reasons = [refusal(logins, attempt(answer("F" * 32, password=f"{n:06}")), n * 0.1) for n in range(600)]
    assert reasons.count(Refusal.WRONG_PASSWORD) == 5
    assert reasons.count(Refusal.THROTTLED) == 595


def test_failures_are_throttled_per_remote_over_many_names() -> None:
    logins = table(failures_per_remote_max=20)
    reasons = [refusal(logins, attempt("AA", f"user{number}")) for number in range(25)]
    assert reasons.count(Refusal.UNKNOWN_USER) == 20 and reasons[20:] == [Refusal.THROTTLED] * 5
    token = logins.issue("edu001@itv", "192.0.2.99", 0.0).encrypt_token
    assert logins.log_in(attempt(answer(token), remote="192.0.2.99"), 0.0)


def test_successes_are_not_throttled() -> None:
    logins = table()
    for _ in range(100):
        log_in(logins)
    assert len(logins) == 1


def test_the_same_box_again_ends_its_older_login() -> None:
    logins = table()
    first, second = log_in(logins, 0.0), log_in(logins, 1.0)
    assert logins.find(first.session_id, 2.0) is None and logins.find(second.session_id, 2.0) is second


def test_two_boxes_may_share_an_account_up_to_a_bound() -> None:
    logins = table(logins_per_user_max=3)
    made = [log_in(logins, number, stbid=f"{number:032}") for number in range(5)]
    assert [logins.find(each.session_id, 5.0) is each for each in made] == [False, False, True, True, True]


def test_the_least_recently_seen_goes_when_the_table_is_full() -> None:
    logins = table(logins_max=2)
    first, second = log_in(logins, 0.0, stbid="1" * 32), log_in(logins, 1.0, stbid="2" * 32)
    assert logins.find(first.session_id, 2.0)
    third = log_in(logins, 3.0, stbid="3" * 32)
    assert logins.find(second.session_id, 4.0) is None
    assert logins.find(first.session_id, 4.0) is first and logins.find(third.session_id, 4.0) is third
    assert len(logins) == 2


def test_silence_ends_a_login() -> None:
    logins = table(login_idle_s=100.0)
    login = log_in(logins)
    assert logins.find(login.session_id, 100.0) is login
    assert logins.find(login.session_id, 200.1) is None
    other = log_in(logins, 300.0)
    assert logins.expire(400.0) == 0 and logins.expire(400.1) == 1
    assert len(logins) == 0 and logins.find(other.session_id, 400.1) is None


def test_one_address_that_floods_loses_its_own_tokens_only() -> None:
    logins = table(tokens_per_remote_max=4)
    honest = logins.issue("edu001@itv", REMOTE, 0.0).encrypt_token
    flood = [logins.issue("x" * 1000, "192.0.2.66", 0.0) for _ in range(1000)]
    assert len(logins._challenges) == 5 and all(len(each.user_id) <= 64 for each in flood)
    assert logins.log_in(attempt(answer(honest)), 1.0)


def test_tokens_and_failures_are_bounded_in_all() -> None:
    logins = table(tokens_max=10, failure_keys_max=10)
    for number in range(50):
        remote = f"192.0.2.{number}"
        logins.issue("edu001@itv", remote, 0.0)
        refusal(logins, attempt("AA", f"user{number}", remote=remote))
    assert len(logins._challenges) == 10
    assert len(logins.throttle.remotes.times) == 10


def test_a_heartbeat_without_cookie_is_known_by_box_and_address() -> None:
    logins = table()
    login = log_in(logins)
    assert logins.find_box(STBID, REMOTE, 5.0) is login and login.last_seen_s == 5.0
    assert logins.find_box(STBID, "192.0.2.200", 5.0) is None
    assert logins.find_box("0" * 32, REMOTE, 5.0) is None


def test_logging_out_by_name_reaches_only_the_same_address() -> None:
    logins = table()
    log_in(logins)
    assert logins.log_out_user("edu001@itv", "192.0.2.200") == 0
    assert logins.log_out_user("edu001@itv", REMOTE) == 1 and len(logins) == 0


def test_deviations_are_counted() -> None:
    logins = table()
    token = logins.issue("edu001@itv", REMOTE, 0.0).encrypt_token
    text = answer(token, padding="ones-to-128").lower()
    logins.log_in(attempt(text), 0.0)
    assert logins.deviations == {"padding": 1, "hex-case": 1}


def test_tokens_are_32_upper_hex_digits_and_differ() -> None:
    made = {new_token() for _ in range(100)}
    assert len(made) == 100 and all(len(each) == 32 and each == each.upper() and int(each, 16) >= 0 for each in made)


def test_a_user_token_gives_a_new_session_when_the_old_one_ran_out() -> None:
    logins = table(login_idle_s=400.0, user_token_lifetime_s=1000.0)
    login = log_in(logins)
    first = login.session_id
    assert logins.renew(login.user_token, REMOTE, 100.0) is login and login.session_id == first
    assert logins.find(first, 600.0) is None
    assert logins.renew(login.user_token, "192.0.2.8", 600.0) is None
    assert logins.renew("0" * 32, REMOTE, 600.0) is None
    assert logins.renew(login.user_token, REMOTE, 600.0) is login and login.session_id != first
    assert logins.find(first, 600.0) is None and logins.find(login.session_id, 600.0) is login
    assert logins.renew(login.user_token, REMOTE, 1000.1) is None


def test_a_user_token_ends_with_logout_a_newer_login_or_its_account() -> None:
    accounts = dict(ACCOUNTS)
    logins = table(accounts, login_idle_s=400.0)
    ended = log_in(logins)
    logins.log_out(ended.session_id)
    assert logins.renew(ended.user_token, REMOTE, 1.0) is None
    idle = log_in(logins, 10.0)
    assert logins.find(idle.session_id, 500.0) is None
    newer = log_in(logins, 500.0)
    assert logins.renew(idle.user_token, REMOTE, 501.0) is None
    assert logins.find(newer.session_id, 1000.0) is None
    logins.log_out_user("edu001@itv", REMOTE)
    assert logins.renew(newer.user_token, REMOTE, 1000.0) is None
    last = log_in(logins, 1000.0)
    del accounts["edu001@itv"]
    assert logins.renew(last.user_token, REMOTE, 1001.0) is None


def test_user_tokens_are_bounded() -> None:
    logins = table(logins_max=3)
    made = [log_in(logins, 0.0, stbid=f"{number:032d}") for number in range(5)]
    alive = [each for each in made if logins.renew(each.user_token, REMOTE, 1.0) is not None]
    assert alive == made[2:]


def test_a_session_ends_when_its_account_is_removed_or_bound_to_another_box() -> None:
    accounts = dict(ACCOUNTS)
    logins = table(accounts)
    first, second = log_in(logins, stbid="1" * 32), log_in(logins, stbid="2" * 32)
    accounts["edu001@itv"] = Account(user_id="edu001@itv", password="123456", stbid="2" * 32)
    assert logins.find(first.session_id, 1.0) is None and logins.find(second.session_id, 1.0) is second
    assert logins.renew(first.user_token, REMOTE, 1.0) is None and len(logins) == 1
    del accounts["edu001@itv"]
    assert logins.find_box("2" * 32, REMOTE, 2.0) is None and len(logins) == 0
    assert logins.renew(second.user_token, REMOTE, 2.0) is None
