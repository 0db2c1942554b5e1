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

import structlog

from edge_server.sessions.accounts import USER_ID_MAX_CHARS, Account
from edge_server.sessions.authenticator import open_with_any_key, refused_as_odd
from edge_server.sessions.failures import Throttle
from edge_server.sessions.login_limits import LoginLimits
from edge_server.sessions.rows import Rows
from edge_server.sessions.zones import Zones
from wire import ctc

log = structlog.get_logger()
RETRY_WINDOW_S = 30.0
"""A box whose reply got lost sends the same Authenticator again; for so long it gets the same login."""
STBID_MAX_CHARS = 64
_STBID = re.compile(rf"[0-9A-Za-z:._-]{{1,{STBID_MAX_CHARS}}}")


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
        throttle: Throttle | None = None,
    ) -> None:
        """Begin empty.

        Args:
            find_account: looks an account up by its user name.
            token: makes random names.
            limits: bounds.
            intolerant: disagreements (D1 to D4) that are not lived with; for laboratories.
            zones: what a box means by a moment without a zone.
            throttle: who has to wait, shared with whoever asks for the same passwords; None: one of its own.
        """
        self._zones = zones or Zones()
        self._intolerant = intolerant
        self._find_account, self._token = find_account, token
        self.limits = limits or LoginLimits()
        self.throttle = throttle or Throttle(self.limits.throttle)
        self._challenges: Rows[Challenge] = Rows(remote=lambda each: each.remote)
        self._used: OrderedDict[str, _Used] = OrderedDict()
        self._logins: Rows[Login] = Rows(  # least recently seen first
            user=lambda each: each.user_id,
            box=lambda each: (each.user_id, each.stbid),
            place=lambda each: (each.stbid, each.remote),
            remote=lambda each: each.remote,
        )
        self._by_user_token: Rows[Login] = Rows(  # oldest login first
            box=lambda each: (each.user_id, each.stbid), seat=lambda each: (each.user_id, each.remote)
        )
        self.deviations: Counter[str] = Counter()
        """How often each tolerated deviation of an Authenticator was met; keys are codes of ``wire.ctc``."""
        self.refusals: Counter[str] = Counter()
        self._nobodys_password = token()

    def __len__(self) -> int:
        """Number of boxes logged in, some of which may have gone silent."""
        return len(self._logins)

    def __iter__(self) -> Iterator[Login]:
        """All logins, the least recently seen first."""
        return iter(self._logins)

    def newest_at(self, remote: str) -> Login | None:
        """Return the login at an address that was seen last; None when there is none, or it has been silent."""
        return self._logins.newest_of("remote", remote)

    def account(self, user_id: str) -> Account | None:
        """Look an account up."""
        return self._find_account(user_id) if 0 < len(user_id) <= USER_ID_MAX_CHARS else None

    def issue(self, user_id: str, remote: str, now_s: float) -> Challenge:
        """Hand out an EncryptToken. Unknown users get one too, so that H3 does not tell who exists."""
        self._drop_old_challenges(now_s)
        challenge = Challenge(self._token(), self._token(), user_id[:USER_ID_MAX_CHARS], remote, now_s)
        challenges = self._challenges
        while challenges.count("remote", remote) >= self.limits.tokens_per_remote_max:
            challenges.pop(challenges.oldest_of("remote", remote))
        while len(challenges) >= self.limits.tokens_max and (oldest := challenges.oldest()) is not None:
            challenges.pop(oldest[0])
        challenges.put(challenge.encrypt_token, challenge)
        return challenge

    def log_in(self, attempt: Attempt, now_s: float) -> Login:
        """Check one Authenticator and log the box in; an older login of the same box and user ends.

        Raises:
            LoginRefused: with the reason. Every refusal except THROTTLED counts as a failure.
        """
        account, box = self.account(attempt.user_id), attempt.stbid[:STBID_MAX_CHARS]
        self._throttle(account, box, attempt.remote, now_s)
        self._drop_old_challenges(now_s)
        try:
            login = self._admit(account, attempt, now_s)
        except LoginRefused as refused:
            self._note_failure(refused, account, box, attempt.remote, now_s)
            raise
        self.throttle.succeeded(login.user_id, box, attempt.remote)
        return login

    def check_password(self, user_id: str, password: str, remote: str, now_s: float) -> Account:
        """Check a password that a player sends with each request; nothing is remembered but failures.

        Such players name no box, so an account that is bound to one is not for them (SEC-07).

        Raises:
            LoginRefused: UNKNOWN_USER, WRONG_PASSWORD, OTHER_BOX or THROTTLED; all but the last count as failures.
        """
        account = self.account(user_id)
        self._throttle(account, "", remote, now_s)
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
            self._note_failure(refused, account, "", remote, now_s)
            raise
        self.throttle.succeeded(account.user_id, "", remote)
        return account

    def _note_failure(
        self, refused: LoginRefused, account: Account | None, box: str, remote: str, now_s: float
    ) -> None:
        self.refusals[refused.reason.value] += 1
        self.throttle.failed(account.user_id if account else "", box, remote, now_s)

    def _throttle(self, account: Account | None, box: str, remote: str, now_s: float) -> None:
        wait_s = self.throttle.wait_s(account.user_id if account else "", box, remote, now_s)
        if wait_s > 0:
            self.refusals[Refusal.THROTTLED.value] += 1
            if self.throttle.may_report(f"throttled {remote}", now_s):
                log.warning(
                    "box must wait after failed logins", account=account.user_id if account else "", remote=remote
                )
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
        self._challenges.pop(token)
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
        box, logins, tokens = (login.user_id, login.stbid), self._logins, self._by_user_token
        for session_id, _ in logins.all_of("box", box):
            self.log_out(session_id)
        while logins.count("user", login.user_id) >= self.limits.logins_per_user_max:
            self.log_out(logins.oldest_of("user", login.user_id))
        for token, _ in tokens.all_of("box", box):  # a login that ran out is over once the box has another
            tokens.pop(token)
        while len(tokens) >= self.limits.logins_max and (oldest := tokens.oldest()) is not None:
            tokens.pop(oldest[0])
        tokens.put(login.user_token, login)
        self._place(login)

    def _place(self, login: Login) -> None:
        while len(self._logins) >= self.limits.logins_max and (oldest := self._logins.oldest()) is not None:
            self._logins.pop(oldest[0])
        self._logins.put(login.session_id, login)

    def renew(self, user_token: str, remote: str, now_s: float) -> Login | None:
        """Return the login of a UserToken, with a new session if the old one ran out; for boxes without a heartbeat.

        None when the token is unknown or too old, its account is gone, or another address sends it.
        """
        self._drop_old_user_tokens(now_s)
        login = self._by_user_token.get(user_token)
        if login is None or login.remote != remote or not self._stands(login):
            return None
        if self.find(login.session_id, now_s) is None:
            login.session_id, login.last_seen_s = self._token(), now_s
            self._place(login)
        return login

    def find(self, session_id: str, now_s: float) -> Login | None:
        """Return the login behind a JSESSIONID and note that the box was seen.

        None when unknown or idle too long, or when its account was removed or bound to another box meanwhile: else
        heartbeats would keep it alive for ever.
        """
        login = self._logins.get(session_id)
        if login is None:
            return None
        if not self._stands(login):
            self.log_out(session_id)
            return None
        if now_s - login.last_seen_s > self.limits.login_idle_s:
            self._logins.pop(session_id)
            return None
        login.last_seen_s = now_s
        self._logins.touch(session_id)
        return login

    def _stands(self, login: Login) -> bool:
        account = self.account(login.user_id)
        return account is not None and account.stbid in (None, login.stbid)

    def find_box(self, stbid: str, remote: str, now_s: float) -> Login | None:
        """Return the login of a box at that address; for heartbeats of agents that send no cookie."""
        login = self._logins.newest_of("place", (stbid, remote))
        return self.find(login.session_id, now_s) if login is not None else None

    def log_out(self, session_id: str) -> bool:
        """End one login; True when there was one."""
        login = self._logins.pop(session_id)
        if login is not None:
            self._by_user_token.pop(login.user_token)
        return login is not None

    def log_out_user(self, user_id: str, remote: str) -> int:
        """End all logins of a user at that address; for boxes that log out without their cookie."""
        gone = [name for name, each in self._logins.all_of("user", user_id) if each.remote == remote]
        for each in gone:
            self.log_out(each)
        for token, _ in self._by_user_token.all_of("seat", (user_id, remote)):
            self._by_user_token.pop(token)
        return len(gone)

    def expire(self, now_s: float) -> int:
        """Drop what has run out; return the number of logins that ended. ``find`` never returns those anyway."""
        self._drop_old_challenges(now_s)
        self._drop_old_user_tokens(now_s)
        gone = [each.session_id for each in self if now_s - each.last_seen_s > self.limits.login_idle_s]
        for each in gone:
            self._logins.pop(each)
        return len(gone)

    def _drop_old_user_tokens(self, now_s: float) -> None:
        while (oldest := self._by_user_token.oldest()) is not None:
            if now_s - oldest[1].since_s <= self.limits.user_token_lifetime_s:
                break
            self._by_user_token.pop(oldest[0])

    def _drop_old_challenges(self, now_s: float) -> None:
        while (oldest := self._challenges.oldest()) is not None:
            if now_s - oldest[1].issued_s <= self.limits.token_lifetime_s:
                break
            self._challenges.pop(oldest[0])
        while self._used:
            token, first = next(iter(self._used.items()))
            if now_s <= first.until_s:
                break
            del self._used[token]
