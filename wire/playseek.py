"""The query ``playseek=A-B`` of catch-up addresses, in the spellings of the field. No I/O.

Moments without a zone are UTC: some platforms mean local time, which is their boxes' setting, not ours.
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
    return None if text is None else parse_playseek(text)


def parse_playseek(text: str) -> Playseek:
    """Read ``20261124080000-20261124083000``, also with ``GMT``, as ISO 8601 or as Unix seconds.

    Raises:
        PlayseekError: it is none, or ends before it begins.
    """
    match = _RANGE.match(text.strip().rstrip("/"))
    if match is None:
        raise PlayseekError(f"{text[:60]!r} is not like 20261124080000-20261124083000")
    since, until = _moment(match["since"]), _moment(match["until"]) if match["until"] else None
    if until is not None and until <= since:
        raise PlayseekError(f"{text[:60]!r} ends before it begins")
    return Playseek(since, until)


def write_playseek(since: datetime, until: datetime | None) -> str:
    """Write a span as most platforms do: 14 digits each, UTC; no end goes on and on."""
    return "-".join(f"{each.astimezone(UTC):%Y%m%d%H%M%S}" if each else "" for each in (since, until))


def _moment(text: str) -> datetime:
    try:
        return read_moment(text)
    except CatchupError as error:
        raise PlayseekError(str(error)) from error
