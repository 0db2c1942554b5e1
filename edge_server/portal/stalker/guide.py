"""The programme guide of linear channels. Numbers are Unix seconds, times in words the wall clock of the boxes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from edge_server.linear import Programme, by_id
from edge_server.portal import PortalState

PERIOD_MAX_H = 168
EPG_PROGRAMMES_MAX_COUNT = 5000
"""Of one reply, over all channels: about 1 MB."""
SHORT_MAX_COUNT = 50
_SHORT_SPAN = timedelta(hours=24)


def all_programmes(state: PortalState, period_h: int) -> dict[str, object]:
    """List what is on from now for so many hours, by channel; each channel gets the same share of the bound."""
    if not state.channels:
        return {}
    share = EPG_PROGRAMMES_MAX_COUNT // len(state.channels)
    until = state.now + timedelta(hours=min(max(1, period_h), PERIOD_MAX_H))
    return {
        each.channel_id: _rows(each.channel_id, each.programmes(state.now, until)[:share], state.utc_offset)
        for each in state.channels
    }


def next_programmes(state: PortalState, channel_id: str, count: int) -> list[dict[str, object]]:
    """List what is on now and next on one channel; empty when there is no such channel."""
    channel = by_id(state.channels, channel_id)
    if channel is None:
        return []
    found = channel.programmes(state.now, state.now + _SHORT_SPAN)
    return _rows(channel_id, found[: min(max(1, count), SHORT_MAX_COUNT)], state.utc_offset)


def _rows(channel_id: str, programmes: Iterable[Programme], ahead: timedelta) -> list[dict[str, object]]:
    return [_row(channel_id, each, ahead) for each in programmes]


def _row(channel_id: str, each: Programme, ahead: timedelta) -> dict[str, object]:
    start, stop = int(each.start.timestamp()), int(each.stop.timestamp())
    starts, stops = ((moment + ahead).isoformat(" ", "seconds")[:19] for moment in (each.start, each.stop))
    return {
        "id": str(start),
        "ch_id": channel_id,
        "name": each.title,
        "descr": "",
        "start_timestamp": start,
        "stop_timestamp": stop,
        "time": starts,
        "time_to": stops,
        "t_time": starts[11:16],
        "t_time_to": stops[11:16],
        "duration": stop - start,
        "mark_archive": 0,
    }
