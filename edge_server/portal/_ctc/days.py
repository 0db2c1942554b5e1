"""Days of a programme guide in the local time of the boxes (disagreement D12)."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from edge_server.linear import LinearChannel, Programme
from edge_server.linear.guide import starting_in

_DAY = re.compile(r"(20[0-9]{2})[.-]?([0-9]{2})[.-]?([0-9]{2})")


def local_day(text: str, now: datetime, utc_offset: timedelta) -> datetime:
    """Return the begin, in UTC, of ``20261124``, ``2026.11.24`` or ``2026-11-24``; what names no day is today."""
    day = (now + utc_offset).replace(hour=0, minute=0, second=0, microsecond=0)
    if match := _DAY.fullmatch(text):
        year, month, date = (int(each) for each in match.groups())
        with suppress(ValueError):
            day = datetime(year, month, date, tzinfo=UTC)
    return day - utc_offset


def starting_on(channel: LinearChannel, begin: datetime) -> tuple[Programme, ...]:
    """List what starts on the day that begins then: each programme belongs to one day."""
    return tuple(starting_in(channel, begin, begin + timedelta(days=1)))
