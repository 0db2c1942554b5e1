"""When and how fast to move bytes: caps, windows of the day, pauses, and whether something will arrive in time. Pure.

Rates are in bits of body per second, as lines are sold; None is *no cap*, 0 is *nothing may move*. Times of day are
wall-clock times at the edge.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import deque
from dataclasses import dataclass
from datetime import datetime, time, timedelta

BACKOFF_MAX_S = 300.0
POLL_SPREAD = 0.1
FORECAST_MAX_DAYS = 60
WINDOWS_MAX = 24
RATE_MIN_BPS = 8_000
RATE_MAX_BPS = 10_000_000_000
SPEED_SAMPLES = 64
SPEED_SAMPLE_MIN_BYTES = 8 * 1024
"""Shorter ones tell more about the way there and back than about the line."""

_DAY_MINUTES = 24 * 60
_WINDOW = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s+(.+)")
_RATE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([kKM]?)(?:b/s|bit/s)?")
_EXAMPLE = "22:00-06:00 full, else 256k"


class TokenBucket:
    """Bytes may pass at a rate, and after a pause ``burst_bytes`` at once. Whoever took waits until it is paid.

    Bytes are taken after they came (nobody knows beforehand how many come), so the bucket may be in debt. Everyone
    waits for its own ticket, in the order of taking; a change of the rate counts for those who wait, too.
    """

    def __init__(self, rate_bps: float | None, burst_bytes: int) -> None:
        """Begin full.

        Raises:
            ValueError: a negative number.
        """
        if burst_bytes < 0:
            raise ValueError(f"a burst of {burst_bytes} bytes makes no sense")
        self._rate_bps = _checked(rate_bps)
        self._burst_bytes = burst_bytes
        self._now_s: float | None = None
        self._taken = 0
        self._paid = float(burst_bytes)

    @property
    def rate_bps(self) -> float | None:
        """The rate at this moment."""
        return self._rate_bps

    def set_rate(self, rate_bps: float | None, now_s: float) -> None:
        """Go on with another rate from ``now_s`` on.

        Raises:
            ValueError: a negative number.
        """
        self._refill(now_s)
        self._rate_bps = _checked(rate_bps)
        self._refill(now_s)

    def take(self, length_bytes: int, now_s: float) -> float:
        """Take bytes and return how many seconds to wait at the present rate; infinite while nothing may move."""
        return self.wait_s(self.claim(length_bytes, now_s), now_s)

    def claim(self, length_bytes: int, now_s: float) -> int:
        """Take bytes and return the ticket for ``wait_s``."""
        self._refill(now_s)
        self._taken += length_bytes
        return self._taken

    def wait_s(self, ticket: int, now_s: float) -> float:
        """Return how many seconds from ``now_s`` until everything up to the ticket is paid, at the present rate."""
        self._refill(now_s)
        owed = ticket - self._paid
        if self._rate_bps is None or (owed < 0.5 and self._rate_bps > 0):  # half a byte: sums of floats are not exact
            return 0.0
        return owed * 8 / self._rate_bps if self._rate_bps else math.inf

    def _refill(self, now_s: float) -> None:
        passed_s = max(0.0, now_s - (now_s if self._now_s is None else self._now_s))
        self._now_s = now_s if self._now_s is None else max(now_s, self._now_s)
        full = float(self._taken + self._burst_bytes)
        self._paid = full if self._rate_bps is None else min(full, self._paid + self._rate_bps / 8 * passed_s)


def _checked(rate_bps: float | None) -> float | None:
    if rate_bps is not None and not 0 <= rate_bps < math.inf:
        raise ValueError(f"a rate of {rate_bps} bit/s makes no sense")
    return rate_bps


@dataclass(frozen=True)
class Windows:
    """What rate is allowed at which time of day."""

    changes: tuple[tuple[int, float | None], ...] = ((0, None),)
    """(minute of the day, rate from then on); ascending, begins with minute 0, neighbours differ."""

    @classmethod
    def parse(cls, text: str) -> Windows:
        """Read ``HH:MM-HH:MM RATE, …, else RATE``; RATE is full, off or bits per second as in 64000, 256k, 1.5M.

        A window may cross midnight. The empty text means full at all times.

        Raises:
            ValueError: with what is wrong and what to write instead.
        """
        if not text.strip():
            return cls()
        *windows, last = (part.strip() for part in text.split(","))
        if not last.startswith("else ") or len(windows) > WINDOWS_MAX:
            raise ValueError(f"{text!r}: write at most {WINDOWS_MAX} windows and then what holds else: {_EXAMPLE}")
        otherwise = _rate(last.removeprefix("else "))
        minutes: list[tuple[str, float | None] | None] = [None] * _DAY_MINUTES
        for window in windows:
            start, stop, rate = _window(window)
            for minute in (m % _DAY_MINUTES for m in range(start, stop if start < stop else stop + _DAY_MINUTES)):
                taken = minutes[minute]
                if taken is not None:
                    clock = f"{minute // 60:02}:{minute % 60:02}"
                    raise ValueError(
                        f"{taken[0]!r} and {window!r} both hold at {clock}: let one end where the other begins"
                    )
                minutes[minute] = (window, rate)
        rates = [otherwise if taken is None else taken[1] for taken in minutes]
        return cls(tuple((m, rates[m]) for m in range(_DAY_MINUTES) if m == 0 or rates[m] != rates[m - 1]))

    def rate_at(self, local: time | datetime) -> float | None:
        """Return the rate at that time of day: bits per second, None for full, 0 for off."""
        minute = local.hour * 60 + local.minute
        return next(rate for start, rate in reversed(self.changes) if start <= minute)

    def next_change(self, local: datetime) -> datetime | None:
        """Return the next moment at which the rate will be another one; None when it is always the same."""
        now = self.rate_at(local)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        for day in range(2):
            for start, rate in self.changes:
                moment = midnight + timedelta(days=day, minutes=start)
                if moment > local and rate != now:
                    return moment
        return None


def _window(text: str) -> tuple[int, int, float | None]:
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no window: write HH:MM-HH:MM and a rate, as in {_EXAMPLE}")
    start, stop = (int(match[n]) * 60 + int(match[n + 1]) for n in (1, 3))
    if int(match[2]) > 59 or int(match[4]) > 59 or start >= _DAY_MINUTES or stop > _DAY_MINUTES:
        raise ValueError(f"{text!r}: times of day go from 00:00 to 24:00")
    if start == stop:
        raise ValueError(f"{text!r} begins where it ends: write 00:00-24:00 for the whole day")
    return start, stop, _rate(match[5])


def _rate(text: str) -> float | None:
    text = text.strip()
    if text == "full":
        return None
    if text == "off":
        return 0.0
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no rate: write full, off or bits per second, as in 64000, 256k or 1.5M")
    rate = float(match[1]) * {"": 1, "k": 1_000, "K": 1_000, "M": 1_000_000}[match[2]]
    if not RATE_MIN_BPS <= rate <= RATE_MAX_BPS:
        raise ValueError(f"{text!r} is not between 8k and 10000M; write off, full, or a number with k or M")
    return rate


def backoff(attempt: int, jitter: float) -> float:
    """Return the pause in seconds after that failed attempt (1 is the first): 1–2, 2–4, 4–8, … 150–300.

    Args:
        attempt: how often it failed in a row.
        jitter: 0 to 1, evenly spread over all who might try again at the same moment.

    Raises:
        ValueError: an attempt below 1, or jitter outside its range.
    """
    if attempt < 1 or not 0 <= jitter <= 1:
        raise ValueError(f"attempt {attempt}, jitter {jitter}")
    return min(2.0 ** min(attempt - 1, 30), BACKOFF_MAX_S / 2) * (1 + jitter)


def jitter_of(text: str) -> float:
    """Return a number from 0 to 1 that is always the same for the same text, and evenly spread over texts."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def spread(edge_id: str, period_s: float) -> float:
    """Return the period of that edge: up to POLL_SPREAD earlier or later, so that edges do not all come at once."""
    return period_s * (1 + POLL_SPREAD * (2 * jitter_of(edge_id) - 1))


def forecast(missing_bytes: int, windows: Windows, measured_bps: float | None, now_local: datetime) -> datetime | None:
    """Return when so many bytes will have arrived: the line's real rate, held down by the windows.

    Days are taken as 24 hours long. None: not within FORECAST_MAX_DAYS, or nobody knows (nothing was measured).
    """
    if missing_bytes <= 0:
        return now_local
    if measured_bps is None or measured_bps <= 0:
        return None
    moment, end = now_local, now_local + timedelta(days=FORECAST_MAX_DAYS)
    left = float(missing_bytes)
    while moment < end:
        cap = windows.rate_at(moment)
        bytes_per_s = (measured_bps if cap is None else min(cap, measured_bps)) / 8
        until = min(windows.next_change(moment) or end, end)
        span_s = (until - moment).total_seconds()
        if bytes_per_s * span_s >= left:
            return moment + timedelta(seconds=left / bytes_per_s)
        left -= bytes_per_s * span_s
        moment = until
    return None


class Speed:
    """What the line really gives: half of the latest bytes came faster, half slower.

    Weighing by bytes makes stretches of idleness count for the little that came in them, and a burst out of some
    buffer for no more than it is.
    """

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._samples: deque[tuple[float, int]] = deque(maxlen=SPEED_SAMPLES)

    @property
    def bps(self) -> float | None:
        """The estimate in bits per second; None before the first sample."""
        half = sum(length for _, length in self._samples) / 2
        for rate, length in sorted(self._samples):
            half -= length
            if half <= 0:
                return rate
        return None

    def add(self, length_bytes: int, seconds: float, *, cap_bps: float | None = None) -> None:
        """Add what came in on all connections together, over some seconds in which something was asked for.

        ``cap_bps`` is the cap that held: a sample that reaches it tells only that the line is not slower, and is used
        only where nothing better is known.
        """
        if length_bytes < SPEED_SAMPLE_MIN_BYTES or seconds <= 0:
            return
        rate = length_bytes * 8 / seconds
        if cap_bps is not None and rate >= 0.8 * cap_bps and rate <= (self.bps or 0.0):
            return
        self._samples.append((rate, length_bytes))
