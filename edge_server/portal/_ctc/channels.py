"""Channels and lessons as records of one list: linear channels first, then each lesson as a channel (ADR 3).

Every portal of the family writes this list, so that all boxes show the same lessons in the same order.
"""

from __future__ import annotations

from typing import Literal

from domain.courseware import Courseware, MediaFamily
from edge_server.catalog import CatalogView
from edge_server.linear import LinearChannel
from edge_server.portal import PortalState
from wire import ctc


def lessons(view: CatalogView) -> tuple[Courseware, ...]:
    """All lessons in catalogue order, none twice."""
    first: dict[str, Courseware] = {}
    for each in view.catalogue.courseware:
        first.setdefault(each.item_id, each)
    return tuple(first.values())


def lesson_url(item: Courseware, host: str, rtsp_authority: str) -> str:
    """Where the box opens the lesson: an RTSP stream, or a page for pictures and text."""
    if item.family is MediaFamily.VIDEO:
        return f"rtsp://{rtsp_authority}/vod/{item.item_id}.mpg"
    return f"http://{host}/lessons/{item.item_id}/"


def channel_list(
    state: PortalState, host: str, zone_minutes: int = 0, fcc: Literal["1", "2"] = "1"
) -> tuple[ctc.Channel, ...]:
    """One record for each linear channel, then one for each lesson; lessons' numbers follow those of channels.

    Addresses of channels name the zone in which this box spells moments that name none (D12). ``fcc`` is the message
    set of fast channel change that this family speaks, as `FCCEnable` counts them (D8).
    """
    rtsp = state.rtsp_authority
    live = tuple(_linear(each, host, rtsp, zone_minutes, _aids(each, host, fcc)) for each in state.channels)
    after = max((each.number for each in state.channels), default=0)
    return live + tuple(
        ctc.Channel(
            channel_id=item.item_id,
            name=ctc.screen_text(item.title),
            user_channel_id=str(number),
            url=lesson_url(item, host, state.rtsp_authority),
        )
        for number, item in enumerate(lessons(state.view), start=after + 1)
    )


def _aids(channel: LinearChannel, host: str, fcc: str) -> dict[str, str]:
    """Write what helps a box with the channel's group, where there is any."""
    found = {"ChannelFECPort": str(channel.fec_port)} if channel.fec_port else {}
    if channel.fcc_port:
        found |= {"FCCEnable": fcc, "ChannelFCCPort": str(channel.fcc_port)}
        found["ChannelFCCIP"] = host if host.endswith("]") else host.rsplit(":", 1)[0]
    return found


def _linear(
    channel: LinearChannel, host: str, rtsp_authority: str, zone_minutes: int, aids: dict[str, str]
) -> ctc.Channel:
    """Multicast first where there is a group: boxes take the first URL they can (stb_protocols §2.6)."""
    zone = f"?zoneoffset={zone_minutes}" if zone_minutes else ""
    rtsp = f"rtsp://{rtsp_authority}/live/{channel.channel_id}.mpg{zone}"
    shift_s = int(channel.time_shift_s)
    alone = rtsp if channel.by_rtsp else f"http://{host}/live/{channel.channel_id}/index.m3u8"
    return ctc.Channel(
        channel_id=channel.channel_id,
        name=ctc.screen_text(channel.name),
        user_channel_id=str(channel.number),
        url=f"igmp://{channel.multicast}|{alone}" if channel.multicast else alone,
        others={
            "TimeShift": "1" if shift_s > 0 else "0",
            "TimeShiftLength": str(max(0, shift_s)),
            "TimeShiftURL": rtsp if shift_s > 0 else "",
            **aids,
        },
    )
