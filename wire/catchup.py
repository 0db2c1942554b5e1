"""Moments as boxes write them in addresses of time-shift and catch-up; many are local time (`playseek` never is).

Sources: field practice as collected in the project's protocol notes (stb_protocols §4.7, §6.1, §6.2): Unix seconds, 14
digits with or without ``GMT``, ISO 8601, and the ``Y-m-d:H-M`` of Xtream. Spellings without a zone are local time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

MOMENT_MAX_CHARS = 40
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIX = re.compile(r"[0-9]{1,10}", re.ASCII)
_DIGITS = re.compile(r"([0-9]{14})(GMT|Z)?", re.ASCII)
_XTREAM = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[:_ T]([0-9]{2})[-:]([0-9]{2})(?:[-:]([0-9]{2}))?", re.ASCII)


class CatchupError(ValueError):
    """The text is no moment or no span of time; the message says what can be written."""


def read_moment(text: str, zone_minutes: int = 0) -> datetime:
    """Read one moment in any known spelling; UTC comes back.

    Args:
        text: as it stands in the address, percent-decoded.
        zone_minutes: how far local time is ahead of UTC, for spellings that name no zone.

    Raises:
        CatchupError: no known spelling, or no date of the calendar.
    """
    if len(text) > MOMENT_MAX_CHARS:
        raise CatchupError(f"a moment of {len(text)} characters; at most {MOMENT_MAX_CHARS}")
    try:
        if _UNIX.fullmatch(text):
            return _EPOCH + timedelta(seconds=int(text))
        zone = timezone(timedelta(minutes=zone_minutes))
        if found := _DIGITS.fullmatch(text):
            plain = datetime.strptime(found[1], "%Y%m%d%H%M%S")  # noqa: DTZ007 (the zone is put on below)
            return plain.replace(tzinfo=UTC if found[2] else zone).astimezone(UTC)
        if found := _XTREAM.fullmatch(text):
            plain = datetime.fromisoformat(f"{found[1]}T{found[2]}:{found[3]}:{found[4] or '00'}")
            return plain.replace(tzinfo=zone).astimezone(UTC)
        plain = datetime.fromisoformat(text)
        return (plain if plain.tzinfo is not None else plain.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise CatchupError(
            f"{text!r} is no moment; write Unix seconds, YYYYMMDDHHMMSS, YYYY-MM-DD:HH-MM or ISO 8601"
        ) from error


def read_playseek(text: str, zone_minutes: int = 0) -> tuple[datetime, datetime]:
    """Read ``start-end``; without a zone both are local time.

    Raises:
        CatchupError: not two moments, or the end is not after the start.
    """
    start, dash, end = text.partition("-")
    if not dash:
        raise CatchupError(f"{text[:MOMENT_MAX_CHARS]!r} is no span; write YYYYMMDDHHMMSS-YYYYMMDDHHMMSS")
    return span(read_moment(start, zone_minutes), read_moment(end, zone_minutes))


def span(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """Return both.

    Raises:
        CatchupError: the end is not after the start.
    """
    if end <= start:
        raise CatchupError("the end is not after the start")
    return start, end
