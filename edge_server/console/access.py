"""Who may operate this edge: one password, set with a code that only the console of the machine shows (SEC-08). Pure.

There is no default password: until one is set, the set-up code is the only way in, and it is good for setting one only.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

CODE_DIGITS = 8
PASSWORD_MIN_LETTERS = 8
PASSWORD_MAX_LETTERS = 128
COMMON = frozenset(
    {"12345678", "123456789", "1234567890", "87654321", "11111111", "00000000", "88888888", "66666666", "password"}
)
LOGINS_MAX_COUNT = 64
IDLE_MAX_S = 2 * 3600.0
LOGIN_MAX_S = 12 * 3600.0
TRIES_MAX_COUNT = 5
TRIES_WINDOW_S = 60.0
"""For all addresses together: an operator is one person, and a guesser has many addresses."""


@dataclass(slots=True)
class _Login:
    began_s: float
    seen_s: float
    token: str
    """What its forms carry (CSRF)."""


class OperatorLogins:
    """The logins of this process. Times are monotonic seconds."""

    def __init__(self) -> None:
        """Nobody is in."""
        self._table: OrderedDict[str, _Login] = OrderedDict()
        self._tries: deque[float] = deque(maxlen=TRIES_MAX_COUNT)

    def wait_s(self, now_s: float) -> float:
        """Return how long whoever wants in must wait; 0 when they may try."""
        if len(self._tries) < TRIES_MAX_COUNT:
            return 0.0
        return max(0.0, self._tries[0] + TRIES_WINDOW_S - now_s)

    def failed(self, now_s: float) -> None:
        """Note a wrong password or code."""
        self._tries.append(now_s)

    def enter(self, key: str, token: str, now_s: float) -> None:
        """Let somebody in under a random key; the oldest goes when there are too many."""
        self._table[key] = _Login(now_s, now_s, token)
        while len(self._table) > LOGINS_MAX_COUNT:
            self._table.popitem(last=False)

    def token_of(self, key: str, now_s: float) -> str | None:
        """Return the token of a login, which this keeps alive; None when it is none, or over."""
        found = self._table.get(key)
        if found is None:
            return None
        if now_s - found.seen_s >= IDLE_MAX_S or now_s - found.began_s >= LOGIN_MAX_S:
            del self._table[key]
            return None
        found.seen_s = now_s
        return found.token

    def leave(self, key: str) -> None:
        """Forget a login."""
        self._table.pop(key, None)

    def clear(self) -> None:
        """Forget all: the password is another."""
        self._table.clear()


def why_weak(password: str) -> str | None:
    """Return what is wrong with a new password, in both languages; None when it will do."""
    if not PASSWORD_MIN_LETTERS <= len(password) <= PASSWORD_MAX_LETTERS:
        return f"密码须有 {PASSWORD_MIN_LETTERS} 个字符以上 / at least {PASSWORD_MIN_LETTERS} characters"
    if password.lower() in COMMON or len(set(password)) < 4:
        return "这个密码太常见，请换一个 / too common; choose another"
    return None
