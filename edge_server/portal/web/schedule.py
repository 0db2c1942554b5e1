"""Linear channels on a page: what is on, what comes, what was, at the clock of the people who watch. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from edge_server.linear import LinearChannel, Programme

PEOPLES_CLOCK = timezone(timedelta(hours=8))
"""China has one time."""
COMING_MAX_COUNT = 6
PAST_MAX_COUNT = 6


@dataclass(frozen=True, slots=True)
class Line:
    """One programme as it is written."""

    start: str
    """``21:40``."""
    stop: str
    title: str
    href: str = ""
    """Where it can be seen again; empty when it cannot."""


@dataclass(frozen=True, slots=True)
class OnAir:
    """One channel now."""

    channel_id: str
    number: int
    name: str
    now: Line
    done_percent: int
    following: Line


def on_air(channels: Sequence[LinearChannel], moment: datetime) -> tuple[OnAir, ...]:
    """Tell what is on every channel."""
    found = []
    for channel in channels:
        programme, over_s = channel.at(moment)
        following, _ = channel.at(programme.stop + timedelta(milliseconds=1))
        whole_s = (programme.stop - programme.start).total_seconds()
        done = min(100, max(0, round(100 * over_s / whole_s)))
        found.append(OnAir(channel.channel_id, channel.number, channel.name, _line(programme), done, _line(following)))
    return tuple(found)


def coming(channel: LinearChannel, moment: datetime) -> tuple[Line, ...]:
    """List what is on and what comes after it."""
    until = moment
    found: tuple[Programme, ...] = ()
    while len(found) < COMING_MAX_COUNT and until < moment + timedelta(days=2):
        until += timedelta(hours=3)
        found = channel.programmes(moment, until)
    return tuple(map(_line, found[:COMING_MAX_COUNT]))


def past(channel: LinearChannel, moment: datetime, media: str) -> tuple[Line, ...]:
    """List what can be seen again, the latest first; ``media`` is the address of the channel."""
    since = moment - timedelta(seconds=channel.time_shift_s)
    whole = [each for each in channel.programmes(since, moment) if since <= each.start and each.stop <= moment]
    return tuple(
        _line(each, f"{media}?playseek={_stamp(each.start)}-{_stamp(each.stop)}")
        for each in reversed(whole[-PAST_MAX_COUNT:])
    )


def _line(programme: Programme, href: str = "") -> Line:
    return Line(_clock(programme.start), _clock(programme.stop), programme.title, href)


def _clock(moment: datetime) -> str:
    return moment.astimezone(PEOPLES_CLOCK).strftime("%H:%M")


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S")
