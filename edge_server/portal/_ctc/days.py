"""Days of a programme guide in the local time of the boxes (disagreement D12)."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta

_DAY = re.compile(r"(20[0-9]{2})[.-]?([0-9]{2})[.-]?([0-9]{2})")


def local_day(text: str, now: datetime, utc_offset: timedelta) -> tuple[datetime, datetime]:
    """Return begin and end, in UTC, of ``20261124`` or ``2026.11.24``; what names no day is today."""
    day = (now + utc_offset).replace(hour=0, minute=0, second=0, microsecond=0)
    if match := _DAY.fullmatch(text):
        year, month, date = (int(each) for each in match.groups())
        with suppress(ValueError):
            day = datetime(year, month, date, tzinfo=UTC)
    begin = day - utc_offset
    return begin, begin + timedelta(days=1)
