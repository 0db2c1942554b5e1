"""The programme guide of all linear channels as one XMLTV document, the same for a whole day. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from edge_server.catalog import CatalogView
from edge_server.linear import LinearChannel, Programme
from wire.xmltv_write import GuideChannel, GuideProgramme, write_guide

DAYS_BACK = 7
DAYS_AHEAD = 2
GUIDE_PROGRAMMES_MAX_COUNT = 20_000
"""Of one document, all channels together (about 3 MB): days far from today are left out first, whole."""
_DAY = timedelta(days=1)


def guide_id(channel: LinearChannel) -> str:
    """Name a channel as XMLTV wants it, in the form of a host name (RFC 2838); playlists name it so, too."""
    return f"{channel.channel_id}.edge"


def day_of(moment: datetime) -> datetime:
    """Return the beginning of the day, UTC."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def starting_in(channel: LinearChannel, since: datetime, until: datetime) -> Iterator[Programme]:
    """List the programmes that start in a span, day by day, so that no bound of one answer cuts them."""
    while since < until:
        end = min(until, since + _DAY)
        yield from (each for each in channel.programmes(since, end) if each.start >= since)
        since = end


def days_shown(channels: Sequence[LinearChannel], today: datetime) -> tuple[datetime, ...]:
    """Choose the days of the guide, in order: today, and as many around it as the bound lets in."""
    offsets = sorted(range(-DAYS_BACK, DAYS_AHEAD + 1), key=lambda offset: (abs(offset), -offset))
    a_day = sum(len(each.slots) * (_DAY.total_seconds() / each.round_s + 1) for each in channels)
    room = max(1, int(GUIDE_PROGRAMMES_MAX_COUNT / a_day)) if a_day else len(offsets)
    return tuple(sorted(today + offset * _DAY for offset in offsets[:room]))


def write_xmltv(channels: Sequence[LinearChannel], view: CatalogView, now: datetime) -> bytes:
    """Write the guide: by whole days, so that it is another only when the day, a channel or the catalogue is."""
    days = days_shown(channels, day_of(now))
    columns = {each.column_id: each.title for each in view.columns}

    def shown() -> Iterator[GuideProgramme]:
        for channel in channels:
            for day in days:
                for each in starting_in(channel, day, day + _DAY):
                    item = view.item(each.item_id)
                    yield GuideProgramme(
                        guide_id(channel),
                        each.start,
                        each.stop,
                        each.title,
                        item.summary if item else "",
                        columns.get(item.column_id, "") if item else "",
                    )

    heads = (GuideChannel(guide_id(each), (each.name, str(each.number))) for each in channels)
    return write_guide(heads, shown(), source="EdgeServer").encode()
