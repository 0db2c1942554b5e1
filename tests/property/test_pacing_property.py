"""What holds for every set of windows, every order of taking, and every forecast."""

from __future__ import annotations

import math
from datetime import datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sync.pacing import (
    BACKOFF_MAX_S,
    FORECAST_MAX_DAYS,
    RATE_MAX_BPS,
    RATE_MIN_BPS,
    Speed,
    TokenBucket,
    Windows,
    backoff,
    forecast,
)

RATES = st.one_of(st.none(), st.just(0), st.integers(RATE_MIN_BPS // 1000, 10_000).map(lambda k: k * 1000))
MOMENTS = st.datetimes(datetime.fromisoformat("2026-01-01"), datetime.fromisoformat("2027-01-01"))


def spelt(rate: int | None) -> str:
    return {None: "full", 0: "off"}.get(rate, f"{(rate or 0) // 1000}k")


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, list[int | None]]:
    """A text, and the rate of each minute made by hand."""
    edges = sorted(draw(st.sets(st.integers(0, 1439), max_size=12)))
    other = draw(RATES)
    minutes: list[int | None] = [other] * 1440
    words = []
    for start, stop in zip(edges, [*edges[1:], *edges[:1]], strict=True):
        if start != stop and draw(st.booleans()):
            rate = draw(RATES)
            words.append(f"{clock(start)}-{clock(stop)} {spelt(rate)}")
            for minute in range(start, stop if start < stop else stop + 1440):
                minutes[minute % 1440] = rate
    return ", ".join([*draw(st.permutations(words)), f"else {spelt(other)}"]), minutes


@given(tables(), MOMENTS)
def test_windows_are_what_the_text_says(table: tuple[str, list[int | None]], moment: datetime) -> None:
    text, minutes = table
    windows = Windows.parse(text)
    assert [windows.rate_at(moment.replace(hour=m // 60, minute=m % 60)) for m in range(1440)] == minutes
    change = windows.next_change(moment)
    here = minutes[moment.hour * 60 + moment.minute]
    if change is None:
        assert set(minutes) == {here}
        return
    assert moment < change <= moment + timedelta(days=1)
    assert windows.rate_at(change) != here
    steps = int((change - moment) / timedelta(minutes=1))
    assert all(windows.rate_at(moment + timedelta(minutes=n)) == here for n in range(steps))


@given(st.text(alphabet="0123456789:-, elsfuokM.b/", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        windows = Windows.parse(text)
    except ValueError:
        return
    for minute in range(0, 1440, 7):
        rate = windows.rate_at(time(minute // 60, minute % 60))
        assert rate in (None, 0) or RATE_MIN_BPS <= rate <= RATE_MAX_BPS


@given(
    st.integers(8_000, 100_000_000),
    st.integers(0, 100_000),
    st.lists(st.tuples(st.integers(0, 200_000), st.floats(0, 30), st.integers(0, 3)), min_size=1, max_size=60),
)
def test_no_stretch_of_time_lets_more_pass_than_its_rate(
    rate: int, burst: int, steps: list[tuple[int, float, int]]
) -> None:
    """Takers who ask for more only when their ticket is paid never get more than rate, burst and a lump each."""
    bucket = TokenBucket(rate, burst)
    free_at = [0.0] * 4
    passed: list[tuple[float, int]] = []
    now = 0.0
    for length, pause, taker in steps:
        now = max(now, free_at[taker] + pause)
        free_at[taker] = now + bucket.take(length, now)
        passed.append((now, length))
    lump = max(length for length, _, _ in steps)
    for n, (start, _) in enumerate(passed):
        total = 0
        for moment, length in passed[n:]:
            total += length
            assert total <= rate / 8 * (moment - start) + burst + 4 * lump + 1


@given(st.integers(8_000, 100_000_000), st.lists(st.integers(1, 200_000), min_size=1, max_size=60))
def test_a_taker_who_is_always_hungry_gets_the_whole_rate(rate: int, lengths: list[int]) -> None:
    bucket = TokenBucket(rate, 0)
    now = 1000.0
    for length in lengths:
        ticket = bucket.claim(length, now)
        now += bucket.wait_s(ticket, now)
        assert bucket.wait_s(ticket, now) == 0
    assert math.isclose(now - 1000, sum(lengths) * 8 / rate, rel_tol=1e-6, abs_tol=1e-3)


@given(st.integers(1, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_pauses_are_bounded_and_grow(attempt: int, jitter: float, other: float) -> None:
    assert 1 <= backoff(attempt, jitter) <= BACKOFF_MAX_S
    assert backoff(attempt, 1) <= backoff(attempt + 1, 0) or attempt >= 8
    if jitter < other:
        assert backoff(attempt, jitter) <= backoff(attempt, other)


@given(st.integers(0, 10**11), tables(), st.integers(8_000, 100_000_000), MOMENTS)
def test_a_forecast_is_what_minute_by_minute_simulation_says(
    missing: int, table: tuple[str, list[int | None]], line: int, moment: datetime
) -> None:
    text, minutes = table
    moment = moment.replace(second=0, microsecond=0)
    found = forecast(missing, Windows.parse(text), line, moment)
    start = moment.hour * 60 + moment.minute
    per_minute = [line * 7.5 if cap is None else min(cap, line) * 7.5 for cap in minutes]
    per_minute = per_minute[start:] + per_minute[:start]
    a_day = sum(per_minute)
    if found is None:
        assert a_day * FORECAST_MAX_DAYS <= missing * (1 + 1e-9)
        return
    days = int(missing // a_day) if a_day else 0
    left, passed = missing - days * a_day, 0
    while passed < 1440 and left > per_minute[passed]:
        left -= per_minute[passed]
        passed += 1
    expected = moment + timedelta(days=days, minutes=passed)
    if left > 0:
        assert timedelta(seconds=-1) <= found - expected <= timedelta(seconds=61)


@given(st.integers(0, 10**10), st.integers(0, 10**10), tables(), st.integers(8_000, 10**8), MOMENTS)
def test_more_bytes_never_arrive_earlier(
    less: int, more: int, table: tuple[str, list[int | None]], line: int, moment: datetime
) -> None:
    windows = Windows.parse(table[0])
    first, second = (forecast(n, windows, line, moment) for n in sorted((less, more)))
    assert second is None or (first is not None and moment <= first <= second)


@given(st.lists(st.tuples(st.integers(0, 10**7), st.floats(0, 100)), max_size=100))
def test_speed_is_one_that_was_seen(samples: list[tuple[int, float]]) -> None:
    speed = Speed()
    for length, seconds in samples:
        speed.add(length, seconds)
    seen = [length * 8 / seconds for length, seconds in samples if seconds > 0]
    assert speed.bps is None or speed.bps in seen
