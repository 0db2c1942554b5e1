"""Caps, windows of the day, pauses and forecasts, as an operator would check them with a pencil."""

from __future__ import annotations

import math
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from sync.pacing import Speed, TokenBucket, Windows, backoff, forecast, jitter_of, spread


def at(local: str) -> datetime:
    return datetime.fromisoformat(local)


NIGHT = Windows.parse("22:00-06:00 full, else 256k")
DAY = at("2026-03-02 12:00")


# -- Windows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("", {"00:00": None, "12:00": None, "23:59": None}),
        ("  ", {"03:00": None}),
        ("else off", {"00:00": 0, "23:59": 0}),
        ("22:00-06:00 full, else 256k", {"21:59": 256e3, "22:00": None, "00:00": None, "05:59": None, "06:00": 256e3}),
        ("0:00-24:00 1.5M, else off", {"00:00": 1.5e6, "23:59": 1.5e6}),
        ("22:00-24:00 64000, else full", {"21:59": None, "22:00": 64e3, "23:59": 64e3, "00:00": None}),
        ("22:00-00:00 64 kb/s, else full", {"21:59": None, "22:00": 64e3, "23:59": 64e3, "00:00": None}),
        (
            "08:00-12:00 off,12:00-13:00 2M, 13:00 - 18:00 off , else full",
            {"07:59": None, "08:00": 0, "12:00": 2e6, "13:00": 0, "18:00": None},
        ),
    ],
)
def test_windows_say_what_holds_when(text: str, rates: dict[str, float | None]) -> None:
    windows = Windows.parse(text)
    for clock, rate in rates.items():
        assert windows.rate_at(time.fromisoformat(clock)) == rate, clock
        assert windows.rate_at(datetime.fromisoformat(f"2026-03-02 {clock}:59")) == rate, clock


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("22:00-06:00 full", "else"),
        ("256k", "else"),
        ("else 256k, 22:00-06:00 full", "else"),
        ("22:00-06:00, else off", "HH:MM-HH:MM"),
        ("22-6 full, else off", "HH:MM-HH:MM"),
        ("22:00-06:00 full,, else off", "HH:MM-HH:MM"),
        ("22:00-06:60 full, else off", "24:00"),
        ("22:00-24:01 full, else off", "24:00"),
        ("24:00-06:00 full, else off", "24:00"),
        ("06:00-06:00 full, else off", "00:00-24:00"),
        ("22:00-06:00 fast, else off", "as in"),
        ("22:00-06:00 full, else -5k", "as in"),
        ("22:00-06:00 full, else 5 apples", "as in"),
        ("22:00-06:00 full, else 256", "k or M"),
        ("22:00-06:00 full, else 99999M", "off"),
        ("22:00-06:00 full, 05:00-07:00 1M, else off", "05:00"),
        ("22:00-06:00 full, 20:00-22:01 1M, else off", "22:00"),
        ("00:00-24:00 full, 20:00-22:01 1M, else off", "20:00"),
        (", ".join(["22:00-06:00 full"] * 25 + ["else off"]), "at most 24"),
    ],
)
def test_windows_that_are_none_say_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        Windows.parse(text)


def test_the_next_change() -> None:
    assert NIGHT.next_change(DAY) == at("2026-03-02 22:00")
    assert NIGHT.next_change(at("2026-03-02 22:00")) == at("2026-03-03 06:00")
    assert NIGHT.next_change(at("2026-03-02 23:59:59.999999")) == at("2026-03-03 06:00")
    assert NIGHT.next_change(at("2026-12-31 05:59:59")) == at("2026-12-31 06:00")
    assert Windows().next_change(DAY) is None
    assert Windows.parse("10:00-11:00 256k, else 256k").next_change(DAY) is None
    assert Windows.parse("00:00-12:00 off, else 1M").next_change(DAY) == at("2026-03-03 00:00")
    there = at("2026-03-02 12:00").replace(tzinfo=ZoneInfo("Asia/Shanghai"))
    assert NIGHT.next_change(there) == there.replace(hour=22)


# -- Token bucket ---------------------------------------------------------------------------------------------------


def test_whoever_took_waits_until_it_is_paid() -> None:
    bucket = TokenBucket(8_000, 500)  # 1000 bytes a second
    assert bucket.take(500, 100.0) == 0  # the burst
    assert bucket.take(1000, 100.0) == pytest.approx(1.0)
    assert bucket.take(1000, 100.0) == pytest.approx(2.0)  # behind the first
    assert bucket.take(0, 101.0) == pytest.approx(1.0)
    assert bucket.take(0, 102.0) == 0
    assert bucket.take(700, 200.0) == pytest.approx(0.2)  # saved up no more than the burst


def test_a_new_rate_counts_for_those_who_wait() -> None:
    bucket = TokenBucket(8_000, 0)
    ticket = bucket.claim(10_000, 0.0)
    assert bucket.wait_s(ticket, 0.0) == pytest.approx(10)
    bucket.set_rate(80_000, 5.0)
    assert bucket.wait_s(ticket, 5.0) == pytest.approx(0.5)
    bucket.set_rate(0, 5.1)
    assert bucket.wait_s(ticket, 5000.0) == math.inf
    bucket.set_rate(None, 5000.0)
    assert bucket.wait_s(ticket, 5000.0) == 0
    bucket.set_rate(8_000, 5000.0)
    assert bucket.take(1000, 5000.0) == pytest.approx(1)  # no debt and no savings from the time without a cap


def test_when_nothing_may_move_not_even_the_first_byte_may() -> None:
    bucket = TokenBucket(0, 1000)
    assert bucket.take(0, 0.0) == math.inf


def test_time_that_goes_backwards_pays_nothing() -> None:
    bucket = TokenBucket(8_000, 0)
    ticket = bucket.claim(1000, 100.0)
    assert bucket.wait_s(ticket, 50.0) == pytest.approx(1)
    assert bucket.wait_s(ticket, 100.5) == pytest.approx(0.5)


@pytest.mark.parametrize(("rate", "burst"), [(-1.0, 0), (math.inf, 0), (math.nan, 0), (1.0, -1)])
def test_buckets_that_make_no_sense(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="sense"):
        TokenBucket(rate, burst)


# -- Pauses ---------------------------------------------------------------------------------------------------------


def test_pauses_double_up_to_five_minutes() -> None:
    assert [backoff(n, 0) for n in (1, 2, 3, 8, 9, 10_000)] == [1, 2, 4, 128, 150, 150]
    assert [backoff(n, 1) for n in (1, 2, 3, 8, 9, 10_000)] == [2, 4, 8, 256, 300, 300]
    for attempt, jitter in ((0, 0.5), (1, -0.1), (1, 1.1)):
        with pytest.raises(ValueError, match="attempt"):
            backoff(attempt, jitter)


def test_a_thousand_edges_do_not_march_in_step() -> None:
    edges = [f"edge-{n}" for n in range(1000)]
    periods = [spread(edge, 100) for edge in edges]
    assert periods == [spread(edge, 100) for edge in edges]
    assert min(periods) >= 90 and max(periods) <= 110
    for low in range(90, 110, 2):
        assert 60 < sum(low <= period < low + 2 for period in periods) < 140
    assert 0 <= min(map(jitter_of, edges)) <= max(map(jitter_of, edges)) < 1


# -- Forecast -------------------------------------------------------------------------------------------------------


def test_will_it_arrive_in_time() -> None:
    # By day 32,000 bytes a second for 10 hours, then 1,000,000 a second.
    by_day = 32_000 * 3600 * 10
    assert forecast(32_000, NIGHT, 8e6, DAY) == DAY + timedelta(seconds=1)
    assert forecast(by_day + 1_000_000, NIGHT, 8e6, DAY) == at("2026-03-02 22:00:01")
    whole_day = by_day + 1_000_000 * 3600 * 8
    assert forecast(whole_day + 32_000, NIGHT, 8e6, DAY) == at("2026-03-03 06:00:01")
    assert forecast(64_000, NIGHT, 128e3, DAY) == DAY + timedelta(seconds=4)  # the line is slower than the cap
    assert forecast(0, NIGHT, None, DAY) == DAY


def test_nobody_knows_or_never() -> None:
    assert forecast(1, NIGHT, None, DAY) is None
    assert forecast(1, NIGHT, 0, DAY) is None
    assert forecast(1, Windows.parse("else off"), 8e6, DAY) is None
    assert forecast(10**15, NIGHT, 8e6, DAY) is None
    sixty_days = 1000 * 86_400 * 60
    assert forecast(sixty_days - 1000, Windows(), 8000, DAY) == DAY + timedelta(days=60, seconds=-1)
    assert forecast(sixty_days + 1000, Windows(), 8000, DAY) is None
    only_night = Windows.parse("22:00-06:00 full, else off")
    assert forecast(1000, only_night, 8000, DAY.replace(tzinfo=UTC)) == at("2026-03-02 22:00:01").replace(tzinfo=UTC)


# -- Speed ----------------------------------------------------------------------------------------------------------


def test_speed_of_a_steady_line() -> None:
    speed = Speed()
    assert speed.bps is None
    for seconds in (1.0, 0.9, 1.1, 1.0):
        speed.add(100_000, seconds)
    assert speed.bps == pytest.approx(800_000)


def test_idle_stretches_and_bursts_do_not_mislead() -> None:
    speed = Speed()
    for _ in range(20):
        speed.add(1_000_000, 1.0)
        speed.add(20_000, 60.0)  # the other side had nothing to say
        speed.add(64_000, 0.001)  # out of a buffer
        speed.add(1_000, 0.5)  # a small file: only the way there and back
        speed.add(64_000, 0.0)
    assert speed.bps == pytest.approx(8e6)


def test_a_line_that_becomes_slow_is_noticed() -> None:
    speed = Speed()
    for _ in range(50):
        speed.add(1_000_000, 1.0)
    for _ in range(64):
        speed.add(100_000, 1.0)
    assert speed.bps == pytest.approx(800_000)


def test_a_cap_is_not_taken_for_the_line() -> None:
    speed = Speed()
    speed.add(32_000, 1.0, cap_bps=256_000)
    assert speed.bps == 256_000  # better than nothing
    for _ in range(10):
        speed.add(1_000_000, 1.0)
    for _ in range(200):
        speed.add(32_000, 1.0, cap_bps=256_000)
    assert speed.bps == 8e6
    for _ in range(64):
        speed.add(16_000, 1.0, cap_bps=256_000)  # not even the cap is reached
    assert speed.bps == 128_000
