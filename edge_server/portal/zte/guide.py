"""Channel records with their positional values, programme lists and columns, as this portal names them (§3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edge_server.linear import by_id
from edge_server.portal import PortalState
from edge_server.portal._ctc.channels import channel_list, lessons
from edge_server.portal._ctc.days import local_day, starting_on
from wire import ctc, zte

PAGE_MAX_COUNT = 1000
"""Programmes of one answer, whatever ``pageSize`` asks for."""
LINEAR_COLUMN = "live"
"""No digits, so that no column of lessons has it."""


def listed(state: PortalState, host: str, zone_minutes: int = 0) -> Iterator[tuple[ctc.Channel, zte.ChannelInfo]]:
    """Every channel of the one list, with its positional values."""
    columns = {item.item_id: item.column_id for item in lessons(state.view)}
    for each in channel_list(state, host, zone_minutes):
        channel = replace(each, name=zte.screen_text(each.name))
        yield (
            channel,
            zte.ChannelInfo(
                user_channel_id=channel.user_channel_id,
                time_shift=channel.other("TimeShift") or "0",
                tstv_time=channel.other("TimeShiftLength") or "0",
                is_igmp="1" if channel.url.startswith("igmp://") else "0",
                channel_id=channel.channel_id,
                channel_name=channel.name,
                column_id=columns.get(channel.channel_id, LINEAR_COLUMN),
                tv_pause_enable=channel.other("TimeShift") or "0",
            ),
        )


def columns(state: PortalState) -> dict[str, str]:
    """Ids and titles of the columns that ``listed`` names, in the order in which boxes show them."""
    found = {LINEAR_COLUMN: "教育频道 / channels"} if state.channels else {}
    found |= {each.column_id: zte.screen_text(each.title) for each in state.view.columns}
    for item in lessons(state.view):
        found.setdefault(item.column_id, item.column_id)
    return found


def column_list(state: PortalState) -> dict[str, object]:
    """``sdk_getcolumnlist.jsp``."""
    data = [{"columncode": code, "columnname": name} for code, name in columns(state).items()]
    return {"returncode": "0", "totalcount": str(len(data)), "data": data}


def programme_list(state: PortalState, channel_id: str, day: str, page: int, page_size: int) -> dict[str, object]:
    """``prevueList.jsp`` and ``getchannelprogram.jsp``: what a channel shows on a local day; pages count from 1."""
    channel = by_id(state.channels, channel_id)
    if channel is None:
        # A lesson is a channel without a programme; anything else is unknown.
        known = state.view.item(channel_id) is not None
        words = "" if known else "没有这个频道 / no such channel"
        return {"returncode": "0" if known else "1", "message": words, "totalcount": "0", "data": []}
    found = [
        {
            "begintime": zte.write_time(each.start, state.utc_offset),
            "endtime": zte.write_time(each.stop, state.utc_offset),
            "channelcode": channel.channel_id,
            "prevuecode": f"{channel.channel_id}-{each.start:%Y%m%d%H%M%S}",
            "prevuename": zte.screen_text(each.title),
            "description": "",
        }
        for each in starting_on(channel, local_day(day, state.now, state.utc_offset))
    ]
    size = min(max(page_size, 1), PAGE_MAX_COUNT)
    first = (max(page, 1) - 1) * size
    return {"returncode": "0", "totalcount": str(len(found)), "data": found[first : first + size]}
