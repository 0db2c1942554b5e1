"""Counts failures, so that whoever guesses has to wait. Pure: time comes in as an argument (monotonic seconds).

Two things must not happen: that a password can be tried out, and that somebody who tries (or a box with a wrong one)
keeps others waiting. A box that logged in before, from the same address, is *known*: only what was tried in its own
name makes it wait. All others share what their account and their address may try.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Failures:
    """Times of the last failures per key; the oldest key goes when there are too many."""

    keys_max: int
    times: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)

    def wait_s(self, key: str, limit: int, window_s: float, now_s: float) -> float:
        """Return how long the key must wait; 0 when it may try."""
        times = self.times.get(key)
        return max(0.0, times[0] + window_s - now_s) if times and len(times) >= limit else 0.0

    def note(self, key: str, limit: int, now_s: float) -> None:
        """Remember one failure."""
        self.times.setdefault(key, deque(maxlen=limit)).append(now_s)
        self.times.move_to_end(key)
        if len(self.times) > self.keys_max:
            self.times.popitem(last=False)


@dataclass(frozen=True, slots=True)
class ThrottleLimits:
    """Failures within ``window_s`` after which one has to wait (SEC-08: at most five a minute)."""

    account_max: int = 5
    """Of one account, by boxes that are not known: all of them together, wherever they are."""
    known_max: int = 3
    """In the name of one known box, from its address."""
    account_in_all_max: int = 10
    """Of one account, by known boxes too: who knows the names of many boxes gains nothing beyond."""
    remote_max: int = 20
    """Of one address, over all accounts, by boxes that are not known."""
    window_s: float = 60.0
    keys_max: int = 8192
    known_boxes_max: int = 16384


class Throttle:
    """Who has to wait. ``box`` is whatever a box calls itself, ``""`` when it says nothing."""

    def __init__(self, limits: ThrottleLimits | None = None) -> None:
        """Begin with nobody known."""
        self.limits = limits or ThrottleLimits()
        self._known: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self.accounts, self.remotes, self.boxes, self.in_all = (Failures(self.limits.keys_max) for _ in range(4))
        self._reported = Failures(self.limits.keys_max)

    def wait_s(self, account: str, box: str, remote: str, now_s: float) -> float:
        """Return how long this box must wait before it may try again; ``account`` is empty when there is none."""
        limits, window_s = self.limits, self.limits.window_s
        waits = [self.in_all.wait_s(account, limits.account_in_all_max, window_s, now_s)]
        if (account, box, remote) in self._known:
            waits.append(self.boxes.wait_s(_name(account, box, remote), limits.known_max, window_s, now_s))
        else:
            waits.append(self.accounts.wait_s(account, limits.account_max, window_s, now_s))
            waits.append(self.remotes.wait_s(remote, limits.remote_max, window_s, now_s))
        return max(waits)

    def failed(self, account: str, box: str, remote: str, now_s: float) -> None:
        """Note a failure. Names of accounts that do not exist are not counted as such: they would fill the table."""
        limits = self.limits
        if account:
            self.in_all.note(account, limits.account_in_all_max, now_s)
        if (account, box, remote) in self._known:
            self.boxes.note(_name(account, box, remote), limits.known_max, now_s)
            return
        if account:
            self.accounts.note(account, limits.account_max, now_s)
        self.remotes.note(remote, limits.remote_max, now_s)

    def may_report(self, what: str, now_s: float) -> bool:
        """Keep a line of the log from being written more than once a minute."""
        if self._reported.wait_s(what, 1, self.limits.window_s, now_s) > 0:
            return False
        self._reported.note(what, 1, now_s)
        return True

    def succeeded(self, account: str, box: str, remote: str) -> None:
        """Know this box from now on; the one not seen for longest is forgotten when there are too many."""
        key = account, box, remote
        self._known[key] = None
        self._known.move_to_end(key)
        if len(self._known) > self.limits.known_boxes_max:
            self._known.popitem(last=False)


def _name(account: str, box: str, remote: str) -> str:
    return f"{account}\n{box}\n{remote}"
