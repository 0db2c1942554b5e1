"""Study sessions (集中学习): a tap begins, a tap ends; what counts is media that left and somebody who answers. Pure.

Times in ``_s`` are monotonic seconds. A station has one session at a time. While it runs, a number is asked for now and
then; who watches types it (SEC-10: a screen that is on with nobody before it counts for nothing).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import msgspec

from domain.records import SessionRecord

STATIONS_MAX_COUNT = 2048
"""With a session at the same time; a county has 1,132 stations."""
EFFECTIVE_MIN_S = 300.0
"""A shorter session counts for nothing (requirements §2, 有效学习时长)."""
FIRST_CHALLENGE_S = (60.0, 180.0)
CHALLENGE_EVERY_S = (600.0, 1080.0)
CHALLENGE_OPEN_S = 240.0
"""Time to answer: a remote control, an old browser, and a walk through the hall."""
TRIES_MAX_COUNT = 3
"""Of one challenge, so that nobody tries all numbers."""
SESSION_MAX_S = 6 * 3600.0
SILENT_MAX_S = 1800.0
"""Neither media nor pages for so long: somebody forgot to end it."""

Random = Callable[[int], int]
"""Gives a number from 0 below the argument."""


class StationsFull(Exception):
    """STATIONS_MAX_COUNT sessions are running."""


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """A number that somebody has to type."""

    code: str
    """Three digits."""
    until_s: float
    tries: int = 0


class Studying(msgspec.Struct, frozen=True, kw_only=True):
    """A running session."""

    session: str
    station: str
    item_id: str
    plan: str
    began_at: datetime
    began_s: float
    viewing: int
    """Of the ticket whose media count."""
    remote: str = ""
    """Address from which it was begun; media by RTSP count for an address."""
    by_address_bytes: int = 0
    """That had left for the address before."""
    media_bps: int
    """Average of the lesson; tells how much time so many bytes are."""
    head_count: int = 0
    challenge: Challenge | None = None
    next_challenge_s: float = 0.0
    asked: int = 0
    passed: int = 0
    delivered_bytes: int = 0
    """As they were when somebody looked last."""
    last_seen_s: float = 0.0
    last_seen_at: datetime | None = None

    def wall_s(self, now_s: float) -> float:
        """How long it has been running; it does not grow while nobody was there."""
        return max(0.0, min(now_s, self.last_seen_s + SILENT_MAX_S) - self.began_s)


class StudySessions:
    """The running sessions of all stations of an edge."""

    def __init__(self, random: Random) -> None:
        """``random`` chooses numbers and moments; give one that cannot be foretold."""
        self._random = random
        self._table: dict[str, Studying] = {}
        self.changed = False
        """Set when something is worth keeping on the disk; whoever keeps it clears it."""

    def __iter__(self) -> Iterator[Studying]:
        """Walk a copy."""
        return iter(tuple(self._table.values()))

    def count(self) -> int:
        """Count the running sessions."""
        return len(self._table)

    def at(self, station: str) -> Studying | None:
        """Return the session of a station."""
        return self._table.get(station)

    def begin(
        self,
        station: str,
        *,
        item_id: str,
        media_bps: int,
        now: datetime,
        now_s: float,
        plan: str = "",
        heads: int = 0,
        remote: str = "",
        by_address_bytes: int = 0,
    ) -> tuple[Studying, SessionRecord | None]:
        """Begin; one that is still running there ends, and its record is returned, too.

        Raises:
            StationsFull: see there.
        """
        before = self.end(station, now=now, now_s=now_s)
        if len(self._table) >= STATIONS_MAX_COUNT:
            raise StationsFull(f"{STATIONS_MAX_COUNT} sessions are running")
        made = Studying(
            session=f"{self._random(1 << 64):016x}",
            station=station,
            item_id=item_id,
            plan=plan,
            began_at=now,
            began_s=now_s,
            viewing=self._random((1 << 63) - 1) + 1,
            media_bps=max(1, media_bps),
            head_count=heads,
            remote=remote,
            by_address_bytes=by_address_bytes,
            next_challenge_s=now_s + self._between(FIRST_CHALLENGE_S),
            last_seen_s=now_s,
            last_seen_at=now,
        )
        self._put(made)
        return made, before

    def heads(self, station: str, count: int) -> Studying | None:
        """Note how many came."""
        found = self._table.get(station)
        return None if found is None else self._put(msgspec.structs.replace(found, head_count=count))

    def look(self, station: str, *, delivered_bytes: int, now: datetime, now_s: float) -> Studying | None:
        """Note that a page of the session was asked for, or that media left; a challenge may become due, or run out."""
        found = self._table.get(station)
        if found is None:
            return None
        challenge = found.challenge
        if challenge is not None and now_s >= challenge.until_s:
            found = msgspec.structs.replace(found, challenge=None)
        if found.challenge is None and now_s >= found.next_challenge_s:
            found = self._challenged(found, now_s)
        return self._put(
            msgspec.structs.replace(
                found,
                delivered_bytes=max(found.delivered_bytes, delivered_bytes),
                last_seen_s=now_s,
                last_seen_at=now,
            )
        )

    def ask_now(self, station: str, now_s: float) -> Studying | None:
        """Challenge at once, unless one is open or was passed: before the end, on a box that shows nothing else."""
        found = self._table.get(station)
        if found is None or found.passed or (found.challenge is not None and now_s < found.challenge.until_s):
            return found
        return self._put(self._challenged(found, now_s))

    def answer(self, station: str, typed: str, now_s: float) -> bool | None:
        """Take what somebody typed; None when nothing is asked there."""
        found = self._table.get(station)
        challenge = found.challenge if found is not None else None
        if found is None or challenge is None or now_s >= challenge.until_s:
            return None
        if typed.strip() == challenge.code:
            self._put(msgspec.structs.replace(found, challenge=None, passed=found.passed + 1))
            return True
        tries = challenge.tries + 1
        left = msgspec.structs.replace(challenge, tries=tries) if tries < TRIES_MAX_COUNT else None
        self._put(msgspec.structs.replace(found, challenge=left))
        return False

    def end(self, station: str, *, now: datetime, now_s: float, cut: bool = False) -> SessionRecord | None:
        """End a session and return its record; None when there is none."""
        found = self._table.pop(station, None)
        if found is None:
            return None
        self.changed = True
        wall_s = found.wall_s(now_s)
        return record_of(found, wall_s, cut=cut)

    def restore(self, studying: Studying) -> None:
        """Put a session back that was ended but could not be recorded."""
        self._put(studying)

    def forgotten(self, now_s: float) -> list[str]:
        """List stations whose session has been silent or has lasted too long; end them."""
        return [
            each.station
            for each in self._table.values()
            if now_s - each.last_seen_s >= SILENT_MAX_S or now_s - each.began_s >= SESSION_MAX_S
        ]

    def _challenged(self, found: Studying, now_s: float) -> Studying:
        challenge = Challenge(code=f"{self._random(900) + 100}", until_s=now_s + CHALLENGE_OPEN_S)
        after = now_s + self._between(CHALLENGE_EVERY_S)
        return msgspec.structs.replace(found, challenge=challenge, asked=found.asked + 1, next_challenge_s=after)

    def _between(self, bounds: tuple[float, float]) -> float:
        low, high = bounds
        return low + self._random(int(high - low) + 1)

    def _put(self, studying: Studying) -> Studying:
        self._table[studying.station] = studying
        self.changed = True
        return studying


def record_of(found: Studying, wall_s: float, *, cut: bool) -> SessionRecord:
    """Judge a session that lasted so many seconds."""
    played_s = min(wall_s, found.delivered_bytes * 8 / found.media_bps)
    return SessionRecord(
        session=found.session,
        item_id=found.item_id,
        began_at=_text(found.began_at),
        ended_at=_text(found.began_at + timedelta(seconds=wall_s)),
        head_count=found.head_count,
        plan=found.plan,
        delivered_bytes=found.delivered_bytes,
        played_s=round(played_s, 1),
        challenged=found.asked,
        passed=found.passed,
        effective_s=round(effective_s(wall_s, played_s, found.asked, found.passed), 1),
        cut=cut,
    )


def effective_s(wall_s: float, played_s: float, asked: int, passed: int) -> float:
    """Return how much of a session counts: media that left, if it lasted and half of the questions were answered."""
    if wall_s < EFFECTIVE_MIN_S or not passed or 2 * passed < asked:
        return 0.0
    return played_s


def after_power_cut(kept: Studying) -> SessionRecord:
    """Make the record of a session that was running when the power failed: it ended when somebody was there last."""
    return record_of(kept, max(0.0, kept.last_seen_s - kept.began_s), cut=True)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
