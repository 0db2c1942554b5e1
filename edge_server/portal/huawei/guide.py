"""Programmes of the linear channels in the four shapes that boxes of this family ask for (stb_protocols §2.8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec

from edge_server.linear import PROGRAMMES_MAX_COUNT, LinearChannel, Programme, by_id
from edge_server.portal import PortalState
from edge_server.portal._ctc.channels import channel_list
from edge_server.portal._ctc.days import local_day, starting_on
from wire import ctc

DAYS_MAX_COUNT = 10
"""Of one answer: a week back, today and two days on; what the one known client asks."""
_DAY = timedelta(days=1)


def look_back(state: PortalState, channel_id: str) -> str:
    """liveplay_30: the script line of ``getTvodData.jsp``, one inner list a day, as far back as boxes may go.

    Clients take what stands before the first semicolon, so names have none.
    """
    channel = by_id(state.channels, channel_id)
    days: list[list[dict[str, str]]] = []
    if channel is not None:
        today = local_day("", state.now, state.utc_offset)
        back = min(int(channel.time_shift_s // _DAY.total_seconds()) + 1, DAYS_MAX_COUNT - 3)
        left = PROGRAMMES_MAX_COUNT
        for number in range(-back, 2):
            found = starting_on(channel, today + number * _DAY)[:left]
            left -= len(found)
            days.append([_look_back_entry(each, state) for each in found])
    told = [{"channelId": channel.channel_id} if channel else {}, [day for day in days if day]]
    return f"parent.jsonBackLookStr = {msgspec.json.encode(told).decode()};\n"


def _look_back_entry(each: Programme, state: PortalState) -> dict[str, str]:
    begin, end = _local(each.start, state), _local(each.stop, state)
    return {
        "programName": _name(each).replace(";", "；"),
        "beginTime": f"{begin:%H:%M}",
        "endTime": f"{end:%H:%M}",
        "beginTimeFormat": f"{begin:%Y%m%d%H%M%S}",
        "endTimeFormat": f"{end:%Y%m%d%H%M%S}",
    }


def channel_programmes(state: PortalState, channel_id: str, date: str) -> list[dict[str, str]]:
    """Gdhdpublic ``channelProgramList``: one local day; an end after midnight is told as its last second.

    Clients put ``day`` before both times, so that a later end cannot be said.
    """
    channel = by_id(state.channels, channel_id)
    found = starting_on(channel, local_day(date, state.now, state.utc_offset)) if channel else ()
    told = []
    for each in found[:PROGRAMMES_MAX_COUNT]:
        begin, end = _local(each.start, state), _local(each.stop, state)
        told.append(
            {
                "code": f"{channel_id}-{each.start:%Y%m%d%H%M%S}",
                "proID": each.item_id,
                "proflag": "1" if each.stop <= state.now else "0",
                "name": _name(each),
                "day": f"{begin:%Y-%m-%d}",
                "time": f"{begin:%H:%M:%S}",
                "endtime": f"{end:%H:%M:%S}" if end.date() == begin.date() else "23:59:59",
            }
        )
    return told


def playbills(state: PortalState, body: bytes) -> dict[str, object]:
    """VSP ``QueryPlaybillList``: JSON in, JSON out; times are milliseconds since 1970, as text."""
    asked = read_object(body)
    query = asked.get("queryPlaybill")
    bill: Mapping[str, Any] = query if isinstance(query, dict) else {}
    since, until = _moment(bill.get("startTime")), _moment(bill.get("endTime"))
    named = asked.get("queryChannel")
    wanted = named.get("channelIDs") if isinstance(named, dict) else None
    channels = [by_id(state.channels, str(each)) for each in wanted[:32]] if isinstance(wanted, list) else []
    if since is None or until is None or not channels:
        return {"result": {"retCode": "146021000", "retMsg": "参数不对 / bad parameters"}, "channelPlaybills": []}
    first, count = _count(bill.get("offset"), 0), min(_count(bill.get("count"), 100), 100)
    told = []
    for channel in channels:
        if channel is None:
            continue
        found = [each for each in channel.programmes(since, until) if each.start >= since]
        told.append(
            {
                "playbillCount": str(len(found)),
                "playbillLites": [_lite(channel, each) for each in found[first : first + count]],
            }
        )
    return {
        "result": {"retCode": "000000000", "retMsg": "Successfully"},
        "total": str(len(told)),
        "channelPlaybills": told,
    }


def _lite(channel: LinearChannel, each: Programme) -> dict[str, str]:
    return {
        "ID": f"{channel.channel_id}{each.start:%Y%m%d%H%M%S}",
        "channelID": channel.channel_id,
        "name": _name(each),
        "startTime": str(round(each.start.timestamp() * 1000)),
        "endTime": str(round(each.stop.timestamp() * 1000)),
    }


def esaas_channels(state: PortalState, host: str) -> dict[str, object]:
    """ESAAS ``/esaas/v2/live/channel``: the one list, by the numbers of the remote control."""
    found = [
        {"channelNumber": each.user_channel_id, "channelId": each.channel_id, "channelName": each.name}
        for each in channel_list(state, host)
    ]
    return {"code": "0", "message": "", "data": [{"groupName": "全部 / all", "channelData": found}]}


def esaas_programmes(state: PortalState, body: bytes) -> dict[str, object]:
    """ESAAS ``/esaas/v1/live/program``: local days from ``startTime`` to ``endTime``, both ``yyyy-mm-dd``."""
    asked = read_object(body)
    channel_id, first, last = (str(asked.get(name, ""))[:64] for name in ("channelId", "startTime", "endTime"))
    channel = by_id(state.channels, channel_id)
    if channel is None:
        return {"code": "0", "message": "", "data": {"channels": []}}
    days = list(_days(channel, state, first, last))
    return {"code": "0", "message": "", "data": {"channels": [{"channelId": channel.channel_id, "data": days}]}}


def _days(channel: LinearChannel, state: PortalState, first: str, last: str) -> Iterator[dict[str, object]]:
    begin, end = (local_day(each, state.now, state.utc_offset) for each in (first, last))
    left = PROGRAMMES_MAX_COUNT
    for _ in range(DAYS_MAX_COUNT):
        if begin > end:
            return
        found = starting_on(channel, begin)[:left]
        left -= len(found)
        programmes = [
            {
                "text": _name(each),
                "startTime": f"{_local(each.start, state):%Y-%m-%d %H:%M:%S}",
                "endTime": f"{_local(each.stop, state):%Y-%m-%d %H:%M:%S}",
            }
            for each in found
        ]
        yield {"systemDate": f"{_local(begin, state):%Y-%m-%d}", "programs": programmes}
        begin += _DAY


def read_object(body: bytes) -> Mapping[str, Any]:
    """Read the JSON object of a body; anything else is an empty one."""
    try:
        read = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return {}
    return read if isinstance(read, dict) else {}


def _name(each: Programme) -> str:
    return ctc.screen_text(each.title)


def _local(moment: datetime, state: PortalState) -> datetime:
    return moment.astimezone(timezone(state.utc_offset))


def _moment(value: object) -> datetime | None:
    """Read milliseconds since 1970 up to the year 2100."""
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 13 and int(text) < 4_102_444_800_000):
        return None
    return datetime.fromtimestamp(int(text) / 1000, UTC)


def _count(value: object, usual: int) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else usual
