"""The query ``playseek=A-B`` of catch-up addresses, in the spellings of the field. No I/O.

Moments without a zone are UTC, unless the query says ``zoneoffset=480`` (minutes ahead of UTC): platforms disagree
about this by whole hours (reference/stb_protocols §4.7).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from wire.catchup import CatchupError, read_moment

_MOMENT = (
    r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}T?[0-9]{2}:?[0-9]{2}:?[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|GMT|[+-][0-9]{2}:?[0-9]{2})?"
)
_SECONDS = r"[0-9]{9,10}"
_RANGE = re.compile(rf"(?P<since>{_MOMENT}|{_SECONDS})-(?P<until>{_MOMENT}|{_SECONDS})?\Z")
_ZONE = re.compile(r"[+-]?[0-9]{1,4}\Z")
_ZONE_MAX_MINUTES = 14 * 60
_NAMES = ("playseek", "Playseek", "PlaySeek", "tvdr")


class PlayseekError(ValueError):
    """The text is no span of time; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Playseek:
    """A span of a channel."""

    since: datetime
    until: datetime | None
    """None: on and on."""


def find_playseek(query: dict[str, str]) -> Playseek | None:
    """Read the span that a query names; None when it names none.

    Raises:
        PlayseekError: it names one that cannot be read.
    """
    text = next((query[name] for name in _NAMES if name in query), None)
    if text is None:
        return None
    zone = query.get("zoneoffset", "0").rstrip("/")
    if not _ZONE.match(zone) or abs(int(zone)) > _ZONE_MAX_MINUTES:
        raise PlayseekError(f"zoneoffset={zone[:32]!r} is not minutes ahead of UTC")
    return parse_playseek(text, zone_minutes=int(zone))


def parse_playseek(text: str, *, zone_minutes: int = 0) -> Playseek:
    """Read ``20261124080000-20261124083000``, also with ``GMT``, as ISO 8601 or as Unix seconds.

    ``zone_minutes`` ahead of UTC is where moments are that name no zone.

    Raises:
        PlayseekError: it is none, or ends before it begins.
    """
    match = _RANGE.match(text.strip().rstrip("/"))
    if match is None:
        raise PlayseekError(f"{text[:60]!r} is not like 20261124080000-20261124083000")
    since = _moment(match["since"], zone_minutes)
    until = _moment(match["until"], zone_minutes) if match["until"] else None
    if until is not None and until <= since:
        raise PlayseekError(f"{text[:60]!r} ends before it begins")
    return Playseek(since, until)


def write_playseek(since: datetime, until: datetime | None) -> str:
    """Write a span as most platforms do: 14 digits each, UTC; no end goes on and on."""
    return "-".join(f"{each.astimezone(UTC):%Y%m%d%H%M%S}" if each else "" for each in (since, until))


def _moment(text: str, zone_minutes: int) -> datetime:
    try:
        return read_moment(text, zone_minutes)
    except CatchupError as error:
        raise PlayseekError(str(error)) from error
