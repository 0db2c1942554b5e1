"""Who is logged in through an old box's portal. A pure table: time comes in as an argument, nothing is stored.

One login takes two steps: ``issue`` hands out an EncryptToken, ``log_in`` checks the Authenticator that the box made
from it (stb_protocols §2.1 H3 and H4, §2.4). All times are monotonic seconds.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import Enum

from edge_server.sessions.accounts import USER_ID_MAX_CHARS, Account
from edge_server.sessions.authenticator import open_with_any_key, refused_as_odd
from edge_server.sessions.failures import Failures
from edge_server.sessions.zones import Zones
from wire import ctc

RETRY_WINDOW_S = 30.0
"""A box whose reply got lost sends the same Authenticator again; for so long it gets the same login."""
STBID_MAX_CHARS = 64
_STBID = re.compile(rf"[0-9A-Za-z:._-]{{1,{STBID_MAX_CHARS}}}")


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """Bounds of the table. The rates follow SEC-08 (dictionary login is throttled)."""

    tokens_max: int = 4096
    tokens_per_remote_max: int = 128
    """One address that asks for more loses its own oldest tokens, nobody else's."""
    token_lifetime_s: float = 300.0
    logins_max: int = 16384
    logins_per_user_max: int = 512
    login_idle_s: float = 2700.0
    """Three heartbeats of the slowest kind (900 s) may be missed."""
    user_token_lifetime_s: float = 86400.0
    """For so long after a login its UserToken gives a new session when the old one ran out (stb_protocols §3.3)."""
    failures_per_user_max: int = 5
    failures_per_remote_max: int = 20
    """More than for a user, since several stations may come through one translated address."""
    failure_window_s: float = 60.0
    failure_keys_max: int = 8192


class Refusal(Enum):
    """Why a login is refused."""

    UNKNOWN_USER = "unknown-user"
    WRONG_PASSWORD = "wrong-password"
    """No key derived from the account's password opens the Authenticator."""
    TOKEN_STALE = "token-stale"
    """The EncryptToken was never issued to this account, has expired, or was used before."""
    OTHER_BOX = "other-box"
    """The STBID differs between form, Authenticator and account, or no box could have it."""
    THROTTLED = "throttled"


class LoginRefused(Exception):
    """The box is not logged in; ``reason`` says why, ``retry_after_s`` is above 0 when throttled."""

    def __init__(self, reason: Refusal, retry_after_s: float = 0.0) -> None:
        """Carry the reason."""
        super().__init__(reason.value)
        self.reason, self.retry_after_s = reason, retry_after_s


@dataclass(frozen=True, slots=True)
class Challenge:
    """The answer to H3: one EncryptToken and the first JSESSIONID."""

    encrypt_token: str
    session_id: str
    user_id: str
    remote: str
    issued_s: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the box sends in H4, as far as it is judged. Missing fields are empty."""

    user_id: str
    authenticator: str
    """Hex."""
    stbid: str
    face: ctc.Face
    remote: str
    charset: str = ""
    """Of all pages for this box where its portal knows; empty: as the account says."""
    model: str = ""
    """What the box calls itself: STBType and User-Agent."""


@dataclass(slots=True)
class Login:
    """One logged-in box."""

    session_id: str
    """Value of JSESSIONID since H4."""
    first_session_id: str
    """Value of JSESSIONID since H3; some boxes make their tempKey from it."""
    user_id: str
    face: ctc.Face
    stbid: str
    user_token: str
    charset: str
    remote: str
    since_s: float
    last_seen_s: float
    key_rule: str
    """Which derivation opened the Authenticator, e.g. ``0002 unpadded``."""
    zone_minutes: int = 0
    """Ahead of UTC, where the box spells moments that name no zone (D12)."""


def new_token() -> str:
    """Make 32 upper-case hex digits that nobody can guess."""
    return secrets.token_hex(16).upper()


@dataclass(slots=True)
class _Used:
    login: Login
    until_s: float


class Logins:
    """Tokens handed out, boxes logged in, failures counted; all bounded by ``LoginLimits``."""

    def __init__(
        self,
        find_account: Callable[[str], Account | None],
        *,
        token: Callable[[], str] = new_token,
        limits: LoginLimits | None = None,
        intolerant: Collection[str] = (),
        zones: Zones | None = None,
    ) -> None:
        """Begin empty; ``find_account`` looks an account up by its user name, ``token`` makes random names.

        ``intolerant`` names disagreements (D1 to D4) that are not lived with; for laboratories. ``zones`` tells what
        a box means by a moment without a zone.
        """
        self._zones = zones or Zones()
        self._intolerant = intolerant
        self._find_account, self._token = find_account, token
        self.limits = limits or LoginLimits()
        self._challenges: OrderedDict[str, Challenge] = OrderedDict()
        self._used: OrderedDict[str, _Used] = OrderedDict()
        self._logins: OrderedDict[str, Login] = OrderedDict()  # least recently seen first
        self._by_user_token: OrderedDict[str, Login] = OrderedDict()  # oldest login first
        self._user_failures = Failures(self.limits.failure_keys_max)
        self._remote_failures = Failures(self.limits.failure_keys_max)
        self.deviations: Counter[str] = Counter()
        """How often each tolerated deviation of an Authenticator was met; keys are codes of ``wire.ctc``."""
        self.refusals: Counter[str] = Counter()
        self._nobodys_password = token()

    def __len__(self) -> int:
        """Number of boxes logged in, some of which may have gone silent."""
        return len(self._logins)

    def __iter__(self) -> Iterator[Login]:
        """All logins, the least recently seen first."""
        return iter(tuple(self._logins.values()))

    def account(self, user_id: str) -> Account | None:
        """Look an account up."""
        return self._find_account(user_id) if 0 < len(user_id) <= USER_ID_MAX_CHARS else None

    def issue(self, user_id: str, remote: str, now_s: float) -> Challenge:
        """Hand out an EncryptToken. Unknown users get one too, so that H3 does not tell who exists."""
        self._drop_old_challenges(now_s)
        challenge = Challenge(self._token(), self._token(), user_id[:USER_ID_MAX_CHARS], remote, now_s)
        mine = [key for key, each in self._challenges.items() if each.remote == remote]
        for key in mine[: max(0, len(mine) + 1 - self.limits.tokens_per_remote_max)]:
            del self._challenges[key]
        while len(self._challenges) >= self.limits.tokens_max:
            self._challenges.popitem(last=False)
        self._challenges[challenge.encrypt_token] = challenge
        return challenge

    def log_in(self, attempt: Attempt, now_s: float) -> Login:
        """Check one Authenticator and log the box in; an older login of the same box and user ends.

        Raises:
            LoginRefused: with the reason. Every refusal except THROTTLED counts as a failure.
        """
        account = self.account(attempt.user_id)
        self._throttle(account, attempt.remote, now_s)
        self._drop_old_challenges(now_s)
        try:
            return self._admit(account, attempt, now_s)
        except LoginRefused as refused:
            self._note_failure(refused, account, attempt.remote, now_s)
            raise

    def check_password(self, user_id: str, password: str, remote: str, now_s: float) -> Account:
        """Check a password that a player sends with each request; nothing is remembered but failures.

        Such players name no box, so an account that is bound to one is not for them (SEC-07).

        Raises:
            LoginRefused: UNKNOWN_USER, WRONG_PASSWORD, OTHER_BOX or THROTTLED; all but the last count as failures.
        """
        account = self.account(user_id)
        self._throttle(account, remote, now_s)
        known = account.password if account is not None else self._nobodys_password
        # As long for a name that is not there, and for a first letter that is wrong.
        right = hmac.compare_digest(known.encode(), password.encode("utf-8", "surrogatepass"))
        try:
            if account is None:
                raise LoginRefused(Refusal.UNKNOWN_USER)
            if not right:
                raise LoginRefused(Refusal.WRONG_PASSWORD)
            if account.stbid is not None:
                raise LoginRefused(Refusal.OTHER_BOX)
        except LoginRefused as refused:
            self._note_failure(refused, account, remote, now_s)
            raise
        return account

    def _note_failure(self, refused: LoginRefused, account: Account | None, remote: str, now_s: float) -> None:
        self.refusals[refused.reason.value] += 1
        self._remote_failures.note(remote, self.limits.failures_per_remote_max, now_s)
        if account is not None:  # unknown names would fill the table
            self._user_failures.note(account.user_id, self.limits.failures_per_user_max, now_s)

    def _throttle(self, account: Account | None, remote: str, now_s: float) -> None:
        limits = self.limits
        wait_s = self._remote_failures.wait_s(remote, limits.failures_per_remote_max, limits.failure_window_s, now_s)
        if account is not None:
            wait_s = max(
                wait_s,
                self._user_failures.wait_s(
                    account.user_id, limits.failures_per_user_max, limits.failure_window_s, now_s
                ),
            )
        if wait_s > 0:
            self.refusals[Refusal.THROTTLED.value] += 1
            raise LoginRefused(Refusal.THROTTLED, wait_s)

    def _admit(self, account: Account | None, attempt: Attempt, now_s: float) -> Login:
        if account is None:
            raise LoginRefused(Refusal.UNKNOWN_USER)
        opened = open_with_any_key(attempt.authenticator, account, intolerant=self._intolerant)
        if opened is None:
            raise LoginRefused(Refusal.WRONG_PASSWORD)
        plain, key_rule = opened
        if refused_as_odd(plain, attempt.remote, self._intolerant):
            raise LoginRefused(Refusal.WRONG_PASSWORD)
        if plain.stbid != (attempt.stbid or plain.stbid) or account.stbid not in (None, plain.stbid):
            raise LoginRefused(Refusal.OTHER_BOX)
        if not _STBID.fullmatch(plain.stbid):
            raise LoginRefused(Refusal.OTHER_BOX)
        token = plain.encrypt_token.upper()  # hex digits: some boxes are given them in lower case
        used = self._used.get(token)
        if used is not None and (used.login.user_id, used.login.stbid) == (account.user_id, plain.stbid):
            if self._logins.get(used.login.session_id) is used.login:
                return used.login
            raise LoginRefused(Refusal.TOKEN_STALE)
        challenge = self._challenges.get(token)
        if challenge is None or challenge.user_id != account.user_id:
            raise LoginRefused(Refusal.TOKEN_STALE)
        del self._challenges[token]
        self.deviations.update(each.code for each in plain.deviations)
        login = Login(
            session_id=self._token(),
            first_session_id=challenge.session_id,
            user_id=account.user_id,
            face=attempt.face,
            stbid=plain.stbid,
            user_token=self._token(),
            charset=attempt.charset or account.charset,
            remote=attempt.remote,
            since_s=now_s,
            last_seen_s=now_s,
            key_rule=key_rule,
            zone_minutes=self._zones.of(account, attempt.model),
        )
        self._enter(login)
        self._used[token] = _Used(login, now_s + RETRY_WINDOW_S)
        return login

    def _enter(self, login: Login) -> None:
        mine = [each for each in self._logins.values() if each.user_id == login.user_id]
        gone = [each for each in mine if _same_box(each, login)]
        others = [each for each in mine if each.stbid != login.stbid]
        gone += others[: max(0, len(others) + 1 - self.limits.logins_per_user_max)]
        for each in gone:
            self.log_out(each.session_id)
        stale = [token for token, each in self._by_user_token.items() if _same_box(each, login)]
        for token in stale:  # a login that ran out is over once the box has another
            del self._by_user_token[token]
        while len(self._by_user_token) >= self.limits.logins_max:
            self._by_user_token.popitem(last=False)
        self._by_user_token[login.user_token] = login
        self._place(login)

    def _place(self, login: Login) -> None:
        while len(self._logins) >= self.limits.logins_max:
            self._logins.popitem(last=False)
        self._logins[login.session_id] = login

    def renew(self, user_token: str, remote: str, now_s: float) -> Login | None:
        """Return the login of a UserToken, with a new session if the old one ran out; for boxes without a heartbeat.

        None when the token is unknown or too old, its account is gone, or another address sends it.
        """
        self._drop_old_user_tokens(now_s)
        login = self._by_user_token.get(user_token)
        if login is None or login.remote != remote or self.account(login.user_id) is None:
            return None
        if self.find(login.session_id, now_s) is None:
            login.session_id, login.last_seen_s = self._token(), now_s
            self._place(login)
        return login

    def find(self, session_id: str, now_s: float) -> Login | None:
        """Return the login behind a JSESSIONID and note that the box was seen; None when unknown or idle too long."""
        login = self._logins.get(session_id)
        if login is None:
            return None
        if now_s - login.last_seen_s > self.limits.login_idle_s:
            del self._logins[session_id]
            return None
        login.last_seen_s = now_s
        self._logins.move_to_end(session_id)
        return login

    def find_box(self, stbid: str, remote: str, now_s: float) -> Login | None:
        """Return the login of a box at that address; for heartbeats of agents that send no cookie."""
        for login in reversed(self._logins.values()):
            if (login.stbid, login.remote) == (stbid, remote):
                return self.find(login.session_id, now_s)
        return None

    def log_out(self, session_id: str) -> bool:
        """End one login; True when there was one."""
        login = self._logins.pop(session_id, None)
        if login is not None:
            self._by_user_token.pop(login.user_token, None)
        return login is not None

    def log_out_user(self, user_id: str, remote: str) -> int:
        """End all logins of a user at that address; for boxes that log out without their cookie."""
        gone = [each.session_id for each in self if (each.user_id, each.remote) == (user_id, remote)]
        for each in gone:
            self.log_out(each)
        idle = [key for key, each in self._by_user_token.items() if (each.user_id, each.remote) == (user_id, remote)]
        for each in idle:
            del self._by_user_token[each]
        return len(gone)

    def expire(self, now_s: float) -> int:
        """Drop what has run out; return the number of logins that ended. ``find`` never returns those anyway."""
        self._drop_old_challenges(now_s)
        self._drop_old_user_tokens(now_s)
        gone = [each.session_id for each in self if now_s - each.last_seen_s > self.limits.login_idle_s]
        for each in gone:
            del self._logins[each]
        return len(gone)

    def _drop_old_user_tokens(self, now_s: float) -> None:
        while self._by_user_token:
            token, oldest = next(iter(self._by_user_token.items()))
            if now_s - oldest.since_s <= self.limits.user_token_lifetime_s:
                break
            del self._by_user_token[token]

    def _drop_old_challenges(self, now_s: float) -> None:
        while self._challenges:
            token, oldest = next(iter(self._challenges.items()))
            if now_s - oldest.issued_s <= self.limits.token_lifetime_s:
                break
            del self._challenges[token]
        while self._used:
            token, first = next(iter(self._used.items()))
            if now_s <= first.until_s:
                break
            del self._used[token]


def _same_box(one: Login, other: Login) -> bool:
    return (one.user_id, one.stbid) == (other.user_id, other.stbid)
