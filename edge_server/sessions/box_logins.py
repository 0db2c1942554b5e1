"""Boxes that are known by their MAC and hold a token. A pure table: time comes in as an argument, nothing is stored.

A box knocks and gets a token; asked for its profile it is let in or refused; from then on the token speaks for it, from
the address where it knocked. A MAC identifies and protects nothing (anybody on the cable can read it), so only
boxes on the local segment are let in (SEC-07). All times are monotonic seconds.
"""

from __future__ import annotations

import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

import structlog

from edge_server.sessions.accounts import USER_ID_MAX_CHARS, Account
from edge_server.sessions.boxes import Box
from edge_server.sessions.failures import Throttle, ThrottleLimits
from edge_server.sessions.rows import Rows

log = structlog.get_logger()
CLONED = "cloned"


@dataclass(frozen=True, slots=True)
class BoxLimits:
    """Bounds of the table. The rates follow SEC-08 (dictionary login is throttled)."""

    waiting_max: int = 4096
    """Tokens of boxes that have knocked and are not yet in."""
    waiting_per_box_max: int = 4
    waiting_per_remote_max: int = 128
    """One address that knocks more often loses its own oldest tokens, nobody else's."""
    waiting_lifetime_s: float = 300.0
    logins_max: int = 16384
    logins_per_box_max: int = 4
    logins_per_remote_max: int = 512
    login_idle_s: float = 2700.0
    """Boxes ask for events every two minutes at the least."""
    clone_window_s: float = 300.0
    """A MAC at two addresses within this time is a cloned box (SEC-07)."""
    failures_per_account_max: int = 5
    """By boxes that are not known (``failures``)."""
    failures_per_remote_max: int = 20
    failure_window_s: float = 60.0
    failure_keys_max: int = 8192


class Refusal(Enum):
    """Why a box is not let in."""

    OUTSIDE = "outside"
    """It is not on the local segment."""
    UNREGISTERED = "unregistered"
    RETIRED = "retired"
    """It was replaced or removed."""
    NEEDS_ACCOUNT = "needs-account"
    """The password of its account is still to come."""
    WRONG_PASSWORD = "wrong-password"
    THROTTLED = "throttled"


class BoxRefused(Exception):
    """The box is not let in; ``reason`` says why, ``retry_after_s`` is above 0 when throttled."""

    def __init__(self, reason: Refusal, retry_after_s: float = 0.0) -> None:
        """Carry the reason."""
        super().__init__(reason.value)
        self.reason, self.retry_after_s = reason, retry_after_s


@dataclass(slots=True)
class BoxLogin:
    """One token."""

    token: str
    mac: str
    """As ``boxes.normal_mac`` writes it."""
    remote: str
    """IP address that the box knocked from."""
    since_s: float
    last_seen_s: float
    is_in: bool = False
    station: str = ""
    """Code of its station; empty when the box is not registered."""
    account: str = ""
    """Whose password it has shown."""


def new_token() -> str:
    """Make 32 upper-case hex digits that nobody can guess."""
    return secrets.token_hex(16).upper()


class BoxLogins:
    """Tokens handed out, boxes let in, failures counted; all bounded by ``BoxLimits``."""

    def __init__(
        self,
        find_box: Callable[[str], Box | None] = lambda mac: None,
        find_account: Callable[[str], Account | None] = lambda user_id: None,
        *,
        unregistered: bool = False,
        token: Callable[[], str] = new_token,
        limits: BoxLimits | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        """Begin empty.

        Args:
            find_box: looks the newest record of a MAC up.
            find_account: looks an account up by its user name.
            unregistered: boxes that are not on record are let in, too.
            token: makes random names.
            limits: bounds.
            throttle: who has to wait, shared with whoever asks for the same passwords; None: one of its own.
        """
        self._find_box, self._find_account, self._token = find_box, find_account, token
        self._unregistered = unregistered
        self.limits = limits or BoxLimits()
        self._waiting: Rows[BoxLogin] = Rows(  # oldest first
            remote=lambda each: each.remote, box=lambda each: (each.mac, each.remote)
        )
        self._in: Rows[BoxLogin] = Rows(  # least recently seen first
            mac=lambda each: each.mac, remote=lambda each: each.remote
        )
        self.throttle = throttle or Throttle(
            ThrottleLimits(
                account_max=self.limits.failures_per_account_max,
                remote_max=self.limits.failures_per_remote_max,
                window_s=self.limits.failure_window_s,
                keys_max=self.limits.failure_keys_max,
            )
        )
        self.refusals: Counter[str] = Counter()
        """How often each ``Refusal`` was met, and ``CLONED``: one MAC at two addresses at once."""

    def __len__(self) -> int:
        """Number of tokens of boxes that are in, some of which may have gone silent."""
        return len(self._in)

    def __iter__(self) -> Iterator[BoxLogin]:
        """All that are in, the least recently seen first."""
        return iter(self._in)

    def knock(self, mac: str, remote: str, now_s: float) -> BoxLogin:
        """Hand out a token; every MAC gets one, so that this does not tell which are registered."""
        limits = self.limits
        waiting = self._waiting
        while (oldest := waiting.oldest()) is not None:
            if now_s - oldest[1].since_s <= limits.waiting_lifetime_s and len(waiting) < limits.waiting_max:
                break
            waiting.pop(oldest[0])
        while waiting.count("remote", remote) >= limits.waiting_per_remote_max:
            waiting.pop(waiting.oldest_of("remote", remote))
        while waiting.count("box", (mac, remote)) >= limits.waiting_per_box_max:
            waiting.pop(waiting.oldest_of("box", (mac, remote)))
        made = BoxLogin(self._token(), mac, remote, now_s, now_s)
        waiting.put(made.token, made)
        return made

    def find(self, token: str, mac: str, remote: str, now_s: float) -> BoxLogin | None:
        """Return what the token speaks for and note a sign of life; None when unknown, idle, moved or retired."""
        login = self._in.get(token) or self._waiting.get(token)
        if login is None or login.mac != mac or login.remote != remote:
            return None
        idle_s = self.limits.login_idle_s if login.is_in else self.limits.waiting_lifetime_s
        if now_s - login.last_seen_s > idle_s or (login.is_in and self._standing(login) is not None):
            self._drop(login)
            return None
        if login.is_in:
            login.last_seen_s = now_s
            self._in.touch(token)
        return login

    def let_in(self, login: BoxLogin, now_s: float, *, is_local: bool = True) -> None:
        """Let a box in that holds a token and is on the local segment; the same MAC at other addresses is put out.

        Raises:
            BoxRefused: with the reason.
        """
        wait_s = self.throttle.wait_s("", login.mac, login.remote, now_s)
        if wait_s > 0 and not login.is_in:
            raise self._refused(login, Refusal.THROTTLED, wait_s)
        if not is_local:
            raise self._refused(login, Refusal.OUTSIDE)
        if (reason := self._standing(login)) is not None:
            if reason in (Refusal.UNREGISTERED, Refusal.RETIRED):  # whoever tries one MAC after the other must wait
                self.throttle.failed("", login.mac, login.remote, now_s)
            raise self._refused(login, reason)
        box = self._find_box(login.mac)
        login.station = box.station if box is not None else ""
        if login.is_in:
            return
        self._put_out_clones(login, now_s)
        self._waiting.pop(login.token)
        self.throttle.succeeded("", login.mac, login.remote)
        self._enter(login, now_s)

    def prove(self, login: BoxLogin, user_id: str, password: str, now_s: float) -> None:
        """Look at a password; once right, ``let_in`` lets the token in.

        Raises:
            BoxRefused: WRONG_PASSWORD counts as a failure of the account and of the address; THROTTLED: it has to wait.
        """
        account = self._find_account(user_id) if len(user_id) <= USER_ID_MAX_CHARS else None
        named = account.user_id if account is not None else ""
        wait_s = self.throttle.wait_s(named, login.mac, login.remote, now_s)
        if wait_s > 0:
            raise self._refused(login, Refusal.THROTTLED, wait_s)
        right = account.password if account is not None else self._token()
        if not hmac.compare_digest(right.encode(), password.encode("utf-8", "replace")) or account is None:
            self.throttle.failed(named, login.mac, login.remote, now_s)
            raise self._refused(login, Refusal.WRONG_PASSWORD)
        self.throttle.succeeded(named, login.mac, login.remote)
        login.account = user_id

    def _standing(self, login: BoxLogin) -> Refusal | None:
        """Tell what speaks against a box now."""
        box = self._find_box(login.mac)
        if box is None:
            return None if self._unregistered else Refusal.UNREGISTERED
        if box.until:
            return Refusal.RETIRED
        return Refusal.NEEDS_ACCOUNT if box.account and login.account != box.account else None

    def _refused(self, login: BoxLogin, reason: Refusal, retry_after_s: float = 0.0) -> BoxRefused:
        self.refusals[reason.value] += 1
        if reason is Refusal.THROTTLED and self.throttle.may_report(f"throttled {login.remote}", login.last_seen_s):
            log.warning("box must wait after failed logins", mac=login.mac, remote=login.remote)
        return BoxRefused(reason, retry_after_s)

    def _put_out_clones(self, login: BoxLogin, now_s: float) -> None:
        for _, each in self._in.all_of("mac", login.mac):
            if each.remote == login.remote:
                continue
            self._drop(each)
            if now_s - each.last_seen_s <= self.limits.clone_window_s:
                self.refusals[CLONED] += 1
                if self.throttle.may_report(f"cloned {login.mac}", now_s):
                    log.warning(
                        "one MAC at two addresses: a cloned box? the older session was ended",
                        mac=login.mac,
                        station=login.station,
                        older=each.remote,
                        newer=login.remote,
                    )

    def _enter(self, login: BoxLogin, now_s: float) -> None:
        limits, there = self.limits, self._in
        for what, value, bound in (
            ("mac", login.mac, limits.logins_per_box_max),
            ("remote", login.remote, limits.logins_per_remote_max),
        ):
            while there.count(what, value) >= bound:
                there.pop(there.oldest_of(what, value))
        while len(there) >= limits.logins_max and (oldest := there.oldest()) is not None:
            there.pop(oldest[0])
        login.is_in, login.last_seen_s = True, now_s
        there.put(login.token, login)

    def _drop(self, login: BoxLogin) -> None:
        self._waiting.pop(login.token)
        self._in.pop(login.token)
