"""Linear channels as arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from edge_server.linear import LinearChannel, Slot

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
CHANNEL = LinearChannel(
    "9001", 1, "教育频道", EPOCH, (Slot("1", "一", 60.0), Slot("2", "二", 90.5), Slot("3", "三", 30.0))
)


@pytest.mark.parametrize("days", [-400, 0, 1, 4000])
def test_programmes_follow_one_another_without_gap_in_any_year(days: int) -> None:
    since = EPOCH + timedelta(days=days, seconds=17)
    found = CHANNEL.programmes(since, since + timedelta(hours=1))
    assert found[0].start <= since < found[0].stop
    assert found[-1].start < since + timedelta(hours=1) <= found[-1].stop
    for before, after in pairwise(found):
        assert abs(after.start - before.stop) < timedelta(milliseconds=1)
        assert after.place == (before.place + 1) % 3


def test_what_is_on_is_the_same_for_everybody_and_in_the_list() -> None:
    for seconds in range(0, 700, 7):
        now = EPOCH + timedelta(seconds=seconds)
        on, into_s = CHANNEL.at(now)
        assert on == CHANNEL.programmes(now, now + timedelta(seconds=1))[0]
        assert 0 <= into_s < CHANNEL.slots[on.place].duration_s
        assert on.start + timedelta(seconds=into_s) == now
